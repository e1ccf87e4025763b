//! Names of buckets, and the names of fields that no class may declare.

use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// Names that the server writes; what a client sends under them is no field.
pub const METADATA: [&str; 5] = ["id", "version", "acl", "createdAt", "updatedAt"];

/// Why a text is not the name of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a bucket: letters, digits, '_', '-' and '.' make one, 128 at most, beginning with a letter or '_'")]
pub struct NameError(String);

/// The name of a bucket, from a path segment.
pub fn bucket(segment: &str) -> Result<Arc<str>, NameError> {
    let error = || NameError(segment.chars().take(140).collect());
    let name = percent_decode_str(segment).decode_utf8().map_err(|_| error())?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let fits = name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if begins && fits { Ok(Arc::from(&*name)) } else { Err(error()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_a_letter_and_is_a_segment() {
        for (segment, name) in [("Lot", "Lot"), ("%4cot", "Lot"), ("logs.AppLog", "logs.AppLog"), ("_a-1", "_a-1")] {
            assert_eq!(&*bucket(segment).unwrap(), name);
        }
        for segment in ["", "1a", "a b", "a/b", "a%2fb", "%ff", "\u{fc}", &"a".repeat(129)] {
            assert!(bucket(segment).is_err(), "{segment}");
        }
    }
}
