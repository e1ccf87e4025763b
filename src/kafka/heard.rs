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
                let (reason, is_final) = match is_refused_certificate(reason) {
                    true => (format!("the broker does not accept this server's certificate (ssl.certificate.location): {reason}"), true),
                    false => (reason.to_owned(), matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL))),
                };
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((reason, is_final));
            }
        }
    }
}

impl ConsumerContext for Heard {}

/// Whether the broker ended the connection for the certificate that it was shown, or for want of one. Since TLS 1.3 that comes
/// after the handshake, so to the client it is a connection that was lost, and only the number of the alert (RFC 8446, section
/// 6) in its text tells.
fn is_refused_certificate(reason: &str) -> bool {
    let number = reason.split_once("SSL alert number ").and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    // bad_certificate, unsupported_, revoked, expired, unknown_, unknown_ca, access_denied; certificate_required
    matches!(number.and_then(|number| number.parse::<u8>().ok()), Some(42..=46 | 48 | 49 | 116))
}

/// Puts a question to the brokers through a consumer that has no partitions: for so long, until nobody wants to know any more,
/// or until they let nobody in. The error says why. Blocks.
pub(crate) fn ask<T>(
    consumer: &BaseConsumer<Heard>,
    patience: Duration,
    given_up: impl Fn() -> bool,
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
        if left <= STEP || given_up() || heard.as_ref().is_some_and(|(_, is_final)| *is_final) {
            return Err(heard.take().map_or_else(|| error.to_string(), |(reason, _)| reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_about_a_certificate_is_told_from_other_ends() {
        let alert =
            |number| format!("Receive failed: error:0A000412:SSL routines::alert: SSL alert number {number} (after 1ms in state UP)");
        for number in [42, 48, 116] {
            assert!(is_refused_certificate(&alert(number)));
        }
        for number in [0, 40, 47, 70, 80, 1116] {
            assert!(!is_refused_certificate(&alert(number)), "{number}");
        }
        assert!(!is_refused_certificate("Disconnected: connection closed by peer"));
    }
}
