//! Steps of a long request, as lines of its answer or as one summary.

use super::super::body;
use super::super::error::ApiError;
use super::STALLED;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Failures that a summary lists; the others are only counted.
const LISTED: usize = 100;
/// Lines that may wait for a slow reader.
const WAITING: usize = 64;

/// Where the steps go.
pub(super) struct Report(mpsc::Sender<Value>);

impl Report {
    /// Tells a step; false: nobody listens any more.
    pub(super) async fn tell(&self, step: Value) -> bool {
        tokio::time::timeout(STALLED, self.0.send(step)).await.is_ok_and(|sent| sent.is_ok())
    }

    /// The last step where nothing more can be done.
    pub(super) async fn fail(&self, error: ApiError, so_far: Value) {
        self.tell(json!({"error": error.body(), "done": false, "so_far": so_far})).await;
    }
}

/// The answer to a job that reports its steps. `as_summary`: one JSON object in the end.
pub(super) async fn answer<F: Future<Output = ()> + Send + 'static>(as_summary: bool, job: impl FnOnce(Report) -> F) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(job(Report(sender)));
    let mut steps = ReceiverStream::new(receiver);
    if as_summary {
        let (mut failures, mut last) = (Vec::new(), Value::Null);
        while let Some(step) = steps.next().await {
            if step.get("failed_at").is_none() {
                last = step;
            } else if failures.len() < LISTED {
                failures.push(step);
            }
        }
        if let Some(summary) = last.as_object_mut() {
            summary.insert("failures".into(), failures.into());
        }
        return body::json(StatusCode::OK, last.to_string());
    }
    lines(steps.map(|step| Ok::<_, Infallible>(Bytes::from(format!("{step}\n")))))
}

/// An answer of lines.
pub(super) fn lines<E: Into<axum::BoxError> + 'static>(
    stream: impl tokio_stream::Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson;charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
