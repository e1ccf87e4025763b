//! Dead letters tried again: read by the mapping as it is now, and written as if they came now.
//!
//! That a letter was replayed is noted in the same transaction, so it happens once. What was written of the same object since
//! is written over: whoever replays has to know that the letter is the newer state, or that nothing newer came.

use super::apply;
use super::dead_letter::{Content, Fault, Letter, Raw};
use super::meaning::{Meaning, Moments};
use super::progress;
use super::service::Ingest;
use super::source;
use super::stream::Stream;
use crate::config::KafkaOptions;
use crate::kafka::KafkaError;
use crate::store::{Intake, IntakeError, Note, StoreError, Write};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Letters, and bytes of them, in one transaction.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 4 << 20;
/// How long a broker has for the next record.
const ANSWER: Duration = Duration::from_secs(10);
/// Failures that are told one by one.
const TOLD: usize = 100;

/// Which letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of a topic
    All,
    /// One, by where its record is
    One {
        /// The partition
        partition: i32,
        /// The offset
        offset: i64,
    },
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Letters that are taken in now
    pub replayed: u64,
    /// Letters that had been before
    pub before: u64,
    /// Letters that are still dead
    pub failed: u64,
    /// The first of those, with the reasons
    pub failures: Vec<Failure>,
}

/// A letter that is still dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Of its record
    pub partition: i32,
    /// Of its record
    pub offset: i64,
    /// Stable name of what is wrong
    pub code: String,
    /// What is wrong
    pub reason: String,
}

/// Why nothing can be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// No such mapping
    #[error("no topic {0} comes in here; `tidegate ingest status` lists those that do")]
    Topic(String),
    /// Several mappings
    #[error("the topic {0} comes into several buckets; say which")]
    Ambiguous(String),
    /// No such letter
    #[error("there is no dead letter {partition}:{offset} of the topic {topic}")]
    Missing {
        /// The topic
        topic: String,
        /// The partition
        partition: i32,
        /// The offset
        offset: i64,
    },
    /// The file of letters
    #[error("the dead letters cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// The brokers
    #[error("the brokers do not give the records: {0}")]
    Kafka(String),
    /// The store
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReplayError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            ReplayError::Topic(_) | ReplayError::Ambiguous(_) => "replay-topic",
            ReplayError::Missing { .. } => "replay-missing",
            ReplayError::File(_) => "replay-file",
            ReplayError::Kafka(_) => "replay-kafka",
            ReplayError::Store(error) => error.code(),
        }
    }
}

impl From<ClientError> for ReplayError {
    fn from(error: ClientError) -> Self {
        ReplayError::Kafka(error.to_string())
    }
}

impl From<KafkaError> for ReplayError {
    fn from(error: KafkaError) -> Self {
        ReplayError::Kafka(error.to_string())
    }
}

impl Ingest {
    /// Tries dead letters again. Blocks. `bucket` where a topic comes into several.
    pub fn replay(&self, topic: &str, bucket: Option<&str>, which: Which) -> Result<Replayed, ReplayError> {
        let mut streams =
            self.streams().iter().filter(|stream| stream.topic == topic && bucket.is_none_or(|bucket| *stream.target.bucket == *bucket));
        let stream = streams.next().ok_or_else(|| ReplayError::Topic(topic.to_owned()))?;
        if streams.next().is_some() {
            return Err(ReplayError::Ambiguous(topic.to_owned()));
        }
        // One at a time, so that what is seen as dead stays so until it is written.
        let _turn = stream.replaying.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut replay = Replay { stream, kafka: self.kafka(), done: Replayed::default(), batch: Vec::new(), bytes: 0 };
        match which {
            Which::All => replay.all()?,
            Which::One { partition, offset } => replay.one(partition, offset)?,
        }
        replay.commit()?;
        Ok(replay.done)
    }
}

/// One run.
struct Replay<'i> {
    stream: &'i Arc<Stream>,
    kafka: &'i KafkaOptions,
    done: Replayed,
    batch: Vec<Again>,
    /// Of the letters in the batch
    bytes: usize,
}

/// A letter on its way.
struct Again {
    partition: i32,
    offset: i64,
    write: Option<Write>,
}

impl Replay<'_> {
    fn one(&mut self, partition: i32, offset: i64) -> Result<(), ReplayError> {
        let mut found = None;
        self.stream.mailbox.file().read(|letter| {
            if (letter.partition, letter.offset, &*letter.bucket) == (partition, offset, &*self.stream.target.bucket) {
                found = Some(letter);
            }
        })?;
        match found {
            Some(letter) => self.letter(&letter),
            // What went to a topic is in the source as well, as long as that keeps it.
            None if self.stream.mailbox.topic().is_some() => self.read_source(partition, offset),
            None => Err(ReplayError::Missing { topic: self.stream.topic.clone(), partition, offset }),
        }
    }

    fn all(&mut self) -> Result<(), ReplayError> {
        let stream = self.stream;
        // By place: a crash may have kept one twice.
        let (mut places, mut result) = (HashSet::new(), Ok(()));
        stream.mailbox.file().read(|letter| {
            if result.is_ok() && *letter.bucket == *stream.target.bucket && places.insert((letter.partition, letter.offset)) {
                result = self.letter(&letter);
            }
        })?;
        result?;
        match self.stream.mailbox.topic().map(str::to_owned) {
            Some(topic) => self.read_topic(&topic),
            None => Ok(()),
        }
    }

    fn letter(&mut self, letter: &Letter) -> Result<(), ReplayError> {
        if letter.cut {
            return self.read_source(letter.partition, letter.offset);
        }
        let (key, value) = (letter.key.as_ref().and_then(Content::bytes), letter.value.as_ref().and_then(Content::bytes));
        self.again(letter.partition, letter.offset, key.as_deref(), value.as_deref())
    }

    /// A record by its place in the source.
    fn read_source(&mut self, partition: i32, offset: i64) -> Result<(), ReplayError> {
        let consumer = source::consumer(self.kafka)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.stream.topic, partition, Offset::Offset(offset))?;
        consumer.assign(&list)?;
        match next(&consumer) {
            Ok(Some(message)) if message.offset() == offset => self.again(partition, offset, message.key(), message.payload()),
            Ok(_) => {
                self.failed(partition, offset, "replay-missing", "the source does not keep the record any more".into());
                Ok(())
            }
            Err(error) => {
                self.failed(partition, offset, "replay-kafka", error.to_string());
                Ok(())
            }
        }
    }

    /// Everything in the topic for letters that is of this mapping.
    fn read_topic(&mut self, topic: &str) -> Result<(), ReplayError> {
        let consumer = source::consumer(self.kafka)?;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
        let partitions = metadata.topics().first().map_or(0, |found| found.partitions().len());
        for partition in 0..i32::try_from(partitions).unwrap_or(0) {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
            consumer.assign(&list)?;
            while let Some(message) = next(&consumer)? {
                if let Some((partition, offset)) = origin(&message, &self.stream.topic, &self.stream.target.bucket) {
                    self.again(partition, offset, message.key(), message.payload())?;
                }
            }
        }
        Ok(())
    }

    /// Reads a record as it is read now, and puts what it means into the batch.
    fn again(&mut self, partition: i32, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), ReplayError> {
        let name = self.name(partition, offset);
        if self.stream.intakes.notes(&name, None, 1)?.first().is_some_and(|(known, _)| *known == name) {
            self.done.before += 1;
            return Ok(());
        }
        let raw = Raw { partition, offset, timestamp: None, key, value, headers: None };
        let write = self.stream.read(&raw).map_err(|unread| unread.fault).and_then(|meaning| match meaning {
            Meaning::Put { id, fields, .. } => {
                let key = self.stream.key(&id)?;
                Ok((Moments::clone(&fields.moments), Some(self.stream.target.put(key, fields))))
            }
            Meaning::Delete { id } => Ok((Moments::new(), Some(apply::delete(self.stream.key(&id)?)))),
            Meaning::Truncate => {
                Err(Fault { code: "replay-truncate", reason: "a truncate is not replayed: it would remove what came since".into() })
            }
            Meaning::Skip(_) => Ok((Moments::new(), None)),
        });
        match write {
            Ok((mut moments, write)) => {
                self.stream.declare(&mut moments).map_err(|_| StoreError::Closed)?;
                self.batch.push(Again { partition, offset, write });
                self.bytes += key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
            }
            Err(fault) => self.failed(partition, offset, fault.code, fault.reason),
        }
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), ReplayError> {
        let mut batch = std::mem::take(&mut self.batch);
        // What does not fit beside the first ones, the next ones last.
        let mut rest: Vec<Vec<Again>> = Vec::new();
        self.bytes = 0;
        loop {
            let Some(first) = batch.first() else {
                match rest.pop() {
                    Some(next) => batch = next,
                    None => return Ok(()),
                }
                continue;
            };
            let now = apply::moment(self.stream.clock.now_ms());
            let places: Vec<usize> = batch.iter().enumerate().filter(|(_, again)| again.write.is_some()).map(|(place, _)| place).collect();
            let intake = Intake {
                expect: Note { key: self.name(first.partition, first.offset), value: None },
                writes: batch.iter().filter_map(|again| again.write.clone()).collect(),
                notes: batch
                    .iter()
                    .map(|again| Note { key: self.name(again.partition, again.offset), value: Some(now.clone().into()) })
                    .collect(),
            };
            let mut answer = self.stream.intakes.commit_intake(intake);
            match self.stream.stop.wait(&mut answer).ok_or(StoreError::Closed)? {
                Ok(_) => {
                    self.done.replayed += batch.len() as u64;
                    batch.clear();
                }
                Err(IntakeError::Large { fits }) => {
                    let place = places.get(fits).copied().unwrap_or(batch.len());
                    rest.push(batch.split_off(place));
                }
                Err(IntakeError::Refused(refused)) => {
                    for (write, error) in refused.into_iter().rev() {
                        if let Some(place) = places.get(write) {
                            let again = batch.remove(*place);
                            self.failed(again.partition, again.offset, error.code(), error.to_string());
                        }
                    }
                }
                Err(IntakeError::Overtaken) => return Err(StoreError::Overloaded.into()),
                Err(IntakeError::Store(error)) => return Err(error.into()),
            }
        }
    }

    fn name(&self, partition: i32, offset: i64) -> bytes::Bytes {
        progress::replayed(&self.stream.target.bucket, &self.stream.topic, partition, offset)
    }

    fn failed(&mut self, partition: i32, offset: i64, code: &str, reason: String) {
        self.done.failed += 1;
        if self.done.failures.len() < TOLD {
            self.done.failures.push(Failure { partition, offset, code: code.to_owned(), reason });
        }
    }
}

/// The next record; none at the end of the partition.
fn next<C: rdkafka::consumer::ConsumerContext>(consumer: &BaseConsumer<C>) -> Result<Option<BorrowedMessage<'_>>, ClientError> {
    let until = Instant::now() + ANSWER;
    let mut problem = ClientError::Canceled;
    while Instant::now() < until {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => return Ok(Some(message)),
            Some(Err(ClientError::PartitionEOF(_))) => return Ok(None),
            Some(Err(error)) => problem = error,
            None => {}
        }
    }
    Err(problem)
}

/// Where a record of the topic for letters comes from, if it is of this mapping.
fn origin(message: &BorrowedMessage<'_>, topic: &str, bucket: &str) -> Option<(i32, i64)> {
    // The last of a name is ours: the record may have had such headers before.
    let headers: BTreeMap<&str, &str> =
        message.headers()?.iter().filter_map(|header| Some((header.key, std::str::from_utf8(header.value?).ok()?))).collect();
    if headers.get("tidegate-topic") != Some(&topic) || headers.get("tidegate-bucket") != Some(&bucket) {
        return None;
    }
    Some((headers.get("tidegate-partition")?.parse().ok()?, headers.get("tidegate-offset")?.parse().ok()?))
}
