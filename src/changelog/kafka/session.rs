//! A transactional producer of one log, and who may have it.
//!
//! Whoever opens a session takes the log over: Kafka fences the one before by the transactional id. That alone does not
//! tell a former holder whether somebody took over or only the brokers ended its transaction, as they do when it was
//! silent for longer than a transaction may take (a suspended machine, a long outage). So each process
//! leaves its own name, the *claim*, as metadata of an offset that is committed in its first transaction: who finds
//! his own claim there may open another session, who finds another must stop. Brokers forget a claim after a while
//! (`offsets.retention.minutes`, a week); who finds none is held back by what the topic holds, which is looked at first.

use super::error::KafkaLogError;
use super::format::{self, Place};
use super::tail;
use super::topic::Topic;
use crate::changelog::LogId;
use crate::changelog::outbox::Load;
use crate::kafka::right::Deed;
use crate::kafka::{self, KafkaError, Right};
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one call may take, so that whoever wants the relay to stop is heard.
pub(crate) const STEP: Duration = Duration::from_secs(2);

/// Why a step did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The same step may work later
    Again(Reason),
    /// The transaction must be taken back, and may work later
    TakeBack(Reason),
    /// The producer is of no use any more
    Lost(Reason),
}

/// What was the matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    text: String,
    /// The right that is missing, if that is all
    pub(crate) right: Option<Right>,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.right {
            Some(right) => KafkaError::Right(right.clone()).fmt(f),
            None => f.write_str(&self.text),
        }
    }
}

impl Reason {
    /// That there is no session.
    pub(crate) fn of(error: &KafkaLogError) -> Reason {
        let right = match error {
            KafkaLogError::Client(KafkaError::Right(right)) => Some(right.clone()),
            _ => None,
        };
        Reason { text: error.to_string(), right }
    }

    pub(crate) fn new(text: impl Into<String>) -> Reason {
        Reason { text: text.into(), right: None }
    }
}

impl Fault {
    fn of(error: &RdError, deed: &Deed<'_>) -> Fault {
        let reason = Reason { text: error.to_string(), right: deed.denied(error.rdkafka_error_code()) };
        match error {
            RdError::Transaction(error) if error.is_fatal() => Fault::Lost(reason),
            RdError::Transaction(error) if error.txn_requires_abort() => Fault::TakeBack(reason),
            RdError::Transaction(error) if error.is_retriable() => Fault::Again(reason),
            // The step does not fit the producer's state: only a new one is in a known state.
            RdError::Transaction(_) => Fault::Lost(reason),
            RdError::Flush(RDKafkaErrorCode::OperationTimedOut) => Fault::Again(reason),
            error => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::Fenced | RDKafkaErrorCode::State) => Fault::Lost(reason),
                _ => Fault::TakeBack(reason),
            },
        }
    }

    pub(crate) fn reason(&self) -> &Reason {
        match self {
            Fault::Again(reason) | Fault::TakeBack(reason) | Fault::Lost(reason) => reason,
        }
    }
}

/// What the client tells beside the answers to calls.
#[derive(Default)]
struct Heard(Mutex<Option<String>>);

impl Heard {
    fn note(&self, reason: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

impl ClientContext for Heard {
    fn error(&self, error: RdError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka client says");
        self.note(reason.to_owned());
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.note(format!("a record was not taken: {error}"));
        }
    }
}

/// A transactional producer.
pub(crate) struct Session {
    producer: BaseProducer<Heard>,
    topic: String,
    /// Of the transactional id, and of the group that keeps the claim
    name: String,
}

fn group(log: LogId) -> String {
    format!("tidegate-{:016x}", log.0)
}

impl Session {
    /// A producer of this log; nobody is fenced yet.
    pub(crate) fn new(topic: &Topic, log: LogId) -> Result<Session, KafkaLogError> {
        let mut config = kafka::client(&topic.options, &topic.address.brokers)?;
        let preferences = [
            ("compression.type", "lz4"),
            ("transaction.timeout.ms", "60000"),
            ("retry.backoff.ms", "20"),
            ("reconnect.backoff.max.ms", "1000"),
            ("socket.nagle.disable", "true"),
        ];
        for (property, value) in preferences {
            if config.get(property).is_none() {
                config.set(property, value);
            }
        }
        let largest = config.get("message.max.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(0).max(topic.largest);
        config.set("message.max.bytes", largest.to_string());
        config.set("acks", "all");
        config.set("enable.idempotence", "true");
        config.set("linger.ms", "0");
        config.set("transactional.id", group(log));
        let producer = BaseProducer::from_config_and_context(&config, Heard::default());
        let producer = producer.map_err(|error| kafka::refused(&config, &error))?;
        Ok(Session { producer, topic: topic.address.topic.clone(), name: group(log) })
    }

    /// Takes the log over: who had it before cannot write any more, and what he had begun is taken back.
    pub(crate) fn take_over(&self) -> Result<(), Fault> {
        self.heard(self.producer.init_transactions(STEP), "Write")
    }

    /// Leaves the claim of this process.
    pub(crate) fn claim(&self, topic: &Topic, log: LogId, name: &str) -> Result<(), Fault> {
        let again = |reason: String| Fault::Again(Reason::new(reason));
        let consumer = tail::consumer(topic, &group(log)).map_err(|error| again(error.to_string()))?;
        let member = consumer.group_metadata().ok_or_else(|| again("the client has no consumer group".into()))?;
        let mut claim = TopicPartitionList::new();
        {
            let mut place = claim.add_partition(&self.topic, format::CONTROL);
            place.set_offset(Offset::Offset(0)).map_err(|error| Fault::of(&error, &self.deed("Read")))?;
            place.set_metadata(name);
        }
        self.heard(self.producer.begin_transaction(), "Read")?;
        self.heard(self.producer.send_offsets_to_transaction(&claim, &member, STEP * 5), "Read")?;
        self.heard(self.producer.commit_transaction(STEP * 5), "Read")
    }

    /// Whose claim stands there; none where there is none (any more).
    pub(crate) fn claimed(topic: &Topic, log: LogId) -> Result<Option<String>, KafkaLogError> {
        let group = group(log);
        let consumer = tail::consumer(topic, &group)?;
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&topic.address.topic, format::CONTROL);
        let deed = Deed { topic: Some(("Read", &topic.address.topic)), group: Some(&group), ..Deed::default() };
        let found = consumer.committed_offsets(asked, STEP).map_err(|error| topic.refused(&error, &deed))?;
        let name = found.elements().first().map(|place| place.metadata().to_owned());
        Ok(name.filter(|name| !name.is_empty()))
    }

    /// Begins a transaction and sends records to their places in it.
    pub(crate) fn send(&self, load: &Load, places: &[(i32, Place)], now: i64) -> Result<(), Fault> {
        self.heard(self.producer.begin_transaction(), "Write")?;
        for (outgoing, (partition, place)) in load.records.iter().zip(places) {
            let key = format::key(&outgoing.about.app, outgoing.about.id.as_deref());
            // Where the clock was set back: brokers refuse what is too far in the future.
            let at = outgoing.about.at.min(now);
            let record = BaseRecord::to(&self.topic).key(&key).payload(&*outgoing.text).headers(place.headers());
            let mut record = record.partition(*partition).timestamp(at);
            loop {
                match self.producer.send(record) {
                    Ok(()) => break,
                    // The operator gave the client less room than a load needs: wait for some to be acknowledged.
                    Err((RdError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if self.producer.in_flight_count() > 0 => {
                        record = back;
                        self.producer.poll(Duration::from_millis(100));
                    }
                    Err((error, _)) => {
                        return Err(self.broken().unwrap_or_else(|| self.detailed(Fault::of(&error, &self.deed("Write")))));
                    }
                }
            }
        }
        Ok(())
    }

    /// Commits; asked again it goes on where it was.
    pub(crate) fn commit(&self) -> Result<(), Fault> {
        // The client's own flush looks every tenth of a second only.
        let deadline = Instant::now() + STEP;
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
            if Instant::now() >= deadline {
                let slow = || self.detailed(Fault::Again(Reason::new("the brokers do not acknowledge")));
                return Err(self.broken().unwrap_or_else(slow));
            }
        }
        self.heard(self.producer.commit_transaction(STEP), "Write")
    }

    /// Takes the transaction back; asked again it goes on where it was.
    pub(crate) fn take_back(&self) -> Result<(), Fault> {
        self.heard(self.producer.abort_transaction(STEP), "Write")
    }

    /// Why the transaction that is open cannot be committed any more; none while it can. Its records are then acknowledged by
    /// nobody, and the client tells it only to who asks: here, for a transaction within the transaction.
    fn broken(&self) -> Option<Fault> {
        match self.producer.begin_transaction() {
            Err(RdError::Transaction(error)) if error.is_fatal() || error.txn_requires_abort() => {
                self.heard(Err(RdError::Transaction(error)), "Write").err()
            }
            _ => None,
        }
    }

    /// What is being done, and with this operation on the topic.
    fn deed(&self, operation: &'static str) -> Deed<'_> {
        Deed { topic: Some((operation, &self.topic)), group: Some(&self.name), transactional_id: Some(&self.name) }
    }

    /// `operation`: what is done to the topic, if it is refused.
    fn heard(&self, result: Result<(), RdError>, operation: &'static str) -> Result<(), Fault> {
        // Serves what the client has to tell.
        self.producer.poll(Duration::ZERO);
        result.map_err(|error| self.detailed(Fault::of(&error, &self.deed(operation))))
    }

    /// With what was heard meanwhile: a time-out alone does not tell why.
    fn detailed(&self, fault: Fault) -> Fault {
        let heard = self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(heard) = heard else { return fault };
        let more = |reason: Reason| Reason { text: format!("{}; {heard}", reason.text), ..reason };
        match fault {
            Fault::Again(reason) => Fault::Again(more(reason)),
            Fault::TakeBack(reason) => Fault::TakeBack(more(reason)),
            Fault::Lost(reason) => Fault::Lost(more(reason)),
        }
    }
}
