//! Any bytes as a document: what is accepted is what `serde_json` accepts (objects, within the depth, no name twice), with the same values.
#![no_main]

use bytes::Bytes;
use dataflows::document::{DateFields, Document, DocumentLimits, Object, Value};
use libfuzzer_sys::fuzz_target;
use serde_json::Value as Json;

fuzz_target!(|data: &[u8]| {
    let ours = Document::parse(Bytes::copy_from_slice(data), &DateFields::default(), DocumentLimits::default());
    let theirs = serde_json::from_slice::<Json>(data);
    match (ours, theirs) {
        (Ok(document), Ok(Json::Object(fields))) => same_object(document.root(), &fields),
        (Ok(_), other) => panic!("accepted, but serde_json says {other:?}"),
        (Err(error), Ok(json @ Json::Object(_))) => {
            let reason = error.to_string();
            let limits = depth(&json) > DocumentLimits::default().depth || data.len() > DocumentLimits::default().bytes;
            assert!(limits || reason.contains("stands twice"), "refused: {reason}");
        }
        (Err(_), _) => {}
    }
});

fn depth(json: &Json) -> usize {
    match json {
        Json::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Json::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn same_object(object: Object<'_>, fields: &serde_json::Map<String, Json>) {
    assert_eq!(object.len(), fields.len());
    assert_eq!(object.iter().count(), fields.len());
    for entry in object.iter() {
        same(entry.value, &fields[entry.name]);
        let found = object.get(entry.name);
        assert!(found.is_some_and(|found| std::mem::discriminant(&found) == std::mem::discriminant(&entry.value)));
    }
}

fn same(value: Value<'_>, json: &Json) {
    match (value, json) {
        (Value::Null, Json::Null) => {}
        (Value::Bool(ours), Json::Bool(theirs)) => assert_eq!(ours, *theirs),
        (Value::Number(ours), Json::Number(theirs)) => match theirs.as_i64() {
            Some(int) => assert_eq!(ours.as_i64(), Some(int)),
            None => assert_eq!(Some(ours.as_f64()), theirs.as_f64()),
        },
        (Value::String(ours), Json::String(theirs)) => assert_eq!(ours, theirs),
        (Value::Array(ours), Json::Array(theirs)) => {
            assert_eq!(ours.len(), theirs.len());
            assert_eq!(ours.iter().count(), theirs.len());
            ours.iter().zip(theirs).for_each(|(ours, theirs)| same(ours, theirs));
        }
        (Value::Object(ours), Json::Object(theirs)) => same_object(ours, theirs),
        (Value::Date(_), Json::Object(theirs)) => assert!(theirs.len() == 1 && theirs.contains_key("$date")),
        (ours, theirs) => panic!("{ours:?} is not {theirs}"),
    }
}
