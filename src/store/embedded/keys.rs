//! Keys on the disk: app, bucket and id so that no two of them mix and a bucket lies in the order of its ids.
//!
//! App and bucket end with `00 01`, and a `00` inside them is written `00 FF`. The id comes last and needs no end.

use crate::store::Key;

/// Longest key, bytes; the engine allows no more than 65535.
pub(super) const LONGEST: usize = 32 * 1024;

/// The key of an object.
pub(super) fn object(key: &Key) -> Vec<u8> {
    let mut bytes = bucket(&key.app, &key.bucket);
    bytes.extend_from_slice(key.id.as_bytes());
    bytes
}

/// App, bucket and id of such a key.
pub(super) fn read_object(key: &[u8]) -> Option<Key> {
    let (app, rest) = read_part(key)?;
    let (bucket, id) = read_part(rest)?;
    Some(Key { app: app.into(), bucket: bucket.into(), id: std::str::from_utf8(id).ok()?.into() })
}

/// What all keys of an app begin with.
pub(super) fn app(app: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(app.len() + 2);
    part(&mut bytes, app);
    bytes
}

/// Where the keys of the next app may begin: behind those of this one, which go on after `00 01`.
pub(super) fn behind_app(app: &str) -> Vec<u8> {
    let mut bytes = self::app(app);
    if let Some(last) = bytes.last_mut() {
        *last = 2;
    }
    bytes
}

/// What all keys of a bucket begin with.
pub(super) fn bucket(app: &str, bucket: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(app.len() + bucket.len() + 68);
    part(&mut bytes, app);
    part(&mut bytes, bucket);
    bytes
}

/// The key of an app's schema at a version; the versions of an app lie in order.
pub(super) fn schema(app: &str, version: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(app.len() + 10);
    part(&mut bytes, app);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes
}

/// App and version of such a key.
pub(super) fn read_schema(key: &[u8]) -> Option<(String, u64)> {
    let (app, rest) = read_part(key)?;
    Some((app, u64::from_be_bytes(rest.try_into().ok()?)))
}

fn part(bytes: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend_from_slice(&[0, 1]);
}

fn read_part(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut text = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [0, 0xff, tail @ ..] => {
                text.push(0);
                rest = tail;
            }
            [0, 1, tail @ ..] => return Some((String::from_utf8(text).ok()?, tail)),
            [0, ..] | [] => return None,
            [byte, tail @ ..] => {
                text.push(*byte);
                rest = tail;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(app: &str, bucket: &str, id: &str) -> Key {
        Key { app: app.into(), bucket: bucket.into(), id: id.into() }
    }

    proptest! {
        #[test]
        fn keys_are_ordered_as_what_they_name(
            one in ("[a\\x00\\x01\u{ff}]{0,3}", "[a\\x00\\x01]{0,3}", ".{0,4}"),
            other in ("[a\\x00\\x01\u{ff}]{0,3}", "[a\\x00\\x01]{0,3}", ".{0,4}"),
        ) {
            let one = key(&one.0, &one.1, &one.2);
            let other = key(&other.0, &other.1, &other.2);
            prop_assert_eq!(object(&one).cmp(&object(&other)) == std::cmp::Ordering::Equal, one == other);
            let same_bucket = one.app == other.app && one.bucket == other.bucket;
            prop_assert_eq!(object(&other).starts_with(&bucket(&one.app, &one.bucket)), same_bucket);
            prop_assert_eq!(read_object(&object(&one)).unwrap(), one.clone());
            prop_assert_eq!(object(&other).starts_with(&app(&one.app)), one.app == other.app);
            prop_assert_eq!(object(&other) < behind_app(&one.app), object(&other) < app(&one.app) || one.app == other.app);
            if same_bucket {
                prop_assert_eq!(object(&one).cmp(&object(&other)), one.id.cmp(&other.id));
            }
        }

        #[test]
        fn reads_the_keys_of_schemas(app in "[a\\x00\\x01\u{ff}]{0,5}", version: u64) {
            prop_assert_eq!(read_schema(&schema(&app, version)).unwrap(), (app, version));
        }
    }
}
