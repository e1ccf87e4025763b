//! A merge in which records wait for one that does not come.
//!
//! Mostly a broker is slow, and it comes. But a partition whose records were all deleted tells nobody that they
//! are missing: the others only show that something is, so it is looked at.

use super::consume::{Outage, Partitions};
use super::merge::Stall;
use super::seek::Prober;
use dataflows::change::CommitNumber;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A merge that stands still for so long may wait for what is deleted.
const SUSPECT: Duration = Duration::from_secs(3);

/// A merge that stands still for so long is said aloud.
const STANDSTILL: Duration = Duration::from_secs(10);

/// How long a broker has to answer about a partition.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Standstill(Option<Standing>);

#[derive(Debug)]
struct Standing {
    stall: Stall,
    since: Instant,
    said: bool,
}

impl Standstill {
    /// Takes note of the merge as it is; `empty`: the partitions in which nothing waits, and whether anything came of them. Gives
    /// the position behind which the log can be read on, where what is waited for is deleted. May ask the brokers.
    pub(crate) fn look(
        &mut self,
        stall: Option<Stall>,
        empty: &[(usize, bool)],
        topic: &Partitions,
        outage: &Arc<Outage>,
    ) -> Option<CommitNumber> {
        let Some(stall) = stall else {
            self.0 = None;
            return None;
        };
        let standing = match &mut self.0 {
            Some(standing) if standing.stall == stall => standing,
            standing => standing.insert(Standing { stall, since: Instant::now(), said: false }),
        };
        let lasting = standing.since.elapsed();
        if outage.is_on() || lasting < SUSPECT {
            return None;
        }
        if empty.iter().any(|(partition, begun)| !begun && is_emptied(topic, outage, *partition)) {
            return Some(stall.after);
        }
        if lasting >= STANDSTILL && !standing.said {
            standing.said = true;
            let partitions: Vec<usize> = empty.iter().map(|(partition, _)| *partition).collect();
            tracing::error!(
                topic = topic.name,
                waits_for = stall.after,
                next = stall.commit,
                ?partitions,
                "events wait for a record of the change log that none of the partitions has given yet"
            );
        }
        None
    }
}

/// Whether the partition had records and all of them, those of open transactions included, are deleted.
fn is_emptied(topic: &Partitions, outage: &Arc<Outage>, partition: usize) -> bool {
    let topic = Partitions { isolation: "read_uncommitted", ..topic.clone() };
    let Ok(partition) = i32::try_from(partition) else { return false };
    let bounds = Prober::new(&topic, outage, Instant::now() + PATIENCE).and_then(|prober| prober.bounds(partition));
    matches!(bounds, Ok((low, high)) if low == high && low > 0)
}
