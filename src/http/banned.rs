//! `/banned`: addresses that are kept out, and those that the brake on logins holds.
//!
//! The SDK knows `GET /banned` (always the answer of the banned, for those who build pages and caches around it),
//! `GET /banned/:ip` (204 where the address is not held) and `DELETE` of both. Administrators get the list, and `PUT`.
//!
//! A ban is of one app and is asked about at every request, so a connection over which many come needs no end: others may use it
//! for other apps. Websockets and event streams are one app's and never ask again, so a ban from everything ends them.

use super::Front;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use crate::auth::bans::{Ban, BanError, Scope};
use crate::auth::network::{counted, spelt};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Method, Response, StatusCode};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

/// A reason is no longer, bytes.
const REASON: usize = 500;

/// What a ban is made of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    reason: String,
    /// None: until it is lifted
    seconds: Option<u32>,
    #[serde(default = "logins")]
    scope: Scope,
}

fn logins() -> Scope {
    Scope::Login
}

/// Refuses what comes from a banned address. Asked on every request, before who asks is known.
pub(super) fn admit(front: &Front, app: &str, method: &Method, path: &str, address: IpAddr) -> Result<(), ApiError> {
    let scope = if is_login(method, path) { Scope::Login } else { Scope::Everything };
    match front.bans.of(app, address, scope, front.clock.now_ms())? {
        Some(_) => Err(ApiError::plain(error::BANNED)),
        None => Ok(()),
    }
}

/// What was opened at an address while that was being banned: whoever bans looks at what is open after the ban holds, and
/// whoever opens looks at the bans again when it is open, so one of the two sees it.
pub(super) fn admit_again(front: &Front, app: &str, address: IpAddr) -> Result<(), ApiError> {
    match front.bans.of(app, address, Scope::Everything, front.clock.now_ms())? {
        Some(_) => Err(ApiError::plain(error::BANNED)),
        None => Ok(()),
    }
}

/// Whether somebody logs in there, becomes a user, or has mail sent.
fn is_login(method: &Method, path: &str) -> bool {
    const POSTS: [&str; 6] = ["login", "register", "password", "reset", "changeUsername", "mfa/token"];
    match path.strip_prefix("/db/User/") {
        Some(action) => (method == Method::POST && POSTS.contains(&action)) || action.starts_with("OAuth/"),
        None => false,
    }
}

/// `GET /banned`: the list for administrators; for others the answer that the banned get.
pub(super) async fn list(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    if !identity.session.caller.is_admin() {
        return Err(ApiError::plain(error::BANNED));
    }
    let now = front.clock.now_ms();
    let bans = front.bans.all(&identity.app.name, now)?;
    let list: Vec<_> = bans
        .iter()
        .map(|ban| json!({"address": ban.network.to_string(), "scope": ban.scope, "reason": ban.reason, "since": instant(ban.since), "until": ban.until.map(instant)}))
        .collect();
    let held: Vec<_> = front
        .brake
        .held(&identity.app.name, now)
        .into_iter()
        .map(|held| json!({"user": held.user, "address": held.network.as_ref().map(spelt), "until": instant(held.until)}))
        .collect();
    Ok(body::json(StatusCode::OK, json!({"bans": list, "held": held}).to_string()))
}

/// `GET /banned/:ip`: 204 if nothing keeps the address from logging in.
pub(super) async fn test(
    State(front): State<Arc<Front>>,
    identity: Identity,
    Path((_, address)): Path<(String, String)>,
) -> Result<Response<Body>, ApiError> {
    let network = network(&address)?;
    // Everybody may ask about himself, and administrators about anybody.
    if !identity.session.caller.is_admin() && !network.contains(&identity.address.to_canonical()) {
        return Err(denied());
    }
    match front.bans.of(&identity.app.name, network.addr(), Scope::Login, front.clock.now_ms())? {
        None => Ok(body::empty()),
        Some(ban) => {
            let mut error = ApiError::plain(error::BANNED);
            error.data = Some(Box::new(json!({"address": ban.network.to_string(), "until": ban.until.map(instant)})));
            Err(error)
        }
    }
}

/// `PUT /banned/:ip`: bans an address, or a network such as `10.0.0.0%2F8`.
pub(super) async fn ban(
    State(front): State<Arc<Front>>,
    identity: Identity,
    Path((_, address)): Path<(String, String)>,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let network = network(&address)?;
    let wanted: Wanted = if body.0.is_empty() { Whole("{}".into()).json()? } else { body.json()? };
    if wanted.reason.len() > REASON {
        return Err(ApiError::new(error::BAD_REQUEST, format!("a reason has at most {REASON} bytes")));
    }
    if network.contains(&identity.address.to_canonical()) {
        return Err(ApiError::new(
            error::BAD_REQUEST,
            format!("{network} has your own address in it: nobody could lift the ban from here"),
        ));
    }
    let now = front.clock.now_ms();
    let until = wanted.seconds.map(|seconds| now.saturating_add(i64::from(seconds) * 1000));
    let ban = Ban { network, scope: wanted.scope, reason: wanted.reason, since: now, until };
    change(&front, &identity, |bans| {
        bans.retain(|other| other.network != network);
        bans.push(ban);
    })
    .await?;
    tracing::info!(app = %identity.app.word, %network, "banned");
    if wanted.scope == Scope::Everything {
        front.live.end_addresses(&identity.app, &network);
    }
    Ok(body::empty())
}

/// `DELETE /banned/:ip`: lifts the ban of this address or network.
pub(super) async fn lift(
    State(front): State<Arc<Front>>,
    identity: Identity,
    Path((_, address)): Path<(String, String)>,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let network = network(&address)?;
    change(&front, &identity, |bans| bans.retain(|ban| ban.network != network)).await?;
    front.brake.release(&identity.app.name, |held| network.contains(held) || counted(network.addr()) == *held);
    Ok(body::empty())
}

/// `DELETE /banned`: lifts them all.
pub(super) async fn lift_all(State(front): State<Arc<Front>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    change(&front, &identity, Vec::clear).await?;
    front.brake.release(&identity.app.name, |_| true);
    Ok(body::empty())
}

async fn change(front: &Front, identity: &Identity, change: impl FnOnce(&mut Vec<Ban>)) -> Result<(), ApiError> {
    let changed = front.bans.change(&identity.app.name, &*front.store, front.clock.now_ms(), change).await;
    changed.map_err(|error| match error {
        BanError::Store(error) => ApiError::from(error),
        error => ApiError::new(error::BAD_REQUEST, error.to_string()),
    })
}

fn require_admin(identity: &Identity) -> Result<(), ApiError> {
    if identity.session.caller.is_admin() { Ok(()) } else { Err(denied()) }
}

fn denied() -> ApiError {
    ApiError::new(error::DENIED, "only administrators change or read the bans of others")
}

/// An address or a network, in its one spelling.
fn network(text: &str) -> Result<IpNet, ApiError> {
    let wrong = || ApiError::new(error::BAD_REQUEST, format!("{text:?} is neither an address nor a network such as 10.0.0.0/8"));
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address.to_canonical())),
        Err(_) => text.parse::<IpNet>().map(|network| network.trunc()).map_err(|_| wrong()),
    }
}

fn instant(milliseconds: i64) -> String {
    crate::object::time::instant(milliseconds)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_way_in_is_a_login() {
        for (method, path, login) in [
            (Method::POST, "/db/User/login", true),
            (Method::POST, "/db/User/register", true),
            (Method::POST, "/db/User/mfa/token", true),
            (Method::GET, "/db/User/OAuth/acme", true),
            (Method::GET, "/db/User/login", false),
            (Method::GET, "/db/User/me", false),
            (Method::POST, "/db/Lot", false),
            (Method::GET, "/connect", false),
        ] {
            assert_eq!(is_login(&method, path), login, "{method} {path}");
        }
    }

    #[test]
    fn one_network_has_one_spelling() {
        assert_eq!(network("10.1.2.3/8").unwrap(), network("10.0.0.0/8").unwrap());
        assert_eq!(network("::ffff:10.0.0.1").unwrap(), network("10.0.0.1").unwrap());
        assert!(network("10.0.0").is_err() && network("").is_err() && network("localhost").is_err());
    }
}
