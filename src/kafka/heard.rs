//! What a client says beside its answers. A time-out alone does not tell why: that the password was wrong, or a
//! certificate, comes as an event of its own.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one try may take.
const STEP: Duration = Duration::from_secs(1);

/// Keeps the last reason that was told, and whether asking again is of no use.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Option<(String, bool)>>);

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
            code => {
                tracing::debug!(%error, reason, "the Kafka client says");
                let is_final = matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL));
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((reason.to_owned(), is_final));
            }
        }
    }
}

impl ConsumerContext for Heard {}

/// Puts a question to the brokers through a consumer that has no partitions: for so long, or until they let nobody in.
/// The error says why. Blocks.
pub(crate) fn ask<T>(
    consumer: &BaseConsumer<Heard>,
    patience: Duration,
    question: impl Fn(&BaseConsumer<Heard>, Duration) -> Result<T, KafkaError>,
) -> Result<T, String> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match question(consumer, left.min(STEP)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // Events wait until somebody asks for them.
        while consumer.poll(Duration::from_millis(50)).is_some() {}
        let mut heard = consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner);
        if left <= STEP || heard.as_ref().is_some_and(|(_, is_final)| *is_final) {
            return Err(heard.take().map_or_else(|| error.to_string(), |(reason, _)| reason));
        }
    }
}
