//! Kafka as change log against the embedded one: what it adds to the way from a write to its event, and how many writes
//! a second go through.
//!
//! One writer at 50 writes/s, so that nothing is queued, then 16 writers as fast as answers come; 1 000 distinct live
//! queries on 10 connections. Both servers stand at once, each in a process of its own, and take turns. Baseline of
//! what Kafka adds: one record produced in a transaction until a `read_committed` consumer has it, with the same client
//! library and broker, also in turns.
//!
//! A real Apache Kafka broker on the same two cores; 4 partitions; writes are acknowledged when the operating system has
//! them.
//!
//! Run: `cargo bench --bench kafka_log` (`-- --brief` ends within half a minute). It needs Java 17 and Maven.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/kafka.rs"]
#[allow(dead_code, unreachable_pub)]
mod kafka;
#[path = "../tests/support/ports.rs"]
#[allow(unreachable_pub)]
mod ports;
mod support;

use kafka::Broker;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use support::tidegate::Tidegate;
use support::{Table, child, count};
use tidegate::bench::latency::Latencies;
use tidegate::bench::load::{Load, LoadOptions, Outcome};
use tidegate::bench::table::micros;
use tidegate::bench::workload::Workload;
use tidegate::config::Durability;

/// For the broker's helpers.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    if child::role().as_deref() == Some(support::tidegate::ROLE) {
        return support::tidegate::serve();
    }
    let arguments = support::arguments();
    support::open_files(4_000);
    let broker = Broker::start();
    let (turns, lasting) = (arguments.choose(5, 1), arguments.choose(Duration::from_secs(4), Duration::from_millis(500)));
    let queries = arguments.choose(1_000, 20);
    support::runtime().block_on(async {
        let embedded = Tidegate::start(Durability::System);
        let log = format!("changelog.log=kafka://{}/tidegate-bench", broker.address());
        let kafka = Tidegate::start_with(Durability::System, &[log]);
        let mut pacing = [prepare(&embedded, queries, 1).await, prepare(&kafka, queries, 1).await];
        let mut rushing = [prepare(&embedded, queries, 16).await, prepare(&kafka, queries, 16).await];
        let mut bare = Bare::start(&broker).await;
        let (mut paced, mut rushed): ([Outcome; 2], [Outcome; 2]) = Default::default();
        let mut trips = Latencies::default();
        for turn in 0..turns {
            eprintln!("turn {} of {turns}", turn + 1);
            for place in 0..2 {
                add_paced(&mut paced[place], &pacing[place].run(lasting, Some(50.0)).await.expect("every event comes"));
                add(&mut rushed[place], &rushing[place].run(lasting, None).await.expect("every event comes"));
            }
            // Nothing else is under way on this thread.
            bare.trips(lasting, &mut trips);
        }
        let mut table = Table::new(["", "p50", "p99", "p99.9", "writes/s"]);
        for (name, outcome, rate) in [
            ("write to event, embedded, 50/s", &paced[0], false),
            ("write to event, Kafka, 50/s", &paced[1], false),
            ("write to event, embedded, flat out", &rushed[0], true),
            ("write to event, Kafka, flat out", &rushed[1], true),
        ] {
            let mut row = vec![name.to_owned()];
            row.extend([0.5, 0.99, 0.999].map(|share| micros(outcome.write_to_event.micros(share))));
            row.extend(rate.then(|| count(outcome.write_rate())));
            table.row(row);
        }
        let mut row = vec!["baseline: a transaction of one record, to its consumer".to_owned()];
        row.extend([0.5, 0.99, 0.999].map(|share| micros(trips.micros(share))));
        table.row(row);
        println!("{table}");
    });
}

async fn prepare(tidegate: &Tidegate, queries: usize, writers: usize) -> Load {
    let workload = Workload { queries, objects: 200 };
    let token = Some(tidegate.token().await);
    let options = LoadOptions { base: tidegate.base.clone(), token, bucket: format!("Lots{writers}"), workload, writers };
    let mut load = Load::prepare(options).await.expect("the objects");
    load.subscribe(10).await.expect("subscriptions");
    load.run(Duration::from_millis(200), Some(50.0)).await.expect("warmed up");
    load
}

/// Of a run at 50 a second: nothing is put together for a client that reads.
fn add_paced(sum: &mut Outcome, outcome: &Outcome) {
    assert_eq!(outcome.composed, 0, "{} events for {} writes", outcome.events, outcome.writes);
    add(sum, outcome);
}

fn add(sum: &mut Outcome, outcome: &Outcome) {
    assert!(outcome.events + outcome.composed >= outcome.writes, "every write made an event");
    sum.writes += outcome.writes;
    sum.lasting += outcome.lasting;
    sum.write_to_event.add(&outcome.write_to_event);
}

/// What Kafka takes for itself.
struct Bare {
    producer: BaseProducer,
    consumer: BaseConsumer,
    topic: String,
}

impl Bare {
    async fn start(broker: &Broker) -> Bare {
        let topic = broker.topic("bare", 1, &[]).await;
        let mut config = broker.client();
        config.set("transactional.id", "bare").set("linger.ms", "0");
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        let mut config = broker.client();
        config.set("group.id", "bare").set("enable.auto.commit", "false").set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        Bare { producer, consumer, topic }
    }

    fn trips(&mut self, lasting: Duration, latencies: &mut Latencies) {
        let from = Instant::now();
        let payload = vec![b'x'; 1_000];
        while from.elapsed() < lasting {
            let at = Instant::now();
            self.producer.begin_transaction().unwrap();
            self.producer.send(BaseRecord::<(), [u8]>::to(&self.topic).payload(&payload)).map_err(|(error, _)| error).unwrap();
            // The client's own flush looks every tenth of a second only.
            while self.producer.in_flight_count() > 0 {
                self.producer.poll(Duration::from_millis(1));
            }
            self.producer.commit_transaction(PATIENCE).unwrap();
            let message = self.consumer.poll(PATIENCE).expect("the record comes").unwrap();
            assert_eq!(message.payload().map(<[u8]>::len), Some(1_000));
            latencies.record(at.elapsed());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
