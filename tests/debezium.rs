//! The real Debezium on a real PostgreSQL, writing to the real Kafka.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "debezium/live.rs"]
mod live;
#[path = "debezium/record.rs"]
mod record;
#[path = "debezium/statements.rs"]
mod statements;
mod support;
