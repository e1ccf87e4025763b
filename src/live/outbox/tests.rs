#![allow(clippy::unwrap_used)]

use super::super::event::tests::change;
use super::super::event::{Kind, Shown};
use super::super::messages::{EventSelection, selection};
use super::*;
use dataflows::change::Operation;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn terms(selection: EventSelection, refreshes: bool) -> Terms {
    Terms { selection, initial: true, refreshes, extensions: false }
}

fn event(kind: Kind, commit: u64, object: u32) -> Arc<Event> {
    let (operation, shown) = match kind {
        Kind::Add => (Operation::Insert, Shown::Object),
        Kind::Change => (Operation::Update, Shown::Object),
        Kind::Remove => (Operation::Delete, Shown::Id),
    };
    Arc::new(Event::new(kind, shown, change(commit, object, operation), LogId(1)))
}

/// An outbox with one live subscription.
fn live(budget: Budget, terms: Terms) -> (Outbox<SlotKey>, SlotKey) {
    let mut outbox = Outbox::new(budget);
    let key = outbox.open("\"s\"", terms, |key| key);
    assert!(outbox.begin_load(key));
    assert_eq!(outbox.loaded(key, Arc::new(|_| false), 0, None, |_| false), Loaded::Done);
    (outbox, key)
}

/// What is counted is what is there.
fn audit(outbox: &mut Outbox<SlotKey>) {
    let (mut events, mut bytes) = (0, 0);
    for key in outbox.keys() {
        let queued: Vec<usize> = outbox.queue.events(key).map(|event| event.size()).collect();
        let slot = outbox.slot(key).unwrap();
        let all: Vec<usize> = slot.course.waiting.iter().map(|event| event.size()).chain(queued).collect();
        assert_eq!((slot.events, slot.bytes), (all.len(), all.iter().sum()));
        (events, bytes) = (events + slot.events, bytes + slot.bytes);
    }
    assert_eq!(outbox.depth(), (events, bytes));
}

/// A result, and the commit that it is of.
fn result(commit: u64) -> ServerMessage {
    ServerMessage { kind: "result", position: None, text: commit.to_string().into() }
}

fn drain(outbox: &mut Outbox<SlotKey>) -> Vec<(Kind, u64)> {
    std::iter::from_fn(|| outbox.pop())
        .filter_map(|outgoing| match outgoing {
            Outgoing::Event(_, event) => Some((event.kind, event.change.commit)),
            Outgoing::Message(_) => None,
        })
        .collect()
}

#[test]
fn within_the_budget_nothing_is_put_together() {
    let (mut outbox, key) = live(Budget { events: 10, bytes: 1 << 20 }, terms(EventSelection::ALL, true));
    for (kind, commit) in [(Kind::Add, 1), (Kind::Change, 2), (Kind::Remove, 3)] {
        outbox.deliver(key, &event(kind, commit, 1), false);
    }
    assert_eq!(drain(&mut outbox), [(Kind::Add, 1), (Kind::Change, 2), (Kind::Remove, 3)]);
    assert_eq!(outbox.depth(), (0, 0));
}

#[test]
fn over_the_budget_events_of_one_object_are_put_together() {
    let (mut outbox, key) = live(Budget { events: 4, bytes: 1 << 20 }, terms(EventSelection::ALL, true));
    let sequence = [
        (Kind::Add, 1, 1),
        (Kind::Change, 2, 1),
        (Kind::Add, 3, 2),
        (Kind::Remove, 4, 3),
        (Kind::Remove, 5, 2),
        (Kind::Add, 6, 3),
        (Kind::Change, 7, 4),
        (Kind::Remove, 8, 4),
    ];
    for (kind, commit, object) in sequence {
        outbox.deliver(key, &event(kind, commit, object), false);
    }
    assert_eq!(drain(&mut outbox), [(Kind::Add, 2), (Kind::Change, 6), (Kind::Remove, 8)]);
    assert_eq!(outbox.tally().outdated, 0);
}

#[test]
fn where_events_are_left_out_none_are_put_together() {
    let narrowed = selection(None, Some(&["update".into()])).unwrap();
    let (mut outbox, key) = live(Budget { events: 3, bytes: 1 << 20 }, terms(narrowed, true));
    for commit in 1..=4 {
        outbox.deliver(key, &event(Kind::Change, commit, 1), false);
    }
    // So what is left is a fresh result.
    assert_eq!(outbox.tally(), Tally { sent: 0, composed: 0, outdated: 1 });
    assert_eq!(outbox.take_stale(), [key]);
}

#[test]
fn a_stream_that_a_fresh_result_does_not_help_ends_with_an_error() {
    let (mut outbox, key) = live(Budget { events: 3, bytes: 1 << 20 }, terms(EventSelection::ALL, false));
    for commit in 1..=4 {
        outbox.deliver(key, &event(Kind::Add, commit, commit as u32), false);
    }
    let Some(Outgoing::Message(message)) = outbox.pop() else { panic!("a message") };
    assert!(message.kind == "error" && message.text.contains("subscription-overrun"));
    assert_eq!((outbox.take_ended(), outbox.subscriptions()), (vec![key], 0));
    assert!(outbox.pop().is_none());
}

#[test]
fn who_takes_most_pays_and_the_others_of_the_connection_go_on() {
    let (mut outbox, greedy) = live(Budget { events: 8, bytes: 1 << 20 }, terms(EventSelection::ALL, true));
    let modest = outbox.open("\"m\"", terms(EventSelection::ALL, true), |key| key);
    assert_eq!(outbox.loaded(modest, Arc::new(|_| false), 0, None, |_| false), Loaded::Done);
    outbox.deliver(modest, &event(Kind::Add, 1, 1), false);
    for commit in 2..=20 {
        outbox.deliver(greedy, &event(Kind::Add, commit, commit as u32), false);
    }
    assert!(outbox.take_stale().is_empty(), "not before the client has read");
    assert_eq!(drain(&mut outbox), [(Kind::Add, 1)]);
    assert_eq!(outbox.take_stale(), [greedy]);
}

#[test]
fn events_behind_a_held_one_wait_and_those_of_others_do_not() {
    let (mut outbox, writer) = live(Budget { events: 8, bytes: 1 << 20 }, terms(EventSelection::ALL, true));
    let other = outbox.open("\"o\"", terms(EventSelection::ALL, true), |key| key);
    assert_eq!(outbox.loaded(other, Arc::new(|_| false), 0, None, |_| false), Loaded::Done);
    outbox.deliver(writer, &event(Kind::Add, 1, 1), true);
    outbox.deliver(other, &event(Kind::Add, 1, 1), false);
    outbox.deliver(writer, &event(Kind::Add, 2, 2), false);
    outbox.deliver(other, &event(Kind::Add, 2, 2), false);
    assert_eq!(drain(&mut outbox), [(Kind::Add, 1), (Kind::Add, 2)]);
    outbox.release(writer, |event| event.change.commit == 1);
    assert!(drain(&mut outbox).is_empty());
    outbox.release(writer, |_| false);
    assert_eq!(drain(&mut outbox), [(Kind::Add, 1), (Kind::Add, 2)]);
}

#[test]
fn a_client_that_never_reads_takes_no_more_and_no_more() {
    let budget = Budget { events: 50, bytes: 1 << 20 };
    let (mut outbox, key) = live(budget, terms(EventSelection::ALL, true));
    // Objects that come and go leave gaps in the queue, which must not add up either.
    for commit in 0..20_000_u64 {
        outbox.deliver(key, &event(if commit % 2 == 0 { Kind::Add } else { Kind::Remove }, commit + 1, (commit / 2) as u32), false);
        assert!(outbox.depth().0 <= budget.events);
        assert!(outbox.queue.len() <= 3 * budget.events + 64, "{}", outbox.queue.len());
    }
}

#[test]
fn nothing_is_put_together_across_a_result() {
    let (mut outbox, key) = live(Budget { events: 3, bytes: 1 << 20 }, terms(EventSelection::ALL, true));
    // It comes back: some of what it missed is queued, then that cannot go on and a result takes its place.
    outbox.outdate(key);
    assert_eq!(outbox.take_stale(), [key]);
    assert!(outbox.begin_load(key));
    outbox.reads(key, 20);
    for event in [event(Kind::Change, 10, 1), event(Kind::Add, 11, 2), event(Kind::Change, 12, 1), event(Kind::Change, 13, 1)] {
        outbox.catch_up(key, event);
    }
    outbox.deliver(key, &event(Kind::Change, 21, 3), false);
    audit(&mut outbox);
    assert!(outbox.queue.is_composing());
    assert_eq!(outbox.loaded(key, Arc::new(|change| change.commit <= 20), 20, Some(result(20)), |_| false), Loaded::Done);
    outbox.deliver(key, &event(Kind::Remove, 30, 2), false);
    audit(&mut outbox);
    assert!(matches!(outbox.pop(), Some(Outgoing::Message(message)) if &*message.text == "20"));
    assert_eq!(drain(&mut outbox), [(Kind::Change, 21), (Kind::Remove, 30)]);
}

#[test]
fn what_waits_for_a_load_that_begins_again_is_not_counted_any_more() {
    let refused = Refused::new(469, "schema-changed", "x");
    let budget = Budget { events: 10, bytes: 1 << 20 };
    for taken_before in [true, false] {
        let mut outbox = Outbox::new(budget);
        let key = outbox.open("\"s\"", terms(EventSelection::ALL, true), |key| key);
        assert!(outbox.begin_load(key));
        if taken_before {
            outbox.reads(key, 4);
        }
        for commit in 5..=12 {
            outbox.deliver(key, &event(Kind::Add, commit, commit as u32), false);
        }
        assert!(!outbox.has_room());
        outbox.renew(key, 6, &refused);
        if !taken_before {
            outbox.reads(key, 4);
        }
        // Else whoever loads it would wait for room for ever.
        assert!(outbox.has_room());
        assert_eq!(outbox.depth(), (0, 0));
        audit(&mut outbox);
        assert_eq!(outbox.loaded(key, Arc::new(|_| true), 4, Some(result(4)), |_| false), Loaded::Again);
        assert!(outbox.begin_load(key));
        outbox.reads(key, 12);
        assert_eq!(outbox.loaded(key, Arc::new(|_| true), 12, Some(result(12)), |_| false), Loaded::Done);
        audit(&mut outbox);
    }
}

#[test]
fn who_does_not_read_the_answers_to_what_it_says_is_not_listened_to() {
    let mut outbox: Outbox<SlotKey> = Outbox::new(Budget { events: 10, bytes: 1 << 20 });
    for length in [10, 1_000, 30_000] {
        let error = messages::error(None, &Refused { status: 400, code: "x".into(), message: "x".repeat(length).into() });
        let size = error.text.len();
        let mut count = 0;
        while !outbox.is_congested() {
            outbox.reply(error.clone());
            count += 1;
            assert!(count * size <= REPLY_BYTES + size && count <= 65, "{count} of {size} bytes");
        }
        while outbox.pop().is_some() {}
        assert!(!outbox.is_congested());
        assert_eq!((outbox.reply_bytes, outbox.message_bytes), (0, 0));
    }
    // A result is no such answer: whoever takes long over it can still say that it is enough.
    let key = outbox.open("\"s\"", terms(EventSelection::ALL, true), |key| key);
    let large = ServerMessage { text: "x".repeat(10 * REPLY_BYTES).into(), ..result(1) };
    assert_eq!(outbox.loaded(key, Arc::new(|_| true), 1, Some(large), |_| false), Loaded::Done);
    assert!(!outbox.is_congested());
}

#[test]
fn what_is_closed_leaves_nothing_behind() {
    let (mut outbox, key) = live(Budget { events: 100, bytes: 1 << 20 }, terms(EventSelection::ALL, true));
    for commit in 1..=50 {
        outbox.deliver(key, &event(Kind::Add, commit, commit as u32), commit > 20);
    }
    assert_eq!(outbox.close(key), Some(key));
    assert_eq!((outbox.depth(), outbox.subscriptions()), ((0, 0), 0));
    assert!(outbox.pop().is_none());
    // A new one in its place hears nothing of what was for the old one.
    let new = outbox.open("\"n\"", terms(EventSelection::ALL, true), |key| key);
    assert_eq!(new.index, key.index);
    outbox.deliver(key, &event(Kind::Add, 51, 1), false);
    assert_eq!(outbox.depth(), (0, 0));
}

/// What happens to an outbox.
#[derive(Debug, Clone)]
enum Step {
    /// An object of a subscription's result comes, changes or goes, whichever it can
    Write { subscription: usize, object: u32, remove: bool },
    /// The client reads so many messages
    Read(usize),
    /// What was held is released
    Release(usize),
    /// The next writes of this subscription are held
    Hold(usize),
    /// The client comes back with the state that it had so many commits ago, and is told of so many of the changes since; where
    /// these are not all, a result follows
    Return { subscription: usize, behind: u64, told: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..2_usize, 0..6_u32, any::<bool>()).prop_map(|(subscription, object, remove)| Step::Write { subscription, object, remove }),
        2 => (0..4_usize).prop_map(Step::Read),
        1 => (0..2_usize).prop_map(Step::Release),
        1 => (0..2_usize).prop_map(Step::Hold),
        1 => (0..2_usize, 0..8_u64, 0..8_usize).prop_map(|(subscription, behind, told)| Step::Return { subscription, behind, told }),
    ];
    prop::collection::vec(step, 0..120)
}

/// The objects of one subscription, with the commit of their last change as value.
type Objects = BTreeMap<u32, u64>;

struct Reader {
    number: usize,
    key: SlotKey,
    truth: Objects,
    /// All states that ever were, by commit
    history: BTreeMap<u64, Objects>,
    /// All events that ever were
    events: Vec<Arc<Event>>,
    /// The commit of each object's last change, its removal included
    changed: Objects,
    kept: Objects,
    position: u64,
    held: bool,
}

fn object_of(event: &Event) -> u32 {
    event.change.id.rsplit('/').next().unwrap().parse().unwrap()
}

impl Reader {
    fn write(&mut self, commit: u64, object: u32, remove: bool) -> Option<Arc<Event>> {
        let kind = match (self.truth.contains_key(&object), remove) {
            (false, true) => return None,
            (false, false) => Kind::Add,
            (true, false) => Kind::Change,
            (true, true) => Kind::Remove,
        };
        if kind == Kind::Remove {
            self.truth.remove(&object)
        } else {
            self.truth.insert(object, commit)
        };
        self.changed.insert(object, commit);
        self.history.insert(commit, self.truth.clone());
        let event = event(kind, commit, object);
        self.events.push(event.clone());
        Some(event)
    }

    fn result(&self, commit: u64) -> ServerMessage {
        ServerMessage { text: format!("{} {commit}", self.number).into(), ..result(commit) }
    }

    /// Subscribes anew with what it had at a commit, and is told of some of what it missed up to another.
    fn come_back(&mut self, outbox: &mut Outbox<SlotKey>, from: u64, until: u64, told: usize) {
        outbox.close(self.key).unwrap();
        self.key = outbox.open("\"s\"", terms(EventSelection::ALL, true), |key| key);
        (self.kept, self.position) = (self.at(from).clone(), from);
        assert!(outbox.begin_load(self.key));
        outbox.reads(self.key, until);
        let missed: Vec<_> = self.events.iter().filter(|event| event.change.commit > from).cloned().collect();
        for event in missed.iter().take(told) {
            outbox.catch_up(self.key, event.clone());
        }
        let (cut, held): (Cut, bool) = (Arc::new(move |change| change.commit <= until), self.held);
        let (through, whole) = if told < missed.len() { (until, Some(self.result(until))) } else { (from, None) };
        match outbox.loaded(self.key, cut.clone(), through, whole, |_| held) {
            Loaded::Again => {
                assert!(outbox.begin_load(self.key));
                assert_eq!(outbox.loaded(self.key, cut, until, Some(self.result(until)), |_| held), Loaded::Done);
            }
            loaded => assert_eq!(loaded, Loaded::Done),
        }
    }

    fn at(&self, commit: u64) -> &Objects {
        self.history.range(..=commit).next_back().map(|(_, objects)| objects).unwrap()
    }

    /// Strictly: what comes was not there, what changes or goes was.
    fn apply(&mut self, event: &Event) {
        let object = object_of(event);
        match event.kind {
            Kind::Add => assert_eq!(self.kept.insert(object, event.change.commit), None),
            Kind::Change => assert!(self.kept.insert(object, event.change.commit).is_some()),
            Kind::Remove => assert!(self.kept.remove(&object).is_some()),
        }
        assert!(event.through >= self.position);
        self.position = event.through;
        // A position is true: of every object the client has the state of then or of later.
        for object in 0..6 {
            let now = self.kept.get(&object);
            let true_since = self.at(self.position).get(&object) == now
                || self.history.range(self.position..).any(|(_, objects)| objects.get(&object) == now);
            assert!(true_since, "object {object} at {}", self.position);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * ProptestConfig::default().cases))]

    /// Whatever is put together, dropped and sent afresh: in the end the client has what there is.
    #[test]
    fn the_client_ends_with_the_truth(steps in steps(), events in 1..12_usize, bytes in 300..4_000_usize) {
        let mut outbox = Outbox::new(Budget { events, bytes });
        let mut readers: Vec<Reader> = (0..2)
            .map(|number| {
                let key = outbox.open("\"s\"", terms(EventSelection::ALL, true), |key| key);
                assert_eq!(outbox.loaded(key, Arc::new(|_| false), 0, None, |_| false), Loaded::Done);
                let history = BTreeMap::from([(0, Objects::new())]);
                let (truth, changed, kept) = (Objects::new(), Objects::new(), Objects::new());
                Reader { number, key, truth, history, events: Vec::new(), changed, kept, position: 0, held: false }
            })
            .collect();
        let mut commit = 0;
        let read = |outbox: &mut Outbox<SlotKey>, readers: &mut Vec<Reader>| {
            match outbox.pop() {
                Some(Outgoing::Event(key, event)) => readers.iter_mut().find(|reader| reader.key == key).unwrap().apply(&event),
                Some(Outgoing::Message(message)) => {
                    let (reader, commit) = message.text.split_once(' ').unwrap();
                    let reader = &mut readers[reader.parse::<usize>().unwrap()];
                    let commit = commit.parse().unwrap();
                    (reader.kept, reader.position) = (reader.at(commit).clone(), commit);
                }
                None => return false,
            }
            true
        };
        let reload = |outbox: &mut Outbox<SlotKey>, readers: &mut Vec<Reader>, commit: u64| {
            for key in outbox.take_stale() {
                let reader = readers.iter_mut().find(|reader| reader.key == key).unwrap();
                assert!(outbox.begin_load(key));
                let (held, cut): (bool, Cut) = (reader.held, Arc::new(move |change| change.commit <= commit));
                assert_eq!(outbox.loaded(key, cut, commit, Some(reader.result(commit)), |_| held), Loaded::Done);
            }
        };
        for step in steps {
            match step {
                Step::Write { subscription, object, remove } => {
                    commit += 1;
                    let reader = &mut readers[subscription];
                    let held = reader.held;
                    if let Some(event) = reader.write(commit, object, remove) {
                        outbox.deliver(reader.key, &event, held);
                    }
                }
                Step::Read(count) => {
                    for _ in 0..count {
                        read(&mut outbox, &mut readers);
                    }
                }
                Step::Release(subscription) => {
                    readers[subscription].held = false;
                    outbox.release(readers[subscription].key, |_| false);
                }
                Step::Hold(subscription) => readers[subscription].held = true,
                Step::Return { subscription, behind, told } => {
                    readers[subscription].come_back(&mut outbox, commit.saturating_sub(behind), commit, told);
                }
            }
            audit(&mut outbox);
            reload(&mut outbox, &mut readers, commit);
            let (waiting, size) = outbox.depth();
            prop_assert!(waiting <= 1 || (waiting <= events && size <= bytes));
        }
        for reader in &mut readers {
            reader.held = false;
            outbox.release(reader.key, |_| false);
            // Whoever breaks off here and comes back with its position gets what it missed, and has it all.
            let mut back = reader.kept.clone();
            for (object, _) in reader.changed.iter().filter(|(_, commit)| **commit > reader.position) {
                match reader.truth.get(object) {
                    Some(value) => back.insert(*object, *value),
                    None => back.remove(object),
                };
            }
            prop_assert_eq!(&back, &reader.truth);
        }
        while read(&mut outbox, &mut readers) {
            reload(&mut outbox, &mut readers, commit);
        }
        audit(&mut outbox);
        for reader in &readers {
            prop_assert_eq!(&reader.kept, &reader.truth);
        }
        prop_assert_eq!(outbox.depth(), (0, 0));
    }
}
