//! What the change log and ingest share of Kafka: how a client is configured, and where its secrets come from.
//!
//! * `heard`: what a client says beside its answers
//! * `refusal`: why there is no client with this configuration, without the secrets in it
//! * `right`: which right is missing where the brokers refuse something

pub(crate) mod heard;
mod refusal;
pub(crate) mod right;

use crate::config::KafkaOptions;
use rdkafka::ClientConfig;
pub(crate) use refusal::refused;
pub use right::Right;

/// Why there is no client.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// A value `file:…` or `env:…` stands for nothing
    #[error("the property {property} of [kafka.properties] cannot be read: {reason}")]
    Secret {
        /// Which
        property: String,
        /// What is wrong with it; never the value
        reason: String,
    },
    /// librdkafka does not take the configuration
    #[error("the Kafka client refuses its configuration: {0}; see [kafka.properties]")]
    Property(String),
    /// No broker answers
    #[error("no Kafka broker answers at {brokers}: {reason}; is it running, and are security.protocol and the listener right?")]
    Unreachable {
        /// As configured
        brokers: String,
        /// What librdkafka said
        reason: String,
    },
    /// The brokers let this server's user in, but not do what it has to
    #[error("this server's Kafka user lacks the right {0}; grant it, docs/kafka.md lists all that are needed")]
    Right(Right),
}

impl KafkaError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            KafkaError::Secret { .. } => "kafka-secret",
            KafkaError::Property(_) => "kafka-property",
            KafkaError::Unreachable { .. } => "kafka-unreachable",
            KafkaError::Right(_) => "kafka-right",
        }
    }
}

/// The configuration of a client of these brokers: the properties of the operator, with secrets put in. What a
/// client needs to be correct (isolation, idempotence) it sets itself, afterwards.
pub fn client(options: &KafkaOptions, brokers: &str) -> Result<ClientConfig, KafkaError> {
    let mut config = ClientConfig::new();
    for (property, value) in &options.properties {
        config.set(property, resolve(property, value)?);
    }
    config.set("bootstrap.servers", brokers);
    config.set("client.id", "tidegate");
    Ok(config)
}

/// The same for a client that only reads: without what concerns producers alone, of which librdkafka warns anew with every client.
pub fn reader(options: &KafkaOptions, brokers: &str) -> Result<ClientConfig, KafkaError> {
    let mut config = client(options, brokers)?;
    for property in PRODUCERS {
        config.remove(property);
    }
    Ok(config)
}

/// What only producers have, from librdkafka's table of properties.
const PRODUCERS: [&str; 26] = [
    "transactional.id",
    "transaction.timeout.ms",
    "enable.idempotence",
    "enable.gapless.guarantee",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.ms",
    "queue.buffering.backpressure.threshold",
    "linger.ms",
    "message.send.max.retries",
    "retries",
    "batch.num.messages",
    "batch.size",
    "delivery.report.only.error",
    "sticky.partitioning.linger.ms",
    "compression.codec",
    "compression.type",
    "compression.level",
    "acks",
    "request.required.acks",
    "request.timeout.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "queuing.strategy",
    "produce.offset.report",
    "partitioner",
];

/// A value as it is written, or what it stands for.
fn resolve(property: &str, value: &str) -> Result<String, KafkaError> {
    let unreadable = |reason: String| KafkaError::Secret { property: property.to_owned(), reason };
    if let Some(path) = value.strip_prefix("file:") {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(format!("the file {path}: {error}")))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if let Some(name) = value.strip_prefix("env:") {
        return std::env::var(name).map_err(|_| unreadable(format!("the environment has no variable {name}, or it is no text")));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn options(property: &str, value: &str) -> KafkaOptions {
        KafkaOptions { brokers: String::new(), properties: BTreeMap::from([(property.to_owned(), value.to_owned())]) }
    }

    #[test]
    fn secrets_come_from_files_and_the_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush hush\n").unwrap();
        let from_file = client(&options("sasl.password", &format!("file:{}", file.path().display())), "localhost:1").unwrap();
        assert_eq!(from_file.get("sasl.password"), Some("hush hush"));
        let path = std::env::var("PATH").unwrap();
        assert_eq!(client(&options("sasl.password", "env:PATH"), "localhost:1").unwrap().get("sasl.password"), Some(&*path));
    }

    #[test]
    fn readers_are_not_told_what_is_for_producers() {
        let both = KafkaOptions {
            brokers: String::new(),
            properties: [("linger.ms", "5"), ("security.protocol", "ssl")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        };
        let reader = reader(&both, "localhost:1").unwrap();
        assert_eq!((reader.get("linger.ms"), reader.get("security.protocol")), (None, Some("ssl")));
    }

    #[test]
    fn what_stands_for_nothing_is_named_and_values_are_not_shown() {
        for value in ["file:/no/such/file", "env:TIDEGATE_NO_SUCH_VARIABLE"] {
            let error = client(&options("sasl.password", value), "localhost:1").unwrap_err();
            assert_eq!(error.code(), "kafka-secret");
            assert!(error.to_string().contains("sasl.password"), "{error}");
        }
        assert!(!format!("{:?}", options("sasl.password", "hush")).contains("hush"));
    }
}
