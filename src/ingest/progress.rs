//! How far ingest is, as notes beside the objects: names and values (JSON), read again at a start.
//!
//! | note | value |
//! |---|---|
//! | `progress/<bucket>/<topic>/<partition>` | [`Progress`] |
//! | `snapshot/<bucket>/<topic>` | the last snapshot that was completed ([`super::keeper`]) |
//! | `seen/<bucket>/<topic>/<id>` | where and when such a snapshot, or a later record, last contained the object |
//! | `access/<app>/<bucket>` | whose access lists the bucket's objects have ([`super::access`]) |
//! | `replayed/<bucket>/<topic>/<partition>/<offset>` | when that dead letter was replayed |
//!
//! Neither apps nor buckets nor topics can have a `/` in their names.

use crate::store::Note;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Clocks of brokers differ by less, where they and not the producer say the time of a record. Milliseconds.
const CLOCKS: i64 = 60_000;

/// Where a record is and when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) partition: i32,
    /// The partition's, as in [`Progress::generation`]
    #[serde(default, skip_serializing_if = "is_first")]
    pub(crate) generation: u32,
    pub(crate) offset: i64,
    /// Milliseconds since 1970
    pub(crate) at: i64,
    /// Whether a broker's clock says so, and not the producer's
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) appended: bool,
}

impl Mark {
    /// Whether it lies at the beginning or behind it. In one partition the offset decides, else the time.
    pub(crate) fn is_since(&self, beginning: &Mark) -> bool {
        if self.partition == beginning.partition { self.place() >= beginning.place() } else { self.at >= beginning.earliest() }
    }

    /// Whether it lies behind another one for sure.
    pub(crate) fn is_behind(&self, other: &Mark) -> bool {
        if self.partition == other.partition { self.place() > other.place() } else { self.at > other.at }
    }

    /// Where it lies in its partition, whatever was made anew in between.
    fn place(&self) -> (u32, i64) {
        (self.generation, self.offset)
    }

    /// No record of other partitions that was made later has an earlier time.
    pub(crate) fn earliest(&self) -> i64 {
        if self.appended { self.at - CLOCKS } else { self.at }
    }

    /// The note about an object that was seen here.
    pub(crate) fn note(&self, bucket: &str, topic: &str, id: &str) -> Note {
        let Mark { partition, generation, offset, at, .. } = self;
        let value = match generation {
            0 => format!("{partition}:{offset}:{at}"),
            _ => format!("{partition}:{offset}:{at}:{generation}"),
        };
        Note { key: seen(bucket, topic, id), value: Some(value.into()) }
    }

    pub(crate) fn read(text: &[u8]) -> Option<Mark> {
        let mut parts = std::str::from_utf8(text).ok()?.split(':');
        let mut next = || parts.next()?.parse::<i64>().ok();
        let (partition, offset, at) = (i32::try_from(next()?).ok()?, next()?, next()?);
        let generation = next().map_or(Some(0), |generation| u32::try_from(generation).ok())?;
        Some(Mark { partition, generation, offset, at, appended: false })
    }
}

/// How far a partition is, and what came of its records so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The offset that comes next
    pub(crate) next: i64,
    /// Records that were read
    #[serde(default)]
    pub(crate) records: u64,
    /// Those of them that became dead letters
    #[serde(default)]
    pub(crate) dead_letters: u64,
    /// Those that mean nothing for a bucket, by kind
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) skipped: BTreeMap<Cow<'static, str>, u64>,
    /// Offsets that were gone from the topic before they were read
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lost: u64,
    /// How often it was found to be made anew, or cut, and was read from its beginning again: each time its offsets begin
    /// anew, and those of before say nothing of them
    #[serde(default, skip_serializing_if = "is_first")]
    pub(crate) generation: u32,
    /// A truncate at `next` is under way: the objects up to this id are gone
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) truncating: Option<String>,
    /// What this partition has done for a snapshot that runs
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) marking: Option<Marking>,
}

/// A partition while a snapshot runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marking {
    /// Every record from here on is marked
    pub(crate) since: i64,
    /// Records before this were written already and are only marked
    #[serde(default)]
    pub(crate) written: i64,
    /// The record of a snapshot that this began with
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begin: Option<Mark>,
    /// The newest first record of a snapshot
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<Mark>,
    /// The newest last record of a snapshot
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Mark>,
    /// Whether a record within a snapshot was met, neither its first nor its last
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) within: bool,
    /// What was not marked may be in it all the same: records of it were gone before they were read, or could not be read
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) broken: bool,
}

fn is_first(generation: &u32) -> bool {
    *generation == 0
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Progress {
    pub(crate) fn read(text: &[u8]) -> Result<Progress, serde_json::Error> {
        serde_json::from_slice(text)
    }

    pub(crate) fn text(&self) -> Bytes {
        // Numbers and strings always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// This and what a batch adds to it.
    pub(crate) fn with(&self, tally: &Tally) -> Progress {
        let mut sum = self.clone();
        sum.next = tally.next.unwrap_or(sum.next);
        sum.records += tally.records;
        sum.dead_letters += tally.dead_letters;
        for (kind, count) in &tally.skipped {
            *sum.skipped.entry(Cow::Borrowed(*kind)).or_default() += count;
        }
        sum
    }
}

/// What a batch adds to the progress.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The offset behind its last record
    pub(crate) next: Option<i64>,
    pub(crate) records: u64,
    pub(crate) dead_letters: u64,
    pub(crate) skipped: BTreeMap<&'static str, u64>,
}

/// The name of a partition's [`Progress`].
pub(crate) fn progress(bucket: &str, topic: &str, partition: i32) -> Bytes {
    format!("progress/{bucket}/{topic}/{partition}").into()
}

/// The name of the snapshot that was completed last.
pub(crate) fn snapshot(bucket: &str, topic: &str) -> Bytes {
    format!("snapshot/{bucket}/{topic}").into()
}

/// What the names of all marks begin with.
pub(crate) fn all_seen(bucket: &str, topic: &str) -> Bytes {
    format!("seen/{bucket}/{topic}/").into()
}

/// The name of an object's mark.
pub(crate) fn seen(bucket: &str, topic: &str, id: &str) -> Bytes {
    format!("seen/{bucket}/{topic}/{id}").into()
}

/// The name of the note about a bucket's access lists.
pub(crate) fn access(app: &str, bucket: &str) -> Bytes {
    format!("{ACCESS}{app}/{bucket}").into()
}

/// What the names of all those begin with.
pub(crate) const ACCESS: &str = "access/";

/// The name of the note that a dead letter was replayed.
pub(crate) fn replayed(bucket: &str, topic: &str, partition: i32, offset: i64) -> Bytes {
    format!("replayed/{bucket}/{topic}/{partition}/{offset}").into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_adds_up_and_reads_back() {
        let tally = |next, kind| Tally { next: Some(next), records: 2, dead_letters: 1, skipped: BTreeMap::from([(kind, 1)]) };
        let sum = Progress { next: 3, ..Progress::default() }
            .with(&tally(5, "tombstone"))
            .with(&tally(9, "tombstone"))
            .with(&tally(10, "message"));
        assert_eq!((sum.next, sum.records, sum.dead_letters), (10, 6, 3));
        assert_eq!(sum.skipped, BTreeMap::from([("message".into(), 1), ("tombstone".into(), 2)]));
        assert_eq!(Progress::read(&sum.text()).unwrap(), sum);
        assert_eq!(sum.with(&Tally::default()), sum);
    }

    #[test]
    fn names_do_not_mix() {
        assert!(!seen("Orders", "t", "/db/Orders/1").starts_with(&all_seen("Order", "t")));
    }
}
