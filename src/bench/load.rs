//! Writers and subscribers together, and what they saw.
//!
//! Writers each have a connection and some of the objects, and write one after the other. Subscribers note
//! when which write's event came. Both are joined after the run, by the write's number: nothing is
//! computed while it is measured. Events are checked too: none for a write that did not cause it, none
//! twice, and the last state of every object reached its subscribers.

use super::BenchError;
use super::http::{Base, HttpClient};
use super::latency::Latencies;
use super::subscriber::{Heard, PATIENCE, Subscriber};
use super::workload::Workload;
use futures_util::future::try_join_all;
use hyper::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Connections that are opened at a time; a listener's queue is not endless.
const OPENING: usize = 64;
/// One write in so many moves its object from one query to another.
const MOVES: u32 = 4;

/// A load to be put on a server.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The server
    pub base: Base,
    /// Whose writes; none is anonymous
    pub token: Option<String>,
    /// A bucket of its own
    pub bucket: String,
    /// Queries and objects
    pub workload: Workload,
    /// Connections that write, at least one
    pub writers: usize,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Writes that were answered
    pub writes: u64,
    /// Events that came
    pub events: u64,
    /// Events that did not come since a later one of the same object came in their place
    pub composed: u64,
    /// Events that came before the writer had his answer
    pub ahead: u64,
    /// How long was written
    pub lasting: Duration,
    /// From the request to its answer
    pub to_answer: Latencies,
    /// From the writer's answer to the event at the client; zero where the event was ahead
    pub answer_to_event: Latencies,
    /// From the request to the event
    pub write_to_event: Latencies,
}

impl Outcome {
    /// Writes a second.
    pub fn write_rate(&self) -> f64 {
        self.writes as f64 / self.lasting.as_secs_f64()
    }

    /// Events a second.
    pub fn event_rate(&self) -> f64 {
        self.events as f64 / self.lasting.as_secs_f64()
    }
}

/// What is counted while a run goes on, for a progress line.
#[derive(Debug, Default)]
pub struct Progress {
    /// Writes answered
    pub writes: AtomicU64,
    /// Events that came
    pub events: AtomicU64,
}

struct Arrival {
    subscription: u32,
    mark: u64,
    at: Instant,
}

struct Sent {
    object: usize,
    moved: bool,
    from: Instant,
    answered: Instant,
}

struct Writer {
    client: HttpClient,
    place: usize,
    /// Number and present key of each of its objects
    objects: Vec<(usize, usize)>,
    random: StdRng,
    sent: Vec<Sent>,
}

struct Reader {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    listening: JoinHandle<()>,
}

/// A prepared load: the objects are there, the writers connected.
pub struct Load {
    options: LoadOptions,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    progress: Arc<Progress>,
    failure: Arc<Mutex<Option<BenchError>>>,
    /// Marks below this are of earlier runs
    first: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Connects the writers and puts the objects there.
    pub async fn prepare(options: LoadOptions) -> Result<Load, BenchError> {
        let count = options.writers.clamp(1, options.workload.objects.max(1));
        let mut writers = Vec::new();
        for place in 0..count {
            let client = HttpClient::connect(&options.base, options.token.clone()).await?;
            let objects = (0..options.workload.objects).filter(|object| object % count == place);
            let objects = objects.map(|object| (object, object % options.workload.queries.max(1))).collect();
            // A fixed seed: every run writes the same.
            writers.push(Writer { client, place, objects, random: StdRng::seed_from_u64(place as u64), sent: Vec::new() });
        }
        let inserting = writers.iter_mut().map(|writer| async {
            for &(object, key) in &writer.objects {
                let body = options.workload.object(&options.bucket, object, key, 0);
                writer.client.expect(Method::PUT, &format!("/db/{}/{object}", options.bucket), Some(body)).await?;
            }
            Ok::<(), BenchError>(())
        });
        try_join_all(inserting).await?;
        Ok(Load { options, writers, readers: Vec::new(), progress: Arc::default(), failure: Arc::default(), first: 1 })
    }

    /// What is counted.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Opens the connections and subscribes to every query of the workload, spread over them; resolves when all have their
    /// initial result. The time from asking to the result, for each connection's last one.
    pub async fn subscribe(&mut self, connections: usize) -> Result<Latencies, BenchError> {
        let connections = connections.clamp(1, self.options.workload.queries.max(1));
        let mut latencies = Latencies::default();
        for group in (0..connections).collect::<Vec<_>>().chunks(OPENING) {
            let opening = group.iter().map(|place| open(&self.options, *place, connections));
            for (subscriber, waited) in try_join_all(opening).await? {
                latencies.record(waited);
                let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
                let listening = listen(subscriber, arrivals.clone(), self.progress.clone(), self.failure.clone());
                self.readers.push(Reader { arrivals, listening: tokio::spawn(listening) });
            }
        }
        Ok(latencies)
    }

    /// Writes for so long, as fast as answers come or at this rate (writes a second, all writers together),
    /// and waits for the events.
    pub async fn run(&mut self, lasting: Duration, rate: Option<f64>) -> Result<Outcome, BenchError> {
        let (from, events) = (Instant::now(), self.progress.events.load(Relaxed));
        let (count, first, options) = (self.writers.len(), self.first, &self.options);
        let every = rate.map(|rate| Duration::from_secs_f64(count as f64 / rate.max(0.001)));
        let (progress, failure) = (&self.progress, &self.failure);
        let writing = self.writers.iter_mut().map(|writer| async move {
            let offset = every.map_or(Duration::ZERO, |every| every.mul_f64(writer.place as f64 / count as f64));
            let mut number = 0;
            while from.elapsed() < lasting && lock(failure).is_none() {
                if let Some(every) = every {
                    let due = from + offset + every * number;
                    if due >= from + lasting {
                        break;
                    }
                    tokio::time::sleep_until(due.into()).await;
                }
                let mark = first + u64::from(number) * count as u64 + writer.place as u64;
                writer.write(options, mark).await?;
                progress.writes.fetch_add(1, Relaxed);
                number += 1;
            }
            Ok::<(), BenchError>(())
        });
        try_join_all(writing).await?;
        let lasting = from.elapsed();
        let expected = match self.readers.len() {
            0 => 0,
            _ => self.writers.iter().flat_map(|writer| &writer.sent).map(|sent| options.workload.events(sent.moved) as u64).sum(),
        };
        // Composed events never come; the check of the last states tells them from lost ones. At a rate nothing is put together, so all
        // come, however long the machine stands still.
        let silence = Duration::from_secs(if rate.is_some() { 30 } else { 10 });
        self.wait_for_events(events + expected, silence).await?;
        self.join(lasting, expected)
    }

    /// Waits until all have come, or until none has come for so long.
    async fn wait_for_events(&self, expected: u64, silence: Duration) -> Result<(), BenchError> {
        let (from, mut seen, mut since) = (Instant::now(), 0, Instant::now());
        loop {
            if let Some(error) = lock(&self.failure).take() {
                return Err(error);
            }
            let now = self.progress.events.load(Relaxed);
            if now >= expected {
                return Ok(());
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if since.elapsed() > silence {
                return Ok(());
            }
            if from.elapsed() > PATIENCE * 2 {
                return Err(BenchError::Slow { what: "the delivery of all events".to_owned(), seconds: PATIENCE.as_secs() * 2 });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn join(&mut self, lasting: Duration, expected: u64) -> Result<Outcome, BenchError> {
        let mut outcome = Outcome { lasting, ..Outcome::default() };
        let (count, first) = (self.writers.len() as u64, self.first);
        let mut last: HashMap<usize, (u64, bool)> = HashMap::new();
        for writer in &self.writers {
            outcome.writes += writer.sent.len() as u64;
            for (number, sent) in writer.sent.iter().enumerate() {
                outcome.to_answer.record(sent.answered - sent.from);
                last.insert(sent.object, (first + number as u64 * count + writer.place as u64, false));
            }
        }
        let mut arrived: HashMap<(u64, u32), ()> = HashMap::new();
        for reader in &self.readers {
            for Arrival { subscription, mark, at } in lock(&reader.arrivals).drain(..) {
                let of_run = mark.checked_sub(first);
                let sent = of_run.and_then(|mark| self.writers.get((mark % count) as usize)?.sent.get((mark / count) as usize));
                let Some(sent) = sent else {
                    return Err(BenchError::Fault(format!("an event came for the write {mark}, which is none of this run's")));
                };
                if arrived.insert((mark, subscription), ()).is_some() {
                    return Err(BenchError::Fault(format!("the event of write {mark} came twice to subscription {subscription}")));
                }
                outcome.events += 1;
                outcome.ahead += u64::from(at < sent.answered);
                outcome.answer_to_event.record(at.saturating_duration_since(sent.answered));
                outcome.write_to_event.record(at.saturating_duration_since(sent.from));
                if let Some((of_last, seen)) = last.get_mut(&sent.object) {
                    *seen |= *of_last == mark;
                }
            }
        }
        if outcome.events > expected {
            return Err(BenchError::Fault(format!("{} events came where {expected} writes and moves should cause them", outcome.events)));
        }
        outcome.composed = expected - outcome.events;
        if !self.readers.is_empty()
            && let Some((object, (mark, _))) = last.iter().find(|(_, (_, seen))| !seen)
        {
            return Err(BenchError::Fault(format!("the last write of object {object}, number {mark}, reached no subscriber")));
        }
        let most = self.writers.iter().map(|writer| writer.sent.len() as u64).max().unwrap_or(0);
        self.first += most * count;
        self.writers.iter_mut().for_each(|writer| writer.sent.clear());
        Ok(outcome)
    }

    /// Closes the subscribers' connections.
    pub async fn leave(&mut self) {
        for reader in self.readers.drain(..) {
            reader.listening.abort();
            let _ = reader.listening.await;
        }
    }

    /// Takes the objects away again and closes all connections.
    pub async fn clear(mut self) -> Result<(), BenchError> {
        self.leave().await;
        let bucket = &self.options.bucket;
        let deleting = self.writers.iter_mut().map(|writer| async move {
            for &(object, _) in &writer.objects {
                writer.client.expect(Method::DELETE, &format!("/db/{bucket}/{object}"), None).await?;
            }
            Ok::<(), BenchError>(())
        });
        try_join_all(deleting).await.map(drop)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.readers.iter().for_each(|reader| reader.listening.abort());
    }
}

impl Writer {
    async fn write(&mut self, options: &LoadOptions, mark: u64) -> Result<(), BenchError> {
        let own = self.random.random_range(0..self.objects.len());
        let (object, key) = self.objects[own];
        let queries = options.workload.queries;
        let moved = queries > 1 && self.random.random_ratio(1, MOVES);
        let key = if moved { (key + self.random.random_range(1..queries)) % queries } else { key };
        self.objects[own].1 = key;
        let body = options.workload.object(&options.bucket, object, key, mark);
        let path = format!("/db/{}/{object}", options.bucket);
        let from = Instant::now();
        self.client.expect(Method::PUT, &path, Some(body)).await?;
        self.sent.push(Sent { object, moved, from, answered: Instant::now() });
        Ok(())
    }
}

/// Opens one connection with its share of the subscriptions.
async fn open(options: &LoadOptions, place: usize, connections: usize) -> Result<(Subscriber, Duration), BenchError> {
    let mut subscriber = Subscriber::connect(&options.base).await?;
    let from = Instant::now();
    let own: Vec<usize> = (place..options.workload.queries).step_by(connections).collect();
    for &key in &own {
        subscriber.subscribe(key, &options.bucket, &options.workload.query(key)).await?;
    }
    subscriber.flush().await?;
    subscriber.results(own.len()).await?;
    Ok((subscriber, from.elapsed()))
}

async fn listen(
    mut subscriber: Subscriber,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    progress: Arc<Progress>,
    failure: Arc<Mutex<Option<BenchError>>>,
) {
    loop {
        match subscriber.hear().await {
            Ok((Heard::Event { subscription, mark }, at)) => {
                lock(&arrivals).push(Arrival { subscription: subscription as u32, mark, at });
                progress.events.fetch_add(1, Relaxed);
            }
            // A fresh result in place of events that were too many: the load is beyond what is sustained.
            Ok((Heard::Result { subscription, .. }, _)) => {
                let fault = format!("subscription {subscription} got a fresh result: the server could not keep up with its events");
                lock(&failure).get_or_insert(BenchError::Fault(fault));
                return;
            }
            Err(error) => {
                lock(&failure).get_or_insert(error);
                return;
            }
        }
    }
}
