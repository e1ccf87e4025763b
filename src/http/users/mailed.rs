//! What verification, reset and change of the name share: mail is asked for at a bounded pace, and tokens are redeemed together with
//! what they are for.

use super::super::error::{self, ApiError};
use super::super::identity::Identity;
use super::super::page::Page;
use super::super::{Front, body};
use crate::auth::credentials::Credentials;
use crate::auth::mailed::{self, Purpose, Redeemed};
use crate::auth::network::{counted, spelt};
use crate::json::push_string;
use crate::mail::{Mailing, Place};
use crate::object::id;
use crate::object::text::{self, Body as ObjectBody};
use crate::store::{Actor, Batch, BatchError, Decision, Refusal, Stamp, StoreError, Write};
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};
use dataflows::access::Acl;
use dataflows::change::{Image, Writer};
use dataflows::document::Value;
use std::sync::Arc;

/// What is set up for mail; an error where nothing is.
pub(super) fn enabled(front: &Front) -> Result<&Arc<Mailing>, ApiError> {
    front.mail.as_ref().ok_or_else(|| ApiError::plain(error::MAIL_DISABLED))
}

/// A place for a mail about a name, if neither the name nor the address has had enough of late.
pub(super) fn reserve(front: &Front, mailing: &Mailing, identity: &Identity, about: &str) -> Result<Place, ApiError> {
    if about.len() > 1024 || !mailing.pace.begin(&identity.app.name, about, identity.address, front.clock.now_ms()) {
        return Err(ApiError::new(
            error::TOO_MANY_TRIES,
            "so many mails have been asked for that no more are sent for a while; try again later",
        ));
    }
    mailing.mailer.reserve().ok_or_else(|| ApiError::new(error::BUSY, "too many mails wait to be sent; try again in a moment"))
}

/// A token that can be redeemed now, and the credentials that it was made beside.
pub(super) fn redeem(
    front: &Front,
    identity: &Identity,
    purpose: Purpose,
    token: &str,
) -> Result<(Redeemed, Option<Credentials>), ApiError> {
    let mailing = enabled(front)?;
    let now = front.clock.now_ms();
    if !mailing.redeem_pace.begin(&identity.app.name, &spelt(&counted(identity.address)), identity.address, now) {
        return Err(ApiError::plain(error::TOO_MANY_TRIES));
    }
    let app = &identity.app.name;
    let redeemed = mailed::redeem(&*front.secrets, app, purpose, token, now)?.ok_or_else(|| ApiError::plain(error::BAD_LINK))?;
    let credentials = Credentials::read(&*front.secrets, app, &redeemed.user)?;
    if credentials.as_ref().map_or(0, |credentials| credentials.generation) != redeemed.generation {
        return Err(ApiError::plain(error::BAD_LINK));
    }
    Ok((redeemed, credentials))
}

/// Commits what a token was redeemed for. Somebody who was quicker has spent it, or has changed what it was made for.
pub(super) async fn commit(front: &Front, batch: Batch) -> Result<(), ApiError> {
    match front.store.commit_batch(batch).await {
        Ok(_) => Ok(()),
        Err(BatchError::Conflict | BatchError::Write { error: StoreError::Refused(Refusal::Missing(_)), .. }) => {
            Err(ApiError::plain(error::BAD_LINK))
        }
        Err(error) => Err(error.into()),
    }
}

/// Changes the user whom a token was made for, and spends it. His credentials must still be those that it was made beside.
pub(super) async fn spend(
    front: &Front,
    identity: &Identity,
    redeemed: Redeemed,
    credentials: Option<&Credentials>,
    change: impl Fn(&Image) -> Option<Change> + Send + Sync + 'static,
) -> Result<(), ApiError> {
    let app = &identity.app.name;
    let write = of_user(app, &redeemed.user, change)?;
    let mut secrets = vec![redeemed.spent];
    if let Some(credentials) = credentials {
        secrets.push(credentials.write(app, &redeemed.user, Some(Some(credentials)))?);
    }
    commit(front, Batch { writes: vec![write], secrets, ..Batch::default() }).await
}

/// A write of a user by the server: what `change` says happens to him, if he is as it must find him. Those who are not are
/// refused as a link that is no good any more.
pub(super) fn of_user(
    app: &Arc<str>,
    user: &str,
    change: impl Fn(&Image) -> Option<Change> + Send + Sync + 'static,
) -> Result<Write, ApiError> {
    let (user, bucket) = id::whole(user)?;
    let key = id::key(app, &bucket, user.clone());
    let decide = move |before: Option<&Image>, stamp: &Stamp<'_>| -> Result<Decision, Refusal> {
        let gone = || Refusal::Missing(user.to_string());
        let image = before.ok_or_else(gone)?;
        match change(image).ok_or_else(gone)? {
            Change::Nothing => Ok(Decision::Nothing),
            Change::Field(name, value) => amended(image, stamp, &user, name, value.as_deref()),
        }
    };
    Ok(Write { key, decide: Arc::new(decide), actor: Actor::server(), writer: Writer::default() })
}

/// What happens to a user.
pub(super) enum Change {
    /// He only has to be as he is
    Nothing,
    /// A field is now this text, or null
    Field(&'static str, Option<String>),
}

fn amended(image: &Image, stamp: &Stamp<'_>, user: &str, name: &str, value: Option<&str>) -> Result<Decision, Refusal> {
    let unfit = |error: text::BodyError| Refusal::Invalid(error.to_string());
    let mut object = ObjectBody::parse(image.json()).map_err(unfit)?;
    object.fields.retain(|(field, _)| field != name);
    let mut fields = object.open_fields();
    fields.push(',');
    push_string(&mut fields, name);
    fields.push(':');
    match value {
        Some(value) => push_string(&mut fields, value),
        None => fields.push_str("null"),
    }
    let created = match image.document.root().get("createdAt") {
        Some(Value::Date(created)) => created,
        _ => stamp.now,
    };
    let acl = Some(&image.acl).filter(|acl| **acl != Acl::default());
    Ok(Decision::Put(text::canonical(user, stamp.version, acl, created, stamp.now, &fields).into()))
}

/// The answer to a link that was opened: a page for people, nothing for programs.
pub(super) fn opened(headers: &HeaderMap, result: Result<(), ApiError>, done: &str) -> Result<Response<Body>, ApiError> {
    let person = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    if !person {
        return result.map(|()| body::empty());
    }
    let (status, said) = match &result {
        Ok(()) => (StatusCode::OK, done),
        Err(error) => (StatusCode::from_u16(error.kind.status).unwrap_or(StatusCode::BAD_REQUEST), &*error.message),
    };
    let page = format!("<p>{}</p>", super::super::page::text(said));
    Ok(Page { status, title: "Tidegate", body: &page, data: &[], script: "", framed_by: "'none'" }.answer())
}
