//! The oracle with Kafka as source: see `tests/oracle.rs`. What the writers do there stands here as records of a topic, plain JSON, in
//! one partition and in several; a real broker runs beside it.
//!
//! Nobody is answered, so what was committed is read from the change log. That must be, object by object, what the topic says: the
//! records of a key in their order, a tombstone of what is not there being nothing. Then every message of every subscription is
//! judged against it, and every one-shot answer.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "oracle/declared.rs"]
mod declared;
#[path = "oracle/generate.rs"]
mod generate;
#[path = "oracle/plan.rs"]
#[allow(dead_code)] // who writes what the HTTP API refuses is of no concern here
mod plan;
#[path = "oracle/round.rs"]
#[allow(dead_code)]
mod round;
mod support;
#[path = "oracle/verify.rs"]
mod verify;

use plan::{Op, PEOPLE, Plan, QUERIES, What};
use rdkafka::message::Message;
use round::{Arena, Score};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::history::{History, State};
use support::kafka::{self, Record};
use support::people::Person;
use support::socket::{Socket, Terms, Told};
use support::{run, server, setting};
use tidegate::config::{IngestOptions, IngestRead};
use tidegate::server::Server;
use tokio::sync::watch;

/// What is written last: each is alone in its round.
const LAST: &str = r#"{"last":true}"#;

fn rounds(partitions: i32) {
    let seed = setting("TIDEGATE_SEED", 1);
    let cases = (setting("TIDEGATE_CASES", if cfg!(debug_assertions) { 240 } else { 720 }) / (2 * QUERIES as u64)).max(1);
    run(async {
        let mut score = Score::default();
        for round in 0..cases {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(round * 100 + partitions as u64);
            let told = OnPanic(format!("round {round} of {partitions} partitions, TIDEGATE_SEED={}", setting("TIDEGATE_SEED", 1)));
            score.add(&play(&Plan::new(seed, "Source", false), partitions).await);
            drop(told);
        }
        println!("{partitions} partitions, {cases} rounds: {score:?}");
        score.check_that_it_judged(cases as usize);
    });
}

async fn play(plan: &Plan, partitions: i32) -> Score {
    let broker = kafka::shared();
    let topic = broker.topic("oracle-source", partitions, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let mut config = server::config(directory.path());
    // Subscriptions to which nothing comes are told how far they are so often.
    config.live.ping_seconds = 1;
    config.kafka.brokers = broker.address();
    config.ingest = vec![IngestOptions { read: IngestRead::Public, ..IngestOptions::new(&topic, &plan.bucket) }];
    let server = server::start(config).await;
    let mut people = Vec::new();
    for (user, roles) in &PEOPLE {
        people.push(match user {
            Some(user) => Person::enrolled(&server, user, roles).await,
            None => Person::anonymous(),
        });
    }
    let arena = Arena::new(&server.url(), people);
    let (progress, writes) = watch::channel(0);
    let producing = tokio::spawn({
        let (topic, writers) = (topic.clone(), plan.writers.clone());
        async move {
            // The writers take turns, a few records at a time; a key is always of one partition.
            let longest = writers.iter().map(Vec::len).max().unwrap_or(0);
            let turns = (0..longest).flat_map(|turn| writers.iter().filter_map(move |ops| ops.get(turn)));
            let all: Vec<Record> = turns.map(record).collect();
            for some in all.chunks(5) {
                broker.produce(&topic, some.iter().cloned()).await;
                progress.send_modify(|count| *count += some.len());
            }
        }
    });
    let written = async {
        producing.await.unwrap();
        taken_in(&server, &topic, plan, partitions).await;
        (History::logged(changes(&server, &plan.bucket).await), 0)
    };
    let (score, history) = round::observe(&arena, plan, writes, written).await;
    compare(&broker.read(&topic).await, &history);
    server.shutdown().await.unwrap();
    score
}

/// A write as a record: an object without what is ours, or a tombstone.
fn record(op: &Op) -> Record {
    let key = percent_encoding::percent_decode_str(op.key).collect::<Vec<u8>>();
    match &op.what {
        What::Insert(object) | What::Put(object, _) => {
            let mut object: Value = serde_json::from_str(object).unwrap();
            for ours in ["id", "acl"] {
                object.as_object_mut().unwrap().remove(ours);
            }
            Record::new(key, object.to_string())
        }
        What::Delete(_) => Record::tombstone(key),
    }
}

/// Until all is taken in: one last record in each partition, then the marker of the round.
async fn taken_in(server: &Server, topic: &str, plan: &Plan, partitions: i32) {
    let socket = Socket::connect(&server.url()).await;
    let last = socket.subscribe(&plan.bucket, LAST, &Terms { extensions: true, ..Terms::default() });
    let events = |count: usize| move |told: &[Told]| told.iter().filter(|told| matches!(told, Told::Event { .. })).count() == count;
    let of = |partition: i32| {
        let text = json!({"last": true, "tag": "last"}).to_string();
        Record { partition: Some(partition), ..Record::new(format!("last-{partition}"), text) }
    };
    kafka::shared().produce(topic, (0..partitions).map(of)).await;
    last.wait("the last record of each partition", events(partitions as usize)).await;
    let marker = json!({"marker": true, "last": true, "tag": "tag-marker-"}).to_string();
    kafka::shared().produce(topic, [Record::new("marker", marker)]).await;
    last.wait("the marker", events(partitions as usize + 1)).await;
}

async fn changes(server: &Server, bucket: &str) -> Vec<std::sync::Arc<dataflows::change::Change>> {
    let log = server.changelog();
    let (mut at, mut changes) = (log.oldest(), Vec::new());
    assert_eq!(at.commit(), 0, "the log was trimmed, it cannot be compared");
    loop {
        let batch = log.read(at.clone(), 1 << 20).await.unwrap();
        if batch.through == at {
            return changes;
        }
        at = batch.through;
        changes.extend(batch.changes.into_iter().filter(|change| *change.bucket == *bucket));
    }
}

/// The log has what the topic says, object by object.
fn compare(records: &[rdkafka::message::OwnedMessage], history: &History) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut said: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
    for record in records {
        let states = said.entry(text(record.key().unwrap())).or_default();
        let value: Option<Value> = record.payload().map(|value| serde_json::from_slice(value).unwrap());
        if value.is_some() || states.last().is_some_and(Option::is_some) {
            states.push(value);
        }
    }
    let mut logged: BTreeMap<String, Vec<Option<Value>>> = BTreeMap::new();
    let fields = |state: &State| {
        let mut object = state.json.clone();
        let fields = object.as_object_mut().unwrap();
        for ours in ["id", "acl", "version", "createdAt", "updatedAt"] {
            fields.remove(ours);
        }
        object
    };
    for commit in history.commits.values() {
        let key = commit.id.rsplit('/').next().unwrap();
        let key = percent_encoding::percent_decode_str(key).decode_utf8().unwrap().into_owned();
        logged.entry(key).or_default().push(commit.after.as_deref().map(fields));
    }
    said.retain(|_, states| !states.is_empty());
    assert_eq!(logged.keys().collect::<Vec<_>>(), said.keys().collect::<Vec<_>>());
    for (key, states) in &said {
        assert_eq!(logged[key], *states, "what became of {key}");
    }
}

/// Says where a failure was.
struct OnPanic(String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it failed in {}", self.0);
        }
    }
}

#[test]
fn live_results_are_what_a_topic_of_one_partition_says() {
    rounds(1);
}

#[test]
fn live_results_are_what_a_topic_of_several_partitions_says() {
    rounds(3);
}
