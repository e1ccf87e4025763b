//! The operator that turns changes into deltas. Thin: what matches is decided by [`crate::index`].

use crate::change::Change;
use crate::delta::{Delta, QueryId};
use crate::index::{Explanation, IndexError, QueryIndex};
use crate::query::Filter;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;

/// Numbers what is fed: all that was queued when a worker looked becomes one epoch.
pub(crate) type Epoch = u64;

/// The dataflow's time: the epoch in the upper half, in the lower one a count of the turns in which this
/// worker only passed on commands. Inputs are pushed on only when they advance, and a command must not
/// have to wake every worker for that.
pub(crate) type Time = u128;

/// The first time of an epoch.
pub(crate) fn start_of(epoch: Epoch) -> Time {
    Time::from(epoch) << 64
}

/// The epoch that a time belongs to.
pub(crate) fn epoch_of(time: Time) -> Epoch {
    (time >> 64) as Epoch
}

/// A change on its way to one worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RoutedChange {
    pub(crate) worker: u64,
    pub(crate) change: Arc<Change>,
}

/// What is asked of the worker that holds (or shall hold) a standing query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct QueryCommand {
    /// The worker it goes to
    pub(crate) worker: u64,
    /// The worker that the answer goes to: one of the process that asked
    pub(crate) home: u64,
    pub(crate) query: QueryId,
    pub(crate) action: QueryAction,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum QueryAction {
    Install { app: Arc<str>, bucket: Arc<str>, filter: Filter },
    Remove,
    Explain,
}

/// What the matcher gives to the worker where the subscribers are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Matched {
    pub(crate) home: u64,
    pub(crate) outcome: Outcome,
}

/// Most changes touch a query or two: those need no allocation.
pub(crate) type Deltas = SmallVec<[Delta; 2]>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Deltas { change: Arc<Change>, deltas: Deltas },
    Installed { query: QueryId, result: Result<(), InstallError> },
    Explained { query: QueryId, explanation: Option<Explanation> },
}

/// Why a standing query was not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct InstallError {
    /// A stable code, see docs/errors.md
    pub code: String,
    /// For the subscriber
    pub message: String,
}

impl From<IndexError> for InstallError {
    fn from(error: IndexError) -> Self {
        InstallError { code: error.code().to_owned(), message: error.to_string() }
    }
}

/// What one worker counts; written by it alone, read by anyone.
#[derive(Debug, Default)]
pub struct WorkerStatistics {
    /// Changes that were matched
    pub changes: AtomicU64,
    /// Deltas that came of them
    pub deltas: AtomicU64,
    /// Standing queries installed
    pub standing_queries: AtomicU64,
    /// Those of them that no index entry fits
    pub residual_queries: AtomicU64,
    /// Standing queries that were looked at more closely
    pub candidates: AtomicU64,
    /// Turns of the worker's loop
    pub turns: AtomicU64,
}

/// Matches changes against the standing queries that this worker holds.
///
/// Queries are taken before changes in every turn, and an answer to an install leaves only after it is
/// in the index: a change that is fed once the answer was seen cannot pass the query by.
pub(crate) fn matching<'scope>(
    changes: Stream<'scope, Time, Vec<RoutedChange>>,
    queries: Stream<'scope, Time, Vec<QueryCommand>>,
    mut index: QueryIndex,
    here: u64,
    statistics: Arc<WorkerStatistics>,
) -> Stream<'scope, Time, Vec<Matched>> {
    let changes_pact = Exchange::new(|routed: &RoutedChange| routed.worker);
    let queries_pact = Exchange::new(|command: &QueryCommand| command.worker);
    changes.binary(queries, changes_pact, queries_pact, "Match", move |_, _| {
        let mut deltas = Vec::new();
        move |changes, queries, output| {
            queries.for_each(|time, commands| {
                let mut session = output.session(&time);
                for command in commands.drain(..) {
                    if let Some(outcome) = command_outcome(&mut index, command.query, command.action) {
                        session.give(Matched { home: command.home, outcome });
                    }
                }
                statistics.standing_queries.store(index.len() as u64, Relaxed);
                statistics.residual_queries.store(index.residual() as u64, Relaxed);
            });
            changes.for_each(|time, batch| {
                let mut session = output.session(&time);
                let (matched, mut found) = (batch.len() as u64, 0);
                for RoutedChange { change, .. } in batch.drain(..) {
                    index.matches(&change, &mut deltas);
                    if !deltas.is_empty() {
                        found += deltas.len() as u64;
                        let outcome = Outcome::Deltas { change, deltas: Deltas::from_slice(&deltas) };
                        session.give(Matched { home: here, outcome });
                        deltas.clear();
                    }
                }
                statistics.changes.fetch_add(matched, Relaxed);
                statistics.deltas.fetch_add(found, Relaxed);
                statistics.candidates.store(index.candidates(), Relaxed);
            });
        }
    })
}

fn command_outcome(index: &mut QueryIndex, query: QueryId, action: QueryAction) -> Option<Outcome> {
    match action {
        QueryAction::Install { app, bucket, filter } => {
            let result = index.insert(&app, &bucket, query, filter.predicate).map_err(InstallError::from);
            Some(Outcome::Installed { query, result })
        }
        QueryAction::Remove => {
            index.remove(query);
            None
        }
        QueryAction::Explain => Some(Outcome::Explained { query, explanation: index.explain(query) }),
    }
}
