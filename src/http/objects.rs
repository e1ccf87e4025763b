//! `/db/:bucket` and `/db/:bucket/:oid`: objects (docs/api.md, "Objects").
//!
//! The order of judging: the class's rights here, before anything is looked at; the object's access list in
//! the store's transaction, by [`crate::object::decide`].

use super::answer::Answer;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::path::{BucketPath, ObjectPath};
use super::{Front, conditions};
use crate::object::decide::{self, Draft, Expected};
use crate::object::text::{AclRequest, Body as ObjectBody};
use crate::object::{id, shape};
use crate::rights::ROLES;
use crate::schema::{Schema, built_in};
use crate::store::{Actor, Decide, Refusal, Write};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use dataflows::access::{Acl, Rights, Rule};
use dataflows::change::Image;
use std::sync::Arc;

/// Classes whose ids the server chooses: nobody may choose an id that somebody else's lists name already.
const NAMED_BY_SERVER: [&str; 3] = ["User", "Role", "logs.AppLog"];
/// Classes whose objects come from elsewhere than a plain insert.
const MADE_ELSEWHERE: [&str; 3] = ["Object", "User", "Device"];

/// `POST /db/:bucket`
pub(super) async fn insert(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    front.require_own(&identity.app, &bucket)?;
    let schema = front.store.schema(&identity.app.name);
    permit(&schema.rights_of(&bucket).insert, "insert", &bucket, &identity)?;
    if &*bucket == crate::logs::BUCKET {
        return super::logs::insert(&front, &identity, &schema, &body).await;
    }
    let draft = insertion(&schema, &bucket, &identity, &read(&body)?)?;
    let shaped = Shaped { schema: schema.version, body };
    write(&front, &identity, &bucket, draft, Some(shaped), StatusCode::CREATED, decide::insert).await
}

/// What an insert asks for; the class's right was judged.
pub(super) fn insertion(schema: &Schema, bucket: &Arc<str>, identity: &Identity, object: &ObjectBody<'_>) -> Result<Draft, ApiError> {
    if MADE_ELSEWHERE.contains(&&**bucket) {
        return Err(ApiError::new(error::DENIED, format!("direct inserts into {bucket} are not allowed")));
    }
    let id = match object.id.as_deref().filter(|_| !NAMED_BY_SERVER.contains(&&**bucket)) {
        Some(text) => {
            let (id, of) = id::whole(text)?;
            if of != *bucket {
                return Err(ApiError::new(error::BAD_ID, format!("the id {id} in the body is not one of the bucket {bucket}")));
            }
            id
        }
        None => id::object(bucket, &uuid::Uuid::new_v4().to_string())?,
    };
    let mut draft = draft(schema, bucket, id, object)?;
    if &**bucket == ROLES && draft.acl.names_nobody() {
        draft.acl = of_creator(identity);
    }
    Ok(draft)
}

/// `GET /db/:bucket/:oid`
pub(super) async fn load(
    State(front): State<Arc<Front>>,
    ObjectPath { bucket, id }: ObjectPath,
    identity: Identity,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    permit(&front.store.schema(&identity.app.name).rights_of(&bucket).load, "load", &bucket, &identity)?;
    let snapshot = front.store.snapshot().await?;
    let found = snapshot.get(&id::key(&identity.app.name, &bucket, id.clone())).await?;
    let Some(image) = found.filter(|image| image.acl.read.permits(&identity.session.caller)) else {
        return Err(ApiError::new(error::NO_SUCH_OBJECT, format!("there is no object {id}, or the caller may not read it")));
    };
    let mut response = if conditions::is_known(&headers, image.version()) {
        let mut response = body::empty();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        body::json(StatusCode::OK, image.json().clone())
    };
    set_etag(&mut response, &image);
    Ok(response)
}

/// `PUT /db/:bucket/:oid`
pub(super) async fn replace(
    State(front): State<Arc<Front>>,
    ObjectPath { bucket, id }: ObjectPath,
    identity: Identity,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    front.require_own(&identity.app, &bucket)?;
    let schema = front.store.schema(&identity.app.name);
    let expected = conditions::expected(&headers);
    permit_replacement(&schema, &bucket, &identity, &expected)?;
    let (draft, creates) = replacement(&schema, &bucket, id, &read(&body)?)?;
    let shaped = Shaped { schema: schema.version, body };
    write(&front, &identity, &bucket, draft, Some(shaped), StatusCode::OK, move |draft, before, stamp| {
        decide::replace(draft, &expected, creates, before, stamp)
    })
    .await
}

/// The class's rights that a replacement needs.
pub(super) fn permit_replacement(schema: &Schema, bucket: &str, identity: &Identity, expected: &Expected) -> Result<(), ApiError> {
    let rights = schema.rights_of(bucket);
    if *expected != Expected::Nothing {
        permit(&rights.update, "update", bucket, identity)?;
    }
    if matches!(expected, Expected::Anything | Expected::Nothing) {
        // Whoever does not say that it must be there may make it.
        permit(&rights.insert, "insert", bucket, identity)?;
    }
    Ok(())
}

/// What a replacement asks for, and whether it may make the object.
pub(super) fn replacement(schema: &Schema, bucket: &Arc<str>, id: Arc<str>, object: &ObjectBody<'_>) -> Result<(Draft, bool), ApiError> {
    if let Some(text) = object.id.as_deref()
        && id::whole(text)?.0 != id
    {
        return Err(ApiError::new(error::BAD_ID, format!("the body is of the object {text}, the request names {id}")));
    }
    let creates = !NAMED_BY_SERVER.contains(&&**bucket) && !MADE_ELSEWHERE.contains(&&**bucket);
    Ok((draft(schema, bucket, id, object)?, creates))
}

/// `DELETE /db/:bucket/:oid`
pub(super) async fn delete(
    State(front): State<Arc<Front>>,
    ObjectPath { bucket, id }: ObjectPath,
    identity: Identity,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    front.require_own(&identity.app, &bucket)?;
    permit(&front.store.schema(&identity.app.name).rights_of(&bucket).delete, "delete", &bucket, &identity)?;
    let expected = conditions::expected(&headers);
    let answer = Answer::begin(&front, &identity);
    let key = id::key(&identity.app.name, &bucket, id.clone());
    let decide: Decide = Arc::new(move |before, stamp| decide::delete(&id, &expected, before, stamp));
    let committed = front.commit(Write { key, decide, actor: identity.actor(), writer: answer.writer() }).await?;
    let mut response = body::empty();
    super::set_position(&mut response, &committed.position);
    Ok(answer.out(response))
}

/// By which version of the schema a draft was made, and of what: where the transaction meets another one it is made anew.
pub(super) struct Shaped {
    schema: u64,
    body: Whole,
}

impl Shaped {
    /// `object`: the text that the draft was made of.
    pub(super) fn new(schema: &Schema, object: Bytes) -> Shaped {
        Shaped { schema: schema.version, body: Whole(object) }
    }

    fn anew(&self, schema: &Schema, bucket: &str, draft: &Draft) -> Result<Option<Draft>, Refusal> {
        if schema.version == self.schema {
            return Ok(None);
        }
        let object = ObjectBody::parse(&self.body.0).map_err(|error| Refusal::Invalid(error.to_string()))?;
        Ok(Some(Draft { fields: fields(schema, bucket, &object)?, ..draft.clone() }))
    }
}

/// A decision on a draft, by the schema that the transaction meets.
pub(super) fn deciding(
    bucket: &Arc<str>,
    draft: Draft,
    shaped: Option<Shaped>,
    decide: impl Fn(&Draft, Option<&Image>, &crate::store::Stamp<'_>) -> Result<crate::store::Decision, crate::store::Refusal>
    + Send
    + Sync
    + 'static,
) -> Decide {
    let bucket = bucket.clone();
    Arc::new(move |before, stamp| {
        let anew = shaped.as_ref().map(|shaped| shaped.anew(stamp.schema, &bucket, &draft)).transpose()?.flatten();
        decide(anew.as_ref().unwrap_or(&draft), before, stamp)
    })
}

pub(super) async fn write(
    front: &Front,
    identity: &Identity,
    bucket: &Arc<str>,
    draft: Draft,
    shaped: Option<Shaped>,
    status: StatusCode,
    decide: impl Fn(&Draft, Option<&Image>, &crate::store::Stamp<'_>) -> Result<crate::store::Decision, crate::store::Refusal>
    + Send
    + Sync
    + 'static,
) -> Result<Response<Body>, ApiError> {
    let answer = Answer::begin(front, identity);
    let key = id::key(&identity.app.name, bucket, draft.id.clone());
    let decide = deciding(bucket, draft, shaped, decide);
    let committed = front.commit(Write { key, decide, actor: identity.actor(), writer: answer.writer() }).await?;
    let stored = committed.change.as_ref().and_then(|change| change.after.as_ref());
    let image = stored.ok_or_else(|| ApiError::new(error::CRASHED, "the store kept nothing of the write"))?;
    let mut response = body::json(status, image.json().clone());
    set_etag(&mut response, image);
    super::set_position(&mut response, &committed.position);
    Ok(answer.out(response))
}

fn read(body: &Whole) -> Result<ObjectBody<'_>, ApiError> {
    ObjectBody::parse(&body.0).map_err(|error| ApiError::new(error::BAD_JSON, error.to_string()))
}

/// An object as its class shapes it.
pub(super) fn draft(schema: &Schema, bucket: &str, id: Arc<str>, object: &ObjectBody<'_>) -> Result<Draft, ApiError> {
    Ok(Draft { id, acl: object.acl.clone(), fields: fields(schema, bucket, object)? })
}

fn fields(schema: &Schema, bucket: &str, object: &ObjectBody<'_>) -> Result<String, Refusal> {
    match schema.class(bucket) {
        Some(class) if class.embedded => {
            Err(Refusal::Invalid(format!("the class {bucket} is embedded: its values live inside other objects only")))
        }
        Some(_) => shape::fields(schema, bucket, &object.fields).map_err(|error| Refusal::UnfitValue(error.to_string())),
        None => Ok(object.open_fields()),
    }
}

/// Judges a right of a class.
pub(super) fn permit(rights: &Rights, right: &str, bucket: &str, identity: &Identity) -> Result<(), ApiError> {
    if rights.permits(&identity.session.caller) { Ok(()) } else { Err(ApiError::class_right(right, bucket)) }
}

/// A role without a list of its own is its creator's, so that nobody else makes himself a member. Who has assumed a role makes
/// it that role's: the user behind it is told to nobody. Nobody's role stays public: there is nobody to give it to, and
/// whoever made it could do nothing more with it.
fn of_creator(identity: &Identity) -> AclRequest {
    let creator = match identity.actor() {
        Actor::User(user) => user,
        Actor::Assumed { role, .. } => role,
        Actor::Fixed(_) => return AclRequest::Public,
    };
    let mut acl: Acl = built_in::admin_written();
    acl.write.0.insert((*creator).into(), Rule::Allow);
    AclRequest::List(acl)
}

pub(super) fn set_etag(response: &mut Response<Body>, image: &Image) {
    if let Some(etag) = conditions::etag(image.version()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
}
