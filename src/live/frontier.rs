//! How far the dataflow is, and who waits for it to get somewhere.

use super::lock;
use dataflows::change::CommitNumber;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use tokio::sync::oneshot;

/// Everything at or below has been given to the outboxes.
pub(crate) struct Frontier {
    reached: AtomicU64,
    /// None once nothing more will be reached
    waiting: Mutex<Option<BinaryHeap<Waiting>>>,
    /// Where so many wait, those who do not any more are looked for
    crowd: AtomicUsize,
}

/// Fewer are not worth a look.
const CROWD: usize = 1024;

struct Waiting {
    commit: CommitNumber,
    tell: oneshot::Sender<()>,
}

impl Default for Frontier {
    fn default() -> Frontier {
        Frontier { reached: AtomicU64::new(0), waiting: Mutex::new(Some(BinaryHeap::new())), crowd: AtomicUsize::new(CROWD) }
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

    /// Resolves when the commit is reached, or never will be. Merely dropped, nobody waits.
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
            // While the frontier stands still, nobody else takes those out who have gone.
            if waiting.len() >= self.crowd.load(Relaxed) {
                waiting.retain(|one| !one.tell.is_closed());
                self.crowd.store(CROWD.max(2 * waiting.len()), Relaxed);
            }
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
    use futures_util::FutureExt;

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

    #[tokio::test]
    async fn who_does_not_wait_any_more_is_forgotten_while_it_stands_still() {
        let frontier = Frontier::default();
        for commit in 1..=5 * CROWD as u64 {
            assert!(frontier.reached(commit).now_or_never().is_none());
        }
        assert!(lock(&frontier.waiting).as_ref().is_some_and(|waiting| waiting.len() <= CROWD));
        // Those who do wait stay.
        let advance = async { frontier.advance(3) };
        tokio::join!(frontier.reached(3), advance);
    }
}
