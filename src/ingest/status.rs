//! What ingest tells about itself: for `tidegate ingest status` and for metrics.

use super::apply::moment;
use super::progress::Progress;
use super::snapshot::Seen;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the same trouble is not told again in the log, and how many different ones are told in that time.
const AGAIN: Duration = Duration::from_secs(60);
const MOST_TOLD: usize = 32;

/// A topic as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The topic
    pub topic: String,
    /// Where its objects go
    pub bucket: String,
    /// `waiting` for the topic or the brokers, `running`, or `stopped` for good
    pub state: &'static str,
    /// Records that have not been read yet
    pub lag: u64,
    /// Records a second, over the last seconds
    pub records_per_second: f64,
    /// Records that were read
    pub records: u64,
    /// Those of them that became dead letters
    pub dead_letters: u64,
    /// Where those are
    pub dead_letters_in: String,
    /// Those that mean nothing for a bucket, by kind
    pub skipped: BTreeMap<String, u64>,
    /// Offsets that were gone from the topic before they were read
    pub lost: u64,
    /// The last error, with its time
    pub last_error: Option<Trouble>,
    /// One by one
    pub partitions: Vec<PartitionStatus>,
}

/// A partition as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStatus {
    /// Which
    pub partition: i32,
    /// The offset that comes next
    pub offset: i64,
    /// The offset behind its last record
    pub end: Option<i64>,
    /// Records that have not been read yet
    pub lag: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// When, ISO 8601
    pub at: String,
    /// What, and what to do
    pub message: String,
}

/// What the threads of a topic write down.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) topic: String,
    pub(crate) bucket: String,
    pub(crate) letters: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    trouble: Option<Trouble>,
    /// What stood in the log lately, and when
    told: BTreeMap<String, Instant>,
    partitions: BTreeMap<i32, Partition>,
    rate: f64,
    /// Records that this process has read
    read: u64,
    counted: Option<(Instant, u64)>,
}

#[derive(Debug, Default)]
struct Partition {
    progress: Progress,
    end: Option<i64>,
    /// What came next when the end was reached, and where the end was, as soon as that is known
    reached: Option<(i64, Option<i64>)>,
    /// How often the end was reached
    turns: u64,
}

/// Whether records come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Waiting,
    Running,
    Stopped,
}

impl Board {
    pub(crate) fn new(topic: &str, bucket: &str, letters: String) -> Arc<Board> {
        Arc::new(Board { topic: topic.to_owned(), bucket: bucket.to_owned(), letters, inner: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_state(&self, state: State) {
        let mut inner = self.inner();
        if inner.state != State::Stopped {
            inner.state = state;
        }
    }

    /// Notes trouble. The same again is told once a minute in the log.
    pub(crate) fn trouble(&self, message: String, now: i64) {
        let mut inner = self.inner();
        inner.told.retain(|_, at| at.elapsed() < AGAIN);
        if inner.told.len() < MOST_TOLD && !inner.told.contains_key(&message) {
            inner.told.insert(message.clone(), Instant::now());
            tracing::warn!(topic = self.topic, bucket = self.bucket, message, "ingest is in trouble");
        }
        inner.trouble = Some(Trouble { at: moment(now), message });
    }

    /// How far a partition was left.
    pub(crate) fn begin(&self, partition: i32, progress: &Progress) {
        self.inner().partitions.entry(partition).or_default().progress.clone_from(progress);
    }

    /// How far a partition is, as it is noted in the store.
    pub(crate) fn progress(&self, partition: i32, progress: &Progress) {
        let mut inner = self.inner();
        let known = &mut inner.partitions.entry(partition).or_default().progress;
        let read = progress.records.saturating_sub(known.records);
        known.clone_from(progress);
        inner.read += read;
    }

    /// Where a partition ends, as the broker says.
    pub(crate) fn end(&self, partition: i32, end: i64) {
        let mut inner = self.inner();
        let partition = inner.partitions.entry(partition).or_default();
        partition.end = Some(end);
        // Behind the last record there may be marks of transactions: who has heard that he is at the end is there.
        if let Some((_, reached @ None)) = &mut partition.reached {
            *reached = Some(end);
        }
    }

    /// Everything that was there was read, up to this offset.
    pub(crate) fn at_end(&self, partition: i32, next: i64) {
        let mut inner = self.inner();
        let partition = inner.partitions.entry(partition).or_default();
        partition.turns += 1;
        partition.reached = Some((next, None));
    }

    /// Every partition, as the keeper of snapshots sees it.
    pub(crate) fn seen(&self) -> BTreeMap<i32, Seen> {
        let inner = self.inner();
        let seen = |known: &Partition| {
            // What was read is behind it only when it is committed.
            let committed = known.reached.is_some_and(|(next, _)| next <= known.progress.next || known.progress.records == 0);
            Seen { progress: known.progress.clone(), turns: known.turns, settled: committed }
        };
        inner.partitions.iter().map(|(partition, known)| (*partition, seen(known))).collect()
    }

    /// Measures the rate since the last time.
    pub(crate) fn tick(&self) {
        let mut inner = self.inner();
        let (now, records) = (Instant::now(), inner.read);
        if let Some((since, before)) = inner.counted.replace((now, records)) {
            inner.rate = records.saturating_sub(before) as f64 / now.duration_since(since).as_secs_f64().max(0.001);
        }
    }

    pub(crate) fn status(&self) -> TopicStatus {
        let inner = self.inner();
        let partitions: Vec<PartitionStatus> = inner
            .partitions
            .iter()
            .map(|(partition, known)| PartitionStatus {
                partition: *partition,
                offset: known.progress.next,
                end: known.end,
                lag: known.lag(),
            })
            .collect();
        let sum = |of: fn(&Progress) -> u64| inner.partitions.values().map(|partition| of(&partition.progress)).sum();
        let mut skipped = BTreeMap::new();
        for (kind, count) in inner.partitions.values().flat_map(|partition| &partition.progress.skipped) {
            *skipped.entry(kind.to_string()).or_default() += count;
        }
        TopicStatus {
            topic: self.topic.clone(),
            bucket: self.bucket.clone(),
            state: match inner.state {
                State::Waiting => "waiting",
                State::Running => "running",
                State::Stopped => "stopped",
            },
            lag: partitions.iter().map(|partition| partition.lag).sum(),
            records_per_second: inner.rate,
            records: sum(|progress| progress.records),
            dead_letters: sum(|progress| progress.dead_letters),
            dead_letters_in: self.letters.clone(),
            skipped,
            lost: sum(|progress| progress.lost),
            last_error: inner.trouble.clone(),
            partitions,
        }
    }
}

impl Partition {
    fn lag(&self) -> u64 {
        let behind = self.end.unwrap_or(self.progress.next).saturating_sub(self.progress.next);
        let at_end = self.reached.is_some_and(|(next, end)| next == self.progress.next && (end.is_none() || end == self.end));
        if at_end { 0 } else { u64::try_from(behind).unwrap_or(0) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_left_and_nothing_at_the_end() {
        let board = Board::new("t", "B", String::new());
        board.progress(0, &Progress { next: 5, records: 5, ..Progress::default() });
        board.progress(1, &Progress { next: 7, records: 6, ..Progress::default() });
        board.end(0, 9);
        board.end(1, 8);
        assert_eq!(board.status().lag, 5);
        // The last offset is a mark of a transaction, which is no record.
        board.at_end(1, 7);
        assert_eq!(board.status().lag, 4);
        board.end(1, 8);
        assert_eq!(board.status().lag, 4);
        board.end(1, 9);
        assert_eq!(board.status().lag, 6);
        board.tick();
        board.begin(2, &Progress { next: 1_000, records: 1_000, ..Progress::default() });
        board.tick();
        assert!(board.status().records_per_second == 0.0, "what was read before is no rate");
        board.begin(2, &Progress::default());
        let status = board.status();
        assert_eq!((status.records, status.partitions[0].offset, status.partitions[0].lag), (11, 5, 4));
    }
}
