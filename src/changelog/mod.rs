//! The ordered log of changes: one trait; the embedded implementation is the default.

mod position;

pub use position::{LogId, Position, PositionError};

use dataflows::change::Change;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Changes read from the log, in commit order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The changes
    pub changes: Vec<Arc<Change>>,
    /// The position behind the last of them: read on from here
    pub through: Position,
}

/// Why the log cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// What comes after the position was trimmed, or the position is of another log: resynchronise
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
}

/// The ordered log of changes.
pub trait ChangeLog: Send + Sync + 'static {
    /// The position of the last durable change.
    fn head(&self) -> Position;

    /// The oldest position that can still be read on from.
    fn oldest(&self) -> Position;

    /// The changes after a position: at least one if there is one, at most about so many bytes of images.
    /// An empty batch means that `from` is the head.
    fn read(&self, from: Position, bytes: usize) -> BoxFuture<'static, Result<Batch, LogError>>;

    /// Resolves when there is something after the position (at once if there is already).
    fn beyond(&self, position: Position) -> BoxFuture<'static, ()>;
}
