//! From what stands at the paths of a change's images to the queries that match them.

use super::arena::Arena;
use super::entries::{Ask, Check, Entries, Entry, NONE, Then};
use super::key::{self, Class, UNASKED};
use super::paths::Paths;
use super::patterns::Patterns;
use super::strings::Strings;
use super::walk::{Findings, Found};
use super::{Query, Set, cells};
use crate::document::{Document, Number, Value, compare_numbers};
use crate::query::geo;
use std::cmp::Ordering;

/// Which images: bit 0 before, bit 1 after.
pub(super) type Mask = u32;

/// What is still to be visited. In steps, each for everything that is waiting: where the memory of one is waited for,
/// that of the others comes, too.
#[derive(Debug, Clone, Copy)]
pub(super) enum Visit {
    Node {
        number: u32,
        mask: Mask,
    },
    /// The intervals that meet `low..=high`
    Intervals {
        number: u32,
        mask: Mask,
        low: u64,
        high: u64,
    },
    /// The same in one block of them
    Block {
        number: u32,
        at: u32,
        mask: Mask,
        low: u64,
        high: u64,
    },
}

/// The images of one change against the index.
pub(super) struct Probe<'i> {
    pub(super) entries: &'i Entries,
    pub(super) paths: &'i Paths,
    pub(super) strings: &'i Strings,
    pub(super) patterns: &'i Patterns,
    pub(super) queries: &'i mut Arena<Query>,
    pub(super) findings: &'i [Findings; 2],
    pub(super) documents: [Option<&'i Document>; 2],
    /// The change's stamp; a multiple of four, its low bits are masks
    pub(super) stamp: u32,
    /// Queries that match an image
    pub(super) touched: &'i mut Vec<u32>,
    /// Queries that match by their entry alone, with the images; noted at the end
    pub(super) hits: &'i mut Vec<(u32, u8)>,
    pub(super) visits: &'i mut Vec<Visit>,
    /// Entries looked at
    pub(super) candidates: u64,
}

impl Probe<'_> {
    /// Everything below a bucket's root. `absent` are the slots with entries for what is not there.
    pub(super) fn run(&mut self, root: u32, absent: impl Iterator<Item = (u32, Class)>) {
        let findings = self.findings;
        let there: Mask = (0..2).filter(|image| self.documents[*image].is_some()).map(|image| 1 << image).sum();
        for slot in &findings[0].slots {
            self.slot(root, *slot, there);
        }
        for slot in &findings[1].slots {
            if there & 1 == 0 || findings[0].at(*slot).is_none() {
                self.slot(root, *slot, there);
            }
        }
        for (slot, class) in absent {
            // With an array opened on the way a field may be missing in one element and there in another.
            let missing = |image: &Findings| image.opened || (class == Class::Null && image.at(slot).is_none());
            let mask = (0..2).filter(|image| there >> image & 1 == 1 && missing(&findings[*image])).map(|image| 1 << image).sum();
            self.under(root, slot, class, 0, mask);
        }
        self.list(root, there);
        self.visit_all();
        let mut hits = std::mem::take(self.hits);
        for (query, mask) in hits.drain(..) {
            self.note(query, mask.into(), Then::Matches);
        }
        *self.hits = hits;
    }

    fn slot(&mut self, root: u32, slot: u32, mask: Mask) {
        let mut classes = self.paths.slot(slot).classes;
        while classes != 0 {
            let class = classes.trailing_zeros();
            classes &= classes - 1;
            self.descend(root, slot, CLASS[class as usize], NONE, mask);
        }
    }

    /// Visits what hangs below a node on one slot and class; `intervals` is their number if it is known.
    #[inline]
    fn descend(&mut self, parent: u32, slot: u32, class: Class, intervals: u32, mask: Mask) {
        let keyed = !matches!(class, Class::Whole | Class::Size | Class::Prefix | Class::Literal | Class::TextRange | Class::Cell);
        if mask == 3 && self.findings[0].same(&self.findings[1], slot, keyed) {
            // The same in both images, the usual case.
            return self.values(parent, slot, class, intervals, 0, 3);
        }
        for image in 0..2 {
            if mask >> image & 1 == 1 {
                self.values(parent, slot, class, intervals, image, 1 << image);
            }
        }
    }

    /// The same for the values that one image has.
    #[inline]
    fn values(&mut self, parent: u32, slot: u32, class: Class, intervals: u32, image: usize, mask: Mask) {
        let Some(state) = self.findings[image].at(slot) else { return };
        let Some(document) = self.documents[if state.shared { 0 } else { image }] else { return };
        if state.count == 1 && (class as u8) < Class::Whole as u8 {
            if state.first.class == class && known(state.first) {
                self.under(parent, slot, class, state.first.key, mask);
            }
            return;
        }
        match class {
            Class::Present => self.under(parent, slot, class, 0, mask),
            Class::NumberRange | Class::DateRange | Class::TextRange => {
                self.ranges(parent, slot, class, intervals, document, image, mask);
            }
            _ => {
                for found in self.findings[image].all(slot) {
                    self.value(parent, slot, class, document, found, mask);
                }
            }
        }
    }

    fn value(&mut self, parent: u32, slot: u32, class: Class, document: &Document, found: Found, mask: Mask) {
        match class {
            Class::Whole if found.class == Class::Whole => {
                self.under(parent, slot, class, key::whole_of_value(document, found.at), mask);
            }
            Class::OffNumber if !matches!(found.class, Class::Number | Class::BigInt) => self.under(parent, slot, class, 0, mask),
            Class::OffDate if found.class != Class::Date => self.under(parent, slot, class, 0, mask),
            Class::Size if found.array => {
                self.under(parent, slot, class, u64::from(document.nodes[found.at as usize].low), mask);
            }
            Class::Prefix => {
                if let Value::String(text) = document.value_at(found.at) {
                    let (paths, strings) = (self.paths, self.strings);
                    for prefix in paths.prefixes(slot).filter_map(|length| text.get(..length)) {
                        if let Some(number) = strings.find(prefix) {
                            self.under(parent, slot, class, u64::from(number), mask);
                        }
                    }
                }
            }
            Class::Literal => {
                if let Value::String(text) = document.value_at(found.at) {
                    let (patterns, stamp) = (self.patterns, self.stamp);
                    let found = |number, mask| self.under(parent, slot, class, u64::from(number), mask);
                    patterns.find(slot, text, stamp, mask, found);
                }
            }
            Class::Cell => {
                if let Some(point) = (found.class == Class::Whole).then(|| geo::point(document.value_at(found.at))).flatten() {
                    let paths = self.paths;
                    for level in paths.levels(slot) {
                        self.under(parent, slot, class, cells::cell(level, point), mask);
                    }
                }
            }
            class if class == found.class && known(found) && class != Class::Whole => {
                self.under(parent, slot, class, found.key, mask);
            }
            _ => {}
        }
    }

    /// Intervals are met by the span from the least to the greatest value; see [`super::intervals`].
    #[allow(clippy::too_many_arguments)]
    fn ranges(&mut self, parent: u32, slot: u32, class: Class, intervals: u32, document: &Document, image: usize, mask: Mask) {
        let (mut low, mut high) = (u64::MAX, 0);
        for found in self.findings[image].all(slot) {
            let key = match (class, found.class) {
                (Class::NumberRange, Class::Number | Class::BigInt) => key::rounded(found.class, found.key),
                (Class::DateRange, Class::Date) => found.key,
                (Class::TextRange, Class::String) => match document.value_at(found.at) {
                    Value::String(text) => key::text(text),
                    _ => continue,
                },
                _ => continue,
            };
            (low, high) = (low.min(key), high.max(key));
        }
        if low > high {
            return;
        }
        let entries = self.entries;
        let number = if intervals == NONE {
            let node = entries.find(parent, slot, class, 0);
            node.and_then(|node| entries.nodes[node].more.as_ref()).map_or(NONE, |more| more.intervals)
        } else {
            intervals
        };
        if number != NONE {
            entries.intervals.prefetch(number);
            self.visits.push(Visit::Intervals { number, mask, low, high });
        }
    }

    /// Has the node of a key visited, if there is one.
    #[inline]
    fn under(&mut self, parent: u32, slot: u32, class: Class, key: u64, mask: Mask) {
        let entries = self.entries;
        if mask == 0 {
            return;
        }
        let node = match class {
            Class::String => entries.find_string(self.strings, parent, slot, key),
            _ => entries.find(parent, slot, class, key),
        };
        if let Some(number) = node {
            self.visits.push(Visit::Node { number, mask });
        }
    }

    /// Visits what waits, and what comes to wait for it.
    fn visit_all(&mut self) {
        let mut from = 0;
        while from < self.visits.len() {
            let to = self.visits.len();
            for at in from..to {
                self.prefetch(self.visits[at]);
            }
            for at in from..to {
                match self.visits[at] {
                    Visit::Node { number, mask } => self.node(number, mask),
                    Visit::Intervals { number, mask, low, high } => {
                        let visits = &mut *self.visits;
                        let push = |at| visits.push(Visit::Block { number, at, mask, low, high });
                        self.entries.intervals[number].blocks_meeting(low, high, push);
                    }
                    Visit::Block { number, at, mask, low, high } => {
                        let entries = self.entries;
                        entries.intervals[number].meeting(at, low, high, |entry| {
                            self.candidates += 1;
                            self.entry(entry, mask);
                        });
                    }
                }
            }
            from = to;
        }
        self.visits.clear();
    }

    #[inline]
    fn prefetch(&self, visit: Visit) {
        match visit {
            Visit::Node { number, .. } => self.entries.nodes[number].prefetch(),
            Visit::Intervals { number, .. } => self.entries.intervals[number].prefetch(),
            Visit::Block { number, at, .. } => self.entries.intervals[number].prefetch_block(at),
        }
    }

    #[inline]
    fn node(&mut self, number: u32, mut mask: Mask) {
        let entries = self.entries;
        let node = &entries.nodes[number];
        // An array may have the same value many times.
        let visited = node.visited.get();
        if visited & !3 == self.stamp {
            mask &= !visited;
            node.visited.set(visited | mask);
        } else {
            node.visited.set(self.stamp | mask);
        }
        if mask == 0 {
            return;
        }
        self.list(number, mask);
        if let Some(more) = &node.more {
            for child in &more.children {
                self.descend(number, child.slot, child.class, child.intervals, mask);
            }
        }
    }

    #[inline]
    fn list(&mut self, node: u32, mask: Mask) {
        let list = &self.entries.nodes[node].list;
        self.candidates += list.len() as u64;
        for entry in list {
            self.entry(entry, mask);
        }
    }

    #[inline]
    fn entry(&mut self, entry: &Entry, mut mask: Mask) {
        if entry.check.ask != Ask::Nothing {
            for image in 0..2 {
                if mask >> image & 1 == 1 && !self.holds(&entry.check, image, None) {
                    mask &= !(1 << image);
                }
            }
        }
        match entry.check.then {
            _ if mask == 0 => {}
            Then::Matches => {
                // Its memory comes while other entries are looked at.
                self.queries.prefetch(entry.query);
                self.hits.push((entry.query, mask as u8));
            }
            Then::Verify => self.note(entry.query, mask, Then::Verify),
        }
    }

    /// Notes that a query matches these images, unless what is left to verify says otherwise.
    #[inline]
    fn note(&mut self, number: u32, mut mask: Mask, then: Then) {
        let query = &mut self.queries[number];
        if query.stamp != self.stamp {
            (query.stamp, query.matches, query.judged) = (self.stamp, 0, 0);
        }
        mask &= !u32::from(query.matches | query.judged);
        if mask == 0 {
            return;
        }
        if then == Then::Verify {
            query.judged |= mask as u8;
            for image in 0..2 {
                if mask >> image & 1 == 1 && !self.verify(number, image) {
                    mask &= !(1 << image);
                }
            }
            if mask == 0 {
                return;
            }
        }
        let query = &mut self.queries[number];
        if query.matches == 0 {
            self.touched.push(number);
        }
        query.matches |= mask as u8;
    }

    /// The conditions of a query that are not in its entries: those compiled first, they are cheap.
    fn verify(&self, query: u32, image: usize) -> bool {
        let Some(rest) = &self.queries[query].rest else { return true };
        rest.checks.iter().all(|check| self.holds(check, image, Some(&rest.sets)))
            && rest.predicate.as_ref().is_none_or(|predicate| self.documents[image].is_some_and(|document| predicate.matches(document)))
    }

    #[inline]
    fn holds(&self, check: &Check, image: usize, sets: Option<&[Set]>) -> bool {
        let found = match self.findings[image].at(check.slot) {
            None => false,
            Some(_) if check.ask == Ask::Exists => true,
            Some(state) if state.count == 1 && check.ask != Ask::OneOf => {
                if state.first.class == check.class {
                    check.low <= state.first.key && state.first.key <= check.high
                } else {
                    state.first.class == Class::BigInt && self.holds_for_many(check, image, sets)
                }
            }
            Some(_) => self.holds_for_many(check, image, sets),
        };
        found != check.negated
    }

    fn holds_for_many(&self, check: &Check, image: usize, sets: Option<&[Set]>) -> bool {
        let mut all = self.findings[image].all(check.slot);
        match check.ask {
            Ask::Nothing => true,
            Ask::Exists => all.next().is_some(),
            Ask::Equal => all.any(|found| found.class == check.class && found.key == check.low),
            Ask::Range => {
                let (mut above, mut below) = (false, false);
                for found in all {
                    if found.class == check.class {
                        above |= found.key >= check.low;
                        below |= found.key <= check.high;
                    } else if found.class == Class::BigInt && check.class == Class::Number {
                        let to = |bound: u64| compare_numbers(Number::Int(found.key as i64), Number::Float(key::float_of(bound)));
                        above |= to(check.low) != Ordering::Less;
                        below |= to(check.high) != Ordering::Greater;
                    }
                }
                above && below
            }
            Ask::OneOf => {
                let set = sets.and_then(|sets| sets.get(check.low as usize));
                set.is_some_and(|set| all.any(|found| set.binary_search(&(found.class, found.key)).is_ok()))
            }
        }
    }
}

/// Not a string that no query compares at this path.
#[inline]
fn known(found: Found) -> bool {
    found.class != Class::String || found.key < UNASKED
}

/// Classes by their numbers.
const CLASS: [Class; key::CLASSES] = [
    Class::Null,
    Class::Bool,
    Class::Number,
    Class::BigInt,
    Class::Date,
    Class::String,
    Class::Whole,
    Class::Present,
    Class::Opened,
    Class::Size,
    Class::OffNumber,
    Class::OffDate,
    Class::Prefix,
    Class::Literal,
    Class::NumberRange,
    Class::DateRange,
    Class::TextRange,
    Class::Cell,
];
