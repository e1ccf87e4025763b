//! What a client says beside its answers. A time-out alone does not tell why: that the password was wrong, or a
//! certificate, comes as an event of its own.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Keeps the last reason that was told.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Option<String>>);

impl ClientContext for Heard {
    // Lines about each lost connection and each attempt at a new one; what matters of it is told by `error`.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // No errors, or told where they are handled.
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AutoOffsetReset) => {}
            // That all are away follows what is the matter with each, and says less.
            Some(RDKafkaErrorCode::AllBrokersDown) => tracing::debug!(%error, reason, "the Kafka client says"),
            _ => {
                tracing::debug!(%error, reason, "the Kafka client says");
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
            }
        }
    }
}

impl ConsumerContext for Heard {}

/// Why the brokers did not answer a question of this consumer, which has no partitions. Blocks for a moment.
pub(crate) fn why(consumer: &BaseConsumer<Heard>, error: &KafkaError) -> String {
    // Events wait until somebody asks.
    while consumer.poll(Duration::from_millis(50)).is_some() {}
    let heard = consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
    heard.unwrap_or_else(|| error.to_string())
}
