//! The strings that standing queries mention, numbered, each as long as a query mentions it.
//!
//! A string of a document is looked up here once; equality is then equality of numbers. Strings of documents are
//! never added.

use super::arena::Arena;
use super::entries::NONE;
use super::key::Hashing;
use super::lookup::Lookup;
use std::hash::BuildHasher;

#[derive(Default)]
pub(super) struct Strings {
    items: Arena<Item>,
    table: Lookup,
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
    /// The hash by which a string is found. Asks for the memory of the first step, [`Strings::likely`].
    #[inline]
    pub(super) fn announce(&self, text: &str) -> u64 {
        let hash = self.hashing.hash_one(text.as_bytes());
        self.table.prefetch(hash);
        hash
    }

    /// The first step of finding an announced string: whether there may be one. Asks for the memory of the second
    /// step, [`Strings::find_hashed`].
    #[inline]
    pub(super) fn likely(&self, hash: u64) -> bool {
        let likely = self.table.likely(hash);
        likely.inspect(|number| self.items.prefetch(*number)).is_some()
    }

    #[inline]
    pub(super) fn find_hashed(&self, hash: u64, text: &str) -> Option<u32> {
        self.table.find(hash, |number| self.items[number].text.bytes() == text.as_bytes())
    }

    #[inline]
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.find_hashed(self.hashing.hash_one(text.as_bytes()), text)
    }

    /// The string's number; counts one more user.
    pub(super) fn acquire(&mut self, text: &str) -> u32 {
        let hash = self.hashing.hash_one(text.as_bytes());
        let number = match self.find_hashed(hash, text) {
            Some(number) => number,
            None => {
                let number = self.items.insert(Item { text: Text::new(text), ..Item::default() });
                self.table.insert(hash, number);
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
        self.table.remove(hash, number);
        self.bytes -= self.items.remove(number).text.heap();
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
        self.items.memory() + self.table.memory() + self.bytes
    }
}
