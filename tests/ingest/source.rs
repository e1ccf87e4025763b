//! Topics as they really are: not there yet, growing, trimmed, made anew, transactional.

use crate::harness::{House, Server, mapping, record};
use crate::support::http::Http;
use crate::support::kafka::{self, Broker, Record};
use crate::support::live::{self, LiveResult};
use crate::support::people::Person;
use crate::support::server::{PASSWORD, config, start};
use crate::support::socket::{Socket, Terms};
use crate::support::{PATIENCE, run};
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::time::{Duration, Instant};
use tidegate::config::IngestOptions;

/// The status of the only topic, as the listener of administration tells it.
pub async fn status(server: &Server) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{}/ingest", server.process.admin));
    let token = server.root.token().unwrap();
    let answer = request.header("authorization", format!("BAT {token}")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["topics"][0].clone()
}

pub async fn until(server: &Server, right: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = status(server).await;
        if right(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "it stays at {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn numbered(keys: std::ops::Range<u32>) -> impl Iterator<Item = Record> {
    keys.map(|n| record(&n.to_string(), format!(r#"{{"n":{n}}}"#)))
}

async fn grow(broker: &Broker, topic: &str, partitions: usize) {
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    broker.admin().create_partitions([&NewPartitions::new(topic, partitions)], &options).await.unwrap();
}

/// Deletes a topic and makes it again.
pub async fn make_anew(broker: &Broker, topic: &str, partitions: i32) {
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    broker.admin().delete_topics(&[topic], &options).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let consumer: BaseConsumer = broker.client().create().unwrap();
    while consumer.fetch_metadata(None, PATIENCE).unwrap().topics().iter().any(|known| known.name() == topic) {
        assert!(Instant::now() < deadline, "the topic is still there");
    }
    broker.make_topic(topic, partitions, &[]).await;
}

#[test]
fn a_topic_may_come_later_and_grow() {
    run(async {
        let broker = kafka::shared();
        let topic = format!("later-{:x}", rand::random::<u64>());
        let house = House::new();
        let server = house.start(&mapping(&topic, "Later", "")).await;
        let waiting = until(&server, |status| !status["lastError"].is_null()).await;
        assert_eq!(waiting["state"], "waiting");
        assert!(waiting["lastError"]["message"].as_str().unwrap().contains("there is no topic"), "{waiting}");
        broker.make_topic(&topic, 1, &[]).await;
        broker.produce(&topic, numbered(0..10)).await;
        server.until("Later", |objects| objects.len() == 10).await;
        grow(broker, &topic, 3).await;
        until(&server, |status| status["partitions"].as_array().unwrap().len() == 3).await;
        broker.produce(&topic, (10..40).map(|n| Record { partition: Some(n % 3), ..record(&n.to_string(), "{}") })).await;
        server.until("Later", |objects| objects.len() == 40).await;
        let status = until(&server, |status| status["lag"] == 0).await;
        assert_eq!((status["state"].as_str(), status["records"].as_u64()), (Some("running"), Some(40)));
    });
}

#[test]
fn what_retention_took_is_told_and_the_rest_comes() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("kept-short", 1, &[]).await;
        let house = House::new();
        let mappings = mapping(&topic, "Short", "");
        broker.produce(&topic, numbered(0..10)).await;
        let server = house.start(&mappings).await;
        server.until("Short", |objects| objects.len() == 10).await;
        drop(server);
        broker.produce(&topic, numbered(10..20)).await;
        broker.trim(&topic, 0, 15).await;
        let server = house.start(&mappings).await;
        let objects = server.until("Short", |objects| objects.len() == 15).await;
        assert!(objects.contains_key("/db/Short/9") && objects.contains_key("/db/Short/15") && !objects.contains_key("/db/Short/14"));
        let status = until(&server, |status| status["lag"] == 0).await;
        assert_eq!((status["lost"].as_u64(), status["records"].as_u64()), (Some(5), Some(15)), "{status}");
        assert!(status["lastError"]["message"].as_str().unwrap().contains("10 to 14"), "{status}");
        // It is remembered, and it is not lost twice.
        drop(server);
        let server = house.start(&mappings).await;
        broker.produce(&topic, numbered(20..21)).await;
        server.until("Short", |objects| objects.len() == 16).await;
        assert_eq!(self::status(&server).await["lost"], 5);
    });
}

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_beginning() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("anew", 1, &[]).await;
        let house = House::new();
        let mappings = mapping(&topic, "Anew", "");
        broker.produce(&topic, numbered(0..10)).await;
        let server = house.start(&mappings).await;
        server.until("Anew", |objects| objects.len() == 10).await;
        drop(server);
        make_anew(broker, &topic, 1).await;
        broker.produce(&topic, [record("1", r#"{"n":100}"#), record("new", "{}")]).await;
        let server = house.start(&mappings).await;
        let objects = server.until("Anew", |objects| objects.len() == 11).await;
        assert_eq!((&objects["/db/Anew/1"]["n"], &objects["/db/Anew/1"]["version"]), (&100.into(), &2.into()));
        assert!(self::status(&server).await["lastError"]["message"].as_str().unwrap().contains("made anew"));
    });
}

#[test]
fn a_broker_that_stops_and_comes_back_is_ridden_out() {
    run(async {
        let broker = Broker::start();
        let topic = broker.topic("gone", 2, &[]).await;
        let house = House::new();
        broker.produce(&topic, numbered(0..100)).await;
        let server = house.start_at(&broker.address(), &mapping(&topic, "Gone", "")).await;
        server.until("Gone", |objects| objects.len() == 100).await;
        broker.kill();
        until(&server, |status| !status["lastError"].is_null()).await;
        assert_eq!(server.objects("Gone").await.len(), 100, "the store answers meanwhile");
        broker.restart();
        broker.produce(&topic, numbered(50..200)).await;
        let objects = server.until("Gone", |objects| objects.len() == 200).await;
        assert!(objects.values().all(|object| object["version"] == 1), "the same again is no change");
        let status = until(&server, |status| status["lag"] == 0).await;
        assert_eq!((status["records"].as_u64(), status["lost"].as_u64()), (Some(250), Some(0)), "{status}");
    });
}

#[test]
fn what_a_producer_aborts_was_never_there() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("transactions", 1, &[]).await;
        let house = House::new();
        let server = house.start(&mapping(&topic, "Sure", "")).await;
        let name = topic.clone();
        tokio::task::spawn_blocking(move || {
            let producer: BaseProducer = broker.client().set("transactional.id", &name).create().unwrap();
            producer.init_transactions(PATIENCE).unwrap();
            for (key, commits) in [("1", true), ("2", false), ("3", true)] {
                producer.begin_transaction().unwrap();
                let record: BaseRecord<'_, str, str> = BaseRecord::to(&name).key(key).payload("{}");
                producer.send(record).map_err(|(error, _)| error).unwrap();
                producer.flush(PATIENCE).unwrap();
                if commits { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) }.unwrap();
            }
        })
        .await
        .unwrap();
        let objects = server.until("Sure", |objects| objects.contains_key("/db/Sure/3")).await;
        assert_eq!(objects.keys().collect::<Vec<_>>(), ["/db/Sure/1", "/db/Sure/3"]);
        // Behind the last record there is a mark of the transaction, which is no lag.
        let status = until(&server, |status| status["lag"] == 0 && status["partitions"][0]["end"] == 6).await;
        assert_eq!(status["records"], 2);
    });
}

#[test]
fn only_the_owner_sees_his_objects() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("owned", 1, &[]).await;
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.kafka.brokers = broker.address();
        config.ingest = vec![IngestOptions { owner: Some("customer".into()), ..IngestOptions::new(&topic, "Owned") }];
        let server = start(config).await;
        let nobody = Http::new(&server.url());
        let [joe, ann] = ["/db/User/joe", "/db/User/17"].map(|user| nobody.with_token(Person::of(server.authority(), user, &[]).token));
        let root = nobody.login("root", PASSWORD).await;
        let socket = Socket::connect(&server.url()).await;
        let terms = Terms { token: joe.token().map(str::to_owned), ..Terms::extended() };
        let watched = socket.subscribe("Owned", "{}", &terms);
        watched.answered().await;
        let of = |key: &str, owner: &str| record(key, format!(r#"{{"customer":{owner}}}"#));
        broker.produce(&topic, [of("1", r#""joe""#), of("2", "17"), of("3", "null"), record("4", "{}")]).await;
        let deadline = Instant::now() + PATIENCE;
        while root.query("Owned", "{}").await.json().as_array().unwrap().len() < 4 {
            assert!(Instant::now() < deadline, "they do not come");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (caller, id) in [(&joe, "/db/Owned/1"), (&ann, "/db/Owned/2")] {
            let answer = caller.query("Owned", "{}").await;
            let ids: Vec<_> = answer.json().as_array().unwrap().iter().map(live::id_of).collect();
            assert_eq!(ids, [id]);
        }
        assert_eq!(nobody.query("Owned", "{}").await.status, 466, "who is not logged in has no business here");
        // Who loses an object is told that it is gone, and not what it is now.
        broker.produce(&topic, [of("1", "17"), of("2", r#""joe""#)]).await;
        let deadline = Instant::now() + PATIENCE;
        while joe.load("Owned", "2").await.status != 200 {
            assert!(Instant::now() < deadline, "it does not change hands");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        watched.reached(joe.query("Owned", "{}").await.position().unwrap()).await;
        let left = LiveResult::after(&watched.told()).unwrap();
        assert_eq!(left.objects.keys().collect::<Vec<_>>(), ["/db/Owned/2"]);
        server.shutdown().await.unwrap();
    });
}
