//! From an installed query to a live subscription: read a snapshot, send its result, let pass what it has not.
//!
//! No gap and no duplicate (invariant 2): deltas wait from before the snapshot is read; of what waits, and of
//! what the dataflow brings later, everything that the snapshot has in it is dropped.

use super::Gateway;
use super::messages::{self, Refused, ServerMessage};
use super::outbox::Loaded;
use super::resume;
use super::subscription::{Cut, Subscription};
use crate::changelog::Position;
use crate::store::{Selection, Snapshot, StoreError};
use std::sync::Arc;

/// Where a client left off, and whose history it is.
pub(crate) struct LeftOff {
    pub(crate) position: Position,
    /// The user's id, also of one who has assumed a role; none for anonymous callers
    pub(crate) user: Option<Arc<str>>,
}

/// Where a load starts.
pub(crate) enum Start {
    /// From nothing
    First,
    /// From where the client left off
    From(LeftOff),
    /// From nothing, but the client has something: it is told that it is replaced
    Afresh,
}

/// Brings a subscription to life, or ends it with an error.
pub(crate) async fn load(gateway: Arc<Gateway>, subscription: Arc<Subscription>, start: Start) {
    // In all that it waits for (turns, room, the frontier) it waits for nobody who has gone: a load keeps the subscription, its
    // place in the quota and a snapshot.
    tokio::select! {
        loaded = try_load(&gateway, &subscription, start) => {
            if let Err(refused) = loaded {
                gateway.end(&subscription, &refused);
            }
        }
        () = subscription.left() => {}
    }
}

async fn try_load(gateway: &Arc<Gateway>, subscription: &Arc<Subscription>, start: Start) -> Result<(), Refused> {
    let (connection, slot) = (&subscription.connection, subscription.slot);
    let Some(standing) = subscription.membership.get().map(|membership| &membership.standing) else { return Ok(()) };
    standing.installed().await.map_err(|failure| {
        let status = if &*failure.code == "server-stopping" { 503 } else { 468 };
        Refused::new(status, failure.code, failure.message)
    })?;
    // One result at a time for a connection: what it holds in memory is then bounded by the largest result.
    let Ok(_turn) = connection.loads.acquire().await else { return Ok(()) };
    let (mut from, mut fresh) = match start {
        Start::First => (None, false),
        Start::From(left_off) => (Some(left_off), false),
        Start::Afresh => (None, true),
    };
    loop {
        if !connection.room().await || !connection.begin_load(slot) {
            return Ok(());
        }
        let snapshot = gateway.store.snapshot().await.map_err(refused)?;
        let position = snapshot.position();
        connection.reads(slot, position.commit());
        // What the client will have been told: where nothing was missed, no more than it came with.
        let mut told = position.commit();
        let result = match from.take() {
            Some(from) => match resume::catch_up(gateway, subscription, standing, &from, &*snapshot).await? {
                true => {
                    told = from.position.commit();
                    None
                }
                false => Some(read(gateway, subscription, &*snapshot, true).await?),
            },
            None => Some(read(gateway, subscription, &*snapshot, fresh).await?),
        };
        fresh = true;
        let cut: Cut = Arc::new(move |change| snapshot.contains(change));
        match connection.loaded(subscription, cut.clone(), told, result, &gateway.answers) {
            Loaded::Gone => return Ok(()),
            // More has happened meanwhile than may wait: only a newer snapshot helps.
            Loaded::Again => continue,
            Loaded::Done => {
                drop(_turn);
                gateway.frontier.reached(position.commit()).await;
                connection.settle(slot, &cut);
                return Ok(());
            }
        }
    }
}

/// The result in a snapshot, as a message.
async fn read(gateway: &Gateway, subscription: &Subscription, snapshot: &dyn Snapshot, fresh: bool) -> Result<ServerMessage, Refused> {
    let fresh = fresh && subscription.terms.extensions;
    let position = snapshot.position();
    let Some(standing) = subscription.membership.get().map(|membership| &membership.standing).filter(|_| subscription.terms.initial) else {
        return Ok(messages::result(&subscription.id, &position, fresh, std::iter::empty()));
    };
    // First the app's own turn: what waits for the shared ones is then never one app's alone.
    let _turn = subscription.connection.app.quota.load().await;
    let Ok(_permit) = gateway.loads.acquire().await else { return Err(stopping()) };
    let (app, bucket, predicate) = (standing.app.clone(), standing.bucket.clone(), standing.filter.predicate.clone());
    let selection = Selection::all(app, bucket, predicate, subscription.caller.clone(), gateway.options.result_objects);
    let images = snapshot.select(selection).await.map_err(refused)?;
    Ok(messages::result(&subscription.id, &position, fresh, images.iter().map(|image| &image.json()[..])))
}

pub(crate) fn stopping() -> Refused {
    Refused::new(503, "server-stopping", "the server is shutting down; connect again")
}

pub(crate) fn stopped() -> Refused {
    Refused::new(503, "live-stopped", "the server cannot read its change log and sends no events; see the server's log")
}

/// What a failure of the store is to a subscriber. The details are for the server's log.
pub(crate) fn refused(error: StoreError) -> Refused {
    match error {
        StoreError::Closed => stopping(),
        StoreError::TooMany { .. } => Refused::new(468, error.code(), error.to_string()),
        _ => {
            tracing::error!(%error, "a result could not be read");
            Refused::new(500, "store-failed", "the server could not read the result; try again later")
        }
    }
}
