//! Trimming: how much of the log may go, by age and by size. The cap on the size wins.
//!
//! Records are not looked at for it: the writer leaves a [`Mark`] now and then, and the log is cut at marks.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A place where the log can be cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last commit before the cut
    pub commit: u64,
    /// Its time, milliseconds since 1970
    pub at: i64,
    /// Bytes of all records up to it, since the log began
    pub bytes: u64,
    /// Number of all records up to it, since the log began
    pub records: u64,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Milliseconds
    pub age: i64,
    /// Bytes of records
    pub size: u64,
}

impl Keep {
    /// Bytes between two marks: the log is up to so much shorter than it might be.
    pub fn grain_bytes(&self) -> u64 {
        (self.size / 64).clamp(1, 16 << 20)
    }

    /// Milliseconds between two marks: records stay up to so much longer than they must.
    pub fn grain_ms(&self) -> i64 {
        (self.age / 64).max(1)
    }

    /// Whether a mark is due at `tail`, where the last one is `last`.
    pub fn wants_mark(&self, last: &Mark, tail: &Mark) -> bool {
        tail.bytes.saturating_sub(last.bytes) >= self.grain_bytes() || tail.at.saturating_sub(last.at) >= self.grain_ms()
    }
}

/// Where to cut now. `trimmed` is the last cut, `marks` are the places behind it in order, `tail` is the end of the log.
pub fn cut(keep: &Keep, trimmed: &Mark, marks: &VecDeque<Mark>, tail: &Mark, now: i64) -> Option<Mark> {
    let places = || marks.iter().chain(std::iter::once(tail)).filter(|mark| mark.commit > trimmed.commit);
    let old = places().take_while(|mark| mark.at.saturating_add(keep.age) < now).last();
    let over = tail.bytes.saturating_sub(trimmed.bytes) > keep.size;
    let large = if over { places().find(|mark| tail.bytes.saturating_sub(mark.bytes) <= keep.size) } else { None };
    old.into_iter().chain(large).max_by_key(|mark| mark.commit).copied()
}

/// When something will be too old, milliseconds since 1970; none where the log is empty.
pub fn next_expiry(keep: &Keep, trimmed: &Mark, marks: &VecDeque<Mark>, tail: &Mark) -> Option<i64> {
    let mut places = marks.iter().chain(std::iter::once(tail)).filter(|mark| mark.commit > trimmed.commit);
    places.next().map(|mark| mark.at.saturating_add(keep.age).saturating_add(1))
}

/// Where to cut a log that is relayed elsewhere: behind all that was, as soon as that is `grain` bytes.
pub fn relayed(trimmed: &Mark, relayed: Mark, grain: u64) -> Option<Mark> {
    (relayed.bytes.saturating_sub(trimmed.bytes) >= grain && relayed.commit > trimmed.commit).then_some(relayed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(commit: u64, at: i64, bytes: u64) -> Mark {
        Mark { commit, at, bytes, records: commit }
    }

    const KEEP: Keep = Keep { age: 100, size: 1_000 };

    #[test]
    fn cuts_by_age_at_the_last_mark_that_is_old_enough() {
        let marks = VecDeque::from([mark(5, 10, 50), mark(9, 20, 90), mark(12, 60, 120)]);
        let (start, tail) = (mark(0, 0, 0), mark(14, 70, 140));
        assert_eq!(cut(&KEEP, &start, &marks, &tail, 110), None);
        assert_eq!(cut(&KEEP, &start, &marks, &tail, 130).map(|mark| mark.commit), Some(9));
        assert_eq!(cut(&KEEP, &start, &marks, &tail, 1_000).map(|mark| mark.commit), Some(14));
        assert_eq!(next_expiry(&KEEP, &start, &marks, &tail), Some(111));
        assert_eq!(next_expiry(&KEEP, &tail, &marks, &tail), None);
    }

    #[test]
    fn what_was_relayed_goes_in_grains_whatever_its_age() {
        assert_eq!(relayed(&mark(5, 10, 500), mark(6, 20, 549), 50), None);
        assert_eq!(relayed(&mark(5, 10, 500), mark(7, 30, 550), 50), Some(mark(7, 30, 550)));
        assert_eq!(relayed(&mark(5, 10, 500), mark(5, 10, 500), 0), None);
    }

    #[test]
    fn the_cap_on_the_size_wins() {
        let marks = VecDeque::from([mark(5, 10, 500), mark(9, 20, 900), mark(12, 60, 1_200)]);
        let (start, tail) = (mark(0, 0, 0), mark(14, 70, 1_600));
        assert_eq!(cut(&KEEP, &start, &marks, &tail, 71).map(|mark| mark.commit), Some(9));
        assert_eq!(cut(&KEEP, &mark(9, 20, 900), &marks, &tail, 71), None);
        // One record larger than the cap goes as a whole.
        assert_eq!(cut(&KEEP, &start, &VecDeque::new(), &tail, 71).map(|mark| mark.commit), Some(14));
    }
}
