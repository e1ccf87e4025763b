//! Where a change log in Kafka is: `kafka://HOST:PORT[,HOST:PORT…]/TOPIC`.

use std::str::FromStr;

/// Longest name of a topic, bytes; Kafka's own limit.
const LONGEST_TOPIC: usize = 249;

/// Brokers and topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `HOST:PORT`, comma separated: what a client is given to begin with
    pub brokers: String,
    /// The topic
    pub topic: String,
}

/// Why a text is no address of a change log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Something else altogether
    #[error("the change log cannot be {0:?}; it is \"embedded\" or kafka://HOST:PORT[,HOST:PORT…]/TOPIC")]
    Scheme(String),
    /// A broker that is not `HOST:PORT`
    #[error("the broker {0:?} of the change log is not HOST:PORT; an IPv6 host stands in brackets, such as [::1]:9092")]
    Broker(String),
    /// A name that Kafka does not take
    #[error(
        "the topic {0:?} of the change log cannot be: its name has 1 to {LONGEST_TOPIC} letters of ASCII, digits, '.', '_' and '-', \
         and is not '.' or '..'"
    )]
    Topic(String),
}

impl AddressError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            AddressError::Scheme(_) => "log-address-scheme",
            AddressError::Broker(_) => "log-address-broker",
            AddressError::Topic(_) => "log-address-topic",
        }
    }
}

impl Address {
    /// Of the option `changelog.log`; none for the embedded log.
    pub fn of(option: &str) -> Result<Option<Address>, AddressError> {
        if option == "embedded" { Ok(None) } else { option.parse().map(Some) }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let rest = text.strip_prefix("kafka://").ok_or_else(|| AddressError::Scheme(short(text)))?;
        let (brokers, topic) = rest.split_once('/').unwrap_or((rest, ""));
        let brokers: Vec<&str> = brokers.split(',').map(str::trim).collect();
        if let Some(wrong) = brokers.iter().find(|broker| !is_broker(broker)) {
            return Err(AddressError::Broker(short(wrong)));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if topic.is_empty() || topic.len() > LONGEST_TOPIC || !topic.bytes().all(fits) || matches!(topic, "." | "..") {
            return Err(AddressError::Topic(short(topic)));
        }
        Ok(Address { brokers: brokers.join(","), topic: topic.to_owned() })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kafka://{}/{}", self.brokers, self.topic)
    }
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    host_fits && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_topic() {
        for (text, brokers) in [
            ("kafka://localhost:9092/changes", "localhost:9092"),
            ("kafka://a.example:1, b-2:65535,10.0.0.1:9092/changes", "a.example:1,b-2:65535,10.0.0.1:9092"),
            ("kafka://[::1]:9092,[fe80::7]:9093/changes", "[::1]:9092,[fe80::7]:9093"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address, Address { brokers: brokers.into(), topic: "changes".into() });
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
        assert_eq!(Address::of("embedded"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let code = |text: &str| text.parse::<Address>().unwrap_err().code();
        for text in ["", "embeded", "http://a:1/t", "localhost:9092/t", "KAFKA://a:1/t"] {
            assert_eq!(code(text), "log-address-scheme", "{text}");
        }
        for text in ["kafka://", "kafka:///t", "kafka://a/t", "kafka://a:0/t", "kafka://a:65536/t", "kafka://a:1,/t", "kafka://:1/t"] {
            assert_eq!(code(text), "log-address-broker", "{text}");
        }
        for text in ["kafka://::1:9092/t", "kafka://[::1]/t", "kafka://[a]:1/t", "kafka://user@a:1/t", "kafka://a:+1/t"] {
            assert_eq!(code(text), "log-address-broker", "{text}");
        }
        for text in ["kafka://a:1", "kafka://a:1/", "kafka://a:1/a/b", "kafka://a:1/t?x", "kafka://a:1/..", "kafka://a:1/ü"] {
            assert_eq!(code(text), "log-address-topic", "{text}");
        }
        assert_eq!(code(&format!("kafka://a:1/{}", "t".repeat(250))), "log-address-topic");
    }
}
