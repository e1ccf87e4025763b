//! A published state: what a reader sees, from the moment a group of commits is durable.

use super::indexes::catalogue::Catalogue;
use super::schemas::{self, Schemas, View};
use super::shared_scans::SharedScans;
use super::statistics::Counters;
use super::{keys, meta};
use crate::changelog::record::STORED;
use crate::changelog::{LogId, Position};
use crate::store::{Key, Page, QueryReport, Selection, Snapshot, StoreError};
use bytes::Bytes;
use dataflows::access::Caller;
use dataflows::change::{Change, Image};
use dataflows::query::ast::{Literal, Path, Predicate, Test};
use fjall::{Keyspace, Readable};
use futures_util::future::BoxFuture;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What every snapshot of a store reads with.
pub(super) struct Reading {
    pub(super) log: LogId,
    pub(super) objects: Keyspace,
    pub(super) indexes: Keyspace,
    /// Scans at a time: more would only share the same cores and push each other out of the cache
    pub(super) scans: Arc<Semaphore>,
    /// Answers by ids and indexes at a time: they do not wait behind scans
    pub(super) lookups: Arc<Semaphore>,
    /// Selections that wait for a scan
    pub(super) shared: SharedScans,
    pub(super) counters: Arc<Counters>,
}

/// A published state.
#[derive(Clone)]
pub(super) struct EmbeddedSnapshot {
    pub(super) reading: Arc<Reading>,
    pub(super) state: fjall::Snapshot,
    /// Where the commits stood
    pub(super) noted: meta::State,
    pub(super) schemas: Arc<Schemas>,
    pub(super) indexes: Arc<Catalogue>,
}

/// An object as it is stored, in its present form.
pub(super) fn parse(text: &[u8], view: &View) -> Result<Arc<Image>, StoreError> {
    Image::parse(present(text, view), view, STORED)
        .map(Arc::new)
        .map_err(|error| StoreError::Broken(format!("a stored object cannot be read: {error}")))
}

/// A stored text in its present form.
fn present(text: &[u8], view: &View) -> Bytes {
    view.present(text).map_or_else(|| Bytes::copy_from_slice(text), Bytes::from)
}

pub(super) fn broken(error: &fjall::Error) -> StoreError {
    StoreError::Broken(error.to_string())
}

impl EmbeddedSnapshot {
    /// Blocks.
    fn read(&self, key: &Key) -> Result<Option<Arc<Image>>, StoreError> {
        let text = self.state.get(&self.reading.objects, keys::object(key)).map_err(|error| broken(&error))?;
        text.map(|text| parse(&text, schemas::of(&self.schemas, &key.app).dates(&key.bucket))).transpose()
    }

    /// Shows each object of a bucket with its id in the order of ids, until `show` has had enough. Blocks.
    pub(super) fn scan(
        &self,
        app: &str,
        bucket: &str,
        mut show: impl FnMut(&[u8], Arc<Image>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let dates = schemas::of(&self.schemas, app).dates(bucket);
        let prefix = keys::bucket(app, bucket);
        for entry in self.state.prefix(&self.reading.objects, &prefix) {
            let (key, text) = entry.into_inner().map_err(|error| broken(&error))?;
            if show(key.get(prefix.len()..).unwrap_or_default(), parse(&text, dates)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn scanning<T: Send + 'static>(
        &self,
        work: impl FnOnce(EmbeddedSnapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.reading(&self.reading.scans, work)
    }

    /// Work on a thread that may block, when it has its turn.
    fn reading<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        work: impl FnOnce(EmbeddedSnapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (snapshot, turns) = (self.clone(), Arc::clone(turns));
        Box::pin(async move {
            let permit = turns.acquire_owned().await.map_err(|_| StoreError::Closed)?;
            let scan = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work(snapshot)
            });
            scan.await.map_err(|error| StoreError::Panicked(error.to_string()))?
        })
    }
}

impl Snapshot for EmbeddedSnapshot {
    fn position(&self) -> Position {
        Position::single(self.reading.log, self.noted.commit)
    }

    fn contains(&self, change: &Change) -> bool {
        change.commit <= self.noted.commit
    }

    fn get(&self, key: &Key) -> BoxFuture<'static, Result<Option<Arc<Image>>, StoreError>> {
        let (snapshot, key) = (self.clone(), key.clone());
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || snapshot.read(&key));
            read.await.map_err(|error| StoreError::Panicked(error.to_string()))?
        })
    }

    fn select(&self, selection: Selection) -> BoxFuture<'static, Result<Vec<Arc<Image>>, StoreError>> {
        let snapshot = self.clone();
        Box::pin(async move {
            if !snapshot.may_narrow(&selection) {
                return SharedScans::select(&snapshot, selection).await;
            }
            let answering = snapshot.reading(&snapshot.reading.lookups, move |snapshot| {
                let answer = snapshot.answer(&selection)?;
                let shared = answer.is_none() && snapshot.is_whole(&selection);
                Ok((answer, shared, selection))
            });
            match answering.await? {
                (Some(found), ..) => Ok(found),
                (None, true, selection) => SharedScans::select(&snapshot, selection).await,
                (None, false, selection) => snapshot.scanning(move |snapshot| snapshot.scanned(&selection)).await,
            }
        })
    }

    fn find(
        &self,
        app: &Arc<str>,
        bucket: &Arc<str>,
        path: &str,
        text: &str,
    ) -> BoxFuture<'static, Result<Option<Arc<Image>>, StoreError>> {
        let predicate = Predicate::Field(Path::new(path), Test::Eq(Literal::String(text.into())));
        let all = Selection::all(Arc::clone(app), Arc::clone(bucket), Arc::new(predicate), Arc::new(Caller::admin()), 2);
        let found = self.select(Selection { count: Some(2), ..all });
        Box::pin(async move {
            let mut found = found.await?;
            Ok(found.pop().filter(|_| found.is_empty()))
        })
    }

    fn explain(&self, selection: Selection) -> BoxFuture<'static, Result<QueryReport, StoreError>> {
        self.scanning(move |snapshot| snapshot.explained(&selection))
    }

    fn page(&self, page: Page) -> BoxFuture<'static, Result<Vec<(Arc<str>, Bytes)>, StoreError>> {
        self.scanning(move |snapshot| {
            let prefix = keys::bucket(&page.app, &page.bucket);
            let from = match &page.after {
                Some(id) => Bound::Excluded(keys::object(&Key { app: page.app.clone(), bucket: page.bucket.clone(), id: id.clone() })),
                None => Bound::Included(prefix.clone()),
            };
            let view = schemas::of(&snapshot.schemas, &page.app).dates(&page.bucket);
            let (mut objects, mut bytes) = (Vec::new(), 0);
            for entry in snapshot.state.range::<Vec<u8>, _>(&snapshot.reading.objects, (from, Bound::Unbounded)) {
                if objects.len() >= page.objects || bytes > page.bytes {
                    break;
                }
                let (key, text) = entry.into_inner().map_err(|error| broken(&error))?;
                let Some(id) = key.strip_prefix(&prefix[..]) else { break };
                let id = std::str::from_utf8(id).map_err(|_| StoreError::Broken("the key of an object is no text".into()))?;
                bytes += text.len();
                objects.push((id.into(), present(&text, view)));
            }
            Ok(objects)
        })
    }

    fn count(&self, selection: Selection) -> BoxFuture<'static, Result<u64, StoreError>> {
        let snapshot = self.clone();
        Box::pin(async move {
            let mut selection = selection;
            if snapshot.may_narrow(&selection) {
                let counting = snapshot.reading(&snapshot.reading.lookups, move |snapshot| Ok((snapshot.counted(&selection)?, selection)));
                match counting.await? {
                    (Some(count), _) => return Ok(count),
                    (None, unanswered) => selection = unanswered,
                }
            }
            snapshot.scanning(move |snapshot| snapshot.scanned_count(&selection)).await
        })
    }
}
