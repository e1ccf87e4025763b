//! Tries at users, from wherever they come: nobody gets more of them than one window's, however many others are tried.

use super::Tries;
use std::collections::HashMap;

/// Where there are more users than are told apart, the others share so many counts.
const SHARED: u64 = 256;

/// The tries at the users of one app, by name or by id.
///
/// As long as there is room each has a count of his own. Those for whom there is none share counts, by a hash that nobody outside
/// can compute: so nothing is ever forgotten before its time, memory is bounded, and to hold up all users at once somebody needs as
/// many tries as all shared counts take.
#[derive(Debug)]
pub(super) struct Names {
    limit: u32,
    /// Tries are forgotten after this, milliseconds
    window: i64,
    own: HashMap<Box<str>, Tries>,
    shared: HashMap<u64, Tries>,
    /// When it was last looked at what is over
    swept: i64,
}

impl Names {
    pub(super) fn new(limit: u32, window: i64) -> Names {
        Names { limit, window, own: HashMap::new(), shared: HashMap::new(), swept: i64::MIN }
    }

    pub(super) fn len(&self) -> usize {
        self.own.len() + self.shared.len()
    }

    /// Whether one more try at a user may go on. `hash`: of the user.
    pub(super) fn is_open(&self, user: &str, hash: u64, now: i64) -> bool {
        let tries = self.own.get(user).or_else(|| self.shared.get(&(hash % SHARED)));
        tries.is_none_or(|tries| !tries.are_over(self.limit, self.window, now))
    }

    /// Counts a try. `most`: users who may have counts of their own.
    pub(super) fn count(&mut self, user: &str, hash: u64, now: i64, most: usize) {
        let slot = hash % SHARED;
        if self.own.len() >= most {
            self.sweep(now);
        }
        if let Some(tries) = self.own.get_mut(user) {
            return tries.count(self.window, now);
        }
        // As long as a shared count lasts it may be about him as well: with one of his own he would get its tries on top.
        let is_shared = self.shared.get(&slot).is_some_and(|tries| tries.last(self.window, now));
        let tries = if is_shared || self.own.len() >= most {
            self.shared.entry(slot).or_insert(Tries::none(now))
        } else {
            self.own.entry(user.into()).or_insert(Tries::none(now))
        };
        tries.count(self.window, now);
    }

    /// A try was right: it does not count. `all`: nor do those before it.
    pub(super) fn succeeded(&mut self, user: &str, hash: u64, all: bool) {
        if let Some(tries) = self.own.get_mut(user) {
            tries.count = if all { 0 } else { tries.count.saturating_sub(1) };
            if tries.count == 0 {
                self.own.remove(user);
            }
        } else if let Some(tries) = self.shared.get_mut(&(hash % SHARED)) {
            // Those before it may be others'.
            tries.count = tries.count.saturating_sub(1);
        }
    }

    /// Who has to wait, until when; none: many, who share a count.
    pub(super) fn held(&self, now: i64) -> impl Iterator<Item = (Option<&str>, i64)> {
        let own = self.own.iter().map(|(user, tries)| (Some(&**user), tries));
        let all = own.chain(self.shared.values().map(|tries| (None, tries)));
        all.filter(move |(_, tries)| tries.are_over(self.limit, self.window, now)).map(|(user, tries)| (user, tries.since + self.window))
    }

    /// Forgets what is over. Not at every try, since it looks at everything.
    pub(super) fn sweep(&mut self, now: i64) {
        if now.saturating_sub(self.swept) >= self.window / 16 {
            self.swept = now;
            self.own.retain(|_, tries| tries.last(self.window, now));
            self.shared.retain(|_, tries| tries.last(self.window, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    fn tried(names: &mut Names, hashes: &RandomState, user: &str, now: i64) -> bool {
        let hash = hashes.hash_one(user);
        let open = names.is_open(user, hash, now);
        if open {
            names.count(user, hash, now, 100);
        }
        open
    }

    #[test]
    fn who_shares_a_count_gets_no_more_tries_than_others_and_all_share_the_room() {
        let (mut names, hashes) = (Names::new(10, 1_000), RandomState::new());
        assert_eq!((0..20).filter(|_| tried(&mut names, &hashes, "early", 0)).count(), 10);
        let taken = (0..10_000).filter(|n| tried(&mut names, &hashes, &n.to_string(), 0)).count();
        assert!(names.len() <= 100 + SHARED as usize, "{}", names.len());
        assert!(taken <= 99 + 10 * SHARED as usize, "{taken}");
        assert!(!tried(&mut names, &hashes, "early", 999), "nobody is forgotten for others");
        assert!(!tried(&mut names, &hashes, "late", 999), "and who comes late has to wait as they do");
        assert!(names.held(999).any(|(user, _)| user.is_none()));
        assert!(tried(&mut names, &hashes, "early", 1_000) && tried(&mut names, &hashes, "late", 1_000));
    }

    #[test]
    fn no_shared_count_gives_way_to_one_of_his_own_before_its_time() {
        let (mut names, hashes) = (Names::new(10, 1_000), RandomState::new());
        for n in 0..100 {
            assert!(tried(&mut names, &hashes, &n.to_string(), 0));
        }
        assert_eq!((0..20).filter(|_| tried(&mut names, &hashes, "late", 900)).count(), 10);
        // There is room again, and his tries are of this window yet.
        assert!(!tried(&mut names, &hashes, "late", 1_100));
        assert!(tried(&mut names, &hashes, "other", 1_100) && tried(&mut names, &hashes, "late", 1_900));
    }

    #[test]
    fn whoever_is_right_takes_no_room() {
        let (mut names, hashes) = (Names::new(10, 1_000), RandomState::new());
        for n in 0..1_000 {
            let user = n.to_string();
            assert!(tried(&mut names, &hashes, &user, 0));
            names.succeeded(&user, hashes.hash_one(&user), false);
        }
        assert_eq!(names.len(), 0);
    }
}
