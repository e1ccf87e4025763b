//! What the real Debezium wrote (tests/fixtures/debezium/README.md), with and without schema blocks.

use super::*;
use std::collections::BTreeMap;

const SESSION: &str = include_str!("../../../tests/fixtures/debezium/session.jsonl");

/// What a mapping without schema blocks has to say, by table.
const TYPES: [(&str, &[(&str, &str)]); 4] = [
    (
        "kinds",
        &[
            ("a_decimal", "decimal:2"),
            ("a_numeric", "variable-decimal"),
            ("a_percentage", "decimal:2"),
            ("a_price", "decimal:2"),
            ("a_json", "json"),
            ("a_jsonb", "json"),
            ("a_date", "date"),
            ("a_time", "time-micros"),
            ("a_time_milli", "time-millis"),
            ("a_timetz", "iso-time"),
            ("a_stamp", "timestamp-micros"),
            ("a_stamp_milli", "timestamp-millis"),
            ("a_stamptz", "iso-timestamp"),
            ("a_point", "point"),
            ("some_decimals", "list:decimal:2"),
            ("some_dates", "list:date"),
            ("some_stamps", "list:iso-timestamp"),
        ],
    ),
    // It is a number first and a decimal later.
    ("lines", &[("amount", "decimal:2")]),
    ("papers", &[("details", "json")]),
    ("named", &[("createdAt", "iso-timestamp"), ("updatedAt", "iso-timestamp")]),
];

/// What the records of a connector mean, by table in their order: (case, meaning).
fn session(connector: &str) -> BTreeMap<String, Vec<(String, Result<Value, Unreadable>)>> {
    let mut mappings: BTreeMap<String, Mapping> = BTreeMap::new();
    let mut tables: BTreeMap<String, Vec<(String, Result<Value, Unreadable>)>> = BTreeMap::new();
    for line in SESSION.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["connector"] != connector {
            continue;
        }
        let topic = record["topic"].as_str().unwrap();
        let table = topic.rsplit('.').next().unwrap().to_owned();
        let types = TYPES.iter().find(|(name, _)| connector == "bare" && *name == table).map_or(&[][..], |(_, types)| types);
        let mapping = mappings.entry(table.clone()).or_insert_with(|| mapping(IngestFormat::Debezium, types));
        let read = read(mapping, record["key"].as_str(), record["value"].as_str());
        tables.entry(table).or_default().push((record["case"].as_str().unwrap().to_owned(), read));
    }
    tables
}

#[test]
fn it_means_the_same_with_and_without_schema_blocks() {
    let (schema, mut bare) = (session("schema"), session("bare"));
    // This connector alone sends these, and none of them means a thing.
    for (topic, kind) in [("transaction", "transaction"), ("bare", "heartbeat")] {
        let marks = bare.remove(topic).unwrap();
        assert!(!marks.is_empty() && marks.iter().all(|(case, read)| *read == Ok(json!({"skip": kind})) || panic!("{case}: {read:?}")));
    }
    assert_eq!(schema.keys().collect::<Vec<_>>(), bare.keys().collect::<Vec<_>>());
    for (table, records) in &schema {
        assert_eq!(records, &bare[table], "{table}");
        if table != "keyless" {
            let bad: Vec<_> = records.iter().filter(|(_, read)| read.is_err()).collect();
            assert!(bad.is_empty(), "{table}: {bad:?}");
        }
    }
}

/// The meanings of a case's records in a table.
fn of_case(table: &str, case: &str) -> Vec<Value> {
    let records = session("schema").remove(table).unwrap();
    records.into_iter().filter(|(name, _)| name == case).map(|(_, read)| read.unwrap()).collect()
}

#[test]
fn a_row_with_every_type() {
    let [row] = &of_case("kinds", "insert of every type")[..] else { panic!("one record") };
    let expected = json!({
        "id_": 10, "a_small": -32768, "a_big": 9223372036854775807i64, "a_real": 1.5, "a_double": 0.1,
        "a_percentage": 99.95, "a_price": 1234.56, "a_flag": true, "a_text": "line\n\"quoted\" \\ ü 漢 😀", "a_varchar": "short", "a_char": "pad   ",
        "a_mood": "on fire", "a_uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a_json": {"b": 1, "a": [true, null]},
        "a_jsonb": {"a": [true, null], "b": 1}, "a_bytea": "3q2+7wA=", "a_bit": true, "some_bits": "qwo=", "a_date": "2024-02-29",
        "a_time": "13:14:15.123456Z", "a_time_milli": "13:14:15.123Z", "a_timetz": "11:14:15.5Z", "a_stamp": "2024-02-29T13:14:15.123456Z",
        "a_stamp_milli": "2024-02-29T13:14:15.123Z", "a_stamptz": "2024-02-29T11:14:15.123456Z", "an_interval": 37091106700000i64,
        "an_inet": "192.168.0.1/24", "a_cidr": "10.0.0.0/8", "a_macaddr": "08:00:2b:01:02:03", "a_point": {"type": "Point", "coordinates": [1.5, -2.0]},
        "a_range": "[1,10)", "an_xml": "<a>b</a>", "some_ints": [1, null, 3], "some_texts": ["a", "b c", null], "some_decimals": [1.10, 2.25],
        "some_dates": ["2024-01-01", "1969-12-31"], "some_stamps": ["2024-02-29T13:14:15Z"],
        "some_uuids": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], "some_flags": [true, false],
    });
    assert_eq!((&row["put"], &row["snapshot"]), (&json!("10"), &json!("No")));
    let (mut found, mut decimals) = (row["fields"].clone(), BTreeMap::new());
    for name in ["a_decimal", "a_numeric"] {
        decimals.insert(name, found.as_object_mut().unwrap().remove(name).unwrap());
    }
    assert_eq!(found, expected);
    // More digits than a double has; each is compared below.
    assert!(decimals.values().all(Value::is_number));
}

#[test]
fn decimals_keep_every_digit() {
    let record = SESSION
        .lines()
        .find(|line| line.contains("\"insert of every type\"") && line.contains("\"bare\"") && line.contains("kinds"))
        .unwrap();
    let record: Value = serde_json::from_str(record).unwrap();
    let mapping = mapping(IngestFormat::Debezium, TYPES[0].1);
    match mapping.read(record["key"].as_str().map(str::as_bytes), record["value"].as_str().map(str::as_bytes)) {
        Ok(Meaning::Put { fields, .. }) => {
            let text = |name: &str| fields.values.iter().find(|(field, _)| **field == *name).unwrap().1.get().to_owned();
            // As in tests/debezium/session.sql
            assert_eq!((&*text("a_decimal"), &*text("a_numeric")), ("1234567890.12", "123456789012345678901234567890.123456789"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn extremes_and_what_no_calendar_has() {
    let some = |row: &Value| -> Value {
        row["fields"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let [extremes] = &of_case("kinds", "insert of extremes")[..] else { panic!("one record") };
    assert_eq!(
        some(extremes),
        json!({
            "id_": 11, "a_small": 32767, "a_big": i64::MIN, "a_real": "NaN", "a_double": "Infinity", "a_decimal": -0.01, "a_numeric": -1e-20,
            "a_date": "0001-01-01", "a_time": "24:00:00", "a_stamp": "1969-12-31T23:59:59.999999Z", "a_stamptz": "9999-12-30T22:00:00.999999999Z",
            "some_ints": [], "some_texts": [],
        })
    );
    let [infinite, ancient] = &of_case("kinds", "insert of what no calendar has")[..] else { panic!("two records") };
    assert_eq!(
        some(infinite),
        json!({"id_": 12, "a_date": "9999-12-31", "a_stamp": "9999-12-30T22:00:00.999999999Z", "a_stamptz": "-009999-01-02T01:59:59Z"})
    );
    assert_eq!(
        some(ancient),
        json!({"id_": 13, "a_date": "-004712-01-01", "a_stamp": "-000043-03-15T12:00:00Z", "a_stamptz": "9999-12-30T22:00:00.999999999Z"})
    );
}

#[test]
fn keys_snapshots_and_values_that_were_not_sent() {
    let old = "00000000-0000-0000-0000-000000000001";
    let new = "00000000-0000-0000-0000-000000000002";
    let moved = of_case("papers", "primary key change of a row with large values");
    assert_eq!(moved[..2], [json!({"delete": old}), json!({"delete": old})]);
    assert_eq!((&moved[2]["put"], &moved[2]["unavailable"]), (&json!(new), &json!(["body", "counts", "data", "details", "words"])));
    let [update] = &of_case("papers", "update of a row with large values that stay")[..] else { panic!("one record") };
    assert_eq!(update["fields"], json!({"id_": old, "title": "second"}));
    // The key's order is not the columns' order.
    let changed: Vec<Value> = of_case("lines", "change of a part of a composite key")
        .iter()
        .map(|read| read["put"].as_str().map_or(read["delete"].clone(), Value::from))
        .collect();
    assert_eq!(changed, ["1~north", "1~north", "1~east"]);
    assert!(of_case("lines", "truncate").contains(&json!({"truncate": true})));
    assert_eq!(of_case("message", "message"), [json!({"skip": "message"})]);
    let [named] = &of_case("named", "names like ours")[..] else { panic!("one record") };
    assert_eq!(
        named["fields"],
        json!({"id_": "a", "acl_": null, "version_": 8, "createdAt_": "2001-02-03T04:05:06Z", "updatedAt_": "2002-03-04T05:06:07.891Z", "_id": "under"})
    );
    for (_, read) in &session("schema")["keyless"] {
        assert!(
            matches!(read, Ok(Value::Object(told)) if told.contains_key("skip"))
                || read.as_ref().is_err_and(|bad| bad.to_string().contains("primary key"))
        );
    }
    let marks: BTreeMap<String, Vec<Value>> = session("schema")
        .into_iter()
        .map(|(table, records)| {
            let of_snapshot = records.into_iter().filter(|(case, _)| case == "before the snapshot");
            (table, of_snapshot.filter_map(|(_, read)| Some(read.ok()?["snapshot"].clone())).collect())
        })
        .collect();
    // The first table has one row: nothing says that its snapshot ended there.
    let expected = json!({
        "full_images": ["First"], "keyless": [], "kinds": ["First", "Last"], "lines": ["First", "Last"], "message": [], "named": ["Last"], "papers": ["Last"],
    });
    assert_eq!(json!(marks), expected);
}
