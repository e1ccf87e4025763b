//! Bad records: put aside with reason and origin, counted, never in the way, and tried again.

use crate::harness::{House, Server, mapping, record};
use crate::support::kafka::{self, Record};
use crate::support::{run, server};
use rdkafka::message::{Headers, Message};
use serde_json::{Value, json};
use std::process::{Command, Output};

/// `tidegate ingest …` against a server.
fn ingest(server: &Server, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", server::PASSWORD).arg("ingest").args(arguments);
    command.args(["--api", &server.process.url, "--admin", &server.process.admin]);
    command.output().unwrap()
}

fn status(server: &Server) -> Value {
    let output = ingest(server, &["status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["topics"][0].clone()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// One good, then one of every kind of bad, then one good.
fn mixed() -> Vec<Record> {
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_200_000));
    vec![
        record("1", r#"{"n":1}"#),
        record("2", "{oops"),
        record("3", "[1,2]"),
        Record { key: None, value: Some(b"{}".to_vec()), ..Record::default() },
        Record { value: Some(vec![0xff, 0xfe]), headers: vec![("trace".into(), b"t1".to_vec())], ..record("4", "") },
        record("5", large),
        record("query", r#"{"n":1}"#),
        record("6", r#"{"n":6}"#),
    ]
}

#[test]
fn bad_records_are_put_aside_and_the_rest_goes_on() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("bad", 1, &[("max.message.bytes", "5000000")]).await;
        broker.produce(&topic, mixed()).await;
        let house = House::new();
        let server = house.start(&mapping(&topic, "Bad", "")).await;
        let objects = server.until("Bad", |objects| objects.contains_key("/db/Bad/6")).await;
        assert_eq!(objects.keys().collect::<Vec<_>>(), ["/db/Bad/1", "/db/Bad/6"]);
        server.process.until(&format!("tidegate_ingest_lag{{topic=\"{topic}\",bucket=\"Bad\"}}"), |lag| lag == 0.0).await;
        let status = status(&server);
        assert_eq!((status["records"].as_u64(), status["deadLetters"].as_u64()), (Some(8), Some(6)), "{status}");
        assert_eq!((status["state"].as_str(), status["partitions"][0]["offset"].as_i64()), (Some("running"), Some(8)), "{status}");
        let file = house.data().join("ingest").join(format!("{topic}.dead.jsonl"));
        let letters: Vec<Value> = std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut found: Vec<_> =
            letters.iter().map(|letter| (letter["offset"].as_i64().unwrap(), letter["code"].as_str().unwrap())).collect();
        found.sort_unstable();
        let offsets: Vec<_> = found.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [1, 2, 3, 4, 5, 6], "{found:?}");
        assert_eq!(found[0].1, "record-syntax");
        assert_eq!(found[5].1, "record-id");
        let by_offset = |offset: i64| letters.iter().find(|letter| letter["offset"] == offset).unwrap();
        assert_eq!((&by_offset(1)["key"], &by_offset(1)["value"]), (&json!("2"), &json!("{oops")));
        assert_eq!(by_offset(4)["value"], json!({"base64": "//4="}));
        assert_eq!(by_offset(4)["headers"], json!([["trace", "t1"]]));
        assert_eq!(by_offset(5)["cut"], json!(true));
        let shown = text(&ingest(&server, &["status"]).stdout);
        assert!(shown.contains(&topic) && shown.contains("dead letters 6") && shown.contains("running"), "{shown}");
    });
}

#[test]
fn a_letter_is_replayed_once_by_the_mapping_as_it_is_now() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("again", 2, &[("max.message.bytes", "5000000")]).await;
        let when = |key: &str, at: &str| Record { partition: Some(1), ..record(key, format!(r#"{{"at":{at}}}"#)) };
        let large = Record { partition: Some(1), ..record("big", format!(r#"{{"at":1,"text":"{}"}}"#, "y".repeat(1_500_000))) };
        broker.produce(&topic, [when("1", "1700000000000"), when("2", r#""soon""#), when("3", "1700000000001"), large]).await;
        let house = House::new();
        // Everything is wrong for this mapping …
        let wrong = "[ingest.types]\nat = \"iso-timestamp\"";
        let server = house.start(&mapping(&topic, "Again", wrong)).await;
        server
            .process
            .until(&format!("tidegate_ingest_dead_letters_total{{topic=\"{topic}\",bucket=\"Again\"}}"), |dead| dead == 4.0)
            .await;
        drop(server);
        // … and most of it right for that one.
        let right = "[ingest.types]\nat = \"timestamp-millis\"";
        let server = house.start(&format!("[store]\nobject_bytes = 2000000\n{}", mapping(&topic, "Again", right))).await;
        assert!(server.objects("Again").await.is_empty());
        let one = ingest(&server, &["replay", &topic, "--letter", "1:0"]);
        assert!(one.status.success(), "{one:?}");
        let objects = server.objects("Again").await;
        assert_eq!(objects["/db/Again/1"]["at"], "2023-11-14T22:13:20Z");
        let all = ingest(&server, &["replay", &topic, "--all"]);
        assert!(!all.status.success());
        let said = text(&all.stdout);
        assert!(said.contains("2 replayed, 1 had been before, 1 still dead") && said.contains("1:1"), "{said}");
        let objects = server.objects("Again").await;
        assert_eq!(objects.keys().collect::<Vec<_>>(), ["/db/Again/1", "/db/Again/3", "/db/Again/big"]);
        assert!(objects.values().all(|object| object["version"] == 1));
        let missing = ingest(&server, &["replay", &topic, "--letter", "0:7"]);
        assert!(!missing.status.success() && text(&missing.stderr).contains("0:7"), "{missing:?}");
        let other = ingest(&server, &["replay", "other", "--all"]);
        assert!(text(&other.stderr).contains("other"), "{other:?}");
    });
}

#[test]
fn letters_go_to_a_topic_where_the_mapping_says_so() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("post", 1, &[]).await;
        let dead = broker.topic("post-dead", 1, &[]).await;
        let bad = Record { headers: vec![("trace".into(), b"t1".to_vec())], ..record("2", "{oops") };
        broker.produce(&topic, [record("1", "{}"), bad, record("3", "{}")]).await;
        let house = House::new();
        let server = house.start(&mapping(&topic, "Post", &format!("dead_letter_topic = {dead:?}"))).await;
        server.until("Post", |objects| objects.len() == 2).await;
        let letters = broker.read(&dead).await;
        assert_eq!(letters.len(), 1);
        assert_eq!((letters[0].key(), letters[0].payload()), (Some(&b"2"[..]), Some(&b"{oops"[..])));
        let headers: Vec<_> =
            letters[0].headers().unwrap().iter().map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect();
        for (name, value) in [("trace", "t1"), ("tidegate-topic", &*topic), ("tidegate-offset", "1"), ("tidegate-code", "record-syntax")] {
            assert!(headers.contains(&(name.to_owned(), value.to_owned())), "{name} in {headers:?}");
        }
        let all = ingest(&server, &["replay", &topic, "--all", "--json"]);
        let done: Value = serde_json::from_slice(&all.stdout).unwrap();
        assert_eq!((&done["replayed"], &done["failed"], &done["failures"][0]["code"]), (&json!(0), &json!(1), &json!("record-syntax")));
    });
}
