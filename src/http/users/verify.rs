//! `GET /db/User/verify`: the link that somebody who registered was sent.
//!
//! With `mail.verification` a new user is inactive until he has opened it. Registration asks [`begin`] what belongs to it.

use super::super::Front;
use super::super::error::{self, ApiError};
use super::super::identity::Identity;
use super::mailed::{self, Change};
use super::text_of;
use crate::auth::mailed::{Purpose, Request, issue};
use crate::mail::{Mail, Place, message};
use crate::rights::is_inactive;
use crate::store::SecretWrite;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response};
use dataflows::change::Image;
use std::sync::Arc;

/// The query of a link.
#[derive(serde::Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    pub(super) token: String,
}

/// A verification that begins with a registration.
pub(super) struct Verification {
    /// To be committed with the user, who is `inactive`
    pub(super) secret: SecretWrite,
    place: Place,
    mail: Mail,
    until: i64,
}

impl Verification {
    /// After the commit. The answer to the registration is 204 then.
    pub(super) async fn send(self) {
        self.place.send(self.mail, self.until).await;
    }
}

/// Whether somebody who registers must confirm his address.
pub(super) fn is_required(front: &Front) -> bool {
    front.mail.as_ref().is_some_and(|mailing| mailing.options.verification)
}

/// What belongs to a registration where addresses are verified; none where they are not.
pub(super) fn begin(front: &Front, identity: &Identity, user: &str, username: &str) -> Result<Option<Verification>, ApiError> {
    let Some(mailing) = front.mail.as_ref().filter(|mailing| mailing.options.verification) else { return Ok(None) };
    let address = message::address(username)
        .ok_or_else(|| ApiError::new(error::BAD_REQUEST, "the user name must be an e-mail address, which is sent a link to open"))?;
    let place = mailed::reserve(front, mailing, identity, &format!("verify/{username}"))?;
    let request = Request {
        app: &identity.app.name,
        user,
        purpose: Purpose::Verify,
        address: username,
        generation: 0,
        now: front.clock.now_ms(),
        seconds: mailing.options.verify_seconds,
    };
    let (token, secret) = issue(&*front.secrets, &request)?;
    let mail = mailing.links.verify(address, front.word(&identity.app), &token);
    Ok(Some(Verification { secret, place, mail, until: request.ends() }))
}

/// `GET /db/User/verify?token=`
pub(in crate::http) async fn verify(
    State(front): State<Arc<Front>>,
    identity: Identity,
    headers: HeaderMap,
    Query(Link { token }): Query<Link>,
) -> Result<Response<Body>, ApiError> {
    let verified = async {
        let (redeemed, credentials) = mailed::redeem(&front, &identity, Purpose::Verify, &token)?;
        let address = redeemed.address.clone();
        // With another name since then, it is not the address that was verified.
        let activate = move |user: &Image| {
            (is_inactive(Some(user)) && text_of(user, "username") == Some(&*address)).then_some(Change::Field("inactive", None))
        };
        mailed::spend(&front, &identity, redeemed, credentials.as_ref(), activate).await
    };
    let result = verified.await;
    mailed::opened(&headers, result, "Your address is confirmed. You can log in now.")
}
