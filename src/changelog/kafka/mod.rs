//! The change log in a topic of Kafka.
//!
//! * [`Address`]: where it is
//! * [`Topic`]: made with the right settings, or refused
//! * [`Relay`]: brings what the store commits into the topic
//! * `chain`: which record comes after which, and where a relay goes on
//! * `session`: a transactional producer, and who may have it
//! * `tail`: how far the topic is
//! * `format`: how a record stands in the topic
//! * `consume`: how consumers of it are set up
//! * `seek`: from a commit number to offsets
//! * `reader`: follows the topic, on several threads
//! * `merge`: puts the records of all partitions in order
//! * `standstill`: a merge that waits for what is deleted
//! * [`KafkaLog`]: the change log of these

mod address;
pub(crate) mod chain;
mod consume;
mod error;
pub(crate) mod format;
mod log;
mod merge;
mod reader;
mod relay;
mod seek;
mod session;
mod standstill;
pub(crate) mod tail;
mod topic;

pub use address::{Address, AddressError};
pub use error::KafkaLogError;
pub use log::{KafkaLog, KafkaStatistics};
pub use relay::{Relay, RelayState, RelayStatus};
pub use tail::holder;
pub use topic::Topic;
