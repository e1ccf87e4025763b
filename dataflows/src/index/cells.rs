//! Cells of the globe: a grid in degrees that is halved at each level, so that small shapes hang on small cells.
//!
//! A shape hangs on the cells of one level that its bounding box touches, at most [`MOST`]; a point is looked up
//! once for each level that some shape of its path uses.

use crate::query::ast::{Point, Shape};

/// Level 0 is one cell of 360 x 180 degrees, each further level halves both.
pub(super) const LEVELS: usize = 20;
const MOST: u64 = 9;

/// A box in degrees. West may be beyond -180 and east beyond 180; both are wrapped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

pub(super) fn level(key: u64) -> usize {
    (key >> 48) as usize
}

fn column(level: usize, longitude: f64) -> i64 {
    ((longitude + 180.0) / 360.0 * (1u64 << level) as f64).floor() as i64
}

fn row(level: usize, latitude: f64) -> i64 {
    (((latitude + 90.0) / 180.0 * (1u64 << level) as f64).floor() as i64).clamp(0, (1 << level) - 1)
}

fn key(level: usize, column: i64, row: i64) -> u64 {
    let column = column.rem_euclid(1 << level) as u64;
    (level as u64) << 48 | column << 24 | row as u64
}

/// The cell of a level in which a point lies.
pub(super) fn cell(level: usize, point: Point) -> u64 {
    key(level, column(level, point.longitude), row(level, point.latitude))
}

/// The cells on which a shape hangs; none if it is too large to be worth it.
pub(super) fn cells(bounds: Bounds) -> Option<Vec<u64>> {
    // A millimetre or so on all sides: bounds come from sines and cosines.
    let margin = 1e-8;
    let Bounds { west, east, south, north } =
        Bounds { west: bounds.west - margin, east: bounds.east + margin, south: bounds.south - margin, north: bounds.north + margin };
    if !(west.is_finite() && east.is_finite() && south <= north && west <= east && east - west < 360.0) {
        return None;
    }
    for level in (2..LEVELS).rev() {
        let (left, right) = (column(level, west), column(level, east));
        let (low, high) = (row(level, south.max(-90.0)), row(level, north.min(90.0)));
        let (width, height) = ((right - left + 1) as u64, (high - low + 1) as u64);
        if width.saturating_mul(height) <= MOST && width <= 1 << level {
            return Some((left..=right).flat_map(|column| (low..=high).map(move |row| key(level, column, row))).collect());
        }
    }
    None
}

/// The bounding box of a shape.
pub(super) fn bounds(shape: &Shape) -> Bounds {
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
pub(super) fn around(centre: Point, radius: f64) -> Bounds {
    let latitude = centre.latitude.to_radians();
    let (south, north) = (centre.latitude - radius.to_degrees(), centre.latitude + radius.to_degrees());
    // The meridians that touch the circle; none where it holds a pole.
    let reach = if south <= -90.0 || north >= 90.0 { f64::INFINITY } else { (radius.sin() / latitude.cos()).asin().to_degrees() };
    let reach = if reach.is_nan() { f64::INFINITY } else { reach };
    Bounds { west: centre.longitude - reach, east: centre.longitude + reach, south, north }
}
