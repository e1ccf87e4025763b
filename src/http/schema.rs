//! `/schema`: reading and changing the classes of an app (docs/schema.md). What a change comes to is decided in [`crate::schema`].

use super::Front;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::path::BucketPath;
use crate::schema::{ClassRequest, Field, Request, Schema, SchemaError, change};
use crate::store::{Refusal, StoreError};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use dataflows::access::Caller;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    let schema = commit(&front, &identity, posted(&body)?).await?;
    Ok(body::json(StatusCode::OK, listed(&schema)?.get().to_owned()))
}

/// `POST /schema/:bucket`: one class; the answer is that class.
pub(super) async fn merge_one(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    let schema = commit(&front, &identity, Request::Merge(vec![class_of(&bucket, &body)?])).await?;
    Ok(body::json(StatusCode::OK, one(&schema, &bucket)?.get().to_owned()))
}

/// `PUT /schema`: these classes and the built-in ones, and no others; the answer is the whole schema.
pub(super) async fn replace_all(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let schema = commit(&front, &identity, Request::Replace { classes: body.json()?, whole: true }).await?;
    Ok(body::json(StatusCode::OK, listed(&schema)?.get().to_owned()))
}

/// `PUT /schema/:bucket`: the class is this; the answer is that class.
pub(super) async fn replace_one(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    let request = Request::Replace { classes: vec![class_of(&bucket, &body)?], whole: false };
    let schema = commit(&front, &identity, request).await?;
    Ok(body::json(StatusCode::OK, one(&schema, &bucket)?.get().to_owned()))
}

/// `DELETE /schema/:bucket`
pub(super) async fn delete_one(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    commit(&front, &identity, Request::Delete { class: format!("/db/{bucket}") }).await?;
    Ok(body::empty())
}

#[derive(serde::Deserialize)]
struct AddField {
    bucket: String,
    field: Field,
}

#[derive(serde::Deserialize)]
struct RenameField {
    bucket: String,
    from: String,
    to: String,
}

#[derive(serde::Deserialize)]
struct Head {
    #[serde(default)]
    operation: Option<String>,
}

fn class_of(bucket: &str, body: &Whole) -> Result<ClassRequest, ApiError> {
    let request: ClassRequest = body.json()?;
    if request.class.strip_prefix("/db/") != Some(bucket) {
        return Err(ApiError::new(error::BAD_REQUEST, format!("the body declares {}, the URL names /db/{bucket}", request.class)));
    }
    Ok(request)
}

fn class_name(bucket: String) -> String {
    if bucket.starts_with("/db/") { bucket } else { format!("/db/{bucket}") }
}

fn posted(body: &Whole) -> Result<Request, ApiError> {
    if body.0.trim_ascii_start().starts_with(b"[") {
        return Ok(Request::Merge(body.json()?));
    }
    match body.json::<Head>()?.operation.as_deref() {
        None => Ok(Request::Merge(vec![body.json()?])),
        Some("addField") => {
            let AddField { bucket, field } = body.json()?;
            let fields = [(field.name.clone(), field)].into_iter().collect();
            Ok(Request::Merge(vec![ClassRequest { fields, ..ClassRequest::of(class_name(bucket)) }]))
        }
        Some("renameField") => {
            let RenameField { bucket, from, to } = body.json()?;
            Ok(Request::Rename { class: class_name(bucket), from, to })
        }
        Some("replaceClass") => Ok(Request::Replace { classes: vec![body.json()?], whole: false }),
        Some(operation) => Err(ApiError::new(
            error::NOT_SUPPORTED,
            format!("the schema operation {operation:?} is not supported; POST classes, or one of addField, renameField, replaceClass"),
        )),
    }
}

/// How long a change waits for a former one of the same field to be carried out on all objects.
const PATIENCE: Duration = Duration::from_secs(5);

async fn commit(front: &Front, identity: &Identity, request: Request) -> Result<Arc<Schema>, ApiError> {
    let until = Instant::now() + PATIENCE;
    let request = Arc::new(request);
    loop {
        match try_commit(front, identity, &request).await {
            Err(Failed::Schema(SchemaError::Busy(_))) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(Failed::Schema(error)) => return Err(error.into()),
            Err(Failed::Other(error)) => return Err(*error),
            Ok(schema) => return Ok(schema),
        }
    }
}

enum Failed {
    Schema(SchemaError),
    Other(Box<ApiError>),
}

/// Commits in the store's own turn, so that two who declare at once see each other.
async fn try_commit(front: &Front, identity: &Identity, request: &Arc<Request>) -> Result<Arc<Schema>, Failed> {
    // What would change nothing is judged all the same, and then writes nothing.
    let known = front.store.schema(&identity.app.name);
    let changed = change(&known, request, &identity.session.caller).map_err(Failed::Schema)?;
    if changed == *known {
        return Ok(known);
    }
    for moved in changed.moves.iter().filter(|moved| moved.since > known.version) {
        // The next record would bring the former name back.
        front.require_own(&identity.app, &moved.class).map_err(|error| Failed::Other(Box::new(error)))?;
    }
    let refused: Arc<Mutex<Option<SchemaError>>> = Arc::default();
    let (told, request) = (refused.clone(), request.clone());
    // Judged by the roles of then, not by those that he had when he asked.
    let decide = Arc::new(move |schema: &Schema, caller: &Caller| {
        change(schema, &request, caller).map_err(|error| {
            let text = error.to_string();
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Refusal::Invalid(text)
        })
    });
    match front.store.commit_schema_by(identity.app.name.clone(), identity.actor(), decide).await {
        Ok(schema) => Ok(schema),
        Err(StoreError::Refused(refusal)) => {
            let error = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(error.map_or_else(|| Failed::Other(Box::new(refusal.into())), Failed::Schema))
        }
        Err(error) => Err(Failed::Other(Box::new(error.into()))),
    }
}

impl From<SchemaError> for ApiError {
    fn from(error: SchemaError) -> Self {
        let kind = match error {
            SchemaError::Incompatible(_) => error::SCHEMA_INCOMPATIBLE,
            SchemaError::Denied { .. } => error::DENIED,
            SchemaError::Invalid(_) => error::BAD_REQUEST,
            SchemaError::Unknown(_) => error::NO_SUCH_BUCKET,
            SchemaError::Exists(_) => error::TYPE_EXISTS,
            SchemaError::Referenced(_) => error::STILL_REFERENCED,
            SchemaError::Busy(_) => error::BUSY,
        };
        ApiError::new(kind, error.to_string())
    }
}
