//! A published state: what a reader sees, from the moment a group of commits is durable.

use super::schemas::{self, Schemas, View};
use super::shared_scans::{SharedScans, Wanted};
use super::{keys, meta};
use crate::changelog::record::STORED;
use crate::changelog::{LogId, Position};
use crate::store::{Key, Page, Selection, Snapshot, StoreError};
use bytes::Bytes;
use dataflows::change::{Change, Image};
use fjall::{Keyspace, Readable};
use futures_util::future::BoxFuture;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What every snapshot of a store reads with.
pub(super) struct Reading {
    pub(super) log: LogId,
    pub(super) objects: Keyspace,
    /// Scans at a time: more would only share the same cores and push each other out of the cache
    pub(super) scans: Arc<Semaphore>,
    /// Selections that wait for a scan
    pub(super) shared: SharedScans,
}

/// A published state.
#[derive(Clone)]
pub(super) struct EmbeddedSnapshot {
    pub(super) reading: Arc<Reading>,
    pub(super) state: fjall::Snapshot,
    /// Where the commits stood
    pub(super) noted: meta::State,
    pub(super) schemas: Arc<Schemas>,
}

/// An object as it is stored, in its present form.
pub(super) fn parse(text: &[u8], view: &View) -> Result<Arc<Image>, StoreError> {
    let text = view.present(text).map_or_else(|| Bytes::copy_from_slice(text), Bytes::from);
    Image::parse(text, view, STORED).map(Arc::new).map_err(|error| StoreError::Broken(format!("a stored object cannot be read: {error}")))
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

    /// Shows each object of a bucket in the order of ids, until `show` has had enough. Blocks.
    pub(super) fn scan(&self, app: &str, bucket: &str, mut show: impl FnMut(Arc<Image>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let dates = schemas::of(&self.schemas, app).dates(bucket);
        for entry in self.state.prefix(&self.reading.objects, keys::bucket(app, bucket)) {
            if show(parse(&entry.value().map_err(|error| broken(&error))?, dates)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn scanning<T: Send + 'static>(
        &self,
        work: impl FnOnce(EmbeddedSnapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let snapshot = self.clone();
        Box::pin(async move {
            let permit = Arc::clone(&snapshot.reading.scans).acquire_owned().await.map_err(|_| StoreError::Closed)?;
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
        SharedScans::select(self, selection)
    }

    fn page(&self, page: Page) -> BoxFuture<'static, Result<Vec<(Arc<str>, Bytes)>, StoreError>> {
        self.scanning(move |snapshot| {
            let prefix = keys::bucket(&page.app, &page.bucket);
            let from = match &page.after {
                Some(id) => Bound::Excluded(keys::object(&Key { app: page.app.clone(), bucket: page.bucket.clone(), id: id.clone() })),
                None => Bound::Included(prefix.clone()),
            };
            let (mut objects, mut bytes) = (Vec::new(), 0);
            for entry in snapshot.state.range::<Vec<u8>, _>(&snapshot.reading.objects, (from, Bound::Unbounded)) {
                if objects.len() >= page.objects || bytes > page.bytes {
                    break;
                }
                let (key, text) = entry.into_inner().map_err(|error| broken(&error))?;
                let Some(id) = key.strip_prefix(&prefix[..]) else { break };
                let id = std::str::from_utf8(id).map_err(|_| StoreError::Broken("the key of an object is no text".into()))?;
                bytes += text.len();
                objects.push((id.into(), Bytes::copy_from_slice(&text)));
            }
            Ok(objects)
        })
    }

    fn count(&self, selection: Selection) -> BoxFuture<'static, Result<u64, StoreError>> {
        self.scanning(move |snapshot| {
            let mut count = 0;
            snapshot.scan(&selection.app, &selection.bucket, |image| {
                count += u64::from(Wanted::fits(&selection, &image));
                ControlFlow::Continue(())
            })?;
            Ok(count)
        })
    }
}
