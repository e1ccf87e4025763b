//! `/db/User/:oid/token`: tokens for programs, and the end of all tokens of a user. For administrators.

use super::{Account, login};
use crate::auth::credentials::Credentials;
use crate::auth::token::Purpose;
use crate::http::Front;
use crate::http::body;
use crate::http::error::{self, ApiError};
use crate::http::identity::{self, Identity};
use crate::http::path::ObjectPath;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use std::sync::Arc;

fn require_admin(identity: &Identity) -> Result<(), ApiError> {
    if identity.session.caller.is_admin() {
        Ok(())
    } else {
        Err(ApiError::new(error::DENIED, "only administrators issue and revoke the tokens of users"))
    }
}

/// `POST`: a token as a JSON text. It lives for `server.api_token_seconds`, is never renewed, and dies with the user's other ones.
pub(in crate::http) async fn issue(
    State(front): State<Arc<Front>>,
    ObjectPath { id, .. }: ObjectPath,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let account = Account::of(&front, &identity, &id).await?.filter(Account::is_active);
    let account = account.ok_or_else(|| ApiError::new(error::NO_SUCH_OBJECT, format!("there is no active user {id}")))?;
    let app = &identity.app.name;
    let roles = front.store.rights().roles(app, &id);
    let lifetime = front.authority.api_lifetime();
    let issued = front.authority.issue_for(app, Purpose::Api, id, roles, account.generation(), lifetime);
    let (_, token) = issued.ok_or_else(login::no_key)?;
    let mut response = body::json(StatusCode::OK, serde_json::Value::from(token).to_string());
    identity::private(&mut response);
    Ok(response)
}

/// `DELETE`: every token of the user is dead. Whoever revokes his own gets a new one.
pub(in crate::http) async fn revoke(
    State(front): State<Arc<Front>>,
    ObjectPath { id, .. }: ObjectPath,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let account = Account::update(&front, &identity, &id, |account| {
        let old = account.credentials.clone().unwrap_or_else(|| Credentials::new(None));
        Ok(Credentials { generation: old.generation.saturating_add(1), ..old })
    })
    .await?;
    let mut response = body::empty();
    if identity.session.user.as_ref() == Some(&id) {
        let roles = front.store.rights().roles(&identity.app.name, &id);
        let issued = front.authority.issue(&identity.app.name, id, roles, account.generation());
        let (_, token) = issued.ok_or_else(login::no_key)?;
        identity::set_token(&mut response, &token);
    }
    Ok(response)
}
