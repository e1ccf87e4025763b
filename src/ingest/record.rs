//! A record's bytes to what they mean, by the format of its mapping.

use super::mapping::{Mapping, Reader};
use super::meaning::{Meaning, Unreadable};
use super::{debezium, json};
use crate::config::IngestFormat;

impl Mapping {
    /// What a record means. Depends on nothing but its bytes and the mapping.
    pub fn read(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Meaning, Unreadable> {
        let read = |reader: &Reader<'_>, key, value| match self.format {
            IngestFormat::Json => json::read(reader, key, value).map_err(Unreadable::from),
            IngestFormat::Debezium => debezium::read(reader, key, value),
        };
        // The short way takes the layout of known schema blocks for granted; what it cannot read is looked at in full, so
        // what is known never makes a difference.
        read(&Reader { mapping: self, short: true }, key, value).or_else(|_| read(&Reader { mapping: self, short: false }, key, value))
    }
}
