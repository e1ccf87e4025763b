//! Time that never runs backwards, whatever the machine's clock does.
//!
//! Commit times, tokens and trimming all read this one clock. The store seeds it with the time of its last
//! commit, so that a clock that was set back (also while the server was down) shrinks nothing.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of time, milliseconds since 1970.
pub type TimeSource = Box<dyn Fn() -> i64 + Send + Sync>;

/// How far commit times may run ahead of time, milliseconds. Commits of one object each take a later millisecond while there is
/// room; with more than a thousand a second for long they share some, as tokens, bans and expiry go by this clock, too.
const LEAD_MS: i64 = 1_000;

/// A clock that only moves forward.
pub struct Clock {
    source: TimeSource,
    /// The latest that the source ever said, and what the clock began with
    seen: AtomicI64,
    /// What it was raised to
    raised: AtomicI64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock::with_source(Box::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    /// Another source of time.
    pub fn with_source(source: TimeSource) -> Clock {
        Clock { source, seen: AtomicI64::new(i64::MIN), raised: AtomicI64::new(i64::MIN) }
    }

    /// Milliseconds since 1970; never smaller than what anybody got before.
    pub fn now_ms(&self) -> i64 {
        self.seen().max(self.raised.load(Ordering::Acquire))
    }

    /// From now on at least this, which was the time before a restart.
    pub fn begin(&self, ms: i64) {
        self.seen.fetch_max(ms, Ordering::AcqRel);
    }

    /// From now on at least this, but no more than [`Clock::furthest`].
    pub fn raise(&self, ms: i64) {
        self.raised.fetch_max(ms.min(self.furthest()), Ordering::AcqRel);
    }

    /// The latest time that a commit may take now.
    pub fn furthest(&self) -> i64 {
        self.seen().saturating_add(LEAD_MS)
    }

    fn seen(&self) -> i64 {
        let wall = (self.source)();
        self.seen.fetch_max(wall, Ordering::AcqRel).max(wall)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("seen", &self.seen).field("raised", &self.raised).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn never_runs_backwards() {
        let wall = Arc::new(AtomicI64::new(1_000));
        let source = Arc::clone(&wall);
        let clock = Clock::with_source(Box::new(move || source.load(Ordering::Relaxed)));
        assert_eq!(clock.now_ms(), 1_000);
        wall.store(400, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 1_000);
        clock.raise(1_500);
        assert_eq!(clock.now_ms(), 1_500);
        clock.raise(9_000);
        assert_eq!(clock.now_ms(), 2_000, "no further ahead than the lead");
        wall.store(2_500, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 2_500);
        clock.begin(9_000);
        assert_eq!((clock.now_ms(), clock.furthest()), (9_000, 10_000));
    }
}
