//! The brokers are killed, hang, or are away until the outbox is full.

use crate::chain::{check_acknowledged, check_chain, check_repeating, settled};
use crate::load::{BUCKET, Load};
use crate::support::kafka::Broker;
use crate::support::server::{PASSWORD, Process};
use crate::support::{run, setting};
use crate::{fresh, relayed, relaying};
use serde_json::json;
use std::time::Duration;

/// Of each of the writers while brokers are away and come back.
const REST: Duration = Duration::from_millis(4);

#[test]
fn writes_go_on_while_the_broker_is_dead_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (Broker::start(), fresh("broker"));
    run(async {
        let data = directory.path().join("data");
        let start = || {
            let mut command = relaying(&data, &broker, &topic);
            // So that the outages last longer than a transaction may.
            command.args(["--set", r#"kafka.properties={"transaction.timeout.ms"="4000"}"#]);
            Process::start(command)
        };
        let process = start();
        let load = Load::paced(&process.http(), "while it lives and while it does not", REST);
        load.on(150).await;
        broker.kill();
        load.on(400).await;
        process.until("tidegate_relay_outbox_records", |waiting| waiting > 300.0).await;
        broker.restart();
        relayed_once(&process).await;
        // It hangs, and its connections stay open.
        load.on(150).await;
        broker.pause();
        process.until("tidegate_relay_up", |up| up == 0.0).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        broker.resume();
        relayed_once(&process).await;
        // It is away for longer than a transaction may take, and the server ends before it comes back.
        load.on(150).await;
        broker.kill();
        process.until("tidegate_relay_up", |up| up == 0.0).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let acknowledged = load.end().await;
        let ended = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
        assert_eq!(ended.code(), Some(0));
        broker.restart();
        let process = start();
        relayed(&process).await;
        process.until("tidegate_relay_up", |up| up == 1.0).await;
        let (all, repeats) = check_repeating(&settled(&broker, &topic).await);
        check_acknowledged(&all, &acknowledged);
        println!("{} records, {} acknowledged writes, {repeats} repeats", all.len(), acknowledged.len());
    });
}

#[test]
fn nothing_is_lost_when_broker_and_server_are_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (Broker::start(), fresh("both"));
    let data = directory.path().join("data");
    run(async {
        let mut acknowledged = Vec::new();
        let crashes = setting("TIDEGATE_CRASHES", 4);
        for crash in 0..=crashes {
            let mut command = relaying(&data, &broker, &topic);
            command.args(["--set", r#"kafka.properties={"transaction.timeout.ms"="4000"}"#]);
            let process = Process::start(command);
            if crash == crashes {
                relayed(&process).await;
                break;
            }
            let load = Load::paced(&process.http(), "both", REST);
            load.on(100 + crash * 13).await;
            broker.kill();
            if crash % 3 == 0 {
                process.kill();
            } else {
                // For longer than a transaction may take; then the server ends in order, or it does not.
                process.until("tidegate_relay_up", |up| up == 0.0).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
                let end = move || {
                    if crash % 3 == 1 {
                        assert_eq!(process.terminate().code(), Some(0));
                    } else {
                        process.kill();
                    }
                };
                tokio::task::spawn_blocking(end).await.unwrap();
            }
            acknowledged.extend(load.end().await);
            broker.restart();
        }
        let (all, repeats) = check_repeating(&settled(&broker, &topic).await);
        check_acknowledged(&all, &acknowledged);
        println!("{} records, {} acknowledged writes, {repeats} repeats over {crashes} crashes", all.len(), acknowledged.len());
    });
}

/// The brokers take changes again.
pub async fn relayed_once(process: &Process) {
    let before = process.metric("tidegate_relay_transactions_total").await.unwrap();
    process.until("tidegate_relay_transactions_total", |now| now > before).await;
}

#[test]
fn past_the_cap_writes_are_refused_until_the_brokers_are_back() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (Broker::start(), fresh("cap"));
    run(async {
        let mut command = relaying(&directory.path().join("data"), &broker, &topic);
        command.args(["--set", "changelog.outbox_bytes=100000"]);
        let process = Process::start(command);
        let http = process.http();
        assert_eq!(http.put(BUCKET, "before", r#"{"n":1}"#, None).await.status, 200);
        relayed(&process).await;
        broker.kill();
        let text = json!({"text": "y".repeat(1_000)}).to_string();
        let mut taken = 0;
        let refused = loop {
            let answer = http.put(BUCKET, &format!("cap-{taken}"), text.clone(), None).await;
            if answer.status != 200 {
                break answer;
            }
            taken += 1;
            assert!(taken < 1_000, "nothing is refused");
        };
        assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("outbox-full")));
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("have not taken changes since 2"), "{message}");
        assert!(taken > 50, "{taken}");
        // Schemas are changes too; reads are not.
        let root = http.login("root", PASSWORD).await;
        let schema = root.post("/schema", json!({"class": "/db/Late", "fields": {}}).to_string()).await;
        assert_eq!((schema.status, &schema.json()["reason"]), (503, &json!("outbox-full")));
        assert_eq!(http.load(BUCKET, "before").await.status, 200);
        broker.restart();
        relayed(&process).await;
        let answer = http.put(BUCKET, "after", r#"{"n":2}"#, None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        relayed(&process).await;
        let all = check_chain(&broker.read(&topic).await);
        assert!(all.iter().any(|told| told.commit == answer.position().unwrap()));
        // What was taken before the cap, the first and the last, is there.
        let count = all.iter().filter(|told| told.record["payload"]["id"].as_str().is_some_and(|id| id.contains("cap-"))).count();
        assert_eq!(count, taken);
    });
}
