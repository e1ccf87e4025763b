//! Any text as a query: reading never panics, and what is accepted has a normal form that reads back as itself and means the same.
#![no_main]

use bytes::Bytes;
use dataflows::document::{DateFields, Document, DocumentLimits};
use dataflows::query::{Filter, QueryLimits, parse};
use libfuzzer_sys::fuzz_target;

const DOCUMENTS: &[&str] = &[
    "{}",
    r#"{"a":1,"b":[1,2,{"a":null}],"c":{"a":"ab","b":{"$date":5}}}"#,
    r#"{"a":[[1],{"b":2}],"b":"ab","p":[1,2]}"#,
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let limits = QueryLimits::default();
    let Ok(raw) = parse(text, &limits) else { return };
    let filter = Filter::of(raw.clone());
    // A normal form may have more bytes and values than the text it came from.
    let again = Filter::parse(&filter.text, &QueryLimits { bytes: usize::MAX, nodes: usize::MAX, ..limits });
    let again = again.unwrap_or_else(|error| panic!("{} is refused: {error}", filter.text));
    assert_eq!(again.text, filter.text);
    assert_eq!(again.predicate, filter.predicate);
    for json in DOCUMENTS {
        let document = Document::parse(Bytes::from_static(json.as_bytes()), &DateFields::default(), DocumentLimits::default()).unwrap();
        assert_eq!(raw.matches(&document), filter.matches(&document), "{} on {json}", filter.text);
    }
});
