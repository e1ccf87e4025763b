//! What the store counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start and sizes as they are, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Changes committed since the start
    pub commits: u64,
    /// Groups that they were committed in
    pub groups: u64,
    /// Times that a group waited for the disk
    pub syncs: u64,
    /// Writes that were refused because too many were waiting
    pub overloaded: u64,
    /// Writes that wait
    pub queued: u64,
    /// Bytes of the records in the log, as they were written
    pub log_bytes: u64,
    /// Records in the log
    pub log_records: u64,
    /// Bytes of recent changes kept in memory
    pub recent_bytes: u64,
    /// Commit number behind which the log can be read
    pub oldest: u64,
    /// Last commit number
    pub head: u64,
    /// Bytes on the disk, all together
    pub disk_bytes: u64,
    /// Indexes that were declared
    pub indexes: u64,
    /// Those of them that are being built
    pub indexes_building: u64,
    /// Queries answered by ids or indexes
    pub planned: u64,
    /// Scans of buckets, each for all queries that waited for it
    pub scans: u64,
    /// Objects that queries looked at
    pub examined: u64,
    /// Objects in the answers to queries
    pub returned: u64,
}

/// The counters behind it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) overloaded: AtomicU64,
    pub(super) planned: AtomicU64,
    pub(super) scans: AtomicU64,
    pub(super) examined: AtomicU64,
    pub(super) returned: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn scanned(&self, examined: u64, returned: u64) {
        Counters::add(&self.scans, 1);
        Counters::add(&self.examined, examined);
        Counters::add(&self.returned, returned);
    }

    pub(super) fn fill(&self, statistics: &mut Statistics) {
        statistics.commits = self.commits.load(Ordering::Relaxed);
        statistics.groups = self.groups.load(Ordering::Relaxed);
        statistics.syncs = self.syncs.load(Ordering::Relaxed);
        statistics.overloaded = self.overloaded.load(Ordering::Relaxed);
        statistics.planned = self.planned.load(Ordering::Relaxed);
        statistics.scans = self.scans.load(Ordering::Relaxed);
        statistics.examined = self.examined.load(Ordering::Relaxed);
        statistics.returned = self.returned.load(Ordering::Relaxed);
    }
}
