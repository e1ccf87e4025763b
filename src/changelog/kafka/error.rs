//! Why a change log in Kafka cannot be used.

use super::address::AddressError;
use crate::changelog::outbox::OutboxError;
use crate::kafka::KafkaError;

/// Why a change log in Kafka cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaLogError {
    /// The option `changelog.log`
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No client, or no broker
    #[error(transparent)]
    Client(#[from] KafkaError),
    /// The topic cannot be made
    #[error("the topic {topic} is not there and cannot be made: {reason}; make it yourself, docs/kafka.md says how")]
    Create {
        /// Which
        topic: String,
        /// What the brokers said
        reason: String,
    },
    /// The topic has a setting with which changes would be lost or refused
    #[error("the topic {topic} has {setting} = {found}, and the change log needs {needed}; docs/kafka.md says how to set it")]
    Setting {
        /// Which
        topic: String,
        /// As Kafka calls it
        setting: &'static str,
        /// What it is
        found: String,
        /// What it has to be
        needed: String,
    },
    /// The topic cannot be looked at or read
    #[error("the topic {topic} cannot be read: {reason}")]
    Unreadable {
        /// Which
        topic: String,
        /// What the brokers said
        reason: String,
    },
    /// The topic has records of others in it
    #[error("partition {partition} of the topic {topic} holds a record that is not of this store's change log; name another topic")]
    Foreign {
        /// Which
        topic: String,
        /// Where in it
        partition: i32,
    },
    /// The topic has commits that the store has not, or others in their place
    #[error(
        "the topic {topic} holds commit {commit}, which this store does not have: the data directory is an older copy, or another \
         process has gone on from it; use the newest data directory, or a new topic"
    )]
    Ahead {
        /// Which
        topic: String,
        /// The commit
        commit: u64,
    },
    /// Another process writes this log
    #[error("another process has taken over this store's change log ({topic}); stop this one, or both and start the right one")]
    Fenced {
        /// Where
        topic: String,
    },
    /// The store's part failed
    #[error("{0}")]
    Outbox(String),
}

impl From<OutboxError> for KafkaLogError {
    fn from(error: OutboxError) -> Self {
        KafkaLogError::Outbox(error.to_string())
    }
}

impl KafkaLogError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            KafkaLogError::Address(error) => error.code(),
            KafkaLogError::Client(error) => error.code(),
            KafkaLogError::Create { .. } => "log-topic-missing",
            KafkaLogError::Setting { .. } => "log-topic-setting",
            KafkaLogError::Unreadable { .. } => "log-topic-unreadable",
            KafkaLogError::Foreign { .. } => "log-topic-foreign",
            KafkaLogError::Ahead { .. } => "log-ahead",
            KafkaLogError::Fenced { .. } => "log-fenced",
            KafkaLogError::Outbox(_) => "log-outbox",
        }
    }
}
