//! Records of all partitions in, records in commit order out: no clock, no socket.
//!
//! A record is next when what it names as its predecessor (`after`) has been given already. Repeats are dropped
//! (`commit` at or below the newest one of its partition), and a hole in a partition is seen by `previous`.
//! What is given is therefore complete, whatever order the partitions come in.

use super::format::Place;
use crate::changelog::LogId;
use dataflows::change::CommitNumber;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Why nothing more can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// A record of another log
    #[error("partition {partition} holds the record {commit} of the log {log:016x}: two stores write to one topic", log = log.0)]
    Foreign { partition: usize, commit: CommitNumber, log: LogId },
    /// The partition begins behind the start: what was there is deleted. `oldest` is the first position that its
    /// records can be read on from.
    #[error("partition {partition} has no records up to {oldest} any more")]
    Trimmed { partition: usize, oldest: CommitNumber },
    /// The start is the position of a commit that was lost: readers who know it know too much
    #[error("the commit {start} was lost; the log goes on behind {after} at {commit}")]
    Lost { start: CommitNumber, after: CommitNumber, commit: CommitNumber },
    /// Records are missing in the middle of a partition
    #[error("partition {partition} lacks the record {previous}: {commit} follows {seen}")]
    Hole { partition: usize, seen: CommitNumber, previous: CommitNumber, commit: CommitNumber },
    /// Records are missing though every partition is further
    #[error("no partition holds the record {after}, which {commit} follows; the last one is {last}")]
    Missing { last: CommitNumber, after: CommitNumber, commit: CommitNumber },
}

/// What became of an offered record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    Waits,
    /// It was there already
    Repeat,
}

/// Nothing can be given though records wait: the one that `commit` follows is in a partition that has none waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) after: CommitNumber,
    pub(crate) commit: CommitNumber,
}

struct Waiting<R> {
    place: Place,
    offset: i64,
    size: usize,
    record: R,
}

struct Lane<R> {
    waiting: VecDeque<Waiting<R>>,
    bytes: usize,
    /// The newest commit that was offered, or the start
    seen: CommitNumber,
    /// Whether there was any since the start
    begun: bool,
    /// The offset behind the last record that was given
    next: i64,
}

/// The state of the merge. `R` is what stands for a record.
pub(crate) struct Merge<R> {
    log: LogId,
    start: CommitNumber,
    last: CommitNumber,
    lanes: Vec<Lane<R>>,
    /// (commit, partition) of the first record that waits in each partition that has one
    heads: BinaryHeap<Reverse<(CommitNumber, usize)>>,
}

impl<R> Merge<R> {
    /// Gives what comes after `start`; the partitions are read from these offsets.
    pub(crate) fn new(log: LogId, start: CommitNumber, offsets: &[i64]) -> Merge<R> {
        let lane = |next: &i64| Lane { waiting: VecDeque::new(), bytes: 0, seen: start, begun: false, next: *next };
        Merge { log, start, last: start, lanes: offsets.iter().map(lane).collect(), heads: BinaryHeap::new() }
    }

    /// Takes in a record of a partition, in the order of its offsets. `size` is what it counts for in [`Merge::bytes`].
    pub(crate) fn offer(&mut self, partition: usize, offset: i64, place: Place, size: usize, record: R) -> Result<Offered, Fault> {
        let Place { log, commit, previous, .. } = place;
        if log != self.log {
            return Err(Fault::Foreign { partition, commit, log });
        }
        let Some(lane) = self.lanes.get_mut(partition) else { return Ok(Offered::Repeat) };
        if commit <= lane.seen {
            return self.pass(partition, place);
        }
        if previous > lane.seen {
            return Err(if lane.begun {
                Fault::Hole { partition, seen: lane.seen, previous, commit }
            } else {
                Fault::Trimmed { partition, oldest: previous }
            });
        }
        (lane.seen, lane.begun) = (commit, true);
        if lane.waiting.is_empty() {
            self.heads.push(Reverse((commit, partition)));
        }
        lane.bytes += size;
        lane.waiting.push_back(Waiting { place, offset, size, record });
        Ok(Offered::Waits)
    }

    /// Takes note of a record at or before the start: the partition reaches back to it.
    pub(crate) fn pass(&mut self, partition: usize, place: Place) -> Result<Offered, Fault> {
        if place.log != self.log {
            return Err(Fault::Foreign { partition, commit: place.commit, log: place.log });
        }
        if let Some(lane) = self.lanes.get_mut(partition) {
            lane.begun |= place.commit <= self.start;
        }
        Ok(Offered::Repeat)
    }

    /// The next record in commit order, if it is there.
    pub(crate) fn pop(&mut self) -> Result<Option<(Place, R)>, Fault> {
        let Some(&Reverse((commit, partition))) = self.heads.peek() else { return Ok(None) };
        let Some(after) = self.lanes[partition].waiting.front().map(|head| head.place.after) else { return Ok(None) };
        if after > self.last {
            return if self.heads.len() == self.lanes.len() { Err(Fault::Missing { last: self.last, after, commit }) } else { Ok(None) };
        }
        // Commits are dense but for gaps, and a gap is known from both of its sides: the last commit before it and the
        // number right before the next one.
        let known = after == self.last || self.last + 1 == commit;
        if !known && self.last == self.start {
            return Err(Fault::Lost { start: self.start, after, commit });
        }
        self.heads.pop();
        let lane = &mut self.lanes[partition];
        let Some(head) = lane.waiting.pop_front() else { return Ok(None) };
        lane.bytes -= head.size;
        lane.next = head.offset + 1;
        if let Some(next) = lane.waiting.front() {
            self.heads.push(Reverse((next.place.commit, partition)));
        }
        self.last = commit;
        Ok(Some((head.place, head.record)))
    }

    /// Why nothing can be given, where something waits.
    pub(crate) fn stall(&self) -> Option<Stall> {
        let &Reverse((commit, partition)) = self.heads.peek()?;
        let after = self.lanes[partition].waiting.front()?.place.after;
        (after > self.last).then_some(Stall { after, commit })
    }

    /// The partitions in which nothing waits, and whether anything came of them since the start.
    pub(crate) fn empty(&self) -> impl Iterator<Item = (usize, bool)> {
        self.lanes.iter().enumerate().filter(|(_, lane)| lane.waiting.is_empty()).map(|(partition, lane)| (partition, lane.begun))
    }

    /// Everything up to here was given, or is before the start.
    pub(crate) fn last(&self) -> CommitNumber {
        self.last
    }

    /// What waits in a partition.
    pub(crate) fn bytes(&self, partition: usize) -> usize {
        self.lanes.get(partition).map_or(0, |lane| lane.bytes)
    }

    /// Where to read each partition from to get all that comes after [`Merge::last`].
    pub(crate) fn offsets(&self) -> Vec<i64> {
        self.lanes.iter().map(|lane| lane.next).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOG: LogId = LogId(7);

    /// The records of a log with so many partitions: commits with gaps, spread over partitions.
    fn log(partitions: usize) -> impl Strategy<Value = Vec<Vec<Place>>> {
        let record = (0..partitions, prop_oneof![9 => Just(0u64), 1 => 1..50u64]);
        proptest::collection::vec(record, 0..60).prop_map(move |records| {
            let mut lanes = vec![Vec::<Place>::new(); partitions];
            let (mut commit, mut after) = (0, 0);
            for (partition, gap) in records {
                commit += 1 + gap;
                let previous = lanes[partition].last().map_or(0, |place| place.commit);
                lanes[partition].push(Place { log: LOG, commit, after, previous });
                after = commit;
            }
            lanes
        })
    }

    fn commits(lanes: &[Vec<Place>]) -> Vec<CommitNumber> {
        let mut all: Vec<CommitNumber> = lanes.iter().flatten().map(|place| place.commit).collect();
        all.sort_unstable();
        all
    }

    /// What a run of the merge gives, where the partitions are read in the order that `choices` say and some
    /// records come twice, as after a crash of the relay: from an earlier one of the partition on.
    fn run(lanes: &[Vec<Place>], start: CommitNumber, choices: &[(usize, usize)], offsets: &[i64]) -> Result<Vec<CommitNumber>, Fault> {
        let mut merge = Merge::new(LOG, start, offsets);
        let mut at: Vec<usize> = offsets.iter().map(|offset| usize::try_from(*offset).unwrap()).collect();
        let mut given = Vec::new();
        let endless = (0..lanes.len()).cycle().map(|lane| (lane, 0));
        let enough = lanes.iter().map(Vec::len).sum::<usize>() * lanes.len() + lanes.len();
        for (lane, back) in choices.iter().copied().chain(endless.take(enough)) {
            let lane = lane % lanes.len();
            for number in at[lane].saturating_sub(back).max(usize::try_from(offsets[lane]).unwrap())..=at[lane] {
                let Some(place) = lanes[lane].get(number) else { break };
                merge.offer(lane, i64::try_from(number).unwrap(), *place, 1, place.commit)?;
            }
            at[lane] = (at[lane] + 1).min(lanes[lane].len());
            while let Some((place, record)) = merge.pop()? {
                assert_eq!(place.commit, record);
                given.push(record);
                // Reading on from these offsets gives the rest and nothing else.
                for (lane, offset) in merge.offsets().iter().enumerate() {
                    let behind = &lanes[lane][usize::try_from(*offset).unwrap()..];
                    assert!(behind.iter().all(|place| place.commit > merge.last()) || *offset == offsets[lane]);
                }
            }
        }
        assert!((0..lanes.len()).all(|lane| merge.bytes(lane) == 0) || merge.stall().is_some());
        Ok(given)
    }

    fn choices() -> impl Strategy<Value = Vec<(usize, usize)>> {
        proptest::collection::vec((0..5usize, prop_oneof![5 => Just(0usize), 1 => 0..6usize]), 0..120)
    }

    proptest! {
        #[test]
        fn gives_every_record_once_and_in_order(lanes in log(4), choices in choices(), one in log(1)) {
            prop_assert_eq!(run(&lanes, 0, &choices, &[0; 4]).unwrap(), commits(&lanes));
            prop_assert_eq!(run(&one, 0, &choices, &[0; 1]).unwrap(), commits(&one));
        }

        #[test]
        fn goes_on_from_any_commit_whatever_is_read_again(lanes in log(3), choices in choices(), cut in any::<prop::sample::Index>(), slack in 0..5usize) {
            let all = commits(&lanes);
            prop_assume!(!all.is_empty());
            let start = all[cut.index(all.len())];
            let from = |lane: &Vec<Place>| lane.partition_point(|place| place.commit <= start).saturating_sub(slack);
            let offsets: Vec<i64> = lanes.iter().map(|lane| i64::try_from(from(lane)).unwrap()).collect();
            let expected: Vec<CommitNumber> = all.into_iter().filter(|commit| *commit > start).collect();
            prop_assert_eq!(run(&lanes, start, &choices, &offsets).unwrap(), expected);
        }

        #[test]
        fn nothing_behind_a_hole_is_given(lanes in log(3), choices in choices(), hole in any::<prop::sample::Index>()) {
            let all = commits(&lanes);
            prop_assume!(!all.is_empty());
            let missing = all[hole.index(all.len())];
            let torn: Vec<Vec<Place>> =
                lanes.iter().map(|lane| lane.iter().copied().filter(|place| place.commit != missing).collect()).collect();
            match run(&torn, 0, &choices, &[0; 3]) {
                // Where nothing follows in its partition, the merge waits for it.
                Ok(given) => prop_assert!(given.iter().all(|commit| *commit < missing)),
                Err(Fault::Hole { previous, .. } | Fault::Trimmed { oldest: previous, .. }) => prop_assert_eq!(previous, missing),
                Err(Fault::Missing { after, .. }) => prop_assert_eq!(after, missing),
                Err(fault) => prop_assert!(false, "{}", fault),
            }
        }
    }

    fn place(commit: u64, after: u64, previous: u64) -> Place {
        Place { log: LOG, commit, after, previous }
    }

    #[test]
    fn a_partition_that_begins_behind_the_start_was_trimmed() {
        let mut merge = Merge::new(LOG, 5, &[0, 0]);
        assert_eq!(merge.offer(0, 3, place(9, 8, 7), 1, ()), Err(Fault::Trimmed { partition: 0, oldest: 7 }));
        // What is before the start shows that nothing is missing behind it.
        assert_eq!(merge.offer(1, 0, place(4, 3, 0), 1, ()), Ok(Offered::Repeat));
        assert_eq!(merge.offer(1, 1, place(7, 6, 6), 1, ()), Err(Fault::Hole { partition: 1, seen: 5, previous: 6, commit: 7 }));
    }

    #[test]
    fn another_log_is_refused() {
        let mut merge = Merge::new(LOG, 0, &[0]);
        let foreign = Place { log: LogId(8), ..place(1, 0, 0) };
        assert!(matches!(merge.offer(0, 0, foreign, 1, ()), Err(Fault::Foreign { log: LogId(8), .. })));
    }

    #[test]
    fn a_gap_is_known_from_both_sides_and_not_from_within() {
        for (start, known) in [(10, true), (63, true), (40, false)] {
            let mut merge = Merge::new(LOG, start, &[0]);
            merge.offer(0, 0, place(64, 10, 10), 1, ()).unwrap();
            assert_eq!(merge.pop().is_ok(), known, "{start}");
        }
        // In the middle of reading it is passed.
        let mut merge = Merge::new(LOG, 9, &[0]);
        merge.offer(0, 0, place(10, 9, 0), 1, ()).unwrap();
        merge.offer(0, 1, place(64, 10, 10), 1, ()).unwrap();
        assert!(merge.pop().unwrap().is_some() && merge.pop().unwrap().is_some() && merge.pop().unwrap().is_none());
    }

    #[test]
    fn says_what_it_waits_for() {
        let mut merge = Merge::new(LOG, 0, &[0, 0]);
        merge.offer(0, 0, place(2, 1, 0), 10, ()).unwrap();
        assert!(merge.pop().unwrap().is_none());
        assert_eq!(merge.stall(), Some(Stall { after: 1, commit: 2 }));
        assert_eq!(merge.empty().collect::<Vec<_>>(), [(1, false)]);
        assert_eq!(merge.bytes(0), 10);
        // All are further: it cannot come any more.
        merge.offer(1, 0, place(3, 2, 0), 1, ()).unwrap();
        assert_eq!(merge.pop(), Err(Fault::Missing { last: 0, after: 1, commit: 2 }));
    }
}
