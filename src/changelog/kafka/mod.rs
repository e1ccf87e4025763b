//! The change log in a topic of Kafka.
//!
//! * `format`: how a record stands in the topic
//! * `consume`: how consumers of it are set up
//! * `seek`: from a commit number to offsets
//! * `reader`: follows the topic, on several threads
//! * `merge`: puts the records of all partitions in order
//! * `log`: the change log of these

mod consume;
mod format;
mod log;
mod merge;
mod reader;
mod seek;
