//! The gateway from outside: real store, real engine, real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod answers;
mod events;
mod harness;
mod overload;
mod resume;
mod stream;
