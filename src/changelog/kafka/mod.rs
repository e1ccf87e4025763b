//! The change log in a topic of Kafka.
//!
//! * [`Address`]: where it is
//! * [`Topic`]: made with the right settings, or refused
//! * [`Relay`]: brings what the store commits into the topic
//! * `chain`: which record comes after which, and where a relay goes on
//! * `session`: a transactional producer, and who may have it
//! * `tail`: how far the topic is
//! * `format`: how a record stands in the topic

mod address;
mod chain;
mod error;
mod format;
mod relay;
mod session;
mod tail;
mod topic;

pub use address::{Address, AddressError};
pub use error::KafkaLogError;
pub use relay::{Relay, RelayState, RelayStatus};
pub use topic::Topic;
