//! Plain JSON, and rows that were flattened into it.

use super::*;

#[test]
fn keys_are_ids_and_values_objects() {
    let read = |key, value| read(&plain(), key, value).unwrap();
    assert_eq!(read(Some("k"), Some(r#" {"a": 1} "#)), json!({"put": "k", "snapshot": "No", "fields": {"a": 1}}));
    assert_eq!(read(None, Some(r#"{"id":"k","a":1}"#)), json!({"put": "k", "snapshot": "No", "fields": {"id_": "k", "a": 1}}));
    assert_eq!(read(Some(""), Some(r#"{"id":7}"#))["put"], "7");
    assert_eq!(read(Some("k"), None), json!({"delete": "k"}));
    assert_eq!(read(Some("k"), Some(" null\n")), json!({"delete": "k"}));
    assert_eq!(read(Some("k"), Some("{}")), json!({"put": "k", "snapshot": "No", "fields": {}}));
}

#[test]
fn values_keep_every_digit() {
    let mapping = plain();
    for text in
        ["1.50", "123456789012345678901234567890", "1E400", "-0.0", "\"\\u00e9\"", "[1.10,{\"a\":2.00}]", "null", "9007199254740993"]
    {
        assert_eq!(value(&mapping, text), text);
    }
}

#[test]
fn what_is_no_object_says_what_to_do() {
    for (key, value, code, hint) in [
        (Some("k"), Some(""), "record-syntax", "value"),
        (Some("k"), Some("{\"a\":}"), "record-syntax", "value"),
        (Some("k"), Some("{} {}"), "record-syntax", "value"),
        (Some("k"), Some("7"), "record-shape", "object"),
        (Some("k"), Some("[]"), "record-shape", "object"),
        (Some("k"), Some(r#"{"a":1,"a":2}"#), "record-shape", "twice"),
        (None, Some("{}"), "record-shape", "key"),
        (None, Some(r#"{"id":null}"#), "record-shape", "null"),
        (None, Some(r#"{"id":[1]}"#), "record-shape", "id"),
        (None, None, "record-shape", "key"),
        (Some("null"), Some("{}"), "record-shape", "key"),
    ] {
        let error = read(&plain(), key, value).unwrap_err();
        assert_eq!(error.code(), code, "{value:?}: {error}");
        assert!(error.to_string().contains(hint), "{value:?}: {error}");
    }
    assert_eq!(plain().read(Some(b"\xff"), Some(b"{}")).unwrap_err().code(), "record-syntax");
    assert_eq!(plain().read(Some(b"k"), Some(b"{\"a\":\"\xff\"}")).unwrap_err().code(), "record-syntax");
}

#[test]
fn objects_have_limits() {
    let mut options = IngestOptions::new("topic", "Bucket");
    options.format = IngestFormat::Json;
    let small = Mapping::new(&options, 100).unwrap();
    let error = read(&small, Some("k"), Some(&format!(r#"{{"a":"{}"}}"#, "x".repeat(100)))).unwrap_err();
    assert_eq!(error.code(), "record-too-large");
    assert!(read(&small, Some("k"), Some(&format!(r#"{{"a":"{}"}}"#, "x".repeat(80)))).is_ok());
    let many: Vec<String> = (0..10_001).map(|n| format!("\"f{n}\":1")).collect();
    assert_eq!(read(&plain(), Some("k"), Some(&format!("{{{}}}", many.join(",")))).unwrap_err().code(), "record-too-large");
    for (depth, fits) in [(63, true), (64, false), (100_000, false)] {
        let value = format!(r#"{{"v":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(read(&plain(), Some("k"), Some(&value)).is_ok(), fits, "{depth}");
    }
}

#[test]
fn what_few_bytes_stand_for_is_counted_while_it_is_read() {
    let decimal = json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "16383"}});
    let list = json!({"type": "array", "items": decimal});
    let one = vec!["AQ=="; 10_000];
    let names: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("n{n}"), json!("AQ=="))).collect();
    let fields: Vec<Value> = (0..2_000)
        .map(|n| {
            let mut field = decimal.clone();
            field["field"] = json!(format!("n{n}"));
            field
        })
        .collect();
    for (what, schema, value) in [
        ("list", list.clone(), json!(one)),
        ("lists", json!({"type": "array", "items": list}), json!([[], one])),
        ("map", json!({"type": "map", "values": decimal}), json!(names)),
        ("pairs", json!({"type": "map", "values": decimal}), json!(one.iter().map(|value| (1, value)).collect::<Vec<_>>())),
        ("struct", json!({"type": "struct", "fields": fields}), json!(names)),
    ] {
        let mut schema = schema;
        schema["field"] = json!("v");
        let record = json!({"schema": {"type": "struct", "fields": [schema]}, "payload": {"v": value}}).to_string();
        // All of it would be more than a hundred times as much.
        match plain().read(Some(b"k"), Some(record.as_bytes())) {
            Err(Unreadable { error: BadRecord::Large { found, limit, .. }, .. }) => {
                assert!((limit..limit + (64 << 10)).contains(&found), "{what}: {found}")
            }
            other => panic!("{what}: {other:?}"),
        }
        // The fields of an object that is no struct are texts in a key.
        let key = json!({"schema": schema, "payload": value}).to_string();
        let id = plain().read(Some(key.as_bytes()), Some(b"{}")).map(|_| ()).map_err(|error| error.code());
        assert_eq!(id, if what == "map" { Ok(()) } else { Err("record-shape") }, "{what}");
    }
}

#[test]
fn types_of_the_mapping_are_read() {
    for (name, written, read_as) in [
        ("date", "18263", "\"2020-01-02\""),
        ("time-millis", "1500", "\"00:00:01.5Z\""),
        ("time-micros", "1500", "\"00:00:00.0015Z\""),
        ("time-nanos", "1500", "\"00:00:00.0000015Z\""),
        ("timestamp-seconds", "1577934245.25", "\"2020-01-02T03:04:05.25Z\""),
        ("timestamp-millis", "1577934245678", "\"2020-01-02T03:04:05.678Z\""),
        ("timestamp-micros", "\"1577934245678901\"", "\"2020-01-02T03:04:05.678901Z\""),
        ("timestamp-nanos", "1577934245678901234", "\"2020-01-02T03:04:05.678901234Z\""),
        ("iso-date", "\"2020-01-02\"", "\"2020-01-02\""),
        ("iso-date", "\"-0043-03-15\"", "\"-000043-03-15\""),
        ("iso-timestamp", "\"-0043-03-15T00:00:00Z\"", "\"-000043-03-15T00:00:00Z\""),
        ("iso-time", "\"03:04\"", "\"03:04:00Z\""),
        ("iso-timestamp", "\"2020-01-02T03:04:05.000+01:00\"", "\"2020-01-02T02:04:05Z\""),
        ("decimal", "\"00123.4500\"", "123.4500"),
        ("decimal", "1.10", "1.10"),
        ("decimal", "\"NaN\"", "\"NaN\""),
        ("decimal", "\"NAN\"", "\"NaN\""),
        ("decimal", "\"Infinity\"", "\"Infinity\""),
        ("decimal", "\"POSITIVE_INFINITY\"", "\"Infinity\""),
        ("decimal", "\"NEGATIVE_INFINITY\"", "\"-Infinity\""),
        ("decimal:2", "\"MDk=\"", "123.45"),
        ("decimal:-2", "\"Bw==\"", "700"),
        ("variable-decimal", "{\"scale\":1,\"value\":\"Bw==\"}", "0.7"),
        ("json", "\"{\\\"a.b\\\":[1.0]}\"", "{\"a%2Eb\":[1.0]}"),
        ("json", "{\"a\":1}", "{\"a\":1}"),
        ("set", "\"a,b\"", "[\"a\",\"b\"]"),
        ("uuid", "\"7D4448409DC011D1B2455FFDCE74FAD2\"", "\"7d444840-9dc0-11d1-b245-5ffdce74fad2\""),
        ("point", "{\"x\":1,\"y\":2.0}", "{\"type\":\"Point\",\"coordinates\":[1,2.0]}"),
        ("geometry", "{\"wkb\":\"AQIAAAA=\",\"srid\":1}", "{\"wkb\":\"AQIAAAA=\",\"srid\":1}"),
        ("list:date", "[0,null]", "[\"1970-01-01\",null]"),
        ("plain", "{\"a\":1}", "{\"a\":1}"),
    ] {
        let mapping = mapping(IngestFormat::Json, &[("v", name)]);
        assert_eq!(value(&mapping, written), read_as, "{name} {written}");
        assert_eq!(value(&mapping, "null"), "null", "{name}");
        // Whatever else stands there is refused, or kept where there is a rule for it; never a panic.
        for other in ["true", "1", "\"x\"", "[1]", "{\"a\":1}", "\"\"", "[]", "{}", "1e999"] {
            if let Err(error) = mapping.read(Some(b"k"), Some(format!(r#"{{"v":{other}}}"#).as_bytes())) {
                assert_eq!(error.code(), "record-value", "{name} {other}");
            }
        }
    }
}

#[test]
fn types_that_are_not_known_are_refused_at_start() {
    for (name, nearest) in
        [("timestamp", "timestamp-"), ("decimal:x", ""), ("decimal:99999", ""), ("list:list:date", ""), ("Jason", ""), ("", "")]
    {
        let mut options = IngestOptions::new("lots", "Lot");
        options.types.insert("at".into(), name.into());
        let error = Mapping::new(&options, 1000).unwrap_err();
        assert_eq!(error.code(), "ingest-type");
        let text = error.to_string();
        assert!(text.contains("at") && text.contains("lots") && text.contains(nearest), "{text}");
    }
}

#[test]
fn rows_that_were_flattened_are_plain_json() {
    let mapping = plain();
    let schema = json!({"type": "struct", "name": "shop.public.orders.Value", "fields": [
        {"type": "int32", "field": "id"}, {"type": "int32", "name": "io.debezium.time.Date", "field": "due"}, {"type": "string", "field": "__deleted"},
    ]});
    let key = r#"{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"}]},"payload":{"id":1}}"#;
    let row = |deleted: &str| format!(r#"{{"schema":{schema},"payload":{{"id":1,"due":0,"__deleted":"{deleted}"}}}}"#);
    for _ in 0..2 {
        assert_eq!(
            read(&mapping, Some(key), Some(&row("false"))).unwrap(),
            json!({"put": "1", "snapshot": "No", "fields": {"id_": 1, "due": "1970-01-01"}})
        );
        assert_eq!(read(&mapping, Some(key), Some(&row("true"))).unwrap(), json!({"delete": "1"}));
    }
    assert_eq!(moments(&mapping, key, &row("false")), [("due".to_owned(), Moment::Date)]);
    let unavailable = read(&mapping, Some(key), Some(r#"{"id":1,"note":"__debezium_unavailable_value","__deleted":false}"#)).unwrap();
    assert_eq!(unavailable, json!({"put": "1", "snapshot": "No", "fields": {"id_": 1}, "unavailable": ["note"]}));
}

#[test]
fn an_object_with_fields_named_like_a_schema_block_is_an_object() {
    let mapping = plain();
    for value in [r#"{"schema":1,"payload":2}"#, r#"{"schema":{"a":1},"payload":2}"#, r#"{"schema":{"type":"string"},"payload":2,"x":3}"#] {
        let fields: Value = serde_json::from_str(value).unwrap();
        assert_eq!(read(&mapping, Some("k"), Some(value)).unwrap()["fields"], fields);
    }
}

#[test]
fn more_names_than_are_remembered_make_no_difference() {
    let mapping = mapping(IngestFormat::Json, &[("n9999", "date")]);
    for start in [0, 3000, 6000, 9000, 0] {
        let fields: Vec<String> = (start..start + 3000).map(|n| format!("\"n{n}\":{n}")).collect();
        let read = read(&mapping, Some("k"), Some(&format!("{{{},\"id\":1}}", fields.join(",")))).unwrap();
        assert_eq!(read["fields"]["id_"], 1);
        assert_eq!(read["fields"][format!("n{start}")], start);
        if start == 9000 {
            assert_eq!(read["fields"]["n9999"], "1997-05-18");
        }
    }
}
