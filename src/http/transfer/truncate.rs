//! `DELETE /db/:bucket`: deletes the objects that were there when it began, in pieces.
//!
//! Ordinary deletes, so that live queries see each object leave and writers are not held up. Broken off, it is gone on
//! with by asking again.

use super::super::Front;
use super::super::error::{self, ApiError};
use super::super::identity::Identity;
use super::super::path::BucketPath;
use super::report::{self, Report};
use super::{PIECE, PIECE_BYTES, Turn, begin, commit_all, ending, is_of_one, wants_json};
use crate::object::decide::{self, Expected};
use crate::object::id;
use crate::store::{Decide, Page, Write};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use dataflows::change::Writer;
use serde_json::{Value, json};
use std::sync::Arc;

/// Buckets without whose objects nobody could log in or do anything about it.
const KEPT: [&str; 2] = ["User", "Role"];

pub(in crate::http) async fn truncate(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    front.require_own(&identity.app, &bucket)?;
    let turn = begin(&front, &identity, "delete", &bucket)?;
    if KEPT.contains(&&*bucket) {
        return Err(ApiError::new(error::DENIED, format!("the bucket {bucket} is not truncated: delete what is to go one by one")));
    }
    Ok(report::answer(wants_json(&headers), |report| async move {
        run(&front, &identity, &bucket, &report, &turn).await;
    })
    .await)
}

async fn run(front: &Arc<Front>, identity: &Identity, bucket: &Arc<str>, report: &Report, turn: &Turn) {
    let (mut deleted, mut failed) = (0u64, 0u64);
    let told = |deleted: u64, failed: u64, done: Option<bool>| -> Value {
        let mut told = json!({"deleted": deleted, "failed": failed});
        if let Some(done) = done {
            told["done"] = done.into();
        }
        told
    };
    let snapshot = match front.store.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(error) => return report.fail(error.into(), told(0, 0, None)).await,
    };
    let mut after = None;
    loop {
        if !turn.goes_on() {
            return report.fail(ending(), told(deleted, failed, None)).await;
        }
        let page = Page { app: identity.app.name.clone(), bucket: bucket.clone(), after, objects: PIECE, bytes: PIECE_BYTES };
        let objects = match snapshot.page(page).await {
            Ok(objects) => objects,
            Err(error) => return report.fail(error.into(), told(deleted, failed, None)).await,
        };
        let Some((last, _)) = objects.last() else { break };
        after = Some(last.clone());
        let write = |id: Arc<str>| {
            let key = id::key(&identity.app.name, bucket, id.clone());
            let decide: Decide = Arc::new(move |before, stamp| decide::delete(&id, &Expected::Anything, before, stamp));
            Write { key, decide, actor: identity.actor(), writer: Writer { session: identity.session.hash, request: 0 } }
        };
        let ids: Vec<Arc<str>> = objects.into_iter().map(|(id, _)| id).collect();
        let done = commit_all(front, ids.iter().cloned().map(write).collect()).await;
        for (id, done) in ids.into_iter().zip(done) {
            match done {
                Ok(committed) => deleted += u64::from(committed.change.is_some()),
                Err(error) if is_of_one(&error) => {
                    failed += 1;
                    let error = ApiError::from(error);
                    report.tell(json!({"failed_at": id, "reason": error.kind.code, "message": error.message})).await;
                }
                Err(error) => return report.fail(error.into(), told(deleted, failed, None)).await,
            }
        }
        if !report.tell(told(deleted, failed, None)).await {
            tracing::info!(bucket = &**bucket, deleted, "a truncation was broken off by its client");
            return;
        }
    }
    report.tell(told(deleted, failed, Some(true))).await;
}
