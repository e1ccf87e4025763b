//! Numbered items with reuse of freed numbers. Gives its memory back once it is empty.

use crate::prefetch;
use std::ops::{Index, IndexMut};

pub(super) struct Arena<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { items: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Arena<T> {
    pub(super) fn insert(&mut self, item: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.items[number as usize] = item;
            return number;
        }
        if self.items.len() == self.items.capacity() {
            // Half as much again rather than twice as much: standing queries are many and small.
            self.items.reserve_exact((self.items.len() / 2).max(16));
        }
        self.items.push(item);
        (self.items.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, number: u32) -> T {
        let item = std::mem::take(&mut self.items[number as usize]);
        self.free.push(number);
        if self.free.len() == self.items.len() {
            *self = Arena::default();
        }
        item
    }

    /// Asks for the memory of an item that will be read soon.
    #[inline]
    pub(super) fn prefetch(&self, number: u32) {
        prefetch::item(&self.items, number as usize);
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.items.get(number as usize)
    }

    /// Numbers given out so far, freed ones counted: no number is this large.
    pub(super) fn bound(&self) -> usize {
        self.items.len()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    pub(super) fn memory(&self) -> usize {
        self.items.capacity() * size_of::<T>() + self.free.capacity() * 4
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut()
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;
    #[inline]
    fn index(&self, number: u32) -> &T {
        &self.items[number as usize]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.items[number as usize]
    }
}
