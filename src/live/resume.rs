//! A client that comes back with a position gets what it missed.
//!
//! The log is read from there to the snapshot from which the subscription goes on, and every change is judged as
//! the live side judges it: the same predicate and the same access lists on both images.
//!
//! The class right and the caller's roles are those of today, and history is judged by them only where they were the same
//! all the while: else he might be told of what was deleted before he could have seen it. So the whole way is looked
//! through before anything of it is told.
//!
//! The way may be long, and the position is the client's to choose. So every batch has its turn among the app's results
//! and then among everybody's, and is judged off the async threads; nobody keeps a turn while his client reads slowly.

use super::Gateway;
use super::delivery::{judge, reads};
use super::event::Event;
use super::load::{LeftOff, stopping};
use super::messages::{self, EventSelection, Refused};
use super::schema;
use super::standing::Standing;
use super::subscription::Subscription;
use crate::apps::quota::Turn;
use crate::changelog::{Batch, LogError, LogId, Position};
use crate::rights;
use crate::store::Snapshot;
use dataflows::access::Caller;
use dataflows::change::{Change, CommitNumber, Image};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of images that are read from the log, and judged, at a time.
const BATCH: usize = 256 << 10;

/// Queues `resumed` and the events between a position and a snapshot. False: they cannot be had, are too many, or may not be
/// judged by the rights of today; then nothing, or not all, is queued and the client needs a fresh result.
pub(crate) async fn catch_up(
    gateway: &Gateway,
    subscription: &Subscription,
    standing: &Arc<Standing>,
    left_off: &LeftOff,
    snapshot: &dyn Snapshot,
) -> Result<bool, Refused> {
    let (from, until) = (&left_off.position, snapshot.position());
    if from.log != until.log || from.offsets.len() != until.offsets.len() || from.commit() > until.commit() {
        return Ok(false);
    }
    if until.commit() - from.commit() > gateway.options.resume_changes {
        return Ok(false);
    }
    let (connection, slot) = (&subscription.connection, subscription.slot);
    let way = Way { gateway, subscription, standing, user: left_off.user.as_deref(), until: until.commit() };
    let mut next = None;
    if from.commit() < until.commit() {
        next = way.look_through(from).await?;
        if next.is_none() {
            return Ok(false);
        }
    }
    connection.announce(slot, messages::resumed(&subscription.id, from));
    while let Some(batch) = next.take() {
        let at = batch.through.clone();
        let missed = batch.changes.into_iter().filter(|change| standing.is_about(change) && snapshot.contains(change)).collect();
        let Some(events) = way.judge(missed).await? else { return Ok(false) };
        // A client that reads slowly is waited for: nobody else waits here.
        if !connection.room().await {
            return Ok(true);
        }
        connection.catch_up(slot, events);
        if at.commit() < until.commit() {
            next = way.read(&at).await?;
            if next.is_none() {
                return Ok(false);
            }
        }
    }
    gateway.counters.resumed.fetch_add(1, Relaxed);
    Ok(true)
}

/// From where a client left off to the snapshot.
struct Way<'a> {
    gateway: &'a Gateway,
    subscription: &'a Subscription,
    standing: &'a Arc<Standing>,
    user: Option<&'a str>,
    until: CommitNumber,
}

/// Kept while a batch is worked on.
struct Turns {
    _of_app: Option<Turn>,
    _of_all: OwnedSemaphorePermit,
}

impl Way<'_> {
    /// The first batch of what comes after a position, which is not the end. None: not all of it can be had, or judged by the
    /// rights and the names of today.
    async fn look_through(&self, from: &Position) -> Result<Option<Batch>, Refused> {
        let mut first = None;
        let mut at = from.clone();
        while at.commit() < self.until {
            let Some(batch) = self.read(&at).await? else { return Ok(None) };
            if self.is_turned_by(&batch) {
                return Ok(None);
            }
            at = batch.through.clone();
            first.get_or_insert(batch);
        }
        Ok(first)
    }

    /// What comes after a position, which is not the end. None: it cannot be had.
    async fn read(&self, at: &Position) -> Result<Option<Batch>, Refused> {
        let _turns = self.turns().await?;
        // What is in memory is there at once, however often one asks.
        tokio::task::yield_now().await;
        match self.gateway.changelog.read(at.clone(), BATCH).await {
            // A batch may be of other records alone; changes may still follow.
            Ok(batch) => Ok((batch.through != *at).then_some(batch)),
            Err(LogError::Gone { .. }) => Ok(None),
            Err(error) => {
                tracing::error!(%error, "a client could not be told what it missed");
                Ok(None)
            }
        }
    }

    /// Whether something in it gave what was before it another name or made it another's to see.
    fn is_turned_by(&self, batch: &Batch) -> bool {
        let by_record = || batch.control.iter().any(|record| record.commit <= self.until && schema::turns(self.standing, record));
        let by_role = |user: &str| {
            let of_app = |change: &&Arc<Change>| change.commit <= self.until && *change.app == *self.standing.app;
            batch.changes.iter().filter(of_app).any(|change| rights::moves(change, user))
        };
        by_record() || self.user.is_some_and(by_role)
    }

    /// The events that changes are to the subscriber. None: they cannot be told.
    async fn judge(&self, changes: Vec<Arc<Change>>) -> Result<Option<Vec<Arc<Event>>>, Refused> {
        if changes.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let turns = self.turns().await?;
        let judge = Judge {
            standing: self.standing.clone(),
            caller: self.subscription.caller.clone(),
            selection: self.subscription.terms.selection,
            log: self.gateway.log(),
        };
        let judging = tokio::task::spawn_blocking(move || {
            // Kept by the work, also where nobody waits for it any more.
            let _turns = turns;
            changes.iter().filter_map(|change| judge.event(change)).collect()
        });
        match judging.await {
            Ok(events) => Ok(Some(events)),
            Err(error) => {
                tracing::error!(%error, "what a client missed could not be judged");
                Ok(None)
            }
        }
    }

    async fn turns(&self) -> Result<Turns, Refused> {
        // First the app's own turn: what waits for the shared ones is then never one app's alone.
        let _of_app = self.subscription.connection.app.quota.load().await;
        let _of_all = self.gateway.loads.clone().acquire_owned().await.map_err(|_| stopping())?;
        Ok(Turns { _of_app, _of_all })
    }
}

/// All that it takes to tell what a change is to a subscriber.
struct Judge {
    standing: Arc<Standing>,
    caller: Arc<Caller>,
    selection: EventSelection,
    log: LogId,
}

impl Judge {
    fn event(&self, change: &Arc<Change>) -> Option<Arc<Event>> {
        let matches = |image: &Option<Arc<Image>>| image.as_ref().is_some_and(|image| self.standing.filter.matches(&image.document));
        let reads = |image: &Option<Arc<Image>>| reads(image.as_ref(), &self.caller);
        let (before, after) = (&change.before, &change.after);
        let verdict = judge(change.operation, matches(before), matches(after), reads(before), reads(after))?;
        let wanted = self.selection.wants(verdict.kind, change.operation);
        wanted.then(|| Arc::new(Event::new(verdict.kind, verdict.shown, change.clone(), self.log)))
    }
}
