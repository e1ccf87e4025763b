//! The change log inside the embedded store: its records are written in the same transaction as the objects.
//!
//! Readers who keep up are served from memory. The embedded log has one partition, and its offsets are commit
//! numbers. After a stop that may have lost commits whose positions were handed out, the commit numbers
//! go on behind a gap, and a position inside it is [`LogError::Gone`].

use super::gate::{Closed, Gate};
use super::recent::{Gather, Recent, Recorded, Taken};
use super::record::{self, Payload};
use super::trim::{self, Keep, Mark};
use super::{Batch, ChangeLog, Follower, LogError, LogId, Position, Reading};
use dataflows::change::CommitNumber;
use dataflows::document::DateFields;
use fjall::Keyspace;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, watch};

/// Which fields of a bucket held times at a version of the app's schema: (app, version, bucket). May read the disk.
/// The store knows its schemas; the log only asks, so that it needs nothing of the store.
pub(crate) type DatesAt = Arc<dyn Fn(&Arc<str>, u64, &str) -> Result<Arc<DateFields>, String> + Send + Sync>;

/// Commit numbers that were or may have been handed out and then lost: all between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// The last commit that survived
    pub(crate) after: CommitNumber,
    /// The first position that is known again
    pub(crate) until: CommitNumber,
}

/// The log of an embedded store.
pub struct EmbeddedLog(Arc<Inner>);

struct Inner {
    id: LogId,
    records: Keyspace,
    dates: DatesAt,
    gaps: Box<[Gap]>,
    recent: Mutex<Recent>,
    /// None once the store is closed
    head: watch::Sender<Option<CommitNumber>>,
    last: AtomicU64,
    trimmed: AtomicU64,
    cuts: Mutex<Cuts>,
    keep: Keep,
    /// Where the records are on their way to a log elsewhere
    gate: Option<Arc<Gate>>,
    /// Reads of the disk at a time
    readers: Arc<Semaphore>,
}

/// Where the log can be cut and was.
#[derive(Debug)]
pub(crate) struct Cuts {
    pub(crate) trimmed: Mark,
    pub(crate) marks: VecDeque<Mark>,
    pub(crate) tail: Mark,
}

/// What the store knows of its log when it opens.
pub(crate) struct Opened {
    pub(crate) id: LogId,
    pub(crate) records: Keyspace,
    pub(crate) dates: DatesAt,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) cuts: Cuts,
    pub(crate) keep: Keep,
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) recent_bytes: usize,
    pub(crate) readers: Arc<Semaphore>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmbeddedLog {
    pub(crate) fn new(opened: Opened) -> EmbeddedLog {
        let head = opened.cuts.tail.commit;
        EmbeddedLog(Arc::new(Inner {
            id: opened.id,
            records: opened.records,
            dates: opened.dates,
            gaps: opened.gaps.into(),
            recent: Mutex::new(Recent::new(head, opened.recent_bytes)),
            head: watch::Sender::new(Some(head)),
            last: AtomicU64::new(head),
            trimmed: AtomicU64::new(opened.cuts.trimmed.commit),
            cuts: Mutex::new(opened.cuts),
            keep: opened.keep,
            gate: opened.gate,
            readers: opened.readers,
        }))
    }

    /// Which log this is.
    pub fn id(&self) -> LogId {
        self.0.id
    }

    /// Makes durable records known. Only the store's writer calls this, in commit order.
    pub(crate) fn publish(&self, records: Vec<Recorded>, tail: Mark, mark: Option<Mark>) {
        {
            let mut recent = lock(&self.0.recent);
            recent.append(records);
            // Before anybody can read them: whoever has read up to a record may ask for what is behind it.
            self.0.last.store(tail.commit, Ordering::Release);
        }
        {
            let mut cuts = lock(&self.0.cuts);
            cuts.tail = tail;
            cuts.marks.extend(mark);
        }
        self.0.head.send_replace(Some(tail.commit));
    }

    /// The last durable commit.
    pub(crate) fn last(&self) -> CommitNumber {
        self.0.last.load(Ordering::Acquire)
    }

    /// The end of the log.
    pub(crate) fn tail(&self) -> Mark {
        lock(&self.0.cuts).tail
    }

    /// Tells of every new end of the log; none once the store is closed.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<CommitNumber>> {
        self.0.head.subscribe()
    }

    /// Whether the store may go on writing behind so many bytes of records.
    pub(crate) fn admits(&self, bytes: u64) -> Result<(), Closed> {
        self.0.gate.as_ref().map_or(Ok(()), |gate| gate.admits(bytes))
    }

    /// Bytes of the largest record that the log takes.
    pub(crate) fn largest(&self) -> usize {
        self.0.gate.as_ref().map_or(usize::MAX, |gate| gate.largest())
    }

    /// Whether enough was relayed that it is worth cutting.
    pub(crate) fn has_cut_due(&self) -> bool {
        let trimmed = lock(&self.0.cuts).trimmed;
        self.0.gate.as_ref().is_some_and(|gate| trim::relayed(&trimmed, gate.mark(), gate.grain()).is_some())
    }

    /// Whether the log holds more than it may. What is on its way elsewhere is not cut for its size.
    pub(crate) fn is_over(&self) -> bool {
        if self.0.gate.is_some() {
            return false;
        }
        let cuts = lock(&self.0.cuts);
        cuts.tail.bytes.saturating_sub(cuts.trimmed.bytes) > self.0.keep.size
    }

    /// Whether the writer should leave a mark at `tail`.
    pub(crate) fn wants_mark(&self, tail: &Mark) -> bool {
        if self.0.gate.is_some() {
            return false;
        }
        let cuts = lock(&self.0.cuts);
        self.0.keep.wants_mark(cuts.marks.back().unwrap_or(&cuts.trimmed), tail)
    }

    /// Where to cut now, and when to look again.
    pub(crate) fn cut(&self, now: i64) -> (Option<Mark>, Option<i64>) {
        let cuts = lock(&self.0.cuts);
        if let Some(gate) = &self.0.gate {
            return (trim::relayed(&cuts.trimmed, gate.mark(), gate.grain()), None);
        }
        let keep = &self.0.keep;
        (trim::cut(keep, &cuts.trimmed, &cuts.marks, &cuts.tail, now), trim::next_expiry(keep, &cuts.trimmed, &cuts.marks, &cuts.tail))
    }

    /// From now on the log begins behind `mark`. The writer calls this once that is durable.
    pub(crate) fn set_trimmed(&self, mark: Mark) {
        // First the bound, so that no reader takes a cut for a hole.
        self.0.trimmed.store(mark.commit, Ordering::Release);
        let mut cuts = lock(&self.0.cuts);
        cuts.trimmed = mark;
        cuts.marks.retain(|later| later.commit > mark.commit);
    }

    /// Readers who wait are told; those who are behind can still read to the end.
    pub(crate) fn close(&self) {
        self.0.head.send_replace(None);
    }

    /// The records of these commits that are still in memory: parsed already, and with what only this process knows of them.
    pub(crate) fn recall(&self, commits: impl Iterator<Item = CommitNumber>) -> Vec<Option<Recorded>> {
        let recent = lock(&self.0.recent);
        commits.map(|commit| recent.find(commit).cloned()).collect()
    }

    /// The record of this commit, read from its text. May read the disk for the fields that held times at its schema version.
    pub(crate) fn decode(&self, commit: CommitNumber, text: &[u8]) -> Result<Recorded, String> {
        let record = record::decode(text).map_err(|error| error.to_string())?;
        if record.commit != commit {
            return Err(format!("it says of itself that it is the record {}", record.commit));
        }
        self.0.recorded(record)
    }

    /// (bytes, records) on the disk, and bytes in memory.
    pub(crate) fn sizes(&self) -> (u64, u64, usize) {
        let cuts = lock(&self.0.cuts);
        let bytes = cuts.tail.bytes.saturating_sub(cuts.trimmed.bytes);
        let records = cuts.tail.records.saturating_sub(cuts.trimmed.records);
        drop(cuts);
        (bytes, records, lock(&self.0.recent).bytes())
    }
}

impl Inner {
    fn position(&self, commit: CommitNumber) -> Position {
        Position::single(self.id, commit)
    }

    fn check(&self, from: &Position) -> Result<(), LogError> {
        let oldest = self.trimmed.load(Ordering::Acquire);
        let commit = from.commit();
        let known = from.log == self.id
            && from.offsets.len() == 1
            && commit >= oldest
            && commit <= self.last.load(Ordering::Acquire)
            && !self.gaps.iter().any(|gap| gap.after < commit && commit < gap.until);
        if known { Ok(()) } else { Err(self.gone(from)) }
    }

    fn gone(&self, asked: &Position) -> LogError {
        LogError::Gone { asked: asked.clone(), oldest: self.position(self.trimmed.load(Ordering::Acquire)) }
    }

    /// Blocks.
    fn read_disk(&self, from: &Position, bytes: usize) -> Result<Batch, LogError> {
        let head = self.last.load(Ordering::Acquire);
        let mut expected = from.commit();
        let mut gather = Gather::new(from.clone(), bytes);
        for entry in self.records.range((expected + 1).to_be_bytes()..=head.to_be_bytes()) {
            let (key, value) = entry.into_inner().map_err(|error| LogError::Broken(error.to_string()))?;
            let commit = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes).unwrap_or(0);
            let unreadable = |reason: String| LogError::Unreadable { commit, reason };
            let record = record::decode(&value).map_err(|error| unreadable(error.to_string()))?;
            let follows = record.previous == expected || record.previous == self.skip_gaps(expected);
            if !follows || record.commit != commit {
                // What is missing may have been trimmed since we looked.
                self.check(from)?;
                return Err(unreadable(format!("it follows {}, but {expected} is the last one before it", record.previous)));
            }
            expected = commit;
            match gather.take(self.id, &self.recorded(record).map_err(unreadable)?) {
                Taken::Yes => {}
                Taken::Full => return Ok(gather.finish()),
                Taken::Split => return Err(self.gone(from)),
            }
        }
        let mut batch = gather.finish();
        let end = self.skip_gaps(batch.through.commit());
        if end < head {
            self.check(from)?;
            return Err(LogError::Unreadable { commit: head, reason: format!("the records behind {end} are missing") });
        }
        batch.through = self.position(end);
        Ok(batch)
    }

    /// The position that means the same on the other side of the gaps that begin at `commit`.
    fn skip_gaps(&self, mut commit: CommitNumber) -> CommitNumber {
        for gap in &self.gaps {
            if gap.after == commit {
                commit = gap.until;
            }
        }
        commit
    }

    fn recorded(&self, record: super::Record) -> Result<Recorded, String> {
        if !matches!(record.payload, Payload::Object(_)) {
            return Ok(Recorded::Control(Arc::new(record)));
        }
        let dates = (self.dates)(&record.app, record.schema_version, &record.bucket)?;
        match record.change(&dates) {
            Ok(Some(change)) => Ok(Recorded::Change(Arc::new(change))),
            Ok(None) => Ok(Recorded::Control(Arc::new(record))),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl ChangeLog for EmbeddedLog {
    fn head(&self) -> Position {
        self.0.position(self.0.last.load(Ordering::Acquire))
    }

    fn oldest(&self) -> Position {
        self.0.position(self.0.trimmed.load(Ordering::Acquire))
    }

    fn read(&self, from: Position, bytes: usize) -> BoxFuture<'static, Result<Batch, LogError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            inner.check(&from)?;
            let recent = lock(&inner.recent).read(inner.id, &from, bytes);
            let batch = match recent {
                Some(batch) => batch,
                None => {
                    let permit = Arc::clone(&inner.readers).acquire_owned().await.map_err(|_| LogError::Closed)?;
                    let (reader, from) = (Arc::clone(&inner), from.clone());
                    let read = tokio::task::spawn_blocking(move || {
                        let _permit = permit;
                        reader.read_disk(&from, bytes)
                    });
                    read.await.map_err(|error| LogError::Broken(error.to_string()))??
                }
            };
            if batch.through == from && inner.head.borrow().is_none() {
                return Err(LogError::Closed);
            }
            Ok(batch)
        })
    }

    fn follow(&self, from: Position) -> Box<dyn Follower> {
        Box::new(Reading::new(Arc::new(EmbeddedLog(Arc::clone(&self.0))), from))
    }

    fn beyond(&self, position: Position) -> BoxFuture<'static, ()> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            if inner.check(&position).is_err() {
                return;
            }
            let mut head = inner.head.subscribe();
            // The sender lives in `inner`, so this ends only when the condition holds.
            let _ = head.wait_for(|head| head.is_none_or(|head| head > position.commit())).await;
        })
    }
}
