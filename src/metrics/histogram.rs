//! A histogram of times that costs its users two atomic additions and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, microseconds: 16 us, doubled up to 33 s. What is above is in the last bucket.
const BOUNDS: usize = 22;
const SMALLEST: u64 = 16;

/// Times by powers of two.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // The first bound that is not below: 16 us << n.
        let bucket = micros.div_ceil(SMALLEST).max(1).next_power_of_two().trailing_zeros() as usize;
        if let Some(counter) = self.buckets.get(bucket.min(BOUNDS)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// (sum of seconds, count, (upper bound in seconds, count within the bucket) each).
    pub(super) fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let bound = |bucket: usize| if bucket == BOUNDS { f64::MAX } else { (SMALLEST << bucket) as f64 / 1e6 };
        let buckets: Vec<_> = counts.enumerate().map(|(bucket, count)| (bound(bucket), count)).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        (self.micros.load(Ordering::Relaxed) as f64 / 1e6, count, buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_bucket_of_its_bound() {
        for (micros, bucket) in [(0, 0), (16, 0), (17, 1), (32, 1), (33, 2), (33_000_000, 21), (34_000_000, BOUNDS), (u64::MAX, BOUNDS)] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(micros));
            let (_, count, buckets) = histogram.read();
            assert_eq!((count, buckets[bucket].1), (1, 1), "{micros}");
            assert!(micros as f64 / 1e6 <= buckets[bucket].0);
        }
    }
}
