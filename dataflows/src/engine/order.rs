//! Puts the deltas of several rows back into commit order.
//!
//! Each row of the grid gives its deltas in commit order, but the rows do not wait for each other. A
//! position says that everything at or below it was sent, so deltas are held until the frontier has
//! passed them. With one row there is nothing to hold, and this is not used.

use crate::change::{Change, CommitNumber};
use crate::matching::Deltas;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// Deltas that wait for the frontier.
#[derive(Debug, Default)]
pub(crate) struct Held {
    by_commit: BTreeMap<CommitNumber, (Arc<Change>, Deltas)>,
}

impl Held {
    /// Takes the deltas of one change from one worker.
    pub(crate) fn hold(&mut self, change: Arc<Change>, deltas: Deltas) {
        match self.by_commit.entry(change.commit) {
            Entry::Vacant(place) => drop(place.insert((change, deltas))),
            Entry::Occupied(mut place) => place.get_mut().1.extend(deltas),
        }
    }

    /// Gives what the frontier has passed, in commit order.
    pub(crate) fn release(&mut self, through: CommitNumber) -> impl Iterator<Item = (Arc<Change>, Deltas)> + use<> {
        let later = self.by_commit.split_off(&(through + 1));
        std::mem::replace(&mut self.by_commit, later).into_values()
    }
}
