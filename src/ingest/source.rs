//! Topics read: which partitions there are, and the threads that consume them.
//!
//! Partitions are consumed by assignment, from the offset that the store notes; no group has a say in it. Each reader is a
//! thread with a consumer and some of the partitions; one watcher looks for topics, new partitions and how far the
//! ends are. All of them block, so none is an async thread.

use super::keeper::{Errands, Keeper};
use super::lane::Lane;
use super::leaders::{Leaders, STEP};
use super::pace::{Pace, readers};
use super::status::State;
use super::stream::{Ended, Stream};
use super::wait::Stop;
use crate::config::KafkaOptions;
use crate::kafka::heard::{Heard, ask};
use crate::kafka::{self, KafkaError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a reader waits for a record when it has nothing else to do, and when the store has something of it.
const IDLE: Duration = Duration::from_millis(100);
const BUSY: Duration = Duration::from_millis(1);
/// Records that are looked at before the other partitions have a turn.
const TURN: usize = 256;
/// How often the watcher looks.
const WATCH: Duration = Duration::from_secs(2);
/// How long a broker has for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Kilobytes that a consumer fetches ahead.
const AHEAD: &str = "16384";

/// A consumer that goes where it is told and reads what is committed.
pub(crate) fn consumer(options: &KafkaOptions) -> Result<BaseConsumer<Heard>, KafkaError> {
    let mut config = kafka::reader(options, &options.brokers)?;
    // There is no consumer without the name of a group; nothing is ever committed to it.
    let defaults = [
        ("group.id", "tidegate-ingest"),
        ("queued.max.messages.kbytes", AHEAD),
        ("fetch.wait.max.ms", "100"),
        // What was fetched ahead is used up long before the client's own second is over.
        ("fetch.queue.backoff.ms", "10"),
    ];
    for (property, value) in defaults {
        if config.get(property).is_none() {
            config.set(property, value);
        }
    }
    config.set("isolation.level", "read_committed");
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // An offset that is gone is told, never skipped.
    config.set("auto.offset.reset", "error");
    config.set("enable.partition.eof", "true");
    config.set("allow.auto.create.topics", "false");
    config.create_with_context(Heard::default()).map_err(|error| kafka::refused(&config, &error))
}

/// A thread with a consumer and some partitions of a topic.
struct Reader {
    stream: Arc<Stream>,
    consumer: BaseConsumer<Heard>,
    lanes: BTreeMap<i32, Lane>,
    pace: Pace,
    orders: mpsc::Receiver<Order>,
}

/// What a reader does when no record waits.
enum Next {
    /// Lets more come to what has gathered, for so long
    Gather(Duration),
    /// Waits for the next record, at most so long
    Wait(Duration),
}

/// What the watcher wants of a reader.
enum Order {
    /// A partition is its from now on
    Read(i32),
    /// A partition is read from an earlier offset on once more
    Rewind { partition: i32, to: i64 },
    /// Whoever is at an end says so again
    Refresh,
}

impl Reader {
    /// Says so if it ends by a bug: nobody else would notice that its partitions stand still.
    fn run_watched(self) {
        let stream = Arc::clone(&self.stream);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run())).is_err() {
            stream.trouble("a reader failed inside the server; restart it, and report the log".to_owned());
            stream.board.set_state(State::Stopped);
        }
    }

    fn run(mut self) {
        while !self.stream.stop.is_now() {
            if let Err(ended) = self.turn() {
                if ended == Ended::Overtaken {
                    self.stream.board.set_state(State::Stopped);
                }
                return;
            }
        }
    }

    /// One round: new partitions, records that wait, commits that are due.
    fn turn(&mut self) -> Result<(), Ended> {
        let mut new = false;
        while let Ok(order) = self.orders.try_recv() {
            let partition = match order {
                Order::Read(partition) => partition,
                Order::Rewind { partition, to } => {
                    if let Some(lane) = self.lanes.get_mut(&partition) {
                        lane.rewind(to)?;
                    }
                    new = true;
                    continue;
                }
                Order::Refresh => {
                    new = true;
                    continue;
                }
            };
            match Lane::open(Arc::clone(&self.stream), partition) {
                Ok(lane) => new |= self.lanes.insert(partition, lane).is_none(),
                Err(error) => {
                    self.stream.trouble(format!("partition {partition} cannot be begun: {error}"));
                    self.stream.board.set_state(State::Stopped);
                    return Err(Ended::Stopped);
                }
            }
        }
        if new {
            self.assign();
        }
        let mut wait = Duration::ZERO;
        for _ in 0..TURN {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let Some(lane) = self.lanes.get_mut(&message.partition()) else { continue };
                    lane.take(&message)?;
                    if lane.is_full() {
                        lane.settled()?;
                        lane.advance()?;
                        self.pace.went(Instant::now());
                    }
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => {
                    self.trouble(error)?;
                    break;
                }
                None if wait.is_zero() => match self.advance()? {
                    // More comes meanwhile, and nobody is woken for each of it.
                    Next::Gather(left) => std::thread::sleep(left),
                    Next::Wait(long) => wait = long,
                },
                None => break,
            }
        }
        self.advance()?;
        Ok(())
    }

    /// Commits what has gathered, unless more is waited for.
    fn advance(&mut self) -> Result<Next, Ended> {
        let gathers = self.lanes.values().any(Lane::gathers);
        if let Some(left) = self.pace.left(Instant::now()).filter(|_| gathers) {
            return Ok(Next::Gather(left));
        }
        let (mut busy, mut went) = (false, false);
        for lane in self.lanes.values_mut() {
            went |= lane.advance()?;
            busy |= lane.is_busy();
        }
        if went {
            self.pace.went(Instant::now());
        } else if gathers {
            // It waits for what is under way, so it may as well grow.
            return Ok(Next::Gather(BUSY));
        }
        Ok(Next::Wait(if busy { BUSY } else { IDLE }))
    }

    /// Tells the consumer where each partition goes on.
    fn assign(&self) {
        let mut list = TopicPartitionList::new();
        for lane in self.lanes.values() {
            let offset = lane.next.map_or(Offset::Beginning, Offset::Offset);
            if let Err(error) = list.add_partition_offset(&self.stream.topic, lane.partition, offset) {
                self.stream.trouble(format!("partition {} cannot be read: {error}", lane.partition));
            }
        }
        if let Err(error) = self.consumer.assign(&list) {
            self.stream.trouble(format!("the partitions cannot be read: {error}"));
        }
    }

    fn trouble(&mut self, error: ClientError) -> Result<(), Ended> {
        match error {
            ClientError::PartitionEOF(partition) => {
                if let Some(next) = self.lanes.get(&partition).map(|lane| lane.next.unwrap_or(0)) {
                    self.stream.board.at_end(partition, next);
                }
                Ok(())
            }
            ClientError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => self.find_again(),
            // It looks for the group that its configuration names. Nothing is asked of that group, so nobody need have the right.
            ClientError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed) => Ok(()),
            // The client tries these again by itself.
            error => {
                let denied = self.stream.denied(error.rdkafka_error_code());
                self.stream.trouble(denied.unwrap_or_else(|| format!("the brokers: {error}; it is tried again")));
                self.stream.stop.pause(IDLE);
                Ok(())
            }
        }
    }

    /// Some offset that should come next is not in the topic: goes on where there is something, and says what is lost.
    fn find_again(&mut self) -> Result<(), Ended> {
        for lane in self.lanes.values_mut() {
            let Some(next) = lane.next else { continue };
            if self.stream.stop.is_now() {
                return Err(Ended::Stopped);
            }
            let (low, high) = match self.consumer.fetch_watermarks(&self.stream.topic, lane.partition, STEP) {
                Ok(marks) => marks,
                Err(error) => {
                    self.stream
                        .trouble(format!("the brokers do not say where partition {} is: {error}; it is tried again", lane.partition));
                    continue;
                }
            };
            if next < low {
                let lost = low.saturating_sub(next);
                lane.jump(low, u64::try_from(lost).unwrap_or(0))?;
                self.stream.trouble(format!(
                    "partition {}: the records {next} to {} are gone from the topic unread; keep its records longer (retention.ms)",
                    lane.partition,
                    low - 1
                ));
            } else if next > high {
                // Made anew, or its tail was lost with a broker: read again it comes to what it holds.
                lane.jump(low, 0)?;
                self.stream.trouble(format!(
                    "partition {} ends at {high}, and {next} should come next: the topic was made anew or cut; it is read from {low} on",
                    lane.partition
                ));
            }
        }
        self.assign();
        Ok(())
    }
}

/// What the watcher knows of a topic.
struct Watched {
    stream: Arc<Stream>,
    /// The readers that were started, and how many there may be
    readers: Vec<mpsc::Sender<Order>>,
    most: usize,
    partitions: i32,
    /// The partition that was asked first where it ends
    first: i32,
    keeper: Keeper,
}

/// The threads that read.
pub(crate) struct Threads {
    watcher: Option<JoinHandle<()>>,
}

impl Threads {
    /// Starts reading. Wrong configurations are errors now; topics and brokers that are not there yet are waited for.
    pub(crate) fn start(options: &KafkaOptions, streams: &[Arc<Stream>], stop: Stop) -> Result<Threads, KafkaError> {
        let consumer = consumer(options)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = readers(cores, streams.len());
        let watched = streams
            .iter()
            .map(|stream| Watched {
                stream: Arc::clone(stream),
                readers: Vec::new(),
                most,
                partitions: 0,
                first: 0,
                keeper: Keeper::default(),
            })
            .collect();
        let options = options.clone();
        let watcher = spawn("ingest-watcher", move || watch(&options, &consumer, watched, &stop))?;
        Ok(Threads { watcher: Some(watcher) })
    }

    /// Waits until all have ended. Blocks.
    pub(crate) fn join(&mut self) {
        if self.watcher.take().is_some_and(|watcher| watcher.join().is_err()) {
            tracing::error!("the watcher of ingest panicked");
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, KafkaError> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(|error| KafkaError::Property(error.to_string()))
}

/// Looks for topics, partitions and ends until it is told to end; then waits for the readers.
fn watch(options: &KafkaOptions, consumer: &BaseConsumer<Heard>, mut watched: Vec<Watched>, stop: &Stop) {
    let mut threads = Vec::new();
    while !stop.is_now() {
        for topic in &mut watched {
            if stop.is_now() {
                break;
            }
            if let Err(problem) = topic.look(options, consumer, &mut threads)
                && !stop.is_now()
            {
                topic.stream.trouble(problem);
            }
            topic.stream.board.tick();
        }
        // What the client has to say beside answers.
        while let Some(told) = consumer.poll(Duration::ZERO) {
            if let Err(error) = told {
                tracing::debug!(%error, "the watcher's client");
            }
        }
        stop.pause(WATCH);
    }
    for topic in watched {
        topic.keeper.join();
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a reader of ingest panicked");
        }
    }
}

impl Watched {
    fn look(&mut self, options: &KafkaOptions, consumer: &BaseConsumer<Heard>, threads: &mut Vec<JoinHandle<()>>) -> Result<(), String> {
        let topic = &self.stream.topic;
        let stop = &self.stream.stop;
        let metadata = ask(consumer, ANSWER, || stop.is_now(), |consumer, step| consumer.fetch_metadata(Some(topic), step))
            .map_err(|reason| format!("no broker answers at {}: {reason}; it is tried again", options.brokers))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions = match found.map(|found| (found.error(), found.partitions().len())) {
            Some((None, partitions)) => i32::try_from(partitions).unwrap_or(i32::MAX),
            Some((Some(error), _)) => {
                let error = RDKafkaErrorCode::from(error);
                return Err(match error {
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                        format!("there is no topic {topic} yet; it is read as soon as it is there")
                    }
                    error => {
                        let denied = self.stream.denied(Some(error));
                        denied.unwrap_or_else(|| format!("the topic {topic} cannot be read: {error}; it is tried again"))
                    }
                });
            }
            None => 0,
        };
        for partition in self.partitions..partitions {
            let reader = usize::try_from(partition).unwrap_or(0) % self.most;
            if self.readers.len() <= reader {
                let (send, orders) = mpsc::channel();
                let consumer = self::consumer(options).map_err(|error| error.to_string())?;
                let reader = Reader { stream: Arc::clone(&self.stream), consumer, lanes: BTreeMap::new(), pace: Pace::default(), orders };
                threads.push(spawn("ingest-reader", move || reader.run_watched()).map_err(|error| error.to_string())?);
                self.readers.push(send);
            }
            if let Some(reader) = self.readers.get(reader) {
                // A reader that has ended has said why.
                let _ = reader.send(Order::Read(partition));
            }
            self.partitions = partition + 1;
        }
        if self.partitions > 0 {
            self.stream.board.set_state(State::Running);
        }
        let errands = Brokers { topic, consumer, leaders: Leaders::of(found, stop), readers: &self.readers, most: self.most };
        // From another one each time: a partition whose leader does not answer for it keeps the others of that leader waiting.
        self.first = if self.first + 1 < partitions { self.first + 1 } else { 0 };
        for partition in (self.first..partitions).chain(0..self.first) {
            if let Some((_, end)) = errands.ends(partition) {
                self.stream.board.end(partition, end);
            }
        }
        self.keeper.look(&self.stream, &self.stream.board.seen(), &errands);
        Ok(())
    }
}

/// What the watcher asks the brokers in one look, and what the keeper of snapshots can ask for.
struct Brokers<'w> {
    topic: &'w str,
    consumer: &'w BaseConsumer<Heard>,
    leaders: Leaders<'w>,
    readers: &'w [mpsc::Sender<Order>],
    most: usize,
}

impl Brokers<'_> {
    fn tell(&self, partition: i32, order: Order) {
        let reader = usize::try_from(partition).unwrap_or(0) % self.most;
        if let Some(reader) = self.readers.get(reader) {
            // A reader that has ended has said why.
            let _ = reader.send(order);
        }
    }
}

impl Errands for Brokers<'_> {
    fn offset_at(&self, partition: i32, at: i64) -> Option<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.topic, partition, Offset::Offset(at)).ok()?;
        let found = self.leaders.ask(partition, |time| self.consumer.offsets_for_times(list, time))?;
        match found.find_partition(self.topic, partition)?.offset() {
            Offset::Offset(offset) => Some(offset),
            // Everything is older.
            _ => self.ends(partition).map(|(_, end)| end),
        }
    }

    fn ends(&self, partition: i32) -> Option<(i64, i64)> {
        self.leaders.ask(partition, |time| self.consumer.fetch_watermarks(self.topic, partition, time))
    }

    fn rewind(&self, partition: i32, to: i64) {
        self.tell(partition, Order::Rewind { partition, to });
    }

    fn refresh(&self, partition: i32) {
        self.tell(partition, Order::Refresh);
    }
}
