//! The outbox: what the store has committed and a log elsewhere has not taken yet.
//!
//! It is the store's own log. What was *relayed* may go from it at once; what was not stays whatever the age. Past its cap
//! the store takes no more writes: a log that can lose nothing is as full as a disk.
//!
//! What store and relay share is [`super::gate`]; [`Outbox`] is the relay's end.

use super::LogId;
use super::embedded::EmbeddedLog;
use super::gate::{Gate, Progress};
use super::record::{self, About};
use super::trim::Mark;
use dataflows::change::CommitNumber;
use fjall::{Database, Keyspace, PersistMode, UserValue};
use std::sync::Arc;
use tokio::sync::watch;

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
        self.gate.progress()
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

    /// What comes after `mark`: at least one record if there is one, else up to about so many; no batch
    /// is parted. Blocks.
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
        let (mut taken, mut whole) = (0, after.commit);
        for entry in self.records.range((after.commit + 1).to_be_bytes()..=head.to_be_bytes()) {
            let (_, text) = entry.into_inner().map_err(failed)?;
            // A batch goes out as one, whatever its size.
            let full = load.records.len() >= records || (taken + text.len() > bytes && taken > 0);
            if full && load.mark.commit >= whole {
                break;
            }
            taken += text.len();
            let about = record::about(&text).map_err(|error| OutboxError(format!("behind commit {}: {error}", load.mark.commit)))?;
            let Mark { bytes, records, .. } = load.mark;
            load.mark = Mark { commit: about.commit, at: about.at, bytes: bytes + text.len() as u64, records: records + 1 };
            whole = whole.max(about.last);
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
        self.gate.relayed(progress, now);
        if self.log.has_cut_due() {
            (self.wake_trimmer)();
        }
        Ok(())
    }

    /// Nothing will be relayed any more: from now on the store refuses writes with this reason.
    pub(crate) fn end(&self, reason: &str) {
        self.gate.end(reason);
    }
}

fn failed(error: impl std::fmt::Display) -> OutboxError {
    OutboxError(error.to_string())
}
