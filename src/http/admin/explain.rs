//! `GET /explain?bucket=&q=&sort=&start=&count=&app=`: on which entries of the index a live query would hang, asked of the running
//! dataflow; and how the store answers it once: the plan, what else was considered, what was looked at.

use super::{Admin, require_admin};
use crate::apps::AppError;
use crate::http::body;
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::object::id;
use crate::query;
use crate::store::Selection;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Response, StatusCode};
use dataflows::query::sort::{Sort, SortError};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::oneshot;

#[derive(serde::Deserialize)]
pub(super) struct Parameters {
    bucket: String,
    /// By its name; none: the default one
    #[serde(default)]
    app: Option<String>,
    #[serde(default)]
    q: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    start: usize,
    /// -1: all
    #[serde(default)]
    count: Option<i64>,
}

pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    identity: Identity,
    asked: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let missing = |_| {
        ApiError::new(
            error::BAD_REQUEST,
            "give a bucket and a query, percent-encoded: /explain?bucket=Lot&q=%7B%22price%22%3A1%7D is {\"price\":1}",
        )
    };
    let Query(asked) = asked.map_err(missing)?;
    let bucket = id::bucket(&asked.bucket)?;
    let text = if asked.q.trim().is_empty() { "{}" } else { &asked.q };
    let parsed = query::parse(text, &admin.front.query_limits).await;
    let filter = parsed.map_err(|error| ApiError::new(error::BAD_QUERY, error.to_string()))?;

    let app = match &asked.app {
        Some(name) => admin.front.apps.get(name).ok_or_else(|| AppError::Missing(name.clone()))?,
        None => identity.app.clone(),
    };
    let bad = |error: SortError| ApiError::new(error::BAD_QUERY, error.to_string());
    let sort = if asked.sort.is_empty() { Sort::default() } else { Sort::parse(&asked.sort).map_err(bad)? };
    let (predicate, caller) = (filter.predicate.clone(), identity.session.caller.clone());
    let selection = Selection {
        sort,
        skip: asked.start,
        count: asked.count.and_then(|count| usize::try_from(count).ok()),
        ..Selection::all(app.name.clone(), bucket.clone(), predicate, caller, admin.front.options.result_objects)
    };
    let answer = admin.front.store.snapshot().await?.explain(selection).await?;

    // It is installed for as long as it takes to ask; nobody gets its deltas.
    let (installed, told) = oneshot::channel();
    let query = admin.engine.subscribe(
        app.name.clone(),
        bucket,
        &filter,
        Box::new(move |result| {
            let _ = installed.send(result);
        }),
    );
    let ended = |_| ApiError::new(error::CLOSING, "the dataflow ended before it could tell");
    told.await.map_err(ended)?.map_err(|error| ApiError::new(error::BAD_QUERY, error.to_string()))?;
    let (explained, told) = oneshot::channel();
    admin.engine.explain(
        query,
        Box::new(move |explanation| {
            let _ = explained.send(explanation);
        }),
    );
    let explanation = told.await;
    admin.engine.unsubscribe(query);
    let explanation = explanation.map_err(ended)?;
    let answer = json!({"query": &*filter.text, "explanation": explanation, "answer": answer});
    Ok(body::json(StatusCode::OK, answer.to_string()))
}
