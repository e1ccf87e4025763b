//! The memory that bodies of requests may take while they arrive and are worked on, all apps together.
//!
//! What counts is what has really come: who announces much and sends little holds little. An app may hold as much as it leaves
//! free for others; where there is no other one, all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound, and what is held of it.
#[derive(Debug)]
pub struct Bodies {
    /// Bytes
    most: usize,
    all: Arc<AtomicUsize>,
}

impl Bodies {
    /// `most`: bytes, all apps together.
    pub fn new(most: usize) -> Bodies {
        Bodies { most, all: Arc::default() }
    }

    /// A body of which nothing has come yet. `own`: what all bodies of its app hold; `alone`: there is no other app.
    pub fn begin(&self, own: &Arc<AtomicUsize>, alone: bool) -> Held {
        Held { most: self.most, alone, all: self.all.clone(), own: own.clone(), bytes: 0 }
    }
}

/// What one body holds, given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    most: usize,
    alone: bool,
    all: Arc<AtomicUsize>,
    own: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    /// So many bytes have come; false: there is no room for them.
    #[must_use]
    pub fn more(&mut self, bytes: usize) -> bool {
        // Two at once see each other's and may both be refused, but never both be let in beyond the bound.
        let all = self.all.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let own = self.own.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let fits = fits(self.most, all, own, self.alone);
        if fits {
            self.bytes += bytes;
        } else {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.all.fetch_sub(bytes, Ordering::Relaxed);
        self.own.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// Whether an app may hold `own` bytes, with which all together hold `all`.
fn fits(most: usize, all: usize, own: usize, alone: bool) -> bool {
    match most.checked_sub(all) {
        Some(free) => alone || own <= free,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_leaves_as_much_free_as_it_holds() {
        let bodies = Bodies::new(100);
        let (one, other): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let mut greedy = bodies.begin(&one, false);
        assert!((0..5).all(|_| greedy.more(10)));
        assert!(!greedy.more(1), "half of what there is");
        let mut next = bodies.begin(&other, false);
        assert!(next.more(25));
        assert!(!next.more(1), "and half of the rest");
        drop(greedy);
        assert!(next.more(25) && !next.more(1));
        drop(next);
        assert_eq!((bodies.all.load(Ordering::Relaxed), one.load(Ordering::Relaxed), other.load(Ordering::Relaxed)), (0, 0, 0));
        let mut alone = bodies.begin(&one, true);
        assert!(alone.more(100) && !alone.more(1), "alone it may have all");
    }
}
