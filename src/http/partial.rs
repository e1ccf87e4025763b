//! `POST /db/:bucket/:oid`: partial updates (docs/schema.md).
//!
//! What the operations mean is decided in the store's transaction, on what is really there.

use super::answer::Answer;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::path::{FieldPath, ObjectPath};
use super::{Front, conditions, objects};
use crate::object::partial::{Update, UpdateError};
use crate::object::{decide, id};
use crate::store::{Decide, Write};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use std::sync::Arc;

/// `POST /db/:bucket/:oid`, `{"$op": {"path": value}}`
pub(super) async fn update(
    State(front): State<Arc<Front>>,
    path: ObjectPath,
    identity: Identity,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    permit(&front, &path, &identity)?;
    let update = Update::parse(&body.0)?;
    commit(&front, path, &identity, &headers, update).await
}

/// `POST /db/:bucket/:oid/:field`, `{"$op": value}`
pub(super) async fn update_field(
    State(front): State<Arc<Front>>,
    FieldPath { object, field }: FieldPath,
    identity: Identity,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    permit(&front, &object, &identity)?;
    let update = Update::of_field(&field, &body.0)?;
    commit(&front, object, &identity, &headers, update).await
}

/// Before anything is looked at; the transaction judges again.
fn permit(front: &Front, path: &ObjectPath, identity: &Identity) -> Result<(), ApiError> {
    front.require_own(&identity.app, &path.bucket)?;
    objects::permit(&front.store.schema(&identity.app.name).rights_of(&path.bucket).update, "update", &path.bucket, identity)
}

async fn commit(
    front: &Front,
    ObjectPath { bucket, id }: ObjectPath,
    identity: &Identity,
    headers: &HeaderMap,
    update: Update,
) -> Result<Response<Body>, ApiError> {
    let expected = conditions::expected(headers);
    let answer = Answer::begin(front, identity);
    let key = id::key(&identity.app.name, &bucket, id.clone());
    let decide: Decide = Arc::new(move |before, stamp| decide::update(&id, &update, &expected, before, stamp));
    let committed = front.commit(Write { key, decide, actor: identity.actor(), writer: answer.writer() }).await?;
    let stored = committed.change.as_ref().and_then(|change| change.after.as_ref());
    let image = stored.ok_or_else(|| ApiError::new(error::CRASHED, "the store kept nothing of the update"))?;
    let mut response = body::json(StatusCode::OK, image.json().clone());
    objects::set_etag(&mut response, image);
    super::set_position(&mut response, &committed.position);
    Ok(answer.out(response))
}

impl From<UpdateError> for ApiError {
    fn from(error: UpdateError) -> Self {
        ApiError::new(if error.is_of_value() { error::UNFIT_VALUE } else { error::BAD_UPDATE }, error.to_string())
    }
}
