//! What waits to be sent on one connection: a bounded queue, and what happens when it is full.
//!
//! First come, first served while within the budget of events and bytes. Beyond it the events of one
//! object in one subscription are put together where that is no lie; where that is not enough, the
//! subscription that takes most is outdated: what waits for it is dropped and it gets a fresh result
//! once the client reads again, or an error if a fresh result does not help it (invariant 8).
//!
//! No clock and no socket in here: decisions only. `S` stands for the subscription, as its owner knows it.

mod queue;

use super::event::Event;
use super::messages::{self, Refused, ServerMessage};
use super::subscription::{Arrival, Course, Cut, Need, Phase, SlotKey, Terms};
use crate::changelog::{LogId, Position};
use dataflows::change::CommitNumber;
use queue::{Entry, Queue};
use slab::Slab;
use std::sync::Arc;

/// The budget of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// Bytes of answers to what a client said that wait for it at most; beyond that it is not listened to.
const REPLY_BYTES: usize = 64 << 10;

/// What is sent next.
#[derive(Debug)]
pub(crate) enum Outgoing<S> {
    /// An event for this subscription
    Event(S, Arc<Event>),
    /// Anything else
    Message(Box<ServerMessage>),
}

struct Slot<S> {
    generation: u32,
    subscription: S,
    id: Box<str>,
    terms: Terms,
    course: Course,
    /// Of this subscription, queued and waiting
    events: usize,
    bytes: usize,
    /// Everything at or below was sent or is queued
    through: CommitNumber,
}

/// What [`Outbox::loaded`] did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    Done,
    /// Too much has happened meanwhile
    Again,
    /// The subscription has ended
    Gone,
}

/// What is counted over the life of a connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) composed: u64,
    pub(crate) outdated: u64,
}

pub(crate) struct Outbox<S> {
    budget: Budget,
    queue: Queue,
    /// Events queued and waiting, all together
    events: usize,
    bytes: usize,
    /// Bytes of other messages
    message_bytes: usize,
    /// Of those that are of no subscription: answers to what the client said
    reply_bytes: usize,
    messages: usize,
    slots: Slab<Slot<S>>,
    generations: u32,
    /// Subscriptions to be loaded afresh once the queue is empty
    stale: Vec<SlotKey>,
    /// Subscriptions that ended from within; their owner has to let go of them
    ended: Vec<S>,
    tally: Tally,
}

impl<S: Clone> Outbox<S> {
    pub(crate) fn new(budget: Budget) -> Outbox<S> {
        Outbox {
            budget,
            queue: Queue::default(),
            events: 0,
            bytes: 0,
            message_bytes: 0,
            reply_bytes: 0,
            messages: 0,
            slots: Slab::new(),
            generations: 0,
            stale: Vec::new(),
            ended: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Takes a subscription in; `id` is quoted.
    pub(crate) fn open(&mut self, id: &str, terms: Terms, make: impl FnOnce(SlotKey) -> S) -> S {
        self.generations = self.generations.wrapping_add(1);
        let (entry, generation) = (self.slots.vacant_entry(), self.generations);
        let key = SlotKey { index: entry.key() as u32, generation };
        let subscription = make(key);
        let id = id.into();
        let course = Course::new();
        entry.insert(Slot { generation, subscription: subscription.clone(), id, terms, course, events: 0, bytes: 0, through: 0 });
        subscription
    }

    /// Lets a subscription go with all that waits for it.
    pub(crate) fn close(&mut self, key: SlotKey) -> Option<S> {
        self.slot(key)?;
        self.drop_events(key);
        for entry in self.queue.remove(key, |_| true) {
            if let Entry::Message(owner, message) = entry {
                self.forget_message(owner, &message);
            }
        }
        self.tidy();
        self.stale.retain(|stale| *stale != key);
        let slot = self.slots.remove(key.index as usize);
        if self.slots.is_empty() {
            self.slots = Slab::new();
        }
        Some(slot.subscription)
    }

    /// A delta arrived. `held`: its writer is the subscriber and has not got his answer yet.
    pub(crate) fn deliver(&mut self, key: SlotKey, event: &Arc<Event>, held: bool) {
        let Some(slot) = self.slot(key) else { return };
        match slot.course.arrival(&event.change, held) {
            Arrival::Drop => {}
            Arrival::Pass => self.enqueue(key, event.clone()),
            Arrival::Wait => {
                let size = event.size();
                slot.course.waiting.push_back(event.clone());
                slot.events += 1;
                slot.bytes += size;
                self.events += 1;
                self.bytes += size;
                self.relieve();
            }
        }
    }

    /// The load of a subscription begins. False: it has ended.
    pub(crate) fn begin_load(&mut self, key: SlotKey) -> bool {
        self.slot(key).map(|slot| slot.course.begin_load()).is_some()
    }

    /// The snapshot of a load is taken.
    pub(crate) fn reads(&mut self, key: SlotKey, commit: CommitNumber) {
        if self.slot(key).is_some_and(|slot| !slot.course.reads(commit)) {
            self.load_again(key);
        }
    }

    /// What a subscription has is out of date if it was read before this commit; one that a fresh result does not help ends with this error.
    pub(crate) fn renew(&mut self, key: SlotKey, commit: CommitNumber, refused: &Refused) {
        match self.slot(key).map(|slot| slot.course.needs(commit)) {
            Some(Need::Load) => self.load_again(key),
            Some(Need::Renewal) => self.supersede(key, refused),
            Some(Need::Nothing) | None => {}
        }
    }

    /// What is being loaded is out of date: whoever loads it sees that it has to begin again, and nothing waits until then.
    fn load_again(&mut self, key: SlotKey) {
        self.drop_events(key);
        if let Some(slot) = self.slot(key) {
            slot.course.outdate();
        }
    }

    /// The snapshot is read: its result (none if what was missed is queued already), then what waited and is not in it.
    /// `through`: what the client is told with that, its own position if nothing was missed.
    pub(crate) fn loaded(
        &mut self,
        key: SlotKey,
        cut: Cut,
        through: CommitNumber,
        result: Option<ServerMessage>,
        held: impl Fn(&Event) -> bool,
    ) -> Loaded {
        let Some(slot) = self.slot(key) else { return Loaded::Gone };
        let before = slot.course.waiting.iter().map(|event| event.size()).sum::<usize>();
        let count = slot.course.waiting.len();
        if !slot.course.loaded(cut) {
            return Loaded::Again;
        }
        let after = slot.course.waiting.iter().map(|event| event.size()).sum::<usize>();
        let dropped = count - slot.course.waiting.len();
        slot.through = through;
        slot.events -= dropped;
        slot.bytes -= before - after;
        self.events -= dropped;
        self.bytes -= before - after;
        if let Some(result) = result {
            // It has them in it. A later event that was put together with one of them would come before it.
            self.drop_queued(key);
            self.push_message(Some(key), result);
        }
        self.release(key, held);
        Loaded::Done
    }

    /// Queues an event of a subscription that is loading: what a client that comes back has missed.
    pub(crate) fn catch_up(&mut self, key: SlotKey, event: Arc<Event>) {
        if self.slot(key).is_some() {
            self.enqueue(key, event);
        }
    }

    /// Sends what waits, up to the first that is still held.
    pub(crate) fn release(&mut self, key: SlotKey, held: impl Fn(&Event) -> bool) {
        while let Some(slot) = self.slot(key).filter(|slot| matches!(slot.course.phase, Phase::Live { .. })) {
            if slot.course.waiting.front().is_none_or(|event| held(event)) {
                break;
            }
            let Some(event) = slot.course.waiting.pop_front() else { break };
            if slot.course.waiting.is_empty() {
                slot.course.waiting = Default::default();
            }
            let size = event.size();
            slot.events -= 1;
            slot.bytes -= size;
            self.events -= 1;
            self.bytes -= size;
            self.enqueue(key, event);
        }
    }

    /// The dataflow is past the snapshot that the subscription was loaded from.
    pub(crate) fn settle(&mut self, key: SlotKey, passed: &Cut) {
        if let Some(slot) = self.slot(key) {
            slot.course.settle(passed);
        }
    }

    /// Ends a subscription with an error.
    pub(crate) fn fail(&mut self, key: SlotKey, refused: &Refused) -> Option<S> {
        let id = self.slot(key)?.id.clone();
        let subscription = self.close(key);
        self.push_message(None, messages::error(Some(&id), refused));
        subscription
    }

    /// A message about no subscription in here.
    pub(crate) fn reply(&mut self, message: ServerMessage) {
        self.push_message(None, message);
    }

    /// A message of a subscription that is loading.
    pub(crate) fn announce(&mut self, key: SlotKey, message: ServerMessage) {
        if self.slot(key).is_some() {
            self.push_message(Some(key), message);
        }
    }

    /// Everything that a subscription has is out of date, whatever waits for it.
    pub(crate) fn outdate(&mut self, key: SlotKey) {
        let refused = Refused::new(
            503,
            "subscription-overrun",
            "the client is too slow for the events of this subscription, or the server has lost track of them; subscribe again",
        );
        self.tally.outdated += u64::from(self.holds(key));
        self.supersede(key, &refused);
    }

    /// As [`Outbox::outdate`], for another reason.
    fn supersede(&mut self, key: SlotKey, refused: &Refused) {
        let Some(slot) = self.slot(key) else { return };
        let (refreshes, id) = (slot.terms.refreshes, slot.id.clone());
        self.drop_events(key);
        if refreshes {
            if self.slot(key).is_some_and(|slot| slot.course.outdate()) {
                self.stale.push(key);
            }
        } else {
            let subscription = self.close(key);
            self.ended.extend(subscription);
            self.push_message(None, messages::error(Some(&id), refused));
        }
    }

    /// [`Outbox::outdate`] for all.
    pub(crate) fn outdate_all(&mut self) {
        for key in self.keys() {
            self.outdate(key);
        }
    }

    /// Ends all with an error.
    pub(crate) fn fail_all(&mut self, refused: &Refused) {
        for key in self.keys() {
            let subscription = self.fail(key, refused);
            self.ended.extend(subscription);
        }
    }

    /// Tells clients with extensions how far they are, where they have not been told by an event.
    pub(crate) fn tell_positions(&mut self, log: LogId, frontier: CommitNumber) {
        for key in self.keys() {
            let Some(slot) = self.slot(key) else { continue };
            let quiet = slot.terms.extensions && slot.events == 0 && slot.through < frontier;
            if quiet && matches!(slot.course.phase, Phase::Live { cut: None }) {
                slot.through = frontier;
                let message = messages::position(&slot.id, &Position::single(log, frontier));
                self.push_message(Some(key), message);
            }
        }
    }

    /// What is sent next. None: nothing now.
    pub(crate) fn pop(&mut self) -> Option<Outgoing<S>> {
        while let Some(entry) = self.queue.pop() {
            match entry {
                Entry::Empty => {}
                Entry::Message(key, message) => {
                    self.forget_message(key, &message);
                    return Some(Outgoing::Message(message));
                }
                Entry::Event(key, event) => {
                    self.forget(key, 1, event.size() as isize);
                    self.tally.sent += 1;
                    if self.events * 2 < self.budget.events && self.bytes * 2 < self.budget.bytes {
                        self.queue.stop_composing();
                    }
                    if let Some(slot) = self.slot(key) {
                        slot.through = slot.through.max(event.through);
                        return Some(Outgoing::Event(slot.subscription.clone(), event));
                    }
                }
            }
        }
        None
    }

    /// Subscriptions to be loaded afresh, now that the client has read all that was there.
    pub(crate) fn take_stale(&mut self) -> Vec<S> {
        if self.stale.is_empty() || !self.is_empty() {
            return Vec::new();
        }
        let stale = std::mem::take(&mut self.stale);
        stale.into_iter().filter_map(|key| self.slot(key).map(|slot| slot.subscription.clone())).collect()
    }

    /// Subscriptions that ended from within.
    pub(crate) fn take_ended(&mut self) -> Vec<S> {
        std::mem::take(&mut self.ended)
    }

    /// Lets all go.
    pub(crate) fn clear(&mut self) -> Vec<S> {
        let mut subscriptions = std::mem::take(&mut self.ended);
        subscriptions.extend(std::mem::take(&mut self.slots).into_iter().map(|(_, slot)| slot.subscription));
        (self.queue, self.stale) = (Queue::default(), Vec::new());
        (self.events, self.bytes, self.messages, self.message_bytes, self.reply_bytes) = (0, 0, 0, 0, 0);
        subscriptions
    }

    /// Whether its owner has something to do beside sending.
    pub(crate) fn needs_care(&self) -> bool {
        !self.ended.is_empty() || (!self.stale.is_empty() && self.is_empty())
    }

    /// Whether the subscription is still there.
    pub(crate) fn holds(&self, key: SlotKey) -> bool {
        self.slots.get(key.index as usize).is_some_and(|slot| slot.generation == key.generation)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether another result may be read for this client.
    pub(crate) fn has_room(&self) -> bool {
        self.message_bytes < self.budget.bytes && self.events <= self.budget.events / 2 && self.bytes <= self.budget.bytes / 2
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.slots.len()
    }

    /// Whether the client has to read before anything more is taken from it: answers to what it says add up.
    pub(crate) fn is_congested(&self) -> bool {
        self.messages > 64 + 2 * self.slots.len() || self.reply_bytes > REPLY_BYTES
    }

    /// Whether subscriptions ended from within.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Events queued and waiting, and their bytes.
    pub(crate) fn depth(&self) -> (usize, usize) {
        (self.events, self.bytes)
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    fn keys(&self) -> Vec<SlotKey> {
        self.slots.iter().map(|(index, slot)| SlotKey { index: index as u32, generation: slot.generation }).collect()
    }

    fn slot(&mut self, key: SlotKey) -> Option<&mut Slot<S>> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)
    }

    fn push_message(&mut self, key: Option<SlotKey>, message: ServerMessage) {
        let size = message.text.len();
        self.message_bytes += size;
        self.reply_bytes += if key.is_none() { size } else { 0 };
        self.messages += 1;
        self.queue.push_message(key, Box::new(message));
    }

    fn forget_message(&mut self, key: Option<SlotKey>, message: &ServerMessage) {
        let size = message.text.len();
        self.message_bytes -= size;
        self.reply_bytes -= if key.is_none() { size } else { 0 };
        self.messages -= 1;
    }

    /// So many events and bytes of a subscription less.
    fn forget(&mut self, key: SlotKey, events: usize, bytes: isize) {
        self.events -= events;
        self.bytes = self.bytes.saturating_add_signed(-bytes);
        if let Some(slot) = self.slot(key) {
            slot.events -= events;
            slot.bytes = slot.bytes.saturating_add_signed(-bytes);
        }
    }

    fn enqueue(&mut self, key: SlotKey, event: Arc<Event>) {
        if let Some(saved) = self.queue.compose(key, &event) {
            self.tally.composed += 1 + saved.events as u64;
            self.forget(key, saved.events, saved.bytes);
            self.tidy();
        } else {
            let size = event.size();
            let Some(slot) = self.slot(key) else { return };
            slot.events += 1;
            slot.bytes += size;
            let composes = slot.terms.selection.is_complete();
            self.events += 1;
            self.bytes += size;
            self.queue.push_event(key, event, composes);
        }
        self.relieve();
    }

    fn is_over_budget(&self) -> bool {
        // One event is always allowed, however large: else it could never be sent.
        self.events > 1 && (self.events > self.budget.events || self.bytes > self.budget.bytes)
    }

    /// Gets back into the budget.
    fn relieve(&mut self) {
        if !self.is_over_budget() {
            return;
        }
        if !self.queue.is_composing() {
            let slots = &self.slots;
            for (key, saved) in self.queue.start_composing(|key| composes(slots, key)) {
                self.tally.composed += saved.events as u64;
                self.forget(key, saved.events, saved.bytes);
            }
        }
        while self.is_over_budget() {
            // Whoever takes most pays: the others of the same connection go on.
            let largest = self.slots.iter().max_by_key(|(_, slot)| (slot.bytes.max(slot.events * 256), slot.generation));
            let Some((index, generation)) = largest.map(|(index, slot)| (index as u32, slot.generation)) else { return };
            self.outdate(SlotKey { index, generation });
        }
    }

    /// Drops what waits for a subscription.
    fn drop_events(&mut self, key: SlotKey) {
        let Some(slot) = self.slot(key) else { return };
        let waiting = std::mem::take(&mut slot.course.waiting);
        let bytes: usize = waiting.iter().map(|event| event.size()).sum();
        self.forget(key, waiting.len(), bytes as isize);
        self.drop_queued(key);
    }

    /// Drops what is queued for a subscription, but not what may not be sent yet.
    fn drop_queued(&mut self, key: SlotKey) {
        let Some(slot) = self.slot(key) else { return };
        let waiting = &slot.course.waiting;
        let events = slot.events - waiting.len();
        let bytes = slot.bytes - waiting.iter().map(|event| event.size()).sum::<usize>();
        if events > 0 {
            self.forget(key, events, bytes as isize);
            self.queue.remove(key, |entry| matches!(entry, Entry::Event(..)));
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        let slots = &self.slots;
        self.queue.tidy(|key| composes(slots, key));
    }
}

/// Whether events of one object may be put together for a subscription.
fn composes<S>(slots: &Slab<Slot<S>>, key: SlotKey) -> bool {
    slots.get(key.index as usize).is_some_and(|slot| slot.generation == key.generation && slot.terms.selection.is_complete())
}

#[cfg(test)]
mod tests;
