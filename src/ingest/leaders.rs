//! Who of a topic's partitions can be asked: those whose leader is there and answers.
//!
//! A client waits for a leader that cannot be reached until its time is over, partition by partition. So one look at a topic
//! asks nobody twice who did not answer, and waits for a while only.

use super::wait::Stop;
use rdkafka::metadata::MetadataTopic;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long a look waits for leaders that do not answer, all together.
const WAITING: Duration = Duration::from_secs(5);
/// How long one question may take, so that whoever wants ingest to stop is heard.
pub(crate) const STEP: Duration = Duration::from_secs(2);

/// The leaders of a topic's partitions, for one look.
pub(crate) struct Leaders<'w> {
    stop: &'w Stop,
    of: BTreeMap<i32, i32>,
    /// Those who did not answer
    silent: RefCell<BTreeSet<i32>>,
    /// What is left of the time to wait for such
    left: Cell<Duration>,
}

impl<'w> Leaders<'w> {
    /// As the brokers say.
    pub(crate) fn of(topic: Option<&MetadataTopic>, stop: &'w Stop) -> Leaders<'w> {
        let partitions = topic.map(MetadataTopic::partitions).unwrap_or_default();
        Leaders::new(partitions.iter().map(|partition| (partition.id(), partition.leader())), stop)
    }

    /// Partitions and their leaders; below 0 for none.
    fn new(leaders: impl Iterator<Item = (i32, i32)>, stop: &'w Stop) -> Leaders<'w> {
        let of = leaders.filter(|(_, leader)| *leader >= 0).collect();
        Leaders { stop, of, silent: RefCell::default(), left: Cell::new(WAITING) }
    }

    /// Puts a question about a partition to its leader; it is told how long the answer may take. None: there is no answer, or
    /// it is of no use to ask now. Blocks.
    pub(crate) fn ask<T, E>(&self, partition: i32, question: impl FnOnce(Duration) -> Result<T, E>) -> Option<T> {
        let leader = self.of.get(&partition)?;
        let left = self.left.get();
        if left.is_zero() || self.stop.is_now() || self.silent.borrow().contains(leader) {
            return None;
        }
        let began = Instant::now();
        let answer = question(left.min(STEP));
        if answer.is_err() {
            self.silent.borrow_mut().insert(*leader);
            self.left.set(left.saturating_sub(began.elapsed()));
        }
        answer.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_there_or_did_not_answer_is_not_asked() {
        let stop = Stop::default();
        let leaders = Leaders::new([(0, 1), (1, -1), (2, 2), (3, 1), (4, 2)].into_iter(), &stop);
        let asked = RefCell::new(Vec::new());
        let ask = |partition: i32| {
            leaders.ask(partition, |time| {
                assert!(!time.is_zero() && time <= STEP);
                asked.borrow_mut().push(partition);
                if partition == 2 { Err(()) } else { Ok(partition) }
            })
        };
        let answers: Vec<Option<i32>> = (0..6).map(ask).collect();
        assert_eq!(answers, [Some(0), None, None, Some(3), None, None]);
        assert_eq!(*asked.borrow(), [0, 2, 3]);
        stop.now();
        assert_eq!((ask(0), asked.borrow().len()), (None, 3));
    }

    #[test]
    fn the_time_for_silence_ends() {
        let stop = Stop::default();
        let leaders = Leaders::new((0..100).map(|partition| (partition, partition)), &stop);
        leaders.left.set(Duration::from_millis(30));
        let mut asked = 0;
        for partition in 0..100 {
            let silence = |time: Duration| {
                asked += 1;
                std::thread::sleep(time.min(Duration::from_millis(10)));
                Err::<(), ()>(())
            };
            assert_eq!(leaders.ask(partition, silence), None);
        }
        assert!((1..=3).contains(&asked), "{asked}");
    }
}
