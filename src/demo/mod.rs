//! The demo: an auction house that is never quiet, for people who want to see before they read.
//!
//! * [`auction`]: which update comes next, a pure machine
//! * [`catalogue`]: the words it is made of
//! * [`classes`]: the classes of its objects, with hints for the console page
//! * [`writer`]: carries the updates to the server's HTTP API

pub mod auction;
pub mod catalogue;
pub mod classes;
pub mod writer;

use auction::{Auction, Plan};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::Instant;
use writer::{Api, WriteError, Writer};

/// How often the stream looks how many updates are due.
const TICK: Duration = Duration::from_millis(10);
/// A stream that fell behind (a laptop that slept, a slow disk) makes up for at most so long.
const CATCH_UP: Duration = Duration::from_millis(200);

/// An auction house whose doors are open.
#[derive(Debug)]
pub struct House {
    auction: Auction,
    writer: Writer,
    rate: u32,
}

impl House {
    /// Declares the classes and fills the house. `progress` is told how many of how many objects are handed over.
    pub async fn open(api: &Api, lots: usize, rate: u32, seed: u64, mut progress: impl FnMut(usize, usize)) -> Result<House, WriteError> {
        api.declare(&classes::classes()).await?;
        let mut auction = Auction::new(Plan::level(lots, rate), seed);
        let updates = auction.open_doors(now());
        let total = updates.len();
        let mut writer = Writer::open(api);
        for (done, update) in updates.into_iter().enumerate() {
            writer.write(update).await?;
            progress(done + 1, total);
        }
        writer.settle().await?;
        Ok(House { auction, writer, rate })
    }

    /// Updates that the server has acknowledged since the house was opened.
    pub fn written(&self) -> Arc<AtomicU64> {
        self.writer.written()
    }

    /// Keeps the updates coming. Ends with an error only; whoever drops it ends it, between two requests or in one.
    pub async fn run(mut self) -> Result<Infallible, WriteError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pace = Pace::new(self.rate, Instant::now());
        loop {
            tick.tick().await;
            while let Some(outbid) = self.writer.outbid() {
                self.auction.outbid(&outbid.id, outbid.price, outbid.bids);
            }
            for _ in 0..pace.due(Instant::now()) {
                self.writer.write(self.auction.next(now())).await?;
            }
        }
    }
}

/// How many updates are due: so many a second, without a burst after a pause.
#[derive(Debug)]
struct Pace {
    rate: u32,
    paid_until: Instant,
}

impl Pace {
    fn new(rate: u32, now: Instant) -> Pace {
        Pace { rate, paid_until: now }
    }

    fn due(&mut self, now: Instant) -> u32 {
        if self.rate == 0 {
            return 0;
        }
        if now.saturating_duration_since(self.paid_until) > CATCH_UP {
            self.paid_until = now.checked_sub(CATCH_UP).unwrap_or(now);
        }
        let due = (now.saturating_duration_since(self.paid_until).as_secs_f64() * f64::from(self.rate)) as u32;
        self.paid_until += Duration::from_secs_f64(f64::from(due) / f64::from(self.rate));
        due
    }
}

/// The time that the auction is told, milliseconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_a_pause_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(200, start);
        let due: u32 = (1..=1_000).map(|tick| pace.due(start + TICK * tick)).sum();
        assert!((1_999..=2_000).contains(&due), "{due} in ten seconds");
        let later = start + Duration::from_secs(3_600);
        assert_eq!(pace.due(later), 40);
        assert_eq!(pace.due(later), 0);
        assert_eq!(Pace::new(0, start).due(later), 0);
    }
}
