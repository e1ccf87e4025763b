//! Expiry: objects whose time has come are deleted, by ordinary writes, soon after it.
//!
//! A class names the field that holds the time ([`crate::schema::EXPIRES`]). What is there is read once, at the start and when
//! a class begins or ceases to name a field; from then on the change log's two images say which times go and which come. So
//! nothing needs to be kept durably, and nothing is read again and again. The times of most objects may be far away: a
//! timetable is bounded, and knows up to when it is complete.

mod timetable;

use crate::changelog::{ChangeLog, LogError};
use crate::clock::Clock;
use crate::object::expiry;
use crate::store::{Actor, Decide, Key, Page, Store, StoreError, Write};
use dataflows::change::{Change, Image, Writer};
use dataflows::document::DocumentLimits;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use timetable::Timetable;
use tokio_util::sync::CancellationToken;

/// Objects that are deleted together; between two such pieces other writers have their turn.
const PIECE: usize = 128;
const PAUSE: Duration = Duration::from_millis(5);
/// The longest sleep: the clock may be set.
const TICK: Duration = Duration::from_secs(1);
/// Times that are remembered at most, all apps together: about 150 bytes each.
const REMEMBERED: usize = 1_000_000;
/// Objects and bytes that are read at a time, from the store and from the log.
const READ_OBJECTS: usize = 4_096;
const READ_BYTES: usize = 1 << 20;

/// Which field says when objects end, for each app and bucket that has one.
type Declared = BTreeMap<Arc<str>, BTreeMap<Box<str>, Box<str>>>;

/// What it works on.
pub struct Expiry {
    /// Where the objects are
    pub store: Arc<dyn Store>,
    /// The changes of that store
    pub changelog: Arc<dyn ChangeLog>,
    /// The one clock
    pub clock: Arc<Clock>,
}

impl std::fmt::Debug for Expiry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expiry").finish_non_exhaustive()
    }
}

/// Why a timetable is of no more use.
enum End {
    /// It has to be made anew
    Again,
    Stopped,
}

impl Expiry {
    /// Runs until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let declared = self.declared();
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.keep(&declared) => ended,
            };
            let pause = match ended {
                Ok(End::Again) => Duration::ZERO,
                Ok(End::Stopped) => return,
                Err(error) => {
                    tracing::warn!(%error, "objects whose time has come are not deleted at the moment; trying again soon");
                    TICK
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn declared(&self) -> Declared {
        let schemas = self.store.schemas();
        let of = |schema: &crate::schema::Schema| schema.expiring().map(|(bucket, field)| (bucket.into(), field.into())).collect();
        schemas
            .iter()
            .map(|(app, schema)| (app.clone(), of(schema)))
            .filter(|(_, fields): &(_, BTreeMap<_, _>)| !fields.is_empty())
            .collect()
    }

    /// Makes a timetable and keeps to it, as long as classes name these fields.
    async fn keep(&self, declared: &Declared) -> Result<End, StoreError> {
        if declared.is_empty() {
            // There is nothing to follow the log for.
            tokio::time::sleep(TICK).await;
            return Ok(End::Again);
        }
        let snapshot = self.store.snapshot().await?;
        let position = snapshot.position();
        // A change of a schema that this state has in it already would never be heard of.
        if self.declared() != *declared {
            return Ok(End::Again);
        }
        let mut timetable = Timetable::new(REMEMBERED);
        for (app, fields) in declared {
            let schema = self.store.schema(app);
            for (bucket, field) in fields {
                let (bucket, dates): (Arc<str>, _) = ((**bucket).into(), schema.dates(bucket));
                let mut after = None;
                loop {
                    let page = Page { app: app.clone(), bucket: bucket.clone(), after, objects: READ_OBJECTS, bytes: READ_BYTES };
                    let objects = snapshot.page(page).await?;
                    let Some((last, _)) = objects.last() else { break };
                    after = Some(last.clone());
                    for (id, text) in objects {
                        let Ok(image) = Image::parse(text, &dates, DocumentLimits { bytes: usize::MAX, depth: 64 }) else { continue };
                        timetable.change(None, expiry::time(&image, field), Key { app: app.clone(), bucket: bucket.clone(), id });
                    }
                }
            }
        }
        drop(snapshot);
        let mut log = self.changelog.follow(position);
        loop {
            if timetable.is_used_up() {
                return Ok(End::Again);
            }
            let left = timetable.next().map(|next| u64::try_from(next.saturating_sub(self.clock.now_ms())).unwrap_or(0));
            let due = async {
                match left {
                    Some(left) => tokio::time::sleep(Duration::from_millis(left).min(TICK)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {
                    if !self.delete(declared, &mut timetable).await {
                        return Ok(End::Again);
                    }
                }
                batch = log.next(READ_BYTES) => match batch {
                    Ok(batch) => {
                        if !batch.control.is_empty() && self.declared() != *declared {
                            return Ok(End::Again);
                        }
                        batch.changes.iter().for_each(|change| note(&mut timetable, declared, change));
                    }
                    Err(LogError::Closed) => return Ok(End::Stopped),
                    Err(LogError::Gone { .. }) => return Ok(End::Again),
                    Err(error) => return Err(StoreError::Broken(error.to_string())),
                },
            }
        }
    }

    /// Deletes a piece of what is due. False: classes name other fields by now.
    async fn delete(&self, declared: &Declared, timetable: &mut Timetable) -> bool {
        let due = timetable.take(self.clock.now_ms(), PIECE);
        if due.is_empty() {
            return true;
        }
        if self.declared() != *declared {
            return false;
        }
        let write = |key: &Key| {
            let field = declared.get(&key.app).and_then(|fields| fields.get(&*key.bucket)).cloned().unwrap_or_default();
            let decide: Decide = Arc::new(move |before, stamp| expiry::delete(&field, before, stamp));
            self.store.commit(Write { key: key.clone(), decide, actor: Actor::server(), writer: Writer::default() })
        };
        let done = join_all(due.iter().map(|(_, key)| write(key))).await;
        let again = self.clock.now_ms().saturating_add(i64::try_from(TICK.as_millis()).unwrap_or(0));
        for ((_, key), done) in due.into_iter().zip(done) {
            match done {
                // One that was changed meanwhile is in the log with its new time.
                Ok(_) => {}
                Err(error @ (StoreError::Refused(_) | StoreError::Unfit(_) | StoreError::Panicked(_))) => {
                    tracing::error!(%error, id = &*key.id, "an object whose time has come cannot be deleted");
                }
                Err(error) => {
                    tracing::debug!(%error, id = &*key.id, "an object whose time has come is deleted later");
                    timetable.change(None, Some(again), key);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        true
    }
}

fn note(timetable: &mut Timetable, declared: &Declared, change: &Change) {
    let Some(field) = declared.get(&change.app).and_then(|fields| fields.get(&*change.bucket)) else { return };
    let time = |image: &Option<Arc<Image>>| expiry::time(image.as_deref()?, field);
    let key = Key { app: change.app.clone(), bucket: change.bucket.clone(), id: change.id.clone() };
    timetable.change(time(&change.before), time(&change.after), key);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
