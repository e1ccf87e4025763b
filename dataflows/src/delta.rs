//! How a change touches a standing query.

use serde::{Deserialize, Serialize};

/// A standing query's number; unique as long as the engine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueryId(pub u64);

/// How one change touches one standing query: does the query match `before`, does it match `after`?
/// At least one of the two is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Delta {
    /// The standing query
    pub query: QueryId,
    /// It matched the image before
    pub before: bool,
    /// It matches the image after
    pub after: bool,
}
