//! Any text as an object of a class with a field of every type: refused, or brought to the class's shape, which is an object and is in that shape.
#![no_main]

use tidegate::json::object_entries;
use bytes::Bytes;
use dataflows::document::{Document, DocumentLimits};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tidegate::object::shape;
use tidegate::object::text::Body;
use tidegate::schema::{ClassRequest, Schema, merge};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let plain = ["String", "Integer", "Double", "Boolean", "Date", "DateTime", "Time", "File", "GeoPoint", "JsonObject", "JsonArray", "User", "E"];
    let mut fields = String::new();
    for (order, kind) in plain.iter().enumerate() {
        for (prefix, kind) in [
            ("", format!("/db/{kind}")),
            ("l", format!("/db/collection.List[/db/{kind}]")),
            ("s", format!("/db/collection.Set[/db/{kind}]")),
            ("m", format!("/db/collection.Map[/db/String,/db/{kind}]")),
        ] {
            fields.push_str(&format!(r#","{prefix}{order}":{{"name":"{prefix}{order}","type":"{kind}","order":{order}}}"#));
        }
    }
    let text = format!(
        r#"[{{"class":"/db/E","embedded":true,"fields":{{"e":{{"name":"e","type":"/db/E"}},"d":{{"name":"d","type":"/db/Date"}}}}}},{{"class":"/db/A","fields":{{{}}}}}]"#,
        &fields[1..]
    );
    let classes: Vec<ClassRequest> = serde_json::from_str(&text).unwrap();
    merge(&Schema::built_in(), &classes, &dataflows::access::Caller::admin()).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Ok(body) = Body::parse(data) else { return };
    let Ok(shaped) = shape::fields(&SCHEMA, "A", &body.fields) else { return };
    let text = format!("{{{}}}", &shaped[1..]);
    let entries = object_entries(text.as_bytes()).unwrap();
    let declared: Vec<&str> = SCHEMA.fields("A").into_iter().map(|field| &*field.name).collect();
    assert_eq!(entries.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), declared);
    assert_eq!(shape::fields(&SCHEMA, "A", &entries).unwrap(), shaped, "it has the shape");
    // The store may still refuse what JSON fields hold: too deep, a name twice, a number beyond doubles.
    let _ = Document::parse(Bytes::from(text), &SCHEMA.dates("A"), DocumentLimits::default());
});
