//! Keys to ids.

use super::*;
use proptest::prelude::*;

fn id(mapping: &Mapping, key: &str) -> Result<String, Unreadable> {
    read(mapping, Some(key), None).map(|told| told["delete"].as_str().unwrap_or("none").to_owned())
}

#[test]
fn keys_of_every_kind() {
    let mapping = plain();
    for (key, expected) in [
        ("abc", "abc"),
        ("a b/ü", "a b/ü"),
        ("\"quoted \\u00e9\"", "quoted é"),
        ("42", "42"),
        ("4.20", "4.20"),
        ("true", "true"),
        ("{not json", "{not json"),
        ("\"half", "\"half"),
        ("[1,2]", "[1,2]"),
        (r#"{"id":42}"#, "42"),
        (r#"{"id":"a~b!"}"#, "a~b!"),
        (r#"{"b":1,"a":"x"}"#, "1~x"),
        (r#"{"b":"1~2","a":"x!","c":null}"#, "1!~2~x!!~!0"),
        (r#"{"b":"","a":""}"#, "~"),
        (r#"{"schema":{"type":"string"},"payload":"x"}"#, "x"),
        (r#"{"schema":{"type":"int32","name":"io.debezium.time.Date"},"payload":1}"#, "1970-01-02"),
        (r#"{"schema":null,"payload":{"id":7}}"#, "7"),
    ] {
        assert_eq!(id(&mapping, key).as_deref(), Ok(expected), "{key}");
    }
    for key in ["{}", r#"{"id":null}"#, r#"{"id":[1]}"#, r#"{"id":{"a":1}}"#, r#"{"id":"\ud800"}"#, r#"{"a":1,"a":2}"#] {
        assert!(id(&mapping, key).is_err(), "{key}");
    }
}

#[test]
fn parts_of_keys_are_read_like_values() {
    let key = json!({
        "schema": {"type": "struct", "fields": [
            {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}, "field": "amount"},
            {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "field": "at"},
            {"type": "bytes", "field": "hash"},
        ]},
        "payload": {"amount": "MDk=", "at": 0, "hash": "AAEC"},
    });
    let expected = "123.45~1970-01-01T00:00:00Z~AAEC";
    let debezium = |types: &[(&str, &str)]| mapping(IngestFormat::Debezium, types);
    assert_eq!(id(&debezium(&[]), &key.to_string()).as_deref(), Ok(expected));
    let bare = r#"{"amount":"MDk=","at":0,"hash":"AAEC"}"#;
    assert_eq!(id(&debezium(&[("amount", "decimal:2"), ("at", "timestamp-micros")]), bare).as_deref(), Ok(expected));
    assert_eq!(id(&debezium(&[("at", "date")]), r#"{"at":"x"}"#).unwrap_err().code(), "record-value");
}

proptest! {
    #[test]
    fn no_two_keys_make_one_id(parts in proptest::collection::vec(proptest::option::of("[!~0a]{0,4}|\\PC{0,6}"), 2..5)) {
        let fields: Vec<String> = parts.iter().enumerate().map(|(n, part)| format!("\"p{n}\":{}", json!(part))).collect();
        let id = id(&plain(), &format!("{{{}}}", fields.join(","))).unwrap();
        // The parts again.
        let (mut read, mut part, mut chars) = (Vec::new(), Some(String::new()), id.chars());
        while let Some(char) = chars.next() {
            match char {
                '~' => read.push(part.replace(String::new())),
                '!' => match chars.next() {
                    Some('0') => part = None,
                    Some(char) => part.as_mut().unwrap().push(char),
                    None => panic!("{id} ends within a part"),
                },
                char => part.as_mut().unwrap().push(char),
            }
        }
        read.push(part);
        prop_assert_eq!(read, parts);
    }
}
