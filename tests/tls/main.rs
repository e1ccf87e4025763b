//! TLS of the API from outside: real handshakes on real sockets, certificates made for each test.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod commands;
mod harness;
mod limits;
mod protocols;
mod renewal;
mod start;
