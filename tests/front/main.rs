//! The front stage from outside: a real server on real sockets, asked over HTTP (docs/api.md).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod administration;
mod banned;
mod batch;
mod bodies;
mod bridge;
mod compression;
mod expiry;
mod harness;
mod indexes;
mod live;
mod logs;
mod objects;
mod partial;
mod passwords;
mod queries;
mod registration;
mod roles;
mod schema;
mod schema_live;
mod second_factor;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod transfer;
mod transport;
mod users;

use support::socket;
