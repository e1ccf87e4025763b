//! A subscription: its fixed terms, and how far it is.
//!
//! Loading (deltas wait while a snapshot is read) -> live (deltas pass but for those that the snapshot
//! has in it) -> stale (too much was waiting: deltas are dropped until a fresh result is loaded) -> loading …

use super::connection::Connection;
use super::event::Event;
use super::messages::EventSelection;
use super::standing::Standing;
use crate::apps::quota::Place;
use dataflows::access::Caller;
use dataflows::change::{Change, CommitNumber};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// Says of a change whether the result that was sent has it in it.
pub(crate) type Cut = Arc<dyn Fn(&Change) -> bool + Send + Sync>;

/// Where a subscription is in its connection's outbox; the generation tells it from one that had the place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What was agreed with the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) selection: EventSelection,
    /// Whether `result` carries the objects
    pub(crate) initial: bool,
    /// Whether a fresh result in place helps the client, rather than an error. A result stream of the SDK
    /// replaces its list; a stream without an initial result would lose events unnoticed.
    pub(crate) refreshes: bool,
    /// Whether it knows more message types than the SDK
    pub(crate) extensions: bool,
}

/// One subscription of one connection.
pub(crate) struct Subscription {
    /// The client's id for it, as JSON
    pub(crate) id: Box<str>,
    pub(crate) terms: Terms,
    pub(crate) caller: Arc<Caller>,
    /// Hash of the session, for [`super::answers`]
    pub(crate) session: u64,
    /// Whether it ends with a token; that of anonymous callers does not
    pub(crate) of_token: bool,
    pub(crate) slot: SlotKey,
    pub(crate) connection: Arc<Connection>,
    /// Told when it has been let go
    pub(crate) left: Notify,
    /// Given back with the subscription
    pub(crate) _place: Place,
    /// As well, by bytes: of the connection and of its app
    pub(crate) _query: [Place; 2],
    /// Set once by the registry
    pub(crate) membership: OnceLock<Membership>,
}

impl Subscription {
    /// Resolves when it has been let go, by whomever.
    pub(crate) async fn left(&self) {
        loop {
            // Made before the look, so that no call in between is missed.
            let told = self.left.notified();
            if !self.connection.holds(self.slot) {
                return;
            }
            told.await;
        }
    }
}

/// The standing query it hangs on, and its place there.
pub(crate) struct Membership {
    pub(crate) standing: Arc<Standing>,
    pub(crate) place: usize,
}

/// How far a subscription is.
pub(crate) enum Phase {
    /// A snapshot is to be read or is being read; deltas wait
    Loading {
        /// What waited was too much and is dropped: the snapshot has to be read again
        again: bool,
    },
    /// The result is sent
    Live {
        /// What the result has in it, until the dataflow is past it
        cut: Option<Cut>,
    },
    /// Deltas are dropped until a fresh result is loaded
    Stale,
}

/// What is done with a delta that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Sent
    Pass,
    /// Kept until the result is sent or those before it are released
    Wait,
    /// Already part of a result, or to be part of the next one
    Drop,
}

/// What has to be done where something made what was read before a commit out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// What there is, or will be, was read later
    Nothing,
    /// The load under way has to begin again
    Load,
    /// What the subscription has is out of date
    Renewal,
}

/// The moving part of a subscription.
pub(crate) struct Course {
    pub(crate) phase: Phase,
    /// Events that may not be sent yet, in order
    pub(crate) waiting: VecDeque<Arc<Event>>,
    /// The commit of the snapshot that the load under way, or the last one, reads; none until it is taken
    snapshot: Option<CommitNumber>,
    /// An older snapshot is of no use
    at_least: CommitNumber,
}

impl Course {
    pub(crate) fn new() -> Course {
        Course { phase: Phase::Loading { again: false }, waiting: VecDeque::new(), snapshot: None, at_least: 0 }
    }

    /// Decides on a delta. `held`: its writer has not got his answer yet.
    pub(crate) fn arrival(&self, change: &Change, held: bool) -> Arrival {
        match &self.phase {
            Phase::Loading { again: true } | Phase::Stale => Arrival::Drop,
            Phase::Loading { again: false } => Arrival::Wait,
            Phase::Live { cut: Some(cut) } if cut(change) => Arrival::Drop,
            // Behind one that waits, all wait: a reader sees the states of an object in order.
            Phase::Live { .. } if held || !self.waiting.is_empty() => Arrival::Wait,
            Phase::Live { .. } => Arrival::Pass,
        }
    }

    /// A snapshot is about to be read: from now on deltas wait for it.
    pub(crate) fn begin_load(&mut self) {
        self.phase = Phase::Loading { again: false };
        self.snapshot = None;
    }

    /// The snapshot is taken and about to be read. False: it is too old to be of use.
    pub(crate) fn reads(&mut self, commit: CommitNumber) -> bool {
        self.snapshot = Some(commit);
        commit >= self.at_least
    }

    /// What was read before this commit is out of date.
    pub(crate) fn needs(&mut self, commit: CommitNumber) -> Need {
        self.at_least = self.at_least.max(commit);
        let old = self.snapshot.is_some_and(|snapshot| snapshot < commit);
        match self.phase {
            // One that is not taken yet is taken after this commit was published, or is looked at when it is.
            Phase::Loading { .. } if old => Need::Load,
            Phase::Live { .. } if old => Need::Renewal,
            Phase::Loading { .. } | Phase::Live { .. } | Phase::Stale => Need::Nothing,
        }
    }

    /// The snapshot is read and its result is queued. False: read it again.
    pub(crate) fn loaded(&mut self, cut: Cut) -> bool {
        match self.phase {
            Phase::Loading { again: false } => {
                self.waiting.retain(|event| !cut(&event.change));
                self.phase = Phase::Live { cut: Some(cut) };
                true
            }
            _ => false,
        }
    }

    /// What comes is dropped until a fresh result is loaded; what waits its owner has dropped, who counts it. True: a load has
    /// to be started; the one under way sees by itself that it has to begin again.
    pub(crate) fn outdate(&mut self) -> bool {
        match &mut self.phase {
            Phase::Loading { again } => {
                *again = true;
                false
            }
            Phase::Stale => false,
            Phase::Live { .. } => {
                self.phase = Phase::Stale;
                true
            }
        }
    }

    /// The dataflow is past the snapshot of this cut. A result that was loaded since has a later one, which stays.
    pub(crate) fn settle(&mut self, passed: &Cut) {
        if let Phase::Live { cut } = &mut self.phase {
            cut.take_if(|cut| Arc::ptr_eq(cut, passed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::change;
    use super::*;
    use crate::changelog::LogId;
    use crate::live::event::{Kind, Shown};
    use dataflows::change::Operation;

    fn event(commit: u64) -> Arc<Event> {
        Arc::new(Event::new(Kind::Change, Shown::Object, change(commit, 1, Operation::Update), LogId(1)))
    }

    fn until(commit: u64) -> Cut {
        Arc::new(move |change| change.commit <= commit)
    }

    #[test]
    fn what_the_snapshot_has_is_dropped_and_the_rest_passes() {
        let mut course = Course::new();
        for commit in 3..=6 {
            assert_eq!(course.arrival(&event(commit).change, false), Arrival::Wait);
            course.waiting.push_back(event(commit));
        }
        assert!(course.loaded(until(4)));
        assert_eq!(course.waiting.iter().map(|event| event.change.commit).collect::<Vec<_>>(), [5, 6]);
        course.waiting.clear();
        // The dataflow may be behind the snapshot.
        assert_eq!(course.arrival(&event(4).change, false), Arrival::Drop);
        assert_eq!(course.arrival(&event(7).change, false), Arrival::Pass);
    }

    #[test]
    fn an_older_snapshot_that_is_passed_opens_nothing_of_a_newer_one() {
        let (mut course, older, newer) = (Course::new(), until(4), until(9));
        assert!(course.loaded(older.clone()));
        assert!(course.outdate());
        course.begin_load();
        assert!(course.loaded(newer.clone()));
        course.settle(&older);
        assert_eq!(course.arrival(&event(8).change, false), Arrival::Drop);
        course.settle(&newer);
        assert_eq!(course.arrival(&event(8).change, false), Arrival::Pass);
    }

    #[test]
    fn only_what_was_read_before_is_out_of_date() {
        let mut course = Course::new();
        course.begin_load();
        // Taken before, known after.
        assert_eq!(course.needs(5), Need::Nothing);
        assert!(!course.reads(4));
        assert!(!course.outdate());
        assert!(!course.loaded(until(4)), "it has to be read again");
        course.begin_load();
        assert!(course.reads(6));
        assert_eq!(course.needs(6), Need::Nothing);
        assert_eq!(course.needs(7), Need::Load);
        assert!(course.reads(8));
        assert!(course.loaded(until(8)));
        assert_eq!(course.needs(8), Need::Nothing, "its result has it already");
        assert_eq!(course.needs(9), Need::Renewal);
    }

    #[test]
    fn all_wait_behind_one_that_waits_for_its_answer() {
        let mut course = Course::new();
        assert!(course.loaded(until(0)));
        assert_eq!(course.arrival(&event(1).change, true), Arrival::Wait);
        course.waiting.push_back(event(1));
        assert_eq!(course.arrival(&event(2).change, false), Arrival::Wait);
    }

    #[test]
    fn too_much_while_loading_makes_it_load_again() {
        let mut course = Course::new();
        assert!(!course.outdate());
        assert_eq!(course.arrival(&event(2).change, false), Arrival::Drop);
        assert!(!course.loaded(until(1)));
        course.begin_load();
        assert_eq!(course.arrival(&event(3).change, false), Arrival::Wait);
        assert!(course.loaded(until(2)));
        assert!(course.outdate());
        assert_eq!(course.arrival(&event(4).change, false), Arrival::Drop);
    }
}
