//! `/db/User/login`, `me`, `logout` (CONTRACT section 7).

mod mailed;
mod oauth;
mod reset;
mod username;
mod verify;

use super::Front;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::{self, Identity, NoRenewal};
use crate::auth::credentials::Credentials;
use crate::auth::password::{self, Brake};
use crate::object::id;
use crate::store::Selection;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use dataflows::access::Caller;
use dataflows::change::Image;
use dataflows::document::Value;
use dataflows::query::ast::{Literal, Path, Predicate, Test};
use std::sync::Arc;

/// Paths that need mail or a provider.
pub(super) fn mail_routes() -> Router<Arc<Front>> {
    Router::new()
        .route("/db/User/verify", get(verify::verify))
        .route("/db/User/reset", get(reset::page).post(reset::reset))
        .route("/db/User/changeUsername", post(username::change))
        .route("/db/User/verifyUsername", get(username::verify))
        .route("/db/User/OAuth/{provider}", get(oauth::oauth))
}

#[derive(serde::Deserialize)]
struct Login {
    username: String,
    password: String,
}

/// `POST /db/User/login`: 460 whatever is wrong, so that nobody learns which users there are.
pub(super) async fn login(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let Login { username, password } = body.json()?;
    let (image, credentials) = prove(&front, &identity, &username, password).await?;
    enter(&front, &identity, &image, &credentials)
}

/// The user with this name, if this is his password and he may log in.
async fn prove(front: &Front, identity: &Identity, username: &str, password: String) -> Result<(Arc<Image>, Credentials), ApiError> {
    if username.len() > Brake::LONGEST_NAME {
        return Err(ApiError::plain(error::BAD_CREDENTIALS));
    }
    if !front.brake.begin(username, identity.address, front.clock.now_ms()) {
        return Err(ApiError::plain(error::TOO_MANY_TRIES));
    }
    let user = if password.len() > password::LONGEST { None } else { by_name(front, identity, username).await? };
    let user = user.filter(|image| !is_inactive(image));
    let credentials = match user.as_deref().and_then(|image| text_of(image, "id")) {
        Some(id) => Credentials::read(&*front.secrets, &identity.app.name, id)?,
        None => None,
    };
    let hash = credentials.as_ref().map(|credentials| credentials.hash.clone());
    let right = front.passwords.verify(password, hash).await.map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    let (Some(image), Some(credentials), true) = (user, credentials, right) else {
        tracing::info!(address = %identity.address, "login refused");
        return Err(ApiError::plain(error::BAD_CREDENTIALS));
    };
    front.brake.succeeded(username, identity.address);
    Ok((image, credentials))
}

/// The end of every login: the user, and a token.
fn enter(front: &Front, identity: &Identity, image: &Image, credentials: &Credentials) -> Result<Response<Body>, ApiError> {
    let id = text_of(image, "id").unwrap_or_default();
    let roles = front.store.rights().roles(&identity.app.name, id);
    let issued = front.authority.issue(&identity.app.name, id.into(), roles, credentials.generation);
    let (_, token) = issued.ok_or_else(|| ApiError::new(error::CRASHED, "the app has no key to sign tokens with"))?;
    let mut response = body::json(StatusCode::OK, image.json().clone());
    identity::set_token(&mut response, &token);
    Ok(response)
}

/// `GET /db/User/me`: 404 for who is not logged in, which the SDK takes for nobody.
pub(super) async fn me(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    let user = match &identity.claims {
        Some(claims) => visible(&front, &claims.user, &identity).await?,
        None => None,
    };
    let user = user.ok_or_else(|| ApiError::plain(error::NO_SUCH_USER))?;
    Ok(body::json(StatusCode::OK, user.json().clone()))
}

/// `GET /db/User/logout`: the client forgets its token; the token itself ends by time or revocation.
pub(super) async fn logout() -> Response<Body> {
    let mut response = body::empty();
    response.extensions_mut().insert(NoRenewal);
    response
}

/// A user, if he is there, active, and the caller may read him.
pub(super) async fn visible(front: &Front, user: &Arc<str>, identity: &Identity) -> Result<Option<Arc<Image>>, ApiError> {
    let key = id::key(&identity.app.name, &Arc::from("User"), user.clone());
    let found = front.store.snapshot().await?.get(&key).await?;
    Ok(found.filter(|image| image.acl.read.permits(&identity.session.caller) && !is_inactive(image)))
}

async fn by_name(front: &Front, identity: &Identity, username: &str) -> Result<Option<Arc<Image>>, ApiError> {
    let named = Predicate::Field(Path::new("username"), Test::Eq(Literal::String(username.into())));
    let users = select(front, identity, "User", named).await?;
    // Two of one name must not be one person.
    Ok(if users.len() == 1 { users.into_iter().next() } else { None })
}

async fn select(front: &Front, identity: &Identity, bucket: &str, predicate: Predicate) -> Result<Vec<Arc<Image>>, ApiError> {
    let selection = Selection {
        app: identity.app.name.clone(),
        bucket: bucket.into(),
        predicate: Arc::new(predicate),
        caller: Arc::new(Caller::admin()),
        limit: front.options.result_objects,
    };
    Ok(front.store.snapshot().await?.select(selection).await?)
}

fn text_of<'i>(image: &'i Image, name: &str) -> Option<&'i str> {
    match image.document.root().get(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn is_inactive(image: &Image) -> bool {
    matches!(image.document.root().get("inactive"), Some(Value::Bool(true)))
}
