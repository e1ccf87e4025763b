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
