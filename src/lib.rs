//! Tidegate: standing queries over a stream of updates, and the backend around them.
//!
//! * [`config`]: one typed configuration
//! * [`schema`]: declared classes
//! * [`store`]: the system of record
//! * [`changelog`]: the ordered log of changes
//! * [`clock`]: time that never runs backwards
//! * [`auth`]: tokens, passwords, sessions
//! * [`live`]: the gateway: sessions, protocol messages, queues, resume
//!
//! Arrows run one way: `http`, `live` -> `store`, `changelog` -> `dataflows`.

pub mod auth;
pub mod changelog;
pub mod clock;
pub mod config;
pub mod live;
pub mod schema;
pub mod store;
