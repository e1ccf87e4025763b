//! One pass along a document: what stands at the paths that standing queries mention.
//!
//! The walk is the one of [`Path::any`](crate::query::ast::Path::any), along all paths at once, and the two must agree:
//! an array before the end of a path is opened, a numeric component also selects an element, an array at the end is
//! given element by element and as a whole, one selected by its position as a whole only.
//!
//! Strings are looked up in steps, each for all of them before the next: nearly each step of each string waits for memory, and
//! so they wait together. [`Walk::document`] announces them, [`Findings::likely`] and [`Findings::resolve`] follow.

use super::entries::{Entries, NONE};
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
    /// The top-level fields, in their order
    trail: Vec<Field>,
    /// Slots at which the image before has the same, see [`Findings::share`]
    shared: Vec<u32>,
    /// Strings whose keys are not known yet
    announced: Vec<Announced>,
    /// There is no such image, or it was not walked yet, unless this is the stamp of the change
    stamp: u32,
}

/// What stands at a slot.
#[derive(Clone, Copy, Default)]
pub(super) struct State {
    stamp: u32,
    /// How many things
    pub(super) count: u32,
    /// It is what the image before has there: places are those of its document
    pub(super) shared: bool,
    pub(super) first: Found,
    /// Where in the list of values the second thing is
    more: u32,
}

/// A field of the document itself, as a later image may have it, too.
struct Field {
    /// The node of its name
    at: u32,
    /// [`NONE`] if no query mentions it
    slot: u32,
    /// Which of [`Findings::slots`] were found below it
    from: u32,
    to: u32,
    /// An array was opened below it
    opened: bool,
}

/// A string on its way to its key.
struct Announced {
    slot: u32,
    /// Which thing at the slot it is, see [`Findings::thing`]
    thing: u32,
    from: From,
}

enum From {
    /// The table of strings, by this hash
    Table(u64),
    /// Thing of the image before at the same slot, which has the same text
    Earlier(u32),
    /// Found to be mentioned by no query
    Nowhere,
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

    /// Whether the same stands at a slot here and there, in the image after; `keyed` if equal keys are enough,
    /// whatever strings they do not tell apart.
    #[inline]
    pub(super) fn same(&self, other: &Findings, slot: u32, keyed: bool) -> bool {
        match (self.at(slot), other.at(slot)) {
            (Some(_), Some(there)) if there.shared => true,
            (Some(here), Some(there)) if keyed && here.count == there.count => {
                let equal = |here: Found, there: Found| here.key == there.key && here.class == there.class;
                if here.count == 1 {
                    return equal(here.first, there.first);
                }
                self.all(slot).zip(other.all(slot)).all(|(here, there)| equal(here, there))
            }
            _ => false,
        }
    }

    /// The so manieth thing at a slot: 0 is the first, others are one more than their number in the list of values.
    #[inline]
    fn thing(&mut self, slot: u32, thing: u32) -> Option<&mut Found> {
        match thing {
            0 => self.states.get_mut(slot as usize).map(|state| &mut state.first),
            thing => self.values.get_mut(thing as usize - 1),
        }
    }

    /// The thing that is this string, if what stands at a slot as the so manieth thing is.
    #[inline]
    fn predicted(&self, document: &Document, slot: u32, count: u32, text: &str) -> Option<u32> {
        let state = self.at(slot).filter(|state| count < state.count)?;
        let (thing, found) = match count {
            0 => (0, &state.first),
            count => (state.more + count, self.values.get((state.more + count - 1) as usize)?),
        };
        let asked = found.key != UNASKED;
        (asked && matches!(document.value_at(found.at), Value::String(other) if other == text)).then_some(thing)
    }

    /// The second step of looking strings up.
    pub(super) fn likely(&mut self, strings: &Strings) {
        for announced in &mut self.announced {
            if let From::Table(hash) = announced.from
                && !strings.likely(hash)
            {
                announced.from = From::Nowhere;
            }
        }
    }

    /// The third step: gives announced strings their keys, and asks for the memory of their nodes.
    pub(super) fn resolve(&mut self, document: &Document, strings: &Strings, entries: &Entries, earlier: Option<&Findings>) {
        let announced = std::mem::take(&mut self.announced);
        for Announced { slot, thing, from } in &announced {
            let Some(at) = self.thing(*slot, *thing).map(|found| found.at) else { continue };
            let key = match from {
                From::Nowhere => continue,
                From::Earlier(other) => earlier.and_then(|earlier| earlier.key(*slot, *other)),
                From::Table(hash) => match document.value_at(at) {
                    Value::String(text) => strings.find_hashed(*hash, text).map(|number| {
                        entries.nodes.prefetch(strings.node(number));
                        u64::from(number)
                    }),
                    _ => None,
                },
            };
            if let (Some(key), Some(found)) = (key, self.thing(*slot, *thing)) {
                found.key = key;
            }
        }
        self.announced = announced;
    }

    fn key(&self, slot: u32, thing: u32) -> Option<u64> {
        match thing {
            0 => self.at(slot).map(|state| state.first.key),
            thing => self.values.get(thing as usize - 1).map(|found| found.key),
        }
    }

    /// Takes over what the image before has at the slots where this one has the same. Once its keys are known.
    pub(super) fn share(&mut self, earlier: &Findings) {
        for slot in &self.shared {
            let (Some(mut state), Some(here)) = (earlier.at(*slot).copied(), self.states.get_mut(*slot as usize)) else { continue };
            let mut next = std::mem::take(&mut state.first.next);
            if next > 0 {
                state.first.next = self.values.len() as u32 + 1;
            }
            while let Some(found) = (next as usize).checked_sub(1).and_then(|at| earlier.values.get(at)) {
                next = found.next;
                let following = if next > 0 { self.values.len() as u32 + 2 } else { 0 };
                self.values.push(Found { next: following, ..*found });
            }
            *here = State { shared: true, ..state };
        }
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
        self.shared.clear();
        self.shared.shrink_to(1 << 14);
        self.trail.clear();
        self.trail.shrink_to(1 << 14);
        self.announced.clear();
        self.announced.shrink_to(1 << 14);
        self.opened = false;
        self.stamp = stamp;
    }

    /// Stamps start from the beginning.
    pub(super) fn reset(&mut self) {
        self.states.clear();
    }

    pub(super) fn memory(&self) -> usize {
        self.states.capacity() * size_of::<State>()
            + self.values.capacity() * size_of::<Found>()
            + self.announced.capacity() * size_of::<Announced>()
            + self.trail.capacity() * size_of::<Field>()
    }
}

/// A walk along one document.
pub(super) struct Walk<'w> {
    pub(super) paths: &'w Paths,
    pub(super) strings: &'w Strings,
    pub(super) document: &'w Document,
    pub(super) findings: &'w mut Findings,
    /// The image before and what was found in it: most strings are the same
    pub(super) earlier: Option<(&'w Document, &'w Findings)>,
}

impl Walk<'_> {
    /// Looks each field of the document up below a bucket's slot. Most updates change few fields, and fields keep their order:
    /// one that the image before has at the same place is not looked up again.
    pub(super) fn document(&mut self, root: u32) {
        let document = self.document;
        let (mut at, end) = (1, document.skip(0));
        let mut position = 0;
        while at < end {
            let before = self.earlier.and_then(|(other, findings)| Some((other, findings, findings.trail.get(position)?)));
            match before.filter(|(other, _, field)| document.same_name(at, other, field.at)) {
                Some((_, _, Field { slot: NONE, .. })) => {}
                Some((other, findings, field)) if document.same_value(at + 1, other, field.at + 1) => {
                    self.findings.shared.extend_from_slice(findings.slots.get(field.from as usize..field.to as usize).unwrap_or_default());
                    self.findings.opened |= field.opened;
                }
                Some((_, _, field)) => self.value(field.slot, at + 1),
                None => self.field(root, at),
            }
            at = document.skip(at + 1);
            position += 1;
        }
    }

    fn field(&mut self, root: u32, at: u32) {
        let (hash, name) = self.document.name_at(at);
        let child = self.paths.child(root, hash, name);
        let (from, opened) = (self.findings.slots.len() as u32, std::mem::take(&mut self.findings.opened));
        if let Some(child) = child {
            self.value(child, at + 1);
        }
        if self.earlier.is_none() {
            let to = self.findings.slots.len() as u32;
            self.findings.trail.push(Field { at, slot: child.unwrap_or(NONE), from, to, opened: self.findings.opened });
        }
        self.findings.opened |= opened;
    }

    /// Looks each field of an object up below a slot.
    fn object(&mut self, slot: u32, at: u32) {
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

    /// Announces a string that is about to become the next thing at a slot.
    #[inline]
    fn string(&mut self, slot: u32, text: &str) {
        let count = self.findings.at(slot).map_or(0, |state| state.count);
        let thing = if count == 0 { 0 } else { self.findings.values.len() as u32 + 1 };
        let earlier = self.earlier.and_then(|(document, findings)| findings.predicted(document, slot, count, text));
        let from = earlier.map_or_else(|| From::Table(self.strings.announce(text)), From::Earlier);
        self.findings.announced.push(Announced { slot, thing, from });
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
                let asked = self.paths.slot(slot).strings > 0;
                if asked {
                    self.string(slot, value);
                }
                (Class::String, if asked { UNKNOWN } else { UNASKED }, false)
            }
            Value::Array(_) => (Class::Whole, 0, true),
            Value::Object(_) => (Class::Whole, 0, false),
        };
        let findings = &mut *self.findings;
        let state = &mut findings.states[slot as usize];
        if state.stamp != findings.stamp {
            let first = Found { key, at, next: 0, class, array };
            *state = State { stamp: findings.stamp, count: 1, shared: false, first, more: findings.values.len() as u32 };
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
