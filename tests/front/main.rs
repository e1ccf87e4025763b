//! The front stage from outside: a real server on real sockets, asked over HTTP (CONTRACT sections 1 to 9).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod administration;
mod banned;
mod bridge;
mod harness;
mod live;
mod objects;
mod partial;
mod passwords;
#[path = "../support/people.rs"]
#[allow(dead_code, unreachable_pub)]
mod people;
mod queries;
mod registration;
mod roles;
mod schema;
mod second_factor;
mod sessions;
mod tokens;
mod transport;
mod users;
