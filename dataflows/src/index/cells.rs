//! Cells of the globe: a grid in degrees that is halved at each level, so that small shapes hang on small cells.
//!
//! A shape hangs on the cells of one level that its bounding box touches, at most [`MOST`]; a point is looked up
//! once for each level that some shape of its path uses.

use crate::query::ast::Point;
pub(super) use crate::query::geo::{Bounds, around, bounds};

/// Level 0 is one cell of 360 x 180 degrees, each further level halves both.
pub(super) const LEVELS: usize = 20;
const MOST: u64 = 9;

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
