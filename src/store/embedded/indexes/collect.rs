//! Sort, skip and count of what was found, in bounded memory: no more objects are held than the answer may have, and as many
//! again between two times that the last ones are let go.

use super::primary;
use crate::store::{Selection, StoreError};
use dataflows::change::Image;
use dataflows::query::ast::Predicate;
use dataflows::query::sort::{Direction, Sort};
use std::cmp::Ordering;
use std::sync::Arc;

/// The order of an answer; ties are in the order of ids.
enum Order {
    Ids,
    Sort(Sort),
    /// From where the predicate says, the nearest first
    Distance(Arc<Predicate>),
}

struct Item {
    id: Box<[u8]>,
    image: Arc<Image>,
    /// Metres, where that is the order
    distance: f64,
}

/// An answer while it gathers.
pub(in crate::store::embedded) struct Collector {
    order: Order,
    skip: usize,
    count: usize,
    limit: usize,
    skipped: usize,
    items: Vec<Item>,
}

impl Collector {
    pub(in crate::store::embedded) fn new(selection: &Selection) -> Collector {
        let order = match selection.predicate.nearest() {
            _ if primary::direction(&selection.sort) == Some(Direction::Up) => Order::Ids,
            _ if !selection.sort.is_empty() => Order::Sort(selection.sort.clone()),
            Some(_) => Order::Distance(Arc::clone(&selection.predicate)),
            None => Order::Ids,
        };
        let count = selection.count.unwrap_or(usize::MAX);
        Collector { order, skip: selection.skip, count, limit: selection.limit, skipped: 0, items: Vec::new() }
    }

    /// How many are needed, where that is less than all.
    pub(in crate::store::embedded) fn needed(&self) -> Option<usize> {
        let needed = self.skip.checked_add(self.count)?;
        (self.count != usize::MAX && needed <= self.limit).then_some(needed)
    }

    /// Whether the answer is in the order of ids.
    pub(in crate::store::embedded) fn is_by_id(&self) -> bool {
        matches!(self.order, Order::Ids)
    }

    /// Whether the nearest come first.
    pub(in crate::store::embedded) fn is_by_distance(&self) -> bool {
        matches!(self.order, Order::Distance(_))
    }

    /// Takes an object that matches; whether more are wanted. Where the answer is in the order of ids they come in that order.
    pub(in crate::store::embedded) fn push(&mut self, id: &[u8], image: &Arc<Image>) -> Result<bool, StoreError> {
        if self.count == 0 {
            return Ok(false);
        }
        if self.is_by_id() {
            if self.skipped < self.skip {
                self.skipped += 1;
                return Ok(true);
            }
            self.items.push(Item { id: Box::default(), image: Arc::clone(image), distance: 0.0 });
            if self.items.len() > self.limit {
                return Err(StoreError::TooMany { limit: self.limit });
            }
            return Ok(self.items.len() < self.count);
        }
        let distance = match &self.order {
            Order::Distance(predicate) => predicate.nearest().map_or(0.0, |nearest| nearest.distance(image.document.root())),
            _ => 0.0,
        };
        self.items.push(Item { id: id.into(), image: Arc::clone(image), distance });
        match self.needed() {
            Some(needed) if self.items.len() >= needed.saturating_mul(2).saturating_add(64) => self.let_go(needed),
            None if self.items.len() > self.limit => return Err(StoreError::TooMany { limit: self.limit }),
            _ => {}
        }
        Ok(true)
    }

    fn let_go(&mut self, needed: usize) {
        let Some(last) = needed.checked_sub(1) else { return self.items.clear() };
        let order = &self.order;
        self.items.select_nth_unstable_by(last, |left, right| compare(order, left, right));
        self.items.truncate(needed);
    }

    /// The answer.
    pub(in crate::store::embedded) fn finish(mut self) -> Vec<Arc<Image>> {
        if self.is_by_id() {
            return self.items.into_iter().map(|item| item.image).collect();
        }
        let order = &self.order;
        self.items.sort_unstable_by(|left, right| compare(order, left, right));
        self.items.into_iter().skip(self.skip).take(self.count).map(|item| item.image).collect()
    }
}

fn compare(order: &Order, left: &Item, right: &Item) -> Ordering {
    let first = match order {
        Order::Ids => Ordering::Equal,
        Order::Sort(sort) => sort.compare(&left.image, &right.image),
        Order::Distance(..) => left.distance.total_cmp(&right.distance),
    };
    first.then_with(|| left.id.cmp(&right.id))
}
