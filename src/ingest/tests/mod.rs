//! Records as a whole: bytes in, meaning out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod debezium;
mod ids;
mod json;
mod recorded;
mod robust;
mod speed;

use super::mapping::Mapping;
use super::meaning::{BadRecord, Meaning, Moment, Unreadable};
use crate::config::{IngestFormat, IngestOptions};
use serde_json::{Value, json};

fn mapping(format: IngestFormat, types: &[(&str, &str)]) -> Mapping {
    let mut options = IngestOptions::new("topic", "Bucket");
    options.format = format;
    options.types = types.iter().map(|(field, name)| (field.to_string(), name.to_string())).collect();
    Mapping::new(&options, 1 << 20).unwrap()
}

fn plain() -> Mapping {
    mapping(IngestFormat::Json, &[])
}

/// The record's meaning as JSON; values are kept as they are written.
fn told(meaning: &Meaning) -> Value {
    match meaning {
        Meaning::Put { id, fields, snapshot } => {
            let values = fields.values.iter().map(|(name, value)| format!("{}:{}", json!(name), value.get())).collect::<Vec<_>>();
            let values: Value = serde_json::from_str(&format!("{{{}}}", values.join(","))).unwrap();
            let mut told = json!({ "put": id, "snapshot": format!("{snapshot:?}"), "fields": values });
            if !fields.unavailable.is_empty() {
                let mut names = fields.unavailable.clone();
                names.sort();
                told["unavailable"] = json!(names);
            }
            told
        }
        Meaning::Delete { id } => json!({ "delete": id }),
        Meaning::Truncate => json!({ "truncate": true }),
        Meaning::Skip(what) => json!({ "skip": what }),
    }
}

fn read(mapping: &Mapping, key: Option<&str>, value: Option<&str>) -> Result<Value, Unreadable> {
    mapping.read(key.map(str::as_bytes), value.map(str::as_bytes)).map(|meaning| told(&meaning))
}

/// The text of one value of a record without schema block.
fn value(mapping: &Mapping, value: &str) -> String {
    match mapping.read(Some(b"k"), Some(format!(r#"{{"v":{value}}}"#).as_bytes())) {
        Ok(Meaning::Put { fields, .. }) => fields.values[0].1.get().to_owned(),
        other => panic!("{value}: {other:?}"),
    }
}

fn moments(mapping: &Mapping, key: &str, value: &str) -> Vec<(String, Moment)> {
    match mapping.read(Some(key.as_bytes()), Some(value.as_bytes())) {
        Ok(Meaning::Put { fields, .. }) => fields.moments.iter().map(|(name, moment)| (name.to_string(), *moment)).collect(),
        other => panic!("{value}: {other:?}"),
    }
}
