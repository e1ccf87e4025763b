//! The front stage from outside: a real server on real sockets, asked over HTTP (CONTRACT sections 1 to 9).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod administration;
mod bridge;
mod harness;
mod indexes;
mod live;
mod objects;
mod partial;
#[path = "../support/people.rs"]
#[allow(dead_code, unreachable_pub)]
mod people;
mod queries;
mod schema;
mod schema_live;
#[path = "../support/socket.rs"]
#[allow(dead_code, unreachable_pub)]
mod socket;
mod transport;
mod users;

/// Everything that takes longer has failed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
