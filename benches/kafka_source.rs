//! Other producers' updates: from a topic through ingest, store, log and dataflow to websockets.
//!
//! Updates/s from producer to websockets with 1 000 and 10 000 distinct live queries on 100 connections: first as fast as
//! it goes, then paced, with the time from handing a record to the producer until its event is at the client. Baseline, paced
//! in the same way and in turns with it: the same records from a bare producer to a bare consumer that parses them.
//! Beside it, the server's processor time for one record. (What ingest alone takes in: `cargo bench --bench ingest`.)
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
#[path = "../tests/support/ports.rs"]
#[allow(unreachable_pub)]
mod ports;
mod support;

use kafka::Broker;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::tidegate::Tidegate;
use support::{Table, child, count};
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

async fn through(broker: &Broker, durability: Durability, settings: &[usize], rates: &[f64], arguments: &support::Arguments) {
    let mut table =
        Table::new(["live queries", "records/s", "events/s", "produced to event p50", "p99", "p99.9", "processor time a record"]);
    for &queries in settings {
        let topic = broker.topic("through", PARTITIONS, &[]).await;
        let tidegate = Tidegate::start_with(durability, &options(broker, &topic));
        let workload = Workload { queries, objects: OBJECTS.max(queries) };
        let arrivals = listen(&tidegate, &workload, 100).await;
        let mut producing = Producing::new(broker, &topic, workload);
        let other = broker.topic("bare", PARTITIONS, &[]).await;
        let (mut bare, bare_arrivals) = (Producing::new(broker, &other, workload), listen_bare(broker, &other));
        // Once, so that every object is there.
        producing.run(workload.objects as u64, None, &arrivals).await;
        let records = arguments.choose(200_000, 5_000);
        eprintln!("{queries} queries, as fast as it goes");
        let spent = |since: f64, records: u64| format!("{:.1} us", (tidegate.server.cpu() - since) / records as f64 * 1e6);
        let before = tidegate.server.cpu();
        let flat_out = producing.run(records, None, &arrivals).await;
        table.row([
            queries.to_string(),
            format!("{} flat out", count(flat_out.rate)),
            count(flat_out.events as f64 / flat_out.lasting.as_secs_f64()),
            String::new(),
            String::new(),
            String::new(),
            spent(before, records),
        ]);
        for &rate in rates {
            eprintln!("{queries} queries at {rate} records/s");
            let records = (rate * arguments.choose(5.0, 0.5)) as u64;
            let before = tidegate.server.cpu();
            let run = producing.run(records, Some(rate), &arrivals).await;
            let mut row = vec![queries.to_string(), count(run.rate), count(run.events as f64 / run.lasting.as_secs_f64())];
            row.extend([0.5, 0.99, 0.999].map(|share| micros(run.latencies.micros(share))));
            row.push(spent(before, records));
            table.row(row);
            let run = bare.run(records, Some(rate), &bare_arrivals).await;
            let mut row = vec!["baseline: a bare consumer".to_owned(), count(run.rate), String::new()];
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

/// A consumer that parses what comes.
fn listen_bare(broker: &Broker, topic: &str) -> Arc<Arrivals> {
    let arrivals: Arc<Arrivals> = Arc::default();
    let mut config = broker.client();
    config.set("group.id", "nobody").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let noted = arrivals.clone();
    std::thread::spawn(move || {
        // Until nobody wants to know any more.
        while Arc::strong_count(&noted) > 1 {
            let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
            let value: serde_json::Value = serde_json::from_slice(message.unwrap().payload().unwrap()).unwrap();
            noted.came.lock().unwrap().push((value["mark"].as_u64().unwrap(), Instant::now()));
            noted.more.notify_one();
        }
    });
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
