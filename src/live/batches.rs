//! Batches arrive together: an event of one waits in its subscription until the dataflow has told of the whole batch.
//!
//! One worker tells of a change and another of the next, so a batch is complete where the frontier has passed its last
//! commit. Then all that waits for that goes into each outbox at once.

use super::lock;
use super::subscription::Subscription;
use dataflows::change::{Change, CommitNumber};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex};

/// Batches of which the dataflow has told a part.
#[derive(Default)]
pub(crate) struct Batches {
    /// Everything at or below was told
    through: AtomicU64,
    /// Subscriptions in which events wait, by their address
    waiting: Mutex<HashMap<usize, Waiting>>,
}

struct Waiting {
    /// What it waits for
    last: CommitNumber,
    subscription: Arc<Subscription>,
}

impl Batches {
    /// Whether the change is a part of a batch that is not complete.
    pub(crate) fn is_open(&self, change: &Change) -> bool {
        change.batch.is_some_and(|batch| batch.last > self.through.load(Acquire))
    }

    /// As [`Batches::is_open`]; if so, [`Batches::complete`] gives the subscription back when it is no more.
    pub(crate) fn hold(&self, change: &Change, subscription: &Arc<Subscription>) -> bool {
        let Some(batch) = change.batch else { return false };
        let mut waiting = lock(&self.waiting);
        // Looked at under the lock: whoever completes takes it afterwards.
        if !self.is_open(change) {
            return false;
        }
        let entry = waiting.entry(Arc::as_ptr(subscription) as usize);
        let entry = entry.or_insert_with(|| Waiting { last: batch.last, subscription: subscription.clone() });
        entry.last = entry.last.max(batch.last);
        true
    }

    /// Everything at or below was told: the subscriptions whose batches are complete with that.
    pub(crate) fn complete(&self, through: CommitNumber) -> Vec<Arc<Subscription>> {
        self.through.fetch_max(through, AcqRel);
        let mut waiting = lock(&self.waiting);
        if waiting.is_empty() {
            return Vec::new();
        }
        waiting.extract_if(|_, waiting| waiting.last <= through).map(|(_, waiting)| waiting.subscription).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::answers::Answers;
    use super::super::connection::Connection;
    use super::super::event::tests::change;
    use super::super::event::{Event, Kind, Shown};
    use super::super::messages::EventSelection;
    use super::super::outbox::{Budget, Loaded, Outgoing};
    use super::super::subscription::Terms;
    use super::*;
    use crate::auth::Session;
    use crate::changelog::LogId;
    use dataflows::change::{BatchSpan, Operation};
    use std::net::{IpAddr, Ipv4Addr};
    use std::task::{Context, Waker};
    use std::time::Duration;

    fn event(commit: u64, batch: Option<(u64, u64)>) -> Arc<Event> {
        let mut change = Change::clone(&change(commit, commit as u32, Operation::Insert));
        change.batch = batch.map(|(first, last)| BatchSpan { first, last });
        Arc::new(Event::new(Kind::Add, Shown::Object, Arc::new(change), LogId(1)))
    }

    #[tokio::test]
    async fn what_was_written_as_one_goes_out_as_one() {
        let batches = Arc::new(Batches::default());
        let budget = Budget { events: 100, bytes: 1 << 20 };
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let connection =
            Arc::new(Connection::new(crate::apps::Apps::default().default_app().clone(), address, budget, Arc::default(), batches.clone()));
        let terms = Terms { selection: EventSelection::ALL, initial: true, refreshes: true, extensions: true };
        let subscription = connection
            .open("s", "\"s\"".into(), terms, &Session::anonymous(connection.address), connection.subscribed(1, 0).unwrap(), 10)
            .unwrap();
        let answers = Answers::new(Duration::from_millis(1), Duration::from_secs(1));
        assert!(connection.begin_load(subscription.slot));
        assert_eq!(connection.loaded(&subscription, Arc::new(|_| false), 0, None, &answers), Loaded::Done);
        let deliver = |event: Arc<Event>| {
            connection.deliver(subscription.slot, &event, || batches.hold(&event.change, &subscription));
        };
        let sent = || {
            let mut taken = Vec::new();
            connection.take(&mut taken, usize::MAX, &Context::from_waker(Waker::noop()));
            let commit = |outgoing: Outgoing<_>| match outgoing {
                Outgoing::Event(_, event) => event.change.commit,
                Outgoing::Message(_) => 0,
            };
            taken.into_iter().map(commit).collect::<Vec<_>>()
        };
        let complete = |through| {
            for subscription in batches.complete(through) {
                subscription.connection.release(&subscription, &answers);
            }
        };
        deliver(event(1, None));
        assert_eq!(sent(), [1]);
        deliver(event(2, Some((2, 5))));
        deliver(event(4, Some((2, 5))));
        assert!(sent().is_empty());
        // The frontier stands before the end: nothing of it may be seen.
        complete(4);
        assert!(sent().is_empty());
        // What comes behind waits, too, and an answer that is out lets nothing of it go.
        deliver(event(6, None));
        connection.release(&subscription, &answers);
        assert!(sent().is_empty());
        complete(5);
        assert_eq!(sent(), [2, 4, 6]);
        // The dataflow may tell of a batch when its end is passed already.
        deliver(event(5, Some((2, 5))));
        assert_eq!(sent(), [5]);
        assert!(batches.complete(9).is_empty());
    }
}
