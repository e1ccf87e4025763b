//! A client that comes back with a position gets what it missed.
//!
//! The log is read from there to the snapshot from which the subscription goes on, and every change is judged as
//! the live side judges it: the same predicate and the same access lists on both images.

use super::Gateway;
use super::delivery::{judge, reads};
use super::event::Event;
use super::messages::{self, Refused};
use super::schema;
use super::standing::Standing;
use super::subscription::Subscription;
use crate::changelog::{LogError, Position};
use crate::store::Snapshot;
use dataflows::access::Caller;
use dataflows::change::Change;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of images that are read from the log at a time.
const BATCH: usize = 256 << 10;

/// Queues `resumed` and the events between a position and a snapshot. False: they cannot be had, or are
/// too many; then nothing, or not all, is queued and the client needs a fresh result.
pub(crate) async fn catch_up(
    gateway: &Gateway,
    subscription: &Subscription,
    standing: &Standing,
    from: &Position,
    snapshot: &dyn Snapshot,
) -> Result<bool, Refused> {
    let until = snapshot.position();
    if from.log != until.log || from.offsets.len() != until.offsets.len() || from.commit() > until.commit() {
        return Ok(false);
    }
    if until.commit() - from.commit() > gateway.options.resume_changes {
        return Ok(false);
    }
    let (connection, slot) = (&subscription.connection, subscription.slot);
    let mut at = from.clone();
    let mut announced = false;
    while at.commit() < until.commit() {
        let batch = match gateway.changelog.read(at.clone(), BATCH).await {
            // What was missed before it has other names.
            Ok(batch) if batch.control.iter().any(|record| schema::concerns(standing, record) && record.commit <= until.commit()) => {
                return Ok(false);
            }
            Ok(batch) => batch,
            Err(LogError::Gone { .. }) => return Ok(false),
            Err(error) => {
                tracing::error!(%error, "a client could not be told what it missed");
                return Ok(false);
            }
        };
        // A batch may be of other records alone; changes may still follow.
        if batch.through == at {
            return Ok(false);
        }
        if !announced {
            connection.announce(slot, messages::resumed(&subscription.id, from));
            announced = true;
        }
        let missed = batch.changes.iter().filter(|change| snapshot.contains(change));
        let events = missed.filter_map(|change| missed_event(gateway, subscription, standing, change)).collect();
        // A client that reads slowly is waited for: nobody else waits here.
        if !connection.room().await {
            return Ok(true);
        }
        connection.catch_up(slot, events);
        at = batch.through;
    }
    if !announced {
        connection.announce(slot, messages::resumed(&subscription.id, from));
    }
    gateway.counters.resumed.fetch_add(1, Relaxed);
    Ok(true)
}

fn missed_event(gateway: &Gateway, subscription: &Subscription, standing: &Standing, change: &Arc<Change>) -> Option<Arc<Event>> {
    if *change.app != *standing.app || *change.bucket != *standing.bucket {
        return None;
    }
    let matches =
        |image: &Option<Arc<dataflows::change::Image>>| image.as_ref().is_some_and(|image| standing.filter.matches(&image.document));
    let caller: &Caller = &subscription.caller;
    let (reads_before, reads_after) = (reads(change.before.as_ref(), caller), reads(change.after.as_ref(), caller));
    let verdict = judge(change.operation, matches(&change.before), matches(&change.after), reads_before, reads_after)?;
    let wanted = subscription.terms.selection.wants(verdict.kind, change.operation);
    wanted.then(|| Arc::new(Event::new(verdict.kind, verdict.shown, change.clone(), gateway.log())))
}
