//! The listener of administration: `/metrics`, `/health`, `/explain`, `/backup`, `/keys`, `/ingest`, `/apps`, and the login of administrators.
//!
//! Loopback by default, and still within reach of other people on the machine and of any page in a browser there
//! (a name can be made to resolve to loopback). So the name in `Host` must be one that no foreign page can
//! have, and what tells about data needs an administrator's token.

mod apps;
mod backup;
mod explain;
mod ingest;
mod keys;

use super::error::{self, ApiError};
use super::identity::{self, Identity};
use super::{Front, body, users};
use crate::apps::Registry;
use crate::ingest::Ingest;
use crate::store::embedded::Embedded;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use dataflows::engine::Engine;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the handlers share.
pub struct Admin {
    /// For its tokens and limits
    front: Arc<Front>,
    /// For backups
    store: Arc<Embedded>,
    /// For explanations
    engine: Arc<Engine>,
    /// Topics that come in
    ingest: Option<Arc<Ingest>>,
    /// Which apps there are
    registry: Arc<Registry>,
    /// As configured: a name in it is one that requests may use
    host: String,
    /// One backup at a time
    backups: Arc<Semaphore>,
}

impl Admin {
    /// `host`: where this listener was told to listen.
    pub fn new(
        front: Arc<Front>,
        store: Arc<Embedded>,
        engine: Arc<Engine>,
        ingest: Option<Arc<Ingest>>,
        registry: Arc<Registry>,
        host: String,
    ) -> Arc<Admin> {
        Arc::new(Admin { front, store, engine, ingest, registry, host, backups: Arc::new(Semaphore::new(1)) })
    }
}

/// Everything on this listener.
pub fn router(admin: Arc<Admin>) -> Router {
    // So that a command needs to reach nothing but this listener.
    let login = Router::new().route("/db/User/login", post(users::login::login)).with_state(admin.front.clone());
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/explain", get(explain::explain))
        .route("/backup", post(backup::backup))
        .route("/keys/rotate", post(keys::rotate))
        .route("/ingest", get(ingest::status))
        .route("/ingest/replay", post(ingest::replay))
        .route("/apps", get(apps::list).post(apps::create))
        .route("/apps/{name}", get(apps::show).put(apps::change).delete(apps::delete))
        .merge(login)
        .fallback(async || ApiError::plain(error::NO_SUCH_PAGE))
        .method_not_allowed_fallback(async || ApiError::plain(error::WRONG_METHOD))
        .layer(middleware::from_fn_with_state(admin.front.clone(), identity::establish))
        .layer(middleware::from_fn_with_state(admin.clone(), known_host))
        .with_state(admin)
}

async fn known_host(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response<Body> {
    if is_known_host(request.headers(), &admin.host) {
        next.run(request).await
    } else {
        ApiError::new(error::ADMIN_ONLY, "this listener answers to its address or localhost only; use one of those in the URL")
            .into_response()
    }
}

/// An address, `localhost`, or the configured name. A page that had a name made to resolve here has none of these.
fn is_known_host(headers: &HeaderMap, configured: &str) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = |authority: &str| -> String {
        let end = if authority.starts_with('[') { authority.find(']').map(|end| end + 1) } else { authority.find(':') };
        authority.get(..end.unwrap_or(authority.len())).unwrap_or_default().to_ascii_lowercase()
    };
    let host = name(host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok() || host == "localhost" || host == name(configured)
}

/// For what tells about data.
fn require_admin(identity: &Identity) -> Result<(), ApiError> {
    if identity.session.caller.is_admin() {
        Ok(())
    } else {
        Err(ApiError::new(
            error::ADMIN_ONLY,
            "only administrators may do this: log in as root and send the token in `Authorization: BAT <token>`",
        ))
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Result<Response<Body>, ApiError> {
    let text = admin.front.metrics.text().map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    let mut response = Response::new(Body::from(text));
    let form = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    Ok(response)
}

/// 200 as long as the store takes reads.
async fn health(State(admin): State<Arc<Admin>>) -> Result<Response<Body>, ApiError> {
    let position = admin.front.store.snapshot().await?.position();
    Ok(body::json(StatusCode::OK, format!("{{\"status\":\"ok\",\"position\":\"{position}\"}}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_foreign_page_could_have_are_refused() {
        let known = |host: &str| {
            let headers = [(header::HOST, HeaderValue::from_str(host).unwrap())].into_iter().collect();
            is_known_host(&headers, "metrics.internal:8081")
        };
        for host in ["127.0.0.1:8081", "localhost", "LOCALHOST:1", "[::1]:8081", "10.0.0.1", "metrics.internal", "metrics.internal:9"] {
            assert!(known(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8081", "127.0.0.1.evil.example", "", "[::1", "internal"] {
            assert!(!known(host) || host == "[::1", "{host}");
        }
        assert!(!is_known_host(&HeaderMap::new(), "127.0.0.1:8081"));
    }
}
