//! Where a snapshot stands, by `source.snapshot` of an envelope.

use crate::ingest::meaning::Snapshot;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Source<'s> {
    #[serde(borrow, default)]
    snapshot: Option<&'s RawValue>,
}

/// The mark of a record. What has none, or one that is not known, is read as any other change; so are rows of incremental
/// snapshots, which run beside the changes and say nothing of what they do not contain.
///
/// The connector chooses, the first that fits: `last` for the last row of all tables, `first` for the first of all,
/// `last_in_data_collection`, `first_in_data_collection` for those of one table, `true`. A topic has one table, so for it
/// `last` and `last_in_data_collection` mean the same.
pub(super) fn of(source: Option<&RawValue>) -> Snapshot {
    let source = source.and_then(|source| serde_json::from_str::<Source<'_>>(source.get()).ok());
    match source.and_then(|source| source.snapshot).map(RawValue::get) {
        Some(r#""first""# | r#""first_in_data_collection""#) => Snapshot::First,
        // Versions before 1.5 wrote a boolean.
        Some(r#""true""# | "true") => Snapshot::Within,
        Some(r#""last""# | r#""last_in_data_collection""#) => Snapshot::Last,
        _ => Snapshot::No,
    }
}

/// The mark in a value that cannot be read as a whole, a schema block with an unknown type for instance. None: it is no
/// envelope.
pub(super) fn within(value: Option<&[u8]>) -> Option<Snapshot> {
    /// An envelope, or a schema block around one.
    #[derive(Deserialize)]
    struct Outer<'o> {
        #[serde(borrow, default)]
        payload: Option<&'o RawValue>,
        #[serde(borrow, default)]
        op: Option<&'o RawValue>,
        #[serde(borrow, default)]
        source: Option<&'o RawValue>,
    }
    let outer: Outer<'_> = serde_json::from_slice(value?).ok()?;
    let envelope = match outer.payload {
        Some(payload) if outer.op.is_none() => serde_json::from_str(payload.get()).ok()?,
        _ => outer,
    };
    envelope.op.map(|_| of(envelope.source))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_what_cannot_be_read() {
        let odd = r#"{"schema":{"type":"odd"},"payload":{"op":"r","source":{"snapshot":"last"}}}"#;
        for (value, snapshot) in [
            (odd, Some(Snapshot::Last)),
            (r#"{"op":"x","source":{"snapshot":"true"}}"#, Some(Snapshot::Within)),
            (r#"{"op":"r","source":7}"#, Some(Snapshot::No)),
            (r#"{"id":1}"#, None),
            ("{oops", None),
            ("7", None),
        ] {
            assert_eq!(within(Some(value.as_bytes())), snapshot, "{value}");
        }
    }

    #[test]
    fn every_mark_of_every_version() {
        for (source, snapshot) in [
            (r#"{"snapshot":"first"}"#, Snapshot::First),
            (r#"{"snapshot":"first_in_data_collection"}"#, Snapshot::First),
            (r#"{"db":"x","snapshot":"true","lsn":7}"#, Snapshot::Within),
            (r#"{"snapshot":true}"#, Snapshot::Within),
            (r#"{"snapshot":"last_in_data_collection"}"#, Snapshot::Last),
            (r#"{"snapshot":"last"}"#, Snapshot::Last),
            (r#"{"snapshot":"incremental"}"#, Snapshot::No),
            (r#"{"snapshot":"false"}"#, Snapshot::No),
            (r#"{"snapshot":false}"#, Snapshot::No),
            (r#"{"snapshot":null}"#, Snapshot::No),
            (r#"{}"#, Snapshot::No),
            (r#"[]"#, Snapshot::No),
        ] {
            assert_eq!(of(Some(serde_json::from_str(source).unwrap())), snapshot, "{source}");
        }
        assert_eq!(of(None), Snapshot::No);
    }
}
