//! `GET /explain?bucket=&q=&app=`: on which entries of the index a query would hang, asked of the running dataflow.

use super::{Admin, require_admin};
use crate::apps::AppError;
use crate::http::body;
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::object::id;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Response, StatusCode};
use dataflows::query::Filter;
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
}

pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    identity: Identity,
    asked: Result<Query<Parameters>, QueryRejection>,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let missing = |_| ApiError::new(error::BAD_REQUEST, "give a bucket and a query: /explain?bucket=Lot&q={\"price\":1}");
    let Query(asked) = asked.map_err(missing)?;
    let bucket = id::bucket(&asked.bucket)?;
    let text = if asked.q.trim().is_empty() { "{}" } else { &asked.q };
    let filter = Filter::parse(text, &admin.front.query_limits).map_err(|error| ApiError::new(error::BAD_QUERY, error.to_string()))?;

    let app = match &asked.app {
        Some(name) => admin.front.apps.get(name).ok_or_else(|| AppError::Missing(name.clone()))?,
        None => identity.app.clone(),
    };
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
    let answer = json!({"query": &*filter.text, "explanation": explanation});
    Ok(body::json(StatusCode::OK, answer.to_string()))
}
