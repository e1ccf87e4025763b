//! Any text as a partial update: applied or refused without a panic; what it makes is an object, has the class's shape, and keeps what
//! the update does not name.
#![no_main]

use tidegate::json::object_entries;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tidegate::object::partial::Update;
use tidegate::object::shape;
use tidegate::schema::{ClassRequest, Schema, merge};

const CLASSES: &str = r#"[{"class":"/db/E","embedded":true,"fields":{"z":{"name":"z","type":"/db/Integer"},"e":{"name":"e","type":"/db/E"}}},
    {"class":"/db/A","fields":{"i":{"name":"i","type":"/db/Integer"},"d":{"name":"d","type":"/db/Double"},"s":{"name":"s","type":"/db/String"},
        "t":{"name":"t","type":"/db/DateTime"},"l":{"name":"l","type":"/db/collection.List[/db/Double]"},"u":{"name":"u","type":"/db/collection.Set[/db/String]"},
        "m":{"name":"m","type":"/db/collection.Map[/db/String,/db/Integer]"},"e":{"name":"e","type":"/db/E"},"j":{"name":"j","type":"/db/JsonObject"}}}]"#;
const OBJECT: &str = r#"{"id":"/db/A/1","version":1,"acl":null,"createdAt":"2020-01-01T00:00:00Z","updatedAt":"2020-01-01T00:00:00Z","i":7,"d":1.50,"s":"x",
    "t":"2020-01-01T00:00:00Z","l":[1,null],"u":["a"],"m":{"a":1},"e":{"z":1,"e":null},"j":{"a":[{"b":1.0}]}}"#;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let classes: Vec<ClassRequest> = serde_json::from_str(CLASSES).unwrap();
    merge(&Schema::built_in(), &classes, &dataflows::access::Caller::admin()).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Ok(update) = Update::parse(data) else { return };
    for bucket in ["A", "Open"] {
        let Ok(updated) = update.apply(OBJECT, &SCHEMA, bucket, 1_700_000_000_123) else { continue };
        let text = format!("{{{}}}", updated.fields.get(1..).unwrap_or_default());
        let entries = object_entries(text.as_bytes()).unwrap();
        if bucket == "A" {
            assert_eq!(shape::fields(&SCHEMA, bucket, &entries).unwrap(), updated.fields);
        }
        let body = String::from_utf8_lossy(data);
        let before = object_entries(OBJECT.as_bytes()).unwrap();
        for (name, value) in before.iter().skip(5).filter(|(name, _)| !body.contains(&**name) && !body.contains('\\')) {
            let after = entries.iter().find(|(other, _)| other == name).unwrap();
            assert_eq!(after.1.get(), value.get(), "{name} was not named");
        }
    }
});
