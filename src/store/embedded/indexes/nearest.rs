//! The nearest objects first: from a point outwards along a geo index, ring after ring, until no object further away can be
//! among those that are needed.
//!
//! A cell says where a point is to a few centimetres, so the objects are looked at in the order of their distance, and hardly one
//! more than is needed. Where the query's other conditions let so few pass that a scan would have been better, the rest is
//! scanned: at worst that costs twice the scan.

use super::answer::{LOOK_UP, MOST, Query, id_of, unreadable};
use super::catalogue::Index;
use super::ranges::{self, Narrowed};
use super::{cells, entries};
use crate::store::embedded::snapshot::broken;
use crate::store::{KeyOrder, PlanReport, StoreError};
use dataflows::change::Image;
use dataflows::query::ast::{Path, Point, Predicate, Test};
use dataflows::query::geo::{self, EARTH_RADIUS};
use fjall::Readable;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

/// The radius of the first ring, metres; each one is twice the one before.
const FIRST_RING: f64 = 16.0;
/// Metres by which a distance that was computed may be wrong: cells are centimetres wide, and near the opposite point of the globe
/// the haversine loses digits.
const SLACK: f64 = 1.0;
/// No two points are further apart, metres.
const WHOLE_GLOBE: f64 = 3.2 * EARTH_RADIUS;

/// Ids, each with a distance that it at least has, the nearest first.
type Ring = Vec<(f64, Box<[u8]>)>;

/// A geo index along which objects can be had by their distance.
#[derive(Debug, Clone)]
pub(super) struct Outwards {
    pub(super) index: Arc<Index>,
    /// Which of the index's keys the points are
    place: usize,
    path: Path,
    centre: Point,
    furthest: f64,
}

/// The indexes that lead outwards from where the predicate says.
pub(super) fn outwards(indexes: &[Arc<Index>], predicate: &Predicate) -> Vec<Outwards> {
    let mut parts = Vec::new();
    ranges::conjuncts(predicate, &mut parts);
    let near = parts.iter().find_map(|part| match part {
        Predicate::Field(path, Test::Near { centre, max_distance }) => Some((path, *centre, *max_distance)),
        _ => None,
    });
    let Some((path, centre, furthest)) = near else { return Vec::new() };
    let leads = |index: &Arc<Index>| {
        let mut keys = index.paths.iter().zip(&index.definition.keys);
        let place = keys.position(|(of, key)| key.order == KeyOrder::Geo && of == path)?;
        let way = Outwards { index: index.clone(), place, path: path.clone(), centre, furthest };
        (way.within(&parts, FIRST_RING).bound > place).then_some(way)
    };
    indexes.iter().filter_map(leads).collect()
}

impl Outwards {
    /// Where the entries of points within so many metres are; of further ones, some.
    fn within(&self, parts: &[&Predicate], metres: f64) -> Narrowed {
        let near = Predicate::Field(self.path.clone(), Test::Near { centre: self.centre, max_distance: metres });
        // The first one of a path counts.
        let parts: Vec<&Predicate> = std::iter::once(&near).chain(parts.iter().copied()).collect();
        ranges::narrow(&self.index, &parts)
    }

    pub(super) fn report(&self) -> PlanReport {
        let indexes = vec![self.index.definition.to_string()];
        PlanReport { kind: "nearest", indexes, ranges: 1, rows: None, rows_at_least: None }
    }
}

/// The smallest distances so far, no more than are needed. As bits: those of numbers that are not negative have their order.
struct Best {
    needed: usize,
    distances: BinaryHeap<u64>,
}

impl Best {
    fn add(&mut self, distance: f64) {
        self.distances.push(distance.max(0.0).to_bits());
        if self.distances.len() > self.needed {
            self.distances.pop();
        }
    }

    /// The distance behind which nothing is needed any more; none while there are too few.
    fn end(&self) -> Option<f64> {
        (self.distances.len() >= self.needed).then(|| self.distances.peek().map_or(0.0, |bits| f64::from_bits(*bits)))
    }
}

impl Query<'_> {
    /// Shows the `needed` nearest of the objects that match, and perhaps others, until `show` or `stop` has had enough.
    pub(super) fn go_outwards(
        &self,
        way: &Outwards,
        needed: usize,
        show: &mut dyn FnMut(&[u8], &Arc<Image>) -> Result<bool, StoreError>,
        stop: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let Some(nearest) = self.selection.predicate.nearest().filter(|_| needed > 0) else { return Ok(()) };
        let mut parts = Vec::new();
        ranges::conjuncts(&self.selection.predicate, &mut parts);
        let most = self.size().map_or(MOST as u64, |size| size / LOOK_UP).max(2 * needed as u64);
        let (began, mut seen) = (self.examined.get(), HashSet::new());
        let mut best = Best { needed, distances: BinaryHeap::new() };
        let mut radius = FIRST_RING;
        'rings: while let Some(ring) = self.ring(way, &parts, radius, &seen)? {
            for (distance, id) in ring {
                if best.end().is_some_and(|end| distance > end) {
                    return Ok(());
                }
                if !seen.insert(id.clone()) {
                    continue;
                }
                if let Some(image) = self.look_up(&id)? {
                    best.add(nearest.distance(image.document.root()));
                    if !show(&id, &image)? {
                        return Ok(());
                    }
                }
                if stop(self.examined.get()) {
                    return Ok(());
                }
                if self.examined.get() - began > most {
                    break 'rings;
                }
            }
            let certain = best.end().is_some_and(|end| end + SLACK <= radius);
            if certain || radius >= way.furthest || radius >= WHOLE_GLOBE {
                return Ok(());
            }
            radius *= 2.0;
        }
        // Too many, or too few that match: the rest of the bucket, in one go.
        self.in_span(false, &mut |id, image| if seen.contains(id) { Ok(true) } else { show(id, image) }, stop)
    }

    /// The objects with a point within the radius that were not seen; none where they are too many.
    fn ring(&self, way: &Outwards, parts: &[&Predicate], radius: f64, seen: &HashSet<Box<[u8]>>) -> Result<Option<Ring>, StoreError> {
        let mut ring = Ring::new();
        for range in way.within(parts, radius.min(way.furthest)).ranges {
            for entry in self.snapshot.state.range(&self.snapshot.reading.indexes, &range.from[..]..&range.until[..]) {
                let (key, value) = entry.into_inner().map_err(|error| broken(&error))?;
                let cell = entries::cell_at(&way.index, &key, &value, way.place).ok_or_else(unreadable)?;
                let distance = geo::distance(way.centre, cells::point(cell)) - SLACK;
                let id = id_of(&way.index, &key, &value)?;
                // Beyond it, in a corner of a cell: it comes with a later ring, if there is one.
                if distance > radius || seen.contains(id) {
                    continue;
                }
                if ring.len() >= MOST {
                    return Ok(None);
                }
                ring.push((distance, id.into()));
            }
        }
        ring.sort_unstable_by(|(one, one_id), (other, other_id)| one.total_cmp(other).then_with(|| one_id.cmp(other_id)));
        Ok(Some(ring))
    }
}
