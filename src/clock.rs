//! Time that never runs backwards, whatever the machine's clock does.
//!
//! Commit times, tokens and trimming all read this one clock. The store seeds it with the time of its last
//! commit, so that a clock that was set back (also while the server was down) shrinks nothing.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of time, milliseconds since 1970.
pub type TimeSource = Box<dyn Fn() -> i64 + Send + Sync>;

/// A clock that only moves forward.
pub struct Clock {
    source: TimeSource,
    last: AtomicI64,
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
        Clock { source, last: AtomicI64::new(i64::MIN) }
    }

    /// Milliseconds since 1970; never smaller than what anybody got before.
    pub fn now_ms(&self) -> i64 {
        let wall = (self.source)();
        self.last.fetch_max(wall, Ordering::AcqRel).max(wall)
    }

    /// From now on at least this.
    pub fn raise(&self, ms: i64) {
        self.last.fetch_max(ms, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("last", &self.last).finish_non_exhaustive()
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
        wall.store(2_000, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 2_000);
    }
}
