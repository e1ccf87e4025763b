//! Where a snapshot of the source stands: what partitions have met of it, and what follows from that. What is done then is
//! [`super::keeper`]'s.

use super::progress::{Mark, Marking, Progress};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a topic's threads share about its snapshots.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    shared: Mutex<Shared>,
    /// Raised with every change of it
    version: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Whether objects are marked
    pub(crate) on: bool,
    /// The newest first or last record that was met
    newest: Option<Mark>,
    /// The last record of the last snapshot that was completed
    done: Option<Mark>,
}

impl Snapshots {
    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.shared().on
    }

    /// From now on objects are marked. Waits while marks are cleared away.
    pub(crate) fn turn_on(&self, met: Option<Mark>) {
        let mut shared = self.shared();
        if let Some(met) = met.filter(|met| shared.newest.is_none_or(|newest| met.is_behind(&newest))) {
            shared.newest = Some(met);
        }
        if !std::mem::replace(&mut shared.on, true) {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether a partition's marking is about a snapshot that was completed.
    pub(crate) fn is_over(&self, marking: &Marking) -> bool {
        let shared = self.shared();
        let met = [marking.begin, marking.first, marking.last];
        shared.done.is_some_and(|done| met.iter().flatten().all(|met| !met.is_behind(&done)))
            && (!shared.on || met.iter().any(Option::is_some))
    }

    pub(crate) fn completed(&self, last: Mark) {
        let mut shared = self.shared();
        shared.done = Some(last);
        // One that began meanwhile goes on.
        shared.on = shared.newest.is_some_and(|newest| newest.is_behind(&last));
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// What was completed before this process began.
    pub(crate) fn was_completed(&self, last: Option<Mark>) {
        self.shared().done = last;
    }
}

/// What is to be done about a snapshot.
#[derive(Debug, PartialEq)]
pub(crate) enum Stage {
    /// Nothing is known of a beginning yet
    Nothing,
    /// These partitions may have been beyond the beginning: they have to be looked at from that time on
    Reading { beginning: Mark, last: Option<Mark> },
    /// It was not read whole: nothing is removed
    Broken { last: Mark },
    /// It is nothing but a last record: a table of one row, or an ad hoc snapshot of one of many. Nothing is removed.
    Alone { last: Mark },
}

/// Where a snapshot stands, by what the partitions have noted.
pub(crate) fn stage<'m>(markings: impl Iterator<Item = &'m Marking> + Clone) -> Stage {
    let newest = |of: fn(&Marking) -> Option<Mark>| {
        markings.clone().filter_map(of).reduce(|newest, mark| if mark.is_behind(&newest) { mark } else { newest })
    };
    // Sources that mark no first record: the earliest that was met.
    let earliest = || {
        let met = markings.clone().filter_map(|marking| marking.begin);
        met.reduce(|earliest, mark| if earliest.is_behind(&mark) { mark } else { earliest })
    };
    let first = newest(|marking| marking.first);
    let Some(beginning) = first.or_else(earliest) else { return Stage::Nothing };
    let last = newest(|marking| marking.last).filter(|last| last.is_since(&beginning));
    match last {
        Some(last) if markings.clone().any(|marking| marking.broken) => Stage::Broken { last },
        Some(last) if first.is_none() && !markings.clone().any(|marking| marking.within) => Stage::Alone { last },
        last => Stage::Reading { beginning, last },
    }
}

/// A partition as the keeper sees it.
pub(crate) struct Seen {
    pub(crate) progress: Progress,
    /// How often it has come to its end
    pub(crate) turns: u64,
    /// Whether everything that was read by the last time is committed
    pub(crate) settled: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mark(partition: i32, offset: i64, at: i64) -> Mark {
        Mark { partition, generation: 0, offset, at, appended: false }
    }

    fn marking(begin: Option<Mark>, first: Option<Mark>, last: Option<Mark>) -> Marking {
        Marking { begin, first, last, ..Marking::default() }
    }

    #[test]
    fn it_counts_from_its_newest_beginning() {
        let (old, new, last) = (mark(0, 5, 100), mark(0, 9, 200), mark(1, 3, 300));
        assert_eq!(stage([].iter()), Stage::Nothing);
        assert_eq!(stage([marking(None, None, Some(last))].iter()), Stage::Nothing);
        let of = |markings: &[Marking]| stage(markings.iter());
        assert_eq!(of(&[marking(Some(old), Some(new), None), marking(None, None, None)]), Stage::Reading { beginning: new, last: None });
        assert_eq!(
            of(&[marking(None, Some(new), None), marking(Some(last), None, Some(last))]),
            Stage::Reading { beginning: new, last: Some(last) }
        );
        // The last record of one that was begun again is none.
        assert_eq!(of(&[marking(None, Some(new), Some(old))]), Stage::Reading { beginning: new, last: None });
        // Without a first record it is the earliest that was met.
        let within = Marking { within: true, ..marking(Some(new), None, None) };
        assert_eq!(of(&[within, marking(Some(last), None, Some(last))]), Stage::Reading { beginning: new, last: Some(last) });
        // Last records alone, however many.
        assert_eq!(of(&[marking(Some(last), None, Some(last))]), Stage::Alone { last });
        assert_eq!(of(&[marking(Some(new), None, Some(new)), marking(Some(last), None, Some(last))]), Stage::Alone { last });
        let broken = Marking { broken: true, ..marking(None, Some(new), Some(last)) };
        assert_eq!(of(&[broken]), Stage::Broken { last });
    }

    #[test]
    fn offsets_decide_in_a_partition_and_times_between_them() {
        let beginning = mark(0, 5, 100);
        assert!(mark(0, 5, 1).is_since(&beginning) && !mark(0, 4, 900).is_since(&beginning));
        assert!(mark(1, 0, 100).is_since(&beginning) && !mark(1, 9, 99).is_since(&beginning));
        let appended = Mark { appended: true, ..beginning };
        assert!(mark(1, 0, 99).is_since(&appended));
        assert_eq!(Mark::read(b"3:17:99"), Some(mark(3, 17, 99)));
        assert_eq!(Mark::read(b"3:17"), None);
    }

    #[test]
    fn a_partition_that_was_made_anew_lies_behind_what_it_was() {
        let (old, new) = (mark(0, 49_999, 100), Mark { generation: 1, ..mark(0, 0, 200) });
        assert!(new.is_behind(&old) && new.is_since(&old) && !old.is_since(&new));
        for mark in [old, new] {
            assert_eq!(Mark::read(&mark.note("B", "t", "/db/B/1").value.unwrap()), Some(mark));
        }
        let snapshots = Snapshots::default();
        snapshots.was_completed(Some(old));
        assert!(snapshots.is_over(&marking(Some(mark(0, 7, 50)), None, None)));
        assert!(!snapshots.is_over(&marking(Some(new), Some(new), None)));
        snapshots.turn_on(Some(new));
        snapshots.completed(old);
        assert!(snapshots.is_on(), "the new one goes on");
    }
}
