//! Any text as requests on a schema, one a line: each is done or refused without a panic, what is done reads itself back, asks for
//! nothing the second time, and every object that fitted before is read in the new shape.
#![no_main]

use tidegate::json::object_entries;
use dataflows::access::Caller;
use libfuzzer_sys::fuzz_target;
use tidegate::schema::lens::Lens;
use tidegate::object::shape;
use tidegate::schema::{ClassRequest, Request, Schema, alteration, change, moves};

const START: &str = r#"[{"class":"/db/E","embedded":true,"fields":{"z":{"name":"z","type":"/db/Integer"},"e":{"name":"e","type":"/db/E"}}},
    {"class":"/db/A","fields":{"a":{"name":"a","type":"/db/String"},"d":{"name":"d","type":"/db/DateTime"},"e":{"name":"e","type":"/db/collection.List[/db/E]"}}},
    {"class":"/db/B","superClass":"/db/A","fields":{"m":{"name":"m","type":"/db/collection.Map[/db/String,/db/E]"}}}]"#;
const OBJECT: &str = r#"{"a":"a","d":"2020-01-01T00:00:00Z","e":[{"z":1,"e":{"z":2,"e":null}},null],"m":{"a":{"z":3}}}"#;

fn requests(line: &str) -> Option<Request> {
    let words: Vec<&str> = line.split(' ').collect();
    match *words.as_slice() {
        ["rename", class, from, to] => Some(Request::Rename { class: class.into(), from: from.into(), to: to.into() }),
        ["delete", class] => Some(Request::Delete { class: class.into() }),
        _ => {
            let (replaces, whole) = (line.starts_with("put"), line.starts_with("puts"));
            let classes: Vec<ClassRequest> = serde_json::from_str(line.trim_start_matches(|c: char| c.is_ascii_lowercase())).ok()?;
            Some(if replaces { Request::Replace { classes, whole } } else { Request::Merge(classes) })
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let start: Vec<ClassRequest> = serde_json::from_str(START).unwrap();
    let mut schema = change(&Schema::built_in(), &Request::Merge(start), &Caller::admin()).unwrap();
    schema.version = 1;
    for request in text.lines().take(8).filter_map(requests) {
        let before = object_entries(OBJECT.as_bytes()).unwrap();
        let stored = schema.class("B").and_then(|_| shape::fields(&schema, "B", &before).ok());
        let Ok(mut changed) = change(&schema, &request, &Caller::admin()) else { continue };
        if changed == schema {
            continue;
        }
        changed.version += 1;
        changed.altered = alteration::between(&schema, &changed);
        let again: Schema = serde_json::from_str(&serde_json::to_string(&changed).unwrap()).unwrap();
        assert_eq!(again, changed);
        if matches!(request, Request::Merge(_)) {
            assert_eq!(change(&changed, &request, &Caller::admin()).unwrap(), changed, "the same again");
        }
        if let Some(stored) = stored.filter(|_| changed.class("B").is_some()) {
            let text = format!("{{\"id\":\"/db/B/1\"{stored}}}");
            let read = Lens::all(&changed).get("B").and_then(|lens| lens.read(&text)).unwrap_or(text);
            let entries = object_entries(read.as_bytes()).unwrap();
            assert!(entries.iter().skip(1).all(|(name, _)| changed.field("B", name).is_some()), "{read}");
            shape::fields(&changed, "B", &entries).unwrap();
            assert!(Lens::all(&changed).get("B").is_none_or(|lens| lens.read(&read).is_none()), "read twice: {read}");
        }
        schema = moves::closed(&changed, u64::MAX);
    }
});
