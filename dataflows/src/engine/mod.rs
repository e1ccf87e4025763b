//! The handle that the server holds: subscribe, unsubscribe, feed; deltas come out through a [`Sink`].
//!
//! Code that uses it needs to know nothing of timely.

use crate::change::{Change, CommitNumber};
use std::sync::Arc;

/// A standing query's number; unique as long as the engine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct QueryId(pub u64);

/// How one change touches one standing query: does the query match `before`, does it match `after`?
/// At least one of the two is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Delta {
    /// The standing query
    pub query: QueryId,
    /// It matched the image before
    pub before: bool,
    /// It matches the image after
    pub after: bool,
}

/// Where deltas go. Called on a worker's thread: it must not block.
pub trait Sink: Send + Sync + 'static {
    /// The deltas of one change, all those of this call for different queries. Calls come in the order
    /// of commits; a change that touches no query has none.
    fn deltas(&self, change: &Arc<Change>, deltas: &[Delta]);

    /// Everything at or below this commit has been given to [`Sink::deltas`].
    fn frontier(&self, through: CommitNumber);
}
