//! A record's key -> the id of its object, as the source says it.
//!
//! One part is its text. Several are joined with `~`, in their order; inside of a part `!` is `!!`, `~` is `!~`, and a
//! part that is null is `!0`. So two different keys with the same number of parts never make one id.

use super::columns::{Entry, entries, shown};
use super::connect::Block;
use super::encoding::{self, Encoding};
use super::mapping::Reader;
use super::meaning::BadRecord;
use serde_json::value::RawValue;

/// Most bytes that the parts of an id are read into, well beyond the longest id: a key can stand for much more than it has.
const LONGEST: usize = 64 << 10;

/// The id in a key. None where the record has no key, or an empty one.
///
/// Keys are JSON, with or without schema block, or plain text: whatever begins neither an object nor a string is its text.
pub(super) fn of_key(reader: &Reader<'_>, key: Option<&[u8]>) -> Result<Option<String>, BadRecord> {
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
    let text = std::str::from_utf8(key).map_err(|error| BadRecord::Syntax { part: "key", reason: error.to_string() })?;
    if !text.starts_with(['{', '"']) {
        return match text {
            "null" => Ok(None),
            // Connect's StringConverter prints what it does not know.
            _ if text.starts_with("Struct{") => Err(shape(
                "is a struct that was printed as text: set the connector's key.converter to org.apache.kafka.connect.json.JsonConverter",
            )),
            _ => Ok(Some(text.to_owned())),
        };
    }
    let payload = reader.payload(text)?;
    if payload.text == "null" {
        return Ok(None);
    }
    if !payload.text.starts_with('{') {
        let value = match serde_json::from_str::<&RawValue>(payload.text) {
            Ok(value) => value,
            Err(error) => return no_json(text, payload.block.is_some(), &error),
        };
        let encoding = payload.block.as_deref().map_or(&Encoding::Plain, |block| &block.encoding);
        return part("", value, encoding, LONGEST)?.ok_or_else(|| shape("is null")).map(Some);
    }
    match entries(payload.text) {
        Ok(parts) => joined(reader, &parts, payload.block.as_deref()).map(Some),
        Err(error) => no_json(text, payload.block.is_some(), &error),
    }
}

/// A key that only begins like JSON is its text.
fn no_json(text: &str, in_block: bool, error: &serde_json::Error) -> Result<Option<String>, BadRecord> {
    if in_block || error.is_data() {
        return Err(shape(&format!("is JSON that makes no id: {error}")));
    }
    Ok(Some(text.to_owned()))
}

/// The id in a field of the value, for records without a key.
pub(super) fn of_field(value: &RawValue) -> Result<String, BadRecord> {
    part("id", value, &Encoding::Plain, LONGEST)?
        .ok_or_else(|| BadRecord::Shape { part: "value", reason: "has no id: the record has no key, and the field id is null".to_owned() })
}

fn joined(reader: &Reader<'_>, parts: &[Entry<'_>], block: Option<&Block>) -> Result<String, BadRecord> {
    let columns = block.and_then(|block| block.row.as_ref());
    let (mut next, mut left) = (0, LONGEST);
    let texts = parts.iter().map(|(name, value)| {
        let column = columns.and_then(|columns| columns.find(name, &mut next));
        let text = part(name, value, column.map_or_else(|| reader.encoding(name), |column| &column.encoding), left)?;
        left = left.saturating_sub(text.as_ref().map_or(0, String::len));
        Ok(text)
    });
    let mut texts = texts.collect::<Result<Vec<Option<String>>, BadRecord>>()?;
    match texts.as_mut_slice() {
        [] => Err(shape("is an object without fields")),
        [one] => one.take().ok_or_else(|| shape("is null")),
        several => {
            let mut id = String::new();
            for (position, text) in several.iter().enumerate() {
                if position > 0 {
                    id.push('~');
                }
                match text {
                    Some(text) => push_part(&mut id, text),
                    None => id.push_str("!0"),
                }
            }
            Ok(id)
        }
    }
}

fn push_part(id: &mut String, text: &str) {
    for char in text.chars() {
        if matches!(char, '!' | '~') {
            id.push('!');
        }
        id.push(char);
    }
}

/// The text of one part, read into at most about `most` bytes; none where it is null.
fn part(field: &str, value: &RawValue, encoding: &Encoding, most: usize) -> Result<Option<String>, BadRecord> {
    let large = |_| shape(&format!("makes no id: with {} it stands for more than {LONGEST} bytes", shown(field)));
    let decoded = encoding.decode(value, most);
    let decoded = decoded.map_err(|unreadable| unreadable.of(if field.is_empty() { "of the key" } else { field }, large))?;
    let raw = decoded.get();
    match raw.as_bytes() {
        b"null" => Ok(None),
        [b'"', ..] => match encoding::text(raw) {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(shape("holds a text that is no Unicode")),
        },
        [b'{' | b'[', ..] => Err(BadRecord::Shape {
            part: "key",
            reason: format!("holds an array or an object in {}; texts, numbers and booleans make an id", shown(field)),
        }),
        _ => Ok(Some(raw.to_owned())),
    }
}

fn shape(reason: &str) -> BadRecord {
    BadRecord::Shape { part: "key", reason: reason.to_owned() }
}
