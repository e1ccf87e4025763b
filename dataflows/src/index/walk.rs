//! One pass along a document: what stands at the paths that standing queries mention.
//!
//! The walk is the one of [`Path::any`](crate::query::ast::Path::any), along all paths at once, and the two must agree:
//! an array before the end of a path is opened, a numeric component also selects an element, an array at the end is
//! given element by element and as a whole, one selected by its position as a whole only.

use super::entries::Entries;
use super::key::{self, Class, UNASKED, UNKNOWN};
use super::paths::Paths;
use super::strings::Strings;
use crate::document::{Document, Tag, Value};

/// What one image has at the slots. Kept from change to change; stamps make clearing it unnecessary.
#[derive(Default)]
pub(super) struct Findings {
    states: Vec<State>,
    /// What was found beyond one thing at a slot, as chains
    values: Vec<Found>,
    /// Slots at which something was found
    pub(super) slots: Vec<u32>,
    /// Some array was opened before the end of a path: a field may be missing in one element and there in another
    pub(super) opened: bool,
    /// There is no such image, or it was not walked yet, unless this is the stamp of the change
    stamp: u32,
}

/// What stands at a slot.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    stamp: u32,
    /// How many things
    pub(super) count: u32,
    pub(super) first: Found,
    /// Where in the list of values the second thing is
    more: u32,
}

/// One thing that stands at a slot.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    pub(super) key: u64,
    /// Its place in the document
    pub(super) at: u32,
    /// The next thing at the slot, one more than its number
    next: u32,
    pub(super) class: Class,
    /// An array or object; then the key is not computed yet
    pub(super) array: bool,
}

impl Findings {
    /// What stands at a slot, if anything.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> Option<&State> {
        self.states.get(slot as usize).filter(|state| state.stamp == self.stamp)
    }

    /// Everything that stands at a slot.
    #[inline]
    pub(super) fn all(&self, slot: u32) -> impl Iterator<Item = Found> + '_ {
        let mut next = self.at(slot).map(|state| state.first);
        std::iter::from_fn(move || {
            let this = next?;
            next = (this.next > 0).then(|| self.values[this.next as usize - 1]);
            Some(this)
        })
    }

    /// Whether the same keys stand at a slot here and there, whatever strings they do not tell apart.
    #[inline]
    pub(super) fn same(&self, other: &Findings, slot: u32) -> bool {
        match (self.at(slot), other.at(slot)) {
            (Some(here), Some(there)) if here.count == there.count => {
                let equal = |here: Found, there: Found| here.key == there.key && here.class == there.class;
                if here.count == 1 {
                    return equal(here.first, there.first);
                }
                self.all(slot).zip(other.all(slot)).all(|(here, there)| equal(here, there))
            }
            _ => false,
        }
    }

    /// A string that was found at a slot as the so manieth thing, perhaps; if so its key.
    #[inline]
    fn predicted(&self, document: &Document, slot: u32, count: u32, text: &str) -> Option<u64> {
        let state = self.at(slot)?;
        let found = match count {
            0 => &state.first,
            count => self.values.get((state.more + count - 1) as usize)?,
        };
        let asked = found.class == Class::String && found.key != UNASKED;
        (asked && matches!(document.value_at(found.at), Value::String(other) if other == text)).then_some(found.key)
    }

    /// Forgets what was found and makes room for the slots.
    pub(super) fn begin(&mut self, stamp: u32, slots: usize) {
        if self.states.len() < slots || self.states.len() > slots * 2 + 1024 {
            self.states.resize(slots, State::default());
            self.states.shrink_to(slots + slots / 2);
        }
        // One document with very large arrays must not keep its memory for ever.
        self.values.clear();
        self.values.shrink_to(1 << 14);
        self.slots.clear();
        self.slots.shrink_to(1 << 14);
        self.opened = false;
        self.stamp = stamp;
    }

    /// Stamps start from the beginning.
    pub(super) fn reset(&mut self) {
        self.states.clear();
    }

    pub(super) fn memory(&self) -> usize {
        self.states.capacity() * size_of::<State>() + self.values.capacity() * size_of::<Found>()
    }
}

/// A walk along one document.
pub(super) struct Walk<'w> {
    pub(super) paths: &'w Paths,
    pub(super) strings: &'w Strings,
    pub(super) entries: &'w Entries,
    pub(super) document: &'w Document,
    pub(super) findings: &'w mut Findings,
    /// The image before and what was found in it: most strings are the same
    pub(super) earlier: Option<(&'w Document, &'w Findings)>,
}

impl Walk<'_> {
    /// Looks each field of an object up below a slot.
    pub(super) fn object(&mut self, slot: u32, at: u32) {
        let document = self.document;
        let (mut at, end) = (at + 1, document.skip(at));
        while at < end {
            let (hash, name) = document.name_at(at);
            if let Some(child) = self.paths.child(slot, hash, name) {
                self.value(child, at + 1);
            }
            at = document.skip(at + 1);
        }
    }

    fn value(&mut self, slot: u32, at: u32) {
        let (ends, children) = (self.paths.slot(slot).ends > 0, self.paths.slot(slot).children > 0);
        match self.document.nodes[at as usize].tag {
            Tag::Array => {
                if ends {
                    let (mut element, end) = (at + 1, self.document.skip(at));
                    while element < end {
                        self.found(slot, element);
                        element = self.document.skip(element);
                    }
                    self.found(slot, at);
                }
                if children {
                    self.array(slot, at);
                }
            }
            tag => {
                if ends {
                    self.found(slot, at);
                }
                if children && tag == Tag::Object {
                    self.object(slot, at);
                }
            }
        }
    }

    /// An array before the end of a path.
    fn array(&mut self, slot: u32, at: u32) {
        self.findings.opened = true;
        let paths = self.paths;
        let mut positions = paths.slot(slot).positions.iter().peekable();
        let (mut element, end) = (at + 1, self.document.skip(at));
        let mut position = 0;
        while element < end {
            let tag = self.document.nodes[element as usize].tag;
            if tag == Tag::Object {
                self.object(slot, element);
            }
            if let Some((_, child)) = positions.next_if(|(wanted, _)| *wanted == position) {
                if paths.slot(*child).ends > 0 {
                    self.found(*child, element);
                }
                if paths.slot(*child).children > 0 {
                    match tag {
                        Tag::Object => self.object(*child, element),
                        Tag::Array => self.array(*child, element),
                        _ => {}
                    }
                }
            }
            position += 1;
            element = self.document.skip(element);
        }
    }

    #[inline]
    fn string(&self, slot: u32, text: &str) -> u64 {
        if let Some((document, findings)) = self.earlier {
            let count = self.findings.at(slot).map_or(0, |state| state.count);
            if let Some(key) = findings.predicted(document, slot, count, text) {
                return key;
            }
        }
        let Some(number) = self.strings.find(text) else { return UNKNOWN };
        self.entries.nodes.prefetch(self.strings.node(number));
        u64::from(number)
    }

    #[inline]
    fn found(&mut self, slot: u32, at: u32) {
        let (class, key, array) = match self.document.value_at(at) {
            Value::Null => (Class::Null, 0, false),
            Value::Bool(value) => (Class::Bool, u64::from(value), false),
            Value::Number(value) => {
                let (class, key) = key::number(value);
                (class, key, false)
            }
            Value::Date(value) => (Class::Date, key::instant(value), false),
            Value::String(value) => {
                let key = if self.paths.slot(slot).strings > 0 { self.string(slot, value) } else { UNASKED };
                (Class::String, key, false)
            }
            Value::Array(_) => (Class::Whole, 0, true),
            Value::Object(_) => (Class::Whole, 0, false),
        };
        let findings = &mut *self.findings;
        let state = &mut findings.states[slot as usize];
        if state.stamp != findings.stamp {
            let first = Found { key, at, next: 0, class, array };
            *state = State { stamp: findings.stamp, count: 1, first, more: findings.values.len() as u32 };
            findings.slots.push(slot);
        } else {
            if state.count == 1 {
                state.more = findings.values.len() as u32;
            }
            findings.values.push(Found { key, at, next: state.first.next, class, array });
            state.first.next = findings.values.len() as u32;
            state.count += 1;
        }
    }
}
