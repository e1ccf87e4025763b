//! An answer that goes out before the request was read to its end must reach the client all the same.
//!
//! A server that closes a connection with something unread on it resets it, and then the client mostly sees the reset and never
//! the answer that says why. So what a refused request still sends is read and thrown away, within limits. The client then also
//! keeps its connection.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Response, Version, header};
use axum::middleware::Next;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// So much arrives together with the head, mostly; the HTTP stack reads that by itself. Bytes.
const SMALL: u64 = 8 * 1024;
/// Whoever sends more than this for nothing is cut off, bytes.
const LONGEST: usize = 16 * 1024 * 1024;
/// As is whoever takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wraps the bodies of requests that might be answered before they were read.
pub(super) async fn linger(request: Request, next: Next) -> Response<Body> {
    let small = request.body().size_hint().upper().is_some_and(|most| most <= SMALL);
    // Over HTTP/2 each request ends by itself; who expects to be told to go on sends nothing until then.
    let alone = request.version() >= Version::HTTP_2 || request.headers().contains_key(header::EXPECT);
    if small || alone {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::new(Lingering { unread: Some(body) }))).await
}

/// A body that is read to its end also when nobody wants it.
struct Lingering {
    unread: Option<Body>,
}

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = self.unread.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.unread = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.unread.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.unread.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(rest) = self.unread.take().filter(|body| !body.is_end_stream())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { tokio::time::timeout(PATIENCE, read_on(rest)).await });
        }
    }
}

async fn read_on(mut body: Body) {
    let mut left = LONGEST;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}
