//! One typed configuration: file, environment, flags, in that order; `default.toml` is the one source of defaults.

mod environment;
mod kafka;
mod layers;
mod mail;
mod oidc;
mod secret;
mod source;

pub(crate) use kafka::kafka_property_is_harmless;
pub use kafka::{IngestFormat, IngestOptions, IngestRead, KafkaOptions};
pub use layers::{Effective, Layers, Setting};
pub use mail::{MailOptions, MailSecurity, MailTransport};
pub use oidc::{OidcOptions, is_safe};
pub use secret::{SecretError, SecretPlace};
pub use source::{ConfigError, Source};

use serde::{Deserialize, Serialize};

/// The one source of defaults, as people read it.
pub const DEFAULTS: &str = include_str!("default.toml");

/// The app that is there without any configuration.
pub const DEFAULT_APP: &str = "app";

/// All of it. Every option is explained in `default.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The front stage
    pub server: ServerOptions,
    /// The store and its data directory
    pub store: StoreOptions,
    /// Brokers and how to talk to them
    pub kafka: KafkaOptions,
    /// The change log
    pub changelog: ChangelogOptions,
    /// Topics of other producers
    #[serde(default)]
    pub ingest: Vec<IngestOptions>,
    /// The dataflow
    pub engine: EngineOptions,
    /// The gateway
    pub live: LiveOptions,
    /// The apps' own logs
    pub logs: LogsOptions,
    /// What one app may use
    pub limits: LimitOptions,
    /// Mail
    pub mail: MailOptions,
    /// Providers at which users log in
    #[serde(default)]
    pub oidc: Vec<OidcOptions>,
    /// Logs and traces
    pub log: LogOptions,
}

/// The front stage.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerOptions {
    /// Address of the API
    pub listen: String,
    /// Address of metrics and administration
    pub admin_listen: String,
    /// Addresses whose `X-Forwarded-For` is believed
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Certificate of the API and those that it leads to, PEM; empty: no TLS
    pub tls_cert: std::path::PathBuf,
    /// The certificate's private key, PEM
    pub tls_key: std::path::PathBuf,
    /// First segment of every path, `v1`
    pub base: String,
    /// Largest request body, bytes
    pub body_bytes: usize,
    /// A body that has not arrived whole after this is given up, seconds; imports are not bound by it
    pub body_seconds: u64,
    /// Bodies that arrive or are worked on, all together, bytes
    pub bodies_bytes: usize,
    /// Shorter answers of queries are not compressed, bytes; 0: none is
    pub compress_bytes: usize,
    /// Most writes in one batch
    pub batch_writes: usize,
    /// Connections at a time, all together
    pub connections: usize,
    /// Most objects in one answer
    pub result_objects: usize,
    /// Origins that browsers may come from, to apps that have none of their own; `*` for all
    pub origins: Vec<String>,
    /// Where the API is reached from outside, such as `https://api.example.org`; empty: links cannot be made
    pub public_url: String,
    /// Lifetime of a token, seconds
    pub token_seconds: u64,
    /// Lifetime of a token for a program, seconds
    pub api_token_seconds: u64,
    /// How long hashing a password may take, milliseconds; 0 for the least cost
    pub password_ms: u64,
    /// Whether `GET /connect` takes a signature in the URL
    pub signed_connect: bool,
    /// Whether the page at `/_tidegate/` is served
    pub console: bool,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreOptions {
    /// The data directory
    pub data: std::path::PathBuf,
    /// When a write is acknowledged
    pub durability: Durability,
    /// Largest object, bytes of its JSON text
    pub object_bytes: usize,
    /// Memory for cached blocks, bytes
    pub cache_bytes: u64,
    /// Writes that may wait for the disk before new ones are refused
    pub queue: usize,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When it is on the disk: nothing acknowledged is lost, whatever stops
    Disk,
    /// When the operating system has it: survives the process, not the machine
    System,
}

/// The change log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangelogOptions {
    /// `embedded` or `kafka://HOST:PORT[,…]/TOPIC`
    pub log: String,
    /// Kafka: partitions for changes, beside the one for schemas and rights
    pub partitions: u32,
    /// Kafka: replicas of a topic that is made here; 0 for the broker's default
    pub replicas: u32,
    /// Kafka: bytes of changes that may wait for the brokers
    pub outbox_bytes: u64,
    /// Kept so long, seconds
    pub age_seconds: u64,
    /// Never more than this, bytes
    pub size_bytes: u64,
    /// Recent changes kept in memory, bytes
    pub recent_bytes: usize,
}

/// The dataflow.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineOptions {
    /// Workers; 0: the cores less one, at least one
    pub workers: usize,
    /// Columns of the grid; the workers are a multiple of it
    pub columns: usize,
    /// Standing queries of one app that no index entry fits
    pub residual_queries: usize,
    /// Changes that may be under way in the dataflow
    pub changes_under_way: usize,
}

/// The gateway.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveOptions {
    /// Connections at a time
    pub connections: usize,
    /// Subscriptions of one connection
    pub subscriptions: usize,
    /// Bytes that the queries of one connection's subscriptions take, estimated; 0: no bound
    pub subscription_bytes: usize,
    /// Largest message of a client, bytes
    pub message_bytes: usize,
    /// Largest query, bytes
    pub query_bytes: usize,
    /// Events that may wait for one connection
    pub queue_events: usize,
    /// Bytes of events that may wait for one connection
    pub queue_bytes: usize,
    /// Objects in one initial result
    pub result_objects: usize,
    /// Time from the writer's answer to his event at the earliest, milliseconds
    pub answer_grace_ms: u64,
    /// Upper bound on how long his event waits for his answer, milliseconds
    pub answer_limit_ms: u64,
    /// Time between pings, seconds
    pub ping_seconds: u64,
    /// A peer silent for so long is dead, seconds
    pub dead_seconds: u64,
    /// Changes that a resuming client may be behind before it gets a fresh result
    pub resume_changes: u64,
    /// Lifetime of a ticket for an event stream, seconds
    pub ticket_seconds: u64,
}

/// The apps' own logs: what clients write into the bucket `logs.AppLog`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsOptions {
    /// Kept so long, seconds; 0: for ever
    pub age_seconds: u64,
    /// Never more of one app than this, bytes; 0: no bound
    pub size_bytes: u64,
    /// Largest entry, bytes
    pub entry_bytes: usize,
    /// Entries from one address in a minute; administrators may send more
    pub per_minute: u32,
    /// Entries below this level are dropped
    pub level: LogLevel,
    /// The same for single apps, by name
    #[serde(default)]
    pub levels: std::collections::BTreeMap<String, LogLevel>,
}

/// How grave a log entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Everything
    Trace,
    /// For those who look for a fault
    Debug,
    /// What happens
    Info,
    /// What should not
    Warn,
    /// What failed
    Error,
}

/// What one app may use of what all share.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitOptions {
    /// Apps at a time, the default one included
    pub apps: usize,
    /// Requests per second; 0: no bound
    pub requests_per_second: u32,
    /// Requests that are worked on at a time
    pub requests: usize,
    /// Requests that may wait for their turn
    pub waiting: usize,
    /// Writes that wait for the disk at a time
    pub writes: usize,
    /// Queries that are answered, and live results that are read, at a time
    pub scans: usize,
    /// Passwords that are hashed at a time; 0: as many as the server hashes at a time
    pub hashings: usize,
    /// Websockets and event streams; 0: as many as leave as much free for others
    pub connections: usize,
    /// Subscriptions, all connections together
    pub subscriptions: usize,
    /// Bytes that their queries take, estimated; 0: no bound
    pub subscription_bytes: usize,
    /// Bytes of objects, their keys and JSON texts; 0: no bound
    pub stored_bytes: u64,
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogOptions {
    /// A level, or directives such as `info,tidegate::live=debug`
    pub level: String,
    /// `text` or `json`
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines, one object a line
    Json,
}

impl Default for Config {
    /// What `default.toml` says.
    #[allow(clippy::expect_used)] // the text is part of the binary, and a test reads it
    fn default() -> Self {
        toml::from_str(DEFAULTS).expect("default.toml is complete")
    }
}
