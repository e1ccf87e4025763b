//! JSON as text, field by field: what is stored and passed on keeps its bytes, so no number loses a digit.

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// The entries of a JSON object in their order; a name that stands twice is an error.
pub fn object_entries(text: &[u8]) -> Result<Vec<(Cow<'_, str>, &RawValue)>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let entries = deserializer.deserialize_map(Entries)?;
    deserializer.end()?;
    Ok(entries)
}

struct Entries;

/// A field's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'n>(#[serde(borrow)] Cow<'n, str>);

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Self::Value = Vec::new();
        let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("the field {name:?} stands twice in one object")));
            }
            entries.push((name, value));
        }
        Ok(entries)
    }
}

/// Appends a JSON string.
pub fn push_string(text: &mut String, string: &str) {
    match serde_json::to_string(string) {
        Ok(quoted) => text.push_str(&quoted),
        // A string always has a JSON form.
        Err(_) => text.push_str("\"\""),
    }
}

/// Appends well-formed JSON without the blanks outside of its strings.
pub fn push_compact(text: &mut String, json: &str) {
    let mut rest = json;
    while let Some(quote) = rest.find('"') {
        let (outside, string) = rest.split_at(quote);
        push_without_blanks(text, outside);
        let end = string_end(string);
        text.push_str(&string[..end]);
        rest = &string[end..];
    }
    push_without_blanks(text, rest);
}

fn push_without_blanks(text: &mut String, outside: &str) {
    text.extend(outside.split([' ', '\t', '\n', '\r']));
}

/// Where the string that begins at 0 ends, its closing quote included.
fn string_end(string: &str) -> usize {
    let bytes = string.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    string.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(depth: u32) -> BoxedStrategy<serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[ \\\\\"\n\t\\PC]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(depth, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                proptest::collection::btree_map("[ \"\\\\a-c]{0,3}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
        .boxed()
    }

    proptest! {
        #[test]
        fn compacting_changes_blanks_only(value in json(4)) {
            let mut compact = String::new();
            push_compact(&mut compact, &serde_json::to_string_pretty(&value).unwrap());
            prop_assert_eq!(compact, serde_json::to_string(&value).unwrap());
        }
    }
}
