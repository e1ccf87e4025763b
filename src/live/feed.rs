//! The feeder: what the change log has goes to the engine, in order, a bounded number at a time.
//!
//! Writers never wait for it (invariant 6): it follows the log at its own pace. When the log was trimmed
//! before it came by, every subscription gets a fresh result and it goes on from the head.

use super::Gateway;
use crate::changelog::{LogError, Position};
use dataflows::engine::Engine;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Bytes of images that are read from the log at a time.
const BATCH: usize = 256 << 10;

/// Runs until the gateway shuts down.
pub(crate) async fn feed(gateway: Arc<Gateway>, engine: Arc<Engine>, head: Position, under_way: u64) {
    let stopped = gateway.stopped_feeding();
    tokio::select! {
        () = stopped => {}
        () = follow(&gateway, &engine, head, under_way) => {}
    }
}

async fn follow(gateway: &Gateway, engine: &Engine, mut at: Position, under_way: u64) {
    let mut log = gateway.changelog.follow(at.clone());
    loop {
        // Commit numbers are dense, so their distance to the frontier is the number of changes under way.
        gateway.frontier.reached(at.commit().saturating_sub(under_way)).await;
        match log.next(BATCH).await {
            Ok(batch) => {
                // Before the changes behind it: a result that is read from here on has those before it in it.
                for record in &batch.control {
                    gateway.schema_changed(record);
                }
                gateway.counters.changes_fed.fetch_add(batch.changes.len() as u64, Relaxed);
                at = batch.through;
                engine.feed(batch.changes, at.commit());
            }
            Err(LogError::Gone { asked, oldest }) => {
                tracing::warn!(%asked, %oldest, "the change log was trimmed before the live side read it: all results are sent afresh");
                gateway.counters.resynchronised.fetch_add(1, Relaxed);
                at = gateway.changelog.head();
                log = gateway.changelog.follow(at.clone());
                // First where to go on from, then the results: each is read at or after that.
                gateway.outdate_all();
                engine.feed(Vec::new(), at.commit());
            }
            Err(error @ LogError::Unreadable { .. }) => {
                tracing::error!(%error, "the live side stops: nothing behind a damaged record may be used");
                gateway.end_all();
                return;
            }
            Err(error) => {
                tracing::error!(%error, "the change log cannot be read; trying again in a second");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
