//! Nothing panics, whatever the bytes; and what was read before makes no difference.

use super::*;
use proptest::prelude::*;

const SESSION: &str = include_str!("../../../tests/fixtures/debezium/session.json");

/// Envelopes of the session with their schema blocks, as text.
fn envelopes() -> Vec<String> {
    let session: Value = serde_json::from_str(SESSION).unwrap();
    let records = session["records"].as_array().unwrap();
    records.iter().map(|record| format!(r#"{{"schema":{},"payload":{}}}"#, session["value_schema"], record["value"])).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)), value in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in [IngestFormat::Json, IngestFormat::Debezium] {
            let _ = mapping(format, &[("a", "decimal:2")]).read(key.as_deref(), Some(&value));
        }
    }

    #[test]
    fn envelopes_that_lost_or_changed_a_byte_are_read_or_refused(which in 0usize..18, at in any::<proptest::sample::Index>(), byte in proptest::option::of(any::<u8>())) {
        let envelopes = envelopes();
        let mut bytes = envelopes[which].clone().into_bytes();
        let at = at.index(bytes.len());
        match byte {
            Some(byte) => bytes[at] = byte,
            None => drop(bytes.remove(at)),
        }
        let fresh = mapping(IngestFormat::Debezium, &[]);
        let warm = mapping(IngestFormat::Debezium, &[]);
        for envelope in &envelopes {
            let _ = warm.read(Some(b"{\"id\":1}"), Some(envelope.as_bytes()));
        }
        // As key the same bytes go another way.
        let key = |mapping: &Mapping| mapping.read(Some(&bytes), None).map(|meaning| told(&meaning)).map_err(|error| error.to_string());
        prop_assert_eq!(key(&fresh), key(&warm));
        let told = |mapping: &Mapping| mapping.read(Some(b"{\"id\":1}"), Some(&bytes)).map(|meaning| told(&meaning)).map_err(|error| error.to_string());
        prop_assert_eq!(told(&fresh), told(&warm));
    }
}
