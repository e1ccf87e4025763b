//! The ordered log of changes: one trait; the embedded implementation is the default.

pub mod embedded;
pub(crate) mod gate;
mod home;
pub mod kafka;
pub(crate) mod outbox;
mod position;
pub(crate) mod recent;
pub mod record;
pub mod trim;

pub use home::Home;
pub use position::{LogId, Position, PositionError};
pub use record::Record;

use dataflows::change::Change;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Records read from the log, each kind in commit order. The log is read to its end when `through` is where it was read from.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The changes of objects
    pub changes: Vec<Arc<Change>>,
    /// The records of other kinds between them: schema, rights, truncate. Merge by commit number.
    pub control: Vec<Arc<Record>>,
    /// The position behind the last of them: read on from here
    pub through: Position,
}

/// Why the log cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// What comes after the position was trimmed, or the position is of another log, or within a batch: resynchronise
    #[error("the change log does not reach back to {asked}; the oldest position it can be read from is {oldest}")]
    Gone {
        /// What was asked for
        asked: Position,
        /// What can be had
        oldest: Position,
    },
    /// A record cannot be read; nothing behind it may be used
    #[error("the change log is damaged or of a newer version at commit {commit}: {reason}")]
    Unreadable {
        /// Where
        commit: u64,
        /// What is wrong
        reason: String,
    },
    /// The disk or the engine failed
    #[error("the change log failed: {0}")]
    Broken(String),
    /// The store was closed, and everything in the log has been read
    #[error("the change log is closed")]
    Closed,
}

impl LogError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            LogError::Gone { .. } => "position-gone",
            LogError::Unreadable { .. } => "log-unreadable",
            LogError::Broken(_) => "log-broken",
            LogError::Closed => "log-closed",
        }
    }
}

/// The ordered log of changes.
pub trait ChangeLog: Send + Sync + 'static {
    /// The position of the last durable change.
    fn head(&self) -> Position;

    /// The oldest position that can still be read on from.
    fn oldest(&self) -> Position;

    /// What comes after a position: at least one record if there is one, at most about so many bytes of images. What was
    /// committed as one comes as one, whatever its size; a position within is [`LogError::Gone`].
    /// A batch whose `through` is `from` means that `from` is the head.
    fn read(&self, from: Position, bytes: usize) -> BoxFuture<'static, Result<Batch, LogError>>;

    /// Follows the log from a position on.
    fn follow(&self, from: Position) -> Box<dyn Follower>;

    /// Resolves when there is something after the position (at once if there is already), or reading it would
    /// be an error.
    fn beyond(&self, position: Position) -> BoxFuture<'static, ()>;
}

/// Somebody who reads on and on. Merely dropped it stops.
pub trait Follower: Send {
    /// What comes next: waits until there is something, and gives at most about so many bytes of images. A batch without records
    /// says that only the position moved on. After [`LogError::Broken`] it can be asked again; after other errors it cannot.
    fn next(&mut self, bytes: usize) -> BoxFuture<'_, Result<Batch, LogError>>;
}

/// Follows a log by reading it whenever there is something.
pub struct Reading {
    log: Arc<dyn ChangeLog>,
    at: Position,
}

impl Reading {
    /// From a position on.
    pub fn new(log: Arc<dyn ChangeLog>, at: Position) -> Reading {
        Reading { log, at }
    }
}

impl Follower for Reading {
    fn next(&mut self, bytes: usize) -> BoxFuture<'_, Result<Batch, LogError>> {
        Box::pin(async move {
            self.log.beyond(self.at.clone()).await;
            let batch = self.log.read(self.at.clone(), bytes).await?;
            self.at = batch.through.clone();
            Ok(batch)
        })
    }
}
