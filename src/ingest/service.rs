//! Ingest as it runs: every mapping with its class, its threads and its dead letters.

use super::access;
use super::apply::Target;
use super::dead_letter::{LetterFile, Mailbox};
use super::mapping::Mapping;
use super::meaning::Moments;
use super::progress;
use super::snapshot::Snapshots;
use super::source::Threads;
use super::status::{Board, TopicStatus};
use super::stream::{Ended, Stream};
use super::wait::Stop;
use crate::clock::Clock;
use crate::config::{IngestOptions, KafkaOptions};
use crate::kafka::{self, KafkaError};
use crate::object::id;
use crate::schema::Schema;
use crate::store::{Intakes, Store, StoreError};
use rdkafka::producer::FutureProducer;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

/// Why ingest does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The client
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The class of a bucket could not be made
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mapping that cannot be
    #[error("the mapping of the topic {topic} to the bucket {bucket} cannot be: {reason}")]
    Mapping {
        /// Which
        topic: String,
        /// Which
        bucket: String,
        /// Why, and what to do
        reason: String,
    },
}

impl IngestError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            IngestError::Kafka(error) => error.code(),
            IngestError::Store(error) => error.code(),
            IngestError::Mapping { .. } => "ingest-mapping",
        }
    }
}

/// What ingest works with.
pub struct Setup<'s> {
    /// The app that the buckets are of
    pub app: Arc<str>,
    /// Brokers
    pub kafka: &'s KafkaOptions,
    /// The mappings
    pub mappings: &'s [IngestOptions],
    /// The data directory, for dead letters
    pub data: &'s Path,
    /// Largest object of the store, bytes
    pub object_bytes: usize,
    /// For classes
    pub store: Arc<dyn Store>,
    /// For everything else
    pub intakes: Arc<dyn Intakes>,
    /// The time of the store
    pub clock: Arc<Clock>,
}

/// Ingest as it runs. Merely dropped it ends in its own time; nothing is lost by that.
pub struct Ingest {
    streams: Vec<Arc<Stream>>,
    kafka: KafkaOptions,
    threads: Mutex<Threads>,
    /// That rewrite access lists
    rewriters: Mutex<Vec<JoinHandle<()>>>,
    stop: Stop,
}

impl Ingest {
    /// Makes the classes and starts reading. Topics and brokers that are not there yet are waited for.
    pub async fn start(setup: Setup<'_>) -> Result<Ingest, IngestError> {
        let stop = Stop::default();
        let mut files: BTreeMap<&str, Arc<LetterFile>> = BTreeMap::new();
        let (mut streams, mut rewritings) = (Vec::new(), Vec::new());
        for options in setup.mappings {
            let refused = |reason: String| IngestError::Mapping { topic: options.topic.clone(), bucket: options.bucket.clone(), reason };
            if !id::bucket(&options.bucket).is_ok_and(|bucket| *bucket == *options.bucket)
                || Schema::built_in().class(&options.bucket).is_some()
            {
                let reason = "it needs a bucket of its own: letters, digits, '_', '-' and '.', and none that every app has";
                return Err(refused(reason.to_owned()));
            }
            let mapping = Mapping::new(options, setup.object_bytes).map_err(|error| refused(error.to_string()))?;
            let target = Arc::new(Target {
                app: Arc::clone(&setup.app),
                bucket: options.bucket.as_str().into(),
                owner: options.owner.as_deref().map(Into::into),
            });
            let moments = mapping.moments();
            let rights = super::classes::rights(options);
            let rewriting = access::prepare(&*setup.store, &*setup.intakes, &target, rights, &moments).await?;
            let file = files.entry(&options.topic).or_insert_with(|| Arc::new(LetterFile::new(setup.data, &options.topic)));
            let producer = options.dead_letter_topic.as_ref().map(|topic| Ok::<_, KafkaError>((producer(setup.kafka)?, topic.clone())));
            let mailbox = Mailbox::new(&options.topic, &options.bucket, Arc::clone(file), producer.transpose()?);
            let letters = mailbox.place();
            let snapshots = Snapshots::default();
            let name = progress::snapshot(&options.bucket, &options.topic);
            let completed = setup.intakes.notes(&name, None, 1)?.into_iter().find(|(key, _)| *key == name);
            snapshots.was_completed(completed.and_then(|(_, text)| super::keeper::completed(&text)));
            let stream = Arc::new(Stream {
                topic: options.topic.clone(),
                mapping,
                target,
                store: Arc::clone(&setup.store),
                intakes: Arc::clone(&setup.intakes),
                clock: Arc::clone(&setup.clock),
                mailbox,
                board: Board::new(&options.topic, &options.bucket, letters),
                declared: RwLock::new(Moments::clone(&moments)),
                snapshots,
                snapshot_removes: options.snapshot_removes,
                lists_move: AtomicBool::new(rewriting.is_some()),
                replaying: Mutex::default(),
                stop: stop.clone(),
            });
            rewritings.extend(rewriting.map(|rewriting| (Arc::clone(&stream), rewriting)));
            streams.push(stream);
        }
        let threads = Threads::start(setup.kafka, &streams, stop.clone())?;
        let rewriters = rewritings.into_iter().map(|(stream, rewriting)| {
            let work = move || {
                if access::rewrite(&stream, rewriting) == Err(Ended::Overtaken) {
                    stream.trouble("another process rewrites the access lists; this one stops".to_owned());
                }
            };
            std::thread::Builder::new().name("ingest-access".into()).spawn(work)
        });
        let rewriters = rewriters.collect::<Result<_, _>>().map_err(|error| {
            stop.now();
            StoreError::Broken(format!("no thread starts: {error}"))
        })?;
        Ok(Ingest { streams, kafka: setup.kafka.clone(), threads: Mutex::new(threads), rewriters: Mutex::new(rewriters), stop })
    }

    /// Every topic as it stands.
    pub fn status(&self) -> Vec<TopicStatus> {
        self.streams.iter().map(|stream| stream.board.status()).collect()
    }

    pub(crate) fn streams(&self) -> &[Arc<Stream>] {
        &self.streams
    }

    pub(crate) fn kafka(&self) -> &KafkaOptions {
        &self.kafka
    }

    /// Ends reading; the threads end in their own time.
    pub fn stop(&self) {
        self.stop.now();
    }

    /// Ends reading and waits for the threads. Blocks.
    pub fn shutdown(&self) {
        self.stop();
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).join();
        for rewriter in self.rewriters.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if rewriter.join().is_err() {
                tracing::error!("rewriting access lists panicked");
            }
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.stop();
    }
}

/// For dead letters: nothing twice by its own doing, nothing lost.
fn producer(options: &KafkaOptions) -> Result<FutureProducer, KafkaError> {
    let mut config = kafka::client(options, &options.brokers)?;
    config.set("enable.idempotence", "true");
    config.set("delivery.timeout.ms", "10000");
    config.create().map_err(|error| kafka::refused(&config, &error))
}
