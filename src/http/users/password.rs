//! `POST /db/User/password`: a new password, by the old one, by a token from a reset, or by an administrator.
//!
//! It ends all tokens that the user had, and with them the sessions and their subscriptions. Whoever changed his own gets
//! a token of a new session: a stolen token may have been the reason.

use super::{Account, login, refused, reset, unhashed};
use crate::auth::credentials::Credentials;
use crate::auth::password;
use crate::http::Front;
use crate::http::body::{self, Whole};
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::store::BatchError;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    username: Option<String>,
    password: Option<String>,
    new_password: Option<String>,
    token: Option<String>,
}

/// Who proves what he may do by what stands in the body, see [`Change`].
pub(in crate::http) async fn change(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let Change { username, password, new_password, token } = body.json()?;
    let new = acceptable(new_password)?;
    match (token, username) {
        (Some(token), _) => by_token(&front, &identity, &token, new).await,
        (None, Some(username)) => by_name(&front, &identity, &username, password.unwrap_or_default(), new).await,
        (None, None) => Err(ApiError::new(error::BAD_JSON, "the body needs username and password, or token, beside newPassword")),
    }
}

async fn by_name(front: &Front, identity: &Identity, name: &str, old: String, new: String) -> Result<Response<Body>, ApiError> {
    let mut account = proven(front, identity, name, &old).await?;
    // Not before it is known who asks: hashing is what the brake on guessing keeps from being asked for too often.
    let hash = front.passwords.hash(new).await.map_err(unhashed)?;
    for _ in 0..super::TRIES {
        match renew(front, identity, &mut account, &hash).await {
            Ok(()) if account.is_of_caller(identity) => return login::enter(front, identity, &account),
            Ok(()) => return Ok(body::json(StatusCode::OK, account.image.json().clone())),
            // Somebody else was quicker: what proved it a moment ago may prove nothing now.
            Err(BatchError::Conflict) => account = proven(front, identity, name, &old).await?,
            Err(error) => return Err(refused(error)),
        }
    }
    Err(refused(BatchError::Conflict))
}

/// The user with this name, if the caller may give him a new password: by the old one, or as an administrator.
async fn proven(front: &Front, identity: &Identity, name: &str, old: &str) -> Result<Account, ApiError> {
    let known = if identity.is_administrator() { Account::named(front, identity, name).await? } else { None };
    // Not an administrator's own: his token alone, stolen, would be enough to lock him out.
    match known.filter(|account| !account.is_of_caller(identity)) {
        Some(account) => Ok(account),
        None => login::check_beside_factor(front, identity, name, old.to_owned()).await,
    }
}

/// A token that was mailed is spent by what it is used for.
async fn by_token(front: &Front, identity: &Identity, token: &str, new: String) -> Result<Response<Body>, ApiError> {
    let account = reset::redeem(front, identity, token, new).await?;
    login::first_step(front, identity, &account)
}

/// Puts a new hash in the place of the one that the account was read with, and ends all tokens of the user.
async fn renew(front: &Front, identity: &Identity, account: &mut Account, hash: &str) -> Result<(), BatchError> {
    let old = account.credentials.clone().unwrap_or_else(|| Credentials::new(None));
    let new = Credentials { hash: Some(hash.to_owned()), generation: old.generation.saturating_add(1), ..old };
    account.put(front, identity, new).await
}

/// A password that may be set.
pub(super) fn acceptable(password: Option<String>) -> Result<String, ApiError> {
    match password {
        Some(password) if !password.is_empty() && password.len() <= password::LONGEST => Ok(password),
        _ => Err(ApiError::plain(error::BAD_PASSWORD)),
    }
}
