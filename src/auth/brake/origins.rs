//! Tries from somewhere: when there are too many places, those that began first are forgotten.

use super::Tries;
use ipnet::IpNet;
use std::collections::HashMap;

/// Where somebody tries from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// Somebody who tries one user's passwords or codes
    Pair(Box<str>, IpNet),
    /// An address, which may stand for many people
    Address(IpNet),
}

impl Origin {
    /// Tries are forgotten after this, milliseconds.
    pub(super) const WINDOW: i64 = 60_000;

    fn limit(&self) -> u32 {
        match self {
            Origin::Pair(..) => 10,
            Origin::Address(_) => 50,
        }
    }

    /// From where.
    pub(super) fn network(&self) -> &IpNet {
        match self {
            Origin::Pair(_, network) | Origin::Address(network) => network,
        }
    }
}

/// The tries of one app by where they come from. What is forgotten gives nobody more tries at a user than that user takes from
/// everywhere, see [`Names`](super::names::Names).
#[derive(Debug, Default)]
pub(super) struct Origins {
    tries: HashMap<Origin, Tries>,
}

impl Origins {
    pub(super) fn len(&self) -> usize {
        self.tries.len()
    }

    pub(super) fn is_open(&self, origin: &Origin, now: i64) -> bool {
        self.tries.get(origin).is_none_or(|tries| !tries.are_over(origin.limit(), Origin::WINDOW, now))
    }

    pub(super) fn count(&mut self, origin: Origin, now: i64) {
        self.tries.entry(origin).or_insert(Tries::none(now)).count(Origin::WINDOW, now);
    }

    /// A try was right: it does not count, and who found his password may forget it again.
    pub(super) fn succeeded(&mut self, origin: &Origin) {
        let Some(tries) = self.tries.get_mut(origin) else { return };
        tries.count = tries.count.saturating_sub(1);
        if tries.count == 0 || matches!(origin, Origin::Pair(..)) {
            self.tries.remove(origin);
        }
    }

    /// Who has to wait, until when.
    pub(super) fn held(&self, now: i64) -> impl Iterator<Item = (&Origin, i64)> {
        let over = self.tries.iter().filter(move |(origin, tries)| tries.are_over(origin.limit(), Origin::WINDOW, now));
        over.map(|(origin, tries)| (origin, tries.since + Origin::WINDOW))
    }

    pub(super) fn release(&mut self, network: impl Fn(&IpNet) -> bool) {
        self.tries.retain(|origin, _| !network(origin.network()));
    }

    pub(super) fn sweep(&mut self, now: i64) {
        self.tries.retain(|_, tries| tries.last(Origin::WINDOW, now));
    }

    /// Forgets what is over, and the oldest quarter of `most` where that leaves more than the rest.
    pub(super) fn make_room(&mut self, now: i64, most: usize) {
        self.sweep(now);
        let kept = most - most.div_ceil(4);
        let Some(mut surplus) = self.tries.len().checked_sub(kept).filter(|surplus| *surplus > 0) else { return };
        let mut began: Vec<i64> = self.tries.values().map(|tries| tries.since).collect();
        let (earlier, newest, _) = began.select_nth_unstable(surplus - 1);
        let newest = *newest;
        // All of the earlier ones, and of those that began at one time with the last of them as many as it takes.
        surplus -= earlier.iter().filter(|since| **since < newest).count();
        self.tries.retain(|_, tries| {
            let goes = tries.since < newest || (tries.since == newest && surplus > 0);
            surplus -= usize::from(goes && tries.since == newest);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn the_oldest_are_forgotten_and_no_more_of_them_than_it_takes() {
        let address = |n: u32| Origin::Address(IpAddr::from(n.to_be_bytes()).into());
        let mut origins = Origins::default();
        for n in 0..1_000 {
            origins.count(address(n), i64::from(n / 10));
        }
        origins.make_room(100, 1_000);
        assert_eq!(origins.len(), 750);
        assert!((0..240).all(|n| !origins.tries.contains_key(&address(n))), "the first go");
        assert!((250..1_000).all(|n| origins.tries.contains_key(&address(n))), "the others stay");
        origins.make_room(100, 1_000);
        assert_eq!(origins.len(), 750);
        origins.make_room(Origin::WINDOW + 50, 1_000);
        assert_eq!(origins.len(), 490, "what is over goes first");
    }
}
