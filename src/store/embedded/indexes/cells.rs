//! Points as numbers, so that what lies in a box lies in few ranges of them: a curve in the order of Morton.
//!
//! The globe is halved by longitude and latitude in turn; the bits of the halves are the number. A box is covered by the cells of the
//! tree of halves that it touches, the larger ones split first while there are not too many.

use dataflows::query::ast::Point;
use dataflows::query::geo::Bounds;

/// Halvings of each axis: cells of about a centimetre.
const LEVELS: u32 = 31;
/// Ranges of a covering at most.
const MOST: usize = 48;
/// A millimetre or so on all sides: bounds come from sines and cosines.
const MARGIN: f64 = 1e-8;

fn halves(share: f64) -> u64 {
    let cells = f64::from(1u32 << LEVELS);
    ((share * cells) as u64).min((1 << LEVELS) - 1)
}

fn x(longitude: f64) -> u64 {
    halves((longitude + 180.0) / 360.0)
}

fn y(latitude: f64) -> u64 {
    halves((latitude + 90.0) / 180.0)
}

/// Puts a zero in front of each bit.
fn spread(bits: u64) -> u64 {
    let mut bits = bits & 0xffff_ffff;
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Every second bit, put together.
fn gather(bits: u64) -> u64 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in
        [(1, 0x3333_3333_3333_3333), (2, 0x0f0f_0f0f_0f0f_0f0f), (4, 0x00ff_00ff_00ff_00ff), (8, 0x0000_ffff_0000_ffff), (16, 0xffff_ffff)]
    {
        bits = (bits | bits >> shift) & mask;
    }
    bits
}

/// The middle of a cell: a few centimetres from every point of it.
pub(super) fn point(cell: u64) -> Point {
    let share = |halves: u64| (halves as f64 + 0.5) / f64::from(1u32 << LEVELS);
    Point { longitude: share(gather(cell >> 1)) * 360.0 - 180.0, latitude: share(gather(cell)) * 180.0 - 90.0 }
}

/// The cell of a point.
pub(super) fn cell(point: Point) -> u64 {
    spread(x(point.longitude)) << 1 | spread(y(point.latitude))
}

/// A box in cells, ends included.
#[derive(Clone, Copy)]
struct Area {
    x: (u64, u64),
    y: (u64, u64),
}

/// A cell of the tree.
#[derive(Clone, Copy)]
struct Node {
    x: u64,
    y: u64,
    level: u32,
}

impl Node {
    fn size(self) -> u64 {
        1 << (LEVELS - self.level)
    }

    fn touches(self, area: &Area) -> bool {
        let last = self.size() - 1;
        self.x <= area.x.1 && self.x + last >= area.x.0 && self.y <= area.y.1 && self.y + last >= area.y.0
    }

    fn within(self, area: &Area) -> bool {
        let last = self.size() - 1;
        self.x >= area.x.0 && self.x + last <= area.x.1 && self.y >= area.y.0 && self.y + last <= area.y.1
    }

    fn quarters(self) -> [Node; 4] {
        let half = self.size() / 2;
        let at = |x, y| Node { x: self.x + x, y: self.y + y, level: self.level + 1 };
        [at(0, 0), at(0, half), at(half, 0), at(half, half)]
    }

    /// First and last cell.
    fn range(self) -> (u64, u64) {
        let first = spread(self.x) << 1 | spread(self.y);
        (first, first + (self.size() * self.size() - 1))
    }
}

/// Ranges of cells, ends included, in order and apart, in which every point of the box lies.
pub(super) fn covering(bounds: Bounds) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    for area in areas(bounds) {
        cover(&area, &mut ranges);
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.0 <= last.1.saturating_add(1) => last.1 = last.1.max(range.1),
            _ => merged.push(range),
        }
    }
    merged
}

/// The box without what is beyond the ends of the map: up to three.
fn areas(bounds: Bounds) -> Vec<Area> {
    let (south, north) = ((bounds.south - MARGIN).max(-90.0), (bounds.north + MARGIN).min(90.0));
    let (west, east) = (bounds.west - MARGIN, bounds.east + MARGIN);
    if south > north || west > east || south.is_nan() || north.is_nan() || west.is_nan() || east.is_nan() {
        return Vec::new();
    }
    let spans = if east - west >= 360.0 || !west.is_finite() || !east.is_finite() {
        vec![(-180.0, 180.0)]
    } else {
        // -180 and 180 are one meridian, and a point may be written with either.
        [-360.0, 0.0, 360.0]
            .into_iter()
            .map(|turn| ((west + turn).max(-180.0), (east + turn).min(180.0)))
            .filter(|(west, east)| west <= east)
            .collect()
    };
    spans.into_iter().map(|(west, east)| Area { x: (x(west), x(east)), y: (y(south), y(north)) }).collect()
}

fn cover(area: &Area, ranges: &mut Vec<(u64, u64)>) {
    let mut level = vec![Node { x: 0, y: 0, level: 0 }];
    let mut done = 0;
    while let Some(first) = level.first() {
        let bottom = first.level >= LEVELS;
        if bottom || level.len() + done > MOST / 4 {
            ranges.extend(level.iter().map(|node| node.range()));
            return;
        }
        let mut next = Vec::with_capacity(level.len() * 4);
        for node in level.iter().flat_map(|node| node.quarters()).filter(|node| node.touches(area)) {
            if node.within(area) {
                ranges.push(node.range());
                done += 1;
            } else {
                next.push(node);
            }
        }
        level = next;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::query::geo::{angle, around};
    use proptest::prelude::*;

    fn points() -> impl Strategy<Value = Point> {
        (-180.0..=180.0, -90.0..=90.0).prop_map(|(longitude, latitude)| Point { longitude, latitude })
    }

    fn covers(bounds: Bounds, point: Point) -> bool {
        covering(bounds).iter().any(|(first, last)| (*first..=*last).contains(&cell(point)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8 * ProptestConfig::default().cases))]
        #[test]
        fn a_covering_has_every_point_of_the_box(one in points(), other in points(), share in (0.0..=1.0, 0.0..=1.0)) {
            let (west, east) = (one.longitude.min(other.longitude), one.longitude.max(other.longitude));
            let (south, north) = (one.latitude.min(other.latitude), one.latitude.max(other.latitude));
            let inside = Point { longitude: west + (east - west) * share.0, latitude: south + (north - south) * share.1 };
            let bounds = Bounds { west, east, south, north };
            prop_assert!(covers(bounds, inside));
            prop_assert!(covering(bounds).len() <= MOST * 3);
        }

        #[test]
        fn a_cell_says_where_its_points_are(at in points()) {
            prop_assert!(dataflows::query::geo::distance(at, point(cell(at))) < 0.05, "{:?}", point(cell(at)));
        }

        #[test]
        fn a_covering_has_every_point_of_a_circle(centre in points(), offset in (-2.0f64..2.0, -2.0f64..2.0), radius in 0.0f64..0.05) {
            let longitude = (centre.longitude + offset.0 + 540.0).rem_euclid(360.0) - 180.0;
            let point = Point { longitude, latitude: (centre.latitude + offset.1).clamp(-90.0, 90.0) };
            if angle(centre, point) <= radius {
                prop_assert!(covers(around(centre, radius), point));
            }
        }
    }

    #[test]
    fn a_small_box_is_a_small_part_of_the_curve() {
        let covered: u64 =
            covering(Bounds { west: 9.9, east: 10.1, south: 53.5, north: 53.6 }).iter().map(|(first, last)| last - first + 1).sum();
        assert!(covered < 1 << 46, "{covered}");
    }

    #[test]
    fn either_side_of_the_antimeridian_is_found() {
        let bounds = around(Point { longitude: 179.9, latitude: 0.0 }, 0.01);
        for longitude in [180.0, -180.0, -179.9, 179.5] {
            assert!(covers(bounds, Point { longitude, latitude: 0.0 }), "{longitude}");
        }
    }
}
