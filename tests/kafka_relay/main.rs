//! The change log in a topic of a real Kafka: every commit once, in order, each naming the one before it, whatever is
//! killed, paused or full meanwhile. What is in the topic is judged by a consumer that takes nothing on trust.
//!
//! `TIDEGATE_CRASHES` is how often the server is killed.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod chain;
mod crashes;
mod load;
mod outages;
mod places;
#[path = "../support/mod.rs"]
mod support;

use chain::{check_acknowledged, check_chain};
use load::{BUCKET, Load};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use support::kafka::{self, Broker};
use support::run;
use support::server::{PASSWORD, Process, serve};

/// Partitions for changes.
const PARTITIONS: u32 = 3;

/// A name that no other topic has.
fn fresh(name: &str) -> String {
    format!("{name}-{:08x}", rand::random::<u32>())
}

/// A server whose log is in that topic.
fn relaying(data: &Path, broker: &Broker, topic: &str) -> Command {
    let mut command = serve(data);
    command.arg("--changelog").arg(format!("kafka://{}/{topic}", broker.address()));
    command.args(["--set", &format!("changelog.partitions={PARTITIONS}")]);
    command
}

async fn relayed(process: &Process) {
    process.until("tidegate_relay_outbox_records", |waiting| waiting == 0.0).await;
}

#[test]
fn every_commit_is_in_the_topic_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (kafka::shared(), fresh("order"));
    run(async {
        let process = Process::start(relaying(&directory.path().join("data"), broker, &topic));
        let load = Load::start(&process.http(), "one");
        load.on(300).await;
        // A control record among them.
        let root = process.http().login("root", PASSWORD).await;
        let answer = root.post("/schema", json!({"class": "/db/Declared", "fields": {}}).to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        load.on(300).await;
        let acknowledged = load.end().await;
        let answer = process.http().delete(BUCKET, "1", None).await;
        assert!(answer.status < 300 || answer.status == 404, "{answer:?}");
        relayed(&process).await;
        assert_eq!(process.terminate().code(), Some(0));
        let all = check_chain(&broker.read(&topic).await);
        check_acknowledged(&all, &acknowledged);
        assert_eq!(all[0].after, 0);
        assert!(all.iter().any(|told| told.record["kind"] == "schema"));
        for partition in 1..=PARTITIONS as i32 {
            assert!(all.iter().any(|told| told.partition == partition));
        }
        println!("{} records, {} acknowledged writes", all.len(), acknowledged.len());
    });
}
