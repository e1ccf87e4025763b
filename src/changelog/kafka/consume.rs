//! How consumers of the topic are set up: by assignment, without a group's offsets, and quiet about outages.

use super::format::CONTROL;
use crate::changelog::LogId;
use crate::kafka::right::Deed;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where the log's records are.
#[derive(Clone)]
pub(crate) struct Partitions {
    /// Brokers and what the operator says of them
    pub(crate) client: ClientConfig,
    pub(crate) name: String,
    /// All of them, that of control included
    pub(crate) count: usize,
    pub(crate) log: LogId,
    /// Bytes of the largest record
    pub(crate) record_bytes: usize,
    /// Whether records of transactions that are not committed are to be seen: `isolation.level`
    pub(crate) isolation: &'static str,
}

impl Partitions {
    /// The numbers of the partitions.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = i32> + use<> {
        (CONTROL..).take(self.count)
    }

    /// Properties that any consumer here has. What correctness rests on is not the operator's to choose.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client.clone();
        // Librdkafka assigns nothing without a name of a group. Nothing is ever committed to it.
        config.set("group.id", "tidegate");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("allow.auto.create.topics", "false");
        config.set("isolation.level", self.isolation);
        // Offsets that are gone must be heard of.
        config.set("auto.offset.reset", "error");
        // A batch that is larger than a fetch may be comes alone and whole; what is received at once must hold it.
        const FETCH: usize = 50 << 20;
        let receive = (FETCH + 2 * self.record_bytes).clamp(100_000_000, 2_147_483_647);
        let defaults = [
            ("fetch.max.bytes", FETCH.to_string()),
            ("receive.message.max.bytes", receive.to_string()),
            ("fetch.queue.backoff.ms", "10".to_owned()),
            ("fetch.error.backoff.ms", "100".to_owned()),
            ("reconnect.backoff.max.ms", "2000".to_owned()),
            ("check.crcs", "true".to_owned()),
        ];
        for (property, value) in defaults {
            if config.get(property).is_none() {
                config.set(property, value);
            }
        }
        config
    }
}

/// Whether brokers can be reached. Shared by all consumers of a log, of which one may hear of a broker's end when another is
/// served by it again already: what they say is told once in a while only.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    is_on: AtomicBool,
    told: Mutex<Told>,
}

/// How often an outage is told.
const TELL: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Told {
    /// Of the last outage that was told
    at: Option<Instant>,
    /// Whether its end is still to be told
    lasts: bool,
}

impl Outage {
    pub(crate) fn began(&self, reason: &dyn std::fmt::Display) {
        if self.is_on.swap(true, Relaxed) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.at.is_some_and(|at| at.elapsed() < TELL) {
            tracing::debug!(%reason, "the change log's brokers do not answer once more");
            return;
        }
        (told.at, told.lasts) = (Some(Instant::now()), true);
        tracing::warn!(%reason, "the change log's brokers do not answer; events wait until they do");
    }

    /// What a consumer says. Most of it is about brokers that are away, or a right that is missing.
    pub(crate) fn heard(&self, error: &KafkaError, topic: &str) {
        match error.rdkafka_error_code() {
            // One broker of several may be away.
            Some(RDKafkaErrorCode::BrokerTransportFailure) => tracing::debug!(%error, "a broker cannot be reached"),
            // The client looks for the group, from which nothing is asked.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {}
            code => match (Deed { topic: Some(("Read", topic)), ..Deed::default() }).denied(code) {
                Some(right) => self.began(&crate::kafka::KafkaError::Right(right)),
                None => self.began(error),
            },
        }
    }

    pub(crate) fn ended(&self) {
        if self.is_on.load(Relaxed) && self.is_on.swap(false, Relaxed) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut told.lasts) {
                tracing::info!("the change log's brokers answer again");
            }
        }
    }

    /// Whether it is on.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }
}

/// What a consumer says goes here.
pub(crate) struct Context(pub(crate) Arc<Outage>);

/// A consumer of the topic.
pub(crate) type Consumer = BaseConsumer<Context>;

impl ClientContext for Context {
    // Lines about each lost connection and each attempt at a new one; what matters of it is told by `error`.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // Told where it is handled.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::PartitionEOF) => {}
            // One broker of several may be away.
            Some(RDKafkaErrorCode::BrokerTransportFailure) => tracing::debug!(%error, reason, "a broker cannot be reached"),
            _ => self.0.began(&format_args!("{error}: {reason}")),
        }
    }
}

impl ConsumerContext for Context {}

/// A consumer with these properties. The error shows no secret.
pub(crate) fn consumer(config: &ClientConfig, outage: &Arc<Outage>) -> KafkaResult<Consumer> {
    let consumer = Consumer::from_config_and_context(config, Context(Arc::clone(outage)));
    consumer.map_err(|error| KafkaError::ClientCreation(crate::kafka::refused(config, &error).to_string()))
}
