//! `GET`, `PUT` and `DELETE /db/:bucket`: export, import and truncation of a bucket, for administrators.
//!
//! All three are streams with bounded memory that can be broken off and gone on with. What goes out is NDJSON, a line for each
//! object or each step; who accepts JSON alone, as the SDK does, gets a JSON array or one summary.

mod export;
mod import;
mod records;
mod report;
mod truncate;

pub(super) use export::export;
pub(super) use import::import;
pub(super) use truncate::truncate;

use super::Front;
use super::error::{self, ApiError};
use super::identity::Identity;
use crate::apps::{App, UnderWay};
use crate::store::{Committed, StoreError, Write};
use axum::http::{HeaderMap, header};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Transfers at a time, all together and of one app: each may hold a snapshot, which keeps old data on the disk.
const ALL: usize = 16;
const OF_AN_APP: usize = 2;
/// Objects that are read or written together, and bytes of their texts.
const PIECE: usize = 256;
const PIECE_BYTES: usize = 256 << 10;
/// Who takes nothing for so long has gone away.
const STALLED: Duration = Duration::from_secs(60);
/// How long a write waits before it knocks at a full queue again.
const FULL: Duration = Duration::from_millis(50);

/// Whether an NDJSON stream would not be understood: the caller accepts JSON and nothing else.
fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("ndjson")
}

/// The transfers that are under way, by app.
#[derive(Debug, Default)]
pub struct Transfers(Mutex<HashMap<Arc<str>, usize>>);

/// Kept while a transfer is under way. Its app is not taken away under it.
struct Turn {
    transfers: Arc<Transfers>,
    app: Arc<App>,
    _under_way: UnderWay,
}

impl Transfers {
    fn begin(self: &Arc<Transfers>, app: &Arc<App>) -> Option<Turn> {
        let under_way = app.begin()?;
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.values().sum::<usize>() >= ALL || turns.get(&app.name).is_some_and(|turns| *turns >= OF_AN_APP) {
            return None;
        }
        *turns.entry(app.name.clone()).or_default() += 1;
        Some(Turn { transfers: self.clone(), app: app.clone(), _under_way: under_way })
    }
}

impl Turn {
    /// Whether the app goes on to be there.
    fn goes_on(&self) -> bool {
        self.app.is_open()
    }

    /// Resolves when it does not.
    async fn ended(&self) {
        self.app.closed().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.transfers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = turns.get_mut(&self.app.name) {
            *count -= 1;
            if *count == 0 {
                turns.remove(&self.app.name);
            }
        }
    }
}

/// Administrators only, a few at a time.
fn begin(front: &Front, identity: &Identity, right: &str, bucket: &str) -> Result<Turn, ApiError> {
    if !identity.session.caller.is_admin() {
        return Err(ApiError::class_right(right, bucket));
    }
    let busy = || ApiError::new(error::BUSY, "other exports, imports or truncations are under way; try again when one has ended");
    front.transfers.begin(&identity.app).ok_or_else(busy)
}

/// The app is being deleted.
fn ending() -> ApiError {
    ApiError::new(error::CLOSING, "the app is being deleted")
}

/// Commits writes side by side, each by itself; waits where the store's queue is full.
async fn commit_all(front: &Arc<Front>, writes: Vec<Write>) -> Vec<Result<Committed, StoreError>> {
    let commit = |write: Write| async move {
        loop {
            match front.store.commit(write.clone()).await {
                Err(StoreError::Overloaded) => tokio::time::sleep(FULL).await,
                done => return done,
            }
        }
    };
    join_all(writes.into_iter().map(commit)).await
}

/// Whether the error is that of one object; otherwise the next one would meet it as well.
fn is_of_one(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(_) | StoreError::Unfit(_) | StoreError::Panicked(_))
}
