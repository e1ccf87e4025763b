//! Rights (ACLs) that brokers deny: which one is missing, and how it is granted.

use rdkafka::error::RDKafkaErrorCode;
use std::fmt;

/// What an operator has to grant this server's user: one operation on one resource, as Kafka calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    operation: &'static str,
    resource: Resource,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Topic,
    Group,
    TransactionalId,
    Cluster,
}

/// Shown as what is missing and the command that grants it; the user's name is that of his password, his certificate or his token.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Right { operation, resource, name } = self;
        let (kind, option) = match resource {
            Resource::Topic => ("topic", "--topic"),
            Resource::Group => ("group", "--group"),
            Resource::TransactionalId => ("transactional id", "--transactional-id"),
            Resource::Cluster => {
                return write!(
                    f,
                    "{operation} on the cluster (kafka-acls --add --allow-principal User:NAME --operation {operation} --cluster)"
                );
            }
        };
        write!(f, "{operation} on the {kind} {name} (kafka-acls --add --allow-principal User:NAME --operation {operation} {option} {name})")
    }
}

/// What somebody is about to do, by the names that rights are for: says which right is missing where the brokers refuse it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deed<'a> {
    /// The operation on a topic, and its name
    pub(crate) topic: Option<(&'static str, &'a str)>,
    pub(crate) group: Option<&'a str>,
    pub(crate) transactional_id: Option<&'a str>,
}

impl Deed<'_> {
    /// The right that is missing; none where the error is about something else.
    pub(crate) fn denied(&self, code: Option<RDKafkaErrorCode>) -> Option<Right> {
        let right = |operation, resource, name: &str| Right { operation, resource, name: name.to_owned() };
        match code? {
            RDKafkaErrorCode::TopicAuthorizationFailed => self.topic.map(|(operation, topic)| right(operation, Resource::Topic, topic)),
            RDKafkaErrorCode::GroupAuthorizationFailed => self.group.map(|group| right("Read", Resource::Group, group)),
            // It contains Describe, which finding the coordinator takes.
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
                self.transactional_id.map(|id| right("Write", Resource::TransactionalId, id))
            }
            // Brokers before 3.0 ask for it.
            RDKafkaErrorCode::ClusterAuthorizationFailed => Some(right("IdempotentWrite", Resource::Cluster, "")),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_right_is_named_with_the_command_that_grants_it() {
        let deed = Deed { topic: Some(("Write", "orders")), group: Some("readers"), transactional_id: Some("tidegate-1") };
        let shown = |code| deed.denied(Some(code)).map(|right| right.to_string());
        for (code, named) in [
            (
                RDKafkaErrorCode::TopicAuthorizationFailed,
                "Write on the topic orders (kafka-acls --add --allow-principal User:NAME --operation Write --topic orders)",
            ),
            (
                RDKafkaErrorCode::GroupAuthorizationFailed,
                "Read on the group readers (kafka-acls --add --allow-principal User:NAME --operation Read --group readers)",
            ),
            (
                RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
                "Write on the transactional id tidegate-1 (kafka-acls --add --allow-principal User:NAME --operation Write --transactional-id tidegate-1)",
            ),
            (
                RDKafkaErrorCode::ClusterAuthorizationFailed,
                "IdempotentWrite on the cluster (kafka-acls --add --allow-principal User:NAME --operation IdempotentWrite --cluster)",
            ),
        ] {
            assert_eq!(shown(code).as_deref(), Some(named));
        }
        assert_eq!(shown(RDKafkaErrorCode::RequestTimedOut), None);
        assert_eq!(deed.denied(None), None);
        assert_eq!(Deed::default().denied(Some(RDKafkaErrorCode::TopicAuthorizationFailed)), None);
    }
}
