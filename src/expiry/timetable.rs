//! What ends when, in order; bounded, and complete up to a horizon.

use crate::store::Key;
use std::collections::BTreeSet;

/// The times of objects. Of two images of an object the times say what goes and what comes, so no object is looked for.
#[derive(Debug)]
pub(super) struct Timetable {
    due: BTreeSet<(i64, Key)>,
    most: usize,
    /// Times from here on may be missing
    horizon: Option<i64>,
}

impl Timetable {
    pub(super) fn new(most: usize) -> Timetable {
        Timetable { due: BTreeSet::new(), most, horizon: None }
    }

    /// An object's time was the one and is the other.
    pub(super) fn change(&mut self, before: Option<i64>, after: Option<i64>, key: Key) {
        if before == after && before.is_some() {
            return;
        }
        let mut entry = (0, key);
        if let Some(before) = before {
            entry.0 = before;
            self.due.remove(&entry);
        }
        if let Some(after) = after.filter(|after| self.horizon.is_none_or(|horizon| *after < horizon)) {
            entry.0 = after;
            self.due.insert(entry);
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        while self.due.len() > self.most {
            let Some((time, _)) = self.due.pop_last() else { return };
            self.horizon = Some(time);
        }
    }

    /// What has ended, the earliest first, at most so many.
    pub(super) fn take(&mut self, now: i64, most: usize) -> Vec<(i64, Key)> {
        let mut taken = Vec::new();
        while taken.len() < most && self.due.first().is_some_and(|(time, _)| *time <= now) {
            taken.extend(self.due.pop_first());
        }
        taken
    }

    /// When the next object ends.
    pub(super) fn next(&self) -> Option<i64> {
        self.due.first().map(|(time, _)| *time)
    }

    /// Whether nothing is left of it, and something may be missing.
    pub(super) fn is_used_up(&self) -> bool {
        self.horizon.is_some() && self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(number: u8) -> Key {
        Key { app: "app".into(), bucket: "b".into(), id: number.to_string().into() }
    }

    proptest! {
        #[test]
        fn nothing_before_the_horizon_is_missing_and_nothing_is_wrong(
            changes in proptest::collection::vec((0..12u8, prop::option::of(0..20i64)), 0..60), most in 1..8usize,
        ) {
            let (mut timetable, mut times) = (Timetable::new(most), BTreeMap::new());
            for (number, after) in changes {
                let before = match after {
                    Some(after) => times.insert(number, after),
                    None => times.remove(&number),
                };
                timetable.change(before, after, key(number));
                prop_assert!(timetable.due.len() <= most);
                let horizon = timetable.horizon.unwrap_or(i64::MAX);
                let mut expected: Vec<_> = times.iter().map(|(number, time)| (*time, key(*number))).collect();
                expected.sort();
                let complete = |entries: &[(i64, Key)]| entries.iter().filter(|(time, _)| *time < horizon).cloned().collect::<Vec<_>>();
                let found: Vec<_> = timetable.due.iter().cloned().collect();
                prop_assert_eq!(complete(&found), complete(&expected));
                prop_assert!(found.iter().all(|entry| expected.contains(entry)));
            }
        }
    }
}
