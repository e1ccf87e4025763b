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
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..2_usize, 0..6_u32, any::<bool>()).prop_map(|(subscription, object, remove)| Step::Write { subscription, object, remove }),
        2 => (0..4_usize).prop_map(Step::Read),
        1 => (0..2_usize).prop_map(Step::Release),
        1 => (0..2_usize).prop_map(Step::Hold),
    ];
    prop::collection::vec(step, 0..120)
}

/// The objects of one subscription, with the commit of their last change as value.
type Objects = BTreeMap<u32, u64>;

struct Reader {
    key: SlotKey,
    truth: Objects,
    /// All states that ever were, by commit
    history: BTreeMap<u64, Objects>,
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
        Some(event(kind, commit, object))
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
            .map(|_| {
                let key = outbox.open("\"s\"", terms(EventSelection::ALL, true), |key| key);
                assert_eq!(outbox.loaded(key, Arc::new(|_| false), 0, None, |_| false), Loaded::Done);
                let history = BTreeMap::from([(0, Objects::new())]);
                Reader { key, truth: Objects::new(), history, changed: Objects::new(), kept: Objects::new(), position: 0, held: false }
            })
            .collect();
        let mut commit = 0;
        let read = |outbox: &mut Outbox<SlotKey>, readers: &mut Vec<Reader>| {
            match outbox.pop() {
                Some(Outgoing::Event(key, event)) => readers.iter_mut().find(|reader| reader.key == key).unwrap().apply(&event),
                Some(Outgoing::Message(_)) => panic!("no messages here"),
                None => return false,
            }
            true
        };
        let reload = |outbox: &mut Outbox<SlotKey>, readers: &mut Vec<Reader>, commit: u64| {
            for key in outbox.take_stale() {
                let reader = readers.iter_mut().find(|reader| reader.key == key).unwrap();
                assert!(outbox.begin_load(key));
                // The client has read all there was; the result takes the place of what it has.
                (reader.kept, reader.position) = (reader.truth.clone(), commit);
                let held = reader.held;
                assert_eq!(outbox.loaded(key, Arc::new(move |change| change.commit <= commit), commit, None, |_| held), Loaded::Done);
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
            }
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
        while read(&mut outbox, &mut readers) {}
        reload(&mut outbox, &mut readers, commit);
        for reader in &readers {
            prop_assert_eq!(&reader.kept, &reader.truth);
        }
        prop_assert_eq!(outbox.depth(), (0, 0));
    }
}
