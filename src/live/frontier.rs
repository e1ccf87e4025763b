//! How far the dataflow is, and who waits for it to get somewhere.

use super::lock;
use dataflows::change::CommitNumber;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use tokio::sync::oneshot;

/// Everything at or below has been given to the outboxes.
pub(crate) struct Frontier {
    reached: AtomicU64,
    /// None once nothing more will be reached
    waiting: Mutex<Option<BinaryHeap<Waiting>>>,
}

struct Waiting {
    commit: CommitNumber,
    tell: oneshot::Sender<()>,
}

impl Default for Frontier {
    fn default() -> Frontier {
        Frontier { reached: AtomicU64::new(0), waiting: Mutex::new(Some(BinaryHeap::new())) }
    }
}

impl Frontier {
    pub(crate) fn get(&self) -> CommitNumber {
        self.reached.load(Acquire)
    }

    /// Never moves back.
    pub(crate) fn advance(&self, through: CommitNumber) {
        self.reached.fetch_max(through, AcqRel);
        let mut waiting = lock(&self.waiting);
        let Some(waiting) = &mut *waiting else { return };
        while waiting.peek().is_some_and(|next| next.commit <= through) {
            if let Some(next) = waiting.pop() {
                let _ = next.tell.send(());
            }
        }
    }

    /// Nothing more will be reached: nobody waits any longer. Who waited on would keep the store open.
    pub(crate) fn close(&self) {
        drop(lock(&self.waiting).take());
    }

    /// Resolves when the commit is reached, or never will be.
    pub(crate) async fn reached(&self, commit: CommitNumber) {
        if self.get() >= commit {
            return;
        }
        let (tell, told) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            // Looked at under the lock: whoever advances takes it afterwards.
            if self.get() >= commit {
                return;
            }
            let Some(waiting) = &mut *waiting else { return };
            waiting.push(Waiting { commit, tell });
        }
        let _ = told.await;
    }
}

/// The heap's top is the smallest commit.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        other.commit.cmp(&self.commit)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.commit == other.commit
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_let_go_when_it_is_reached_and_when_it_never_will_be() {
        let frontier = Frontier::default();
        let advance = async { frontier.advance(7) };
        tokio::join!(frontier.reached(7), advance);
        let close = async { frontier.close() };
        tokio::join!(frontier.reached(8), close);
        frontier.reached(9).await;
        assert_eq!(frontier.get(), 7);
    }
}
