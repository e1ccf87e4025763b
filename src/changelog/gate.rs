//! What store and relay share: how far the relay is, and whether writes may go on.

use super::trim::Mark;
use crate::config::{ChangelogOptions, StoreOptions};
use dataflows::change::CommitNumber;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far the relay is: every record up to `mark` is in the log elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The last record that was relayed, and how much that were all together
    pub(crate) mark: Mark,
    /// The last commit in each partition; 0 for none
    pub(crate) partitions: Vec<CommitNumber>,
}

/// Why the store takes no writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    /// More waits than may
    Full {
        /// When something was relayed last, milliseconds since 1970
        since: i64,
    },
    /// Nothing will be relayed any more
    Ended(Arc<str>),
}

/// What store and relay share.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Bytes that may wait
    cap: u64,
    /// Largest record that the log elsewhere takes
    largest: usize,
    progress: Mutex<Progress>,
    /// `progress.mark.bytes`: the writer asks for every write
    relayed_bytes: AtomicU64,
    /// When something was relayed last, milliseconds since 1970
    last: Mutex<i64>,
    ended: AtomicBool,
    reason: Mutex<Option<Arc<str>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    pub(crate) fn new(progress: Progress, limits: Limits, now: i64) -> Gate {
        Gate {
            cap: limits.waiting,
            largest: limits.record,
            relayed_bytes: AtomicU64::new(progress.mark.bytes),
            progress: Mutex::new(progress),
            last: Mutex::new(now),
            ended: AtomicBool::new(false),
            reason: Mutex::new(None),
        }
    }

    /// Whether the store may go on writing behind so many bytes of records.
    pub(crate) fn admits(&self, bytes: u64) -> Result<(), Closed> {
        if self.ended.load(Ordering::Acquire) {
            let reason = lock(&self.reason).clone();
            return Err(Closed::Ended(reason.unwrap_or_else(|| "it has stopped".into())));
        }
        if bytes.saturating_sub(self.relayed_bytes.load(Ordering::Acquire)) > self.cap {
            return Err(Closed::Full { since: *lock(&self.last) });
        }
        Ok(())
    }

    /// How far the relay is.
    pub(crate) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// Everything up to there is in the log elsewhere, at this time in milliseconds since 1970.
    pub(crate) fn relayed(&self, progress: Progress, now: i64) {
        *lock(&self.last) = now;
        self.relayed_bytes.store(progress.mark.bytes, Ordering::Release);
        *lock(&self.progress) = progress;
    }

    /// Nothing will be relayed any more, for this reason.
    pub(crate) fn end(&self, reason: &str) {
        *lock(&self.reason) = Some(reason.into());
        self.ended.store(true, Ordering::Release);
    }

    /// Bytes of the largest record that can be relayed.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// The last record that was relayed.
    pub(crate) fn mark(&self) -> Mark {
        lock(&self.progress).mark
    }

    /// Bytes between two cuts of the outbox.
    pub(crate) fn grain(&self) -> u64 {
        (self.cap / 64).clamp(1, 16 << 20)
    }
}

/// How much an outbox takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of records that may wait
    pub(crate) waiting: u64,
    /// Bytes of the largest record
    pub(crate) record: usize,
}

impl Limits {
    /// Of these options: a record holds both images of the largest object and what is around them. Schemas and the
    /// longest ids fit into that room as well.
    pub(crate) fn of(store: &StoreOptions, log: &ChangelogOptions) -> Limits {
        Limits { waiting: log.outbox_bytes, record: store.object_bytes.saturating_mul(2).saturating_add(1 << 20) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn writes_stop_past_the_cap_and_at_the_end() {
        let progress = Progress { mark: Mark { commit: 3, at: 0, bytes: 1_000, records: 3 }, partitions: vec![0, 3] };
        let gate = Gate::new(progress, Limits { waiting: 100, record: 10 }, 7);
        assert_eq!(gate.admits(1_100), Ok(()));
        assert_eq!(gate.admits(1_101), Err(Closed::Full { since: 7 }));
        gate.relayed_bytes.store(1_050, Ordering::Release);
        assert_eq!(gate.admits(1_101), Ok(()));
        gate.ended.store(true, Ordering::Release);
        assert!(matches!(gate.admits(0), Err(Closed::Ended(_))));
    }
}
