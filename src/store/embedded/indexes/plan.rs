//! The ways to answer a query that its predicate and the indexes allow. Pure: which one is best is for whoever can count.

use super::catalogue::Index;
use super::primary::{Span, is_id};
use super::ranges::{self, MOST, Narrowed, Range};
use crate::store::{KeyOrder, PlanReport};
use dataflows::query::ast::{Literal, Predicate, Test};
use dataflows::query::sort::{Direction, Sort};
use std::sync::Arc;

/// A set of objects in which all that match are: named by id, in pieces of the bucket, or in ranges of indexes.
#[derive(Debug, Clone, Default)]
pub(super) struct Narrow {
    pub(super) ids: Vec<Box<str>>,
    pub(super) pieces: Vec<Span>,
    pub(super) spans: Vec<(Arc<Index>, Vec<Range>)>,
    /// Keys of which something is known: without counting, more are better
    bound: usize,
}

/// A part of an index that has the objects in the order of the answer, as far as its first components go.
#[derive(Debug, Clone)]
pub(super) struct Ordered {
    pub(super) index: Arc<Index>,
    pub(super) ranges: Vec<Range>,
    /// Entries with the same so many components are next to each other and in no order that counts
    pub(super) components: usize,
    pub(super) backward: bool,
}

/// Every way that narrows.
pub(super) fn narrows(indexes: &[Arc<Index>], predicate: &Predicate) -> Vec<Narrow> {
    if *predicate == Predicate::False {
        return vec![Narrow::default()];
    }
    let mut parts = Vec::new();
    ranges::conjuncts(predicate, &mut parts);
    let mut found = Vec::new();
    for part in &parts {
        match part {
            Predicate::Field(path, test) if is_id(path) => found.extend(ids(test)),
            Predicate::Or(branches) => found.extend(any_of(indexes, branches)),
            _ => {}
        }
    }
    let piece = Span::of(&parts);
    if !piece.is_all() {
        found.push(Narrow { pieces: vec![piece], bound: 1, ..Narrow::default() });
    }
    for index in indexes {
        let Narrowed { ranges, bound, .. } = ranges::narrow(index, &parts);
        if bound > 0 {
            found.push(Narrow { spans: vec![(Arc::clone(index), ranges)], bound, ..Narrow::default() });
        }
    }
    found
}

fn ids(test: &Test) -> Option<Narrow> {
    let operands = match test {
        Test::Eq(operand) => std::slice::from_ref(operand),
        Test::In(operands) => operands,
        _ => return None,
    };
    // Every object has an id, and it is a string.
    let id = |operand: &Literal| if let Literal::String(id) = operand { Some(id.clone()) } else { None };
    Some(Narrow { ids: operands.iter().filter_map(id).collect(), bound: usize::MAX, ..Narrow::default() })
}

/// A way for each branch, or none at all.
fn any_of(indexes: &[Arc<Index>], branches: &[Predicate]) -> Option<Narrow> {
    let mut all = Narrow { bound: 1, ..Narrow::default() };
    for branch in branches {
        let best = narrows(indexes, branch).into_iter().max_by_key(|narrow| narrow.bound)?;
        all.ids.extend(best.ids);
        all.pieces.extend(best.pieces);
        all.spans.extend(best.spans);
        if all.range_count() > MOST {
            return None;
        }
    }
    Some(all)
}

impl Narrow {
    pub(super) fn range_count(&self) -> usize {
        self.ids.len() + self.pieces.len() + self.spans.iter().map(|(_, ranges)| ranges.len()).sum::<usize>()
    }

    /// Whether all of it lies in one index.
    pub(super) fn is_along(&self, index: &Arc<Index>) -> bool {
        self.ids.is_empty() && self.pieces.is_empty() && self.spans.iter().all(|(of, _)| Arc::ptr_eq(of, index))
    }

    pub(super) fn report(&self) -> PlanReport {
        let mut indexes: Vec<_> = self.spans.iter().map(|(index, _)| index.definition.to_string()).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let kind = match (indexes.is_empty(), self.pieces.is_empty()) {
            (false, _) => "index",
            (true, false) => "id range",
            (true, true) => "ids",
        };
        PlanReport { kind, indexes, ranges: self.range_count(), rows: None, rows_at_least: None }
    }
}

impl Ordered {
    pub(super) fn report(&self) -> PlanReport {
        let indexes = vec![self.index.definition.to_string()];
        PlanReport { kind: "ordered index", indexes, ranges: self.ranges.len(), rows: None, rows_at_least: None }
    }
}

/// The indexes that have the objects in an order.
pub(super) fn ordered(indexes: &[Arc<Index>], predicate: &Predicate, sort: &Sort) -> Vec<Ordered> {
    let mut parts = Vec::new();
    ranges::conjuncts(predicate, &mut parts);
    indexes.iter().filter_map(|index| in_order(index, &parts, sort)).collect()
}

fn in_order(index: &Arc<Index>, parts: &[&Predicate], sort: &Sort) -> Option<Ordered> {
    if !index.is_regular() {
        return None;
    }
    let Narrowed { ranges, fixed, .. } = ranges::narrow(index, parts);
    let keys = &index.definition.keys;
    let (mut place, mut backward) = (fixed, None);
    for (path, direction) in sort.keys() {
        // One value only: whatever its direction, it decides nothing.
        if keys.iter().take(fixed).any(|key| key.path == *path) {
            continue;
        }
        let Some(key) = keys.get(place).filter(|key| key.path == *path) else { break };
        let against = match key.order {
            KeyOrder::Asc => *direction == Direction::Down,
            KeyOrder::Desc => *direction == Direction::Up,
            KeyOrder::Geo => break,
        };
        if *backward.get_or_insert(against) != against {
            break;
        }
        place += 1;
    }
    Some(Ordered { index: Arc::clone(index), ranges, components: place, backward: backward? })
}
