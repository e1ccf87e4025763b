//! Why librdkafka makes no client of a configuration, told without what is secret in it: both librdkafka's own text and the
//! error around it may quote values.

use super::KafkaError;
use crate::config::kafka_property_is_harmless;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError as RdError;
use rdkafka::types::RDKafkaConfRes;

/// So many bytes of a value, anywhere in a text, are taken for a quotation.
const TRACE: usize = 4;

/// The error of whoever made no client of this configuration: the properties that are wrong, and no value.
pub(crate) fn refused(config: &ClientConfig, error: &RdError) -> KafkaError {
    KafkaError::Property(match error {
        RdError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, property, _) => {
            format!("there is no property {property}")
        }
        // Its text holds the value, and is asked for this alone.
        RdError::ClientConfig(_, text, property, _) if text.contains("not supported in this build") => {
            format!("the property {property} is not supported by this build of the client")
        }
        RdError::ClientConfig(_, _, property, _) => format!("the property {property} does not take the value that it has (not shown here)"),
        RdError::ClientCreation(text) if !quotes(text, config) => text.clone(),
        RdError::ClientCreation(text) => match named(text, config).as_slice() {
            [] => "some of its properties cannot be used (the reason quotes a value that may be a secret)".to_owned(),
            names => {
                format!("it cannot be used with what these say: {} (the reason quotes a value that may be a secret)", names.join(", "))
            }
        },
        _ => "the client gives a reason that is not shown, since it may hold a secret".to_owned(),
    })
}

/// Whether a text holds some of a value that may be a secret: all of it, or a few bytes of it, since librdkafka also quotes
/// from where it could not read on.
fn quotes(text: &str, config: &ClientConfig) -> bool {
    let names = config.config_map();
    let values = names.keys().filter(|name| !kafka_property_is_harmless(name)).filter_map(|name| config.get(name));
    values.filter(|value| !matches!(*value, "" | "true" | "false")).any(|value| {
        let value = value.as_bytes();
        value.windows(TRACE.min(value.len())).any(|piece| text.as_bytes().windows(piece.len()).any(|found| found == piece))
    })
}

/// The properties of the configuration that a text names.
fn named<'c>(text: &str, config: &'c ClientConfig) -> Vec<&'c str> {
    config.config_map().into_keys().filter(|name| text.contains(name)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rdkafka::consumer::BaseConsumer;

    const SECRET: &str = "swordfish-8ae4";

    /// What is said of a configuration that librdkafka refuses.
    fn said(properties: &[(&str, &str)]) -> String {
        let config: ClientConfig = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let error = config.create::<BaseConsumer>().err().unwrap();
        let said = refused(&config, &error);
        assert_eq!(said.code(), "kafka-property");
        format!("{said} {said:?}")
    }

    #[test]
    fn a_property_that_is_refused_is_named_and_its_value_is_not() {
        for (property, hint) in [
            // Misspelled; of another kind; not in this build.
            ("sasl.pasword", "no property sasl.pasword"),
            ("socket.timeout.ms", "socket.timeout.ms"),
            ("security.protocol", "security.protocol"),
            ("enable.ssl.certificate.verification", "enable.ssl.certificate.verification"),
            ("sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.secret"),
            ("ssl.key.pem", "ssl.key.pem"),
        ] {
            let said = said(&[("security.protocol", "ssl"), (property, SECRET)]);
            assert!(said.contains(hint) && !said.contains(SECRET), "{said}");
        }
    }

    #[test]
    fn the_clients_own_reason_is_shown_where_it_quotes_nothing() {
        let reason = said(&[("security.protocol", "ssl"), ("ssl.ca.location", "/no/such/authority.pem"), ("ssl.key.password", SECRET)]);
        assert!(reason.contains("ssl.ca.location"), "{reason}");
        let config: ClientConfig =
            [("sasl.oauthbearer.config", "principal=me secret=swordfish-8ae4"), ("sasl.username", "ab"), ("debug", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect();
        let shown = |text: &str| refused(&config, &RdError::ClientCreation(text.to_owned())).to_string();
        let quoting = shown("Unrecognized sasl.oauthbearer.config beginning at: fish-8ae4");
        assert!(quoting.contains("sasl.oauthbearer.config") && !quoting.contains("fish"), "{quoting}");
        assert!(!shown("no user ab").contains("user ab"));
        assert!(shown("no user xy").contains("no user xy"));
    }
}
