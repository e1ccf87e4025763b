//! Numbers by hash, in two steps: the memory of many lookups can be asked for before the first of them waits for it.
//!
//! Open addressing with linear probing, a slot of eight bytes each: 32 bits of the hash and the number. A lookup
//! reads one cache line here, and an item only if all 32 bits agree. The hash must be keyed at random: operands and
//! documents come from outside.

use super::entries::NONE;
use crate::prefetch;

#[derive(Clone, Copy)]
struct Slot {
    tag: u32,
    /// [`NONE`]: nothing is here
    number: u32,
}

const EMPTY: Slot = Slot { tag: 0, number: NONE };

#[derive(Default)]
pub(super) struct Lookup {
    /// A power of two of them, or none; at most two thirds are in use
    slots: Vec<Slot>,
    length: usize,
}

impl Lookup {
    #[inline]
    fn tag(hash: u64) -> u32 {
        (hash >> 32) as u32
    }

    /// Where a tag's slot is, if there is no other before it. Its upper bits, so that tables of any size agree.
    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.slots.len() as u64) >> 32) as usize
    }

    /// Asks for the memory that a lookup will read.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch::item(&self.slots, self.home(Self::tag(hash)));
    }

    /// The number whose item is the one wanted.
    #[inline]
    pub(super) fn find(&self, hash: u64, wanted: impl Fn(u32) -> bool) -> Option<u32> {
        self.position(Self::tag(hash), wanted).map(|at| self.slots[at].number)
    }

    /// The first number with this hash, of which it is not known yet whether it is the one wanted.
    #[inline]
    pub(super) fn likely(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    #[inline]
    fn position(&self, tag: u32, wanted: impl Fn(u32) -> bool) -> Option<usize> {
        let mut at = self.home(tag);
        loop {
            let slot = self.slots.get(at)?;
            if slot.number == NONE {
                return None;
            }
            if slot.tag == tag && wanted(slot.number) {
                return Some(at);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds a number that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        if (self.length + 1) * 3 > self.slots.len() * 2 {
            self.resize((self.slots.len() * 2).max(16));
        }
        self.length += 1;
        self.place(Slot { tag: Self::tag(hash), number });
    }

    fn place(&mut self, slot: Slot) {
        let mut at = self.home(slot.tag);
        while self.slots[at].number != NONE {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = slot;
    }

    /// Takes a number out; without it the table is as if it had never been there.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let Some(mut hole) = self.position(Self::tag(hash), |other| other == number) else { return };
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.number == NONE {
                break;
            }
            // Whoever was pushed over the hole moves into it.
            let (from_home, from_hole) = (at.wrapping_sub(self.home(slot.tag)) & mask, at.wrapping_sub(hole) & mask);
            if from_home >= from_hole {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = EMPTY;
        self.length -= 1;
        if self.length == 0 {
            self.slots = Vec::new();
        } else if self.slots.len() > 64 && self.length * 8 < self.slots.len() {
            self.resize(self.slots.len() / 4);
        }
    }

    fn resize(&mut self, size: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
        old.into_iter().filter(|slot| slot.number != NONE).for_each(|slot| self.place(slot));
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn numbers_are_found_whatever_came_and_went() {
        let mut lookup = Lookup::default();
        let mut expected: BTreeMap<u32, u64> = BTreeMap::new();
        let mut state = 1u64;
        for round in 0..4_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few different hashes, so that numbers stand in each other's way, also around the end of the table.
            let hash = if state >> 58 == 0 { u64::MAX << 32 } else { (state >> 40) % 3_000 << 48 };
            // It grows and then goes down to nothing.
            if expected.is_empty() || (state >> 20) % 4_000 > u64::from(round) {
                lookup.insert(hash, round);
                expected.insert(round, hash);
            } else {
                let number = *expected
                    .range((state >> 30) as u32 % round..)
                    .next()
                    .or_else(|| expected.iter().next())
                    .map_or(&0, |(number, _)| number);
                let hash = expected.remove(&number).unwrap_or_default();
                lookup.remove(hash, number);
                assert_eq!(lookup.find(hash, |other| other == number), None);
            }
            if round % 97 == 0 {
                for (number, hash) in &expected {
                    assert_eq!(lookup.find(*hash, |other| other == *number), Some(*number));
                }
            }
        }
        assert_eq!(lookup.length, expected.len());
        for (number, hash) in expected {
            lookup.remove(hash, number);
        }
        assert_eq!(lookup.memory(), 0);
    }
}
