//! Intervals that are asked which of them meet a point or a span.
//!
//! Blocks of at most 64 intervals, sorted by lower bound; of each block the lowest lower and the highest
//! upper bound stand beside each other in memory, and of each 64 blocks the highest upper bound once more.
//! A question visits only blocks with a hit in them (and the last one), so it costs a short scan for
//! each 4 096 intervals and at most one block for each hit. Inserting and removing move one block, and rarely
//! the list of blocks: about a microsecond at a million intervals.

use super::entries::Entry;

const BLOCK: usize = 64;
const GROUP: usize = 64;

#[derive(Default)]
pub(super) struct Intervals {
    blocks: Vec<Block>,
    /// Lowest lower bound of each block
    lows: Vec<u64>,
    /// Highest upper bound of each block
    highs: Vec<u64>,
    /// Highest upper bound of each group of blocks
    groups: Vec<u64>,
    length: usize,
}

/// Sorted by (lower, upper, place); never empty.
struct Block {
    spans: Vec<(u64, u64)>,
    entries: Vec<Entry>,
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

    #[inline]
    fn meeting(&self, low: u64, high: u64, hit: &mut impl FnMut(&Entry)) {
        for (position, span) in self.spans.iter().enumerate() {
            if span.0 > high {
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

    /// Hands out the entries of all intervals that meet `low..=high`.
    ///
    /// For the intervals of two conditions on one path (`lower <= x` and `x <= upper`) this is exact also where
    /// `low` and `high` are the least and the greatest of several values: one may satisfy the one condition,
    /// another the other. Hence bounds may also stand the wrong way around.
    #[inline]
    pub(super) fn meeting(&self, low: u64, high: u64, mut hit: impl FnMut(&Entry)) {
        if let [block] = &self.blocks[..] {
            // The summaries of one block would only be more memory to read.
            return block.meeting(low, high, &mut hit);
        }
        let last = self.lows.partition_point(|lowest| *lowest <= high);
        let mut from = 0;
        for group in &self.groups {
            if from >= last {
                break;
            }
            let to = (from + GROUP).min(last);
            if *group >= low {
                for at in from..to {
                    if self.highs[at] >= low {
                        self.blocks[at].meeting(low, high, &mut hit);
                    }
                }
            }
            from = to;
        }
    }

    pub(super) fn insert(&mut self, low: u64, high: u64, entry: Entry) {
        self.length += 1;
        let at = self.block_of((low, high, entry.place));
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(Block { spans: vec![(low, high)], entries: vec![entry] });
            return self.summarise_from(0);
        };
        let position = block.search((low, high, entry.place));
        block.spans.insert(position, (low, high));
        block.entries.insert(position, entry);
        if block.spans.len() > BLOCK {
            let upper = Block { spans: block.spans.split_off(BLOCK / 2), entries: block.entries.split_off(BLOCK / 2) };
            block.spans.shrink_to(BLOCK * 3 / 4);
            block.entries.shrink_to(BLOCK * 3 / 4);
            self.blocks.insert(at + 1, upper);
            self.summarise_from(at);
        } else {
            self.lows[at] = self.lows[at].min(low);
            self.highs[at] = self.highs[at].max(high);
            let group = &mut self.groups[at / GROUP];
            *group = (*group).max(high);
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
        let length = block.spans.len();
        let room = |neighbour: Option<&Block>| neighbour.is_some_and(|neighbour| neighbour.spans.len() + length <= BLOCK / 2);
        if length == 0 {
            self.blocks.remove(at);
            self.summarise_from(at);
        } else if room(self.blocks.get(at + 1)) {
            let next = self.blocks.remove(at + 1);
            self.blocks[at].spans.extend(next.spans);
            self.blocks[at].entries.extend(next.entries);
            self.summarise_from(at);
        } else {
            let block = &self.blocks[at];
            self.lows[at] = block.spans[0].0;
            if self.highs[at] == high {
                self.highs[at] = block.high();
                let from = at / GROUP * GROUP;
                let to = (from + GROUP).min(self.highs.len());
                self.groups[at / GROUP] = self.highs[from..to].iter().copied().max().unwrap_or(0);
            }
        }
        Some(entry)
    }

    /// The block that has or would have this key.
    fn block_of(&self, key: (u64, u64, u32)) -> usize {
        self.blocks.partition_point(|block| block.key(0) <= key).saturating_sub(1)
    }

    fn summarise_from(&mut self, at: usize) {
        let shifted = self.blocks.len() != self.lows.len();
        let length = self.blocks.len() as isize - self.lows.len() as isize;
        // One block came or went behind `at`: shift the bounds, read only the two blocks that changed.
        match length {
            1 => {
                self.lows.insert(at, 0);
                self.highs.insert(at, 0);
            }
            -1 => {
                self.lows.remove(at);
                self.highs.remove(at);
            }
            _ => {}
        }
        for changed in at..(at + 2).min(self.blocks.len()) {
            self.lows[changed] = self.blocks[changed].spans[0].0;
            self.highs[changed] = self.blocks[changed].high();
        }
        if shifted {
            self.groups.truncate(at / GROUP);
            let from = at / GROUP * GROUP;
            self.groups.extend(self.highs[from..].chunks(GROUP).map(|group| group.iter().copied().max().unwrap_or(0)));
        }
    }
}
