//! `/schema`: reading and extending the classes of an app (CONTRACT section 5).

use super::Front;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::path::BucketPath;
use crate::schema::{ClassRequest, Field, Schema, SchemaError, merge};
use crate::store::{Refusal, StoreError};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::value::{RawValue, to_raw_value};
use std::sync::{Arc, Mutex, PoisonError};

/// Every class, as clients get it. Text and never a tree: the order of fields is part of a class, and a tree sorts them.
pub(super) fn all(front: &Front, identity: &Identity) -> Result<Box<RawValue>, ApiError> {
    listed(&front.store.schema(&identity.app.name))
}

fn listed(schema: &Schema) -> Result<Box<RawValue>, ApiError> {
    let classes: Vec<_> = schema.classes.values().map(|class| &**class).collect();
    to_raw_value(&classes).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))
}

fn one(schema: &Schema, bucket: &str) -> Result<Box<RawValue>, ApiError> {
    let class = schema
        .class(bucket)
        .ok_or_else(|| ApiError::new(error::NO_SUCH_BUCKET, format!("there is no class /db/{bucket}; declare it with POST /schema")))?;
    to_raw_value(&**class).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))
}

/// `GET /schema`
pub(super) async fn read_all(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    Ok(body::json(StatusCode::OK, all(&front, &identity)?.get().to_owned()))
}

/// `GET /schema/:bucket`
pub(super) async fn read_one(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    Ok(body::json(StatusCode::OK, one(&front.store.schema(&identity.app.name), &bucket)?.get().to_owned()))
}

/// `POST /schema`: many classes, one class or one operation; the answer is the whole schema.
pub(super) async fn merge_all(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let schema = commit(&front, identity, requests(&body)?).await?;
    Ok(body::json(StatusCode::OK, listed(&schema)?.get().to_owned()))
}

/// `POST /schema/:bucket`: one class; the answer is that class.
pub(super) async fn merge_one(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    let request: ClassRequest = body.json()?;
    if request.class.strip_prefix("/db/") != Some(&*bucket) {
        return Err(ApiError::new(error::BAD_REQUEST, format!("the body declares {}, the URL names /db/{bucket}", request.class)));
    }
    let schema = commit(&front, identity, vec![request]).await?;
    Ok(body::json(StatusCode::OK, one(&schema, &bucket)?.get().to_owned()))
}

#[derive(serde::Deserialize)]
struct AddField {
    bucket: String,
    field: Field,
}

#[derive(serde::Deserialize)]
struct Head {
    #[serde(default)]
    operation: Option<String>,
}

fn requests(body: &Whole) -> Result<Vec<ClassRequest>, ApiError> {
    if body.0.trim_ascii_start().starts_with(b"[") {
        return body.json();
    }
    match body.json::<Head>()?.operation.as_deref() {
        None => Ok(vec![body.json()?]),
        Some("addField") => {
            let AddField { bucket, field } = body.json()?;
            let class = if bucket.starts_with("/db/") { bucket } else { format!("/db/{bucket}") };
            Ok(vec![ClassRequest { fields: [(field.name.clone(), field)].into_iter().collect(), ..ClassRequest::of(class) }])
        }
        Some(operation) => Err(ApiError::new(
            error::NOT_SUPPORTED,
            format!("the schema operation {operation:?} is not supported; POST classes, or one addField"),
        )),
    }
}

/// Commits in the store's own turn, so that two who declare at once see each other.
async fn commit(front: &Front, identity: Identity, requests: Vec<ClassRequest>) -> Result<Arc<Schema>, ApiError> {
    let caller = identity.session.caller.clone();
    // What would change nothing is judged all the same, and then writes nothing.
    let known = front.store.schema(&identity.app.name);
    if merge(&known, &requests, &caller)? == *known {
        return Ok(known);
    }
    let refused: Arc<Mutex<Option<SchemaError>>> = Arc::default();
    let told = refused.clone();
    let change = Arc::new(move |schema: &Schema| {
        merge(schema, &requests, &caller).map_err(|error| {
            let text = error.to_string();
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Refusal::Invalid(text)
        })
    });
    match front.store.commit_schema(identity.app.name.clone(), change).await {
        Ok(schema) => Ok(schema),
        Err(StoreError::Refused(refusal)) => {
            let error = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(error.map_or_else(|| refusal.into(), ApiError::from))
        }
        Err(error) => Err(error.into()),
    }
}

impl From<SchemaError> for ApiError {
    fn from(error: SchemaError) -> Self {
        let kind = match error {
            SchemaError::Incompatible(_) => error::SCHEMA_INCOMPATIBLE,
            SchemaError::Denied { .. } => error::DENIED,
            SchemaError::Invalid(_) => error::BAD_REQUEST,
        };
        ApiError::new(kind, error.to_string())
    }
}
