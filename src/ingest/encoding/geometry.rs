//! Points of databases -> GeoJSON, which queries know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Geometry<'g> {
    #[serde(borrow, default)]
    x: Option<&'g RawValue>,
    #[serde(borrow, default)]
    y: Option<&'g RawValue>,
    #[serde(borrow, default)]
    wkb: Option<Cow<'g, str>>,
}

/// A GeoJSON point of `{"x", "y", …}` or of `{"wkb", …}`. None where it is no point.
pub(super) fn point(raw: &str) -> Option<String> {
    // A struct would be read from an array as well.
    let geometry: Geometry<'_> = Some(raw).filter(|raw| raw.starts_with('{')).and_then(|raw| serde_json::from_str(raw).ok())?;
    let is_number = |value: &RawValue| value.get().starts_with(|c: char| c.is_ascii_digit() || c == '-');
    match (geometry.x, geometry.y, geometry.wkb) {
        (Some(x), Some(y), _) if is_number(x) && is_number(y) => Some(geo_json(x.get(), y.get())),
        (_, _, Some(wkb)) => {
            let (x, y) = well_known_point(&STANDARD.decode(&*wkb).ok()?)?;
            Some(geo_json(&serde_json::to_string(&x).ok()?, &serde_json::to_string(&y).ok()?))
        }
        _ => None,
    }
}

fn geo_json(x: &str, y: &str) -> String {
    format!(r#"{{"type":"Point","coordinates":[{x},{y}]}}"#)
}

/// The first two coordinates of a point in well-known binary, also the extended one of PostGIS.
fn well_known_point(wkb: &[u8]) -> Option<(f64, f64)> {
    let (order, rest) = wkb.split_first()?;
    let little = match order {
        0 => false,
        1 => true,
        _ => return None,
    };
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let kind = if little { u32::from_le_bytes(*kind) } else { u32::from_be_bytes(*kind) };
    // PostGIS says in the upper bits whether Z, M and the reference system are there; ISO adds thousands for Z and M.
    let (flags, kind) = (kind & 0xe000_0000, kind & 0x1fff_ffff);
    if kind % 1000 != 1 || kind > 3001 {
        return None;
    }
    let rest = if flags & 0x2000_0000 != 0 { rest.get(4..)? } else { rest };
    let (x, rest) = rest.split_first_chunk::<8>()?;
    let (y, _) = rest.split_first_chunk::<8>()?;
    let read = |bytes: [u8; 8]| if little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) };
    let (x, y) = (read(*x), read(*y));
    // An empty point has no numbers.
    (x.is_finite() && y.is_finite()).then_some((x, y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_all_kinds_become_geojson() {
        let expected = Some(r#"{"type":"Point","coordinates":[9.99,53.5]}"#);
        assert_eq!(point(r#"{"x":9.99,"y":53.5,"wkb":"AQ==","srid":null}"#).as_deref(), expected);
        let coordinates = [9.99f64.to_le_bytes(), 53.5f64.to_le_bytes()].concat();
        let simple = [&[1, 1, 0, 0, 0][..], &coordinates].concat();
        let extended = [&[1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0][..], &coordinates].concat();
        let big = [&[0, 0, 0, 0, 1][..], &9.99f64.to_be_bytes(), &53.5f64.to_be_bytes()].concat();
        for wkb in [simple, extended, big] {
            let raw = format!(r#"{{"wkb":"{}","srid":4326}}"#, STANDARD.encode(wkb));
            assert_eq!(point(&raw).as_deref(), expected, "{raw}");
        }
    }

    #[test]
    fn other_shapes_and_broken_ones_are_no_points() {
        let line = STANDARD.encode([&[1, 2, 0, 0, 0][..], &[0; 20]].concat());
        let empty = STANDARD.encode([&[1, 1, 0, 0, 0][..], &[0xff; 16]].concat());
        for raw in [
            format!(r#"{{"wkb":"{line}"}}"#),
            format!(r#"{{"wkb":"{empty}"}}"#),
            r#"{"wkb":"AQEAAAA="}"#.into(),
            r#"{"wkb":""}"#.into(),
            r#"{"x":"a","y":1}"#.into(),
            "{}".into(),
            "7".into(),
        ] {
            assert_eq!(point(&raw), None, "{raw}");
        }
    }
}
