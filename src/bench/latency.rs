//! Latencies: recorded in nanoseconds to three digits, read in microseconds.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Longest time that is told apart.
const LONGEST: u64 = 600_000_000_000;

/// A histogram of times.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    #[allow(clippy::expect_used)] // constants, and within what the histogram takes
    fn default() -> Self {
        Latencies(Histogram::new_with_bounds(1, LONGEST, 3).expect("valid bounds"))
    }
}

impl Latencies {
    /// Records a time; one beyond the bounds counts as the bound.
    pub fn record(&mut self, time: Duration) {
        self.record_nanoseconds(u64::try_from(time.as_nanos()).unwrap_or(LONGEST));
    }

    /// Records a time in nanoseconds.
    pub fn record_nanoseconds(&mut self, time: u64) {
        self.0.saturating_record(time.max(1));
    }

    /// Takes another's times in.
    pub fn add(&mut self, other: &Latencies) {
        let _ = self.0.add(&other.0);
    }

    /// How many were recorded.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Microseconds that this share of the times does not exceed; not a number if there are none.
    pub fn micros(&self, share: f64) -> f64 {
        if self.is_empty() { f64::NAN } else { self.0.value_at_quantile(share) as f64 / 1e3 }
    }
}
