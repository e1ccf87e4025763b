//! `POST /db/User/changeUsername` and `GET /db/User/verifyUsername`: another address as the name, once it has proved to be the user's.

use super::super::error::{self, ApiError};
use super::super::identity::Identity;
use super::super::{Front, body, body::Whole};
use super::mailed::{self, Change};
use super::verify::Link;
use super::{Account, login};
use crate::auth::mailed::{Purpose, Request, issue};
use crate::mail::message;
use crate::rights::is_inactive;
use crate::store::Batch;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response};
use dataflows::change::Image;
use std::sync::Arc;

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renamed {
    username: String,
    new_username: String,
    password: String,
}

/// `POST /db/User/changeUsername`: 204, and a link to the new address.
pub(in crate::http) async fn change(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let mailing = mailed::enabled(&front)?;
    let Renamed { username, new_username, password } = body.json()?;
    let account = login::check_beside_factor(&front, &identity, &username, password).await?;
    let address = message::address(&new_username)
        .ok_or_else(|| ApiError::new(error::BAD_REQUEST, "the new user name must be an e-mail address, which is sent a link to open"))?;
    if Account::named(&front, &identity, &new_username).await?.is_some() {
        return Err(taken(&new_username));
    }
    let place = mailed::reserve(&front, mailing, &identity, &format!("rename/{new_username}"))?;
    let request = Request {
        app: &identity.app.name,
        user: &account.id,
        purpose: Purpose::Rename,
        address: &new_username,
        generation: account.generation(),
        now: front.clock.now_ms(),
        seconds: mailing.options.verify_seconds,
    };
    let (token, secret) = issue(&*front.secrets, &request)?;
    front.store.commit_batch(Batch { secrets: vec![secret], ..Batch::default() }).await?;
    place.send(mailing.links.rename(address, front.word(&identity.app), &token), request.ends()).await;
    Ok(body::empty())
}

/// `GET /db/User/verifyUsername?token=`
pub(in crate::http) async fn verify(
    State(front): State<Arc<Front>>,
    identity: Identity,
    headers: HeaderMap,
    Query(Link { token }): Query<Link>,
) -> Result<Response<Body>, ApiError> {
    let renamed = async {
        let (redeemed, credentials) = mailed::redeem(&front, &identity, Purpose::Rename, &token)?;
        let address = redeemed.address.clone();
        if Account::named(&front, &identity, &address).await?.is_some() {
            return Err(taken(&address));
        }
        let rename = move |user: &Image| (!is_inactive(Some(user))).then(|| Change::Field("username", Some(address.clone())));
        mailed::spend(&front, &identity, redeemed, credentials.as_ref(), rename).await
    };
    let result = renamed.await;
    mailed::opened(&headers, result, "Your new address is confirmed. Log in with it from now on.")
}

fn taken(username: &str) -> ApiError {
    ApiError::new(error::NAME_TAKEN, format!("there is a user named {username:?} already"))
}
