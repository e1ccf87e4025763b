//! `GET /connect`: what a client needs to begin (CONTRACT section 3), and `GET /status`.

use super::error::ApiError;
use super::identity::{self, Identity, NoRenewal};
use super::{Front, body, users};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// Schema, and for somebody with a valid token that token and his user. The SDK takes what is in here for its
/// own, so a valid token that was left out would be erased there.
pub(super) async fn connect(State(front): State<Arc<Front>>, identity: Identity, headers: HeaderMap) -> Result<Response<Body>, ApiError> {
    let mut answer = json!({
        "schema": super::schema::all(&front)?,
        // Nothing is served for caches to keep, so nothing can be stale in them: the filter is empty.
        "bloomFilterRefresh": 60,
        "bloomFilter": {"m": 8, "h": 1, "b": "AA=="},
    });
    if let (Some(claims), Some(answer)) = (&identity.claims, answer.as_object_mut())
        && let Some(user) = users::visible(&front, &claims.user, &identity).await?
        && let Some(token) = front.authority.reissue(&front.app, claims)
    {
        answer.insert("token".into(), Value::String(token));
        answer.insert("user".into(), super::error::parsed(user.json())?);
    }
    // The SDK finds the events at /v1/events by itself.
    if front.options.base != "v1"
        && let (Some(host), Some(answer)) = (headers.get(header::HOST).and_then(|host| host.to_str().ok()), answer.as_object_mut())
    {
        answer.insert("websocket".into(), Value::String(format!("//{host}/{}/events", front.options.base)));
    }
    let mut response = body::json(StatusCode::OK, answer.to_string());
    identity::private(&mut response);
    response.extensions_mut().insert(NoRenewal);
    Ok(response)
}

/// Whether the server takes requests, and what it is.
pub(super) async fn status(State(front): State<Arc<Front>>) -> Result<Response<Body>, ApiError> {
    let position = front.store.snapshot().await?.position().to_string();
    let status = json!({"status": "ok", "name": "tidegate", "version": env!("CARGO_PKG_VERSION"), "position": position});
    Ok(body::json(StatusCode::OK, status.to_string()))
}
