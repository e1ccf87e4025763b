//! The handle that the server holds: subscribe, unsubscribe, feed; deltas come out through a [`Sink`].
//!
//! Code that uses it needs to know nothing of timely. Behind it stand the workers (`worker`), and the
//! outlet through which they hand over what they found (`outlet`).

mod order;
mod outlet;
mod worker;

pub use crate::delta::{Delta, QueryId};
pub use crate::matching::{InstallError, WorkerStatistics};

use crate::change::{Change, CommitNumber};
use crate::grid::Grid;
use crate::index::{Explanation, IndexOptions};
use crate::matching::{Epoch, QueryAction, QueryCommand};
use crate::query::Filter;
use outlet::Outlet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use worker::{Command, Mailbox};

/// Where deltas go. Called on workers' threads: it must not block.
pub trait Sink: Send + Sync + 'static {
    /// The deltas of one change, all those of this call for different queries. For each query the calls
    /// come in the order of commits; a change that touches no query has none.
    fn deltas(&self, change: &Arc<Change>, deltas: &[Delta]);

    /// Everything at or below this commit has been given to [`Sink::deltas`].
    fn frontier(&self, through: CommitNumber);
}

/// How an engine is laid out.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Worker threads; 0: the cores less one, at least one
    pub workers: usize,
    /// Columns of the grid
    pub columns: usize,
    /// Limits of the index on each worker
    pub index: IndexOptions,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
#[error("the dataflow workers cannot be started: {0}")]
pub struct EngineError(String);

/// Called once, on a worker's thread, when a standing query is installed on every worker that holds it.
pub type Installed = Box<dyn FnOnce(Result<(), InstallError>) + Send>;
/// Called once, on a worker's thread.
pub type Explained = Box<dyn FnOnce(Option<Explanation>) + Send>;

/// The running dataflow. Dropping it stops the workers.
pub struct Engine {
    grid: Grid,
    mailboxes: Vec<Mailbox>,
    outlet: Arc<Outlet>,
    statistics: Vec<Arc<WorkerStatistics>>,
    next_query: AtomicU64,
    /// The next epoch; held while an epoch is handed to the workers, so that all see the same order.
    next_epoch: Mutex<Epoch>,
    /// Behind a lock only so that the handle can be shared
    workers: Mutex<Option<timely::communication::WorkerGuards<()>>>,
}

impl Engine {
    /// Starts the workers.
    pub fn start(options: EngineOptions, sink: Arc<dyn Sink>) -> Result<Engine, EngineError> {
        let workers = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1)).max(1),
            workers => workers,
        };
        let grid = Grid::new(workers, options.columns);
        let outlet = Arc::new(Outlet::new(grid, sink));
        let statistics: Vec<Arc<WorkerStatistics>> = (0..workers).map(|_| Arc::default()).collect();
        let (mailboxes, guards) = worker::start(grid, options.index, &outlet, &statistics).map_err(EngineError)?;
        let (next_query, next_epoch) = (AtomicU64::new(1), Mutex::new(1));
        Ok(Engine { grid, mailboxes, outlet, statistics, next_query, next_epoch, workers: Mutex::new(Some(guards)) })
    }

    /// Installs a standing query. Every change that is fed after `installed` was called is matched; of
    /// those fed before, some may be.
    pub fn subscribe(&self, app: Arc<str>, bucket: Arc<str>, filter: &Filter, installed: Installed) -> QueryId {
        let query = QueryId(self.next_query.fetch_add(1, Relaxed));
        self.outlet.expect_installed(query, self.grid.workers_of_query(query).count(), installed);
        self.command(query, self.grid.workers_of_query(query), QueryAction::Install { app, bucket, filter: filter.clone() });
        query
    }

    /// Removes a standing query. Deltas that are under way may still come.
    pub fn unsubscribe(&self, query: QueryId) {
        self.command(query, self.grid.workers_of_query(query), QueryAction::Remove);
    }

    /// Asks on which entries of the index a standing query hangs.
    pub fn explain(&self, query: QueryId, explained: Explained) {
        self.outlet.expect_explained(query, explained);
        self.command(query, self.grid.workers_of_query(query).take(1), QueryAction::Explain);
    }

    fn command(&self, query: QueryId, workers: impl Iterator<Item = usize>, action: QueryAction) {
        let home = self.home_of(query);
        let commands = workers.map(|worker| QueryCommand { worker: worker as u64, home: home as u64, query, action: action.clone() });
        self.mailboxes[home].post(Command::Queries(commands.collect()));
    }

    /// The worker that takes a query's commands; always the same, so that they arrive in order.
    fn home_of(&self, query: QueryId) -> usize {
        (query.0 % self.mailboxes.len() as u64) as usize
    }

    /// Feeds changes, in commit order; `through` is the commit up to which the log is fed with them.
    /// Does not wait: whoever feeds keeps an eye on [`Engine::frontier`].
    pub fn feed(&self, changes: Vec<Arc<Change>>, through: CommitNumber) {
        let mut next = self.next_epoch.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = *next;
        *next += 1;
        self.outlet.fed(epoch, through);
        self.mailboxes[0].post(Command::Changes { epoch, changes });
        for mailbox in &self.mailboxes[1..] {
            mailbox.post(Command::Advance { epoch });
        }
    }

    /// Everything at or below this commit has been given to the sink.
    pub fn frontier(&self) -> CommitNumber {
        self.outlet.frontier()
    }

    /// Blocks until everything fed so far has been given to the sink. Not for async threads.
    pub fn drain(&self) {
        self.outlet.wait_for_fed();
    }

    /// What each worker counts.
    pub fn statistics(&self) -> &[Arc<WorkerStatistics>] {
        &self.statistics
    }

    /// The shape of the grid.
    pub fn grid(&self) -> Grid {
        self.grid
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            mailbox.post(Command::Stop);
        }
        // Dropping the guards joins the threads.
        drop(self.workers.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}
