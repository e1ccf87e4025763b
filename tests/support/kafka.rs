//! A real Apache Kafka: one broker that is its own controller, on loopback, in a directory of its own.
//!
//! A process shares [`shared`] with unique topics; who kills, pauses or configures a broker starts his own. No broker
//! outlives the process that started it, however that ends.

use super::ports::free_port;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A broker; killed when it is dropped.
pub struct Broker {
    port: u16,
    /// Empty where another process started it
    directory: Option<TempDir>,
    /// Where its clients look for it: itself, or all of its cluster
    bootstrap: String,
    /// One of several, which share the machine
    is_one_of_several: bool,
    child: Mutex<Option<Child>>,
}

/// A record to produce.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// None: by hash of the key
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Where the jars are; fetched by the first who asks.
pub fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/fetch");
        let output = Command::new(script).arg(&folder).output().expect("tests/kafka/fetch does not run");
        assert!(output.status.success(), "tests/kafka/fetch: {}", String::from_utf8_lossy(&output.stderr));
        folder
    })
}

/// The broker of this process, or the one that `TIDEGATE_TEST_KAFKA` names.
pub fn shared() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| match std::env::var("TIDEGATE_TEST_KAFKA") {
        Ok(address) => {
            let port = address.strip_prefix("127.0.0.1:").and_then(|port| port.parse().ok());
            let port = port.unwrap_or_else(|| panic!("TIDEGATE_TEST_KAFKA must be 127.0.0.1:PORT, not {address:?}"));
            Broker { port, directory: None, bootstrap: address, is_one_of_several: false, child: Mutex::new(None) }
        }
        Err(_) => Broker::start(),
    })
}

/// A Java program of the jars, which ends with this process. Start it by [`spawn`].
pub fn java(heap: &str, class: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java", heap, "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
    command.args(["-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp"]).arg(format!("{}/libs/*", installed().display())).arg(class);
    command.stdin(Stdio::null());
    command
}

/// Starts a command whose death signal counts: it is sent when the *thread* ends that started it, so that is one which
/// lives as long as the process, not a test's.
pub fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (send, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || orders.iter().for_each(|(mut command, answer)| drop(answer.send(command.spawn()))));
        Mutex::new(send)
    });
    let (answer, child) = mpsc::channel();
    orders.lock().unwrap().send((command, answer)).unwrap();
    child.recv().unwrap().expect("the command does not start")
}

/// Where brokers keep what they have: a process that is killed, and the shared broker, leave theirs to whoever comes later.
pub fn runs() -> &'static Path {
    static RUNS: OnceLock<PathBuf> = OnceLock::new();
    RUNS.get_or_init(|| {
        let runs = installed().join("runs");
        std::fs::create_dir_all(&runs).unwrap();
        for run in std::fs::read_dir(&runs).unwrap().flatten() {
            let process = run.file_name().to_string_lossy().split('-').next().map(|process| Path::new("/proc").join(process));
            if process.is_some_and(|process| !process.exists()) {
                let _ = std::fs::remove_dir_all(run.path());
            }
        }
        runs
    })
}

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

impl Broker {
    /// A new cluster of one; returns when it answers.
    pub fn start() -> Broker {
        Broker::start_with(&[])
    }

    /// The same with other properties; `@PORT@`, `@CONTROLLER_PORT@` and `@DIRECTORY@` in values stand for what they say.
    /// [`Broker::wait`] is left to the caller where its own client cannot talk to it.
    pub fn start_with(properties: &[(&str, &str)]) -> Broker {
        let broker = Broker::prepare(properties);
        broker.launch();
        broker.wait();
        broker
    }

    /// Lays its directory and properties; starts nothing.
    pub fn prepare(properties: &[(&str, &str)]) -> Broker {
        let directory = TempDir::with_prefix_in(format!("{}-", std::process::id()), runs()).unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let formatted = installed().join("formatted");
        std::fs::copy(formatted.join("bootstrap.checkpoint"), data.join("bootstrap.checkpoint")).unwrap();
        let meta = format!("version=1\ncluster.id={}\nnode.id=1\ndirectory.id={}\n", random_id(), random_id());
        std::fs::write(data.join("meta.properties"), meta).unwrap();

        let (port, controller) = (free_port(), free_port());
        let mut text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker.properties")).unwrap();
        for (name, value) in properties {
            text.push_str(&format!("{name}={value}\n"));
        }
        let text = text.replace("@PORT@", &port.to_string()).replace("@CONTROLLER_PORT@", &controller.to_string());
        let text = text.replace("@DATA@", &data.display().to_string()).replace("@DIRECTORY@", &directory.path().display().to_string());
        std::fs::write(directory.path().join("broker.properties"), text).unwrap();
        Broker {
            port,
            directory: Some(directory),
            bootstrap: format!("127.0.0.1:{port}"),
            is_one_of_several: false,
            child: Mutex::new(None),
        }
    }

    /// One of several, as it was prepared: all that ask it ask its cluster.
    pub fn in_cluster(mut self, cluster: &str, node: usize, bootstrap: &str) -> Broker {
        let meta = format!("version=1\ncluster.id={cluster}\nnode.id={node}\ndirectory.id={}\n", random_id());
        std::fs::write(self.directory().join("data/meta.properties"), meta).unwrap();
        self.bootstrap = bootstrap.to_owned();
        self.is_one_of_several = true;
        self
    }

    /// Starts the process on what was prepared, or where it was stopped.
    pub fn launch(&self) {
        let mut child = self.child.lock().unwrap();
        assert!(child.is_none(), "the broker runs already");
        let directory = self.directory();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("broker.log")).unwrap();
        let mut command = java(if self.is_one_of_several { "-Xmx256m" } else { "-Xmx512m" }, "kafka.Kafka");
        if self.is_one_of_several {
            // It lives too short to be worth the second compiler's time, which the others would miss.
            command.env("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1");
        }
        command.arg(directory.join("broker.properties")).current_dir(directory);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        *child = Some(spawn(command));
    }

    /// Until it answers to a request for metadata.
    pub fn wait(&self) {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            match consumer.fetch_metadata(None, Duration::from_millis(500)) {
                Ok(metadata) if !metadata.brokers().is_empty() => return,
                _ => {}
            }
            if let Some(status) = self.child.lock().unwrap().as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("the broker ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "the broker does not answer: {}", self.log());
        }
    }

    /// Where it keeps its data and what else a test wants beside.
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().expect("the broker belongs to another process").path()
    }

    /// The end of what it wrote.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.directory().join("broker.log")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(8_000)..]).into_owned()
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As a crash.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap().take().expect("the broker does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As an operator: SIGTERM.
    pub fn stop(&self) -> ExitStatus {
        let mut child = self.child.lock().unwrap().take().expect("the broker does not run");
        signal(&child, Signal::TERM);
        child.wait().unwrap()
    }

    /// On the same directory and port, after [`Broker::kill`] or [`Broker::stop`]; returns when it answers.
    pub fn restart(&self) {
        self.launch();
        self.wait();
    }

    /// It answers nobody, and its connections stay.
    pub fn pause(&self) {
        signal(self.child.lock().unwrap().as_ref().expect("the broker does not run"), Signal::STOP);
    }

    /// After [`Broker::pause`].
    pub fn resume(&self) {
        signal(self.child.lock().unwrap().as_ref().expect("the broker does not run"), Signal::CONT);
    }

    /// What a client of it needs.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        // It is awaited while it starts.
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
        config
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// A topic that nobody else has: its name begins with `name`.
    pub async fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let topic = format!("{name}-{:08x}-{}", rand::random::<u32>(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.make_topic(&topic, partitions, settings).await;
        topic
    }

    /// A topic of exactly this name, with as many replicas as the brokers make by default.
    pub async fn make_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            wanted = wanted.set(name, value);
        }
        let made = self.admin().create_topics([&wanted], &patient()).await.unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap_or_else(|(topic, code)| panic!("the topic {topic}: {code}"))));
    }

    /// Replaces the settings of a topic: what is not named goes back to its default.
    pub async fn alter_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in settings {
            change = change.set(name, value);
        }
        let made = self.admin().alter_configs([&change], &patient()).await.unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap_or_else(|(topic, code)| panic!("the topic {topic:?}: {code}"))));
    }

    /// Takes away all that is before an offset, as retention does.
    pub async fn trim(&self, topic: &str, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            // A broker that has just started answers before it leads its partitions again.
            let made = self.admin().delete_records(&list, &patient()).await;
            match made.and_then(|made| made.elements().iter().try_for_each(|partition| partition.error())) {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < deadline, "{topic} cannot be trimmed: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Produces in order, each partition's in the order given, and returns when all are there.
    pub async fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.max.bytes", "50000000");
        config.set("queue.buffering.max.messages", "200000").set("queue.buffering.max.kbytes", "262144");
        let producer: FutureProducer = config.create().unwrap();
        let mut under_way = std::collections::VecDeque::new();
        for record in records {
            let mut wanted = FutureRecord::<[u8], [u8]>::to(topic);
            wanted.partition = record.partition;
            wanted.key = record.key.as_deref();
            wanted.payload = record.value.as_deref();
            if !record.headers.is_empty() {
                let headers = record.headers.iter().map(|(key, value)| rdkafka::message::Header { key, value: Some(value) });
                wanted.headers = Some(headers.fold(OwnedHeaders::new(), OwnedHeaders::insert));
            }
            loop {
                match producer.send_result(wanted) {
                    Ok(delivery) => break under_way.push_back(delivery),
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                        wanted = again;
                        delivered(under_way.pop_front().expect("one record is larger than the queue")).await;
                    }
                    Err((error, _)) => panic!("not produced: {error}"),
                }
            }
        }
        for delivery in under_way {
            delivered(delivery).await;
        }
    }

    /// All that is committed in a topic now, each partition's records in their order, one partition after the other.
    pub async fn read(&self, topic: &str) -> Vec<OwnedMessage> {
        let mut config = self.client();
        config.set("group.id", "nobody").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("isolation.level", "read_committed").set("fetch.message.max.bytes", "50000000");
        let consumer: StreamConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), super::PATIENCE).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        // The end of one partition may be told more than once, and clients tell of trouble that they get over by themselves.
        let (mut ended, mut messages, mut trouble) = (BTreeSet::new(), Vec::new(), None);
        while ended.len() < partitions {
            match tokio::time::timeout(super::PATIENCE, consumer.recv()).await {
                Ok(Ok(message)) => messages.push(message.detach()),
                Ok(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                Ok(Err(error)) => trouble = Some(error),
                Err(_) => panic!("the topic {topic} does not end: {trouble:?}"),
            }
        }
        messages.sort_by_key(|message| (message.partition(), message.offset()));
        messages
    }

    /// How many offsets of each partition are used, from its first one: those of transaction marks too.
    pub fn ends(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer: BaseConsumer = self.client().create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), super::PATIENCE).unwrap();
        let partitions = metadata.topics()[0].partitions().len() as i32;
        (0..partitions).map(|partition| watermarks(&consumer, topic, partition)).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Record {
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Record {
        Record { key: Some(key.into()), value: Some(value.into()), ..Record::default() }
    }

    /// A key without a value.
    pub fn tombstone(key: impl Into<Vec<u8>>) -> Record {
        Record { key: Some(key.into()), ..Record::default() }
    }

    pub fn in_partition(self, partition: i32) -> Record {
        Record { partition: Some(partition), ..self }
    }
}

/// The first offset and the one after the last, from a broker that may just be starting.
pub fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let deadline = Instant::now() + super::PATIENCE;
    loop {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)) {
            Ok(watermarks) => return watermarks,
            Err(error) => assert!(Instant::now() < deadline, "{topic} [{partition}] does not tell its ends: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn delivered(delivery: rdkafka::producer::DeliveryFuture) {
    delivery.await.unwrap().unwrap_or_else(|(error, _)| panic!("not produced: {error}"));
}

pub fn patient() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(super::PATIENCE)).request_timeout(Some(super::PATIENCE))
}

/// 128 bits as Kafka writes its ids: base64 for URLs.
pub fn random_id() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |_| char::from(DIGITS[rand::random_range(0..64)]);
    // The last of 22 digits has two bits.
    let id: String = (0..21).map(digit).chain(["A", "Q", "g", "w"][rand::random_range(0..4)].chars()).collect();
    if id.starts_with('-') { random_id() } else { id }
}
