//! Bodies arrive whole before anything is taken for their requests.
//!
//! Whoever sends slowly makes nobody wait then: his request stands in no line, holds no place in one, and an app that is deleted
//! does not wait for him. What arrives is bounded in time (`server.body_seconds`) and in memory ([`crate::apps::bodies`]). A body
//! that is worked on as a stream passes by: its handler has bounds of its own, and here it only must not fall silent.

use super::error::{self, ApiError};
use super::{Front, quota};
use crate::apps::App;
use crate::apps::bodies::Held;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Request, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use std::sync::Arc;
use std::time::Duration;
use tower_http::timeout::TimeoutBody;

/// A stream of which nothing more comes within this is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// Longer than a body may be
    TooLong,
    /// Too slow, or broken off
    TooSlow,
    /// There is no memory for it
    NoRoom,
}

/// Reads the body of a request before it goes on.
pub(super) async fn arrive(State(front): State<Arc<Front>>, request: Request<Body>, next: Next) -> Response<Body> {
    let Some(app) = request.extensions().get::<Arc<App>>().cloned() else { return next.run(request).await };
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    if quota::is_streamed(request.method(), request.uri().path()) {
        return next.run(request.map(|body| Body::new(TimeoutBody::new(SILENCE, body)))).await;
    }
    let (head, body) = request.into_parts();
    let held = front.bodies.begin(app.quota.bodies(), front.apps.count() == 1);
    let reading = tokio::time::timeout(Duration::from_secs(front.options.body_seconds), read(body, front.options.body_bytes, held));
    let read = tokio::select! {
        read = reading => read.unwrap_or(Err(Unread::TooSlow)),
        () = app.closed() => return ApiError::plain(error::NO_SUCH_PAGE).into_response(),
    };
    let body = match read {
        Ok(bytes) => Body::from(bytes),
        // Who wants the body hears of it there; nobody else needs to.
        Err(Unread::TooLong) => too_long(),
        Err(Unread::TooSlow) => return ApiError::plain(error::TOO_SLOW).into_response(),
        Err(Unread::NoRoom) => return no_room(),
    };
    next.run(Request::from_parts(head, body)).await
}

/// The whole body; what it holds is given back when the last part of it is dropped. `longest` in bytes.
async fn read(mut body: Body, longest: usize, mut held: Held) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > longest as u64 {
        return Err(Unread::TooLong);
    }
    let (mut first, mut whole) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Unread::TooSlow)?.into_data() else { continue };
        let before = first.len().max(whole.len());
        if piece.len() > longest.saturating_sub(before) {
            return Err(Unread::TooLong);
        }
        if !held.more(piece.len()) {
            return Err(Unread::NoRoom);
        }
        if before == 0 {
            first = piece;
            continue;
        }
        // Copied, as a small piece may be a part of a large buffer.
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&piece);
    }
    let bytes = if whole.is_empty() { first } else { whole.into() };
    Ok(Bytes::from_owner(Arrived { bytes, _held: held }))
}

/// A body with its place in memory.
struct Arrived {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Arrived {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is too long from its first byte on.
fn too_long() -> Body {
    Body::new(Limited::new(Full::new(Bytes::from_static(b" ")), 0))
}

fn no_room() -> Response<Body> {
    let mut response = ApiError::plain(error::TOO_MANY_BODIES).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
