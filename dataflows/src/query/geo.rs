//! Points, shapes, distances.
//!
//! Polygons and boxes are planar in degrees: an edge is the straight line between its ends on the map, as
//! RFC 7946 (GeoJSON), section 3.1.1, defines it, not the great circle that MongoDB draws for `$geometry`. Over the extent
//! of a city or a region the two agree to within metres; on the map an edge along a parallel is the parallel, the edge itself
//! is inside exactly, and a bounding box in degrees (what the index uses) is exact. Shapes do not cross the antimeridian.
//! `$centerSphere` and `$nearSphere` measure along the sphere by the haversine formula.

use super::ast::{Point, Shape};
use crate::document::{Array, Value};

/// MongoDB's mean radius of the earth in metres.
pub const EARTH_RADIUS: f64 = 6_378_100.0;

/// Reads a position: `{latitude, longitude}`, a GeoJSON `Point`, or `[longitude, latitude]`.
/// Anything else, and degrees out of range, is no point.
pub fn point(value: Value<'_>) -> Option<Point> {
    match value {
        Value::Array(pair) if pair.len() == 2 => coordinates(pair),
        Value::Object(object) => {
            if let (Some(longitude), Some(latitude)) = (object.get("longitude"), object.get("latitude")) {
                return valid(number(longitude)?, number(latitude)?);
            }
            match (object.get("type"), object.get("coordinates")) {
                (Some(Value::String("Point")), Some(Value::Array(pair))) if pair.len() >= 2 => coordinates(pair),
                _ => None,
            }
        }
        _ => None,
    }
}

fn coordinates(pair: Array<'_>) -> Option<Point> {
    let mut degrees = pair.iter();
    valid(number(degrees.next()?)?, number(degrees.next()?)?)
}

fn number(value: Value<'_>) -> Option<f64> {
    if let Value::Number(number) = value { Some(number.as_f64()) } else { None }
}

/// A point, if its degrees are in range. Negative zero becomes zero, so that equal points are one.
pub(super) fn valid(longitude: f64, latitude: f64) -> Option<Point> {
    let in_range = (-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude);
    in_range.then_some(Point { longitude: longitude + 0.0, latitude: latitude + 0.0 })
}

/// The angle between two points as seen from the centre of the earth, in radians.
pub fn angle(from: Point, to: Point) -> f64 {
    let (from_latitude, to_latitude) = (from.latitude.to_radians(), to.latitude.to_radians());
    let half_latitude = ((to_latitude - from_latitude) / 2.0).sin();
    let half_longitude = ((to.longitude - from.longitude).to_radians() / 2.0).sin();
    let haversine = half_latitude * half_latitude + from_latitude.cos() * to_latitude.cos() * half_longitude * half_longitude;
    2.0 * haversine.clamp(0.0, 1.0).sqrt().asin()
}

/// The distance between two points in metres.
pub fn distance(from: Point, to: Point) -> f64 {
    angle(from, to) * EARTH_RADIUS
}

impl Shape {
    /// Whether the point lies in the shape or on its edge.
    pub fn contains(&self, point: Point) -> bool {
        match self {
            Shape::Box(lower, upper) => {
                (lower.longitude..=upper.longitude).contains(&point.longitude)
                    && (lower.latitude..=upper.latitude).contains(&point.latitude)
            }
            Shape::CenterSphere(centre, radius) => angle(*centre, point) <= *radius,
            Shape::Polygon(rings) => {
                let mut holes = rings.iter();
                // The edge of a hole belongs to the polygon, as every edge does.
                holes.next().is_some_and(|outline| side(outline, point) != Side::Outside)
                    && holes.all(|hole| side(hole, point) != Side::Inside)
            }
        }
    }
}

/// A box in degrees. West may be beyond -180 and east beyond 180: they go round the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The least longitude
    pub west: f64,
    /// The largest longitude; infinite where every longitude is in it
    pub east: f64,
    /// The least latitude; may be beyond the pole
    pub south: f64,
    /// The largest latitude; may be beyond the pole
    pub north: f64,
}

/// The bounding box of a shape.
pub fn bounds(shape: &Shape) -> Bounds {
    match shape {
        Shape::Box(lower, upper) => Bounds { west: lower.longitude, east: upper.longitude, south: lower.latitude, north: upper.latitude },
        Shape::CenterSphere(centre, radius) => around(*centre, *radius),
        Shape::Polygon(rings) => {
            let empty = Bounds { west: f64::INFINITY, east: f64::NEG_INFINITY, south: f64::INFINITY, north: f64::NEG_INFINITY };
            rings.iter().take(1).flatten().fold(empty, |bounds, point| Bounds {
                west: bounds.west.min(point.longitude),
                east: bounds.east.max(point.longitude),
                south: bounds.south.min(point.latitude),
                north: bounds.north.max(point.latitude),
            })
        }
    }
}

/// The bounding box of a circle on the sphere, its radius in radians.
pub fn around(centre: Point, radius: f64) -> Bounds {
    let latitude = centre.latitude.to_radians();
    let (south, north) = (centre.latitude - radius.to_degrees(), centre.latitude + radius.to_degrees());
    // The meridians that touch the circle; none where it holds a pole.
    let reach = if south <= -90.0 || north >= 90.0 { f64::INFINITY } else { (radius.sin() / latitude.cos()).asin().to_degrees() };
    let reach = if reach.is_nan() { f64::INFINITY } else { reach };
    Bounds { west: centre.longitude - reach, east: centre.longitude + reach, south, north }
}

/// How near an edge counts as on it, in degrees: a tenth of a millimetre, what rounding may cost a point
/// that was computed to lie on the edge.
const EDGE: f64 = 1e-9;

#[derive(PartialEq, Eq)]
enum Side {
    Inside,
    Edge,
    Outside,
}

/// On which side of a closed ring a point lies: counts how many edges a ray to the east crosses.
fn side(ring: &[Point], point: Point) -> Side {
    let mut inside = false;
    for edge in ring.windows(2) {
        let (a, b) = (edge[0], edge[1]);
        let (east, north) = (b.longitude - a.longitude, b.latitude - a.latitude);
        // The distance to the line through a and b, times the length of the edge; positive on its left.
        let turn = east * (point.latitude - a.latitude) - north * (point.longitude - a.longitude);
        let between = |from: f64, to: f64, at: f64| from.min(to) - EDGE <= at && at <= from.max(to) + EDGE;
        if turn.abs() <= EDGE * east.hypot(north)
            && between(a.longitude, b.longitude, point.longitude)
            && between(a.latitude, b.latitude, point.latitude)
        {
            return Side::Edge;
        }
        // Half open in latitude, so that a corner counts for one of its two edges.
        if (a.latitude > point.latitude) != (b.latitude > point.latitude) && (turn > 0.0) == (north > 0.0) {
            inside = !inside;
        }
    }
    if inside { Side::Inside } else { Side::Outside }
}
