//! What the tests from outside share: a server to talk to, and clients that take nothing on trust.
//!
//! * [`server`]: in this process, or the real binary as a child, always on a port and in a directory of its own
//! * [`http`]: the API
//! * [`socket`]: the websocket protocol; keeps all that it was told
//! * [`cluster`]: three real brokers, whose leaders can be killed
//! * [`connect`]: Kafka Connect with Debezium
//! * [`kafka`]: a real broker, or one for this test alone to stop, kill and pause
//! * [`live`]: a live result kept by the rules of the SDK, which is also a judge of the stream
//! * [`history`]: what was committed, put together from the answers to writers
//! * [`npm`]: packages that tests need
//! * [`postgres`]: a real database
//! * [`people`]: users with tokens, made with the server's own key
//! * [`ports`]: ports that must be known before somebody listens on them
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used, clippy::expect_used)]

pub mod cluster;
pub mod connect;
pub mod history;
pub mod http;
pub mod kafka;
pub mod live;
pub mod npm;
pub mod people;
pub mod ports;
pub mod postgres;
pub mod server;
pub mod socket;

use std::time::Duration;

/// Nothing that is awaited takes so long, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")),
        Err(_) => default,
    }
}

/// The runtime of a test: two threads, as a client on a machine of its own would have.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}
