//! Ids of objects at the edge: decoded and encoded again canonically, once.
//!
//! An object's id is `/db/<bucket>/<encodeURIComponent(oid)>`; the oid may contain any character
//! (docs/api.md). Behind this file there is only the canonical form, so that two spellings of
//! one id (`%2f`, `%2F`; `~`, `%7E`) are one object everywhere: in the store, in access lists, in queries.

use crate::schema::name::{self, NameError};
use crate::store::Key;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::sync::Arc;

/// What JavaScript's `encodeURIComponent` leaves as it is, beside letters and digits.
const COMPONENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'!').remove(b'~').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Longest canonical id, bytes; it is a key of the store and a part of URLs.
pub const LONGEST: usize = 2048;

/// Path segments behind a bucket that are not objects.
const RESERVED: [&str; 3] = ["query", "count", "ids"];

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not a bucket's name
    #[error(transparent)]
    Bucket(#[from] NameError),
    /// Not of the form of an id
    #[error("{0:?} is not an id: ids have the form /db/<bucket>/<encodeURIComponent(key)>")]
    Form(String),
    /// The escapes do not decode to text
    #[error("the escapes in the id {0:?} are not UTF-8 text")]
    Escapes(String),
    /// A key that no URL can reach
    #[error("the key {0:?} cannot be used: URLs read it in another way; choose another")]
    Unreachable(String),
    /// Too long
    #[error("the id has {0} bytes, at most {LONGEST} are allowed")]
    TooLong(usize),
}

/// As JavaScript's `encodeURIComponent`.
pub fn encode_component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// The name of a bucket, from a path segment.
pub fn bucket(segment: &str) -> Result<Arc<str>, IdError> {
    Ok(name::bucket(segment)?)
}

/// The canonical id of what a path segment behind a bucket names.
pub fn object(bucket: &str, segment: &str) -> Result<Arc<str>, IdError> {
    let shown = || segment.chars().take(200).collect::<String>();
    // Decoding never makes a text longer than a third; what is too long already is not worth the work.
    if segment.len() > 3 * LONGEST {
        return Err(IdError::TooLong(segment.len()));
    }
    let oid = percent_decode_str(segment).decode_utf8().map_err(|_| IdError::Escapes(shown()))?;
    if oid.is_empty() || oid == "." || oid == ".." || RESERVED.contains(&&*oid) {
        return Err(IdError::Unreachable(shown()));
    }
    let id = format!("/db/{bucket}/{}", utf8_percent_encode(&oid, COMPONENT));
    if id.len() > LONGEST { Err(IdError::TooLong(id.len())) } else { Ok(id.into()) }
}

/// The canonical form of a whole id, such as stands in JSON, and its bucket.
pub fn whole(text: &str) -> Result<(Arc<str>, Arc<str>), IdError> {
    let form = || IdError::Form(text.chars().take(200).collect());
    let (bucket, segment) = text.strip_prefix("/db/").and_then(|rest| rest.split_once('/')).ok_or_else(form)?;
    let bucket = name::bucket(bucket)?;
    if segment.contains('/') {
        return Err(form());
    }
    Ok((object(&bucket, segment)?, bucket))
}

/// Where an object lives.
pub fn key(app: &Arc<str>, bucket: &Arc<str>, id: Arc<str>) -> Key {
    Key { app: app.clone(), bucket: bucket.clone(), id }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodes_as_javascript_does() {
        // Taken from a JavaScript engine: encodeURIComponent of the left is the right.
        for (text, encoded) in [
            ("a/b?c=d\\e&f%g", "a%2Fb%3Fc%3Dd%5Ce%26f%25g"),
            ("ß \"ü\"", "%C3%9F%20%22%C3%BC%22"),
            ("-_.!~*'()", "-_.!~*'()"),
            (";,/?:@&=+$#", "%3B%2C%2F%3F%3A%40%26%3D%2B%24%23"),
            ("😀\u{0}\n", "%F0%9F%98%80%00%0A"),
            ("[]{}|^`<>", "%5B%5D%7B%7D%7C%5E%60%3C%3E"),
        ] {
            assert_eq!(encode_component(text), encoded);
        }
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in [
            "",
            "x",
            "/db/",
            "/db/Lot",
            "/db/Lot/",
            "/db/Lot/a/b",
            "/file/a/b",
            "/db//a",
            "/db/1a/b",
            "/db/a b/c",
            "/db/Lot/%ff",
            "/db/Lot/..",
            "/db/Lot/%2e",
            "/db/Lot/query",
        ] {
            assert!(whole(text).is_err(), "{text}");
        }
        assert!(object("Lot", &"a".repeat(LONGEST)).is_err());
    }

    #[test]
    fn spellings_of_one_id_are_one() {
        for spelling in ["/db/Lot/a%2fb~", "/db/Lot/a%2Fb%7E", "/db/Lot/%61%2Fb~"] {
            assert_eq!(&*whole(spelling).unwrap().0, "/db/Lot/a%2Fb~");
        }
    }

    proptest! {
        #[test]
        fn any_key_survives_the_way_in_and_is_canonical(oid in "\\PC{1,60}|[\\x00-\\x7f]{1,60}") {
            prop_assume!(oid != "." && oid != ".." && !RESERVED.contains(&&*oid));
            let id = object("Lot", &encode_component(&oid)).unwrap();
            prop_assert_eq!(&*id, format!("/db/Lot/{}", encode_component(&oid)));
            let segment = id.strip_prefix("/db/Lot/").unwrap();
            prop_assert_eq!(percent_decode_str(segment).decode_utf8().unwrap(), oid);
            // Canonical: going through once more changes nothing, and it is one path segment.
            prop_assert_eq!(&whole(&id).unwrap().0, &id);
            prop_assert!(!segment.contains(['/', '?', '#', '"', '\\']));
        }

        #[test]
        fn any_escaping_of_a_key_gives_the_same_id(oid in "\\PC{1,20}", choice in proptest::collection::vec(any::<bool>(), 80)) {
            prop_assume!(oid != "." && oid != ".." && !RESERVED.contains(&&*oid));
            let plain = encode_component(&oid);
            let mut spelled = String::new();
            for (byte, escape) in oid.bytes().zip(choice.iter().cycle()) {
                if *escape || !(byte.is_ascii_alphanumeric()) { spelled.push_str(&format!("%{byte:02x}")); } else { spelled.push(byte as char); }
            }
            prop_assert_eq!(object("Lot", &spelled).unwrap(), object("Lot", &plain).unwrap());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = whole(&text);
            let _ = bucket(&text);
            let _ = object("Lot", &text);
        }
    }
}
