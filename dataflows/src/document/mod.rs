//! An object as the engine reads it: its JSON text and a flat tape of nodes over it.
//!
//! One parse makes two allocations, whatever the number of fields: the tape, and (only if some string
//! has escapes) a side buffer of unescaped text. Strings are slices of the JSON text. Names of fields
//! are not interned in documents: open objects make names data, so a table of them could not be bounded.
//! Each name carries a hash instead, and only the names that standing queries mention are in a table,
//! the one of the index, from which they go with the last query that mentions them. The hash is keyed
//! at random in each process and never leaves it.

mod dates;
mod instant;
mod number;
mod parse;
mod view;
mod wire;

pub use dates::{DateField, DateFields, Shapes};
pub(crate) use instant::parse_instant;
pub use number::{Number, compare_numbers};
pub use parse::{DocumentError, DocumentLimits};
pub use view::{Array, Entry, Object, Value};

use bytes::Bytes;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

/// A parsed object. Cheap to move, shared behind an `Arc` by those who keep it.
#[derive(Clone)]
pub struct Document {
    pub(crate) text: Bytes,
    pub(crate) side: Box<str>,
    pub(crate) nodes: Box<[Node]>,
}

/// What a node is; the payload is in [`Node::low`] and [`Node::high`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Null,
    False,
    True,
    /// `high` = the i64's bits
    Int,
    /// `high` = the f64's bits
    Float,
    /// `high` = milliseconds since 1970 as i64 bits
    Date,
    /// `low` = length, `high` = offset in the text
    Text,
    /// `low` = length, `high` = offset in the side buffer
    Side,
    /// A field's name. `low` = its hash, `high` = offset << 32 | length << 1 | in the side buffer
    Name,
    /// `low` = number of elements, `high` = index of the node behind the last element
    Array,
    /// `low` = number of fields, `high` = index of the node behind the last value;
    /// the fields follow as name, value, name, value
    Object,
}

/// One node of the tape, 16 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) tag: Tag,
    pub(crate) low: u32,
    pub(crate) high: u64,
}

impl Document {
    /// The JSON text that was parsed.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// The object itself.
    pub fn root(&self) -> Object<'_> {
        Object { document: self, at: 0 }
    }

    /// Bytes this document keeps alive, its JSON text included.
    pub fn memory(&self) -> usize {
        self.text.len() + self.side.len() + std::mem::size_of_val(&*self.nodes)
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

/// The hash that names of fields are found by; keyed at random in each process.
pub fn name_hash(name: &str) -> u32 {
    static KEYS: OnceLock<ahash::RandomState> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let seed = std::collections::hash_map::RandomState::new();
        let word = |n: u64| {
            let mut hasher = seed.build_hasher();
            hasher.write_u64(n);
            hasher.finish()
        };
        ahash::RandomState::with_seeds(word(1), word(2), word(3), word(4))
    });
    keys.hash_one(name) as u32
}
