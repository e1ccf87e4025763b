//! The order in which things are sent, and putting events of one object together in it.

use super::super::event::{Composed, Event};
use super::super::messages::ServerMessage;
use super::super::subscription::SlotKey;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub(super) enum Entry {
    /// Was put together with another, or its subscription is gone
    Empty,
    Event(SlotKey, Arc<Event>),
    Message(Option<SlotKey>, Box<ServerMessage>),
}

/// What putting events together saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) events: usize,
    /// Less than zero where the later event is larger than the earlier one
    pub(super) bytes: isize,
}

#[derive(Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// Number of entries that ever left the front: an entry's number is its index plus this
    departed: u64,
    empty: usize,
    /// While events are put together: the number of the entry that has the last event of an object
    places: Option<HashMap<(SlotKey, Arc<str>), u64>>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == self.empty
    }

    pub(super) fn is_composing(&self) -> bool {
        self.places.is_some()
    }

    pub(super) fn stop_composing(&mut self) {
        self.places = None;
    }

    pub(super) fn push_message(&mut self, key: Option<SlotKey>, message: Box<ServerMessage>) {
        self.entries.push_back(Entry::Message(key, message));
    }

    /// `composes`: later events of the object may be put together with it.
    pub(super) fn push_event(&mut self, key: SlotKey, event: Arc<Event>, composes: bool) {
        let number = self.departed + self.entries.len() as u64;
        if let Some(places) = self.places.as_mut().filter(|_| composes) {
            places.insert((key, event.change.id.clone()), number);
        }
        self.entries.push_back(Entry::Event(key, event));
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        loop {
            let Some(entry) = self.entries.pop_front() else {
                // What a burst has taken is given back; what a single event takes is kept for the next one.
                if self.entries.capacity() > 16 {
                    self.entries = VecDeque::new();
                }
                (self.departed, self.places) = (0, None);
                return None;
            };
            self.departed += 1;
            match &entry {
                Entry::Empty => {
                    self.empty -= 1;
                    continue;
                }
                Entry::Message(..) => {}
                Entry::Event(key, event) => {
                    if let Some(places) = &mut self.places {
                        let place = (*key, event.change.id.clone());
                        if places.get(&place).is_some_and(|number| *number < self.departed) {
                            places.remove(&place);
                        }
                    }
                }
            }
            return Some(entry);
        }
    }

    /// Puts an event together with the one of its object that is queued. None: there is none, or they do not
    /// follow each other; then it has to be pushed.
    pub(super) fn compose(&mut self, key: SlotKey, event: &Event) -> Option<Saved> {
        let places = self.places.as_ref()?;
        let place = (key, event.change.id.clone());
        let number = *places.get(&place)?;
        let entry = self.entries.get_mut(usize::try_from(number.checked_sub(self.departed)?).ok()?)?;
        let Entry::Event(_, earlier) = entry else { return None };
        let old = earlier.size() as isize;
        match earlier.compose(event) {
            Composed::Apart => None,
            Composed::Nothing => {
                *entry = Entry::Empty;
                self.empty += 1;
                if let Some(places) = &mut self.places {
                    places.remove(&place);
                }
                Some(Saved { events: 1, bytes: old })
            }
            Composed::One(one) => {
                let bytes = old - one.size() as isize;
                *earlier = Arc::new(one);
                Some(Saved { events: 0, bytes })
            }
        }
    }

    /// From now on at most one event of an object, also of those that are queued already. Answers with what that saved.
    pub(super) fn start_composing(&mut self, composes: impl Fn(SlotKey) -> bool) -> Vec<(SlotKey, Saved)> {
        self.places = Some(HashMap::new());
        self.rebuild(composes)
    }

    /// Empties what is of this subscription and `drops` says so.
    pub(super) fn remove(&mut self, key: SlotKey, drops: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut removed = Vec::new();
        for entry in &mut self.entries {
            let owner = match entry {
                Entry::Empty => None,
                Entry::Event(owner, _) => Some(*owner),
                Entry::Message(owner, _) => *owner,
            };
            if owner == Some(key) && drops(entry) {
                removed.push(std::mem::replace(entry, Entry::Empty));
                self.empty += 1;
            }
        }
        if let Some(places) = &mut self.places {
            places.retain(|(owner, _), _| *owner != key);
        }
        removed
    }

    /// Keeps the places of what is gone from adding up while nobody reads.
    pub(super) fn tidy(&mut self, composes: impl Fn(SlotKey) -> bool) {
        if self.empty > 32 + self.entries.len() / 2 {
            // Everything that goes together is together already: this closes the gaps.
            self.rebuild(composes);
        }
    }

    fn rebuild(&mut self, composes: impl Fn(SlotKey) -> bool) -> Vec<(SlotKey, Saved)> {
        let entries = std::mem::take(&mut self.entries);
        (self.departed, self.empty) = (0, 0);
        if let Some(places) = &mut self.places {
            places.clear();
        }
        let mut saved = Vec::new();
        for entry in entries {
            match entry {
                Entry::Empty => {}
                Entry::Message(key, message) => self.push_message(key, message),
                Entry::Event(key, event) => {
                    let composes = composes(key);
                    match self.compose(key, &event) {
                        Some(more) => saved.push((key, Saved { events: more.events + 1, bytes: more.bytes + event.size() as isize })),
                        None => self.push_event(key, event, composes),
                    }
                }
            }
        }
        saved
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The events of a subscription.
    #[cfg(test)]
    pub(super) fn events(&self, key: SlotKey) -> impl Iterator<Item = &Arc<Event>> {
        self.entries.iter().filter_map(move |entry| match entry {
            Entry::Event(owner, event) if *owner == key => Some(event),
            _ => None,
        })
    }
}
