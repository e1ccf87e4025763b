//! How a change record stands in a topic.
//!
//! The topic has one partition for control records (0: schemas, rights, truncates) and the rest for changes, by object.
//! The key is `<app>/db/<bucket>/<id>`, of a control record the app alone; the value is the record's JSON text
//! ([`crate::changelog::record`]); the timestamp is the record's `at`; the headers say where it belongs:
//!
//! | header | |
//! |---|---|
//! | `log` | the log id, 16 hex digits: records of another log are not ours |
//! | `commit` | its commit number |
//! | `after` | the commit number before it in the whole log: readers of all partitions merge by it |
//! | `previous` | the commit number before it in this partition, 0 for none: readers of one drop repeats and stop on a hole |

use crate::changelog::LogId;
use dataflows::change::CommitNumber;
use rdkafka::message::{BorrowedHeaders, Header, Headers, OwnedHeaders};

/// The partition of control records.
pub(crate) const CONTROL: i32 = 0;

/// Where a record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) log: LogId,
    pub(crate) commit: CommitNumber,
    pub(crate) after: CommitNumber,
    pub(crate) previous: CommitNumber,
}

/// The key of a record: `id` begins with `/db/`; control records have none.
pub(crate) fn key(app: &str, id: Option<&str>) -> Vec<u8> {
    let id = id.unwrap_or_default();
    let mut key = Vec::with_capacity(app.len() + id.len());
    key.extend_from_slice(app.as_bytes());
    key.extend_from_slice(id.as_bytes());
    key
}

/// The partition of a change with this key, where there are so many partitions for changes.
pub(crate) fn partition_of(key: &[u8], partitions: u32) -> i32 {
    let partition = crc32fast::hash(key) % partitions.max(1);
    i32::try_from(partition).unwrap_or(0) + CONTROL + 1
}

impl Place {
    pub(crate) fn headers(&self) -> OwnedHeaders {
        let number = |number: u64| number.to_string();
        [
            ("log", format!("{:016x}", self.log.0)),
            ("commit", number(self.commit)),
            ("after", number(self.after)),
            ("previous", number(self.previous)),
        ]
        .iter()
        .fold(OwnedHeaders::new_with_capacity(4), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
    }

    /// None where the headers are not those of a change record.
    pub(crate) fn read(headers: &BorrowedHeaders) -> Option<Place> {
        let (mut log, mut numbers) = (None, [None; 3]);
        for header in headers.iter() {
            let Some(text) = header.value.and_then(|value| std::str::from_utf8(value).ok()) else { continue };
            match header.key {
                "log" => log = u64::from_str_radix(text, 16).ok().map(LogId),
                "commit" => numbers[0] = text.parse().ok(),
                "after" => numbers[1] = text.parse().ok(),
                "previous" => numbers[2] = text.parse().ok(),
                _ => {}
            }
        }
        let [commit, after, previous] = numbers;
        Some(Place { log: log?, commit: commit?, after: after?, previous: previous? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_headers_that_it_writes() {
        for place in [
            Place { log: LogId(7), commit: 9, after: 8, previous: 0 },
            Place { log: LogId(u64::MAX), commit: u64::MAX, after: 1, previous: 1 },
        ] {
            assert_eq!(Place::read(place.headers().as_borrowed()), Some(place));
        }
        assert_eq!(Place::read(OwnedHeaders::new().insert(Header { key: "log", value: Some("7") }).as_borrowed()), None);
    }

    #[test]
    fn changes_of_an_object_share_a_partition_and_never_that_of_control() {
        for partitions in [1, 3, 64] {
            for number in 0..200 {
                let key = key("app", Some(&format!("/db/B/{number}")));
                let partition = partition_of(&key, partitions);
                assert_eq!(partition, partition_of(&key, partitions));
                assert!((1..=i32::try_from(partitions).unwrap()).contains(&partition));
            }
        }
    }
}
