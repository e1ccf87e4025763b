//! Plain JSON: key = id, value = object, null = delete.

use crate::harness::{House, mapping, record, tombstone};
use crate::support::live::LiveResult;
use crate::support::socket::{Socket, Terms};
use crate::support::{kafka, run};
use serde_json::json;
use std::io::{BufRead, BufReader};

#[test]
fn records_become_objects_and_live_events() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("orders", 2, &[]).await;
        broker.produce(&topic, [record("a/1", r#"{"n": 1, "state": "open"}"#), record("b", r#"{"n":2,"state":"open"}"#)]).await;
        let house = House::new();
        let server = house.start(&mapping(&topic, "Order", r#"read = "public""#)).await;
        let objects = server.until("Order", |objects| objects.len() == 2).await;
        assert_eq!(objects["/db/Order/a%2F1"]["n"], 1);
        assert_eq!(objects["/db/Order/b"]["version"], 1);
        let socket = Socket::connect(&server.process.url).await;
        let open = socket.subscribe("Order", r#"{"state":"open"}"#, &Terms::extended());
        open.answered().await;
        broker
            .produce(
                &topic,
                [
                    record("b", r#"{"n":3,"state":"open"}"#),
                    record("c", r#"{"n":4,"state":"open"}"#),
                    record("a/1", r#"{"n":5,"state":"shut"}"#),
                    tombstone("b"),
                ],
            )
            .await;
        let objects = server.until("Order", |objects| !objects.contains_key("/db/Order/b") && objects.len() == 2).await;
        server.until("Order", |objects| objects["/db/Order/a%2F1"]["n"] == 5).await;
        let end = server.root.query("Order", "{}").await.position().unwrap();
        open.reached(end).await;
        let live = LiveResult::after(&open.told()).unwrap();
        let left: Vec<_> = live.objects.keys().collect();
        assert_eq!(left, ["/db/Order/c"]);
        assert_eq!(live.objects["/db/Order/c"], objects["/db/Order/c"]);
    });
}

#[test]
fn the_bucket_is_closed_by_default_and_written_by_nobody_else() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("closed", 1, &[]).await;
        broker.produce(&topic, [record("1", r#"{"n":1}"#)]).await;
        let house = House::new();
        let server = house.start(&mapping(&topic, "Closed", "")).await;
        server.until("Closed", |objects| objects.len() == 1).await;
        let nobody = server.process.http();
        assert_eq!(nobody.query("Closed", "{}").await.status, 466);
        assert_eq!(nobody.load("Closed", "1").await.status, 466);
        for caller in [&nobody, &server.root] {
            let refused = [
                caller.put("Closed", "1", r#"{"n":2}"#, None).await,
                caller.insert("Closed", r#"{"n":2}"#).await,
                caller.delete("Closed", "1", None).await,
            ];
            for answer in refused {
                assert_eq!((answer.status, answer.json()["reason"].as_str()), (466, Some("bucket-ingested")), "{answer:?}");
            }
        }
        // Other buckets are nobody's business.
        assert_eq!(nobody.insert("Open", json!({"id": "/db/Open/1"}).to_string()).await.status, 201);
        // The mapping is the last word at every start.
        drop(server);
        let server = house.start(&mapping(&topic, "Closed", r#"read = "public""#)).await;
        assert_eq!(server.process.http().load("Closed", "1").await.json()["n"], 1);
        drop(server);
        let server = house.start(&mapping(&topic, "Closed", "")).await;
        assert_eq!(server.process.http().load("Closed", "1").await.status, 466);
    });
}

#[test]
fn a_closed_bucket_is_watched_with_a_token() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("watched", 1, &[]).await;
        let house = House::new();
        let server = house.start(&mapping(&topic, "Watched", "")).await;
        let origin = server.process.url.strip_suffix("/v1").unwrap().to_owned();
        let watch = |token: Option<&str>| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
            command.env_clear().args(["watch", "Watched", r#"{"n":{"$gt":1}}"#, "--json", "--count", "1", "--url", &origin]);
            command.envs(token.map(|token| ("TIDEGATE_TOKEN", token)));
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        let refused = watch(None).wait_with_output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let mut watching = watch(server.root.token());
        // It has its initial result, of which none of these is.
        let mut said = BufReader::new(watching.stderr.take().unwrap()).lines();
        assert!(said.by_ref().map_while(Result::ok).any(|line| line.contains("watching")), "it ended");
        broker.produce(&topic, [record("1", r#"{"n":1}"#), record("2", r#"{"n":2}"#)]).await;
        let output = watching.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let line: serde_json::Value = serde_json::from_slice(output.stdout.trim_ascii()).unwrap();
        assert_eq!((line["data"]["id"].as_str(), line["data"]["n"].as_u64()), (Some("/db/Watched/2"), Some(2)), "{line}");
    });
}
