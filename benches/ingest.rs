//! Records a second from a topic into the store: plain JSON of 300 bytes in 4 partitions of a real broker on loopback, which
//! shares the cores with everything else.
//!
//! Once every key is new, once every record changes an object that is there. Baseline in turns: a bare consumer that parses the
//! same records and drops them. Durability `disk`: how far ingest is and what came of it are one transaction, flushed.
//!
//! Run: `cargo bench --bench ingest` (`-- --brief` ends within a minute). Needs Java and, the first time, Maven.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/kafka.rs"]
#[allow(dead_code, unreachable_pub)]
mod kafka;
#[path = "../tests/support/ports.rs"]
#[allow(unreachable_pub)]
mod ports;
mod support;

use kafka::Record;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use support::{Table, count};
use tidegate::config::{Config, IngestOptions};
use tidegate::server::{Server, Setup};

/// For what is awaited of the broker.
const PATIENCE: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 4;

fn main() {
    let arguments = support::arguments();
    let (records, turns) = (arguments.choose(400_000, 40_000), arguments.choose(3, 1));
    support::runtime().block_on(async {
        let broker = kafka::shared();
        let mut table = Table::new(["", "records/s", "processor time a record"]);
        let (mut bare, mut fresh, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..turns {
            let topic = broker.topic("bench", PARTITIONS, &[]).await;
            // Each key twice: the first half makes the objects, the second changes them.
            broker.produce(&topic, (0..records).map(|n| record(n, records / 2))).await;
            bare.push(consume(&broker.client().set("group.id", "bare").clone(), &topic, records));
            let [first, second] = ingest(&broker.address(), &topic, records).await;
            fresh.push(first);
            changed.push(second);
        }
        for (name, runs) in [("bare consumer: parse and drop", bare), ("new objects", fresh), ("changed objects", changed)] {
            let mut runs = runs;
            runs.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (rate, cpu) = runs[runs.len() / 2];
            table.row([name.to_owned(), count(rate), format!("{:.1} us", cpu * 1e6)]);
        }
        println!("{table}");
    });
}

fn record(n: u64, keys: u64) -> Record {
    let value = format!(
        r#"{{"number":{n},"customer":"customer-{}","state":"{}","city":"{}","price":{}.25,"open":{},"tags":["a","b","{}"],"text":"{}"}}"#,
        n * 7 % 5_000,
        ["new", "paid", "sent", "back"][(n % 4) as usize],
        ["Hamburg", "Paris", "Oslo", "Rome", "Wien"][(n % 5) as usize],
        n % 1_000,
        n.is_multiple_of(3),
        n % 17,
        "x".repeat(150),
    );
    Record { key: Some(format!("order-{}", n % keys).into_bytes()), value: Some(value.into_bytes()), ..Record::default() }
}

/// Records a second, and seconds of processor time a record.
type Rate = (f64, f64);

fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn consume(client: &rdkafka::ClientConfig, topic: &str, records: u64) -> Rate {
    let (began, cpu) = (Instant::now(), processor_seconds());
    let consumer: BaseConsumer = client.clone().set("enable.auto.commit", "false").create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut read = 0;
    while read < records {
        match consumer.poll(PATIENCE).expect("the topic has more") {
            Ok(message) => {
                let value: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
                assert!(value.is_object());
                read += 1;
            }
            Err(KafkaError::PartitionEOF(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (records as f64 / began.elapsed().as_secs_f64(), (processor_seconds() - cpu) / records as f64)
}

/// Both halves: objects that are new, then objects that change.
async fn ingest(brokers: &str, topic: &str, records: u64) -> [Rate; 2] {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".into();
    config.server.admin_listen = "127.0.0.1:0".into();
    config.store.data = directory.path().join("data");
    config.kafka.brokers = brokers.to_owned();
    config.ingest = vec![IngestOptions::new(topic, "Order")];
    let server = Server::start(Setup::from(config)).await.unwrap();
    let ingest = server.ingest().unwrap().clone();
    let read = || ingest.status()[0].records;
    let until = async |count: u64| {
        while read() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (Instant::now(), processor_seconds(), read())
    };
    // From the first that are in, so that starting is not measured.
    let begin = until(1).await;
    let middle = until(records / 2).await;
    let end = until(records).await;
    let rate = |from: (Instant, f64, u64), to: (Instant, f64, u64)| {
        let count = (to.2 - from.2) as f64;
        (count / (to.0 - from.0).as_secs_f64(), (to.1 - from.1) / count)
    };
    let rates = [rate(begin, middle), rate(middle, end)];
    server.shutdown().await.unwrap();
    rates
}
