//! The newest records in memory, so that readers who keep up read no disk.

use super::{Batch, LogId, Position, Record};
use dataflows::change::{BatchSpan, Change, CommitNumber, Image};
use std::collections::VecDeque;
use std::sync::Arc;

/// A record as readers get it.
#[derive(Debug, Clone)]
pub(crate) enum Recorded {
    Change(Arc<Change>),
    Control(Arc<Record>),
}

impl Recorded {
    pub(crate) fn commit(&self) -> CommitNumber {
        match self {
            Recorded::Change(change) => change.commit,
            Recorded::Control(record) => record.commit,
        }
    }

    /// The batch that it is a part of.
    pub(crate) fn batch(&self) -> Option<BatchSpan> {
        match self {
            Recorded::Change(change) => change.batch,
            Recorded::Control(record) => record.batch,
        }
    }

    /// About the memory that it keeps alive, bytes.
    pub(crate) fn size(&self) -> usize {
        // The change itself, its queue entry and the allocations around the two images.
        const OVERHEAD: usize = 320;
        let image = |image: &Option<Arc<Image>>| image.as_ref().map_or(0, |image| image.document.memory());
        match self {
            Recorded::Change(change) => OVERHEAD + image(&change.before) + image(&change.after),
            Recorded::Control(_) => OVERHEAD,
        }
    }
}

/// Collects records until the bytes are used up. What was committed as one is never parted: its rest is taken whatever
/// its size, so that whoever reads sees no state between.
pub(crate) struct Gather {
    batch: Batch,
    budget: usize,
    /// The last commit of the batch that was begun
    whole: CommitNumber,
}

/// What a gatherer says of a record that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// It would no longer fit
    Full,
    /// It is the rest of a batch: the reader's position lies within
    Split,
}

impl Gather {
    pub(crate) fn new(from: Position, budget: usize) -> Gather {
        Gather { batch: Batch { changes: Vec::new(), control: Vec::new(), through: from }, budget, whole: 0 }
    }

    /// Takes the record if it fits. The first always fits, and what belongs to the one before.
    pub(crate) fn take(&mut self, log: LogId, recorded: &Recorded) -> Taken {
        if self.is_empty() && self.splits(recorded) {
            return Taken::Split;
        }
        if recorded.size() > self.budget && !self.is_empty() && self.is_whole() {
            return Taken::Full;
        }
        self.put(log, recorded.clone());
        Taken::Yes
    }

    /// Whether what was taken ends where a batch does.
    fn is_whole(&self) -> bool {
        self.batch.through.commit() >= self.whole
    }

    /// Whether some bytes are left, or nothing was taken yet.
    pub(crate) fn has_room(&self) -> bool {
        self.budget > 0 || self.is_empty()
    }

    /// Whether the record is the rest of a batch whose beginning is before what is gathered.
    pub(crate) fn splits(&self, recorded: &Recorded) -> bool {
        recorded.batch().is_some_and(|batch| batch.is_split_at(self.batch.through.commit()))
    }

    fn is_empty(&self) -> bool {
        self.batch.changes.is_empty() && self.batch.control.is_empty()
    }

    /// Takes the record, whatever its size.
    pub(crate) fn put(&mut self, log: LogId, recorded: Recorded) {
        self.budget = self.budget.saturating_sub(recorded.size());
        self.batch.through = Position::single(log, recorded.commit());
        self.whole = recorded.batch().map_or(self.whole, |batch| self.whole.max(batch.last));
        match recorded {
            Recorded::Change(change) => self.batch.changes.push(change),
            Recorded::Control(record) => self.batch.control.push(record),
        }
    }

    pub(crate) fn finish(self) -> Batch {
        self.batch
    }
}

/// Every record behind `base`, as many as fit.
#[derive(Debug)]
pub(crate) struct Recent {
    records: VecDeque<Recorded>,
    base: CommitNumber,
    bytes: usize,
    limit: usize,
}

impl Recent {
    pub(crate) fn new(head: CommitNumber, limit: usize) -> Recent {
        Recent { records: VecDeque::new(), base: head, bytes: 0, limit }
    }

    pub(crate) fn append(&mut self, records: impl IntoIterator<Item = Recorded>) {
        for record in records {
            self.bytes += record.size();
            self.records.push_back(record);
        }
        while self.bytes > self.limit {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.size();
            self.base = oldest.commit();
        }
    }

    /// What comes after `from`; none where that reaches further back than the memory, or `from` is no place to read from.
    pub(crate) fn read(&self, log: LogId, from: &Position, bytes: usize) -> Option<Batch> {
        let commit = from.commit();
        if commit < self.base {
            return None;
        }
        let start = self.records.partition_point(|record| record.commit() <= commit);
        let mut gather = Gather::new(from.clone(), bytes);
        for record in self.records.range(start..) {
            match gather.take(log, record) {
                Taken::Yes => {}
                Taken::Full => break,
                // The disk tells why.
                Taken::Split => return None,
            }
        }
        Some(gather.finish())
    }

    /// The record of this commit, if it is still here.
    pub(crate) fn find(&self, commit: CommitNumber) -> Option<&Recorded> {
        let place = self.records.binary_search_by_key(&commit, Recorded::commit).ok()?;
        self.records.get(place)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
