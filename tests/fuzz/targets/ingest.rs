//! Any bytes as key and value of another producer's record: read or refused without a panic, the same whatever was read
//! before, and what is read can be an object of ours.
//!
//! Input: a byte that chooses the format, the key, a zero byte, the value.
#![no_main]

use tidegate::schema::name::METADATA;
use libfuzzer_sys::fuzz_target;
use std::collections::HashSet;
use std::sync::LazyLock;
use tidegate::config::{IngestFormat, IngestOptions};
use tidegate::ingest::mapping::Mapping;
use tidegate::ingest::meaning::Meaning;

/// A field of each type, named like it without what no fuzzer would find: `date`, `decimal`, …
fn mapping(format: IngestFormat) -> Mapping {
    let mut options = IngestOptions::new("topic", "Bucket");
    options.format = format;
    for (field, name) in [
        ("d", "date"),
        ("t", "time-micros"),
        ("s", "timestamp-seconds"),
        ("n", "timestamp-nanos"),
        ("id", "iso-date"),
        ("it", "iso-time"),
        ("is", "iso-timestamp"),
        ("x", "decimal"),
        ("y", "decimal:2"),
        ("v", "variable-decimal"),
        ("j", "json"),
        ("w", "set"),
        ("u", "uuid"),
        ("p", "point"),
        ("l", "list:json"),
    ] {
        options.types.insert(field.into(), name.into());
    }
    Mapping::new(&options, 1 << 16).unwrap()
}

static WARM: LazyLock<[Mapping; 2]> = LazyLock::new(|| [mapping(IngestFormat::Json), mapping(IngestFormat::Debezium)]);

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let (key, value) = match rest.iter().position(|byte| *byte == 0) {
        Some(zero) => (Some(&rest[..zero]), &rest[zero + 1..]),
        None => (None, rest),
    };
    let which = usize::from(choice & 1);
    let read = WARM[which].read(key, Some(value));
    let fresh = mapping([IngestFormat::Json, IngestFormat::Debezium][which]).read(key, Some(value));
    assert_eq!(format!("{read:?}"), format!("{fresh:?}"));
    if let Ok(Meaning::Put { fields, .. }) = read {
        let mut names = HashSet::new();
        for name in fields.values.iter().map(|(name, _)| name).chain(&fields.unavailable) {
            assert!(names.insert(name.clone()), "{name} twice");
            assert!(!METADATA.contains(&&**name) && !name.is_empty() && !name.starts_with('$') && !name.contains('.'), "{name}");
        }
    }
});
