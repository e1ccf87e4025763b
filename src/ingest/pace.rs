//! How often what has gathered is committed, and by how many threads.
//!
//! A commit costs much the same whatever it holds: a wake-up of the store's writer, of the log's reader, of the dataflow and of
//! connections. A source that trickles fast (one record in each of thousands of answers a second) would take the
//! machine with that alone, and each record then waits for processors, not for work. So commits keep a small distance: the
//! first record behind a pause goes at once, what comes right behind it goes together.

use std::time::{Duration, Instant};

/// Commits of one reader keep this distance. What a record waits for by it is below what a broker's own batching costs.
const DISTANCE: Duration = Duration::from_millis(2);

/// Threads that read one topic at most. The store has one writer, and reading a record costs less than writing it.
const READERS: usize = 4;

/// When one reader committed last.
#[derive(Debug, Default)]
pub(crate) struct Pace(Option<Instant>);

impl Pace {
    /// How long what has gathered waits for more; none: it goes now.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let next = self.0?.checked_add(DISTANCE)?;
        next.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Something went to the store.
    pub(crate) fn went(&mut self, now: Instant) {
        self.0 = Some(now);
    }
}

/// Into how many threads the partitions of each of so many topics are divided. One consumer asks a broker for all its
/// partitions at once; each further one is another conversation, with threads of its own on both ends.
pub(crate) fn readers(cores: usize, topics: usize) -> usize {
    (cores / 2).div_ceil(topics.max(1)).clamp(1, READERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_at_once_and_those_behind_it_together() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        assert_eq!(pace.left(begin), None);
        pace.went(begin);
        assert_eq!(pace.left(begin), Some(DISTANCE));
        assert_eq!(pace.left(begin + DISTANCE / 2), Some(DISTANCE / 2));
        assert_eq!(pace.left(begin + DISTANCE), None);
        assert_eq!(pace.left(begin + 100 * DISTANCE), None);
    }

    #[test]
    fn few_cores_and_many_topics_have_one_reader_each() {
        let counts = [(1, 1), (2, 1), (4, 1), (8, 1), (64, 1), (8, 3), (2, 50), (2, 0)].map(|(cores, topics)| readers(cores, topics));
        assert_eq!(counts, [1, 1, 2, 4, 4, 2, 1, 1]);
    }
}
