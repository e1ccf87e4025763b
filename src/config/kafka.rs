//! Kafka: how to talk to it, and which topics of other producers come in.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Brokers and how to talk to them.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaOptions {
    /// `HOST:PORT`, comma separated
    pub brokers: String,
    /// Properties of librdkafka. A value `file:PATH` or `env:NAME` stands for what is there. Never print the values.
    pub properties: BTreeMap<String, String>,
}

/// Names without values: any of them may be a secret.
impl std::fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let properties: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaOptions").field("brokers", &self.brokers).field("properties", &properties).finish()
    }
}

/// A topic of other producers and what becomes of its records.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestOptions {
    /// The topic
    pub topic: String,
    /// The bucket that its objects go to; no other mapping may have the same
    pub bucket: String,
    /// How records are read
    #[serde(default)]
    pub format: IngestFormat,
    /// Who may read the objects
    #[serde(default)]
    pub read: IngestRead,
    /// A field whose value is the id of the user who alone may read the object
    #[serde(default)]
    pub owner: Option<String>,
    /// Types of fields that come without a schema block, such as `timestamp-micros` or `decimal:2`; docs/kafka.md lists them
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// Where bad records go; none: a file in the data directory
    #[serde(default)]
    pub dead_letter_topic: Option<String>,
}

/// How records are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IngestFormat {
    /// Key = id, value = object, null = delete
    #[default]
    Json,
    /// Envelopes of Debezium, with or without schema block
    Debezium,
}

/// Who may read ingested objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IngestRead {
    /// The administrator
    #[default]
    Admin,
    /// Everybody
    Public,
}

impl IngestOptions {
    /// A mapping with defaults, as `--ingest TOPIC=BUCKET` makes one.
    pub fn new(topic: &str, bucket: &str) -> IngestOptions {
        IngestOptions {
            topic: topic.to_owned(),
            bucket: bucket.to_owned(),
            format: IngestFormat::default(),
            read: IngestRead::default(),
            owner: None,
            types: BTreeMap::new(),
            dead_letter_topic: None,
        }
    }
}
