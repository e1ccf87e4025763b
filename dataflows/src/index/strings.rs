//! The strings that standing queries mention, numbered, each as long as a query mentions it.
//!
//! A string of a document is looked up here once; equality is then equality of numbers. Strings of documents are
//! never added.

use super::arena::Arena;
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

#[derive(Default)]
struct Item {
    text: Box<str>,
    users: u32,
}

impl Strings {
    #[inline]
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        self.table.find(self.hashing.hash_one(text), |number| &*self.items[*number].text == text).copied()
    }

    /// The string's number; counts one more user.
    pub(super) fn acquire(&mut self, text: &str) -> u32 {
        let number = match self.find(text) {
            Some(number) => number,
            None => {
                let number = self.items.insert(Item { text: text.into(), users: 0 });
                let (items, hashing) = (&self.items, &self.hashing);
                self.table.insert_unique(hashing.hash_one(text), number, |number| hashing.hash_one(&*items[*number].text));
                self.bytes += text.len() + 16;
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
        let hash = self.hashing.hash_one(&*item.text);
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        self.bytes -= self.items.remove(number).text.len() + 16;
        let (items, hashing) = (&self.items, &self.hashing);
        super::shrink(&mut self.table, |number| hashing.hash_one(&*items[*number].text));
    }

    pub(super) fn text(&self, number: u32) -> &str {
        &self.items[number].text
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn memory(&self) -> usize {
        self.items.memory() + self.table.allocation_size() + self.bytes
    }
}
