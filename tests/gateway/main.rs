//! The gateway from outside: real store, real engine, real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod events;
mod harness;
