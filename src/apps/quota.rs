//! How much an app uses now, and its turn at what all share.
//!
//! A bound in time is a rate; a bound on what is held is a count; a bound on what is worked on is a line, in which the app's
//! own requests wait for each other, and nobody else's for them. So the queues behind (of the disk, the scanners, the hashing
//! of passwords) hold at most an app's share of it, and whoever comes waits for shares and not for floods.

use super::limits::Limits;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is over its quota, and when to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// The limit's name, as in the configuration
    pub limit: &'static str,
    /// Not before this
    pub again: Duration,
}

/// One app's use of what all share.
#[derive(Debug)]
pub struct Quota {
    limits: RwLock<Limits>,
    rate: Rate,
    requests: Line,
    writes: Line,
    scans: Line,
    hashings: Line,
    connections: Arc<AtomicUsize>,
    subscriptions: Arc<AtomicUsize>,
    subscription_bytes: Arc<AtomicUsize>,
    /// Bytes of bodies that arrive or are worked on
    bodies: Arc<AtomicUsize>,
    /// Requests that wait in any line
    waiting: AtomicUsize,
    admitted: AtomicU64,
    refused: AtomicU64,
}

/// What a request needs a turn for, beside being a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// A look at one object, or less
    Light,
    /// It waits for the disk
    Write,
    /// It reads many objects
    Scan,
    /// It hashes a password
    Hash,
}

impl Quota {
    /// Nothing is used.
    pub fn new(limits: Limits) -> Quota {
        Quota {
            rate: Rate::default(),
            requests: Line::new(limits.requests),
            writes: Line::new(limits.writes),
            scans: Line::new(limits.scans),
            hashings: Line::new(limits.hashings),
            limits: RwLock::new(limits),
            connections: Arc::default(),
            subscriptions: Arc::default(),
            subscription_bytes: Arc::default(),
            bodies: Arc::default(),
            waiting: AtomicUsize::new(0),
            admitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// What is in force.
    pub fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on; what is used already stays.
    pub fn set(&self, limits: Limits) {
        let mut current = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        *current = limits;
        self.requests.set(limits.requests);
        self.writes.set(limits.writes);
        self.scans.set(limits.scans);
        self.hashings.set(limits.hashings);
    }

    /// A request's turns, kept until it is answered; waits behind the app's own alone.
    pub async fn turn(&self, cost: Cost) -> Result<Turns, Over> {
        let limits = self.limits();
        let admitted = async {
            self.rate.admit(limits.requests_per_second).map_err(|again| Over { limit: "requests_per_second", again })?;
            // The rare one first: whoever waits for it holds no place of those that are wanted more.
            let particular = match cost {
                Cost::Light => None,
                Cost::Write => Some(self.wait(&self.writes, limits.waiting).await?),
                Cost::Scan => Some(self.wait(&self.scans, limits.waiting).await?),
                Cost::Hash => Some(self.wait(&self.hashings, limits.waiting).await?),
            };
            let general = self.wait(&self.requests, limits.waiting).await?;
            Ok(Turns { _particular: particular, _general: general })
        };
        let result = admitted.await;
        (if result.is_ok() { &self.admitted } else { &self.refused }).fetch_add(1, Ordering::Relaxed);
        result
    }

    /// A turn to read a live result. Subscriptions are counted already, so those that wait here are bounded.
    pub async fn load(&self) -> Option<Turn> {
        self.scans.take().await
    }

    async fn wait(&self, line: &Line, most: usize) -> Result<Turn, Over> {
        if let Some(turn) = line.try_take() {
            return Ok(turn);
        }
        let over = Over { limit: "waiting", again: Duration::from_secs(1) };
        let _waiting = Held::take(&self.waiting, most).ok_or(over)?;
        line.take().await.ok_or(over)
    }

    /// A place for a websocket or an event stream; `free` are those that nobody has, `alone` says that no other app needs one.
    pub fn connection(&self, free: usize, alone: bool) -> Option<Place> {
        let limit = match self.limits().connections {
            0 if alone => usize::MAX,
            0 => free,
            limit => limit,
        };
        self.count(&self.connections, 1, limit)
    }

    /// Counts the bytes of bodies that arrive or are worked on; [`super::bodies`] bounds them.
    pub fn bodies(&self) -> &Arc<AtomicUsize> {
        &self.bodies
    }

    /// A place for a subscription.
    pub fn subscription(&self) -> Option<Place> {
        self.count(&self.subscriptions, 1, self.limits().subscriptions)
    }

    /// A place for the query of a subscription, of so many bytes.
    pub fn subscribed(&self, bytes: usize) -> Option<Place> {
        let limit = match self.limits().subscription_bytes {
            0 => usize::MAX,
            limit => limit,
        };
        self.count(&self.subscription_bytes, bytes, limit)
    }

    fn count(&self, counter: &Arc<AtomicUsize>, amount: usize, limit: usize) -> Option<Place> {
        let place = Place::take(counter, amount, limit);
        if place.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    /// What is used now.
    pub fn usage(&self) -> Usage {
        Usage {
            admitted: self.admitted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            subscription_bytes: self.subscription_bytes.load(Ordering::Relaxed),
            body_bytes: self.bodies.load(Ordering::Relaxed),
        }
    }
}

/// What an app uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Requests that got their turn
    pub admitted: u64,
    /// Requests, connections and subscriptions that were over the quota
    pub refused: u64,
    /// Requests that wait for their turn
    pub waiting: usize,
    /// Websockets and event streams
    pub connections: usize,
    /// Subscriptions
    pub subscriptions: usize,
    /// Bytes that their queries take, estimated
    pub subscription_bytes: usize,
    /// Bytes of bodies that arrive or are worked on
    pub body_bytes: usize,
}

/// Kept while a request is worked on.
#[derive(Debug)]
pub struct Turns {
    _particular: Option<Turn>,
    _general: Turn,
}

/// A rate, as the time at which all that was admitted would have come evenly (the cell rate algorithm of ATM, GCRA): one
/// number, and as good as a bucket of tokens that holds a second's worth.
#[derive(Debug)]
struct Rate {
    since: Instant,
    /// Nanoseconds from `since`
    even: AtomicU64,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { since: Instant::now(), even: AtomicU64::new(0) }
    }
}

const SECOND: u64 = 1_000_000_000;

impl Rate {
    /// Admits, or says how long to wait. 0 admits all.
    fn admit(&self, per_second: u32) -> Result<(), Duration> {
        if per_second == 0 {
            return Ok(());
        }
        let now = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut even = self.even.load(Ordering::Relaxed);
        loop {
            let next = next_even(even, now, per_second).map_err(Duration::from_nanos)?;
            match self.even.compare_exchange_weak(even, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(found) => even = found,
            }
        }
    }
}

/// Nanoseconds all: where the even time goes if one more is admitted now, or how long it is until one can be.
fn next_even(even: u64, now: u64, per_second: u32) -> Result<u64, u64> {
    let step = SECOND / u64::from(per_second.max(1));
    let next = even.max(now).saturating_add(step);
    match next.saturating_sub(now.saturating_add(SECOND)) {
        0 => Ok(next),
        early => Err(early),
    }
}

/// So many at a time; the others wait, first come first served.
#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    size: Arc<Mutex<Size>>,
}

#[derive(Debug)]
struct Size {
    limit: usize,
    /// Turns that are out and do not come back, since the limit was lowered
    owed: usize,
}

/// Kept while something is worked on.
#[derive(Debug)]
pub struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    size: Arc<Mutex<Size>>,
}

impl Line {
    fn new(limit: usize) -> Line {
        Line { turns: Arc::new(Semaphore::new(limit)), size: Arc::new(Mutex::new(Size { limit, owed: 0 })) }
    }

    fn set(&self, limit: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if limit > size.limit {
            let more = limit - size.limit;
            let forgiven = more.min(size.owed);
            size.owed -= forgiven;
            self.turns.add_permits(more - forgiven);
        } else {
            let fewer = size.limit - limit;
            size.owed += fewer - self.turns.forget_permits(fewer);
        }
        size.limit = limit;
    }

    fn try_take(&self) -> Option<Turn> {
        let permit = self.turns.clone().try_acquire_owned().ok()?;
        Some(Turn { permit: Some(permit), size: self.size.clone() })
    }

    async fn take(&self) -> Option<Turn> {
        let permit = self.turns.clone().acquire_owned().await.ok()?;
        Some(Turn { permit: Some(permit), size: self.size.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size.owed > 0 {
            size.owed -= 1;
            permit.forget();
        }
    }
}

/// Part of a bounded number, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    counter: Arc<AtomicUsize>,
    amount: usize,
}

impl Place {
    /// So much of what a counter may have.
    pub fn take(counter: &Arc<AtomicUsize>, amount: usize, limit: usize) -> Option<Place> {
        increase(counter, amount, limit).then(|| Place { counter: counter.clone(), amount })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// As [`Place`], for as long as the counter is borrowed.
struct Held<'c>(&'c AtomicUsize);

impl Held<'_> {
    fn take(counter: &AtomicUsize, limit: usize) -> Option<Held<'_>> {
        increase(counter, 1, limit).then(|| Held(counter))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So much more, if that is within the limit.
fn increase(counter: &AtomicUsize, amount: usize, limit: usize) -> bool {
    let more = |used: usize| used.checked_add(amount).filter(|used| *used <= limit);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::apps::limits::OwnLimits;
    use crate::config::Config;
    use futures_util::FutureExt;

    fn limits() -> Limits {
        Limits::new(&Config::default().limits, &OwnLimits::default(), 1, false)
    }

    #[test]
    fn a_rate_admits_a_seconds_worth_at_once_and_then_evenly() {
        let mut even = 0;
        let mut admitted = |now: u64| next_even(even, now, 10).inspect(|next| even = *next);
        let at = 5 * SECOND;
        assert!((0..10).all(|_| admitted(at).is_ok()));
        assert_eq!(admitted(at), Err(SECOND / 10));
        assert!(admitted(at + SECOND / 10).is_ok());
        assert!(admitted(at + SECOND / 10).is_err());
        // Whatever was not used does not add up beyond a second.
        assert!((0..10).all(|_| admitted(at + 100 * SECOND).is_ok()));
        assert!(admitted(at + 100 * SECOND).is_err());
        assert!(Rate::default().admit(0).is_ok());
    }

    #[tokio::test]
    async fn those_who_wait_are_bounded_and_come_in_order() {
        let quota = Quota::new(Limits { scans: 1, waiting: 1, ..limits() });
        let first = quota.turn(Cost::Scan).await.unwrap();
        let mut second = Box::pin(quota.turn(Cost::Scan));
        assert!(second.as_mut().now_or_never().is_none());
        let over = quota.turn(Cost::Scan).await.unwrap_err();
        assert_eq!(over.limit, "waiting");
        // What is no scan does not wait for scans.
        assert!(quota.turn(Cost::Light).now_or_never().unwrap().is_ok());
        assert!(quota.turn(Cost::Write).now_or_never().unwrap().is_ok());
        drop(first);
        second.await.unwrap();
        assert_eq!((quota.usage().admitted, quota.usage().refused, quota.usage().waiting), (4, 1, 0));
    }

    #[tokio::test]
    async fn who_stops_waiting_gives_his_place_back() {
        let quota = Quota::new(Limits { scans: 1, waiting: 1, ..limits() });
        let first = quota.turn(Cost::Scan).await.unwrap();
        let mut gone = Box::pin(quota.turn(Cost::Scan));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        let mut next = Box::pin(quota.turn(Cost::Scan));
        assert!(next.as_mut().now_or_never().is_none(), "it waits, and is not refused");
        drop(first);
        next.await.unwrap();
    }

    #[tokio::test]
    async fn limits_change_while_turns_are_out() {
        let quota = Quota::new(Limits { scans: 3, ..limits() });
        let out = [quota.turn(Cost::Scan).await.unwrap(), quota.turn(Cost::Scan).await.unwrap(), quota.turn(Cost::Scan).await.unwrap()];
        quota.set(Limits { scans: 1, ..quota.limits() });
        let mut waiting = Box::pin(quota.turn(Cost::Scan));
        let [one, two, three] = out;
        drop((one, two));
        assert!(waiting.as_mut().now_or_never().is_none(), "three were out, one may be");
        drop(three);
        let turn = waiting.await.unwrap();
        quota.set(Limits { scans: 2, ..quota.limits() });
        let other = quota.turn(Cost::Scan).now_or_never().unwrap().unwrap();
        assert!(quota.turn(Cost::Scan).now_or_never().is_none());
        drop((turn, other));
    }

    #[test]
    fn an_app_leaves_as_many_connections_free_as_it_has() {
        let quota = Quota::new(Limits { connections: 0, ..limits() });
        let mut places = Vec::new();
        while let Some(place) = quota.connection(10 - places.len(), false) {
            places.push(place);
        }
        assert_eq!(places.len(), 5);
        assert!(quota.connection(5, true).is_some(), "alone it may have all");
        drop(places);
        assert_eq!(quota.usage().connections, 0);
        let quota = Quota::new(Limits { connections: 2, subscriptions: 1, ..limits() });
        let _places = (quota.connection(1, false).unwrap(), quota.connection(1, false).unwrap());
        assert!(quota.connection(9, true).is_none());
        let _subscription = quota.subscription().unwrap();
        assert!(quota.subscription().is_none());
    }

    #[test]
    fn queries_of_subscriptions_share_a_number_of_bytes() {
        let quota = Quota::new(Limits { subscription_bytes: 100, ..limits() });
        let first = quota.subscribed(60).unwrap();
        assert!(quota.subscribed(41).is_none());
        let second = quota.subscribed(40).unwrap();
        assert_eq!((quota.usage().subscription_bytes, quota.usage().refused), (100, 1));
        drop(first);
        assert!(quota.subscribed(usize::MAX).is_none());
        assert!(quota.subscribed(60).is_some());
        drop(second);
        assert_eq!(quota.usage().subscription_bytes, 0);
        let boundless = Quota::new(Limits { subscription_bytes: 0, ..limits() });
        assert!(boundless.subscribed(1 << 40).is_some());
    }
}
