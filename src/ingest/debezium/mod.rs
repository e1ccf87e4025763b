//! Envelopes of Debezium: what happened to a row, with the row before and after.

mod snapshot;

use super::connect::Payload;
use super::json::object;
use super::mapping::Reader;
use super::meaning::{BadRecord, Fields, Meaning, Unreadable};
use super::{id, unwrapped};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What matters of an envelope. `before` does not: the key says which row it was.
#[derive(Deserialize)]
struct Envelope<'e> {
    #[serde(borrow, default)]
    op: Option<&'e RawValue>,
    #[serde(borrow, default)]
    after: Option<&'e RawValue>,
    #[serde(borrow, default)]
    source: Option<&'e RawValue>,
}

/// What a record means.
///
/// A record without a value is a deletion, too: in a compacted topic this tombstone may be all that is left of one.
pub(super) fn read(reader: &Reader<'_>, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Meaning, Unreadable> {
    // What is no envelope may have been a row of a snapshot.
    let unknown = |error| Unreadable { error, id: id::of_key(reader, key).ok().flatten(), snapshot: snapshot::within(value) };
    let Some(payload) = unwrapped(reader, value).map_err(unknown)? else {
        return Ok(id::of_key(reader, key)?.map_or(Meaning::Skip("tombstone"), |id| Meaning::Delete { id }));
    };
    let envelope = envelope(payload.text).map_err(unknown)?;
    let Some(op) = envelope.op else { return other(payload.text).map_err(unknown) };
    match op.get() {
        "\"c\"" | "\"u\"" | "\"r\"" => {}
        "\"d\"" => return Ok(Meaning::Delete { id: row_id(reader, key)? }),
        "\"t\"" => return Ok(Meaning::Truncate),
        "\"m\"" => return Ok(Meaning::Skip("message")),
        op => {
            let op = op.chars().take(20).collect::<String>();
            return Err(unknown(shape(&format!("has the op {op}; c, u, d, r, t and m are known"))));
        }
    }
    // Each is read for itself: a snapshot contains the row also where its fields, or its key, cannot be read.
    let snapshot = snapshot::of(envelope.source);
    match (row_id(reader, key), row(reader, &payload, &envelope)) {
        (Ok(id), Ok(fields)) => Ok(Meaning::Put { id, fields, snapshot }),
        (id, Err(error)) => Err(Unreadable { error, id: id.ok(), snapshot: Some(snapshot) }),
        (Err(error), Ok(_)) => Err(Unreadable { error, id: None, snapshot: Some(snapshot) }),
    }
}

fn envelope(text: &str) -> Result<Envelope<'_>, BadRecord> {
    // A struct would be read from an array as well.
    if text.starts_with('[') {
        return Err(shape("is no envelope of Debezium: an array"));
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => shape(&format!("is no envelope of Debezium: {error}")),
        _ => BadRecord::Syntax { part: "value", reason: error.to_string() },
    })
}

/// The row as it is now.
fn row(reader: &Reader<'_>, payload: &Payload<'_>, envelope: &Envelope<'_>) -> Result<Fields, BadRecord> {
    let Some(after) = envelope.after else { return Err(shape("says that a row is there, and has no after")) };
    if after.get().starts_with('"') {
        return Err(shape("has a text as after, as the connector for MongoDB writes it; connectors for tables are supported"));
    }
    let columns = payload.block.as_deref().and_then(|block| block.after.as_ref());
    reader.fields(&object(after.get())?, columns)
}

fn row_id(reader: &Reader<'_>, key: Option<&[u8]>) -> Result<String, BadRecord> {
    id::of_key(reader, key)?.ok_or_else(|| BadRecord::Shape {
        part: "key",
        reason: "is missing: give the table a primary key, or name columns in the connector's message.key.columns".to_owned(),
    })
}

/// What the connector writes beside rows, by its fields: each of these has its own topic, but topics can be routed together.
fn other(payload: &str) -> Result<Meaning, BadRecord> {
    let entries = object(payload)?;
    let has = |name: &str| entries.iter().any(|(entry, _)| entry == name);
    let all = |names: &[&str]| names.iter().all(|name| has(name));
    if has("ts_ms") && entries.iter().all(|(name, _)| matches!(&**name, "ts_ms" | "ts_us" | "ts_ns")) {
        Ok(Meaning::Skip("heartbeat"))
    } else if all(&["status", "id", "event_count", "data_collections"]) {
        Ok(Meaning::Skip("transaction"))
    } else if all(&["source", "databaseName", "ddl"]) || all(&["source", "databaseName", "tableChanges"]) {
        Ok(Meaning::Skip("schema-change"))
    } else if all(&["id", "type", "aggregate_type"]) {
        Ok(Meaning::Skip("notification"))
    } else {
        Err(shape(
            "has no op, so it is no envelope of Debezium; for rows that a transformation has flattened, set the mapping's format to \"json\"",
        ))
    }
}

fn shape(reason: &str) -> BadRecord {
    BadRecord::Shape { part: "value", reason: reason.to_owned() }
}
