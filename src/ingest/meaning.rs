//! What a record of another producer means for a bucket, whatever its format.
//!
//! Reading a record is a pure function of its bytes and the mapping; what is stored is decided later, inside the
//! store's transaction, on the image that is there.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
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
    /// Nothing: heartbeats, transaction marks, messages, schema changes. Counted by this name.
    Skip(&'static str),
}

/// The fields of an object, each name with the JSON text of its value.
#[derive(Debug, Default)]
pub struct Fields {
    /// In the order of the source
    pub values: Vec<(Arc<str>, Box<RawValue>)>,
    /// Names of fields whose values the source did not send: what is stored stays
    pub unavailable: Vec<Arc<str>>,
    /// Fields that hold moments in time: to be declared as such. Follows from types alone, not from the values of this
    /// record, so consecutive records share one map (compare with [`Arc::ptr_eq`] first).
    pub moments: Arc<Moments>,
}

/// Fields that hold moments in time, by name.
pub type Moments = BTreeMap<Arc<str>, Moment>;

/// What a moment is, as text in the forms of `object::time`. Null is possible everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// An instant, `2020-01-02T03:04:05.678Z`
    DateTime,
    /// A day, `2020-01-02`
    Date,
    /// A time of day in UTC, `03:04:05.678Z`. Where the source says more than a day has (`24:00:00`, or MySQL's
    /// `-12:00:00` and `838:59:59`), it is that text without `Z`.
    Time,
}

/// Where a snapshot of the source stands at this record.
///
/// What Debezium marks: of one record it cannot be told whether it is first and last at once. A table with one row is
/// `last` (or `last_in_data_collection`) alone, but the first of several tables with one row is `first` alone, and is over
/// without another mark when the next record is none of a snapshot. Older versions mark no first record. So any of the
/// three begins a snapshot where none is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Snapshot {
    /// It is none
    #[default]
    No,
    /// The first record of one
    First,
    /// One in the middle
    Within,
    /// The last of one, perhaps the only one: what the snapshot did not contain is gone
    Last,
}

/// A record that cannot be read, with what could be read of it all the same: a snapshot whose record is dead contains the row,
/// and ends with its last record even where that one is dead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// What is wrong with it
    pub error: BadRecord,
    /// The id of its object as the source says it, where that can be read
    pub id: Option<String>,
    /// Where a snapshot stands at it; none: that cannot be read
    pub snapshot: Option<Snapshot>,
}

impl Unreadable {
    /// Stable name, kept with the dead letter.
    pub fn code(&self) -> &'static str {
        self.error.code()
    }
}

impl From<BadRecord> for Unreadable {
    /// Of a record that is in no snapshot, or of which nothing matters but that it is bad.
    fn from(error: BadRecord) -> Unreadable {
        Unreadable { error, id: None, snapshot: Some(Snapshot::No) }
    }
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
    /// More than the store takes
    #[error("it makes an object of {found} {what}, at most {limit} are allowed")]
    Large {
        /// `bytes` or `fields`
        what: &'static str,
        /// How many
        found: usize,
        /// How many may be
        limit: usize,
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
            BadRecord::Large { .. } => "record-too-large",
        }
    }
}
