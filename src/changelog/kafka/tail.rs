//! The last committed record of each partition: how far a relay was, as the topic itself tells.

use super::error::KafkaLogError;
use super::format::Place;
use super::topic::{PATIENCE, Topic};
use crate::changelog::LogId;
use crate::kafka;
use crate::kafka::right::Deed;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Offsets that are looked at first at the end of a partition: a record, the marker of its transaction, and a few more.
const WINDOW: i64 = 8;

/// So many times as many where there was no record among them.
const WIDER: i64 = 16;

/// How long transactions that nobody goes on with take to end, all together.
const SETTLING: Duration = Duration::from_secs(5);

/// The last committed record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) place: Place,
    pub(crate) text: Vec<u8>,
}

/// Passes on to the log for the curious what the client tells beside answers: the ends of partitions among it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: RdError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka client says");
    }
}

impl ConsumerContext for Quiet {}

/// A consumer of committed records that is given its partitions and commits nothing by itself.
pub(crate) fn consumer(topic: &Topic, group: &str) -> Result<BaseConsumer<Quiet>, KafkaLogError> {
    consumer_of(topic, group, "read_committed")
}

fn consumer_of(topic: &Topic, group: &str, isolation: &str) -> Result<BaseConsumer<Quiet>, KafkaLogError> {
    let mut config = kafka::reader(&topic.options, &topic.address.brokers)?;
    config.set("group.id", group);
    config.set("isolation.level", isolation);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("allow.auto.create.topics", "false");
    // The end of a partition is to be known at once.
    config.set("fetch.wait.max.ms", "10");
    config.create_with_context(Quiet).map_err(|error| kafka::refused(&config, &error).into())
}

/// Which transactions count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// Those that are over: what another process has begun is not known yet
    PassOver,
    /// All: nobody writes any more, so each is over soon, and until then it is not known what the topic holds
    Await,
}

/// The last committed record of each partition, the one of control records first; none where there is no record. Blocks, for
/// `patience` where the brokers do not answer, and longer where transactions do not end.
pub(crate) fn read(topic: &Topic, undecided: Undecided, patience: Duration) -> Result<Vec<Option<Tail>>, KafkaLogError> {
    let consumer = consumer(topic, "tidegate")?;
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX - 1);
    if undecided == Undecided::Await {
        let everything = consumer_of(topic, "tidegate", "read_uncommitted")?;
        let until = Instant::now() + SETTLING;
        for partition in 0..=partitions {
            decided(&everything, &consumer, topic, partition, until, patience)?;
        }
    }
    let ends = (0..=partitions).map(|partition| watermarks(&consumer, topic, partition, Instant::now() + patience));
    last(&consumer, topic, &ends.collect::<Result<Vec<_>, _>>()?, patience)
}

/// Waits until no transaction in the partition is open: a broker that just came back ends those that it finds one by one.
fn decided(
    everything: &BaseConsumer<Quiet>,
    committed: &BaseConsumer<Quiet>,
    topic: &Topic,
    partition: i32,
    until: Instant,
    patience: Duration,
) -> Result<(), KafkaLogError> {
    let end = |consumer| watermarks(consumer, topic, partition, Instant::now() + patience).map(|(_, end)| end);
    let there = end(everything)?;
    while end(committed)? < there {
        if Instant::now() >= until {
            // Nothing of ours is open, so the brokers have lost track of one. It holds readers up, and not those who write.
            let topic = &topic.address.topic;
            tracing::warn!(topic, partition, "a transaction does not end; what it holds may come again, which readers drop");
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// First and last offset of a partition, as far as the consumer's isolation shows it.
fn watermarks(consumer: &BaseConsumer<Quiet>, topic: &Topic, partition: i32, deadline: Instant) -> Result<(i64, i64), KafkaLogError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), Duration::from_secs(2));
        match consumer.fetch_watermarks(&topic.address.topic, partition, left) {
            Ok(watermarks) => return Ok(watermarks),
            Err(error) if Instant::now() >= deadline => return Err(topic.unreadable(error)),
            // A topic that was just made, or a broker that just came back, has no leader for a moment; there is no event for it.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Whose records are in the topic; none for an empty one.
pub async fn holder(topic: &Topic) -> Result<Option<LogId>, KafkaLogError> {
    let reading = topic.clone();
    let tails = tokio::task::spawn_blocking(move || read(&reading, Undecided::PassOver, PATIENCE)).await;
    let tails = tails.map_err(|error| KafkaLogError::Outbox(error.to_string()))??;
    Ok(tails.iter().flatten().map(|tail| tail.place.log).next())
}

/// Of all partitions at once, between these offsets: one after the other a hundred of them take many seconds.
fn last(
    consumer: &BaseConsumer<Quiet>,
    topic: &Topic,
    ends: &[(i64, i64)],
    patience: Duration,
) -> Result<Vec<Option<Tail>>, KafkaLogError> {
    // A group has no part in it, so whether that may be read matters nothing.
    let read = Deed { topic: Some(("Read", &topic.address.topic)), ..Deed::default() };
    let mut found: Vec<Option<Tail>> = vec![None; ends.len()];
    let mut window = WINDOW;
    loop {
        let mut assignment = TopicPartitionList::new();
        let mut reading = BTreeSet::new();
        for (partition, &(low, high)) in (0..).zip(ends) {
            let from = low.max(high.saturating_sub(window));
            let known = usize::try_from(partition).ok().and_then(|place| found.get(place)).is_some_and(Option::is_some);
            // Where a larger window begins no earlier than the one before, there is nothing. An empty one is read once all the
            // same: whether that may be done is to be known now.
            let looked_at = window > WINDOW && low >= high.saturating_sub(window / WIDER);
            if known || looked_at {
                continue;
            }
            let added = assignment.add_partition_offset(&topic.address.topic, partition, Offset::Offset(from));
            added.map_err(|error| topic.unreadable(error))?;
            reading.insert(partition);
        }
        if reading.is_empty() {
            return Ok(found);
        }
        consumer.assign(&assignment).map_err(|error| topic.unreadable(error))?;
        let mut heard = Instant::now();
        while !reading.is_empty() {
            let left = patience.saturating_sub(heard.elapsed());
            match consumer.poll(left.max(Duration::from_millis(1))) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let partition = message.partition();
                    let place = message.headers().and_then(Place::read);
                    let foreign = || KafkaLogError::Foreign { topic: topic.address.topic.clone(), partition };
                    let (place, text) = place.zip(message.payload()).ok_or_else(foreign)?;
                    let number = usize::try_from(partition).unwrap_or(usize::MAX);
                    if let Some((tail, &(_, high))) = found.get_mut(number).zip(ends.get(number)) {
                        *tail = Some(Tail { place, text: text.to_vec() });
                        // Where somebody goes on writing, its end may never be reached.
                        if message.offset() >= high - 1 {
                            reading.remove(&partition);
                        }
                    }
                }
                Some(Err(RdError::PartitionEOF(ended))) => {
                    heard = Instant::now();
                    reading.remove(&ended);
                }
                // The client tells it once and tries on, and nobody has granted it meanwhile.
                Some(Err(error)) if read.denied(error.rdkafka_error_code()).is_some() => return Err(topic.refused(&error, &read)),
                // The client tries again by itself.
                Some(Err(error)) if !left.is_zero() => tracing::debug!(%error, "while reading the end of the topic"),
                Some(Err(error)) => return Err(topic.unreadable(error)),
                None if !left.is_zero() => {}
                None => return Err(topic.unreadable("the brokers do not answer in time")),
            }
        }
        // Only markers, or what was taken back.
        window = window.saturating_mul(WIDER);
    }
}
