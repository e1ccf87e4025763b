//! Where a store's log is kept, noted beside the log's id: another place is another log.

use serde::{Deserialize, Serialize};

/// Where a log is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Home {
    /// In the store itself; so it is in data directories that note nothing
    #[default]
    Embedded,
    /// In a topic of Kafka; the store's own log is its outbox
    Kafka {
        /// As the brokers name themselves; none where they do not
        cluster: Option<String>,
        /// The topic
        topic: String,
        /// Partitions for changes, beside the one for control records
        partitions: u32,
    },
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Home::Embedded => write!(f, "embedded"),
            Home::Kafka { cluster, topic, partitions } => {
                let cluster = cluster.as_deref().unwrap_or("without a name");
                write!(f, "topic {topic} with {partitions} partitions for changes in the cluster {cluster}")
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_stays_readable() {
        let kafka = Home::Kafka { cluster: Some("c".into()), topic: "t".into(), partitions: 4 };
        for (home, text) in [(Home::Embedded, r#""embedded""#), (kafka, r#"{"kafka":{"cluster":"c","topic":"t","partitions":4}}"#)] {
            assert_eq!(serde_json::to_string(&home).unwrap(), text);
            assert_eq!(serde_json::from_str::<Home>(text).unwrap(), home);
        }
    }
}
