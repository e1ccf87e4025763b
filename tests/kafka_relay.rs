//! The change log in a topic of a real Kafka: every commit once, in order, each naming the one before it, whatever is
//! killed, paused or full meanwhile. What is in the topic is judged by a consumer that takes nothing on trust.
//!
//! `TIDEGATE_CRASHES` is how often the server is killed.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, Producer};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::http::Http;
use support::kafka::{self, Broker};
use support::server::{Process, fails, serve};
use support::{PATIENCE, run, setting};

const BUCKET: &str = "Relay";
const WRITERS: usize = 6;
const KEYS: u64 = 40;
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

/// What a writer was told is true.
#[derive(Debug, Clone)]
struct Acknowledged {
    commit: u64,
    id: String,
    /// None for a delete
    value: Option<u64>,
}

/// Writers that go on until they are stopped or get no answer.
struct Load {
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<Vec<Acknowledged>>>,
}

impl Load {
    fn start(http: &Http, by: &'static str) -> Load {
        let (next, stop) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let writers = (0..WRITERS).map(|_| tokio::spawn(write(http.clone(), by, next.clone(), stop.clone()))).collect();
        Load { next, stop, writers }
    }

    /// Until so many more writes have begun.
    async fn on(&self, more: u64) {
        let until = self.next.load(Ordering::Relaxed) + more;
        while self.next.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        all
    }
}

async fn write(http: Http, by: &'static str, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let value = next.fetch_add(1, Ordering::Relaxed);
        let path = format!("/db/{BUCKET}/{}", value % KEYS);
        let delete = value % 11 == 5;
        let request = if delete {
            http.request(Method::DELETE, &path)
        } else {
            let body = json!({"id": path, "value": value, "by": by, "text": "x".repeat(value as usize % 700)}).to_string();
            http.request(Method::PUT, &path).header("content-type", "application/json").body(body)
        };
        let Ok(answer) = http.try_send(request).await else { break };
        match answer.status {
            200 => all.push(Acknowledged { commit: answer.position().unwrap(), id: path, value: Some(value) }),
            // A delete of what is not there leaves no record, and which one it was is not told.
            204 => {}
            _ => break,
        }
    }
    all
}

/// A record as it stands in the topic.
#[derive(Debug)]
struct Told {
    partition: i32,
    offset: i64,
    log: String,
    commit: u64,
    after: u64,
    previous: u64,
    record: Value,
}

fn told(message: &OwnedMessage) -> Told {
    let headers: BTreeMap<&str, &str> =
        message.headers().unwrap().iter().map(|header| (header.key, std::str::from_utf8(header.value.unwrap()).unwrap())).collect();
    let number = |name: &str| headers[name].parse::<u64>().unwrap();
    let record: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
    let key = std::str::from_utf8(message.key().unwrap()).unwrap();
    let app = record["app"].as_str().unwrap();
    match record["payload"]["id"].as_str().filter(|_| record["kind"] == "object") {
        Some(id) => {
            assert_eq!(key, format!("{app}{id}"));
            assert_eq!(message.partition(), (crc32fast::hash(key.as_bytes()) % PARTITIONS) as i32 + 1, "{key}");
        }
        None => assert_eq!((key, message.partition()), (app, 0)),
    }
    assert_eq!(record["commit"], number("commit"));
    assert_eq!(message.timestamp().to_millis(), record["at"].as_i64());
    Told {
        partition: message.partition(),
        offset: message.offset(),
        log: headers["log"].to_owned(),
        commit: number("commit"),
        after: number("after"),
        previous: number("previous"),
        record,
    }
}

/// What the topic holds at rest: a broker that crashed ends the transactions that were open in its own time.
async fn settled(broker: &Broker, topic: &str) -> Vec<OwnedMessage> {
    let ends = |isolation: &str| {
        let consumer: BaseConsumer = broker.client().set("isolation.level", isolation).create().unwrap();
        let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1;
        (0..=PARTITIONS as i32).map(end).collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    while ends("read_committed") != ends("read_uncommitted") {
        assert!(Instant::now() < deadline, "a transaction stays open");
        // There is no event for it.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.read(topic).await
}

/// Every commit once and in order, each naming the one before it, in the whole log and in its partition.
fn check_chain(messages: &[OwnedMessage]) -> Vec<Told> {
    let (all, repeats) = check_repeating(messages);
    assert_eq!(repeats, 0, "some records came again");
    all
}

/// The same, where a record may come again as readers recognise it: it names a commit that they have. And how often.
fn check_repeating(messages: &[OwnedMessage]) -> (Vec<Told>, usize) {
    let (mut all, mut repeats) = (Vec::<Told>::new(), 0);
    let mut last: BTreeMap<i32, u64> = BTreeMap::new();
    // As they stand in their partitions.
    for told in messages.iter().map(told) {
        let before = last.get(&told.partition).copied().unwrap_or(0);
        if told.commit <= before {
            println!("again: partition {}, offset {}, commit {}", told.partition, told.offset, told.commit);
            let first = all.iter().find(|first| first.commit == told.commit).unwrap();
            assert_eq!((&first.record, first.after, first.previous), (&told.record, told.after, told.previous));
            repeats += 1;
            continue;
        }
        assert_eq!(told.previous, before, "in partition {}: {told:?}", told.partition);
        last.insert(told.partition, told.commit);
        all.push(told);
    }
    all.sort_by_key(|told| told.commit);
    for pair in all.windows(2) {
        assert_eq!(pair[1].after, pair[0].commit, "{pair:?}");
        assert_eq!(pair[1].log, pair[0].log);
    }
    // Images follow on each other: nothing was left out between two changes of one object.
    let mut objects: BTreeMap<String, Value> = BTreeMap::new();
    for told in all.iter().filter(|told| told.record["kind"] == "object") {
        let payload = &told.record["payload"];
        let id = payload["id"].as_str().unwrap();
        assert_eq!(objects.get(id).unwrap_or(&Value::Null), &payload["before"], "{told:?}");
        objects.insert(id.to_owned(), payload["after"].clone());
    }
    (all, repeats)
}

fn check_acknowledged(all: &[Told], acknowledged: &[Acknowledged]) {
    let commits: BTreeMap<u64, &Told> = all.iter().map(|told| (told.commit, told)).collect();
    for one in acknowledged {
        let told = commits.get(&one.commit).unwrap_or_else(|| panic!("{one:?} is not in the topic"));
        let payload = &told.record["payload"];
        assert_eq!(payload["id"], one.id);
        assert_eq!(payload["after"]["value"].as_u64(), one.value, "{one:?} is {told:?}");
    }
}

async fn relayed(process: &Process) {
    process.until("tidegate_relay_outbox_records", |waiting| waiting == 0.0).await;
}

fn send(process: &Process, signal: Signal) {
    kill_process(Pid::from_raw(process.pid() as i32).unwrap(), signal).unwrap();
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
        let root = process.http().login("root", support::server::PASSWORD).await;
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
        assert_eq!(old.metric("tidegate_relay_ended").await, Some(1.0));
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
    });
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
        let mut config = broker.client();
        let producer: BaseProducer = config.set("transactional.id", format!("tidegate-{log}")).create().unwrap();
        tokio::task::spawn_blocking(move || producer.init_transactions(PATIENCE).unwrap()).await.unwrap();
        process.until("tidegate_relay_retries_total", |now| now > retries).await;
        load.on(150).await;
        let acknowledged = load.end().await;
        relayed(&process).await;
        assert_eq!(process.metric("tidegate_relay_up").await, Some(1.0));
        let all = check_chain(&broker.read(&topic).await);
        check_acknowledged(&all, &acknowledged);
    });
}

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
        let load = Load::start(&process.http(), "while it lives and while it does not");
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
        assert_eq!(process.metric("tidegate_relay_up").await, Some(1.0));
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
            let load = Load::start(&process.http(), "both");
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
async fn relayed_once(process: &Process) {
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
        let root = http.login("root", support::server::PASSWORD).await;
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

#[test]
fn topics_that_would_lose_changes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let broker = kafka::shared();
    let partitions = PARTITIONS as i32 + 1;
    run(async {
        let right = [("max.message.bytes", "10000000")];
        let cases: [(&str, i32, &[(&str, &str)], &str); 5] = [
            ("compact", partitions, &[right[0], ("cleanup.policy", "compact")], "cleanup.policy = compact"),
            ("both", partitions, &[right[0], ("cleanup.policy", "compact,delete")], "cleanup.policy = compact,delete"),
            ("unclean", partitions, &[right[0], ("unclean.leader.election.enable", "true")], "unclean.leader.election.enable = true"),
            ("small", partitions, &[], "max.message.bytes = 1048588"),
            ("few", partitions - 1, &right, "partitions = 3"),
        ];
        for (name, partitions, settings, expected) in cases {
            let topic = broker.topic(name, partitions, settings).await;
            let (status, said) = fails(relaying(&directory.path().join(name), broker, &topic));
            assert!(!status.success());
            assert!(said.contains(expected) && said.contains(&topic), "{said}");
        }
        // One that is right is taken, and what was made here is right.
        let topic = broker.topic("right", partitions, &right).await;
        assert_eq!(Process::start(relaying(&directory.path().join("right"), broker, &topic)).terminate().code(), Some(0));
        // It is that store's now.
        let (status, said) = fails(relaying(&directory.path().join("other"), broker, &topic));
        assert!(!status.success());
        assert!(said.contains("change log of another store") && said.contains(&topic), "{said}");
        let elsewhere = broker.topic("letters", partitions, &right).await;
        broker.produce(&elsewhere, [kafka::Record::new("a", "b")]).await;
        let (status, said) = fails(relaying(&directory.path().join("letters"), broker, &elsewhere));
        assert!(!status.success());
        assert!(said.contains("not of this store's change log"), "{said}");
    });
}

#[test]
fn a_broker_that_does_not_answer_is_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    let address = format!("127.0.0.1:{}", kafka::free_port());
    command.arg("--changelog").arg(format!("kafka://{address}/nowhere"));
    let began = Instant::now();
    let (status, said) = fails(command);
    assert!(!status.success());
    assert!(said.contains("no Kafka broker answers") && said.contains(&address), "{said}");
    assert!(began.elapsed() < Duration::from_secs(40));
    // Nothing was noted: the directory is as good as new for another log.
    assert!(!directory.path().join("data/format").exists());
}

#[test]
fn another_place_is_another_log_and_begins_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (broker, topic) = (kafka::shared(), fresh("begin"));
    run(async {
        let process = Process::start(serve(&data));
        let before = process.http().put(BUCKET, "1", r#"{"n":1}"#, None).await;
        assert_eq!(process.terminate().code(), Some(0));
        let process = Process::start(relaying(&data, broker, &topic));
        let after = process.http().put(BUCKET, "1", r#"{"n":2}"#, None).await;
        let log = |answer: &support::http::Answer| answer.headers["tidegate-position"].to_str().unwrap()[..16].to_owned();
        assert_ne!(log(&before), log(&after));
        relayed(&process).await;
        assert_eq!(process.terminate().code(), Some(0));
        let all: Vec<Told> = broker.read(&topic).await.iter().map(told).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].commit, all[0].after, all[0].previous), (after.position().unwrap(), before.position().unwrap(), 0));
        assert_eq!(all[0].log, log(&after));
        // Back in the store for a while, the topic has a hole in it: it is not taken up again.
        let process = Process::start(serve(&data));
        assert_ne!(log(&process.http().put(BUCKET, "1", r#"{"n":3}"#, None).await), log(&after));
        assert_eq!(process.terminate().code(), Some(0));
        let (status, said) = fails(relaying(&data, broker, &topic));
        assert!(!status.success());
        assert!(said.contains("change log of another store"), "{said}");
        // And a refused start changes nothing.
        let process = Process::start(serve(&data));
        assert_eq!(process.http().load(BUCKET, "1").await.json()["n"], 3);
    });
}
