//! `POST /db/User/register`: a user's object and his credentials, as one commit.

use super::attempt::Attempt;
use super::{Account, commit, login, password, refused, unhashed, verify};
use crate::auth::credentials::Credentials;
use crate::http::Front;
use crate::http::answer::Answer;
use crate::http::body::{self, Whole};
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::object::text::{self, Body as ObjectBody};
use crate::object::{id, shape};
use crate::rights::secrets::LONGEST_NAME;
use crate::schema::built_in;
use crate::store::{Actor, Batch, Decide, Decision, Refusal, SecretWrite, Write};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Deserialize)]
struct Register<'b> {
    #[serde(borrow)]
    user: &'b RawValue,
    password: Option<String>,
    #[serde(default)]
    login: bool,
}

/// The new user's object, with a token if he wants to be logged in at once.
pub(in crate::http) async fn register(
    State(front): State<Arc<Front>>,
    identity: Identity,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    let bad = |error: &dyn std::fmt::Display| ApiError::new(error::BAD_JSON, format!("the body cannot be read: {error}"));
    let Register { user, password, login } = serde_json::from_slice(&body.0).map_err(|error| bad(&error))?;
    let object = ObjectBody::parse(user.get().as_bytes()).map_err(|error| bad(&error))?;
    let name = name_in(&object)?;
    let password = password::acceptable(password)?;
    // A name that is taken is a guess at who there is.
    let attempt = Attempt::at_name(&front, &identity, &name)?;
    if Account::named(&front, &identity, &name).await?.is_some() {
        return Err(Refusal::NameTaken(name).into());
    }
    let hash = front.passwords.hash(password).await.map_err(unhashed)?;
    let answer = Answer::begin(&front, &identity);
    let mut verification = None;
    let inactive = verify::is_required(&front);
    let secrets = |user: &str| {
        verification = verify::begin(&front, &identity, user, &name)?;
        Ok(verification.iter().map(|verification| verification.secret.clone()).collect())
    };
    let account = create(&front, &identity, &object, Some(hash), inactive, &answer, secrets).await?;
    attempt.succeeded();
    if let Some(verification) = verification {
        verification.send().await;
        return Ok(answer.out(body::empty()));
    }
    let response =
        if login { login::enter(&front, &identity, &account)? } else { body::json(StatusCode::OK, account.image.json().clone()) };
    Ok(answer.out(response))
}

/// A new user with the fields of `object`, who alone may read and write himself. `hash`: of his password, if he has one.
/// `inactive`: he may not log in yet. `secrets`: what else belongs to the user of this id. The name is judged by the store, where nobody else can take it meanwhile.
pub(in crate::http) async fn create(
    front: &Front,
    identity: &Identity,
    object: &ObjectBody<'_>,
    hash: Option<String>,
    inactive: bool,
    answer: &Answer,
    secrets: impl FnOnce(&str) -> Result<Vec<SecretWrite>, ApiError>,
) -> Result<Account, ApiError> {
    let app = &identity.app.name;
    let schema = front.store.schema(app);
    let flag =
        serde_json::value::to_raw_value(&inactive.then_some(true)).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    let own = object.fields.iter().filter(|(name, _)| name != "inactive").cloned();
    let given: Vec<(Cow<'_, str>, &RawValue)> = own.chain([(Cow::Borrowed("inactive"), &*flag)]).collect();
    let fields = shape::fields(&schema, "User", &given).map_err(|error| ApiError::new(error::UNFIT_VALUE, error.to_string()))?;
    let user = id::object("User", &uuid::Uuid::new_v4().to_string())?;
    let acl = built_in::own(&user);
    let of = user.clone();
    let decide: Decide = Arc::new(move |before, stamp| match before {
        Some(_) => Err(Refusal::Exists(of.to_string())),
        None => Ok(Decision::Put(text::canonical(&of, stamp.version, Some(&acl), stamp.now, stamp.now, &fields).into())),
    });
    let credentials = Credentials::new(hash);
    let write = Write { key: id::key(app, &Arc::from("User"), user.clone()), decide, actor: Actor::server(), writer: answer.writer() };
    let mut secrets = secrets(&user)?;
    secrets.push(credentials.write(app, &user, Some(None))?);
    let batch = Batch { writes: vec![write], secrets, ..Batch::default() };
    let committed = commit(front, batch).await.map_err(refused)?;
    let change = committed.writes.into_iter().next().and_then(|write| write.change);
    let image = change.and_then(|change| change.after.clone());
    let image = image.ok_or_else(|| ApiError::new(error::CRASHED, "the store kept nothing of the new user"))?;
    Ok(Account { id: user, image, credentials: Some(credentials) })
}

/// The name that a new user asks for.
fn name_in(object: &ObjectBody<'_>) -> Result<String, ApiError> {
    let bad = |why: &str| ApiError::new(error::BAD_NAME, format!("a user cannot be registered by this name: {why}"));
    let value = object.fields.iter().find(|(name, _)| name == "username").map(|(_, value)| value.get());
    let name: Option<String> = value.and_then(|value| serde_json::from_str(value).ok());
    match name {
        None => Err(bad("the user's field username is missing")),
        Some(name) if name.is_empty() => Err(bad("it is empty")),
        Some(name) if name.len() > LONGEST_NAME => Err(bad("it is too long")),
        // Two names that look the same would be two people.
        Some(name) if name.trim() != name || name.chars().any(char::is_control) => {
            Err(bad("it begins or ends with a blank, or has a control character"))
        }
        Some(name) => Ok(name),
    }
}
