//! Entries and the nodes they hang on.
//!
//! A node stands for one key below another node: the bucket's root, then `city = "Rome"`, then within that `price in
//! …`. An entry is one place where one query hangs; it carries one more of the query's conditions inline, so that
//! most candidates are dismissed without touching the query's own memory. Where a node has many entries, those
//! whose inline condition is an equality or a range move one level down, under that condition.
//!
//! Whoever stores the number of a slot or string holds it: nodes their key's, entries their inline condition's.

use super::arena::Arena;
use super::cells;
use super::intervals::Intervals;
use super::key::{Class, Hashing};
use super::paths::Paths;
use super::patterns::Patterns;
use super::strings::Strings;
use crate::prefetch;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::cell::Cell;
use std::hash::BuildHasher;

/// What a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ask {
    /// Nothing
    #[default]
    Nothing,
    /// A value of this class and key stands there
    Equal,
    /// Values of this class at or above the lower and at or below the upper key stand there
    Range,
    /// Something stands there
    Exists,
    /// One of a set of keys stands there; `low` is the set's number within the query
    OneOf,
}

/// A compiled condition on one path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Check {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) slot: u32,
    pub(super) ask: Ask,
    pub(super) class: Class,
    pub(super) negated: bool,
    pub(super) then: Then,
}

/// What is left to do when an entry was reached and its check holds. Unused in checks outside of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Then {
    /// Nothing: the query matches
    #[default]
    Matches,
    /// Ask the query's other conditions
    Verify,
}

/// One place where one query hangs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) check: Check,
    pub(super) query: u32,
    pub(super) place: u32,
}

/// Where an entry is, so that it can be taken out again; a query's places are a chain.
#[derive(Default)]
pub(super) struct Place {
    pub(super) node: u32,
    /// Position in the node's list; with intervals the number of the span
    at: u32,
    pub(super) next: u32,
}

pub(super) const NONE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) slot: u32,
    pub(super) key: u64,
    pub(super) class: Class,
    /// Bucket's root: keys below it are counted in the slots
    root: bool,
    /// The change that visited it last, and for which images
    pub(super) visited: Cell<u32>,
    pub(super) list: SmallVec<[Entry; 1]>,
    pub(super) more: Option<Box<More>>,
}

impl Node {
    /// Asks for the memory that a visit will read beside the node itself.
    #[inline]
    pub(super) fn prefetch(&self) {
        if self.list.spilled() {
            prefetch::bytes(&self.list, 256);
        }
        if let Some(more) = &self.more {
            prefetch::bytes(std::slice::from_ref(&**more), 64);
        }
    }
}

/// What few nodes have.
pub(super) struct More {
    /// Which of [`Entries::intervals`], or [`NONE`]
    pub(super) intervals: u32,
    /// Length of the list at which moving entries down is tried again
    split_at: u32,
    pub(super) children: SmallVec<[Child; 1]>,
}

impl Default for More {
    fn default() -> Self {
        More { intervals: NONE, split_at: 0, children: SmallVec::new() }
    }
}

/// A second level: which slot and class to look up below a node.
#[derive(Clone, Copy)]
pub(super) struct Child {
    pub(super) slot: u32,
    pub(super) class: Class,
    nodes: u32,
    /// Where the class is one of intervals: those of the only node. The way there is shorter than by the node.
    pub(super) intervals: u32,
}

/// Length from which a list is split, and how many entries on one path make it worth while.
const SPLIT: usize = 8;
const GROUP: usize = 4;

#[derive(Default)]
pub(super) struct Entries {
    pub(super) nodes: Arena<Node>,
    table: HashTable<u32>,
    hashing: Hashing,
    pub(super) places: Arena<Place>,
    pub(super) intervals: Arena<Intervals>,
    spans: Arena<(u64, u64)>,
    /// Entries in all
    pub(super) count: usize,
}

/// What entries refer to.
pub(super) struct Names<'i> {
    pub(super) paths: &'i mut Paths,
    pub(super) strings: &'i mut Strings,
    pub(super) patterns: &'i mut Patterns,
}

impl Names<'_> {
    /// Counts one more holder of what a key names.
    pub(super) fn retain(&mut self, slot: u32, class: Class, key: u64) {
        self.paths.retain(slot);
        if let Class::String | Class::Prefix | Class::Literal = class {
            self.strings.retain(key as u32);
        }
        if class == Class::String {
            self.paths.count_strings(slot, 1);
        }
    }

    pub(super) fn release(&mut self, slot: u32, class: Class, key: u64) {
        if class == Class::String {
            self.paths.count_strings(slot, -1);
        }
        if let Class::String | Class::Prefix | Class::Literal = class {
            self.strings.release(key as u32);
        }
        self.paths.release(slot);
    }

    pub(super) fn retain_check(&mut self, check: &Check) {
        match check.ask {
            Ask::Nothing => {}
            Ask::Equal => self.retain(check.slot, check.class, check.low),
            _ => self.paths.retain(check.slot),
        }
    }

    pub(super) fn release_check(&mut self, check: &Check) {
        match check.ask {
            Ask::Nothing => {}
            Ask::Equal => self.release(check.slot, check.class, check.low),
            _ => self.paths.release(check.slot),
        }
    }

    /// The bucket's root has a first entry under this key, or no more.
    fn count(&mut self, slot: u32, class: Class, key: u64, change: i32) {
        self.paths.count_class(slot, class, change);
        match class {
            Class::Prefix => {
                let length = self.strings.text(key as u32).len();
                self.paths.count_prefix(slot, length, change);
            }
            Class::Cell => self.paths.count_level(slot, cells::level(key), change),
            Class::Literal if change > 0 => self.patterns.add(slot, key as u32, self.strings.text(key as u32)),
            Class::Literal => self.patterns.remove(slot, key as u32),
            _ => {}
        }
    }
}

fn hash(hashing: &Hashing, parent: u32, slot: u32, class: Class, key: u64) -> u64 {
    hashing.hash_one((u64::from(parent) << 32 | u64::from(slot), key ^ (class as u64) << 56))
}

/// Where a condition leads when it is a node's key: class and key.
pub(super) fn descent(check: &Check) -> Option<(Class, u64)> {
    match (check.ask, check.class) {
        _ if check.negated => None,
        (Ask::Equal, class) => Some((class, check.low)),
        (Ask::Range, Class::Number) => Some((Class::NumberRange, 0)),
        (Ask::Range, Class::Date) => Some((Class::DateRange, 0)),
        _ => None,
    }
}

impl Entries {
    pub(super) fn root(&mut self) -> u32 {
        self.nodes.insert(Node { parent: NONE, slot: NONE, root: true, ..Node::default() })
    }

    #[inline]
    pub(super) fn find(&self, parent: u32, slot: u32, class: Class, key: u64) -> Option<u32> {
        let found = |node: &u32| {
            let node = &self.nodes[*node];
            node.key == key && node.slot == slot && node.parent == parent && node.class == class
        };
        self.table.find(hash(&self.hashing, parent, slot, class, key), found).copied()
    }

    /// The same for a string, which may know its node.
    #[inline]
    pub(super) fn find_string(&self, strings: &Strings, parent: u32, slot: u32, key: u64) -> Option<u32> {
        let known = strings.node(key as u32);
        match self.nodes.get(known) {
            Some(node) if node.key == key && node.slot == slot && node.parent == parent && node.class == Class::String => Some(known),
            _ => self.find(parent, slot, Class::String, key),
        }
    }

    /// How many entries hang on a key of a bucket's root, those of the second level not counted one by one.
    pub(super) fn load(&self, root: u32, slot: u32, class: Class, key: u64) -> usize {
        self.find(root, slot, class, key).map_or(0, |node| {
            let node = &self.nodes[node];
            let below = |more: &More| more.children.iter().map(|child| child.nodes as usize).sum::<usize>();
            self.beside(node) + node.more.as_deref().map_or(0, below)
        })
    }

    /// How many entries hang on a node itself.
    pub(super) fn beside(&self, node: &Node) -> usize {
        node.list.len() + self.intervals_of(node).map_or(0, Intervals::len)
    }

    fn intervals_of(&self, node: &Node) -> Option<&Intervals> {
        node.more.as_ref().and_then(|more| self.intervals.get(more.intervals))
    }

    /// The node under a key, made if need be.
    fn node(&mut self, names: &mut Names<'_>, parent: u32, slot: u32, class: Class, key: u64) -> u32 {
        if let Some(node) = self.find(parent, slot, class, key) {
            return node;
        }
        names.retain(slot, class, key);
        let node = self.nodes.insert(Node { parent, slot, key, class, ..Node::default() });
        let (nodes, hashing) = (&self.nodes, &self.hashing);
        let rehash = |node: &u32| {
            let node = &nodes[*node];
            hash(hashing, node.parent, node.slot, node.class, node.key)
        };
        self.table.insert_unique(hash(hashing, parent, slot, class, key), node, rehash);
        if self.nodes[parent].root {
            names.count(slot, class, key, 1);
            if class == Class::String && names.strings.node(key as u32) == NONE {
                names.strings.set_node(key as u32, node);
            }
        } else {
            let children = &mut self.nodes[parent].more.get_or_insert_default().children;
            match children.iter_mut().find(|child| child.slot == slot && child.class == class) {
                Some(child) => child.nodes += 1,
                None => children.push(Child { slot, class, nodes: 1, intervals: NONE }),
            }
        }
        node
    }

    /// Hangs a query under a key of a bucket's root; the interval counts with ranges only. `next` is the
    /// query's last place, the result its new one. Takes over the hold on what the check names.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn hang(
        &mut self,
        names: &mut Names<'_>,
        root: u32,
        slot: u32,
        class: Class,
        key: u64,
        interval: Option<(u64, u64)>,
        check: Check,
        query: u32,
        next: u32,
    ) -> u32 {
        let node = self.node(names, root, slot, class, key);
        let place = self.places.insert(Place { next, ..Place::default() });
        self.count += 1;
        let entry = Entry { check, query, place };
        match interval {
            Some(interval) => self.put_interval(node, interval, entry),
            None => self.put(names, node, entry),
        }
        place
    }

    /// Hangs a query on the bucket's root itself: the residual class.
    pub(super) fn hang_residual(&mut self, root: u32, check: Check, query: u32) -> u32 {
        let place = self.places.insert(Place { next: NONE, ..Place::default() });
        self.count += 1;
        self.put_list(root, Entry { check, query, place });
        place
    }

    fn put_interval(&mut self, node: u32, (low, high): (u64, u64), entry: Entry) {
        let place = entry.place;
        let mut number = self.nodes[node].more.get_or_insert_default().intervals;
        if number == NONE {
            number = self.intervals.insert(Intervals::default());
            let Node { parent, slot, class, .. } = self.nodes[node];
            if let Some(more) = &mut self.nodes[node].more {
                more.intervals = number;
            }
            let siblings = self.nodes[parent].more.iter_mut().flat_map(|more| &mut more.children);
            siblings.filter(|child| child.slot == slot && child.class == class).for_each(|child| child.intervals = number);
        }
        self.intervals[number].insert(low, high, entry);
        let at = self.spans.insert((low, high));
        self.places[place] = Place { node, at, next: self.places[place].next };
    }

    fn put_list(&mut self, node: u32, entry: Entry) {
        let list = &mut self.nodes[node].list;
        if list.len() == list.capacity() {
            // Most keys have one entry or two.
            list.reserve_exact((list.len() / 2).max(1));
        }
        let at = list.len() as u32;
        list.push(entry);
        let place = &mut self.places[entry.place];
        (place.node, place.at) = (node, at);
    }

    fn put(&mut self, names: &mut Names<'_>, node: u32, entry: Entry) {
        let known = |more: &More, class: Class| more.children.iter().any(|child| child.slot == entry.check.slot && child.class == class);
        if let (Some(more), Some((class, _))) = (&self.nodes[node].more, descent(&entry.check))
            && known(more, class)
        {
            return self.put_below(names, node, entry);
        }
        self.put_list(node, entry);
        let length = self.nodes[node].list.len();
        let split_at = self.nodes[node].more.as_ref().map_or(SPLIT, |more| SPLIT.max(more.split_at as usize));
        if length > split_at && !self.nodes[node].root {
            self.split(names, node);
        }
    }

    /// Moves an entry under its inline condition.
    fn put_below(&mut self, names: &mut Names<'_>, node: u32, mut entry: Entry) {
        let Some((class, key)) = descent(&entry.check) else { return self.put_list(node, entry) };
        let check = entry.check;
        let below = self.node(names, node, check.slot, class, key);
        entry.check = Check { then: check.then, ..Check::default() };
        if class == Class::NumberRange || class == Class::DateRange {
            self.put_interval(below, (check.low, check.high), entry);
        } else {
            self.put_list(below, entry);
        }
        names.release_check(&check);
    }

    fn split(&mut self, names: &mut Names<'_>, node: u32) {
        let list = std::mem::take(&mut self.nodes[node].list);
        let mut groups: Vec<(u32, Class, usize)> = Vec::new();
        for entry in &list {
            if let Some((class, _)) = descent(&entry.check) {
                match groups.iter().position(|(slot, other, _)| *slot == entry.check.slot && *other == class) {
                    Some(group) => groups[group].2 += 1,
                    // Paths beyond these are few of a kind, or come to the front at a later split.
                    None if groups.len() < 16 => groups.push((entry.check.slot, class, 1)),
                    None => {}
                }
            }
        }
        groups.retain(|group| group.2 >= GROUP);
        for entry in list {
            let down = descent(&entry.check)
                .is_some_and(|(class, _)| groups.iter().any(|(slot, other, _)| *slot == entry.check.slot && *other == class));
            if down { self.put_below(names, node, entry) } else { self.put_list(node, entry) }
        }
        let length = self.nodes[node].list.len();
        self.nodes[node].more.get_or_insert_default().split_at = (length * 2).max(SPLIT) as u32;
    }

    /// Takes one place out; gives back the next one of the query.
    pub(super) fn take(&mut self, names: &mut Names<'_>, place: u32) -> u32 {
        let Place { node, at, next } = self.places.remove(place);
        self.count -= 1;
        let body = &mut self.nodes[node];
        let entry = if body.list.get(at as usize).is_some_and(|entry| entry.place == place) {
            let entry = body.list.swap_remove(at as usize);
            if let Some(moved) = body.list.get(at as usize) {
                self.places[moved.place].at = at;
            }
            if body.list.len() * 4 <= body.list.capacity() {
                body.list.shrink_to_fit();
            }
            Some(entry)
        } else {
            let (low, high) = self.spans.remove(at);
            let number = body.more.as_ref().map_or(NONE, |more| more.intervals);
            if number == NONE { None } else { self.intervals[number].remove(low, high, place) }
        };
        debug_assert!(entry.is_some(), "every place has an entry");
        if let Some(entry) = entry {
            names.release_check(&entry.check);
        }
        self.prune(names, node);
        next
    }

    /// Frees a node that has nothing left, and those above that only it kept.
    fn prune(&mut self, names: &mut Names<'_>, mut node: u32) {
        loop {
            let body = &self.nodes[node];
            let children = body.more.as_ref().is_some_and(|more| !more.children.is_empty());
            let busy = children || self.intervals_of(body).is_some_and(|intervals| !intervals.is_empty());
            if body.root || busy || !body.list.is_empty() {
                return;
            }
            let hash = hash(&self.hashing, body.parent, body.slot, body.class, body.key);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == node) {
                entry.remove();
            }
            let Node { parent, slot, key, class, more, .. } = self.nodes.remove(node);
            for more in more.iter().filter(|more| more.intervals != NONE) {
                self.intervals.remove(more.intervals);
            }
            let (nodes, hashing) = (&self.nodes, &self.hashing);
            super::shrink(&mut self.table, |node| {
                let node = &nodes[*node];
                self::hash(hashing, node.parent, node.slot, node.class, node.key)
            });
            if self.nodes[parent].root {
                names.count(slot, class, key, -1);
                if class == Class::String && names.strings.node(key as u32) == node {
                    names.strings.set_node(key as u32, NONE);
                }
            } else if let Some(more) = &mut self.nodes[parent].more {
                if let Some(child) = more.children.iter_mut().find(|child| child.slot == slot && child.class == class) {
                    child.nodes -= 1;
                }
                more.children.retain(|child| child.nodes > 0);
            }
            names.release(slot, class, key);
            node = parent;
        }
    }

    pub(super) fn release_root(&mut self, root: u32) {
        self.nodes.remove(root);
    }

    /// The span of a place that is in an interval structure.
    pub(super) fn span(&self, place: u32) -> (u64, u64) {
        self.spans[self.places[place].at]
    }

    pub(super) fn memory(&self) -> usize {
        // Lists and blocks have room for half as many again as they hold at most.
        let entries = self.count * (size_of::<Entry>() + 16);
        self.nodes.memory() + self.table.allocation_size() + self.places.memory() + self.intervals.memory() + self.spans.memory() + entries
    }
}
