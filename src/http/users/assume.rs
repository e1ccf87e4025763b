//! `POST /db/Role/:oid/assume`: a token that has the rights of one role alone.
//!
//! For a member, or an administrator, who wants to act with less: to hand a token on, to look at the app as others see it.
//! Nobody gains by it: what is denied to him or to a role that he puts aside stays denied. The token is his: it dies with
//! his other ones, and as soon as he is no member any more. It is never renewed, and answers to it say nothing of who he is.

use super::login::no_key;
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

/// The role's object as the role itself may read it, and the token in the header.
pub(in crate::http) async fn assume(
    State(front): State<Arc<Front>>,
    ObjectPath { bucket, id }: ObjectPath,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    let denied = || ApiError::new(error::DENIED, format!("only members and administrators assume the role {id}"));
    let app = &identity.app.name;
    let (Some(user), Some(claims)) = (&identity.session.user, &identity.claims) else { return Err(denied()) };
    let caller = front.store.rights().assumed(app, user, &id).ok_or_else(denied)?;
    let key = crate::object::id::key(app, &bucket, id.clone());
    let role = front.store.snapshot().await?.get(&key).await?.ok_or_else(denied)?;
    let text = if role.acl.read.permits(&caller) { role.json().clone() } else { serde_json::json!({ "id": &*id }).to_string().into() };
    let lifetime = front.authority.session_lifetime();
    let issued = front.authority.issue_for(app, Purpose::Role, user.clone(), vec![id.clone()], claims.generation, lifetime);
    let (_, token) = issued.ok_or_else(no_key)?;
    let mut response = body::json(StatusCode::OK, text);
    identity::set_token(&mut response, &token);
    Ok(response)
}
