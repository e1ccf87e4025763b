//! Records a session of the real Debezium: `cargo test --test debezium -- --ignored` writes
//! `tests/fixtures/debezium/session.jsonl` anew, a record a line, as a consumer of all topics of two connectors reads them:
//! `schema`, with Debezium's defaults and schema blocks, and `bare`, without them.

use crate::support::connect::Connect;
use crate::support::kafka::{Broker, shared};
use crate::support::postgres::Postgres;
use crate::support::{PATIENCE, run};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;

/// Every topic of these connectors, from where it was read last.
struct Listener<'b> {
    broker: &'b Broker,
    read: HashMap<String, usize>,
}

impl Listener<'_> {
    /// What has come to all topics of a connector since the last time.
    async fn more(&mut self, connector: &str) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self.broker.client().create().unwrap();
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let mut topics: Vec<_> = metadata.topics().iter().map(|topic| topic.name().to_owned()).collect();
        topics.retain(|topic| topic.contains(connector));
        topics.sort();
        let mut new = Vec::new();
        for topic in topics {
            let (_, end) = consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap();
            if self.read.get(&topic).is_some_and(|read| *read as i64 == end) {
                continue;
            }
            let all = self.broker.read(&topic).await;
            let read = self.read.entry(topic).or_default();
            new.extend(all[*read..].iter().cloned());
            *read = all.len();
        }
        new
    }
}

/// The script's cases: name and statements.
fn cases(script: &str) -> Vec<(&str, &str)> {
    script.split("\n-- case: ").skip(1).map(|case| case.split_once('\n').unwrap()).collect()
}

#[test]
#[ignore = "writes the recorded session anew"]
fn records_a_session() {
    run(async {
        let (broker, postgres) = (shared(), Postgres::start());
        let connect = Connect::start(broker).await;
        postgres.sql(include_str!("tables.sql"));
        let cases = cases(include_str!("session.sql"));
        postgres.sql(cases[0].1);
        let common = [("heartbeat.interval.ms", "600000"), ("provide.transaction.metadata", "true")];
        let bare = [("value.converter.schemas.enable", "false"), ("key.converter.schemas.enable", "false")];
        let converters = [
            ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ];
        connect.capture("schema", &postgres, "public.*", &[]).await;
        connect.capture("bare", &postgres, "public.*", &[&common[..], &converters, &bare].concat()).await;
        let mut listener = Listener { broker, read: HashMap::new() };
        let mut lines = String::new();
        for (number, (case, statements)) in cases.iter().enumerate() {
            if number > 0 {
                postgres.sql(statements);
            }
            let mark = format!("mark-{number}");
            postgres.sql(&format!("SELECT pg_logical_emit_message(true, 'mark', '{mark}')"));
            for connector in ["schema", "bare"] {
                let mut records = Vec::new();
                let marked = |record: &OwnedMessage| {
                    record.topic().ends_with(".message")
                        && record.key().is_some_and(|key| String::from_utf8_lossy(key).contains("\"mark\""))
                };
                let deadline = std::time::Instant::now() + PATIENCE;
                while !records.iter().any(marked) {
                    records.extend(listener.more(connector).await);
                    assert!(std::time::Instant::now() < deadline, "{case} does not come: {}", connect.log());
                }
                for record in records.iter().filter(|record| !marked(record)) {
                    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
                    let headers =
                        record.headers().map(|headers| headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect());
                    let headers: BTreeMap<String, Option<String>> = headers.unwrap_or_default();
                    let line = json!({
                        "connector": connector, "case": case, "topic": record.topic(), "headers": headers,
                        "key": text(record.key()), "value": text(record.payload()),
                    });
                    writeln!(lines, "{line}").unwrap();
                }
            }
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/debezium/session.jsonl");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, lines).unwrap();
    });
}
