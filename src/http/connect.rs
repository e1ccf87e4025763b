//! `GET /connect`: what a client needs to begin, as the SDK reads it, and `GET /status`.

use super::error::{self, ApiError};
use super::identity::{self, Identity, NoRenewal};
use super::{Front, body, users};
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;

/// What a client reads.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Welcome {
    schema: Box<RawValue>,
    bloom_filter_refresh: u32,
    bloom_filter: BloomFilter,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<String>,
}

#[derive(serde::Serialize)]
struct BloomFilter {
    m: u32,
    h: u32,
    b: &'static str,
}

impl Welcome {
    /// As it is sent.
    pub(super) fn json(&self) -> Result<String, ApiError> {
        serde_json::to_string(self).map_err(crashed)
    }
}

fn crashed(error: serde_json::Error) -> ApiError {
    ApiError::new(error::CRASHED, error.to_string())
}

/// `GET /connect`
pub(super) async fn connect(
    State(front): State<Arc<Front>>,
    identity: Identity,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let mut response = body::json(StatusCode::OK, welcome(&front, &identity, &uri, &headers).await?.json()?);
    identity::private(&mut response);
    response.extensions_mut().insert(NoRenewal);
    Ok(response)
}

/// Schema, and for somebody with a valid token that token and his user. The SDK takes what is in here for its
/// own, so a valid token that was left out would be erased there.
pub(super) async fn welcome(front: &Front, identity: &Identity, uri: &Uri, headers: &HeaderMap) -> Result<Welcome, ApiError> {
    let mut welcome = Welcome {
        schema: super::schema::all(front, identity)?,
        // Nothing is served for caches to keep, so nothing can be stale in them: the filter is empty.
        bloom_filter_refresh: 60,
        bloom_filter: BloomFilter { m: 8, h: 1, b: "AA==" },
        token: None,
        user: None,
        websocket: None,
    };
    if let Some(claims) = &identity.claims
        && let Some((claims, token)) = front.authority.reissue(&identity.app.name, claims)
    {
        front.sessions.renewed(&claims);
        welcome.token = Some(token);
        // Who assumed a role is not told by it.
        let user = users::visible(front, &claims.user, identity).await?;
        welcome.user = user.map(|user| serde_json::from_slice(user.json())).transpose().map_err(crashed)?;
    }
    // The SDK finds the events at /v1/events by itself, and nowhere else.
    let word = uri.path().split('/').nth(1).unwrap_or_default();
    if word != "v1"
        && let Some(host) = identity::host(uri, headers)
    {
        welcome.websocket = Some(format!("//{host}/{word}/events"));
    }
    Ok(welcome)
}

/// Whether the server takes requests, and what it is.
pub(super) async fn status(State(front): State<Arc<Front>>) -> Result<Response<Body>, ApiError> {
    let position = front.store.snapshot().await?.position().to_string();
    let status = json!({"status": "ok", "name": "tidegate", "version": env!("CARGO_PKG_VERSION"), "position": position});
    Ok(body::json(StatusCode::OK, status.to_string()))
}
