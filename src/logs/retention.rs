//! How long entries are kept: by age, and by the bytes of one app. The oldest go first, in pieces, by ordinary deletes.
//!
//! The ids of entries are in the order of time, so the oldest are the first of the bucket, and reading what is to go reads
//! nothing else. Bytes are counted once at the start and from then on by what is written here; imports and deletes
//! of administrators are seen at the next count, a day later.

use super::{BUCKET, Logs, lock, time_of};
use crate::clock::Clock;
use crate::object::id;
use crate::store::{Actor, Decide, Decision, Page, Snapshot, Store, StoreError, Write};
use bytes::Bytes;
use dataflows::change::Writer;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Entries that are deleted together; between two such pieces other writers have their turn.
const PIECE: usize = 256;
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of entries that are read at a time.
const READ: usize = 1 << 20;
/// How often ages are looked at, and how often everything is counted anew.
const LOOK: Duration = Duration::from_secs(10);
const COUNT: Duration = Duration::from_secs(24 * 3600);

/// The apps whose entries are looked after.
pub type ListApps = Box<dyn Fn() -> Vec<Arc<str>> + Send + Sync>;

/// What it works on.
pub struct Retention {
    /// Where the entries are
    pub store: Arc<dyn Store>,
    /// The limits, and how much there is
    pub logs: Arc<Logs>,
    /// The one clock
    pub clock: Arc<Clock>,
    /// All apps
    pub apps: ListApps,
}

impl std::fmt::Debug for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retention").field("logs", &self.logs).finish_non_exhaustive()
    }
}

impl Retention {
    /// Runs until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut counted = Instant::now();
        loop {
            if counted.elapsed() >= COUNT {
                lock(&self.logs.sizes).clear();
                counted = Instant::now();
            }
            for app in (self.apps)() {
                if stop.is_cancelled() {
                    return;
                }
                if let Err(error) = self.look_after(&app, &stop).await {
                    tracing::warn!(%error, app = &*app, "old log entries could not be deleted; trying again soon");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.logs.over.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Deletes what is too old or too much of one app; public for those who do not wait for the next look.
    pub async fn look_after(&self, app: &Arc<str>, stop: &CancellationToken) -> Result<(), StoreError> {
        let options = self.logs.options();
        let age = i64::try_from(options.age_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
        let bound = (options.age_seconds > 0).then(|| self.clock.now_ms().saturating_sub(age));
        if !lock(&self.logs.sizes).contains_key(app) {
            let size = self.count(app).await?;
            lock(&self.logs.sizes).insert(app.clone(), size);
        }
        let mut after = None;
        loop {
            let over = lock(&self.logs.sizes).get(app).copied().unwrap_or(0).saturating_sub_unsigned(options.size_bytes);
            let over = if options.size_bytes > 0 { over } else { 0 };
            let snapshot = self.store.snapshot().await?;
            // Mostly the oldest entry is young enough, and nothing is read but that.
            let objects = if after.is_none() && over <= 0 { 1 } else { PIECE };
            let entries = snapshot.page(Page { objects, ..page(app, after.take()) }).await?;
            drop(snapshot);
            let Some((last, _)) = entries.last() else { return Ok(()) };
            let last = last.clone();
            let (mut excess, mut young) = (over, false);
            let mut gone = Vec::new();
            for (id, text) in entries {
                let old = bound.is_some_and(|bound| made(&id, &text).is_some_and(|made| made < bound));
                if !old && excess <= 0 {
                    // Behind an entry of our own that is young enough there is none that is older; of others nobody knows.
                    young |= time_of(&id).is_some();
                    continue;
                }
                excess = excess.saturating_sub_unsigned(text.len() as u64);
                gone.push((id, text.len()));
            }
            self.delete(app, gone).await?;
            if young || stop.is_cancelled() {
                return Ok(());
            }
            after = Some(last);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn delete(&self, app: &Arc<str>, entries: Vec<(Arc<str>, usize)>) -> Result<(), StoreError> {
        let bucket: Arc<str> = BUCKET.into();
        let decide: Decide = Arc::new(|_, _| Ok(Decision::Delete));
        let write = |id: Arc<str>| {
            let key = id::key(app, &bucket, id);
            self.store.commit(Write { key, decide: decide.clone(), actor: Actor::server(), writer: Writer::default() })
        };
        let sizes: Vec<usize> = entries.iter().map(|(_, size)| *size).collect();
        let done = join_all(entries.into_iter().map(|(id, _)| write(id))).await;
        let freed: usize = done.iter().zip(sizes).filter(|(done, _)| done.is_ok()).map(|(_, size)| size).sum();
        if let Some(size) = lock(&self.logs.sizes).get_mut(app) {
            *size = size.saturating_sub_unsigned(freed as u64).max(0);
        }
        done.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    async fn count(&self, app: &Arc<str>) -> Result<i64, StoreError> {
        let snapshot: Arc<dyn Snapshot> = self.store.snapshot().await?;
        let (mut after, mut bytes) = (None, 0i64);
        loop {
            let entries = snapshot.page(Page { objects: usize::MAX, ..page(app, after) }).await?;
            let Some((last, _)) = entries.last() else { return Ok(bytes) };
            after = Some(last.clone());
            bytes = entries.iter().fold(bytes, |bytes, (_, text)| bytes.saturating_add_unsigned(text.len() as u64));
            tokio::task::yield_now().await;
        }
    }
}

fn page(app: &Arc<str>, after: Option<Arc<str>>) -> Page {
    Page { app: app.clone(), bucket: BUCKET.into(), after, objects: PIECE, bytes: READ }
}

/// When an entry was made: its id says it, else the time of its creation.
fn made(id: &str, text: &Bytes) -> Option<i64> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Times {
        created_at: String,
    }
    let created = || serde_json::from_slice::<Times>(text).ok()?.created_at.parse::<jiff::Timestamp>().ok();
    time_of(id).or_else(|| Some(created()?.as_millisecond()))
}
