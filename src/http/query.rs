//! `/db/:bucket/query` and `/count`: one-shot answers, evaluated by the code that judges live (CONTRACT section 9).

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
use dataflows::query::Filter;
use dataflows::query::ast::Predicate;
use dataflows::query::sort::{Sort, SortError};
use std::sync::Arc;

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

async fn answer(front: &Front, bucket: Arc<str>, identity: &Identity, text: &str, asked: Parameters) -> Result<Response<Body>, ApiError> {
    let selection = selection(front, bucket, identity, text)?;
    let bad = |error: SortError| ApiError::new(error::BAD_QUERY, error.to_string());
    let sort = asked.sort.as_deref().filter(|text| !text.is_empty()).map(Sort::parse).transpose().map_err(bad)?;
    let snapshot = front.store.snapshot().await?;
    let position = snapshot.position();
    let predicate = selection.predicate.clone();
    let mut images = snapshot.select(selection).await?;
    let sort = sort.filter(|sort| !sort.is_empty());
    if sort.is_some() || predicate.nearest().is_some() {
        // Large results take their time; they take it elsewhere.
        let sorting = tokio::task::spawn_blocking(move || {
            match sort {
                Some(sort) => sort.sort(&mut images),
                None => nearest_first(&predicate, &mut images),
            }
            images
        });
        images = sorting.await.map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    }
    let count = asked.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let window = images.iter().skip(asked.start.unwrap_or(0)).take(count);
    let mut response = body::json(StatusCode::OK, array(window));
    super::set_position(&mut response, &position);
    Ok(response)
}

/// Who asks for what is near and for no order wants the nearest first. Stable: at one distance in the order of their ids.
fn nearest_first(predicate: &Predicate, images: &mut [Arc<Image>]) {
    if let Some(nearest) = predicate.nearest() {
        // Distances are not negative, and the bits of such doubles are in the doubles' order.
        images.sort_by_cached_key(|image| nearest.distance(image.document.root()).to_bits());
    }
}

async fn counted(front: &Front, bucket: Arc<str>, identity: &Identity, text: &str) -> Result<Response<Body>, ApiError> {
    let selection = Selection { limit: usize::MAX, ..selection(front, bucket, identity, text)? };
    let snapshot = front.store.snapshot().await?;
    let count = snapshot.count(selection).await?;
    let mut response = body::json(StatusCode::OK, format!("{{\"count\":{count}}}"));
    super::set_position(&mut response, &snapshot.position());
    Ok(response)
}

fn selection(front: &Front, bucket: Arc<str>, identity: &Identity, text: &str) -> Result<Selection, ApiError> {
    if !front.store.schema(&identity.app.name).rights_of(&bucket).query.permits(&identity.session.caller) {
        return Err(ApiError::class_right("query", &bucket));
    }
    let text = if text.trim().is_empty() { "{}" } else { text };
    let filter = Filter::parse(text, &front.query_limits).map_err(|error| ApiError::new(error::BAD_QUERY, error.to_string()))?;
    Ok(Selection {
        app: identity.app.name.clone(),
        bucket,
        predicate: filter.predicate,
        caller: identity.session.caller.clone(),
        limit: front.options.result_objects,
    })
}

fn parameters(asked: Asked) -> Result<Parameters, ApiError> {
    // The message must not repeat the query string: a token could stand in it.
    asked
        .map(|Query(parameters)| parameters)
        .map_err(|_| ApiError::new(error::BAD_REQUEST, "the parameters cannot be read: q and sort are JSON, start and count are numbers"))
}

fn array<'i>(images: impl Iterator<Item = &'i Arc<Image>> + Clone) -> Vec<u8> {
    let mut text = Vec::with_capacity(images.clone().map(|image| image.json().len() + 1).sum::<usize>() + 2);
    text.push(b'[');
    for (position, image) in images.enumerate() {
        if position > 0 {
            text.push(b',');
        }
        text.extend_from_slice(image.json());
    }
    text.push(b']');
    text
}
