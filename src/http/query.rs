//! `/db/:bucket/query` and `/count`: one-shot answers, evaluated by the code that judges live (docs/query.md).

use super::Front;
use super::body::{self, Whole};
use super::error::{self, ApiError};
use super::identity::Identity;
use super::path::BucketPath;
use crate::store::Selection;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Response, StatusCode};
use dataflows::change::Image;
use dataflows::document::Value;
use dataflows::query::sort::{Sort, SortError};
use std::sync::Arc;

/// Objects, and bytes of them, whose answer is written where it is: less work than handing it to another thread.
const FEW: usize = 1000;
const SHORT: usize = 256 << 10;

/// What stands in the URL; the query itself may stand in the body.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    q: Option<String>,
    #[serde(default)]
    start: Option<usize>,
    /// -1: all
    #[serde(default)]
    count: Option<i64>,
    #[serde(default)]
    sort: Option<String>,
}

type Asked = Result<Query<Parameters>, QueryRejection>;

/// `GET /db/:bucket/query`
pub(super) async fn query(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    asked: Asked,
) -> Result<Response<Body>, ApiError> {
    let asked = parameters(asked)?;
    let text = asked.q.clone().unwrap_or_default();
    answer(&front, bucket, &identity, &text, asked).await
}

/// `POST /db/:bucket/query`: for queries that are too long for a URL.
pub(super) async fn query_by_body(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    asked: Asked,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    answer(&front, bucket, &identity, body.text()?, parameters(asked)?).await
}

/// `GET /db/:bucket/count`
pub(super) async fn count(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    asked: Asked,
) -> Result<Response<Body>, ApiError> {
    counted(&front, bucket, &identity, &parameters(asked)?.q.unwrap_or_default()).await
}

/// `POST /db/:bucket/count`
pub(super) async fn count_by_body(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    counted(&front, bucket, &identity, body.text()?).await
}

/// `GET /db/:bucket/ids`: the ids alone, in their order.
pub(super) async fn ids(
    State(front): State<Arc<Front>>,
    BucketPath(bucket): BucketPath,
    identity: Identity,
    asked: Asked,
) -> Result<Response<Body>, ApiError> {
    let asked = parameters(asked)?;
    let selection = windowed(selection(&front, bucket, &identity, "").await?, &asked);
    let snapshot = front.store.snapshot().await?;
    let images = snapshot.select(selection).await?;
    let mut response = body::json(StatusCode::OK, written(images, ids_of).await?);
    super::set_position(&mut response, &snapshot.position());
    Ok(response)
}

async fn answer(front: &Front, bucket: Arc<str>, identity: &Identity, text: &str, asked: Parameters) -> Result<Response<Body>, ApiError> {
    let selection = selection(front, bucket, identity, text).await?;
    let bad = |error: SortError| ApiError::new(error::BAD_QUERY, error.to_string());
    let sort = asked.sort.as_deref().filter(|text| !text.is_empty()).map(Sort::parse).transpose().map_err(bad)?;
    let snapshot = front.store.snapshot().await?;
    let position = snapshot.position();
    let selection = Selection { sort: sort.unwrap_or_default(), ..windowed(selection, &asked) };
    let images = snapshot.select(selection).await?;
    let mut response = body::json(StatusCode::OK, written(images, array).await?);
    super::set_position(&mut response, &position);
    Ok(response)
}

async fn counted(front: &Front, bucket: Arc<str>, identity: &Identity, text: &str) -> Result<Response<Body>, ApiError> {
    let selection = Selection { limit: usize::MAX, ..selection(front, bucket, identity, text).await? };
    let snapshot = front.store.snapshot().await?;
    let count = snapshot.count(selection).await?;
    let mut response = body::json(StatusCode::OK, format!("{{\"count\":{count}}}"));
    super::set_position(&mut response, &snapshot.position());
    Ok(response)
}

async fn selection(front: &Front, bucket: Arc<str>, identity: &Identity, text: &str) -> Result<Selection, ApiError> {
    if !front.store.schema(&identity.app.name).rights_of(&bucket).query.permits(&identity.session.caller) {
        return Err(ApiError::class_right("query", &bucket));
    }
    let text = if text.trim().is_empty() { "{}" } else { text };
    let parsed = crate::query::parse(text, &front.query_limits).await;
    let filter = parsed.map_err(|error| ApiError::new(error::BAD_QUERY, error.to_string()))?;
    let (app, caller) = (identity.app.name.clone(), identity.session.caller.clone());
    Ok(Selection::all(app, bucket, filter.predicate, caller, front.options.result_objects))
}

/// Start and count; a negative count is all.
fn windowed(selection: Selection, asked: &Parameters) -> Selection {
    let count = asked.count.and_then(|count| usize::try_from(count).ok());
    Selection { skip: asked.start.unwrap_or(0), count, ..selection }
}

fn parameters(asked: Asked) -> Result<Parameters, ApiError> {
    // The message must not repeat the query string: a token could stand in it.
    asked
        .map(|Query(parameters)| parameters)
        .map_err(|_| ApiError::new(error::BAD_REQUEST, "the parameters cannot be read: q and sort are JSON, start and count are numbers"))
}

/// The text of an answer. A long one takes milliseconds, to write and to let go of what it was made of: on a thread that may block.
async fn written(images: Vec<Arc<Image>>, write: fn(&[Arc<Image>]) -> Vec<u8>) -> Result<Vec<u8>, ApiError> {
    if images.len() <= FEW && images.iter().map(|image| image.json().len()).sum::<usize>() <= SHORT {
        return Ok(write(&images));
    }
    let writing = tokio::task::spawn_blocking(move || write(&images));
    writing.await.map_err(|error| ApiError::new(error::CRASHED, error.to_string()))
}

fn array(images: &[Arc<Image>]) -> Vec<u8> {
    let mut text = Vec::with_capacity(images.iter().map(|image| image.json().len() + 1).sum::<usize>() + 2);
    text.push(b'[');
    for (position, image) in images.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        text.extend_from_slice(image.json());
    }
    text.push(b']');
    text
}

fn ids_of(images: &[Arc<Image>]) -> Vec<u8> {
    let id = |image: &Arc<Image>| match image.document.root().get("id") {
        Some(Value::String(id)) => serde_json::Value::from(id),
        _ => serde_json::Value::Null,
    };
    serde_json::Value::from_iter(images.iter().map(id)).to_string().into_bytes()
}
