//! Kafka: how to talk to it, and which topics of other producers come in.

use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The list of mappings.
pub(super) const INGEST: &str = "ingest";
/// What a mapping can say.
pub(super) const FIELDS: [&str; 8] = ["topic", "bucket", "format", "read", "owner", "types", "dead_letter_topic", "snapshot_removes"];
/// The properties of the client.
const PROPERTIES: &str = "kafka.properties";
/// Properties whose values are no secrets. Of all others nobody knows: librdkafka gets new ones, and plugins have their own.
const HARMLESS: [&str; 16] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "broker.address.family",
    "group.id",
    "compression.type",
    "linger.ms",
    "queued.max.messages.kbytes",
    "fetch.wait.max.ms",
    "socket.timeout.ms",
];

/// Brokers and how to talk to them.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaOptions {
    /// `HOST:PORT`, comma separated
    pub brokers: String,
    /// Properties of librdkafka. A value `file:PATH` or `env:NAME` stands for what is there. Never print the values.
    #[serde(default)]
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
    /// Whether a snapshot of Debezium that is complete removes the objects that it did not contain. Not where snapshots of a
    /// part of the table are taken: their records look like those of the whole.
    #[serde(default = "always")]
    pub snapshot_removes: bool,
}

fn always() -> bool {
    true
}

/// What can be shown of a setting. A value `file:…` or `env:…` only says where the secret is.
pub(super) fn shown<'v>(key: &str, value: &'v toml::Value) -> Cow<'v, toml::Value> {
    if key == "mail.password" || key == super::oidc::OIDC {
        return Cow::Owned(super::secret::shown(value));
    }
    if key != PROPERTIES {
        return Cow::Borrowed(value);
    }
    let hidden = || toml::Value::String("(not shown)".into());
    let toml::Value::Table(properties) = value else { return Cow::Owned(hidden()) };
    let properties = properties.iter().map(|(name, value)| {
        let elsewhere = value.as_str().is_some_and(|text| text.starts_with("file:") || text.starts_with("env:"));
        let value = if elsewhere || kafka_property_is_harmless(name) { value.clone() } else { hidden() };
        (name.clone(), value)
    });
    Cow::Owned(toml::Value::Table(properties.collect()))
}

/// Whether the values of a property of the client can be shown.
pub(crate) fn kafka_property_is_harmless(name: &str) -> bool {
    HARMLESS.contains(&name)
}

/// The first field in a list of mappings that no mapping has, as `ingest.<field>`.
pub(super) fn unknown_field(mappings: &toml::Value) -> Option<String> {
    let tables = mappings.as_array()?.iter().filter_map(toml::Value::as_table);
    let unknown = tables.flat_map(toml::Table::keys).find(|field| !FIELDS.contains(&&***field))?;
    Some(format!("{INGEST}.{unknown}"))
}

/// Whether these mappings can be together; else what is expected, and what was found.
pub(super) fn check(mappings: &[IngestOptions]) -> Result<(), (String, String)> {
    let mut buckets = BTreeSet::new();
    for mapping in mappings {
        let found = |what: &str| format!("{what} (topic {:?}, bucket {:?})", mapping.topic, mapping.bucket);
        let is_topic = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.bytes().all(fits)
        };
        if !is_topic(&mapping.topic) {
            return Err(("of topics whose names Kafka knows".into(), format!("{:?}", mapping.topic)));
        }
        if !buckets.insert(&mapping.bucket) {
            return Err((
                "to one bucket for each mapping, or two would write over each other".into(),
                format!("the bucket {:?} twice", mapping.bucket),
            ));
        }
        if mapping.owner.is_some() && mapping.read == IngestRead::Public {
            return Err(("with either an owner or read = \"public\"".into(), found("both")));
        }
        if let Some(letters) = &mapping.dead_letter_topic
            && (!is_topic(letters) || mappings.iter().any(|other| other.topic == *letters))
        {
            return Err((
                "with a dead_letter_topic that is a topic and none of those that are read".into(),
                found(&format!("{letters:?}")),
            ));
        }
    }
    Ok(())
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
            snapshot_removes: true,
        }
    }
}
