//! A mapping, compiled: how one topic's records are read. The formats use it; [`super::record`] chooses among them.

use super::columns::{Column, Columns, Entry, Gathering, Types};
use super::connect::{Blocks, Payload};
use super::encoding::{Encoding, NAMES};
use super::meaning::{BadRecord, Fields, Moments};
use crate::config::{IngestFormat, IngestOptions};
use std::sync::{Arc, PoisonError, RwLock};

/// How one topic's records are read. Shared by all who read partitions of the topic.
#[derive(Debug)]
pub struct Mapping {
    pub(super) format: IngestFormat,
    types: Types,
    /// Largest object that the store takes, bytes
    object_bytes: usize,
    blocks: Blocks,
    /// Fields of records without a schema block, as far as they were seen
    seen: RwLock<Arc<Columns>>,
}

/// Why a mapping cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// A type that is not known
    #[error("the type {found:?} of the field {field:?} of the topic {topic} is not known{nearest}; docs/kafka.md lists the types")]
    Type {
        /// Of which mapping
        topic: String,
        /// The field
        field: String,
        /// What is configured
        found: String,
        /// `; do you mean …?` or nothing
        nearest: String,
    },
}

impl MappingError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            MappingError::Type { .. } => "ingest-type",
        }
    }
}

/// Most names of fields that are remembered, and most bytes of them together; a source that makes names of its data has its
/// others looked at each time.
const MOST_NAMES: usize = 4_096;
const MOST_NAME_BYTES: usize = 256 << 10;

impl Mapping {
    /// Compiles a mapping for a store whose objects have at most `object_bytes` bytes.
    pub fn new(options: &IngestOptions, object_bytes: usize) -> Result<Mapping, MappingError> {
        let mut types = Types::new();
        for (field, name) in &options.types {
            let encoding = Encoding::named(name).ok_or_else(|| MappingError::Type {
                topic: options.topic.clone(),
                field: field.clone(),
                found: name.clone(),
                nearest: nearest(name).map(|name| format!("; do you mean {name:?}?")).unwrap_or_default(),
            })?;
            types.insert(field.as_str().into(), encoding);
        }
        // Which fields are moments is known before one was seen.
        let seen = RwLock::new(Arc::new(Columns::with_moments(&types)));
        Ok(Mapping { format: options.format, types, object_bytes, blocks: Blocks::default(), seen })
    }

    /// The moments that the mapping itself names.
    pub fn moments(&self) -> Arc<Moments> {
        Arc::clone(&self.seen.read().unwrap_or_else(PoisonError::into_inner).moments)
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let closest = NAMES.into_iter().max_by(|a, b| strsim::jaro_winkler(name, a).total_cmp(&strsim::jaro_winkler(name, b)))?;
    (strsim::jaro_winkler(name, closest) > 0.8).then_some(closest)
}

/// A mapping at work on one record.
pub(super) struct Reader<'m> {
    pub(super) mapping: &'m Mapping,
    /// Takes the layout of known schema blocks for granted
    pub(super) short: bool,
}

impl Reader<'_> {
    /// Takes a key or a value out of its schema block, if it has one.
    pub(super) fn payload<'t>(&self, text: &'t str) -> Result<Payload<'t>, BadRecord> {
        let known = if self.short { self.mapping.blocks.known(text) } else { None };
        match known {
            Some(payload) => Ok(payload),
            None => self.mapping.blocks.of_shape(text, &self.mapping.types),
        }
    }

    /// How the mapping says that a field is written.
    pub(super) fn encoding(&self, field: &str) -> &Encoding {
        self.mapping.types.get(field).unwrap_or(&Encoding::Plain)
    }

    /// The fields of an object, read by the columns of its schema block, or by the mapping.
    pub(super) fn fields(&self, entries: &[Entry<'_>], columns: Option<&Columns>) -> Result<Fields, BadRecord> {
        let seen;
        let (columns, learns) = match columns {
            Some(columns) => (columns, false),
            None => {
                seen = self.mapping.seen.read().unwrap_or_else(PoisonError::into_inner).clone();
                (&*seen, true)
            }
        };
        let mut gathering = Gathering::new(entries.len(), self.mapping.object_bytes, columns.moments.clone())?;
        let mut unknown = Vec::new();
        let mut next = 0;
        for (name, value) in entries {
            match columns.find(name, &mut next) {
                Some(column) => gathering.add(column, value)?,
                None => {
                    gathering.add(&Column::new(name, self.encoding(name).clone()), value)?;
                    unknown.push(&**name);
                }
            }
        }
        if learns && !unknown.is_empty() {
            self.learn(&unknown);
        }
        Ok(gathering.done())
    }

    /// Remembers names that were not known: all of them, or none where they are too many.
    fn learn(&self, names: &[&str]) {
        let mut seen = self.mapping.seen.write().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = names.iter().map(|name| name.len()).sum();
        if seen.len() + names.len() <= MOST_NAMES && seen.bytes() + bytes <= MOST_NAME_BYTES {
            let mut more = Columns::clone(&seen);
            for name in names {
                more.add(name, self.encoding(name).clone());
            }
            *seen = Arc::new(more);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::ingest::meaning::Meaning;

    #[test]
    fn long_names_are_not_remembered_without_end() {
        let mut options = IngestOptions::new("topic", "Bucket");
        options.format = IngestFormat::Json;
        let mapping = Mapping::new(&options, 1 << 20).unwrap();
        for record in 0..50 {
            let name = format!("{record}{}", "n".repeat(20_000));
            match mapping.read(Some(b"k"), Some(format!(r#"{{"{name}":1}}"#).as_bytes())) {
                Ok(Meaning::Put { fields, .. }) => assert_eq!(*fields.values[0].0, *name),
                other => panic!("{other:?}"),
            }
        }
        let seen = mapping.seen.read().unwrap();
        assert!(seen.bytes() <= MOST_NAME_BYTES, "{} names have {} bytes", seen.len(), seen.bytes());
        assert!(seen.len() > 1, "some are remembered");
    }
}
