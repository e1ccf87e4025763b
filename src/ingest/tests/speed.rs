//! How fast records are read, beside parsing the same bytes into a tree. Run in release:
//! `cargo test --release -p tidegate --lib ingest::tests::speed -- --ignored --nocapture`

use super::*;
use std::time::Instant;

/// Records a second of one thread; the best of five rounds, since others share the machine.
fn rate(records: &[String], mut each: impl FnMut(&[u8])) -> f64 {
    let mut best = 0f64;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..20 {
            records.iter().for_each(|record| each(record.as_bytes()));
        }
        best = best.max((20 * records.len()) as f64 / start.elapsed().as_secs_f64());
    }
    best
}

fn compare(what: &str, mapping: &Mapping, records: &[String]) -> f64 {
    let bytes = records.iter().map(String::len).sum::<usize>() / records.len();
    let read = rate(records, |record| {
        std::hint::black_box(mapping.read(Some(b"{\"id\":1}"), Some(record))).unwrap();
    });
    let tree = rate(records, |record| {
        std::hint::black_box(serde_json::from_slice::<Value>(record)).unwrap();
    });
    eprintln!("{what}: {bytes} bytes a record, {:.0} k records/s; serde_json::Value of the same bytes {:.0} k/s", read / 1e3, tree / 1e3);
    read
}

#[test]
#[ignore = "measures; meaningful in release only"]
fn records_a_second() {
    let flat: Vec<String> = (0..5_000)
        .map(|n| {
            json!({
                "flight": format!("TG{n:05}"), "origin": "HAM", "destination": "SFO", "delay": n % 90, "distance": 8_900.5 + f64::from(n),
                "departure": "2020-01-02T03:04:05.678Z", "position": {"latitude": 53.5 + f64::from(n % 7), "longitude": 9.99},
                "tags": ["long", "night"], "carrier": {"code": "TG", "name": "Tidegate Air"}, "remark": "nothing to be seen here but water"
            })
            .to_string()
        })
        .collect();
    let plain = compare("plain JSON", &plain(), &flat);
    let session: Value = serde_json::from_str(include_str!("../../../tests/fixtures/debezium/session.json")).unwrap();
    let mut value = session["records"][0]["value"].clone();
    let mut envelopes = |with: bool| -> Vec<String> {
        (0..2_000)
            .map(|n| {
                value["after"]["note"] = json!(format!("note {n}"));
                if with { format!(r#"{{"schema":{},"payload":{value}}}"#, session["value_schema"]) } else { value.to_string() }
            })
            .collect()
    };
    let types: Vec<(&str, &str)> =
        session["types"].as_object().unwrap().iter().map(|(field, name)| (field.as_str(), name.as_str().unwrap())).collect();
    compare("Debezium without schema block", &mapping(IngestFormat::Debezium, &types), &envelopes(false));
    compare("Debezium with schema block", &mapping(IngestFormat::Debezium, &[]), &envelopes(true));
    assert!(plain > 150_000.0, "{plain} records of plain JSON a second");
}
