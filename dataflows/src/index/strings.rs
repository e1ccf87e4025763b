//! The strings that standing queries mention, numbered, each as long as a query mentions it.
//!
//! A string of a document is looked up here once; equality is then equality of numbers. Strings of documents are
//! never added.

use super::arena::Arena;
use super::entries::NONE;
use super::key::Hashing;
use hashbrown::HashTable;
use std::hash::BuildHasher;

#[derive(Default)]
pub(super) struct Strings {
    items: Arena<Item>,
    table: HashTable<u32>,
    hashing: Hashing,
    bytes: usize,
}

struct Item {
    text: Text,
    users: u32,
    /// A node below a bucket's root that has this string for its key, perhaps: most strings are compared at one path
    /// only, and this saves a lookup
    node: u32,
}

impl Default for Item {
    fn default() -> Self {
        Item { text: Text::Short(0, [0; SHORT]), users: 0, node: NONE }
    }
}

const SHORT: usize = 22;

/// Most strings are short; then one cache line has all that a lookup reads.
enum Text {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

impl Text {
    fn new(text: &str) -> Text {
        match text.len() {
            length @ ..=SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..length].copy_from_slice(text.as_bytes());
                Text::Short(length as u8, bytes)
            }
            _ => Text::Long(text.as_bytes().into()),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Text::Short(length, bytes) => &bytes[..usize::from(*length)],
            Text::Long(bytes) => bytes,
        }
    }

    fn heap(&self) -> usize {
        if let Text::Long(bytes) = self { bytes.len() + 16 } else { 0 }
    }
}

impl Strings {
    #[inline]
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        self.table.find(self.hashing.hash_one(text.as_bytes()), |number| self.items[*number].text.bytes() == text.as_bytes()).copied()
    }

    /// The string's number; counts one more user.
    pub(super) fn acquire(&mut self, text: &str) -> u32 {
        let number = match self.find(text) {
            Some(number) => number,
            None => {
                let number = self.items.insert(Item { text: Text::new(text), ..Item::default() });
                let (items, hashing) = (&self.items, &self.hashing);
                self.table.insert_unique(hashing.hash_one(text.as_bytes()), number, |number| hashing.hash_one(items[*number].text.bytes()));
                self.bytes += self.items[number].text.heap();
                number
            }
        };
        self.items[number].users += 1;
        number
    }

    pub(super) fn retain(&mut self, number: u32) {
        self.items[number].users += 1;
    }

    pub(super) fn release(&mut self, number: u32) {
        let item = &mut self.items[number];
        item.users -= 1;
        if item.users > 0 {
            return;
        }
        let hash = self.hashing.hash_one(item.text.bytes());
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        self.bytes -= self.items.remove(number).text.heap();
        let (items, hashing) = (&self.items, &self.hashing);
        super::shrink(&mut self.table, |number| hashing.hash_one(items[*number].text.bytes()));
    }

    pub(super) fn text(&self, number: u32) -> &str {
        std::str::from_utf8(self.items[number].text.bytes()).unwrap_or_default()
    }

    /// A node that may have this string for its key.
    #[inline]
    pub(super) fn node(&self, number: u32) -> u32 {
        self.items[number].node
    }

    pub(super) fn set_node(&mut self, number: u32, node: u32) {
        self.items[number].node = node;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn memory(&self) -> usize {
        self.items.memory() + self.table.allocation_size() + self.bytes
    }
}
