//! The outbox: what the store has committed and a log elsewhere has not taken yet.
//!
//! It is the store's own log. What was *relayed* may go from it at once; what was not stays whatever the age. Past its cap
//! the store takes no more writes: a log that can lose nothing is as full as a disk.
//!
//! * [`Gate`]: what store and relay share: how far the relay is, and whether writes may go on
//! * [`Outbox`]: the relay's end

use super::LogId;
use super::embedded::EmbeddedLog;
use super::record::{self, About};
use super::trim::Mark;
use crate::config::{ChangelogOptions, StoreOptions};
use dataflows::change::CommitNumber;
use fjall::{Database, Keyspace, PersistMode, UserValue};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

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

/// A record on its way.
pub(crate) struct Outgoing {
    /// Its JSON text, as it stands in the store
    pub(crate) text: UserValue,
    /// What it is about
    pub(crate) about: About,
}

/// Records on their way, in commit order, and how far that is.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) records: Vec<Outgoing>,
    /// The last of them
    pub(crate) mark: Mark,
}

/// Why the outbox cannot be read or noted about.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the outbox of the change log failed: {0}")]
pub(crate) struct OutboxError(pub(crate) String);

/// The relay's end of the outbox.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) records: Keyspace,
    /// Where progress is noted, and under which name
    pub(crate) notes: Keyspace,
    pub(crate) name: &'static str,
    /// Given where commits are acknowledged before they are on the disk
    pub(crate) unsynced: Option<Database>,
    pub(crate) wake_trimmer: Arc<dyn Fn() + Send + Sync>,
}

impl Outbox {
    /// Which log the records are of.
    pub(crate) fn log(&self) -> LogId {
        self.log.id()
    }

    /// How far the relay is, as far as is noted.
    pub(crate) fn progress(&self) -> Progress {
        lock(&self.gate.progress).clone()
    }

    /// The last commit that may be relayed.
    pub(crate) fn head(&self) -> CommitNumber {
        self.log.last()
    }

    /// Tells when there is more; none once the store is closed.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<CommitNumber>> {
        self.log.watch()
    }

    /// Bytes and records that wait.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let (tail, mark) = (self.log.tail(), self.gate.mark());
        (tail.bytes.saturating_sub(mark.bytes), tail.records.saturating_sub(mark.records))
    }

    /// What comes after `mark`: at least one record if there is one, else up to about so many. Blocks.
    pub(crate) fn read(&self, after: Mark, bytes: usize, records: usize) -> Result<Load, OutboxError> {
        let mut load = Load { records: Vec::new(), mark: after };
        let head = self.head();
        if head <= after.commit {
            return Ok(load);
        }
        // Of what a crash can take back nobody else may be told.
        if let Some(database) = &self.unsynced {
            database.persist(PersistMode::SyncData).map_err(failed)?;
        }
        let mut taken = 0;
        for entry in self.records.range((after.commit + 1).to_be_bytes()..=head.to_be_bytes()) {
            let (_, text) = entry.into_inner().map_err(failed)?;
            if load.records.len() >= records || (taken + text.len() > bytes && taken > 0) {
                break;
            }
            taken += text.len();
            let about = record::about(&text).map_err(|error| OutboxError(format!("behind commit {}: {error}", load.mark.commit)))?;
            let Mark { bytes, records, .. } = load.mark;
            load.mark = Mark { commit: about.commit, at: about.at, bytes: bytes + text.len() as u64, records: records + 1 };
            load.records.push(Outgoing { text, about });
        }
        Ok(load)
    }

    /// The record of a commit, where it still waits or was not cut yet. Blocks.
    pub(crate) fn text(&self, commit: CommitNumber) -> Result<Option<UserValue>, OutboxError> {
        self.records.get(commit.to_be_bytes()).map_err(failed)
    }

    /// Everything up to there is in the log elsewhere. Not flushed: what the log elsewhere says counts. Blocks.
    pub(crate) fn relayed(&self, progress: Progress, now: i64) -> Result<(), OutboxError> {
        let text = serde_json::to_vec(&progress).map_err(failed)?;
        self.notes.insert(self.name, text).map_err(failed)?;
        *lock(&self.gate.last) = now;
        self.gate.relayed_bytes.store(progress.mark.bytes, Ordering::Release);
        *lock(&self.gate.progress) = progress;
        if self.log.has_cut_due() {
            (self.wake_trimmer)();
        }
        Ok(())
    }

    /// Nothing will be relayed any more: from now on the store refuses writes with this reason.
    pub(crate) fn end(&self, reason: &str) {
        *lock(&self.gate.reason) = Some(reason.into());
        self.gate.ended.store(true, Ordering::Release);
    }
}

fn failed(error: impl std::fmt::Display) -> OutboxError {
    OutboxError(error.to_string())
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
