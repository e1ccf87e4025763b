//! `POST /db/User/reset`: a link to choose a new password, for somebody who has forgotten his.
//!
//! The answer is the same, and as quick, whether there is such a user or not.

use super::super::error::{self, ApiError};
use super::super::identity::Identity;
use super::super::page::Page;
use super::super::{Front, body, body::Whole};
use super::mailed::{self, Change};
use super::{Account, text_of, unhashed};
use crate::auth::credentials::Credentials;
use crate::auth::mailed::{Purpose, Request, issue};
use crate::mail::{Place, message};
use crate::rights::is_inactive;
use crate::store::{Batch, BatchError};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use std::sync::Arc;

const BODY: &str = include_str!("reset.html");
const SCRIPT: &str = include_str!("reset.js");
/// Tries where somebody else is asked for the same user's link at the same time.
const TRIES: usize = 3;

#[derive(serde::Deserialize)]
struct Forgotten {
    username: String,
}

/// `POST /db/User/reset`
pub(in crate::http) async fn reset(State(front): State<Arc<Front>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    let mailing = mailed::enabled(&front)?;
    let Forgotten { username } = body.json()?;
    let place = mailed::reserve(&front, mailing, &identity, &format!("reset/{username}"))?;
    // Looking it up takes longer where there is somebody: nobody waits for it.
    tokio::spawn(async move {
        if let Err(error) = send(&front, &identity, &username, place).await {
            tracing::error!(%error, "a link for a new password could not be made");
        }
    });
    Ok(body::json(StatusCode::OK, "{}"))
}

async fn send(front: &Front, identity: &Identity, username: &str, place: Place) -> Result<(), ApiError> {
    let mailing = mailed::enabled(front)?;
    let Some(address) = message::address(username) else { return Ok(()) };
    let Some(account) = Account::named(front, identity, username).await?.filter(Account::is_active) else { return Ok(()) };
    let id = &*account.id;
    let app = &identity.app.name;
    for _ in 0..TRIES {
        let generation = Credentials::read(&*front.secrets, app, id)?.map_or(0, |credentials| credentials.generation);
        let request = Request {
            app,
            user: id,
            purpose: Purpose::Reset,
            address: username,
            generation,
            now: front.clock.now_ms(),
            seconds: mailing.options.reset_seconds,
        };
        let (token, secret) = issue(&*front.secrets, &request)?;
        match front.store.commit_batch(Batch { secrets: vec![secret], ..Batch::default() }).await {
            Err(BatchError::Conflict) => continue,
            committed => drop(committed?),
        }
        place.send(mailing.links.reset(address, front.word(&identity.app), &token), request.ends()).await;
        return Ok(());
    }
    Ok(())
}

/// Sets the password of whoever was mailed the token, and ends all tokens that he has.
pub(super) async fn redeem(front: &Front, identity: &Identity, token: &str, password: String) -> Result<Account, ApiError> {
    let (redeemed, before) = mailed::redeem(front, identity, Purpose::Reset, token)?;
    let app = &identity.app.name;
    let hash = front.passwords.hash(password).await.map_err(unhashed)?;
    let generation = redeemed.generation.saturating_add(1);
    let old = before.clone().unwrap_or_else(|| Credentials::new(None));
    let credentials = Credentials { hash: Some(hash), generation, ..old };
    let address = redeemed.address;
    let still_his = mailed::of_user(app, &redeemed.user, move |user| {
        (!is_inactive(Some(user)) && text_of(user, "username") == Some(&*address)).then_some(Change::Nothing)
    })?;
    let batch = Batch {
        writes: vec![still_his],
        secrets: vec![redeemed.spent, credentials.write(app, &redeemed.user, Some(before.as_ref()))?],
        revocations: vec![front.authority.revocation(app, &redeemed.user, generation)],
    };
    mailed::commit(front, batch).await?;
    let account = Account::of(front, identity, &redeemed.user.into()).await?;
    account.ok_or_else(|| ApiError::plain(error::BAD_LINK))
}

/// `GET /db/User/reset`: the page for a new password, where the app has none of its own. The token stands in the fragment.
pub(in crate::http) async fn page(State(front): State<Arc<Front>>) -> Result<Response<Body>, ApiError> {
    mailed::enabled(&front)?;
    Ok(Page { status: StatusCode::OK, title: "New password", body: BODY, data: &[], script: SCRIPT, framed_by: "'none'" }.answer())
}
