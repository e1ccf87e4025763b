//! Follows the topic: threads that read partitions and decode their records, and the merge that puts them in order.
//!
//! Each thread has a consumer of its own with partitions assigned at given offsets. A partition's records wait in its lane of
//! the merge, bounded by bytes; a partition whose lane is full is not read on, the others are. What librdkafka
//! rides out by itself (brokers that restart, leaders that move) is not seen here but as silence.

use super::consume::{self, Consumer, Context, Outage, Partitions};
use super::format::{CONTROL, Place};
use super::merge::{Fault, Merge, Offered};
use super::seek::{Index, Prober, SeekError};
use super::standstill::Standstill;
use crate::changelog::embedded::EmbeddedLog;
use crate::changelog::recent::{Gather, Recorded};
use crate::changelog::{Batch, Follower, LogError, Position};
use futures_util::future::BoxFuture;
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// How often a thread that has nothing to do serves its consumer's events and looks whether the merge stands still.
const TICK: Duration = Duration::from_secs(1);

/// How long a search for offsets may take before it begins anew.
const SEARCH: Duration = Duration::from_secs(10);

/// Messages that are decoded between two looks at the merge.
const GULP: usize = 512;

/// What the followers of a log count together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Records whose parsed change was still in memory
    pub(crate) reused: AtomicU64,
    /// Records that were parsed again
    pub(crate) decoded: AtomicU64,
    /// Records that came again
    pub(crate) repeats: AtomicU64,
    /// Messages in the topic that are no change records
    pub(crate) strangers: AtomicU64,
    /// Followers that found what they were to read deleted
    pub(crate) trimmed: AtomicU64,
    /// Not a counter: the furthest commit that a follower has given
    pub(crate) followed: AtomicU64,
}

/// What every follower of a log has in common.
pub(crate) struct Source {
    pub(crate) topic: Partitions,
    /// Knows what is still in memory, and how a record's text is read
    pub(crate) outbox: Arc<EmbeddedLog>,
    pub(crate) outage: Arc<Outage>,
    pub(crate) index: Mutex<Index>,
    pub(crate) counters: Counters,
    /// Threads of all followers: each holds the store's files
    pub(crate) threads: Arc<watch::Sender<usize>>,
}

/// Counts a thread of a follower as long as it may read the store's files: goes after all that holds them.
struct Running(Arc<watch::Sender<usize>>);

impl Running {
    fn new(source: &Arc<Source>) -> Running {
        source.threads.send_modify(|threads| *threads += 1);
        Running(Arc::clone(&source.threads))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|threads| *threads -= 1);
    }
}

/// How much a follower may hold, and on how many threads it reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means {
    pub(crate) threads: usize,
    /// Bytes that wait in one partition's lane
    pub(crate) lane_bytes: usize,
}

/// A record as it waits in the merge; why it cannot be read matters only once it is its turn.
type Decoded = Result<Recorded, String>;

struct State {
    /// None until the offsets are known
    merge: Option<Merge<Decoded>>,
    /// The beginning of a batch whose end is not there yet: it is given as one
    begun: Vec<Recorded>,
    /// Why there is nothing more behind what the merge can give
    fault: Option<LogError>,
    /// The threads that read
    threads: Vec<Thread>,
    /// Some thread passed over a partition whose lane was full: it is to be woken when there is room
    full: bool,
}

struct Shared {
    source: Arc<Source>,
    means: Means,
    start: Position,
    state: Mutex<State>,
    /// Something can be given, or there is a fault
    told: Notify,
    /// Everything up to this commit was given
    given: AtomicU64,
    closed: AtomicBool,
}

/// Follows the topic from a commit on.
pub(crate) struct KafkaFollower {
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaFollower {
    /// From the position on, whose commit number counts.
    pub(crate) fn new(source: Arc<Source>, start: Position, means: Means) -> KafkaFollower {
        let state = State { merge: None, begun: Vec::new(), fault: None, threads: Vec::new(), full: false };
        let given = AtomicU64::new(start.commit());
        let (state, told, closed) = (Mutex::new(state), Notify::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { source, means, start, state, told, given, closed });
        let (first, running) = (Arc::clone(&shared), Running::new(&shared.source));
        let begun = std::thread::Builder::new().name("changelog-0".to_owned()).spawn(move || begin(running, first));
        if let Err(error) = begun {
            shared.fail(LogError::Broken(error.to_string()));
        }
        KafkaFollower { shared }
    }

    /// Everything up to here was given.
    pub(crate) fn given(&self) -> u64 {
        self.shared.given.load(Acquire)
    }
}

impl Drop for KafkaFollower {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
        for thread in &lock(&self.shared.state).threads {
            thread.unpark();
        }
    }
}

impl Follower for KafkaFollower {
    fn next(&mut self, bytes: usize) -> BoxFuture<'_, Result<Batch, LogError>> {
        Box::pin(async move {
            loop {
                let told = self.shared.told.notified();
                if let Some(batch) = self.shared.take(bytes)? {
                    return Ok(batch);
                }
                told.await;
            }
        })
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    fn position(&self, commit: u64) -> Position {
        Position::single(self.start.log, commit)
    }

    fn given(&self) -> u64 {
        self.given.load(Acquire)
    }

    /// As far as this process knows: the outbox's beginning is a place to read from.
    fn outbox_oldest(&self) -> u64 {
        crate::changelog::ChangeLog::oldest(&*self.source.outbox).commit()
    }

    fn gone(&self, oldest: u64) -> LogError {
        self.source.counters.trimmed.fetch_add(1, Relaxed);
        LogError::Gone { asked: self.position(self.given()), oldest: self.position(oldest) }
    }

    fn error(&self, fault: Fault) -> LogError {
        match fault {
            Fault::Trimmed { oldest, .. } => self.gone(oldest),
            Fault::Lost { commit, .. } => self.gone(commit - 1),
            Fault::Foreign { commit, .. } | Fault::Hole { commit, .. } | Fault::Missing { commit, .. } => {
                LogError::Unreadable { commit, reason: fault.to_string() }
            }
        }
    }

    /// There will be nothing more. The first reason is the one.
    fn fail(&self, error: LogError) {
        lock(&self.state).fault.get_or_insert(error);
        self.told.notify_one();
    }

    /// What can be given now.
    fn take(&self, bytes: usize) -> Result<Option<Batch>, LogError> {
        let mut state = lock(&self.state);
        let State { merge, begun, fault, threads, full } = &mut *state;
        let Some(merge) = merge else { return fault.clone().map_or(Ok(None), Err) };
        let mut gather = Gather::new(self.position(self.given()), bytes);
        let mut taken = false;
        while gather.has_room() {
            match merge.pop() {
                Ok(Some((_, Ok(recorded)))) => {
                    if begun.is_empty() && gather.splits(&recorded) {
                        fault.get_or_insert_with(|| self.gone(self.outbox_oldest()));
                        break;
                    }
                    let complete = recorded.batch().is_none_or(|batch| recorded.commit() >= batch.last);
                    begun.push(recorded);
                    if complete {
                        begun.drain(..).for_each(|recorded| gather.put(self.start.log, recorded));
                        taken = true;
                    }
                }
                // What comes before it can be given first.
                Ok(Some((place, Err(reason)))) => {
                    fault.get_or_insert(LogError::Unreadable { commit: place.commit, reason });
                    break;
                }
                Ok(None) => break,
                Err(error) => {
                    fault.get_or_insert_with(|| self.error(error));
                    break;
                }
            }
        }
        if std::mem::take(full) {
            threads.iter().for_each(Thread::unpark);
        }
        if !taken {
            return fault.clone().map_or(Ok(None), Err);
        }
        lock(&self.source.index).note(merge.last(), || merge.offsets());
        let batch = gather.finish();
        self.given.store(batch.through.commit(), Release);
        self.source.counters.followed.fetch_max(batch.through.commit(), Relaxed);
        Ok(Some(batch))
    }
}

/// Finds the offsets, starts the other threads and becomes the first of them.
fn begin(running: Running, shared: Arc<Shared>) {
    lock(&shared.state).threads.push(std::thread::current());
    let Some(offsets) = offsets(&shared) else { return };
    let merge = Merge::new(shared.start.log, shared.start.commit(), &offsets);
    lock(&shared.state).merge = Some(merge);
    let threads = shared.means.threads.clamp(1, offsets.len());
    for number in 1..threads {
        let mine = share(&offsets, number, threads);
        let begun = std::thread::Builder::new().name(format!("changelog-{number}")).spawn({
            let (shared, running) = (Arc::clone(&shared), Running::new(&shared.source));
            move || read(running, shared, &mine, false)
        });
        match begun {
            Ok(thread) => lock(&shared.state).threads.push(thread.thread().clone()),
            Err(error) => return shared.fail(LogError::Broken(error.to_string())),
        }
    }
    read(running, shared, &share(&offsets, 0, threads), true);
}

/// The partitions of one thread, and where to read them from.
fn share(offsets: &[i64], number: usize, of: usize) -> Vec<(usize, i64)> {
    offsets.iter().copied().enumerate().skip(number).step_by(of).collect()
}

/// Where each partition is read from. Goes on trying while brokers are away; none: it is known that it cannot be had, or nobody
/// asks any more.
fn offsets(shared: &Shared) -> Option<Vec<i64>> {
    let (source, start) = (&shared.source, shared.start.commit());
    while !shared.is_closed() {
        let hints = lock(&source.index).floor(start).map(<[i64]>::to_vec);
        let search = || -> Result<Vec<i64>, SeekError> {
            let prober = Prober::new(&source.topic, &source.outage, Instant::now() + SEARCH)?.until(&shared.closed);
            prober.find(start, hints.as_deref())
        };
        match search() {
            Ok(offsets) => {
                lock(&source.index).learn(start, &offsets);
                return Some(offsets);
            }
            Err(SeekError::Trimmed { oldest }) => {
                lock(&source.index).forget(oldest);
                shared.fail(shared.gone(oldest));
                return None;
            }
            Err(error) => {
                source.outage.began(&error);
                std::thread::park_timeout(TICK);
            }
        }
    }
    None
}

/// One thread. The first one also looks whether the merge stands still.
fn read(running: Running, shared: Arc<Shared>, partitions: &[(usize, i64)], first: bool) {
    let assigned = match assign(&shared.source, partitions) {
        Ok(assigned) => assigned,
        Err(error) => return shared.fail(LogError::Broken(error.to_string())),
    };
    let mut standstill = Standstill::default();
    while !shared.is_closed() {
        if !pass(&shared, &assigned) {
            std::thread::park_timeout(TICK);
            if first {
                look(&shared, &mut standstill);
            }
        }
    }
    // The consumer may take its time to end; who closes the store does not wait for that.
    drop(shared);
    drop(running);
    drop(assigned);
}

/// A consumer, and a queue for each of its partitions.
struct Assigned {
    // Before the consumer that they belong to.
    queues: Vec<(usize, PartitionQueue<Context>)>,
    consumer: Arc<Consumer>,
}

fn assign(source: &Source, partitions: &[(usize, i64)]) -> Result<Assigned, KafkaError> {
    let topic = &source.topic;
    let mut config = topic.consumer();
    // For each queue: what is fetched ahead of the merge.
    for (property, value) in [("queued.max.messages.kbytes", "4096"), ("queued.min.messages", "10000")] {
        if config.get(property).is_none() {
            config.set(property, value);
        }
    }
    let consumer = Arc::new(consume::consumer(&config, &source.outage)?);
    let mut assignment = TopicPartitionList::with_capacity(partitions.len());
    let mut queues = Vec::with_capacity(partitions.len());
    let thread = std::thread::current();
    for (partition, offset) in partitions {
        let number = i32::try_from(*partition).unwrap_or(CONTROL);
        assignment.add_partition_offset(&topic.name, number, Offset::Offset(*offset))?;
        // Before the assignment, so that everything of it goes to its own queue.
        let mut queue = consumer.split_partition_queue(&topic.name, number).ok_or(KafkaError::Subscription(topic.name.clone()))?;
        let thread = thread.clone();
        queue.set_nonempty_callback(move || thread.unpark());
        queues.push((*partition, queue));
    }
    consumer.assign(&assignment)?;
    Ok(Assigned { queues, consumer })
}

/// Reads what is there into the lanes that have room. False: there was nothing.
fn pass(shared: &Shared, assigned: &Assigned) -> bool {
    let source = &shared.source;
    // Serves the consumer's events; its records are all in the queues.
    if let Some(Err(error)) = assigned.consumer.poll(Duration::ZERO) {
        troubled(shared, &error);
    }
    let room: Vec<usize> = {
        let mut state = lock(&shared.state);
        let State { merge: Some(merge), full, .. } = &mut *state else { return false };
        let room = |partition: usize| shared.means.lane_bytes.saturating_sub(merge.bytes(partition));
        let rooms: Vec<usize> = assigned.queues.iter().map(|(partition, _)| room(*partition)).collect();
        *full |= rooms.contains(&0);
        rooms
    };
    let mut messages: Vec<(usize, BorrowedMessage<'_>)> = Vec::new();
    for ((partition, queue), mut room) in assigned.queues.iter().zip(room) {
        let end = messages.len() + GULP;
        while room > 0 && messages.len() < end {
            match queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    room = room.saturating_sub(message.payload_len());
                    messages.push((*partition, message));
                }
                Some(Err(error)) => {
                    troubled(shared, &error);
                    break;
                }
                None => break,
            }
        }
    }
    if messages.is_empty() {
        return false;
    }
    source.outage.ended();
    take_in(shared, &messages);
    true
}

/// Decodes, and hands over to the merge.
fn take_in(shared: &Shared, messages: &[(usize, BorrowedMessage<'_>)]) {
    let (source, start) = (&shared.source, shared.start.commit());
    let places: Vec<Option<Place>> = messages.iter().map(|(_, message)| message.headers().and_then(Place::read)).collect();
    let commits = places.iter().flatten().filter(|place| place.commit > start).map(|place| place.commit);
    let mut known = source.outbox.recall(commits).into_iter();
    let (mut reused, mut decoded, mut strangers) = (0, 0, 0);
    let mut offers: Vec<(usize, i64, Place, usize, Option<Decoded>)> = Vec::with_capacity(messages.len());
    for ((partition, message), place) in messages.iter().zip(places) {
        let Some(place) = place else {
            strangers += 1;
            continue;
        };
        let record = match (place.commit > start).then(|| known.next().flatten()) {
            // What is before the start is not needed, nor is that of another log.
            None => None,
            Some(_) if place.log != source.topic.log => None,
            Some(Some(recorded)) => {
                reused += 1;
                Some(Ok(recorded))
            }
            Some(None) => {
                decoded += 1;
                Some(source.outbox.decode(place.commit, message.payload().unwrap_or_default()))
            }
        };
        offers.push((*partition, message.offset(), place, message.payload_len(), record));
    }
    source.counters.reused.fetch_add(reused, Relaxed);
    source.counters.decoded.fetch_add(decoded, Relaxed);
    if strangers > 0 && source.counters.strangers.fetch_add(strangers, Relaxed) == 0 {
        tracing::warn!(
            topic = source.topic.name,
            "the topic of the change log holds messages that are no change records; they are passed over"
        );
    }
    let mut repeats = 0;
    {
        let mut state = lock(&shared.state);
        let State { merge: Some(merge), fault, .. } = &mut *state else { return };
        if fault.is_some() {
            return;
        }
        for (partition, offset, place, size, record) in offers {
            let offered = match record {
                Some(record) => merge.offer(partition, offset, place, size, record),
                None => merge.pass(partition, place),
            };
            match offered {
                Ok(Offered::Waits) => {}
                Ok(Offered::Repeat) => repeats += u64::from(place.commit > start),
                Err(error) => {
                    *fault = Some(shared.error(error));
                    break;
                }
            }
        }
    }
    source.counters.repeats.fetch_add(repeats, Relaxed);
    shared.told.notify_one();
}

/// Something is wrong with a consumer or a partition. Most of it passes.
fn troubled(shared: &Shared, error: &KafkaError) {
    let source = &shared.source;
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
        // What was to be read next is deleted, or the topic was made anew. Where it begins now is good to know, no more.
        let oldest = Prober::new(&source.topic, &source.outage, Instant::now() + TICK).and_then(|prober| prober.oldest());
        let oldest = oldest.unwrap_or_else(|_| shared.outbox_oldest());
        lock(&source.index).forget(oldest);
        shared.fail(shared.gone(oldest));
    } else if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        shared.fail(LogError::Broken(error.to_string()));
    } else {
        source.outage.heard(error, &source.topic.name);
    }
}

/// Whether records wait for one that does not come.
fn look(shared: &Shared, standstill: &mut Standstill) {
    let (stall, empty) = {
        let state = lock(&shared.state);
        let Some(merge) = &state.merge else { return };
        (merge.stall(), merge.empty().collect::<Vec<_>>())
    };
    let source = &shared.source;
    if let Some(oldest) = standstill.look(stall, &empty, &source.topic, &source.outage) {
        shared.fail(shared.gone(oldest));
    }
}
