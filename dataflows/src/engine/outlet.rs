//! Where the workers of this process hand over what they found.

use super::order::Held;
use super::{Explained, InstallError, Installed, QueryId, Sink};
use crate::change::CommitNumber;
use crate::deliver::Process;
use crate::grid::Grid;
use crate::index::Explanation;
use crate::matching::{Epoch, Outcome};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Sorts what workers hand over: deltas to the sink, answers to those who asked.
pub(super) struct Outlet {
    sink: Arc<dyn Sink>,
    /// With several rows, deltas are held until the frontier has passed them; see [`super::order`].
    held: Option<Mutex<Held>>,
    installing: Mutex<HashMap<QueryId, Installing>>,
    explaining: Mutex<HashMap<QueryId, Vec<Explained>>>,
    epochs: Mutex<Epochs>,
    passed: Condvar,
    frontier: AtomicU64,
}

struct Installing {
    missing: usize,
    result: Result<(), InstallError>,
    installed: Installed,
}

/// Which commit each epoch ends with, for those that the frontier has not passed.
#[derive(Default)]
struct Epochs {
    open: VecDeque<(Epoch, CommitNumber)>,
    /// The last one that was fed
    fed: Option<Epoch>,
    /// Everything of the epochs before it has been given to the sink
    settled: Epoch,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panics ends the process, so a poisoned lock is never seen for long.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outlet {
    pub(super) fn new(grid: Grid, sink: Arc<dyn Sink>) -> Outlet {
        Outlet {
            sink,
            held: (grid.rows() > 1).then(Mutex::default),
            installing: Mutex::default(),
            explaining: Mutex::default(),
            epochs: Mutex::default(),
            passed: Condvar::new(),
            frontier: AtomicU64::new(0),
        }
    }

    pub(super) fn expect_installed(&self, query: QueryId, missing: usize, installed: Installed) {
        lock(&self.installing).insert(query, Installing { missing, result: Ok(()), installed });
    }

    pub(super) fn expect_explained(&self, query: QueryId, explained: Explained) {
        lock(&self.explaining).entry(query).or_default().push(explained);
    }

    pub(super) fn fed(&self, epoch: Epoch, through: CommitNumber) {
        let mut epochs = lock(&self.epochs);
        epochs.open.push_back((epoch, through));
        epochs.fed = Some(epoch);
    }

    pub(super) fn frontier(&self) -> CommitNumber {
        self.frontier.load(Acquire)
    }

    pub(super) fn wait_for_fed(&self) {
        let mut epochs = lock(&self.epochs);
        let Some(last) = epochs.fed else { return };
        // An epoch leaves the line before its deltas are given away; it is done when they have been.
        while epochs.settled <= last {
            epochs = self.passed.wait(epochs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn installed(&self, query: QueryId, result: Result<(), InstallError>) {
        let complete = {
            let mut installing = lock(&self.installing);
            let Some(waiting) = installing.get_mut(&query) else { return };
            waiting.missing -= 1;
            if result.is_err() {
                waiting.result = result;
            }
            if waiting.missing > 0 {
                return;
            }
            installing.remove(&query)
        };
        if let Some(complete) = complete {
            (complete.installed)(complete.result);
        }
    }

    fn explained(&self, query: QueryId, explanation: Option<Explanation>) {
        let waiting = lock(&self.explaining).remove(&query).unwrap_or_default();
        for explained in waiting {
            explained(explanation.clone());
        }
    }
}

impl Process for Outlet {
    fn hand_over(&self, outcomes: impl Iterator<Item = Outcome>) {
        let mut held = self.held.as_ref().map(lock);
        for outcome in outcomes {
            match outcome {
                Outcome::Deltas { change, deltas } => match &mut held {
                    None => self.sink.deltas(&change, &deltas),
                    Some(held) => held.hold(change, deltas),
                },
                Outcome::Installed { query, result } => self.installed(query, result),
                Outcome::Explained { query, explanation } => self.explained(query, explanation),
            }
        }
    }

    fn passed(&self, epoch: Epoch) {
        let through = {
            let mut epochs = lock(&self.epochs);
            let mut through = None;
            while epochs.open.front().is_some_and(|&(open, _)| open < epoch) {
                through = epochs.open.pop_front().map(|(_, commit)| commit);
            }
            through
        };
        let Some(through) = through else { return };
        if let Some(held) = &self.held {
            let released = lock(held).release(through);
            for (change, deltas) in released {
                self.sink.deltas(&change, &deltas);
            }
        }
        self.frontier.store(through, Release);
        self.sink.frontier(through);
        lock(&self.epochs).settled = epoch;
        self.passed.notify_all();
    }
}
