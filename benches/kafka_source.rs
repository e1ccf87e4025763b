//! Other producers' updates: from a topic through ingest, store, log and dataflow to websockets.
//!
//! 1. Records/s that ingest takes in, with no live query, against a bare consumer that parses the same records
//!    (`serde_json::Value`) and drops them. The topic is full before either starts; they take turns.
//! 2. Updates/s from producer to websockets with 1 000 and 10 000 distinct live queries on 100 connections: first
//!    as fast as it goes (the backlog is there, the time is that until the last event came), then paced, with the
//!    time from handing a record to the producer until its event is at the client.
//!
//! Data: plain JSON objects of 12 fields and about 400 bytes, 1 000 ids, 4 partitions; each update touches one query. A
//! real Apache Kafka broker on the same two cores, the server in a process of its own, acknowledging when the
//! operating system has it (`--disk`: when the disk has it).
//!
//! Run: `cargo bench --bench kafka_source` (`-- --brief` ends within half a minute). It needs Java 17 and Maven.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/kafka.rs"]
#[allow(dead_code, unreachable_pub)]
mod kafka;
mod support;

use kafka::{Broker, Record};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::tidegate::Tidegate;
use support::{Table, child, count, median};
use tidegate::bench::latency::Latencies;
use tidegate::bench::subscriber::{Heard, Subscriber};
use tidegate::bench::table::micros;
use tidegate::bench::workload::Workload;
use tidegate::config::Durability;

/// For the broker's helpers.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;
const OBJECTS: usize = 1_000;
const BUCKET: &str = "Lots";

fn main() {
    if child::role().as_deref() == Some(support::tidegate::ROLE) {
        return support::tidegate::serve();
    }
    let arguments = support::arguments();
    support::open_files(4_000);
    let durability = if arguments.has("--disk") { Durability::Disk } else { Durability::System };
    let broker = Broker::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        take_in(&broker, durability, arguments.choose(400_000, 20_000), arguments.choose(3, 1)).await;
        let settings: &[usize] = arguments.choose(&[1_000, 10_000], &[100]);
        let rates: &[f64] = arguments.choose(&[5_000.0, 10_000.0, 20_000.0, 30_000.0], &[1_000.0]);
        through(&broker, durability, settings, rates, &arguments).await;
    });
}

/// An object without its id, which is the record's key.
fn object_text(workload: &Workload, object: usize, mark: u64) -> String {
    let text = workload.object(BUCKET, object, object % workload.queries, mark);
    text.replacen(&format!(r#""id":"/db/{BUCKET}/{object}","#), "", 1)
}

fn options(broker: &Broker, topic: &str) -> Vec<String> {
    vec![
        format!("kafka.brokers={}", broker.address()),
        format!(r#"ingest=[{{ topic = "{topic}", bucket = "{BUCKET}", read = "public" }}]"#),
    ]
}

/// Figure 1.
async fn take_in(broker: &Broker, durability: Durability, records: u64, turns: usize) {
    let topic = broker.topic("source", PARTITIONS, &[]).await;
    let workload = Workload { queries: OBJECTS, objects: OBJECTS };
    let all = (0..records).map(|number| {
        let object = (number % OBJECTS as u64) as usize;
        Record::new(object.to_string(), object_text(&workload, object, number))
    });
    broker.produce(&topic, all).await;
    let (mut bare, mut ours, mut busy, mut busy_bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns {
        eprintln!("taking in, turn {} of {turns}", turn + 1);
        let reader = (broker.client(), topic.clone());
        let (rate, cpu) = tokio::task::spawn_blocking(move || parse_and_drop(&reader.0, &reader.1, records)).await.unwrap();
        bare.push(rate);
        busy_bare.push(cpu);
        let from = Instant::now();
        let tidegate = Tidegate::start_with(durability, &options(broker, &topic));
        let (rate, cpu) = taken_in(&tidegate, records, from).await;
        ours.push(rate);
        busy.push(cpu);
    }
    let mut table = Table::new(["taking in, no live query", "records/s", "processor us/record", "share of the bare consumer"]);
    let (bare, ours) = (median(bare), median(ours));
    table.row([format!("{records} records of 400 bytes"), count(ours), format!("{:.1}", median(busy)), format!("{:.2}", ours / bare)]);
    table.row(["baseline: parse and drop".to_owned(), count(bare), format!("{:.1}", median(busy_bare))]);
    println!("{table}");
}

/// A consumer that parses and drops: records/s, and processor time for each.
fn parse_and_drop(client: &rdkafka::ClientConfig, topic: &str, records: u64) -> (f64, f64) {
    let mut config = client.clone();
    config.set("group.id", "nobody").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let cpu = || tidegate::bench::process::cpu_time(std::process::id()).map_or(f64::NAN, |time| time.as_secs_f64());
    let (mut came, mut fields, mut from) = (0, 0, (Instant::now(), cpu()));
    while came < records {
        let message = consumer.poll(PATIENCE).expect("the topic ends too early").unwrap();
        if came == 0 {
            from = (Instant::now(), cpu());
        }
        let value: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        fields += value.as_object().unwrap().len();
        came += 1;
    }
    assert_eq!(fields as u64, records * 11);
    (records as f64 / from.0.elapsed().as_secs_f64(), 1e6 * (cpu() - from.1) / records as f64)
}

/// From the start of the process until the last record is taken in: records/s, and processor time for each. `from`: when
/// the process was started, which is part of the time.
async fn taken_in(tidegate: &Tidegate, records: u64, from: Instant) -> (f64, f64) {
    let mut subscriber = Subscriber::connect(&tidegate.base).await.unwrap();
    // The last write of every object, and of each only that: what the result has does not come as an event.
    let query = format!(r#"{{"mark":{{"$gte":{}}}}}"#, records - OBJECTS as u64);
    subscriber.subscribe(0, BUCKET, &query).await.unwrap();
    subscriber.flush().await.unwrap();
    let mut missing = OBJECTS;
    while missing > 0 {
        let heard = tokio::time::timeout(PATIENCE, subscriber.hear()).await.expect("taken in within a minute").unwrap();
        missing -= match heard.0 {
            Heard::Result { objects, .. } => objects,
            Heard::Event { .. } => 1,
        };
    }
    (records as f64 / from.elapsed().as_secs_f64(), 1e6 * tidegate.server.cpu() / records as f64)
}

/// Figure 2.
async fn through(broker: &Broker, durability: Durability, settings: &[usize], rates: &[f64], arguments: &support::Arguments) {
    let mut table = Table::new(["live queries", "records/s", "events/s", "produced to event p50", "p99", "p99.9"]);
    for &queries in settings {
        let topic = broker.topic("through", PARTITIONS, &[]).await;
        let tidegate = Tidegate::start_with(durability, &options(broker, &topic));
        let workload = Workload { queries, objects: OBJECTS.max(queries) };
        let arrivals = listen(&tidegate, &workload, 100).await;
        let mut producing = Producing::new(broker, &topic, workload);
        // Once, so that every object is there.
        producing.run(workload.objects as u64, None, &arrivals).await;
        let records = arguments.choose(200_000, 5_000);
        eprintln!("{queries} queries, as fast as it goes");
        let flat_out = producing.run(records, None, &arrivals).await;
        table.row([
            queries.to_string(),
            format!("{} flat out", count(flat_out.rate)),
            count(flat_out.events as f64 / flat_out.lasting.as_secs_f64()),
        ]);
        for &rate in rates {
            eprintln!("{queries} queries at {rate} records/s");
            let records = (rate * arguments.choose(5.0, 0.5)) as u64;
            let run = producing.run(records, Some(rate), &arrivals).await;
            let mut row = vec![queries.to_string(), count(run.rate), count(run.events as f64 / run.lasting.as_secs_f64())];
            row.extend([0.5, 0.99, 0.999].map(|share| micros(run.latencies.micros(share))));
            table.row(row);
        }
    }
    println!("{table}");
}

/// What came, over all connections.
#[derive(Default)]
struct Arrivals {
    events: AtomicU64,
    /// Mark and time
    came: Mutex<Vec<(u64, Instant)>>,
    more: tokio::sync::Notify,
}

/// Every query of the workload, on so many connections, each with its result.
async fn listen(tidegate: &Tidegate, workload: &Workload, connections: usize) -> Arc<Arrivals> {
    let arrivals: Arc<Arrivals> = Arc::default();
    for place in 0..connections {
        let mut subscriber = Subscriber::connect(&tidegate.base).await.unwrap();
        let mine: Vec<usize> = (0..workload.queries).filter(|key| key % connections == place).collect();
        for &key in &mine {
            subscriber.subscribe(key, BUCKET, &workload.query(key)).await.unwrap();
        }
        subscriber.flush().await.unwrap();
        subscriber.results(mine.len()).await.unwrap();
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            while let Ok((heard, at)) = subscriber.hear().await {
                let Heard::Event { mark, .. } = heard else { continue };
                arrivals.came.lock().unwrap().push((mark, at));
                arrivals.events.fetch_add(1, Relaxed);
                arrivals.more.notify_one();
            }
        });
    }
    arrivals
}

struct Producing {
    producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext>,
    topic: String,
    workload: Workload,
    next: u64,
}

struct Run {
    rate: f64,
    events: u64,
    lasting: Duration,
    latencies: Latencies,
}

impl Producing {
    fn new(broker: &Broker, topic: &str, workload: Workload) -> Producing {
        let mut config = broker.client();
        config.set("linger.ms", "1").set("queue.buffering.max.messages", "1000000");
        Producing { producer: config.create().unwrap(), topic: topic.to_owned(), workload, next: 0 }
    }

    /// Produces so many records, as fast as the broker takes them or at a rate, and waits until each object's last one is with
    /// its subscriber. Every object belongs to one query, so each record is one event, unless a later one of the same
    /// object came in its place.
    async fn run(&mut self, records: u64, rate: Option<f64>, arrivals: &Arrivals) -> Run {
        arrivals.came.lock().unwrap().clear();
        let (first, from) = (self.next, Instant::now());
        self.next += records;
        let (producer, topic, workload) = (self.producer.clone(), self.topic.clone(), self.workload);
        let producing = tokio::task::spawn_blocking(move || {
            let mut sent = Vec::with_capacity(records as usize);
            for number in 0..records {
                if let Some(rate) = rate {
                    let due = from + Duration::from_secs_f64(number as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                let mark = first + number;
                let object = (mark % workload.objects as u64) as usize;
                let (key, text) = (object.to_string(), object_text(&workload, object, mark));
                sent.push(Instant::now());
                let mut wanted = BaseRecord::to(&topic).key(&key).payload(&text);
                while let Err((_, again)) = producer.send(wanted) {
                    std::thread::sleep(Duration::from_millis(1));
                    wanted = again;
                }
            }
            producer.flush(PATIENCE).unwrap();
            sent
        });
        let sent = producing.await.unwrap();
        let lasts = records.min(self.workload.objects as u64);
        let last = first + records - lasts;
        let waiting = async {
            let (mut done, mut seen) = (0, 0);
            while done < lasts {
                arrivals.more.notified().await;
                let came = arrivals.came.lock().unwrap();
                done += came[seen..].iter().filter(|(mark, _)| *mark >= last).count() as u64;
                seen = came.len();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("every object's last record becomes an event within a minute");
        let came = std::mem::take(&mut *arrivals.came.lock().unwrap());
        let mut latencies = Latencies::default();
        for (mark, at) in &came {
            latencies.record(at.saturating_duration_since(sent[(mark - first) as usize]));
        }
        let lasting = came.iter().map(|(_, at)| *at).max().unwrap() - from;
        Run { rate: records as f64 / lasting.as_secs_f64(), events: came.len() as u64, lasting, latencies }
    }
}
