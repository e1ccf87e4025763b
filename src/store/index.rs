//! Secondary indexes: what is declared, how it stands, and how a query was answered with them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Indexes that a bucket may have beside the built-in ones.
pub const MOST_INDEXES: usize = 64;
/// Keys that an index may have.
pub const MOST_KEYS: usize = 16;
/// Bytes of a key's path.
pub const LONGEST_PATH: usize = 512;

/// How an index is ordered by one of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOrder {
    /// The smallest value first
    Asc,
    /// The largest value first
    Desc,
    /// By cells of the globe
    Geo,
}

/// One key of an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IndexKey {
    /// A dotted path
    pub path: Box<str>,
    /// Its order
    pub order: KeyOrder,
}

/// What an index is. Two indexes of a bucket with the same keys are the same index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IndexDefinition {
    /// Whether no two objects may have the same values. An object of which a key is null or missing is not judged.
    pub unique: bool,
    /// At least one, none twice
    pub keys: Vec<IndexKey>,
}

/// Why a definition is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// None, or too many
    #[error("an index has 1 to {MOST_KEYS} keys")]
    Keys,
    /// Empty or too long
    #[error("a key of an index is the path of a field, 1 to {LONGEST_PATH} bytes")]
    Path,
    /// The same path again
    #[error("the key {0:?} stands twice in the index")]
    Twice(String),
    /// Points lie near each other, they do not equal each other
    #[error("a geo index cannot be unique")]
    UniqueGeo,
}

impl IndexError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            IndexError::Keys => "index-keys",
            IndexError::Path => "index-path",
            IndexError::Twice(_) => "index-key-twice",
            IndexError::UniqueGeo => "index-unique-geo",
        }
    }
}

impl IndexDefinition {
    /// Whether it can be built.
    pub fn check(&self) -> Result<(), IndexError> {
        if self.keys.is_empty() || self.keys.len() > MOST_KEYS {
            return Err(IndexError::Keys);
        }
        for (place, key) in self.keys.iter().enumerate() {
            if key.path.is_empty() || key.path.len() > LONGEST_PATH {
                return Err(IndexError::Path);
            }
            if self.keys.iter().take(place).any(|other| other.path == key.path) {
                return Err(IndexError::Twice(key.path.to_string()));
            }
            if self.unique && key.order == KeyOrder::Geo {
                return Err(IndexError::UniqueGeo);
            }
        }
        Ok(())
    }
}

impl fmt::Display for IndexDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unique {
            f.write_str("unique ")?;
        }
        f.write_str("(")?;
        for (place, key) in self.keys.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            let order = match key.order {
                KeyOrder::Asc => "asc",
                KeyOrder::Desc => "desc",
                KeyOrder::Geo => "geo",
            };
            write!(f, "{comma}{} {order}", key.path)?;
        }
        f.write_str(")")
    }
}

/// How an index stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexState {
    /// Queries use it
    Ready,
    /// So many objects are in it; queries do not use it yet
    Building {
        /// Objects done
        objects: u64,
    },
    /// It could not be built and holds nothing
    Failed {
        /// What stood in the way
        reason: String,
    },
}

/// An index of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexReport {
    /// What it is
    pub definition: IndexDefinition,
    /// Every app has it; it cannot be dropped
    pub built_in: bool,
    /// How it stands
    pub state: IndexState,
}

/// What is to become of a bucket's indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexChange {
    /// Adds one; nothing where it is there and did not fail
    Create(IndexDefinition),
    /// Drops the one with these keys; nothing where there is none
    Drop(Vec<IndexKey>),
    /// Drops all but the built-in ones
    DropAll,
}

/// A way to answer a query that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// `ids`, `id range`, `index`, `nearest`, `ordered index`, `scan`
    pub kind: &'static str,
    /// Which indexes
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<String>,
    /// How many ranges of them, or how many ids
    pub ranges: usize,
    /// Objects that would have to be looked at, as far as is known
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// At least so many, where counting was given up
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_at_least: Option<u64>,
}

/// How a query was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryReport {
    /// The way that was taken
    pub plan: PlanReport,
    /// The others
    pub alternatives: Vec<PlanReport>,
    /// Objects that were looked at
    pub rows_examined: u64,
    /// Objects in the answer
    pub rows_returned: u64,
    /// How long it took
    pub micros: u64,
}
