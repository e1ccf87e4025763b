//! Tidegate: standing queries over a stream of updates, and the backend around them.
//!
//! * [`config`]: one typed configuration
//! * [`schema`]: declared classes
//! * [`store`]: the system of record
//! * [`changelog`]: the ordered log of changes
//! * [`ingest`]: topics of other producers
//! * [`kafka`]: what the log and ingest share of Kafka
//! * [`clock`]: time that never runs backwards
//! * [`json`]: texts of JSON, field by field
//! * [`apps`]: one server, many apps
//! * [`auth`]: tokens, passwords, sessions
//! * [`bench`]: the load generator
//! * [`live`]: the gateway: sessions, protocol messages, queues, resume
//! * [`logs`]: the apps' own logs: what is taken in, how long it is kept
//! * [`expiry`]: objects whose time has come are deleted
//! * [`object`]: one object: id, text, shape, decisions on writes
//! * [`http`]: the front stage, one file per resource
//! * `query`: queries of clients, parsed beside the async threads
//! * [`rights`]: who belongs to which role, whose tokens are dead
//! * [`server`]: all of it put together, in one process
//! * [`mail`]: what users are sent
//! * [`oidc`]: login at a provider
//! * [`metrics`], [`telemetry`]: what is measured and told
//! * [`cli`]: the command line, one file a command
//! * [`console`]: the page at `/_tidegate/`
//! * [`demo`]: an auction house to look at
//! * [`client`]: how commands reach a server: URLs, certificates, connections
//! * [`watch`]: a subscription on a terminal
//!
//! Arrows run one way: `http`, `live`, `ingest` -> `store`, `changelog` -> `dataflows`.

pub mod apps;
pub mod auth;
pub mod bench;
pub mod changelog;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod console;
pub mod demo;
pub mod expiry;
pub mod http;
pub mod ingest;
pub mod json;
pub mod kafka;
pub mod live;
pub mod logs;
pub mod mail;
pub mod metrics;
pub mod object;
pub mod oidc;
mod query;
pub mod rights;
pub mod schema;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod watch;
