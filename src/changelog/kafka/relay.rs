//! The relay: what the store has committed goes to the topic, in commit order, in Kafka's transactions.
//!
//! One thread. It takes what waits in the outbox up to a bound, sends it as one transaction, notes how far it is, and takes
//! the next. A transaction that failed is taken back and sent again, so the topic holds every commit once, whole
//! transactions only. Whether a transaction of unknown outcome happened the topic itself tells, to whoever
//! takes the log over ([`chain::resume`]).

use super::chain;
use super::error::KafkaLogError;
use super::format::Place;
use super::session::{Fault, Reason, STEP, Session};
use super::tail;
use super::topic::Topic;
use crate::changelog::gate::Progress;
use crate::changelog::outbox::{Load, Outbox};
use crate::clock::Clock;
use crate::kafka::KafkaError;
use crate::metrics::Histogram;
use dataflows::change::CommitNumber;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What one transaction may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    /// Bytes of records, about
    bytes: usize,
    records: usize,
}

impl Bound {
    const MOST: Bound = Bound { bytes: 4 << 20, records: 5_000 };
    const LEAST: Bound = Bound { bytes: 64 << 10, records: 50 };

    /// After a transaction that failed: brokers that are slow and a short `transaction.timeout.ms` may allow for less.
    fn smaller(self) -> Bound {
        Bound { bytes: (self.bytes / 2).max(Bound::LEAST.bytes), records: (self.records / 2).max(Bound::LEAST.records) }
    }

    /// After one that went well.
    fn larger(self) -> Bound {
        Bound { bytes: (self.bytes * 2).min(Bound::MOST.bytes), records: (self.records * 2).min(Bound::MOST.records) }
    }
}
/// First and longest wait before something that failed is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long the brokers have to let a log be taken over at the start.
const START: Duration = Duration::from_secs(60);

/// How a relay does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayState {
    /// The brokers take what there is
    Running,
    /// They have not since then, milliseconds since 1970; it is tried again
    Retrying {
        /// Since when
        since: i64,
    },
    /// It was told to stop
    Stopped,
    /// It cannot go on, and the store refuses writes
    Ended,
}

/// What a relay tells about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStatus {
    /// How it does
    pub state: RelayState,
    /// The last commit that is in the topic
    pub relayed: CommitNumber,
    /// Bytes of records that wait in the outbox
    pub waiting_bytes: u64,
    /// Records that wait in the outbox
    pub waiting_records: u64,
    /// Transactions committed since the start
    pub transactions: u64,
    /// Records in them
    pub records: u64,
    /// Bytes of these records
    pub bytes: u64,
    /// Times that something failed and was tried again
    pub retries: u64,
    /// What failed last
    pub last_error: Option<String>,
}

#[derive(Debug, Clone)]
struct Counted {
    state: RelayState,
    transactions: u64,
    records: u64,
    bytes: u64,
    retries: u64,
    last_error: Option<String>,
}

struct Shared {
    outbox: Outbox,
    counted: Mutex<Counted>,
    delay: Arc<Histogram>,
}

impl Shared {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running relay. Dropped it stops in its own time; [`Relay::stop`] waits for that.
pub struct Relay {
    shared: Arc<Shared>,
    /// Until when what waits may still be relayed
    stop: watch::Sender<Option<Instant>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Relay {
    /// Takes the log over and begins where the topic ends. An error where this store cannot write that topic.
    pub(crate) async fn start(outbox: Outbox, topic: Topic, clock: Arc<Clock>) -> Result<Relay, KafkaLogError> {
        let counted = Counted { state: RelayState::Running, transactions: 0, records: 0, bytes: 0, retries: 0, last_error: None };
        let shared = Arc::new(Shared { outbox: outbox.clone(), counted: Mutex::new(counted), delay: Arc::default() });
        let (stop, stopping) = watch::channel(None);
        let connecting = Connecting { name: format!("{:032x}", rand::random::<u128>()), topic, stopping: stopping.clone() };
        let started = tokio::task::spawn_blocking({
            let shared = Arc::clone(&shared);
            move || {
                let (session, progress) = connecting.open(&outbox, Instant::now() + START, false)?;
                outbox.relayed(progress.clone(), clock.now_ms()).map_err(KafkaLogError::from)?;
                let (bound, wait) = (Bound::MOST, BACK_OFF.0);
                Ok::<_, KafkaLogError>(Run { shared, outbox, connecting, session, progress, seen: 0, bound, wait, clock, stopping })
            }
        });
        let run = started.await.map_err(|error| KafkaLogError::Outbox(error.to_string()))??;
        let thread = std::thread::Builder::new().name("log-relay".into()).spawn(move || run.run());
        let thread = thread.map_err(|error| KafkaLogError::Outbox(error.to_string()))?;
        Ok(Relay { shared, stop, thread: Mutex::new(Some(thread)) })
    }

    /// What it tells about itself.
    pub fn status(&self) -> RelayStatus {
        let outbox = &self.shared.outbox;
        let (waiting_bytes, waiting_records) = outbox.waiting();
        let counted = self.shared.counted().clone();
        RelayStatus {
            state: counted.state,
            relayed: outbox.gate.mark().commit,
            waiting_bytes,
            waiting_records,
            transactions: counted.transactions,
            records: counted.records,
            bytes: counted.bytes,
            retries: counted.retries,
            last_error: counted.last_error,
        }
    }

    /// From a commit until the brokers have it.
    pub fn delay(&self) -> &Arc<Histogram> {
        &self.shared.delay
    }

    /// Relays what waits for at most so long, then stops. The rest is relayed after the next start.
    pub async fn stop(&self, patience: Duration) {
        self.stop.send_replace(Some(Instant::now() + patience));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the relay of the change log panicked");
        }
        let (_, records) = self.shared.outbox.waiting();
        if records > 0 {
            tracing::warn!(records, "changes wait for the brokers; they are relayed after the next start");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let now = Instant::now();
        self.stop.send_if_modified(|stop| {
            let modified = stop.is_none();
            stop.get_or_insert(now);
            modified
        });
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("status", &self.status()).finish()
    }
}

/// What it takes to get a session.
struct Connecting {
    /// The claim of this process
    name: String,
    topic: Topic,
    stopping: watch::Receiver<Option<Instant>>,
}

impl Connecting {
    fn fenced(&self) -> KafkaLogError {
        KafkaLogError::Fenced { topic: self.topic.address.topic.clone() }
    }

    /// How far the relay is as the topic tells. An error where this store cannot go on with what the topic holds. Blocks.
    fn progress(&self, outbox: &Outbox, undecided: tail::Undecided, deadline: Instant) -> Result<Progress, KafkaLogError> {
        let left = deadline.saturating_duration_since(Instant::now()).max(STEP);
        let tails = tail::read(&self.topic, undecided, left)?;
        chain::resume(outbox, &self.topic.address.topic, &tails)
    }

    /// Takes the log over and finds out how far it is. `ours`: only while nobody else has claimed it. Blocks.
    fn open(&self, outbox: &Outbox, deadline: Instant, ours: bool) -> Result<(Session, Progress), KafkaLogError> {
        let log = outbox.log();
        let mut wait = BACK_OFF.0;
        loop {
            if ours && Session::claimed(&self.topic, log)?.is_some_and(|name| name != self.name) {
                return Err(self.fenced());
            }
            // A store that cannot go on with this log, such as an older copy that is tried out, must not take it from who can.
            self.progress(outbox, tail::Undecided::PassOver, deadline)?;
            let session = Session::new(&self.topic, log)?;
            let fault = match session.take_over().and_then(|()| session.claim(&self.topic, log, &self.name)) {
                // Who had it until now may have gone on meanwhile, and what he had begun is decided only now.
                Ok(()) => return Ok((session, self.progress(outbox, tail::Undecided::Await, deadline)?)),
                Err(fault) => fault,
            };
            // Asking again grants nothing.
            if let Some(right) = &fault.reason().right {
                return Err(KafkaError::Right(right.clone()).into());
            }
            if Instant::now() >= deadline || self.stopping.borrow().is_some() {
                return Err(self.topic.unreadable(fault.reason()));
            }
            tracing::debug!(reason = %fault.reason(), "the change log could not be taken over yet");
            std::thread::sleep(wait);
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }
}

/// The thread's own.
struct Run {
    shared: Arc<Shared>,
    outbox: Outbox,
    connecting: Connecting,
    session: Session,
    progress: Progress,
    /// The end of the log when it had nothing more
    seen: CommitNumber,
    /// Of the next transaction
    bound: Bound,
    /// Before it is tried again, when it fails
    wait: Duration,
    clock: Arc<Clock>,
    stopping: watch::Receiver<Option<Instant>>,
}

/// Why the thread ends.
enum End {
    Stopped,
    Failed(KafkaLogError),
}

impl Run {
    fn run(mut self) {
        let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let end = match &waiting {
            Ok(runtime) => loop {
                if !runtime.block_on(self.more()) {
                    break End::Stopped;
                }
                if let Err(end) = self.carry(runtime) {
                    break end;
                }
            },
            Err(error) => End::Failed(KafkaLogError::Outbox(error.to_string())),
        };
        match end {
            End::Stopped => self.shared.counted().state = RelayState::Stopped,
            End::Failed(error) => {
                tracing::error!(code = error.code(), %error, "the relay of the change log has ended; writes are refused");
                self.outbox.end(&error.to_string());
                let mut counted = self.shared.counted();
                (counted.state, counted.last_error) = (RelayState::Ended, Some(error.to_string()));
            }
        }
    }

    /// Resolves when there is something to relay. False when it is time to stop.
    async fn more(&mut self) -> bool {
        let known = self.seen.max(self.progress.mark.commit);
        let mut head = self.outbox.watch();
        loop {
            let stop = *self.stopping.borrow_and_update();
            let more = self.outbox.head() > known;
            if let Some(deadline) = stop {
                return more && Instant::now() < deadline;
            }
            if more {
                return true;
            }
            tokio::select! {
                grown = head.wait_for(|head| head.is_none_or(|head| head > known)) => {
                    let open = grown.is_ok_and(|head| head.is_some());
                    if !open {
                        return false;
                    }
                }
                changed = self.stopping.changed() => if changed.is_err() { return false },
            }
        }
    }

    /// Relays what is there, up to the bound of a transaction; or nothing, when that failed. Blocks.
    fn carry(&mut self, runtime: &tokio::runtime::Runtime) -> Result<(), End> {
        let head = self.outbox.head();
        let Bound { bytes, records } = self.bound;
        let load = self.outbox.read(self.progress.mark, bytes, records).map_err(|error| End::Failed(error.into()))?;
        if load.records.is_empty() {
            self.seen = head;
            return Ok(());
        }
        let (places, next) = chain::places(self.outbox.log(), &self.progress, &load);
        match self.transact(&load, &places) {
            Ok(()) => {}
            Err(Fault::Again(_)) => return Err(End::Stopped),
            Err(Fault::Lost(reason)) => return self.reconnect(&reason, runtime),
            Err(Fault::TakeBack(reason)) => {
                self.trouble(&reason)?;
                match self.repeat(Session::take_back) {
                    Ok(()) => {}
                    Err(Fault::Again(_)) => return Err(End::Stopped),
                    Err(fault) => return self.reconnect(fault.reason(), runtime),
                }
                self.bound = self.bound.smaller();
                let wait = self.wait;
                self.wait = (wait * 2).min(BACK_OFF.1);
                return self.pause(runtime, wait);
            }
        }
        (self.bound, self.wait) = (self.bound.larger(), BACK_OFF.0);
        let now = self.clock.now_ms();
        if let Some(first) = load.records.first() {
            self.shared.delay.observe(Duration::from_millis(u64::try_from(now.saturating_sub(first.about.at)).unwrap_or(0)));
        }
        let bytes = next.mark.bytes.saturating_sub(self.progress.mark.bytes);
        self.progress = next;
        self.outbox.relayed(self.progress.clone(), now).map_err(|error| End::Failed(error.into()))?;
        let mut counted = self.shared.counted();
        counted.transactions += 1;
        counted.records += load.records.len() as u64;
        counted.bytes += bytes;
        if let RelayState::Retrying { since } = counted.state {
            tracing::info!(milliseconds = now.saturating_sub(since), "the brokers take changes again");
            counted.state = RelayState::Running;
        }
        Ok(())
    }

    /// One transaction. `Fault::Again`: it is time to stop, and whether it happened the next start finds out.
    fn transact(&mut self, load: &Load, places: &[(i32, Place)]) -> Result<(), Fault> {
        let sent = self.session.send(load, places, self.clock.now_ms());
        // Half of it may be on its way: it is never gone on with.
        sent.map_err(|fault| match fault {
            Fault::Again(reason) => Fault::TakeBack(reason),
            fault => fault,
        })?;
        self.repeat(Session::commit)
    }

    /// Asks until there is an answer, or until it is time to stop.
    fn repeat(&mut self, step: fn(&Session) -> Result<(), Fault>) -> Result<(), Fault> {
        loop {
            match step(&self.session) {
                Err(Fault::Again(reason)) => {
                    if self.trouble(&reason).is_err() {
                        return Err(Fault::Again(reason));
                    }
                }
                done => return done,
            }
        }
    }

    /// Something failed that is tried again. An error when it is time to stop instead.
    fn trouble(&mut self, reason: &Reason) -> Result<(), End> {
        let mut counted = self.shared.counted();
        counted.retries += 1;
        let before = counted.last_error.replace(reason.to_string());
        if counted.state == RelayState::Running {
            counted.state = RelayState::Retrying { since: self.clock.now_ms() };
            tracing::warn!(%reason, "the brokers do not take changes; trying on");
        } else if reason.right.is_some() && before != counted.last_error {
            // Only a person can mend it, so it is told although the trouble began with something else.
            tracing::warn!(%reason, "the brokers do not take changes; trying on");
        }
        match *self.stopping.borrow() {
            Some(deadline) if Instant::now() >= deadline => Err(End::Stopped),
            _ => Ok(()),
        }
    }

    fn pause(&mut self, runtime: &tokio::runtime::Runtime, time: Duration) -> Result<(), End> {
        let deadline = *self.stopping.borrow();
        let time = deadline.map_or(time, |deadline| time.min(deadline.saturating_duration_since(Instant::now())));
        runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(time) => Ok(()),
                changed = self.stopping.changed() => changed.map_err(|_| End::Stopped),
            }
        })
    }

    /// A new producer, unless somebody else has claimed the log.
    fn reconnect(&mut self, reason: &Reason, runtime: &tokio::runtime::Runtime) -> Result<(), End> {
        tracing::warn!(%reason, "the producer of the change log was lost");
        self.trouble(reason)?;
        self.bound = self.bound.smaller();
        loop {
            // What lost one producer may lose the next.
            let wait = self.wait;
            self.wait = (wait * 2).min(BACK_OFF.1);
            self.pause(runtime, wait)?;
            match self.connecting.open(&self.outbox, Instant::now() + STEP, true) {
                Ok((session, progress)) => {
                    (self.session, self.progress) = (session, progress);
                    let now = self.clock.now_ms();
                    return self.outbox.relayed(self.progress.clone(), now).map_err(|error| End::Failed(error.into()));
                }
                // Also a secret that is just being replaced.
                Err(error @ (KafkaLogError::Unreadable { .. } | KafkaLogError::Client(_))) => self.trouble(&Reason::of(&error))?,
                Err(error) => return Err(End::Failed(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_shrink_while_they_fail_and_grow_back() {
        let mut bound = Bound::MOST;
        for _ in 0..10 {
            bound = bound.smaller();
        }
        assert_eq!(bound, Bound::LEAST);
        for _ in 0..10 {
            bound = bound.larger();
        }
        assert_eq!(bound, Bound::MOST);
    }
}
