//! `POST /batch`: several objects written as one.
//!
//! Each write is judged as its single request is: the class's rights and the object's shape here, its access list, its version
//! and whether it is there inside of the store's one transaction. Either all of them happen or none.

use super::answer::Answer;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::objects::Shaped;
use super::{Front, conditions, objects};
use crate::object::decide::{self, Expected};
use crate::object::id;
use crate::object::partial::Update;
use crate::object::text::Body as ObjectBody;
use crate::schema::Schema;
use crate::store::{Batch, BatchError, Decide, Write};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

/// Classes whose objects carry more than themselves: credentials, limits.
const ALONE: [&str; 2] = ["User", crate::logs::BUCKET];

/// What is done to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Insert,
    Put,
    /// An update in part: `object` is what the body of its single request would be
    Partial,
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Put => "put",
            Operation::Partial => "partial",
            Operation::Delete => "delete",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Operation::Insert => StatusCode::CREATED,
            Operation::Put | Operation::Partial => StatusCode::OK,
            Operation::Delete => StatusCode::NO_CONTENT,
        }
    }
}

/// One entry of the request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Item<'b> {
    #[serde(alias = "method")]
    operation: Operation,
    /// Where the server is to find an id
    bucket: Option<String>,
    id: Option<String>,
    #[serde(borrow)]
    object: Option<&'b RawValue>,
    if_match: Option<Tag>,
    if_none_match: Option<Tag>,
}

/// A version as a number, or a header's text: `"3"` in quotes, or `*`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tag {
    Version(u64),
    Text(String),
}

pub(super) async fn batch(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let items: Vec<Item<'_>> = serde_json::from_slice(&body.0)
        .map_err(|error| ApiError::new(error::BAD_JSON, format!("the batch cannot be read: {error}; it is a list of writes")))?;
    let limit = front.options.batch_writes;
    if items.len() > limit {
        let message = format!("the batch has {} writes, at most {limit} are allowed (server.batch_writes)", items.len());
        return Err(ApiError::new(error::TOO_LARGE, message));
    }
    let schema = front.store.schema(&identity.app.name);
    let answer = Answer::begin(&front, &identity);
    let (mut writes, mut operations) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for (place, item) in items.iter().enumerate() {
        let (key, decide) = judge(&front, &identity, &schema, item).map_err(|error| at_place(error, place, item.id.as_deref()))?;
        writes.push(Write { key, decide, actor: identity.actor(), writer: answer.writer() });
        operations.push(item.operation);
    }
    let ids: Vec<Arc<str>> = writes.iter().map(|write| write.key.id.clone()).collect();
    let began = Instant::now();
    let committed = front.store.commit_batch(Batch { writes, ..Batch::default() }).await.map_err(|error| match error {
        BatchError::Store(error) => error.into(),
        BatchError::Write { place, error } => at_place(error.into(), place, ids.get(place).map(|id| &**id)),
        error => ApiError::new(error::CRASHED, error.to_string()),
    })?;
    front.metrics.commit_seconds.observe(began.elapsed());
    let mut text = format!(r#"{{"position":"{}","results":["#, committed.position);
    for (place, ((operation, id), done)) in operations.iter().zip(&ids).zip(&committed.writes).enumerate() {
        let comma = if place > 0 { "," } else { "" };
        // Ids are canonical: nothing in them needs an escape. Writing to a String cannot fail.
        let _ = write!(text, r#"{comma}{{"operation":"{}","status":{},"id":"{id}""#, operation.name(), operation.status().as_u16());
        let after = done.change.as_ref().and_then(|change| change.after.as_ref());
        // The text was parsed as JSON, hence UTF-8.
        if let Some(object) = after.and_then(|image| std::str::from_utf8(image.json()).ok()) {
            let _ = write!(text, r#","object":{object}"#);
        }
        text.push('}');
    }
    text.push_str("]}");
    let mut response = body::json(StatusCode::OK, text);
    super::set_position(&mut response, &committed.position);
    Ok(answer.out(response))
}

/// What one write comes to, as its single request is judged.
fn judge(front: &Front, identity: &Identity, schema: &Schema, item: &Item<'_>) -> Result<(crate::store::Key, Decide), ApiError> {
    let object = item.object.filter(|_| item.operation != Operation::Partial);
    let object = object.map(|object| ObjectBody::parse(object.get().as_bytes())).transpose();
    let object = object.map_err(|error| ApiError::new(error::BAD_JSON, error.to_string()))?;
    let named = item.id.as_deref().or_else(|| object.as_ref()?.id.as_deref()).map(id::whole).transpose()?;
    let bucket = match (&named, &item.bucket) {
        (Some((_, bucket)), _) => bucket.clone(),
        (None, Some(bucket)) => id::bucket(bucket)?,
        (None, None) => return Err(ApiError::new(error::BAD_REQUEST, "a write needs an id, or a bucket where the server is to find one")),
    };
    if item.bucket.as_deref().is_some_and(|other| *other != *bucket) {
        return Err(ApiError::new(
            error::BAD_ID,
            format!("the id is one of the bucket {bucket}, which is not the one that the write names"),
        ));
    }
    front.require_own(&identity.app, &bucket)?;
    if ALONE.contains(&&*bucket) {
        return Err(ApiError::new(error::DENIED, format!("objects of {bucket} are written one at a time, not in a batch")));
    }
    let expected = expected(item)?;
    let key = |id: &Arc<str>| id::key(&identity.app.name, &bucket, id.clone());
    let shaped = item.object.map(|object| Shaped::new(schema, Bytes::copy_from_slice(object.get().as_bytes())));
    let missing = || ApiError::new(error::BAD_REQUEST, format!("{} needs an object", item.operation.name()));
    let unnamed = || ApiError::new(error::BAD_REQUEST, format!("{} needs an id", item.operation.name()));
    match item.operation {
        Operation::Insert => {
            objects::permit(&schema.rights_of(&bucket).insert, "insert", &bucket, identity)?;
            let mut object = object.ok_or_else(missing)?;
            if let Some((id, _)) = &named {
                object.id = Some(id.to_string());
            }
            let draft = objects::insertion(schema, &bucket, identity, &object)?;
            Ok((key(&draft.id.clone()), objects::deciding(&bucket, draft, shaped, decide::insert)))
        }
        Operation::Put => {
            objects::permit_replacement(schema, &bucket, identity, &expected)?;
            let (id, _) = named.ok_or_else(unnamed)?;
            let (draft, creates) = objects::replacement(schema, &bucket, id.clone(), &object.ok_or_else(missing)?)?;
            let decide = objects::deciding(&bucket, draft, shaped, move |draft, before, stamp| {
                decide::replace(draft, &expected, creates, before, stamp)
            });
            Ok((key(&id), decide))
        }
        Operation::Partial => {
            objects::permit(&schema.rights_of(&bucket).update, "update", &bucket, identity)?;
            let (id, _) = named.ok_or_else(unnamed)?;
            let update = Update::parse(item.object.ok_or_else(missing)?.get().as_bytes())?;
            Ok((key(&id), Arc::new(move |before, stamp| decide::update(&id, &update, &expected, before, stamp))))
        }
        Operation::Delete => {
            objects::permit(&schema.rights_of(&bucket).delete, "delete", &bucket, identity)?;
            let (id, _) = named.ok_or_else(unnamed)?;
            Ok((key(&id), Arc::new(move |before, stamp| decide::delete(&id, &expected, before, stamp))))
        }
    }
}

/// The conditions of a write, in the form of the headers of its single request.
fn expected(item: &Item<'_>) -> Result<Expected, ApiError> {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, tag: &Option<Tag>| {
        let text = match tag {
            None => return Ok::<_, ApiError>(()),
            Some(Tag::Version(version)) => format!("\"{version}\""),
            Some(Tag::Text(text)) => text.clone(),
        };
        let value = HeaderValue::from_str(&text);
        let value = value.map_err(|_| ApiError::new(error::BAD_REQUEST, format!("{text:?} is no condition: a version, or *")))?;
        headers.insert(name, value);
        Ok(())
    };
    put(header::IF_MATCH, &item.if_match)?;
    put(header::IF_NONE_MATCH, &item.if_none_match)?;
    Ok(conditions::expected(&headers))
}

/// The error of one write as that of the batch.
fn at_place(mut error: ApiError, place: usize, id: Option<&str>) -> ApiError {
    error.message = format!("nothing was written: the write at place {place} failed: {}", error.message);
    error.data = Some(Box::new(serde_json::json!({"place": place, "id": id, "data": error.data.map(|data| *data)})));
    error
}
