//! The operands of `$geoWithin` and `$nearSphere`.

use super::ast::{Point, Shape, Test};
use super::geo;
use super::json::Json;
use super::limits::QueryError;

/// The operand of `$geoWithin`.
pub(super) fn shape(trail: &str, operand: &Json) -> Result<Shape, QueryError> {
    let Json::Object(fields) = operand else {
        return Err(QueryError::syntax(trail, format!("$geoWithin takes an object, found {}", operand.kind())));
    };
    let [(name, shape)] = fields.as_slice() else {
        return Err(QueryError::syntax(trail, "$geoWithin takes one shape: $geometry, $box, $polygon or $centerSphere"));
    };
    match name.as_str() {
        "$geometry" => polygon(trail, shape),
        "$polygon" => {
            let mut ring = points(trail, shape)?;
            if ring.len() < 3 {
                return Err(QueryError::syntax(trail, "$polygon takes an array of at least three points [longitude, latitude]"));
            }
            // Planar like the others (see `geo`), so it is the polygon of the ring closed.
            if ring.first() != ring.last() {
                ring.extend(ring.first().copied());
            }
            Ok(Shape::Polygon(vec![ring]))
        }
        "$box" => match points(trail, shape)?.as_slice() {
            [a, b] => Ok(Shape::Box(
                Point { longitude: a.longitude.min(b.longitude), latitude: a.latitude.min(b.latitude) },
                Point { longitude: a.longitude.max(b.longitude), latitude: a.latitude.max(b.latitude) },
            )),
            _ => Err(QueryError::syntax(trail, "$box takes two corners [[longitude, latitude], [longitude, latitude]]")),
        },
        "$centerSphere" => match shape {
            Json::Array(parts) if parts.len() == 2 => {
                let radius = length(&parts[1])
                    .ok_or_else(|| QueryError::syntax(trail, "the radius of $centerSphere is a number of radians that is not negative"))?;
                Ok(Shape::CenterSphere(point(trail, &parts[0])?, radius))
            }
            _ => Err(QueryError::syntax(trail, "$centerSphere takes [[longitude, latitude], radius in radians]")),
        },
        other => Err(QueryError::operator(trail, other, "$geoWithin takes $geometry, $box, $polygon or $centerSphere")),
    }
}

/// The operand of `$nearSphere`, with a `$maxDistance` that may stand beside it.
pub(super) fn near(trail: &str, operand: &Json, beside: Option<&Json>) -> Result<Test, QueryError> {
    let form = "$nearSphere takes {\"$geometry\": {\"type\": \"Point\", \"coordinates\": [longitude, latitude]}, \"$maxDistance\": metres}";
    let Json::Object(fields) = operand else { return Err(QueryError::syntax(trail, form)) };
    let (mut geometry, mut inside) = (None, None);
    for (name, value) in fields {
        match name.as_str() {
            "$geometry" => geometry = Some(value),
            "$maxDistance" => inside = Some(value),
            other if other.starts_with('$') => return Err(QueryError::operator(trail, other, form)),
            _ => return Err(QueryError::syntax(trail, form)),
        }
    }
    let max_distance = match (inside, beside) {
        (Some(_), Some(_)) => return Err(QueryError::syntax(trail, "$maxDistance stands both inside and beside $nearSphere")),
        (Some(distance), None) | (None, Some(distance)) => {
            length(distance).ok_or_else(|| QueryError::syntax(trail, "$maxDistance is a number of metres that is not negative"))?
        }
        (None, None) => f64::INFINITY,
    };
    let geometry = geometry.ok_or_else(|| QueryError::syntax(trail, form))?;
    let centre = point(trail, geo_json(trail, geometry, "Point")?)?;
    Ok(Test::Near { centre, max_distance })
}

/// The coordinates of a GeoJSON object that has to be of one type.
fn geo_json<'j>(trail: &str, json: &'j Json, wanted: &str) -> Result<&'j Json, QueryError> {
    let wrong = || QueryError::syntax(trail, format!("$geometry takes {{\"type\": {wanted:?}, \"coordinates\": […]}} and nothing else"));
    let Json::Object(fields) = json else { return Err(wrong()) };
    match fields.as_slice() {
        [(a, Json::String(kind)), (b, coordinates)] | [(b, coordinates), (a, Json::String(kind))]
            if a == "type" && b == "coordinates" && kind == wanted =>
        {
            Ok(coordinates)
        }
        _ => Err(wrong()),
    }
}

fn polygon(trail: &str, json: &Json) -> Result<Shape, QueryError> {
    let rings = match geo_json(trail, json, "Polygon")? {
        Json::Array(rings) if !rings.is_empty() => rings,
        _ => return Err(QueryError::syntax(trail, "the coordinates of a Polygon are a non-empty array of rings")),
    };
    let ring = |ring: &Json| {
        let ring = points(trail, ring)?;
        if ring.len() < 4 || ring.first() != ring.last() {
            return Err(QueryError::syntax(trail, "a ring of a Polygon has at least four points, the last equal to the first"));
        }
        Ok(ring)
    };
    Ok(Shape::Polygon(rings.iter().map(ring).collect::<Result<_, _>>()?))
}

fn points(trail: &str, json: &Json) -> Result<Vec<Point>, QueryError> {
    match json {
        Json::Array(points) => points.iter().map(|json| point(trail, json)).collect(),
        other => Err(QueryError::syntax(trail, format!("expected an array of points [longitude, latitude], found {}", other.kind()))),
    }
}

fn point(trail: &str, json: &Json) -> Result<Point, QueryError> {
    let point = match json {
        Json::Array(pair) => match pair.as_slice() {
            [Json::Number(longitude), Json::Number(latitude)] => geo::valid(longitude.as_f64(), latitude.as_f64()),
            _ => None,
        },
        _ => None,
    };
    point.ok_or_else(|| QueryError::syntax(trail, "a point is [longitude, latitude], -180 to 180 and -90 to 90 degrees"))
}

/// A distance or radius. Zero is positive zero, so that equal ones are one.
fn length(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) if number.as_f64() >= 0.0 => Some(number.as_f64() + 0.0),
        _ => None,
    }
}
