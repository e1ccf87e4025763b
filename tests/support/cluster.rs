//! Three real brokers that are their own controllers: whoever leads a partition may be killed, and another leads it.

use super::kafka::{Broker, random_id};
use super::ports::free_port;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataPartition;
use std::time::{Duration, Instant};

/// How long a broker may take to start beside others, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(150);

/// How many brokers, and replicas of everything: with one away two are left, which is as many as take a write.
const BROKERS: usize = 3;

/// Three brokers; killed when they are dropped.
pub struct Cluster {
    brokers: Vec<Broker>,
    bootstrap: String,
}

impl Cluster {
    /// Returns when all of them answer.
    pub fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// The same with other properties.
    pub fn start_with(more: &[(&str, &str)]) -> Cluster {
        let doors: Vec<(u16, u16)> = (0..BROKERS).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> = doors.iter().zip(1..).map(|((_, controller), node)| format!("{node}@127.0.0.1:{controller}")).collect();
        let bootstrap = doors.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
        let (cluster, voters) = (random_id(), voters.join(","));
        let prepare = |(node, (port, controller)): (usize, &(u16, u16))| {
            let client = format!("CLIENT://127.0.0.1:{port}");
            let properties = [
                ("node.id", &*node.to_string()),
                ("controller.quorum.voters", &voters),
                ("listeners", &format!("{client},CONTROLLER://127.0.0.1:{controller}")),
                ("advertised.listeners", &client),
                ("default.replication.factor", "3"),
                ("min.insync.replicas", "2"),
                ("offsets.topic.replication.factor", "3"),
                ("transaction.state.log.replication.factor", "3"),
                ("transaction.state.log.min.isr", "2"),
                // Three of them on a busy machine: who is only slow is not to be taken for dead.
                ("broker.session.timeout.ms", "5000"),
            ];
            Broker::prepare(&[&properties, more].concat()).in_cluster(&cluster, node, &bootstrap)
        };
        let cluster = Cluster { brokers: (1..).zip(&doors).map(prepare).collect(), bootstrap: bootstrap.clone() };
        cluster.brokers.iter().for_each(Broker::launch);
        let consumer: BaseConsumer = cluster.any().client().create().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let step = Duration::from_millis(500);
        while !consumer.fetch_metadata(None, step).is_ok_and(|metadata| metadata.brokers().len() == BROKERS) {
            assert!(Instant::now() < deadline, "the brokers do not answer: {}", cluster.logs());
            // There is no event for it.
            std::thread::sleep(Duration::from_millis(50));
        }
        cluster
    }

    /// Where all of them are.
    pub fn addresses(&self) -> &str {
        &self.bootstrap
    }

    /// One of them: what is asked of it, whichever answers.
    pub fn any(&self) -> &Broker {
        &self.brokers[0]
    }

    /// The one of this number, from 1 on.
    pub fn numbered(&self, node: i32) -> &Broker {
        &self.brokers[usize::try_from(node - 1).unwrap()]
    }

    /// Which of them leads a partition, once all are in sync.
    pub fn leader(&self, topic: &str, partition: i32) -> &Broker {
        let of = |partitions: &[MetadataPartition]| partitions.iter().find(|one| one.id() == partition).map(MetadataPartition::leader);
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.until_whole(topic);
            // Between the two questions the leader may be on its way to another.
            if let Some(node @ 1..) = self.partitions(topic, of) {
                return self.numbered(node);
            }
            assert!(Instant::now() < deadline, "nobody leads partition {partition} of {topic}; {}", self.logs());
        }
    }

    /// Which of them keeps the transactions of a transactional id: the leader of its partition of the topic that they are in.
    pub fn coordinator(&self, transactional_id: &str) -> &Broker {
        // As Java hashes texts.
        let hash = transactional_id.bytes().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
        let topic = "__transaction_state";
        let partitions = self.partitions(topic, <[MetadataPartition]>::len);
        self.leader(topic, (hash & i32::MAX) % i32::try_from(partitions).unwrap())
    }

    /// How many partitions of the topic this one leads.
    pub fn led(&self, broker: &Broker, topic: &str) -> usize {
        let node = self.node(broker);
        self.partitions(topic, |partitions| partitions.iter().filter(|partition| partition.leader() == node).count())
    }

    /// Waits until others lead all that this one led, and take writes.
    pub fn until_led_without(&self, broker: &Broker, topic: &str) {
        let node = self.node(broker);
        let led = |partition: &MetadataPartition| partition.leader() > 0 && partition.leader() != node && !partition.isr().contains(&node);
        self.until(topic, "others lead", led);
    }

    /// Starts it again and waits until it has all that the others have.
    pub fn restart(&self, broker: &Broker, topic: &str) {
        broker.launch();
        self.until_whole(topic);
    }

    /// Waits until every partition of the topic is on all of them.
    pub fn until_whole(&self, topic: &str) {
        self.until(topic, "all are in sync", |partition| partition.leader() > 0 && partition.isr().len() == BROKERS);
    }

    fn node(&self, broker: &Broker) -> i32 {
        let place = self.brokers.iter().position(|one| std::ptr::eq(one, broker)).expect("it is of another cluster");
        i32::try_from(place).unwrap() + 1
    }

    fn partitions<T>(&self, topic: &str, ask: impl Fn(&[MetadataPartition]) -> T) -> T {
        let consumer: BaseConsumer = self.any().client().create().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            // While brokers go and come it may be refused.
            match consumer.fetch_metadata(Some(topic), Duration::from_secs(10)) {
                Ok(metadata) => return ask(metadata.topics()[0].partitions()),
                Err(error) => assert!(Instant::now() < deadline, "{topic}: {error}; {}", self.logs()),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn until(&self, topic: &str, what: &str, right: impl Fn(&MetadataPartition) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.partitions(topic, |partitions| !partitions.is_empty() && partitions.iter().all(&right)) {
            assert!(Instant::now() < deadline, "not yet: {what}; {}", self.logs());
            // There is no event for it.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn logs(&self) -> String {
        self.brokers.iter().map(Broker::log).collect::<Vec<_>>().join("\n---\n")
    }
}
