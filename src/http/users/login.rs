//! Login by name and password, who one is, logout; and how every login ends, by whatever it began.

use super::attempt::Attempt;
use super::{Account, unhashed};
use crate::auth::password;
use crate::auth::token::Purpose;
use crate::http::Front;
use crate::http::body::{self, Whole};
use crate::http::error::{self, ApiError};
use crate::http::identity::{self, Identity, NoRenewal};
use crate::object::id;
use crate::rights::is_inactive;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use dataflows::change::Image;
use std::sync::Arc;

/// How long somebody has to find his device for the second factor, seconds.
const SECOND_STEP: u32 = 300;
/// Carries the token for the second step, beside the body.
const SECOND_STEP_TOKEN: HeaderName = HeaderName::from_static("baqend-mfa-auth-token");

#[derive(serde::Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// `POST /db/User/login`: 460 whatever is wrong, so that nobody learns which users there are.
pub(in crate::http) async fn login(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let Login { username, password } = body.json()?;
    let account = check(&front, &identity, &username, password).await?;
    first_step(&front, &identity, &account)
}

/// The user with this name, if this is his password and he may log in; 460 otherwise.
pub(in crate::http) async fn check(front: &Front, identity: &Identity, name: &str, password: String) -> Result<Account, ApiError> {
    let attempt = Attempt::at_name(front, identity, name)?;
    // Whoever is not there, or may not come in, takes as long as the others.
    let account = if password.len() > password::LONGEST { None } else { Account::named(front, identity, name).await? };
    let account = account.filter(Account::is_active);
    let hash = account.as_ref().and_then(|account| account.credentials.as_ref()?.hash.clone());
    let verdict = front.passwords.verify(password.clone(), hash).await.map_err(unhashed)?;
    let (Some(mut account), true) = (account, verdict.right) else {
        tracing::info!(app = %identity.app.name, address = %identity.address, "login refused");
        return Err(ApiError::plain(error::BAD_CREDENTIALS));
    };
    attempt.succeeded();
    if verdict.outdated
        && let Some(mut credentials) = account.credentials.clone()
    {
        credentials.hash = Some(front.passwords.hash(password).await.map_err(unhashed)?);
        // Only a better one of the same: if it fails, the old one goes on being good.
        if let Err(error) = account.put(front, identity, credentials).await {
            tracing::debug!(%error, "a password was not hashed again");
        }
    }
    Ok(account)
}

/// As [`check`], where it is not about a login: who has a second factor must have logged in with it, as the password alone does
/// not prove that it is he.
pub(in crate::http) async fn check_beside_factor(
    front: &Front,
    identity: &Identity,
    name: &str,
    password: String,
) -> Result<Account, ApiError> {
    let account = check(front, identity, name, password).await?;
    let factor = account.credentials.as_ref().is_some_and(|credentials| credentials.required_factor().is_some());
    if factor && !account.is_of_caller(identity) && !identity.is_administrator() {
        return Err(ApiError::new(error::DENIED, "the user has a second factor: log in with it first, then ask for this"));
    }
    Ok(account)
}

/// The end of the first step of a login: a token, or 403 where a code of the second factor is to come.
pub(in crate::http) fn first_step(front: &Front, identity: &Identity, account: &Account) -> Result<Response<Body>, ApiError> {
    if account.credentials.as_ref().is_none_or(|credentials| credentials.required_factor().is_none()) {
        return enter(front, identity, account);
    }
    let (app, user, generation) = (&identity.app.name, account.id.clone(), account.generation());
    let issued = front.authority.issue_for(app, Purpose::SecondFactor, user, Vec::new(), generation, SECOND_STEP);
    let (_, token) = issued.ok_or_else(no_key)?;
    let mut refused = ApiError::plain(error::SECOND_FACTOR_REQUIRED);
    refused.data = Some(Box::new(serde_json::json!({ "baqend-mfa-auth-token": token })));
    let mut response = refused.into_response();
    if let Ok(token) = HeaderValue::from_str(&token) {
        response.headers_mut().insert(SECOND_STEP_TOKEN, token);
    }
    identity::private(&mut response);
    Ok(response)
}

/// The end of every login: the user, and a token of a new session.
pub(in crate::http) fn enter(front: &Front, identity: &Identity, account: &Account) -> Result<Response<Body>, ApiError> {
    let app = &identity.app.name;
    let roles = front.store.rights().roles(app, &account.id);
    let (_, token) = front.authority.issue(app, account.id.clone(), roles, account.generation()).ok_or_else(no_key)?;
    let mut response = body::json(StatusCode::OK, account.image.json().clone());
    identity::set_token(&mut response, &token);
    Ok(response)
}

/// The app's keys are not there.
pub(in crate::http) fn no_key() -> ApiError {
    ApiError::new(error::CRASHED, "the app has no key to sign tokens with")
}

/// `GET /db/User/me`, `GET /db/User/validate`: 404 for who is not logged in, which the SDK takes for nobody.
pub(in crate::http) async fn me(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    let user = match &identity.claims {
        Some(claims) => visible(&front, &claims.user, &identity).await?,
        None => None,
    };
    let user = user.ok_or_else(|| ApiError::plain(error::NO_SUCH_USER))?;
    Ok(body::json(StatusCode::OK, user.json().clone()))
}

/// `GET /db/User/logout`: the client forgets its token; the token itself ends by time or revocation.
pub(in crate::http) async fn logout() -> Response<Body> {
    let mut response = body::empty();
    response.extensions_mut().insert(NoRenewal);
    response
}

/// A user, if he is there, active, and the caller may read him.
pub(in crate::http) async fn visible(front: &Front, user: &Arc<str>, identity: &Identity) -> Result<Option<Arc<Image>>, ApiError> {
    let key = id::key(&identity.app.name, &Arc::from("User"), user.clone());
    let found = front.store.snapshot().await?.get(&key).await?;
    Ok(found.filter(|image| image.acl.read.permits(&identity.session.caller) && !is_inactive(Some(image))))
}
