//! The apps' own logs (docs/api.md, "Logs"): what is taken in, and how long it is kept.
//!
//! Entries are objects of the class `logs.AppLog` and go through the store as all others do. Anybody may write them, so what
//! one address can send is bounded (`flood`), and the oldest go when there are too many ([`retention`]).

mod flood;
pub mod retention;

use crate::config::{LogLevel, LogsOptions};
use flood::Flood;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The bucket of the entries.
pub const BUCKET: &str = "logs.AppLog";

/// What the front stage and retention share.
#[derive(Debug)]
pub struct Logs {
    options: LogsOptions,
    flood: Mutex<Flood>,
    /// Bytes of each app's entries, once they were counted
    sizes: Mutex<HashMap<Arc<str>, i64>>,
    /// Told when an app has more than it may
    over: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    /// Nothing is known of what is there already.
    pub fn new(options: LogsOptions) -> Logs {
        let flood = Mutex::new(Flood::new(options.per_minute));
        Logs { options, flood, sizes: Mutex::default(), over: Notify::new() }
    }

    /// The limits.
    pub fn options(&self) -> &LogsOptions {
        &self.options
    }

    /// Whether an address may send one more entry. `now` in milliseconds.
    pub fn admits(&self, address: IpAddr, now: i64) -> bool {
        lock(&self.flood).admits(address, now)
    }

    /// Whether an app keeps entries of a level. One that nobody has heard of says nothing about how grave it is: it is kept.
    pub fn keeps(&self, app: &str, level: &str) -> bool {
        let least = self.options.levels.get(app).copied().unwrap_or(self.options.level);
        let level = match level.to_ascii_lowercase().as_str() {
            "trace" => LogLevel::Trace,
            "debug" => LogLevel::Debug,
            "info" => LogLevel::Info,
            "warn" => LogLevel::Warn,
            "error" => LogLevel::Error,
            _ => return true,
        };
        level >= least
    }

    /// An entry was written.
    pub fn written(&self, app: &str, bytes: usize) {
        let mut sizes = lock(&self.sizes);
        let Some(size) = sizes.get_mut(app) else { return };
        *size = size.saturating_add_unsigned(bytes as u64);
        if self.options.size_bytes > 0 && u64::try_from(*size).is_ok_and(|size| size > self.options.size_bytes) {
            self.over.notify_one();
        }
    }
}

/// A key whose order is that of time, so that the oldest entries are the first of the bucket: 12 hex digits of milliseconds since
/// 1970, 8 that count the keys made here, then chance.
pub fn key(now: i64) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    format!("{:012x}-{made:08x}{:08x}", now.max(0), rand::random::<u32>())
}

/// When the entry of this id was made, milliseconds since 1970; none where the id is not of this form.
pub fn time_of(id: &str) -> Option<i64> {
    let (time, chance) = id.rsplit('/').next()?.split_once('-')?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (digits(time, 12) && digits(chance, 16)).then(|| i64::from_str_radix(time, 16).ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_time_and_tell_it() {
        let times = [0, 1, 1_700_000_000_000, 1_700_000_000_001, 9_999_999_999_999];
        let ids: Vec<String> = times.iter().map(|time| format!("/db/logs.AppLog/{}", key(*time))).collect();
        assert!(ids.is_sorted());
        for (id, time) in ids.iter().zip(times) {
            assert_eq!(time_of(id), Some(time));
        }
        for id in [
            "/db/logs.AppLog/1",
            "/db/logs.AppLog/6f1c7a0e-2f3b-4d54-8f39-0f2f5e3f1a11",
            "x",
            "/db/logs.AppLog/00000000000g-0000000000000000",
        ] {
            assert_eq!(time_of(id), None, "{id}");
        }
    }

    #[test]
    fn levels_are_dropped_by_app() {
        let mut options = crate::config::Config::default().logs;
        options.levels = [("shop".to_owned(), LogLevel::Warn)].into();
        let logs = Logs::new(options);
        let kept = |app: &str| ["trace", "debug", "info", "WARN", "error", "audit"].map(|level| logs.keeps(app, level));
        assert_eq!(kept("app"), [true; 6]);
        assert_eq!(kept("shop"), [false, false, false, true, true, true]);
    }
}
