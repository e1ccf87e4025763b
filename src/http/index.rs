//! `/index/:bucket`: the secondary indexes of a bucket (docs/indexes.md). Administrators only.

use super::Front;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::path::BucketPath;
use crate::store::{IndexChange, IndexDefinition, IndexKey, IndexReport, IndexState, KeyOrder};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long the answer waits for an index to be built: a client may expect its effect two seconds and a half later.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often is looked whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// What a client sends: `{"unique": false, "keys": [{"name": "asc"}], "drop": false}`.
#[derive(serde::Deserialize)]
struct Request {
    #[serde(default)]
    unique: bool,
    keys: Vec<Map<String, Value>>,
    #[serde(default)]
    drop: bool,
}

/// `GET /index/:bucket`
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    // Objects lie in the order of their ids: that index is always there.
    let by_id = json!({"unique": true, "keys": [{"id": "asc"}]});
    let declared = front.store.indexes(&identity.app.name, &bucket);
    let all: Vec<Value> = std::iter::once(by_id).chain(declared.iter().map(shown)).collect();
    Ok(body::json(StatusCode::OK, Value::from(all).to_string()))
}

/// `POST /index/:bucket`: declares or drops one. Waits a moment for it to be built, so that what stands in its way is the answer.
pub(super) async fn change(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let Request { unique, keys, drop } = body.json()?;
    let definition = IndexDefinition { unique, keys: read_keys(keys)? };
    definition.check().map_err(|error| ApiError::new(error::BAD_INDEX, error.to_string()))?;
    let app = identity.app.name.clone();
    if drop {
        front.store.change_indexes(app, bucket, IndexChange::Drop(definition.keys)).await?;
        return Ok(accepted());
    }
    if is_by_id(&definition) {
        return Ok(accepted());
    }
    front.store.change_indexes(app.clone(), bucket.clone(), IndexChange::Create(definition.clone())).await?;
    let built = tokio::time::timeout(PATIENCE, async {
        loop {
            let report = front.store.indexes(&app, &bucket).into_iter().find(|report| report.definition.keys == definition.keys);
            match report.map(|report| report.state) {
                Some(IndexState::Building { .. }) => tokio::time::sleep(LOOK).await,
                state => return state,
            }
        }
    });
    match built.await {
        Ok(Some(IndexState::Failed { reason })) => {
            Err(ApiError::new(error::INDEX_FAILED, format!("the index {definition} cannot be built: {reason}")))
        }
        _ => Ok(accepted()),
    }
}

/// `DELETE /index/:bucket`: drops all but the built-in ones.
pub(super) async fn drop_all(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    front.store.change_indexes(identity.app.name.clone(), bucket, IndexChange::DropAll).await?;
    Ok(accepted())
}

fn require_admin(identity: &Identity) -> Result<(), ApiError> {
    if identity.session.caller.is_admin() {
        return Ok(());
    }
    Err(ApiError::new(error::DENIED, "only administrators see and change indexes"))
}

fn accepted() -> Response<Body> {
    body::json(StatusCode::ACCEPTED, "{}")
}

/// The index that every bucket has.
fn is_by_id(definition: &IndexDefinition) -> bool {
    matches!(&definition.keys[..], [IndexKey { path, order: KeyOrder::Asc }] if &**path == "id")
}

/// One name to one order in each key. A last key `id` that only makes the order of ties visible (see [`shown`]) is not part of it, so
/// that what was listed can be sent back.
fn read_keys(keys: Vec<Map<String, Value>>) -> Result<Vec<IndexKey>, ApiError> {
    let bad = |message: String| ApiError::new(error::BAD_INDEX, message);
    let mut read = Vec::with_capacity(keys.len());
    for key in keys {
        let mut fields = key.into_iter();
        let (Some((path, order)), None) = (fields.next(), fields.next()) else {
            return Err(bad("each key of an index is an object with one field, such as {\"name\": \"asc\"}".into()));
        };
        let order = match order.as_str() {
            Some("asc") => KeyOrder::Asc,
            Some("desc") => KeyOrder::Desc,
            Some("geo") => KeyOrder::Geo,
            _ => return Err(bad(format!("the key {path:?} of the index is asc, desc or geo, not {order}"))),
        };
        read.push(IndexKey { path: path.into(), order });
    }
    Ok(read)
}

/// An index as clients see it. One that is not unique has the id behind its keys, in the direction of the last one; `state` and what belongs
/// to it stand there while it is not ready.
fn shown(report: &IndexReport) -> Value {
    let IndexReport { definition, state, built_in } = report;
    let mut keys: Vec<Value> = definition.keys.iter().map(|key| json!({&*key.path: key.order})).collect();
    let has_id = definition.keys.iter().any(|key| &*key.path == "id");
    if let (false, false, Some(last)) = (definition.unique, has_id, definition.keys.last()) {
        let order = if last.order == KeyOrder::Geo { KeyOrder::Asc } else { last.order };
        keys.push(json!({"id": order}));
    }
    let mut index = json!({"unique": definition.unique, "keys": keys});
    if let Some(index) = index.as_object_mut() {
        if *built_in {
            index.insert("builtIn".into(), true.into());
        }
        match state {
            IndexState::Ready => {}
            IndexState::Building { objects } => {
                index.insert("state".into(), "building".into());
                index.insert("objects".into(), (*objects).into());
            }
            IndexState::Failed { reason } => {
                index.insert("state".into(), "failed".into());
                index.insert("error".into(), reason.clone().into());
            }
        }
    }
    index
}
