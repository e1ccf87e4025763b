//! The change log in a topic of Kafka.
//!
//! * `format`: how a record stands in the topic

mod format;
