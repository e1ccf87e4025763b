//! The server is killed, paused beside its successor, or silent for too long.

use crate::chain::{Told, check_acknowledged, check_chain, check_repeating, settled};
use crate::load::{BUCKET, Load};
use crate::support::kafka::{self, Broker};
use crate::support::server::{Process, fails};
use crate::support::{PATIENCE, run, setting};
use crate::{PARTITIONS, fresh, relayed, relaying};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

fn send(process: &Process, signal: Signal) {
    kill_process(Pid::from_raw(process.pid() as i32).unwrap(), signal).unwrap();
}

#[test]
fn nothing_is_lost_or_repeated_when_the_server_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (kafka::shared(), fresh("kill"));
    let data = directory.path().join("data");
    run(async {
        let mut acknowledged = Vec::new();
        let crashes = setting("TIDEGATE_CRASHES", 6);
        for crash in 0..crashes {
            let mut command = relaying(&data, broker, &topic);
            // At the other durability commit numbers jump behind a crash, and the chain goes over the gap.
            command.args(["--set", if crash % 3 == 1 { "store.durability=system" } else { "store.durability=disk" }]);
            let process = Process::start(command);
            let load = Load::start(&process.http(), "killed");
            // By the number of writes, not by time: somewhere in the middle of a transaction or between two.
            load.on(60 + crash * 37).await;
            process.kill();
            acknowledged.extend(load.end().await);
        }
        let process = Process::start(relaying(&data, broker, &topic));
        relayed(&process).await;
        assert_eq!(process.terminate().code(), Some(0));
        let all = check_chain(&broker.read(&topic).await);
        check_acknowledged(&all, &acknowledged);
        let gaps = all.windows(2).filter(|pair| pair[1].commit > pair[0].commit + 1).count();
        assert_eq!(gaps as u64, (crashes + 1) / 3);
        println!("{} records, {} acknowledged writes over {crashes} crashes", all.len(), acknowledged.len());
    });
}

#[test]
fn a_paused_server_that_wakes_beside_its_successor_writes_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (kafka::shared(), fresh("pause"));
    let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
    run(async {
        let old = Process::start(relaying(&data, broker, &topic));
        let load = Load::start(&old.http(), "old");
        load.on(200).await;
        send(&old, Signal::STOP);
        let stopped = Instant::now();
        // It is stopped, so its files stand still.
        let copied = Command::new("cp").arg("-r").arg(&data).arg(&copy).status().unwrap();
        assert!(copied.success());
        let successor = Process::start(relaying(&copy, broker, &topic));
        let second = Load::start(&successor.http(), "successor");
        second.on(200).await;
        let acknowledged = second.end().await;
        relayed(&successor).await;
        let taken_over = broker.read(&topic).await.len();
        let known = check_chain(&broker.read(&topic).await).iter().map(|told| told.commit).max().unwrap();

        // As long as nobody expects it back.
        tokio::time::sleep(Duration::from_secs(20).saturating_sub(stopped.elapsed())).await;
        send(&old, Signal::CONT);
        let http = old.http();
        let deadline = Instant::now() + PATIENCE;
        let refused = loop {
            let answer = http.put(BUCKET, "late", json!({"by": "old, late"}).to_string(), None).await;
            if answer.status != 200 {
                break answer;
            }
            assert!(Instant::now() < deadline, "it goes on taking writes that nobody will hear of");
        };
        assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("log-lost")));
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("another process has taken over"), "{message}");
        old.until("tidegate_relay_ended", |ended| ended == 1.0).await;
        load.end().await;
        // Reads go on.
        assert_eq!(http.query(BUCKET, "{}").await.status, 200);

        let third = Load::start(&successor.http(), "successor");
        third.on(50).await;
        let mut acknowledged = acknowledged;
        acknowledged.extend(third.end().await);
        relayed(&successor).await;
        let all = check_chain(&broker.read(&topic).await);
        check_acknowledged(&all, &acknowledged);
        assert!(all.len() > taken_over);
        let by = |told: &Told| told.record["payload"]["after"]["by"].as_str().unwrap_or("").to_owned();
        assert!(all.iter().all(|told| by(told) != "old, late"));
        assert!(all.iter().filter(|told| told.commit > known).all(|told| !by(told).starts_with("old")));
        // Started again it finds that others went on without it.
        old.kill();
        let (status, said) = fails(relaying(&data, broker, &topic));
        assert!(!status.success());
        assert!(said.contains("this store does not have"), "{said}");
        goes_on(&successor).await;
    });
}

/// Its log was not taken from it: what it is given now gets into the topic.
async fn goes_on(process: &Process) {
    // Who was fenced notices it with the first of them, and refuses the next.
    for n in 0..3 {
        let answer = process.http().put(BUCKET, "on", json!({"n": n}).to_string(), None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        relayed(process).await;
    }
    assert_eq!(process.metric("tidegate_relay_ended").await, Some(0.0));
}

#[test]
fn an_older_copy_of_the_data_directory_that_is_started_leaves_production_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (kafka::shared(), fresh("copy"));
    let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
    run(async {
        let production = Process::start(relaying(&data, broker, &topic));
        let load = Load::start(&production.http(), "before");
        load.on(100).await;
        let mut acknowledged = load.end().await;
        relayed(&production).await;
        assert_eq!(production.terminate().code(), Some(0));
        let copied = Command::new("cp").arg("-r").arg(&data).arg(&copy).status().unwrap();
        assert!(copied.success());

        let production = Process::start(relaying(&data, broker, &topic));
        let load = Load::start(&production.http(), "behind the copy");
        load.on(100).await;
        acknowledged.extend(load.end().await);
        relayed(&production).await;
        // At rest, and while it writes.
        for writing in [false, true] {
            let load = writing.then(|| Load::start(&production.http(), "meanwhile"));
            let (status, said) = fails(relaying(&copy, broker, &topic));
            assert!(!status.success() && said.contains("this store does not have"), "{said}");
            if let Some(load) = load {
                load.on(50).await;
                acknowledged.extend(load.end().await);
            }
            goes_on(&production).await;
        }
        let all = check_chain(&broker.read(&topic).await);
        check_acknowledged(&all, &acknowledged);
    });
}

/// As whoever takes a log over does it first.
async fn fence(broker: &Broker, log: &str) {
    let producer: BaseProducer = broker.client().set("transactional.id", format!("tidegate-{log}")).create().unwrap();
    tokio::task::spawn_blocking(move || producer.init_transactions(PATIENCE).unwrap()).await.unwrap();
}

#[test]
fn a_server_that_was_silent_for_too_long_goes_on_where_nobody_took_over() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (kafka::shared(), fresh("silent"));
    run(async {
        let mut command = relaying(&directory.path().join("data"), broker, &topic);
        command.args(["--set", r#"kafka.properties={"transaction.timeout.ms"="2000"}"#]);
        let process = Process::start(command);
        let load = Load::start(&process.http(), "silent");
        for _ in 0..2 {
            load.on(150).await;
            send(&process, Signal::STOP);
            // The brokers end its transaction meanwhile.
            tokio::time::sleep(Duration::from_secs(6)).await;
            send(&process, Signal::CONT);
        }
        load.on(150).await;
        // Fenced by somebody who claims nothing, as it is where brokers end a transaction for its age.
        let answer = process.http().put(BUCKET, "fence", "{}", None).await;
        let log = &answer.headers["tidegate-position"].to_str().unwrap()[..16];
        let retries = process.metric("tidegate_relay_retries_total").await.unwrap();
        let fence = || fence(broker, log);
        // Again where it was just opening a session of its own, which is the newer one then.
        let deadline = Instant::now() + PATIENCE;
        while process.metric("tidegate_relay_retries_total").await.unwrap() <= retries {
            assert!(Instant::now() < deadline, "it does not notice that it was fenced");
            fence().await;
            load.on(150).await;
        }
        load.on(150).await;
        let acknowledged = load.end().await;
        relayed(&process).await;
        process.until("tidegate_relay_up", |up| up == 1.0).await;
        let all = check_chain(&broker.read(&topic).await);
        check_acknowledged(&all, &acknowledged);
    });
}

/// Brokers lose track of transactions now and then, and such a one stays open for good. A relay that loses its producer meanwhile
/// cannot see what is behind it, and goes on all the same.
#[test]
fn a_transaction_that_never_ends_does_not_hold_the_relay_up() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (kafka::shared(), fresh("open"));
    run(async {
        let process = Process::start(relaying(&directory.path().join("data"), broker, &topic));
        let load = Load::start(&process.http(), "before");
        load.on(60).await;
        let mut acknowledged = load.end().await;
        let answer = process.http().put(BUCKET, "log", "{}", None).await;
        let log = &answer.headers["tidegate-position"].to_str().unwrap()[..16];
        relayed(&process).await;
        // For longer than anybody waits here.
        let open: BaseProducer = broker.client().set("transactional.id", &topic).set("transaction.timeout.ms", "900000").create().unwrap();
        let partitions = PARTITIONS as i32 + 1;
        let to = topic.clone();
        let open = tokio::task::spawn_blocking(move || {
            open.init_transactions(PATIENCE).unwrap();
            open.begin_transaction().unwrap();
            for partition in 0..partitions {
                open.send(BaseRecord::to(&to).partition(partition).key("app").payload("of a transaction that stays open")).unwrap();
            }
            open.flush(PATIENCE).unwrap();
            open
        });
        let open = open.await.unwrap();
        // Some of it is behind what is open when the producer is lost.
        let load = Load::start(&process.http(), "meanwhile");
        load.on(60).await;
        let deadline = Instant::now() + PATIENCE;
        let retries = process.metric("tidegate_relay_retries_total").await.unwrap();
        while process.metric("tidegate_relay_retries_total").await.unwrap() <= retries {
            assert!(Instant::now() < deadline, "it does not notice that it was fenced");
            fence(broker, log).await;
            load.on(30).await;
        }
        acknowledged.extend(load.end().await);
        relayed(&process).await;
        process.until("tidegate_relay_up", |up| up == 1.0).await;
        tokio::task::spawn_blocking(move || open.abort_transaction(PATIENCE).unwrap()).await.unwrap();
        let (all, repeats) = check_repeating(&settled(broker, &topic).await);
        check_acknowledged(&all, &acknowledged);
        println!("{} records, {} acknowledged writes, {repeats} repeats", all.len(), acknowledged.len());
    });
}

/// Finding out where hundreds of partitions end takes longer than any one answer of the brokers.
#[test]
fn a_log_of_many_partitions_is_gone_on_with_after_its_producer_was_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (broker, topic) = (kafka::shared(), fresh("many"));
    run(async {
        let mut command = relaying(&directory.path().join("data"), broker, &topic);
        command.args(["--set", "changelog.partitions=200"]);
        let process = Process::start(command);
        let put = async |n: u64| {
            let answer = process.http().put(BUCKET, &n.to_string(), json!({"n": n}).to_string(), None).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.headers["tidegate-position"].to_str().unwrap()[..16].to_owned()
        };
        let log = put(0).await;
        relayed(&process).await;
        let retries = process.metric("tidegate_relay_retries_total").await.unwrap();
        fence(broker, &log).await;
        put(1).await;
        process.until("tidegate_relay_retries_total", |now| now > retries).await;
        relayed(&process).await;
        process.until("tidegate_relay_up", |up| up == 1.0).await;
        let all = broker.read(&topic).await;
        let written = |n: usize| all.iter().filter(|record| record.key() == Some(format!("app/db/{BUCKET}/{n}").as_bytes())).count();
        assert_eq!((written(0), written(1)), (1, 1));
    });
}
