//! What is in the topic, judged by a consumer that takes nothing on trust.

use crate::PARTITIONS;
use crate::load::Acknowledged;
use crate::support::PATIENCE;
use crate::support::kafka::{Broker, watermarks};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{Headers, Message, OwnedMessage};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A record as it stands in the topic.
#[derive(Debug)]
pub struct Told {
    pub partition: i32,
    pub offset: i64,
    pub log: String,
    pub commit: u64,
    pub after: u64,
    pub previous: u64,
    pub record: Value,
}

pub fn told(message: &OwnedMessage) -> Told {
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
pub async fn settled(broker: &Broker, topic: &str) -> Vec<OwnedMessage> {
    let ends = |isolation: &str| {
        let consumer: BaseConsumer = broker.client().set("isolation.level", isolation).create().unwrap();
        let end = |partition| watermarks(&consumer, topic, partition).1;
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
pub fn check_chain(messages: &[OwnedMessage]) -> Vec<Told> {
    let (all, repeats) = check_repeating(messages);
    assert_eq!(repeats, 0, "some records came again");
    all
}

/// The same, where a record may come again as readers recognise it: it names a commit that they have. And how often.
pub fn check_repeating(messages: &[OwnedMessage]) -> (Vec<Told>, usize) {
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

pub fn check_acknowledged(all: &[Told], acknowledged: &[Acknowledged]) {
    let commits: BTreeMap<u64, &Told> = all.iter().map(|told| (told.commit, told)).collect();
    for one in acknowledged {
        let told = commits.get(&one.commit).unwrap_or_else(|| panic!("{one:?} is not in the topic"));
        let payload = &told.record["payload"];
        assert_eq!(payload["id"], one.id);
        assert_eq!(payload["after"]["value"].as_u64(), one.value, "{one:?} is {told:?}");
    }
}
