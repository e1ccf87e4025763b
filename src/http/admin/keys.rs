//! `POST /keys/rotate`: a new key signs the tokens of an app; former ones verify for a while.

use super::{Admin, require_admin};
use crate::auth::RotateError;
use crate::auth::keys::KeyError;
use crate::http::body;
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Response, StatusCode};
use std::sync::Arc;

/// What stands in the URL.
#[derive(serde::Deserialize)]
pub(super) struct Parameters {
    /// Seconds for which tokens of former keys are still good; without it as long as any token lives
    overlap: Option<u64>,
    /// Of which app; without it the default one
    app: Option<String>,
}

/// Answers when the new key is on the disk.
pub(super) async fn rotate(
    State(admin): State<Arc<Admin>>,
    Query(Parameters { overlap, app }): Query<Parameters>,
    identity: Identity,
) -> Result<Response<Body>, ApiError> {
    require_admin(&identity)?;
    let app = match app {
        Some(name) => admin.front.apps.get(&name).ok_or_else(|| ApiError::new(error::BAD_REQUEST, format!("there is no app {name}")))?,
        None => identity.app,
    };
    let app = &app.name;
    let former = admin.front.authority.rotate(app, overlap, &*admin.front.store).await.map_err(refused)?;
    tracing::info!(%app, former, "a new key signs tokens");
    Ok(body::json(StatusCode::OK, serde_json::json!({ "app": &**app, "former": former }).to_string()))
}

fn refused(error: RotateError) -> ApiError {
    match error {
        RotateError::Key(KeyError::TooMany) => ApiError::plain(error::TOO_MANY_KEYS),
        RotateError::Store(refused) => crate::http::users::refused(refused),
        error => ApiError::new(error::CRASHED, error.to_string()),
    }
}
