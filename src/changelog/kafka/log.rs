//! The change log in a topic: the live side follows the topic, those who come back read from the nearest place.
//!
//! The nearest is this process' memory, then the outbox in the store, then the topic. Positions are the store's commit numbers
//! (see the module's head), so the head is what the store has committed, whether or not the brokers have it already.

use super::consume::Partitions;
use super::error::KafkaLogError;
use super::reader::{Counters, KafkaFollower, Means, Source};
use super::topic::Topic;
use crate::changelog::outbox::Outbox;
use crate::changelog::{Batch, ChangeLog, Follower, LogError, Position};
use crate::kafka;
use futures_util::future::BoxFuture;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Reads of the topic by those who come back, at a time; the rest waits.
const CATCHING_UP: usize = 4;

/// A read of the topic takes no longer, waiting included: whoever comes back gets a fresh result instead.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reader of the topic waits for the client that reads on.
const IDLE: Duration = Duration::from_secs(10);

/// Bytes that wait in the lane of one partition: of the live side, and of those who come back.
const LANE_LIVE: usize = 4 << 20;
const LANE_CATCHING_UP: usize = 512 << 10;

/// The change log in a topic of Kafka.
pub struct KafkaLog(Arc<Inner>);

struct Inner {
    source: Arc<Source>,
    /// Followers that stand where somebody may read on
    idle: Mutex<Vec<Idle>>,
    catching_up: Semaphore,
    /// The oldest position that the topic can be read on from, as far as was seen; `u64::MAX` before anything was
    oldest: AtomicU64,
}

struct Idle {
    follower: KafkaFollower,
    since: Instant,
}

/// What the log counts about the topic. Counters only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct KafkaStatistics {
    /// Commits that the live side has not got from the topic yet
    pub behind: u64,
    /// Counter: records whose parsed change was still in memory
    pub reused: u64,
    /// Counter: records that were parsed again
    pub decoded: u64,
    /// Counter: records that came again and were dropped
    pub repeats: u64,
    /// Counter: messages in the topic that are no change records
    pub strangers: u64,
    /// Counter: readers that found what they were to read deleted
    pub trimmed: u64,
    /// 1 while the brokers do not answer
    pub outage: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaLog {
    /// The log whose records go from the outbox to the topic. Asks no broker.
    pub(crate) fn new(topic: &Topic, outbox: &Outbox) -> Result<KafkaLog, KafkaLogError> {
        let topic = Partitions {
            client: kafka::reader(&topic.options, &topic.address.brokers)?,
            name: topic.address.topic.clone(),
            count: usize::try_from(topic.partitions).unwrap_or(usize::MAX).saturating_add(1),
            log: outbox.log(),
            record_bytes: topic.largest,
            isolation: "read_committed",
        };
        let outbox = Arc::clone(&outbox.log);
        let counters = Counters::default();
        counters.followed.store(outbox.head().commit(), Relaxed);
        let source =
            Source { topic, outbox, outage: Arc::default(), index: Mutex::default(), counters, threads: Arc::new(watch::Sender::new(0)) };
        Ok(KafkaLog(Arc::new(Inner {
            source: Arc::new(source),
            idle: Mutex::default(),
            catching_up: Semaphore::new(CATCHING_UP),
            oldest: AtomicU64::new(u64::MAX),
        })))
    }

    /// Ends what stands idle and waits, for a few seconds at most, until no thread reads the store any more. The
    /// followers themselves are to be dropped by those who have them.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *lock(&self.0.idle));
        drop(idle);
        let mut threads = self.0.source.threads.subscribe();
        if tokio::time::timeout(PATIENCE, threads.wait_for(|threads| *threads == 0)).await.is_err() {
            tracing::warn!("threads that read the change log's topic do not end");
        }
    }

    /// What was counted.
    pub fn statistics(&self) -> KafkaStatistics {
        let (source, head) = (&self.0.source, self.head().commit());
        let Counters { reused, decoded, repeats, strangers, trimmed, followed } = &source.counters;
        KafkaStatistics {
            behind: head.saturating_sub(followed.load(Relaxed)),
            reused: reused.load(Relaxed),
            decoded: decoded.load(Relaxed),
            repeats: repeats.load(Relaxed),
            strangers: strangers.load(Relaxed),
            trimmed: trimmed.load(Relaxed),
            outage: u64::from(source.outage.is_on()),
        }
    }
}

impl Inner {
    /// From the topic: what comes after a position that the outbox does not reach back to.
    async fn catch_up(self: &Arc<Inner>, from: Position, bytes: usize) -> Result<Batch, LogError> {
        let read = async {
            let Ok(_permit) = self.catching_up.acquire().await else { return Err(LogError::Closed) };
            let mut follower = self.stand_at(&from);
            let batch = follower.next(bytes).await?;
            self.keep(follower);
            Ok(batch)
        };
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Err(LogError::Gone { oldest, .. })) => {
                self.oldest.store(oldest.commit(), Relaxed);
                Err(LogError::Gone { asked: from, oldest })
            }
            Ok(read) => read,
            Err(_) => Err(LogError::Broken(format!("the brokers gave nothing behind {from} in {} s", PATIENCE.as_secs()))),
        }
    }

    /// A follower that goes on from there.
    fn stand_at(&self, from: &Position) -> KafkaFollower {
        let mut idle = lock(&self.idle);
        let found = idle.iter().position(|idle| idle.follower.given() == from.commit());
        let found = found.map(|found| idle.swap_remove(found).follower);
        drop(idle);
        let means = Means { threads: 1, lane_bytes: LANE_CATCHING_UP };
        found.unwrap_or_else(|| KafkaFollower::new(Arc::clone(&self.source), from.clone(), means))
    }

    /// Keeps the follower for a while: a client mostly reads on. The oldest goes where there are many.
    fn keep(self: &Arc<Inner>, follower: KafkaFollower) {
        let mut idle = lock(&self.idle);
        idle.push(Idle { follower, since: Instant::now() });
        let surplus = (idle.len() > CATCHING_UP).then(|| idle.remove(0));
        drop(idle);
        drop(surplus);
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            if let Some(inner) = inner.upgrade() {
                lock(&inner.idle).retain(|idle| idle.since.elapsed() < IDLE);
            }
        });
    }
}

impl ChangeLog for KafkaLog {
    fn head(&self) -> Position {
        self.0.source.outbox.head()
    }

    /// As far as was seen: what the topic has lost is only known once somebody looked for it.
    fn oldest(&self) -> Position {
        let outbox = self.0.source.outbox.oldest();
        match self.0.oldest.load(Relaxed) {
            seen if seen < outbox.commit() => Position::single(outbox.log, seen),
            _ => outbox,
        }
    }

    fn read(&self, from: Position, bytes: usize) -> BoxFuture<'static, Result<Batch, LogError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            match inner.source.outbox.read(from.clone(), bytes).await {
                Err(LogError::Gone { asked, oldest })
                    if asked.log == oldest.log && asked.offsets.len() == 1 && asked.commit() < oldest.commit() =>
                {
                    inner.catch_up(from, bytes).await
                }
                read => read,
            }
        })
    }

    fn follow(&self, from: Position) -> Box<dyn Follower> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.0.source.counters.followed.fetch_max(from.commit(), Relaxed);
        Box::new(KafkaFollower::new(Arc::clone(&self.0.source), from, Means { threads: cores, lane_bytes: LANE_LIVE }))
    }

    fn beyond(&self, position: Position) -> BoxFuture<'static, ()> {
        self.0.source.outbox.beyond(position)
    }
}
