//! Topics of other producers: record -> what it means -> a transaction of the store.
//!
//! * [`mapping`]: one topic's configuration, compiled
//! * `record`: bytes to meaning, by the format of the mapping
//! * [`meaning`]: what a record means for a bucket, whatever its format
//! * `json`, `debezium`: the formats
//! * `connect`: schema blocks of Kafka Connect
//! * `columns`: the fields of a topic's records
//! * `encoding`: how values are written: times, decimals, points
//! * `id`: keys to ids
//! * [`names`]: what fields are called
//! * [`service`]: ingest as it runs
//! * `source`: topics, partitions, the threads that consume them
//! * `leaders`: which partitions can be asked where they end
//! * `pace`: how often what has gathered is committed, and by how many threads
//! * `stream`: one mapping at work: what its threads share
//! * `lane`: one partition on its way into the store
//! * `apply`: what a record means as a write: a pure decision on the image that is there
//! * `batch`: records that gather on their way, and pieces of what is too much at once
//! * `progress`: how far ingest is, as notes in the same transaction
//! * `classes`: the classes of ingested buckets, closed by default
//! * `access`: the objects' access lists, rewritten where a mapping has another owner
//! * `dead_letter`: what cannot be read, kept with reason and origin
//! * `snapshot`, `keeper`: sources that are read from the beginning again
//! * [`replay`]: dead letters tried again
//! * [`status`]: what is told about all this
//! * `wait`: waiting on threads that are no async threads

mod access;
mod apply;
mod batch;
mod classes;
mod columns;
mod connect;
mod dead_letter;
mod debezium;
mod encoding;
mod id;
mod json;
mod keeper;
mod lane;
mod leaders;
pub mod mapping;
pub mod meaning;
pub mod names;
mod pace;
mod progress;
mod record;
pub mod replay;
pub mod service;
mod snapshot;
mod source;
pub mod status;
mod stream;
mod wait;

pub use access::forget_unmapped;
pub use service::{Ingest, IngestError, Setup};

use mapping::Reader;
use meaning::BadRecord;

/// A record's value, taken out of its schema block. None: there is none, or it is null.
fn unwrapped<'v>(reader: &Reader<'_>, value: Option<&'v [u8]>) -> Result<Option<connect::Payload<'v>>, BadRecord> {
    let Some(value) = value else { return Ok(None) };
    let text = std::str::from_utf8(value).map_err(|error| BadRecord::Syntax { part: "value", reason: error.to_string() })?;
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if text == "null" {
        return Ok(None);
    }
    Ok(Some(reader.payload(text)?).filter(|payload| payload.text != "null"))
}

#[cfg(test)]
mod tests;
