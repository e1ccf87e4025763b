//! Intervals that are asked which of them meet a point or a span.
//!
//! Blocks of at most 64 intervals, sorted by lower bound; of each block the lowest lower and the highest
//! upper bound stand beside each other in memory, and of each 64 blocks the highest upper bound once more.
//! A question visits only blocks with a hit in them (and the last one), so it costs a look at
//! each 4 096 intervals and at most one block for each hit. Within a group and within a block it goes down from the
//! question's place and ends where no interval reaches up to it any more: at once, if all are narrow. Inserting and removing move one block, and rarely
//! the list of blocks: about a microsecond at a million intervals.

use super::entries::Entry;
use crate::prefetch;
use smallvec::SmallVec;

const BLOCK: usize = 64;
const GROUP: usize = 64;

#[derive(Default)]
pub(super) struct Intervals {
    blocks: SmallVec<[Block; 1]>,
    /// Of each block
    bounds: Vec<Bounds>,
    /// Highest upper bound of each group of blocks
    groups: Vec<u64>,
    length: usize,
}

#[derive(Clone, Copy, Default)]
struct Bounds {
    /// Lowest lower bound
    low: u64,
    /// Highest upper bound
    high: u64,
    /// The same of this block and those before it in its group
    reach: u64,
}

/// Sorted by (lower, upper, place); never empty.
struct Block {
    spans: Vec<(u64, u64)>,
    entries: Vec<Entry>,
    /// No interval reaches further up from its lower bound
    widest: u64,
}

impl Block {
    fn key(&self, position: usize) -> (u64, u64, u32) {
        let (low, high) = self.spans[position];
        (low, high, self.entries[position].place)
    }

    /// The first position whose key is not below this one.
    fn search(&self, key: (u64, u64, u32)) -> usize {
        let (mut from, mut to) = (0, self.spans.len());
        while from < to {
            let middle = (from + to) / 2;
            if self.key(middle) < key { from = middle + 1 } else { to = middle }
        }
        from
    }

    fn new(spans: Vec<(u64, u64)>, entries: Vec<Entry>) -> Block {
        let mut block = Block { spans, entries, widest: 0 };
        block.measure();
        block
    }

    fn measure(&mut self) {
        self.widest = self.spans.iter().map(|(low, high)| high.saturating_sub(*low)).max().unwrap_or(0);
    }

    #[inline]
    fn meeting(&self, low: u64, high: u64, hit: &mut impl FnMut(&Entry)) {
        let end = self.spans.partition_point(|span| span.0 <= high);
        // What begins below this ends below `low`.
        let least = low.saturating_sub(self.widest);
        for (position, span) in self.spans[..end].iter().enumerate().rev() {
            if span.0 < least {
                break;
            }
            if span.1 >= low {
                hit(&self.entries[position]);
            }
        }
    }

    fn high(&self) -> u64 {
        self.spans.iter().map(|span| span.1).max().unwrap_or(0)
    }
}

impl Intervals {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Asks for the memory that [`Intervals::blocks_meeting`] will read.
    #[inline]
    pub(super) fn prefetch(&self) {
        if self.blocks.len() > 1 {
            prefetch::bytes(&self.bounds, 256);
        } else {
            self.prefetch_block(0);
        }
    }

    /// The blocks that have intervals which meet `low..=high`, and the one that may have.
    #[inline]
    pub(super) fn blocks_meeting(&self, low: u64, high: u64, mut found: impl FnMut(u32)) {
        if self.blocks.len() == 1 {
            // The summaries of one block would only be more memory to read.
            return found(0);
        }
        let last = self.bounds.partition_point(|bounds| bounds.low <= high);
        let mut from = 0;
        for group in &self.groups {
            if from >= last {
                break;
            }
            let to = (from + GROUP).min(last);
            if *group >= low {
                for (at, bounds) in self.bounds[..to].iter().enumerate().skip(from).rev() {
                    if bounds.reach < low {
                        break;
                    }
                    if bounds.high >= low {
                        prefetch::item(&self.blocks, at);
                        found(at as u32);
                    }
                }
            }
            from = to;
        }
    }

    /// Asks for the memory of a block's intervals.
    #[inline]
    pub(super) fn prefetch_block(&self, at: u32) {
        if let Some(block) = self.blocks.get(at as usize) {
            prefetch::bytes(&block.spans, 1024);
        }
    }

    /// Hands out the entries of all intervals of a block that meet `low..=high`.
    ///
    /// For the intervals of two conditions on one path (`lower <= x` and `x <= upper`) this is exact also where
    /// `low` and `high` are the least and the greatest of several values: one may satisfy the one condition,
    /// another the other. Hence bounds may also stand the wrong way around.
    #[inline]
    pub(super) fn meeting(&self, at: u32, low: u64, high: u64, mut hit: impl FnMut(&Entry)) {
        if let Some(block) = self.blocks.get(at as usize) {
            block.meeting(low, high, &mut hit);
        }
    }

    pub(super) fn insert(&mut self, low: u64, high: u64, entry: Entry) {
        self.length += 1;
        let at = self.block_of((low, high, entry.place));
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(Block::new(vec![(low, high)], vec![entry]));
            return self.summarise_from(0);
        };
        let position = block.search((low, high, entry.place));
        block.spans.insert(position, (low, high));
        block.entries.insert(position, entry);
        block.widest = block.widest.max(high.saturating_sub(low));
        if block.spans.len() > BLOCK {
            let upper = Block::new(block.spans.split_off(BLOCK / 2), block.entries.split_off(BLOCK / 2));
            block.spans.shrink_to(BLOCK * 3 / 4);
            block.entries.shrink_to(BLOCK * 3 / 4);
            block.measure();
            self.blocks.insert(at + 1, upper);
            self.summarise_from(at);
        } else {
            let bounds = &mut self.bounds[at];
            bounds.low = bounds.low.min(low);
            if high > bounds.high {
                bounds.high = high;
                self.summarise_group(at / GROUP);
            }
        }
    }

    pub(super) fn remove(&mut self, low: u64, high: u64, place: u32) -> Option<Entry> {
        let key = (low, high, place);
        let at = self.block_of(key);
        let block = self.blocks.get_mut(at)?;
        let position = block.search(key);
        if position >= block.spans.len() || block.key(position) != key {
            return None;
        }
        self.length -= 1;
        block.spans.remove(position);
        let entry = block.entries.remove(position);
        if block.widest == high.saturating_sub(low) {
            block.measure();
        }
        let length = block.spans.len();
        let room = |neighbour: Option<&Block>| neighbour.is_some_and(|neighbour| neighbour.spans.len() + length <= BLOCK / 2);
        if length == 0 {
            self.blocks.remove(at);
            self.summarise_from(at);
        } else if room(self.blocks.get(at + 1)) {
            let next = self.blocks.remove(at + 1);
            let block = &mut self.blocks[at];
            block.spans.extend(next.spans);
            block.entries.extend(next.entries);
            block.widest = block.widest.max(next.widest);
            self.summarise_from(at);
        } else {
            let block = &self.blocks[at];
            self.bounds[at].low = block.spans[0].0;
            if self.bounds[at].high == high {
                self.bounds[at].high = block.high();
                self.summarise_group(at / GROUP);
            }
        }
        Some(entry)
    }

    /// The block that has or would have this key.
    fn block_of(&self, key: (u64, u64, u32)) -> usize {
        self.blocks.partition_point(|block| block.key(0) <= key).saturating_sub(1)
    }

    fn summarise_from(&mut self, at: usize) {
        let shifted = self.blocks.len() != self.bounds.len();
        let length = self.blocks.len() as isize - self.bounds.len() as isize;
        // One block came or went behind `at`: shift the bounds, read only the two blocks that changed.
        match length {
            1 => self.bounds.insert(at, Bounds::default()),
            -1 => {
                self.bounds.remove(at);
            }
            _ => {}
        }
        for changed in at..(at + 2).min(self.blocks.len()) {
            let block = &self.blocks[changed];
            (self.bounds[changed].low, self.bounds[changed].high) = (block.spans[0].0, block.high());
        }
        self.groups.resize(self.bounds.len().div_ceil(GROUP), 0);
        let groups = self.groups.len();
        let last = if shifted { groups } else { ((at + 1) / GROUP + 1).min(groups) };
        (at / GROUP..last).for_each(|group| self.summarise_group(group));
    }

    fn summarise_group(&mut self, group: usize) {
        let mut reach = 0;
        let from = group * GROUP;
        let to = (from + GROUP).min(self.bounds.len());
        for bounds in &mut self.bounds[from..to] {
            reach = reach.max(bounds.high);
            bounds.reach = reach;
        }
        self.groups[group] = reach;
    }
}
