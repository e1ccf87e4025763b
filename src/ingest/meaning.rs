//! What a record of another producer means for a bucket, whatever its format.
//!
//! Reading a record is a pure function of its bytes and the mapping; what is stored is decided later, inside the
//! store's transaction, on the image that is there.

use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What one record means.
#[derive(Debug)]
pub enum Meaning {
    /// The object is now this
    Put {
        /// Its id as the source says it, not yet encoded
        id: String,
        /// Its fields: renamed, decoded, in the order of the source
        fields: Fields,
        /// Whether it was read by a snapshot, and where that stands
        snapshot: Snapshot,
    },
    /// The object is gone
    Delete {
        /// Its id as the source says it, not yet encoded
        id: String,
    },
    /// All objects of the bucket are gone
    Truncate,
    /// Nothing: tombstones, heartbeats, transaction marks, messages, schema changes. Counted by this name.
    Skip(&'static str),
}

/// The fields of an object, each name with the JSON text of its value.
#[derive(Debug, Default)]
pub struct Fields {
    /// In the order of the source
    pub values: Vec<(Arc<str>, Box<RawValue>)>,
    /// Names of fields whose values the source did not send: what is stored stays
    pub unavailable: Vec<Arc<str>>,
    /// Names of fields that hold moments in time (in ISO 8601): to be declared as such
    pub moments: BTreeSet<Arc<str>>,
}

/// Where a snapshot of the source stands at this record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Snapshot {
    /// It is none
    #[default]
    No,
    /// The first record of one
    First,
    /// One in the middle
    Within,
    /// The last of one: what it did not contain is gone
    Last,
    /// First and last at once
    Only,
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRecord {
    /// Not JSON, or not UTF-8
    #[error("its {part} is not JSON: {reason}")]
    Syntax {
        /// `key` or `value`
        part: &'static str,
        /// What and where
        reason: String,
    },
    /// JSON of another shape
    #[error("its {part} {reason}")]
    Shape {
        /// `key` or `value`
        part: &'static str,
        /// What is expected
        reason: String,
    },
    /// A schema or a type that is not known
    #[error("the field {field} has the type {found}, which is not known; give it one in [ingest.types]")]
    Type {
        /// Which
        field: String,
        /// As the record says
        found: String,
    },
    /// A value that is not of its type
    #[error("the field {field} cannot be read as {expected}: {reason}")]
    Value {
        /// Which
        field: String,
        /// The type
        expected: String,
        /// Why not
        reason: String,
    },
}

impl BadRecord {
    /// Stable name, kept with the dead letter.
    pub fn code(&self) -> &'static str {
        match self {
            BadRecord::Syntax { .. } => "record-syntax",
            BadRecord::Shape { .. } => "record-shape",
            BadRecord::Type { .. } => "record-type",
            BadRecord::Value { .. } => "record-value",
        }
    }
}
