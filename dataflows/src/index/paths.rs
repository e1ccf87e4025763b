//! The paths that standing queries mention, as a trie: each path is a numbered slot.
//!
//! A name is in it as long as some query mentions it. A document is walked along the trie: each of its fields is
//! looked up once, by the hash it already carries; names of documents are never added.

use super::arena::Arena;
use super::key::{CLASSES, Class};
use crate::query::ast::Component;
use hashbrown::HashTable;

/// The longest prefix (bytes) of strings that entries are hung on.
pub(super) const PREFIX: usize = 32;

#[derive(Default)]
pub(super) struct Paths {
    slots: Arena<Slot>,
    table: HashTable<u32>,
    bytes: usize,
}

/// One path. The root of a bucket is one, too, with an empty name.
#[derive(Default)]
pub(super) struct Slot {
    parent: u32,
    hash: u32,
    name: Box<str>,
    /// Children and whoever else holds this slot
    users: u32,
    /// Holders that read what stands here
    pub(super) ends: u32,
    /// Holders that compare what stands here with numbered strings
    pub(super) strings: u32,
    pub(super) children: u32,
    /// Which classes of entries the bucket's root has for this slot, as bits of [`Class`]
    pub(super) classes: u32,
    counts: [u32; CLASSES],
    /// Children whose names are positions in arrays, sorted
    pub(super) positions: Vec<(u32, u32)>,
    /// How many prefix entries there are of each length
    prefixes: Option<Box<[u32; PREFIX + 1]>>,
    /// How many cell entries there are of each level
    levels: Option<Box<[u32; super::cells::LEVELS]>>,
}

impl Paths {
    /// The slot of a bucket's documents themselves.
    pub(super) fn root(&mut self) -> u32 {
        self.slots.insert(Slot { parent: u32::MAX, users: 1, ..Slot::default() })
    }

    /// The slot of a field below a slot.
    #[inline]
    pub(super) fn child(&self, parent: u32, hash: u32, name: &str) -> Option<u32> {
        let found = |slot: &u32| {
            let slot = &self.slots[*slot];
            slot.parent == parent && slot.hash == hash && &*slot.name == name
        };
        self.table.find(key(parent, hash), found).copied()
    }

    /// The slot of a path, if some query mentions it.
    pub(super) fn find<'c>(&self, root: u32, path: impl IntoIterator<Item = &'c Component>) -> Option<u32> {
        path.into_iter().try_fold(root, |parent, component| self.child(parent, component.hash, &component.name))
    }

    /// The slot of a path, made if need be; counts one more holder.
    pub(super) fn acquire<'c>(&mut self, root: u32, path: impl IntoIterator<Item = &'c Component>) -> u32 {
        let mut slot = root;
        for component in path {
            slot = match self.child(slot, component.hash, &component.name) {
                Some(child) => child,
                None => self.add(slot, component),
            };
        }
        self.retain(slot);
        slot
    }

    fn add(&mut self, parent: u32, component: &Component) -> u32 {
        let slot = Slot { parent, hash: component.hash, name: component.name.clone(), ..Slot::default() };
        let number = self.slots.insert(slot);
        let slots = &self.slots;
        self.table.insert_unique(key(parent, component.hash), number, |slot| key(slots[*slot].parent, slots[*slot].hash));
        self.bytes += component.name.len();
        let parent = &mut self.slots[parent];
        parent.users += 1;
        parent.children += 1;
        if let Some(position) = component.position {
            let at = parent.positions.partition_point(|(other, _)| *other < position);
            parent.positions.insert(at, (position, number));
        }
        number
    }

    pub(super) fn retain(&mut self, slot: u32) {
        self.slots[slot].users += 1;
        self.slots[slot].ends += 1;
    }

    pub(super) fn release(&mut self, slot: u32) {
        self.slots[slot].ends -= 1;
        self.drop_user(slot);
    }

    /// Gives back what [`Paths::root`] made.
    pub(super) fn release_root(&mut self, root: u32) {
        self.drop_user(root);
    }

    fn drop_user(&mut self, mut slot: u32) {
        loop {
            self.slots[slot].users -= 1;
            if self.slots[slot].users > 0 {
                return;
            }
            let (parent, name) = (self.slots[slot].parent, self.slots[slot].hash);
            let gone = if parent == u32::MAX {
                self.slots.remove(slot);
                return;
            } else {
                if let Ok(entry) = self.table.find_entry(key(parent, name), |other| *other == slot) {
                    entry.remove();
                }
                self.slots.remove(slot)
            };
            self.bytes -= gone.name.len();
            let slots = &self.slots;
            super::shrink(&mut self.table, |slot| key(slots[*slot].parent, slots[*slot].hash));
            let above = &mut self.slots[parent];
            above.children -= 1;
            above.positions.retain(|(_, child)| *child != slot);
            slot = parent;
        }
    }

    /// One more holder that compares with numbered strings, or one less.
    pub(super) fn count_strings(&mut self, slot: u32, change: i32) {
        let count = &mut self.slots[slot].strings;
        *count = count.saturating_add_signed(change);
    }

    /// One more entry of a class at the bucket's root, or one less.
    pub(super) fn count_class(&mut self, slot: u32, class: Class, change: i32) {
        let slot = &mut self.slots[slot];
        let count = &mut slot.counts[class as usize];
        *count = count.saturating_add_signed(change);
        let bit = 1 << class as u32;
        if *count > 0 { slot.classes |= bit } else { slot.classes &= !bit }
    }

    pub(super) fn count_prefix(&mut self, slot: u32, length: usize, change: i32) {
        count(&mut self.slots[slot].prefixes, length, change);
    }

    pub(super) fn count_level(&mut self, slot: u32, level: usize, change: i32) {
        count(&mut self.slots[slot].levels, level, change);
    }

    /// Lengths of the prefixes that entries of this slot have.
    pub(super) fn prefixes(&self, slot: u32) -> impl Iterator<Item = usize> + '_ {
        present(self.slots[slot].prefixes.as_deref().map(|counts| &counts[..]))
    }

    /// Levels of the cells that entries of this slot have.
    pub(super) fn levels(&self, slot: u32) -> impl Iterator<Item = usize> + '_ {
        present(self.slots[slot].levels.as_deref().map(|counts| &counts[..]))
    }

    #[inline]
    pub(super) fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot]
    }

    /// No slot has a number as large as this.
    pub(super) fn bound(&self) -> usize {
        self.slots.bound()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The path as written.
    pub(super) fn name(&self, slot: u32) -> String {
        let (mut parts, mut slot) = (Vec::new(), slot);
        while self.slots[slot].parent != u32::MAX {
            parts.push(&*self.slots[slot].name);
            slot = self.slots[slot].parent;
        }
        parts.reverse();
        parts.join(".")
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.memory() + self.table.allocation_size() + self.bytes
    }
}

/// What a slot is found by. The hash of a name is keyed at random already, so spreading it is all there is to do.
#[inline]
fn key(parent: u32, name: u32) -> u64 {
    let wide = u128::from(u64::from(parent) << 32 | u64::from(name)) * 0x9E37_79B9_7F4A_7C15;
    (wide >> 64) as u64 ^ wide as u64
}

fn count<const N: usize>(counts: &mut Option<Box<[u32; N]>>, at: usize, change: i32) {
    let all = counts.get_or_insert_with(|| Box::new([0; N]));
    all[at] = all[at].saturating_add_signed(change);
    if all.iter().all(|count| *count == 0) {
        *counts = None;
    }
}

fn present(counts: Option<&[u32]>) -> impl Iterator<Item = usize> + '_ {
    counts.into_iter().flatten().enumerate().filter(|(_, count)| **count > 0).map(|(at, _)| at)
}
