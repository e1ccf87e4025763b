//! Topics of other producers, from a real broker into a real server: what comes in, exactly once, and who sees it.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod access;
mod crash;
mod debezium;
mod harness;
mod large;
mod leaders;
mod letters;
mod page;
mod plain;
mod source;
#[path = "../support/mod.rs"]
mod support;
