//! `GET /ingest`: the topics that come in. `POST /ingest/replay`: dead letters tried again.

use super::{Admin, require_admin};
use crate::http::body::{self, Whole};
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::ingest::replay::{ReplayError, Which};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::json;
use std::sync::Arc;

pub(super) async fn status(State(admin): State<Arc<Admin>>, identity: Identity) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let topics = admin.ingest.as_ref().map(|ingest| ingest.status()).unwrap_or_default();
    Ok(body::json(StatusCode::OK, json!({"topics": topics}).to_string()))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    topic: String,
    /// Where the topic comes into several
    #[serde(default)]
    bucket: Option<String>,
    /// None: all
    #[serde(default)]
    letter: Option<Place>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    partition: i32,
    offset: i64,
}

pub(super) async fn replay(State(admin): State<Arc<Admin>>, identity: Identity, body: Whole) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let asked: Asked = body.json()?;
    let Some(ingest) = admin.ingest.clone() else { return Err(ReplayError::Topic(asked.topic).into()) };
    let which = asked.letter.map_or(Which::All, |letter| Which::One { partition: letter.partition, offset: letter.offset });
    let replaying = tokio::task::spawn_blocking(move || ingest.replay(&asked.topic, asked.bucket.as_deref(), which));
    let replayed = replaying.await.map_err(|error| ApiError::new(error::CRASHED, error.to_string()))??;
    let text = serde_json::to_string(&replayed).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    Ok(body::json(StatusCode::OK, text))
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Store(error) => error.into(),
            ReplayError::Topic(_) | ReplayError::Ambiguous(_) | ReplayError::Missing { .. } => {
                ApiError::new(error::BAD_REQUEST, error.to_string())
            }
            ReplayError::File(_) | ReplayError::Kafka(_) => ApiError::new(error::CRASHED, error.to_string()),
        }
    }
}
