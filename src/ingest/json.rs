//! Plain JSON: the key is the id, the value the object, no value or null a deletion.
//!
//! So are records that Connect wrote, with or without schema block, among them rows of Debezium that its transformation
//! ExtractNewRecordState has flattened.

use super::columns::{Entry, entries};
use super::mapping::Reader;
use super::meaning::{BadRecord, Meaning, Snapshot};
use super::{id, unwrapped};

/// What the transformation adds to rows when it rewrites deletions: `"true"` or `"false"`.
const DELETED: &str = "__deleted";

/// What a record means.
pub(super) fn read(reader: &Reader<'_>, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Meaning, BadRecord> {
    let key = id::of_key(reader, key)?;
    let payload = match unwrapped(reader, value)? {
        Some(payload) => payload,
        None => {
            return key.map(|id| Meaning::Delete { id }).ok_or_else(|| no_id("nothing: no value deletes the object that the key names"));
        }
    };
    let mut entries = object(payload.text)?;
    let id = match key {
        Some(id) => id,
        None => match entries.iter().find(|(name, _)| name == "id") {
            Some((_, value)) => id::of_field(value)?,
            None => return Err(no_id("an object without a field id")),
        },
    };
    if let Some(place) = entries.iter().position(|(name, _)| name == DELETED) {
        match entries[place].1.get() {
            "true" | "\"true\"" => return Ok(Meaning::Delete { id }),
            "false" | "\"false\"" => drop(entries.remove(place)),
            _ => {}
        }
    }
    let columns = payload.block.as_deref().and_then(|block| block.row.as_ref());
    Ok(Meaning::Put { id, fields: reader.fields(&entries, columns)?, snapshot: Snapshot::No })
}

fn no_id(what: &str) -> BadRecord {
    BadRecord::Shape {
        part: "value",
        reason: format!("is {what}, and there is no key; write the id as the record's key or as the field id"),
    }
}

/// The entries of an object.
pub(super) fn object(text: &str) -> Result<Vec<Entry<'_>>, BadRecord> {
    entries(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            BadRecord::Shape { part: "value", reason: format!("is not the JSON object that was expected: {error}") }
        }
        _ => BadRecord::Syntax { part: "value", reason: error.to_string() },
    })
}
