//! `POST /db/logs.AppLog`: an entry of the app's own log (docs/api.md, "Logs").
//!
//! Anybody may write one, and nobody but administrators reads them. `user` is who the token says, and no access list is kept:
//! an entry that says otherwise would hide from administrators' tools, or name somebody else as its author.

use super::Front;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::objects;
use crate::logs::{self, BUCKET};
use crate::object::text::{AclRequest, Body as ObjectBody};
use crate::object::{decide, id, time};
use crate::schema::Schema;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::sync::Arc;

/// Takes an entry in; the class's right was judged.
pub(super) async fn insert(front: &Front, identity: &Identity, schema: &Schema, body: &Whole) -> Result<Response<Body>, ApiError> {
    let (limits, admin, now) = (front.logs.options(), identity.session.caller.is_admin(), front.clock.now_ms());
    if body.0.len() > limits.entry_bytes {
        let message = format!("the log entry has {} bytes, at most {} are allowed (logs.entry_bytes)", body.0.len(), limits.entry_bytes);
        return Err(ApiError::new(error::TOO_LARGE, message));
    }
    if !admin && !front.logs.admits(identity.address, now) {
        return Err(ApiError::plain(error::TOO_MANY_LOGS));
    }
    let mut object = ObjectBody::parse(&body.0).map_err(|error| ApiError::new(error::BAD_JSON, error.to_string()))?;
    let level: Option<String> = field(&object, "level").and_then(|level| serde_json::from_str(level.get()).ok());
    if !front.logs.keeps(&identity.app.word, level.as_deref().unwrap_or_default()) {
        // Accepted, and not kept.
        return Ok(body::json(StatusCode::ACCEPTED, "null"));
    }
    let unreadable = |error: serde_json::Error| ApiError::new(error::CRASHED, error.to_string());
    let author = to_raw_value(&identity.session.user).map_err(unreadable)?;
    let date = to_raw_value(&time::instant(now)).map_err(unreadable)?;
    if !admin || field(&object, "user").is_none() {
        set(&mut object, "user", &author);
    }
    if field(&object, "date").is_none_or(|date| date.get() == "null") {
        set(&mut object, "date", &date);
    }
    object.acl = AclRequest::Public;
    let bucket: Arc<str> = BUCKET.into();
    let draft = objects::draft(schema, &bucket, id::object(&bucket, &logs::key(now))?, &object)?;
    let bytes = draft.fields.len();
    let response = objects::write(front, identity, &bucket, draft, None, StatusCode::CREATED, decide::insert).await?;
    front.logs.written(&identity.app.name, bytes + 160);
    Ok(response)
}

fn field<'b>(object: &ObjectBody<'b>, name: &str) -> Option<&'b RawValue> {
    object.fields.iter().find(|(field, _)| field == name).map(|(_, value)| *value)
}

fn set<'b>(object: &mut ObjectBody<'b>, name: &'static str, value: &'b RawValue) {
    object.fields.retain(|(field, _)| field != name);
    object.fields.push((Cow::Borrowed(name), value));
}
