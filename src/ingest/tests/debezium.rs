//! Envelopes, with and without schema blocks.

use super::*;
use crate::ingest::meaning::Snapshot;

const SESSION: &str = include_str!("../../../tests/fixtures/debezium/session.json");

fn wrapped(schema: &Value, payload: &Value) -> String {
    // As Connect writes it: schema first, no blanks.
    format!(r#"{{"schema":{schema},"payload":{payload}}}"#)
}

#[test]
fn a_session_means_the_same_with_and_without_schema_blocks() {
    let session: Value = serde_json::from_str(SESSION).unwrap();
    let types: Vec<(&str, &str)> =
        session["types"].as_object().unwrap().iter().map(|(field, name)| (field.as_str(), name.as_str().unwrap())).collect();
    for (keys, values) in [(false, false), (false, true), (true, false), (true, true)] {
        let mapping = mapping(IngestFormat::Debezium, if values { &[] } else { &types });
        // The second time the schemas are known.
        for _ in 0..2 {
            for record in session["records"].as_array().unwrap() {
                let text = |value: &Value, schema: &Value, with: bool| match value {
                    Value::Null => None,
                    value if with => Some(wrapped(schema, value)),
                    value => Some(value.to_string()),
                };
                let key = text(&record["key"], &session["key_schema"], keys);
                let value = text(&record["value"], &session["value_schema"], values);
                let read = read(&mapping, key.as_deref(), value.as_deref());
                assert_eq!(read.as_ref(), Ok(&record["means"]), "{}, schema of keys {keys}, of values {values}", record["what"]);
            }
        }
    }
}

#[test]
fn moments_follow_from_the_schema_whatever_the_values_are() {
    let session: Value = serde_json::from_str(SESSION).unwrap();
    let mapping = mapping(IngestFormat::Debezium, &[]);
    let value = wrapped(&session["value_schema"], &session["records"][1]["value"]);
    let expected = [("alarm", Moment::Time), ("at", Moment::DateTime), ("due", Moment::Date), ("seen", Moment::DateTime)]
        .map(|(name, moment)| (name.to_owned(), moment));
    assert_eq!(moments(&mapping, r#"{"id":2}"#, &value), expected);
    // The map is the same one for the next record.
    let of = || match mapping.read(Some(br#"{"id":2}"#), Some(value.as_bytes())) {
        Ok(Meaning::Put { fields, .. }) => fields.moments,
        other => panic!("{other:?}"),
    };
    assert!(std::sync::Arc::ptr_eq(&of(), &of()));
}

#[test]
fn a_schema_that_changes_is_another_schema() {
    let mapping = mapping(IngestFormat::Debezium, &[]);
    let schema = |field: Value| json!({"type": "struct", "fields": [{"type": "struct", "field": "after", "fields": [field]}]});
    let date = schema(json!({"type": "int32", "name": "io.debezium.time.Date", "field": "v"}));
    let number = schema(json!({"type": "int32", "field": "v"}));
    let payload = json!({"op": "c", "after": {"v": 1}, "source": {}});
    for _ in 0..2 {
        let dated = read(&mapping, Some("k"), Some(&wrapped(&date, &payload))).unwrap();
        assert_eq!(dated["fields"], json!({"v": "1970-01-02"}));
        let plain = read(&mapping, Some("k"), Some(&wrapped(&number, &payload))).unwrap();
        assert_eq!(plain["fields"], json!({"v": 1}));
        // Also with blanks, and the other way round.
        let spread = format!("{{ \"payload\": {payload}, \"schema\": {date} }} ");
        assert_eq!(read(&mapping, Some("k"), Some(&spread)).unwrap(), dated);
    }
}

#[test]
fn a_schema_that_is_known_by_its_text_does_not_excuse_what_stands_behind() {
    let mapping = mapping(IngestFormat::Debezium, &[]);
    let schema = json!({"type": "struct", "fields": [{"type": "struct", "field": "after", "fields": []}]});
    let payload = json!({"op": "c", "after": {}, "source": {}});
    let good = wrapped(&schema, &payload);
    for bad in [format!("{good}x"), good[..good.len() - 1].to_owned(), format!(r#"{},"x":1}}"#, &good[..good.len() - 1])] {
        let first = read(&mapping, Some("k"), Some(&bad)).unwrap_err();
        read(&mapping, Some("k"), Some(&good)).unwrap();
        assert_eq!(read(&mapping, Some("k"), Some(&bad)).unwrap_err(), first, "{bad}");
    }
}

#[test]
fn every_semantic_type_is_read() {
    let mapping = mapping(IngestFormat::Debezium, &[]);
    for (base, name, parameters, written, read_as) in [
        ("int32", "io.debezium.time.Date", json!({}), json!(-1), json!("1969-12-31")),
        ("int32", "org.apache.kafka.connect.data.Date", json!({}), json!(1), json!("1970-01-02")),
        ("int64", "io.debezium.time.Timestamp", json!({}), json!(1577934245678i64), json!("2020-01-02T03:04:05.678Z")),
        ("int64", "org.apache.kafka.connect.data.Timestamp", json!({}), json!(0), json!("1970-01-01T00:00:00Z")),
        ("int64", "io.debezium.time.NanoTimestamp", json!({}), json!(1577934245678901234i64), json!("2020-01-02T03:04:05.678901234Z")),
        ("int32", "io.debezium.time.Time", json!({}), json!(1), json!("00:00:00.001Z")),
        ("int32", "org.apache.kafka.connect.data.Time", json!({}), json!(1000), json!("00:00:01Z")),
        ("int64", "io.debezium.time.NanoTime", json!({}), json!(1), json!("00:00:00.000000001Z")),
        ("string", "io.debezium.time.ZonedTime", json!({}), json!("03:04:05+01:00"), json!("02:04:05Z")),
        ("string", "io.debezium.time.IsoDate", json!({}), json!("2020-01-02Z"), json!("2020-01-02")),
        ("string", "io.debezium.time.IsoTime", json!({}), json!("03:04:05.5Z"), json!("03:04:05.5Z")),
        ("string", "io.debezium.time.IsoTimestamp", json!({}), json!("2020-01-02T03:04:05Z"), json!("2020-01-02T03:04:05Z")),
        ("int32", "io.debezium.time.Year", json!({}), json!(2020), json!(2020)),
        ("string", "io.debezium.time.Interval", json!({}), json!("P1Y2M3DT4H5M6.78S"), json!("P1Y2M3DT4H5M6.78S")),
        ("int64", "io.debezium.time.MicroDuration", json!({}), json!(37091106000000i64), json!(37091106000000i64)),
        ("bytes", "org.apache.kafka.connect.data.Decimal", json!({"scale": "0"}), json!("AIA="), json!(128)),
        // decimal.format = NUMERIC of the converter
        ("bytes", "org.apache.kafka.connect.data.Decimal", json!({"scale": "2"}), json!(1.5), json!(1.5)),
        ("string", "io.debezium.data.EnumSet", json!({"allowed": "a,b"}), json!("a,b"), json!(["a", "b"])),
        ("string", "io.debezium.data.EnumSet", json!({"allowed": "a,b"}), json!(""), json!([])),
        ("string", "io.debezium.data.Xml", json!({}), json!("<a/>"), json!("<a/>")),
        ("string", "io.debezium.data.Ltree", json!({}), json!("Top.Science"), json!("Top.Science")),
        ("string", "io.debezium.data.Tsvector", json!({}), json!("'a':1"), json!("'a':1")),
        ("bytes", "io.debezium.data.Bits", json!({"length": "10"}), json!("qgE="), json!("qgE=")),
        ("string", "io.debezium.data.Json", json!({}), json!("null"), json!(null)),
        ("string", "com.example.Other", json!({}), json!("x"), json!("x")),
        // Not the base type that goes with the name: what stands there.
        ("string", "io.debezium.time.Date", json!({}), json!("x"), json!("x")),
    ] {
        let schema = json!({"type": "struct", "fields": [
            {"type": "struct", "field": "after", "fields": [{"type": base, "name": name, "version": 1, "parameters": parameters, "field": "v"}]}
        ]});
        let payload = json!({"op": "u", "after": {"v": written}, "source": {}});
        let read = read(&mapping, Some("k"), Some(&wrapped(&schema, &payload)));
        assert_eq!(read.unwrap()["fields"]["v"], read_as, "{name} {written}");
    }
}

#[test]
fn encodings_reach_into_arrays_maps_and_structs() {
    let mapping = mapping(IngestFormat::Debezium, &[]);
    let date = |field: &str| json!({"type": "int32", "name": "io.debezium.time.Date", "field": field});
    let schema = json!({"type": "struct", "fields": [{"type": "struct", "field": "after", "fields": [
        {"type": "struct", "field": "s", "fields": [date("d"), {"type": "int32", "field": "x.y"}]},
        {"type": "array", "field": "l", "items": {"type": "struct", "fields": [date("d")]}},
        {"type": "map", "field": "m", "keys": {"type": "string"}, "values": date("")},
        {"type": "map", "field": "n", "keys": {"type": "int32"}, "values": date("")},
    ]}]});
    let payload = json!({"op": "u", "source": {}, "after": {
        "s": {"d": 1, "x.y": 2}, "l": [{"d": 1}, null], "m": {"a.b": 1}, "n": [[7, 1]],
    }});
    let read = read(&mapping, Some("k"), Some(&wrapped(&schema, &payload))).unwrap();
    let day = "1970-01-02";
    assert_eq!(read["fields"], json!({"s": {"d": day, "x%2Ey": 2}, "l": [{"d": day}, null], "m": {"a%2Eb": day}, "n": [[7, day]]}));
}

#[test]
fn the_mapping_goes_before_the_schema() {
    let mapping = mapping(IngestFormat::Debezium, &[("v", "timestamp-seconds"), ("w", "plain")]);
    let schema = json!({"type": "struct", "fields": [{"type": "struct", "field": "after", "fields": [
        {"type": "int64", "field": "v"}, {"type": "int32", "name": "io.debezium.time.Date", "field": "w"},
    ]}]});
    let value = wrapped(&schema, &json!({"op": "u", "source": {}, "after": {"v": 0, "w": 0}}));
    assert_eq!(read(&mapping, Some("k"), Some(&value)).unwrap()["fields"], json!({"v": "1970-01-01T00:00:00Z", "w": 0}));
    assert_eq!(moments(&mapping, "k", &value), [("v".to_owned(), Moment::DateTime)]);
}

#[test]
fn what_is_no_envelope_says_what_to_do() {
    let mapping = mapping(IngestFormat::Debezium, &[]);
    for (key, value, code, hint) in [
        (Some("1"), "{", "record-syntax", "value"),
        (Some("1"), "[]", "record-shape", "envelope"),
        (Some("1"), "\"x\"", "record-shape", "envelope"),
        (Some("1"), r#"{"id":1,"name":"x"}"#, "record-shape", "format to \"json\""),
        (Some("1"), r#"{"op":"x","after":{}}"#, "record-shape", "op"),
        (Some("1"), r#"{"op":"c","after":null}"#, "record-shape", "after"),
        (Some("1"), r#"{"op":"c","after":[]}"#, "record-shape", "object"),
        (Some("1"), r#"{"op":"c","after":"{}"}"#, "record-shape", "MongoDB"),
        (None, r#"{"op":"c","after":{}}"#, "record-shape", "primary key"),
        (None, r#"{"op":"d","after":null}"#, "record-shape", "primary key"),
        (Some("Struct{id=1}"), r#"{"op":"c","after":{}}"#, "record-shape", "JsonConverter"),
        (Some("1"), r#"{"schema":{"type":"struct","fields":[{"type":"odd","field":"v"}]},"payload":{"op":"c"}}"#, "record-type", "odd"),
        (
            Some("1"),
            r#"{"schema":{"type":"struct","fields":[{"type":"struct","field":"after","fields":[{"type":"int32","name":"io.debezium.time.Date","field":"v"}]}]},"payload":{"op":"c","after":{"v":"x"}}}"#,
            "record-value",
            "field v",
        ),
    ] {
        let error = read(&mapping, key, Some(value)).unwrap_err();
        assert_eq!(error.code(), code, "{value}: {error}");
        assert!(error.to_string().contains(hint), "{value}: {error}");
    }
}

#[test]
fn tombstones_delete_and_nothing_at_all_is_passed_over() {
    let mapping = mapping(IngestFormat::Debezium, &[]);
    for value in [None, Some("null"), Some(r#"{"schema":null,"payload":null}"#)] {
        assert_eq!(read(&mapping, Some(r#"{"id":"a"}"#), value).unwrap(), json!({"delete": "a"}));
        assert_eq!(read(&mapping, None, value).unwrap(), json!({"skip": "tombstone"}));
    }
}

#[test]
fn snapshots_are_marked_on_creates_as_well() {
    // As connectors do with snapshot reads turned into creates.
    let mapping = mapping(IngestFormat::Debezium, &[]);
    let value = r#"{"op":"c","after":{},"source":{"snapshot":"last_in_data_collection"}}"#;
    match mapping.read(Some(b"1"), Some(value.as_bytes())) {
        Ok(Meaning::Put { snapshot: Snapshot::Last, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_read_of_a_row_leaves_its_id_and_the_snapshot_it_is_in() {
    let mapping = mapping(IngestFormat::Debezium, &[("at", "date")]);
    let row = |op: &str, after: &str, snapshot: &str| format!(r#"{{"op":"{op}","after":{after},"source":{{"snapshot":"{snapshot}"}}}}"#);
    let odd = r#"{"schema":{"type":"struct","fields":[{"type":"odd","field":"v"}]},"payload":{"op":"r","after":{},"source":{"snapshot":"last"}}}"#;
    for (key, value, code, id, snapshot) in [
        (Some("1"), row("r", r#"{"at":"x"}"#, "first"), "record-value", Some("1"), Some(Snapshot::First)),
        (Some("1"), row("r", "null", "last"), "record-shape", Some("1"), Some(Snapshot::Last)),
        (None, row("r", "{}", "true"), "record-shape", None, Some(Snapshot::Within)),
        (None, row("r", r#"{"at":"x"}"#, "last"), "record-value", None, Some(Snapshot::Last)),
        (Some("1"), row("u", r#"{"at":"x"}"#, "false"), "record-value", Some("1"), Some(Snapshot::No)),
        (None, row("d", "null", "false"), "record-shape", None, Some(Snapshot::No)),
        (Some("1"), odd.to_owned(), "record-type", Some("1"), Some(Snapshot::Last)),
        (Some("1"), "{oops".to_owned(), "record-syntax", Some("1"), None),
        (None, "[]".to_owned(), "record-shape", None, None),
    ] {
        let unreadable = mapping.read(key.map(str::as_bytes), Some(value.as_bytes())).unwrap_err();
        assert_eq!((unreadable.code(), unreadable.id.as_deref(), unreadable.snapshot), (code, id, snapshot), "{value}");
    }
}
