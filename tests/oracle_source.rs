//! The oracle with Kafka as source: random objects as records of plain JSON in a topic, standing queries that come, are cut and
//! come back while they arrive. The truth is the topic alone: each key's records in their order.
//!
//! Who was there from the beginning must be told of each object exactly what its records say, event by event; everybody's
//! live result must be, at the end, what the topic says and what the one-shot query answers.
//!
//! `TIDEGATE_CASES` is the number of queries in all, in rounds of 40 with 400 records each; `TIDEGATE_SEED` is what
//! everything is generated from. In what order partitions come is free.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "oracle/generate.rs"]
mod generate;
mod support;

use bytes::Bytes;
use dataflows::change::Image;
use dataflows::document::{DateFields, DocumentLimits};
use dataflows::query::{Filter, QueryLimits};
use generate::Generator;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::Value;
use std::collections::BTreeMap;
use support::kafka::{Record, shared};
use support::live::{LiveResult, by_id, id_of};
use support::socket::{Socket, Subscription, Terms, Told};
use support::{run, server, setting};
use tidegate::config::{IngestOptions, IngestRead};

const QUERIES: usize = 40;
const RECORDS: usize = 400;
/// Keys as a producer has them, and as they stand in ids.
const KEYS: [(&str, &str); 9] =
    [("1", "1"), ("2", "2"), ("3", "3"), ("4", "4"), ("5", "5"), ("six", "six"), ("a/b", "a%2Fb"), ("ß", "%C3%9F"), ("x y", "x%20y")];

/// A record: which key, and the object that is there afterwards, as JSON.
type Write = (usize, Option<String>);

/// What the topic says of one key: the states one after the other, none for no object.
fn states(writes: &[Write], key: usize) -> Vec<Option<&str>> {
    let mut states = vec![None];
    states.extend(writes.iter().filter(|(of, _)| *of == key).map(|(_, object)| object.as_deref()));
    // The same again is no change.
    states.dedup();
    states
}

/// Whether an object is in the result of a query.
fn is_in(filter: &Filter, bucket: &str, key: usize, object: Option<&str>) -> bool {
    let Some(object) = object else { return false };
    let text = format!(r#"{{"id":"/db/{bucket}/{}","version":1{}"#, KEYS[key].1, if object == "{}" { "}" } else { "," });
    let text = if object == "{}" { text } else { text + &object[1..] };
    let image = Image::parse(Bytes::from(text), &DateFields::default(), DocumentLimits::default()).unwrap();
    filter.matches(&image.document)
}

/// The fields of an object as the server gives it, without its own.
fn fields(object: &Value) -> Value {
    let mut object = object.as_object().unwrap().clone();
    object.retain(|name, _| !["id", "version", "acl", "createdAt", "updatedAt"].contains(&name.as_str()));
    Value::Object(object)
}

/// What somebody who was there from the beginning is told of one object: kind of match, fields.
fn expected(filter: &Filter, bucket: &str, writes: &[Write], key: usize) -> Vec<(&'static str, Option<Value>)> {
    let states = states(writes, key);
    let within: Vec<bool> = states.iter().map(|state| is_in(filter, bucket, key, *state)).collect();
    let step = |at: usize| {
        let object = || states[at].map(|object| serde_json::from_str(object).unwrap());
        match (within[at - 1], within[at]) {
            (false, false) => None,
            (false, true) => Some(("add", object())),
            (true, true) => Some(("change", object())),
            (true, false) => Some(("remove", object())),
        }
    };
    (1..states.len()).filter_map(step).collect()
}

fn told(told: &[Told], id: &str) -> Vec<(String, Option<Value>)> {
    let event = |told: &Told| match told {
        Told::Event { match_type, operation, data, .. } if data["id"] == *id => {
            Some((match_type.clone(), (operation != "delete").then(|| fields(data))))
        }
        _ => None,
    };
    told.iter().filter_map(event).collect()
}

/// A subscription with what was said before it was cut.
struct Asked {
    filter: Filter,
    query: String,
    before: Vec<Told>,
    subscription: Subscription,
    from_the_beginning: bool,
}

async fn round(base: &str, bucket: &str, topic: &str, seed: u64) -> usize {
    let mut generator = Generator::new(seed);
    let mut writes: Vec<Write> = Vec::new();
    for _ in 0..RECORDS {
        let key = generator.random().random_range(0..KEYS.len());
        let last = writes.iter().rev().find(|(of, _)| *of == key).and_then(|(_, object)| object.clone());
        let object = match generator.random().random_range(0..12) {
            0 | 1 => None,
            2 => last,
            _ => Some(generator.document()),
        };
        writes.push((key, object));
    }
    let mut queries = vec!["{}".to_owned()];
    while queries.len() < QUERIES {
        let query = generator.query();
        if Filter::parse(&query, &QueryLimits::default()).is_ok() {
            queries.push(query);
        }
    }

    let (socket, mut shaky) = (Socket::connect(base).await, Socket::connect(base).await);
    let mut asked: Vec<Asked> = Vec::new();
    let mut ask = |asked: &mut Vec<Asked>, socket: &Socket, query: &str, from_the_beginning: bool| {
        let subscription = socket.subscribe(bucket, query, &Terms::extended());
        let filter = Filter::parse(query, &QueryLimits::default()).unwrap();
        asked.push(Asked { filter, query: query.to_owned(), before: Vec::new(), subscription, from_the_beginning });
    };
    let half = queries.len() / 2;
    for (number, query) in queries[..half].iter().enumerate() {
        ask(&mut asked, if number % 4 == 3 { &shaky } else { &socket }, query, true);
    }
    for asked in &asked {
        asked.subscription.answered().await;
    }
    let mut later = queries[half..].iter();
    for (number, part) in writes.chunks(RECORDS / 8).enumerate() {
        let record = |(key, object): &Write| Record {
            key: Some(KEYS[*key].0.into()),
            value: object.clone().map(String::into_bytes),
            ..Record::default()
        };
        shared().produce(topic, part.iter().map(record)).await;
        // While these are on their way.
        for query in later.by_ref().take(queries.len() / 16 + 1) {
            ask(&mut asked, &socket, query, false);
        }
        if number == 4 {
            shaky.cut().await;
            shaky = Socket::connect(base).await;
            for (number, asked) in asked.iter_mut().enumerate().filter(|(number, _)| *number < half && number % 4 == 3) {
                let position = asked.subscription.last_position();
                assert!(position.is_some(), "{number}");
                asked.before.extend(asked.subscription.told());
                asked.subscription = shaky.subscribe(bucket, &asked.query, &Terms { position, ..Terms::extended() });
            }
        }
    }

    // The first query is of everything: when it was told all, all is there.
    let all: usize = (0..KEYS.len()).map(|key| expected(&asked[0].filter, bucket, &writes, key).len()).sum();
    let events = |told: &[Told]| told.iter().filter(|told| matches!(told, Told::Event { .. })).count();
    let last = asked[0].subscription.until("all records", |told| events(told) >= all).await;
    let last = last.iter().filter_map(Told::position).max().unwrap();
    let http = support::http::Http::new(base);
    let mut judged = 0;
    for asked in &asked {
        let mut said = asked.before.clone();
        said.extend(asked.subscription.reached(last).await);
        let what = format!("{} on {bucket}", asked.query);
        let live = LiveResult::after(&said).unwrap_or_else(|fault| panic!("{what}: {fault}"));
        let truth: BTreeMap<String, Value> = (0..KEYS.len())
            .filter_map(|key| {
                let last = *states(&writes, key).last().unwrap();
                is_in(&asked.filter, bucket, key, last)
                    .then(|| (format!("/db/{bucket}/{}", KEYS[key].1), serde_json::from_str(last.unwrap()).unwrap()))
            })
            .collect();
        let found: BTreeMap<String, Value> = live.objects.values().map(|object| (id_of(object), fields(object))).collect();
        assert_eq!(found, truth, "{what}: at the end");
        let answer = http.query(bucket, &asked.query).await;
        assert_eq!(by_id(answer.json().as_array().unwrap()).unwrap(), live.objects, "{what}: asked once");
        // A result in the middle, as who comes back may get, stands for the events before it.
        if asked.from_the_beginning && live.refreshes == 0 {
            for key in 0..KEYS.len() {
                let found = told(&said, &format!("/db/{bucket}/{}", KEYS[key].1));
                let found: Vec<_> = found.iter().map(|(match_type, object)| (&**match_type, object.clone())).collect();
                let expected = expected(&asked.filter, bucket, &writes, key);
                judged += expected.len();
                assert_eq!(found, expected, "{what}: {}", KEYS[key].0);
            }
        }
    }
    judged
}

fn rounds(partitions: i32, workers: usize, columns: usize) {
    let seed = setting("TIDEGATE_SEED", 1);
    let cases = setting("TIDEGATE_CASES", if cfg!(debug_assertions) { 240 } else { 960 });
    let rounds = (cases / (2 * QUERIES as u64)).max(1);
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let mut config = server::config(directory.path());
        (config.engine.workers, config.engine.columns) = (workers, columns);
        config.live.ping_seconds = 1;
        config.kafka.brokers = shared().address();
        let mut topics = Vec::new();
        for round in 0..rounds {
            let topic = shared().topic("oracle", partitions, &[]).await;
            config.ingest.push(IngestOptions { read: IngestRead::Public, ..IngestOptions::new(&topic, &format!("Bucket{round}")) });
            topics.push(topic);
        }
        let server = server::start(config).await;
        let mut judged = 0;
        for (round, topic) in topics.iter().enumerate() {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add((round * 10 + partitions as usize) as u64);
            println!("{partitions} partitions, round {round}, TIDEGATE_SEED={}", setting("TIDEGATE_SEED", 1));
            judged += self::round(&server.url(), &format!("Bucket{round}"), topic, seed).await;
        }
        server.shutdown().await.unwrap();
        println!("{partitions} partitions, {rounds} rounds: {judged} events as the topic has them");
        assert!(judged > 500 * rounds as usize, "too little was judged: {judged}");
    });
}

#[test]
fn live_results_are_what_a_topic_of_one_partition_says() {
    rounds(1, 1, 1);
}

#[test]
fn live_results_are_what_a_topic_of_four_partitions_says() {
    rounds(4, 2, 2);
}
