//! From a commit number to the offsets behind which everything after it is.
//!
//! Offsets are not dense: markers of transactions and records of aborted ones take some. So a partition is searched by
//! looking at the first record that can be seen at or behind an offset. In a partition the commit numbers rise, but
//! for records that come again after a crash of the relay: then all behind some commit come again, so whoever reads
//! on behind any record at or before the commit gets all that comes after it.

use super::consume::{self, Consumer, Outage, Partitions};
use super::format::Place;
use dataflows::change::CommitNumber;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// So many offsets are rather read over than searched further.
const SLACK: i64 = 256;

/// Offsets at each step of the search backwards from the end grow by this factor.
const STRIDE: i64 = 8;

/// How long one call may take.
const STEP: Duration = Duration::from_secs(1);

/// Why offsets are not known.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SeekError {
    /// Brokers delete faster than we look
    #[error("records are deleted while they are searched")]
    Moved,
    /// No answer in time
    #[error("{0}")]
    Unanswered(String),
    /// Records behind the start are deleted; this is the oldest position that the partition can be read on from
    #[error("the records up to {oldest} are deleted")]
    Trimmed { oldest: CommitNumber },
}

/// Where a partition is to be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    /// The record before the partition's first one, where the search got down to that
    pub(crate) begins: Option<CommitNumber>,
}

/// Looks for the place behind `start` in a partition: says at which offset to look, and is told of the first record that can
/// be seen at or behind it. Everything after `start` is at or behind the offset that is found, unless the record before the
/// first one, `begins`, is itself after `start`: then some of it is deleted.
#[derive(Debug)]
pub(crate) struct Search {
    start: CommitNumber,
    low: i64,
    high: i64,
    /// Something before this is at or before the start; `low` where nothing was seen yet
    from: i64,
    /// At or behind this there is nothing that is at or before the start, or nothing at all
    until: i64,
    /// How far before the end to look next
    back: i64,
    found: Option<Found>,
}

impl Search {
    /// Between the first offset of the partition and the one behind its last.
    pub(crate) fn new(start: CommitNumber, low: i64, high: i64) -> Search {
        Search { start, low, high, from: low, until: high.max(low), back: SLACK, found: None }
    }

    /// Of a partition where it is known already.
    fn known(offset: i64) -> Search {
        Search { found: Some(Found { offset, begins: None }), ..Search::new(0, offset, offset) }
    }

    /// Where to look next, or what was found.
    pub(crate) fn next(&self) -> Result<i64, Found> {
        if let Some(found) = self.found {
            return Err(found);
        }
        if self.until - self.from > SLACK {
            // First backwards from the end in growing strides: who comes back was there a moment ago.
            let back = self.high.saturating_sub(self.back);
            let strides = self.from == self.low && back > self.low && back < self.until;
            return Ok(if strides { back } else { self.from + (self.until - self.from) / 2 });
        }
        if self.from > self.low {
            return Err(Found { offset: self.from, begins: None });
        }
        Ok(self.low)
    }

    /// What is the first at or behind the offset that [`Search::next`] said.
    pub(crate) fn tell(&mut self, at: i64, first: Option<(i64, Place)>) {
        self.back = self.back.saturating_mul(STRIDE);
        match first {
            Some((offset, place)) if place.commit <= self.start => self.from = self.from.max(offset + 1),
            first if at == self.low => {
                self.found = Some(Found { offset: self.low, begins: first.map(|(_, place)| place.previous) });
            }
            _ => self.until = at,
        }
    }
}

/// Commits and the offsets of what comes after them, every so many commits, so that most searches end at once.
#[derive(Debug)]
pub(crate) struct Index {
    entries: BTreeMap<CommitNumber, Box<[i64]>>,
    every: u64,
}

/// Entries of an index at most; then every second one goes.
const ENTRIES: usize = 4096;

impl Default for Index {
    fn default() -> Index {
        Index { entries: BTreeMap::new(), every: 1024 }
    }
}

impl Index {
    /// Everything after the commit is at or behind these offsets.
    pub(crate) fn note(&mut self, commit: CommitNumber, offsets: impl FnOnce() -> Vec<i64>) {
        let due = self.entries.last_key_value().is_none_or(|(last, _)| commit >= last + self.every);
        if due && !self.entries.contains_key(&commit) {
            self.entries.insert(commit, offsets().into());
            if self.entries.len() > ENTRIES {
                self.every *= 2;
                let mut number = 0;
                self.entries.retain(|_, _| {
                    number += 1;
                    number % 2 == 1
                });
            }
        }
    }

    /// As [`Index::note`], of any commit: who else comes back from about there need not search.
    pub(crate) fn learn(&mut self, commit: CommitNumber, offsets: &[i64]) {
        let near = self.entries.range(..=commit).next_back().is_some_and(|(known, _)| commit - known < self.every / 4);
        if !near && self.entries.len() < ENTRIES {
            self.entries.insert(commit, offsets.into());
        }
    }

    /// Offsets that are not too far on for what comes after the commit.
    pub(crate) fn floor(&self, commit: CommitNumber) -> Option<&[i64]> {
        self.entries.range(..=commit).next_back().map(|(_, offsets)| &**offsets)
    }

    /// Nothing at or below the commit can be read any more.
    pub(crate) fn forget(&mut self, commit: CommitNumber) {
        self.entries = self.entries.split_off(&commit);
    }
}

/// A consumer that looks at single records.
pub(crate) struct Prober<'a> {
    topic: &'a Partitions,
    consumer: Consumer,
    deadline: Instant,
    /// Nobody asks any more
    closed: Option<&'a AtomicBool>,
}

impl<'a> Prober<'a> {
    /// Gives up at the deadline.
    pub(crate) fn new(topic: &'a Partitions, outage: &Arc<Outage>, deadline: Instant) -> Result<Prober<'a>, SeekError> {
        let mut config = topic.consumer();
        config.set("enable.partition.eof", "true");
        config.set("fetch.wait.max.ms", "10");
        // One record is looked at: fetch little.
        config.set("fetch.message.max.bytes", "16384");
        config.set("queued.max.messages.kbytes", "64");
        let consumer = consume::consumer(&config, outage).map_err(|error| SeekError::Unanswered(error.to_string()))?;
        Ok(Prober { topic, consumer, deadline, closed: None })
    }

    /// Gives up as well when this becomes true.
    pub(crate) fn until(self, closed: &'a AtomicBool) -> Prober<'a> {
        Prober { closed: Some(closed), ..self }
    }

    fn left(&self) -> Duration {
        if self.closed.is_some_and(|closed| closed.load(Relaxed)) {
            return Duration::ZERO;
        }
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Its first offset, and the one behind its last, of records that may be seen.
    pub(crate) fn bounds(&self, partition: i32) -> Result<(i64, i64), SeekError> {
        // One call takes no longer: it cannot be told that nobody asks any more.
        let left = self.left().clamp(Duration::from_millis(1), STEP);
        self.consumer.fetch_watermarks(&self.topic.name, partition, left).map_err(|error| SeekError::Unanswered(error.to_string()))
    }

    /// The first change record that can be seen at or behind an offset, of each of these partitions.
    fn first(&self, places: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, Option<(i64, Place)>>, SeekError> {
        let unanswered = |error: KafkaError| SeekError::Unanswered(error.to_string());
        let mut assignment = TopicPartitionList::with_capacity(places.len());
        for (partition, offset) in places {
            assignment.add_partition_offset(&self.topic.name, *partition, Offset::Offset(*offset)).map_err(unanswered)?;
        }
        self.consumer.assign(&assignment).map_err(unanswered)?;
        let (mut firsts, mut last) = (BTreeMap::new(), None);
        while firsts.len() < places.len() {
            let left = self.left();
            if left.is_zero() {
                return Err(SeekError::Unanswered(last.unwrap_or_else(|| "the brokers do not answer in time".to_owned())));
            }
            match self.consumer.poll(left.min(STEP)) {
                Some(Ok(message)) => {
                    self.consumer.context().0.ended();
                    let partition = message.partition();
                    let wanted = places.get(&partition).is_some_and(|offset| message.offset() >= *offset);
                    // What has no place is not ours, and in no one's way.
                    if let Some(place) = message.headers().and_then(Place::read).filter(|_| wanted) {
                        firsts.entry(partition).or_insert(Some((message.offset(), place)));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) if places.contains_key(&partition) => {
                    firsts.entry(partition).or_insert(None);
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => return Err(SeekError::Moved),
                Some(Err(error)) => last = Some(error.to_string()),
                None => {}
            }
        }
        Ok(firsts)
    }

    /// The offset of each partition behind which everything after the start is. `hints` are some that surely are not too far on.
    pub(crate) fn find(&self, start: CommitNumber, hints: Option<&[i64]>) -> Result<Vec<i64>, SeekError> {
        for _ in 0..5 {
            match self.search(start, hints) {
                Err(SeekError::Moved) => {}
                found => return found,
            }
        }
        Err(SeekError::Moved)
    }

    /// All partitions side by side: a look at one takes as long as a look at all of them.
    fn search(&self, start: CommitNumber, hints: Option<&[i64]>) -> Result<Vec<i64>, SeekError> {
        let mut searches = BTreeMap::new();
        for (number, partition) in self.topic.numbers().enumerate() {
            let (low, high) = self.bounds(partition)?;
            let hint = hints.and_then(|hints| hints.get(number).copied()).filter(|hint| (low..=high).contains(hint));
            searches.insert(partition, hint.map_or_else(|| Search::new(start, low, high), Search::known));
        }
        loop {
            let places: BTreeMap<i32, i64> =
                searches.iter().filter_map(|(partition, search)| Some((*partition, search.next().ok()?))).collect();
            if places.is_empty() {
                break;
            }
            for (partition, first) in self.first(&places)? {
                if let (Some(search), Some(at)) = (searches.get_mut(&partition), places.get(&partition)) {
                    search.tell(*at, first);
                }
            }
        }
        let founds = searches.values().filter_map(|search| search.next().err());
        let oldest = founds.clone().filter_map(|found| found.begins).max().filter(|oldest| *oldest > start);
        oldest.map_or_else(|| Ok(founds.map(|found| found.offset).collect()), |oldest| Err(SeekError::Trimmed { oldest }))
    }

    /// The oldest position that every partition can be read on from, as far as their first records tell.
    pub(crate) fn oldest(&self) -> Result<CommitNumber, SeekError> {
        let lows = self.topic.numbers().map(|partition| Ok((partition, self.bounds(partition)?.0))).collect::<Result<_, SeekError>>()?;
        let firsts = self.first(&lows)?;
        Ok(firsts.into_values().flatten().map(|(_, place)| place.previous).max().unwrap_or(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::changelog::LogId;
    use proptest::prelude::*;

    /// What stands at each offset of a partition: a record, or nothing that can be seen.
    fn partition() -> impl Strategy<Value = Vec<Option<Place>>> {
        // Steps: commits of other partitions between, markers behind; sometimes some records come again.
        let step = (1..4u64, 0..3usize, prop_oneof![20 => Just(0usize), 1 => 1..40usize]);
        proptest::collection::vec(step, 0..1_500).prop_map(|steps| {
            let mut offsets: Vec<Option<Place>> = Vec::new();
            let mut places: Vec<Place> = Vec::new();
            let mut commit = 0;
            for (distance, markers, again) in steps {
                let previous = places.last().map_or(0, |place| place.commit);
                commit += distance;
                let place = Place { log: LogId(1), commit, after: commit - 1, previous };
                places.push(place);
                offsets.push(Some(place));
                offsets.extend(std::iter::repeat_n(None, markers));
                offsets.extend(places[places.len().saturating_sub(again)..].iter().copied().map(Some));
            }
            offsets
        })
    }

    proptest! {
        #[test]
        fn finds_everything_after_the_start(partition in partition(), start in 0..3_500u64, cut in 0..4_000usize) {
            let low = cut.min(partition.len());
            let mut looks = 0;
            let mut search = Search::new(start, i64::try_from(low).unwrap(), i64::try_from(partition.len()).unwrap());
            let found = loop {
                let at = match search.next() {
                    Ok(at) => at,
                    Err(found) => break found,
                };
                looks += 1;
                let from = usize::try_from(at).unwrap();
                assert!(from >= low, "looked at what is deleted");
                let first = partition.iter().enumerate().skip(from).find_map(|(offset, place)| Some((i64::try_from(offset).unwrap(), (*place)?)));
                search.tell(at, first);
            };
            prop_assert!(looks <= 24, "{looks} looks");
            let offset = usize::try_from(found.offset).unwrap();
            let commits = |from: usize| partition[from..].iter().flatten().map(|place| place.commit).filter(|commit| *commit > start);
            let (expected, read): (std::collections::BTreeSet<_>, std::collections::BTreeSet<_>) = (commits(low).collect(), commits(offset).collect());
            prop_assert_eq!(&read, &expected);
            // What was cut is known, wherever a record is left to tell.
            let lost = partition[..low].iter().flatten().any(|place| place.commit > start && !expected.contains(&place.commit));
            if partition[low..].iter().flatten().next().is_some() {
                prop_assert!(!lost || found.begins.is_some_and(|begins| begins > start));
            }
        }
    }

    #[test]
    fn the_index_gives_offsets_at_or_before_a_commit_and_stays_small() {
        let mut index = Index::default();
        for commit in 0..9_000_000u64 {
            index.note(commit, || vec![i64::try_from(commit).unwrap() * 2]);
        }
        assert!(index.entries.len() <= ENTRIES);
        for commit in [0, 5, 1_024, 999_999, 8_999_999] {
            let offset = u64::try_from(index.floor(commit).unwrap()[0]).unwrap() / 2;
            assert!(offset <= commit && commit - offset <= index.every * 2, "{commit} {offset}");
        }
        index.forget(1_000_000);
        assert!(index.floor(999_999).is_none());
    }
}
