//! An object's entries in an index: every combination of what stands at its paths.
//!
//! A key of an entry is the index's prefix, one encoded component for each path, and the object's id. Its value says where
//! each component ends (16 bits each, big-endian), so that the id and the order of a part can be read without decoding.
//!
//! What stands at a path is what [`Path::visit`] finds there: the elements of an array and the array as a whole, so that
//! equality and ranges find through the index whatever the evaluator would accept.

use super::catalogue::Index;
use super::{cells, encoding};
use crate::store::KeyOrder;
use dataflows::change::Image;
use dataflows::document::Object;
use dataflows::query::sort::{self, Direction};
use dataflows::query::{Leaf, geo};

/// Entries that one object may have in one index.
pub(super) const MOST: usize = 10_000;

/// The entries of one object, without prefix and id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// In order, none twice
    pub(super) components: Vec<Components>,
    /// Whether there is one entry, which holds what a sort sees, uncut
    pub(super) regular: bool,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Components {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<u16>,
    /// Whether one of them is null or missing: then it is not judged by a unique index
    pub(super) open: bool,
}

/// More than [`MOST`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The entries of an object.
pub(super) fn of(index: &Index, image: &Image) -> Result<Entries, TooMany> {
    let root = image.document.root();
    let mut entries = vec![Components { bytes: Vec::new(), ends: Vec::new(), open: false }];
    let mut regular = true;
    for (path, key) in index.paths.iter().zip(&index.definition.keys) {
        let mut values = Vec::new();
        let mut cut = false;
        if key.order == KeyOrder::Geo {
            path.visit(root, Leaf::Open, |value| {
                if let Some(point) = value.and_then(geo::point) {
                    values.push(cell(cells::cell(point)));
                }
            });
            regular = regular && values.len() <= 1;
        } else {
            path.visit(root, Leaf::Open, |value| {
                let mut bytes = Vec::with_capacity(16);
                match value {
                    Some(value) => encoding::value(&mut bytes, value),
                    None => bytes.push(encoding::NULL),
                }
                cut |= encoding::bounded(&mut bytes);
                values.push(bytes);
            });
            regular = regular && !cut && values.len() == 1 && values.first().is_some_and(|only| *only == sorted_by(root, &key.path));
        }
        if values.is_empty() {
            values.push(vec![encoding::NOTHING]);
        }
        values.sort_unstable();
        values.dedup();
        if entries.len().saturating_mul(values.len()) > MOST {
            return Err(TooMany);
        }
        let mut longer = Vec::with_capacity(entries.len() * values.len());
        for entry in &entries {
            for value in &values {
                let mut entry = entry.clone();
                let start = entry.bytes.len();
                entry.bytes.extend_from_slice(value);
                if key.order == KeyOrder::Desc {
                    encoding::turn(&mut entry.bytes[start..]);
                }
                // Bounded by the number of keys and the length of a component.
                entry.ends.push(entry.bytes.len() as u16);
                entry.open |= matches!(value[..], [encoding::NULL] | [encoding::NOTHING]);
                longer.push(entry);
            }
        }
        entries = longer;
    }
    entries.sort_unstable();
    Ok(Entries { components: entries, regular })
}

/// A cell as a component.
pub(super) fn cell(cell: u64) -> Vec<u8> {
    let mut bytes = vec![encoding::CELL];
    bytes.extend_from_slice(&cell.to_be_bytes());
    bytes
}

fn sorted_by(root: Object<'_>, path: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    encoding::value(&mut bytes, sort::key(root, path, Direction::Up));
    bytes
}

impl Components {
    /// The key of the entry.
    pub(super) fn key(&self, index: &Index, id: &str) -> Vec<u8> {
        [&*index.prefix, &self.bytes, id.as_bytes()].concat()
    }

    /// What it has in common with the entries of other objects with the same values.
    pub(super) fn prefix(&self, index: &Index) -> Vec<u8> {
        [&*index.prefix, &self.bytes].concat()
    }

    /// The value of the entry.
    pub(super) fn value(&self) -> Vec<u8> {
        self.ends.iter().flat_map(|end| end.to_be_bytes()).collect()
    }
}

/// Where component `place` of an entry ends, counted behind the prefix.
fn end(value: &[u8], place: usize) -> Option<usize> {
    let bytes = value.get(place * 2..place * 2 + 2)?;
    Some(usize::from(u16::from_be_bytes(bytes.try_into().ok()?)))
}

/// The id in the key of an entry.
pub(super) fn id<'e>(index: &Index, key: &'e [u8], value: &[u8]) -> Option<&'e [u8]> {
    key.get(index.prefix.len() + end(value, (value.len() / 2).checked_sub(1)?)?..)
}

/// The cell that is the component `place` of an entry.
pub(super) fn cell_at(index: &Index, key: &[u8], value: &[u8], place: usize) -> Option<u64> {
    let behind = leading(index, key, value, place)?.len();
    let (tag, cell) = key.get(behind..behind + 9)?.split_first()?;
    (*tag == encoding::CELL).then_some(u64::from_be_bytes(cell.try_into().ok()?))
}

/// The first `count` components of an entry, prefix included.
pub(super) fn leading<'e>(index: &Index, key: &'e [u8], value: &[u8], count: usize) -> Option<&'e [u8]> {
    match count.checked_sub(1) {
        None => key.get(..index.prefix.len()),
        Some(last) => key.get(..index.prefix.len() + end(value, last)?),
    }
}
