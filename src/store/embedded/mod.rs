//! The embedded store: a data directory, one writer, and the change log in the same transactions.
//!
//! * `writer`: the one thread that decides and commits, in groups
//! * `group`: what it has decided and not yet committed
//! * `schema`: a change of an app's classes
//! * `batch`: several writes, secrets and revocations as one
//! * `revocations`: whose tokens are dead, on the disk and in the log
//! * `users`: what goes with the object of a user, whoever writes or deletes it
//! * `intake`: many writes and the notes of ingest as one
//! * `snapshot`: what readers see
//! * `schemas`: every app's classes, and which fields hold times
//! * `indexes`: secondary indexes and the planner
//! * `places`: what there is of an app
//! * `stored`: how much of it, and how much there may be
//! * `trimmer`: keeps the log within its bounds
//! * `error`: why a data directory cannot be used
//! * `start`: how the store was left, and where it goes on
//! * `keyspaces`: the engine and what it is divided into
//! * `directory`: lock, format and migrations of the data directory
//! * `meta`: what the store notes about itself
//! * `keys`: how objects are named on the disk
//! * [`backup`]: consistent copies while writes go on, and how to restore them
//!
//! The log itself is [`crate::changelog::embedded`].

pub mod backup;
mod batch;
mod directory;
mod error;
mod group;
mod indexes;
mod intake;
mod keys;
mod keyspaces;
mod meta;
mod places;
mod revocations;
mod schema;
pub(crate) mod schemas;
mod shared_scans;
mod snapshot;
mod start;
mod statistics;
mod stored;
mod sweep;
mod trimmer;
mod users;
mod writer;

pub use error::OpenError;
pub use statistics::Statistics;
pub use stored::StoredBytes;

use super::{
    Actor, Batch, BatchCommitted, BatchError, Committed, IndexChange, IndexReport, JudgedSchemaChange, Secrets, Snapshot, Store,
    StoreError, Write,
};
use crate::changelog::embedded::{EmbeddedLog, Opened};
use crate::changelog::gate::{Gate, Limits};
use crate::changelog::outbox::Outbox;
use crate::changelog::trim::Keep;
use crate::changelog::{ChangeLog, Home, LogId};
use crate::clock::Clock;
use crate::config::{ChangelogOptions, Durability, StoreOptions};
use crate::rights::Rights;
use crate::schema::Schema;
use dataflows::document::DocumentLimits;
use directory::Directory;
use fjall::Database;
use futures_util::future::BoxFuture;
use indexes::builder::Builder;
use indexes::catalogue::{Catalogue, Phase};
use keyspaces::{Keyspaces, create_engine};
use schemas::SchemaHistory;
use snapshot::{EmbeddedSnapshot, Reading, broken};
use start::{Started, start};
use statistics::Counters;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use stored::Stored;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use writer::{Command, Writer};

/// The embedded store and its change log. Closed by [`Store::close`]; merely dropped it stops as after a crash, but
/// what was acknowledged at durability `disk` is there. The directory stays in use while a snapshot or a
/// handle of the log lives.
pub struct Embedded {
    queue: Option<mpsc::Sender<Command>>,
    published: Arc<RwLock<Arc<EmbeddedSnapshot>>>,
    log: Arc<EmbeddedLog>,
    outbox: Option<Outbox>,
    clock: Arc<Clock>,
    keyspaces: Keyspaces,
    database: Database,
    counters: Arc<Counters>,
    rights: Arc<Rights>,
    stored: Arc<Stored>,
    closing: Arc<AtomicBool>,
    trimmer: Arc<trimmer::Signal>,
    builder: Arc<trimmer::Signal>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    // Last, so that the directory is released when all is done.
    _directory: Directory,
}

impl Embedded {
    /// Opens the store in its data directory, makes it if it is not there, with the machine's clock.
    pub fn open(options: &StoreOptions, log: &ChangelogOptions) -> Result<Embedded, OpenError> {
        Embedded::open_at(options, log, Arc::new(Clock::system()))
    }

    /// Opens the store with a clock.
    pub fn open_at(options: &StoreOptions, log: &ChangelogOptions, clock: Arc<Clock>) -> Result<Embedded, OpenError> {
        Embedded::open_for(options, log, Home::Embedded, None, clock)
    }

    /// Opens the store whose log is kept there. Another place than before is another log, with another id and nothing in
    /// it yet; what still was on its way to the former one stays behind. `holds`: whose records are there already.
    pub fn open_for(
        options: &StoreOptions,
        log: &ChangelogOptions,
        home: Home,
        holds: Option<LogId>,
        clock: Arc<Clock>,
    ) -> Result<Embedded, OpenError> {
        let directory = Directory::open(&options.data)?;
        let (database, keyspaces) = create_engine(&directory, options.cache_bytes)?;
        let Started { id, mut state, gaps, cuts, progress, closed } = start(&database, &keyspaces, options, &home, holds)?;
        // No object may be written again at the time of its last commit, and which those were is forgotten.
        state.at = state.at.saturating_add(1);
        clock.begin(state.at);

        let schemas = Arc::new(schemas::load(&keyspaces.schemas).map_err(OpenError::Damaged)?);
        let apps: Vec<Arc<str>> = places::apps(&keyspaces)?.into_iter().map(Arc::from).collect();
        indexes::users::build(&database, &keyspaces, &schemas, &apps)?;
        let stored = Arc::new(Stored::load(&database, &keyspaces)?);
        let catalogue = Arc::new(Catalogue::load(&keyspaces.index_notes, closed).map_err(OpenError::Damaged)?);
        let membership = revocations::load(&keyspaces, apps.iter(), &schemas, clock.now_ms() / 1000)?;
        let rights = Arc::new(Rights::new(membership.clone()));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let readers = Arc::new(Semaphore::new(cores + 1));
        let keep = Keep { age: i64::try_from(log.age_seconds).unwrap_or(i64::MAX).saturating_mul(1000), size: log.size_bytes };
        let gate = (home != Home::Embedded).then(|| Arc::new(Gate::new(progress, Limits::of(options, log), clock.now_ms())));
        let history = SchemaHistory::new(keyspaces.schemas.clone());
        let change_log = Arc::new(EmbeddedLog::new(Opened {
            id,
            records: keyspaces.log.clone(),
            dates: Arc::new(move |app, version, bucket| history.dates(app, version, bucket)),
            gaps,
            cuts,
            keep,
            gate: gate.clone(),
            recent_bytes: log.recent_bytes,
            readers: Arc::new(Semaphore::new(cores + 1)),
        }));
        let counters = Arc::new(Counters::default());
        let reading = Arc::new(Reading {
            log: id,
            objects: keyspaces.objects.clone(),
            indexes: keyspaces.indexes.clone(),
            scans: readers,
            lookups: Arc::new(Semaphore::new(2 * cores + 2)),
            shared: Default::default(),
            counters: Arc::clone(&counters),
        });
        let published = Arc::new(RwLock::new(Arc::new(EmbeddedSnapshot {
            reading: Arc::clone(&reading),
            state: database.snapshot(),
            noted: state,
            schemas: Arc::clone(&schemas),
            indexes: Arc::clone(&catalogue),
        })));
        let (sender, queue) = mpsc::channel(options.queue.max(1));
        let signal = Arc::new(trimmer::Signal::default());
        let outbox = gate.map(|gate| Outbox {
            log: Arc::clone(&change_log),
            gate,
            records: keyspaces.log.clone(),
            notes: keyspaces.meta.clone(),
            name: meta::RELAYED,
            unsynced: (options.durability != Durability::Disk).then(|| database.clone()),
            wake_trimmer: {
                let signal = Arc::clone(&signal);
                Arc::new(move || signal.wake())
            },
        });
        let trimmer = trimmer::Trimmer {
            log: Arc::clone(&change_log),
            records: keyspaces.log.clone(),
            clock: Arc::clone(&clock),
            signal: Arc::clone(&signal),
            writer: sender.clone(),
        };
        let building = Arc::new(trimmer::Signal::default());
        let builder = Builder {
            database: database.clone(),
            notes: keyspaces.index_notes.clone(),
            entries: keyspaces.indexes.clone(),
            published: Arc::clone(&published),
            signal: Arc::clone(&building),
            writer: sender.clone(),
        };
        let writer = Writer {
            database: database.clone(),
            keyspaces: keyspaces.clone(),
            queue,
            log_id: id,
            log: Arc::clone(&change_log),
            reading,
            published: Arc::clone(&published),
            trimmer: Arc::clone(&signal),
            clock: Arc::clone(&clock),
            durability: options.durability,
            limits: DocumentLimits { bytes: options.object_bytes, ..DocumentLimits::default() },
            counters: Arc::clone(&counters),
            schemas,
            indexes: catalogue,
            builder: Arc::clone(&building),
            membership,
            rights: Arc::clone(&rights),
            stored: Arc::clone(&stored),
            state,
            moment: HashSet::new(),
            failed: None,
            sweeper: sweep::Sweeper::default(),
        };
        let threads = vec![
            thread("store-writer", move || writer.run())?,
            thread("store-trimmer", move || trimmer.run())?,
            thread("store-indexes", move || builder.run())?,
        ];
        Ok(Embedded {
            queue: Some(sender),
            published,
            log: change_log,
            outbox,
            clock,
            keyspaces,
            database,
            counters,
            rights,
            stored,
            closing: Arc::new(AtomicBool::new(false)),
            trimmer: signal,
            builder: building,
            threads: Arc::new(Mutex::new(threads)),
            _directory: directory,
        })
    }

    /// The change log that the store writes.
    pub fn changelog(&self) -> Arc<dyn ChangeLog> {
        Arc::clone(&self.log) as Arc<dyn ChangeLog>
    }

    /// What a relay takes on; none where the log is kept in the store itself.
    pub(crate) fn outbox(&self) -> Option<Outbox> {
        self.outbox.clone()
    }

    /// The clock whose time the commits bear.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The buckets of an app for which somebody declared an index.
    pub(crate) fn indexed_buckets(&self, app: &str) -> Vec<Arc<str>> {
        let snapshot = self.snapshot_now();
        let mut buckets: Vec<_> = snapshot.indexes.iter().filter(|(of, _, _)| ***of == *app).map(|(_, bucket, _)| bucket.clone()).collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    /// What the store counts about itself. Cheap.
    pub fn statistics(&self) -> Statistics {
        let (log_bytes, log_records, recent_bytes) = self.log.sizes();
        let queued = self.queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        let mut statistics = Statistics {
            queued: queued as u64,
            log_bytes,
            log_records,
            recent_bytes: recent_bytes as u64,
            oldest: self.log.oldest().commit(),
            head: self.log.head().commit(),
            disk_bytes: self.database.disk_space().unwrap_or(0),
            ..Statistics::default()
        };
        self.counters.fill(&mut statistics);
        for (_, _, index) in self.snapshot_now().indexes.iter() {
            statistics.indexes += 1;
            statistics.indexes_building += u64::from(matches!(index.phase, Phase::Building { .. }));
        }
        statistics
    }

    fn snapshot_now(&self) -> Arc<EmbeddedSnapshot> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Queues a command at once, so that the order of calls is the order of commits.
    fn send<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Command,
    ) -> BoxFuture<'static, Result<T, E>> {
        let (answer, answered) = oneshot::channel();
        let sent = match &self.queue {
            Some(queue) if !self.closing.load(Ordering::Acquire) => queue.try_send(command(answer)).map_err(|error| match error {
                TrySendError::Full(_) => {
                    Counters::add(&self.counters.overloaded, 1);
                    StoreError::Overloaded
                }
                TrySendError::Closed(_) => StoreError::Closed,
            }),
            _ => Err(StoreError::Closed),
        };
        Box::pin(async move {
            sent?;
            answered.await.unwrap_or_else(|_| Err(StoreError::Broken("its writer stopped".into()).into()))
        })
    }
}

impl Store for Embedded {
    fn commit(&self, write: Write) -> BoxFuture<'static, Result<Committed, StoreError>> {
        self.send(|answer| Command::Write { write, answer })
    }

    fn commit_batch(&self, batch: Batch) -> BoxFuture<'static, Result<BatchCommitted, BatchError>> {
        self.send(|answer| Command::Batch { batch: Box::new(batch), answer })
    }

    fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    fn snapshot(&self) -> BoxFuture<'static, Result<Arc<dyn Snapshot>, StoreError>> {
        let snapshot = self.snapshot_now();
        Box::pin(std::future::ready(Ok(snapshot as Arc<dyn Snapshot>)))
    }

    fn schema(&self, app: &str) -> Arc<Schema> {
        Arc::clone(&schemas::of(&self.snapshot_now().schemas, app).schema)
    }

    fn schemas(&self) -> Vec<(Arc<str>, Arc<Schema>)> {
        self.snapshot_now().schemas.iter().map(|(app, schema)| (Arc::clone(app), Arc::clone(&schema.schema))).collect()
    }

    fn commit_schema_by(
        &self,
        app: Arc<str>,
        actor: Actor,
        change: JudgedSchemaChange,
    ) -> BoxFuture<'static, Result<Arc<Schema>, StoreError>> {
        self.send(|answer| Command::Schema { app, actor, change, answer })
    }

    fn indexes(&self, app: &str, bucket: &str) -> Vec<IndexReport> {
        self.snapshot_now().indexes.of(app, bucket).iter().map(|index| index.report()).collect()
    }

    fn change_indexes(&self, app: Arc<str>, bucket: Arc<str>, change: IndexChange) -> BoxFuture<'static, Result<(), StoreError>> {
        self.send(|answer| Command::Indexes { app, bucket, change, answer })
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        let first = !self.closing.swap(true, Ordering::AcqRel);
        let (queue, threads) = (self.queue.clone(), Arc::clone(&self.threads));
        let (trimmer, builder) = (Arc::clone(&self.trimmer), Arc::clone(&self.builder));
        Box::pin(async move {
            let (Some(queue), true) = (queue, first) else { return Ok(()) };
            trimmer.stop();
            builder.stop();
            let (answer, answered) = oneshot::channel();
            // Waits for room behind the writes that are under way.
            if queue.send(Command::Close { answer }).await.is_err() {
                return Err(StoreError::Broken("its writer stopped".into()));
            }
            let closed = answered.await.unwrap_or_else(|_| Err(StoreError::Broken("its writer stopped".into())));
            let joined = tokio::task::spawn_blocking(move || join(&threads)).await;
            joined.map_err(|error| StoreError::Broken(error.to_string())).and(closed)
        })
    }
}

impl Secrets for Embedded {
    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.keyspaces.secrets.get(name).map_err(|error| broken(&error))?.map(|value| value.to_vec()))
    }

    fn secret_names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        self.names_of_secrets(after, limit)
    }

    fn put_secret(&self, name: &str, value: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>> {
        let name = name.to_owned();
        self.send(|answer| Command::Secret { name, value, answer })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.trimmer.stop();
        self.builder.stop();
        self.queue = None;
        join(&self.threads);
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(|error| OpenError::Engine(error.to_string()))
}

fn join(threads: &Mutex<Vec<JoinHandle<()>>>) {
    for thread in std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner)) {
        if thread.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
