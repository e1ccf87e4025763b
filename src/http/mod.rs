//! The front stage: HTTP requests to store transactions and queries, one file per resource.
//!
//! * [`error`]: what goes wrong, as clients see it
//! * [`identity`]: who asks, and when his token is renewed
//! * [`path`]: which bucket or object a URL names
//! * [`body`]: reading bodies within their limits
//! * [`conditions`]: `If-Match`, `If-None-Match`, ETags
//! * `arrive`: bodies arrive whole before anything is taken for their requests
//! * `quota`: each app's turn at what all share
//! * [`answer`]: answers to writes go out before their events
//! * `batch`: several objects written as one
//! * `transfer`: export, import and truncate of a bucket
//! * `logs`: entries of the app's own log
//! * `compress`: long answers of queries, for who asks for it
//! * `linger`: answers to requests that were not read to their end arrive
//! * `banned`: who is kept out; `page`: what pages are made of
//! * `connect`, `schema`, `objects`, `query`, `index`, `users`: the resources; `bridge`: the frame of browsers that come from elsewhere
//! * [`admin`]: the listener of administration
//! * [`listener`]: sockets, limits, graceful end
//! * [`tls`]: certificate and key, changed without a restart
//!
//! What decides lies elsewhere: [`crate::object`], [`crate::schema`], `dataflows::access`.

pub mod admin;
pub mod answer;
mod arrive;
mod banned;
mod batch;
pub mod body;
mod bridge;
mod compress;
pub mod conditions;
mod connect;
pub mod error;
pub mod identity;
mod index;
mod linger;
pub mod listener;
mod logs;
mod objects;
mod page;
mod partial;
pub mod path;
mod query;
mod quota;
mod schema;
pub mod tls;
mod transfer;
mod users;

pub use transfer::Transfers;

use crate::apps::bodies::Bodies;
use crate::apps::{App, Apps};
use crate::auth::Authority;
use crate::auth::bans::Bans;
use crate::auth::brake::Brake;
use crate::auth::password::Passwords;
use crate::changelog::Position;
use crate::clock::Clock;
use crate::config::ServerOptions;
use crate::live::answers::Answers;
use crate::live::{Gateway, Sessions};
use crate::logs::Logs;
use crate::mail::Mailing;
use crate::metrics::Metrics;
use crate::oidc::{Attempts, Providers};
use crate::store::{Committed, Secrets, Store, Write};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use dataflows::query::QueryLimits;
use error::ApiError;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Where one-shot answers say which state they are of.
pub const POSITION: HeaderName = HeaderName::from_static("tidegate-position");

/// Of each app: buckets that are filled from topics, with their topics.
pub type Ingested = HashMap<Arc<str>, HashMap<Arc<str>, String>>;

/// What the handlers share.
pub struct Front {
    /// The apps; the URL of a request says which one it is for
    pub apps: Arc<Apps>,
    /// Limits and lifetimes
    pub options: ServerOptions,
    /// Limits of queries
    pub query_limits: QueryLimits,
    /// The system of record
    pub store: Arc<dyn Store>,
    /// Credentials and keys
    pub secrets: Arc<dyn Secrets>,
    /// Tokens
    pub authority: Arc<Authority>,
    /// Hashing
    pub passwords: Passwords,
    /// Against guessing
    pub brake: Brake,
    /// Mail; none where nobody takes it
    pub mail: Option<Arc<Mailing>>,
    /// Providers at which users log in
    pub providers: Providers,
    /// Logins at providers that are under way
    pub attempts: Attempts,
    /// Addresses that are kept out
    pub bans: Bans,
    /// Live connections, which end when their address is banned
    pub live: Arc<Gateway>,
    /// The one clock
    pub clock: Arc<Clock>,
    /// Writes whose answers are not out yet
    pub answers: Arc<Answers>,
    /// Sessions with live subscriptions, which a renewal carries along
    pub sessions: Arc<Sessions>,
    /// Buckets that are filled from topics, by the app's name in the store: nobody else writes them there
    pub ingested: Ingested,
    /// The apps' own logs
    pub logs: Arc<Logs>,
    /// The memory for bodies of requests
    pub bodies: Bodies,
    /// Exports, imports and truncations at a time
    pub transfers: Arc<Transfers>,
    /// What is counted
    pub metrics: Arc<Metrics>,
}

/// The API below its base, such as `/v1`. `live` is the gateway's router.
pub fn router(front: Arc<Front>, live: Router) -> Router {
    let compress = middleware::from_fn_with_state(compress::Compressing::new(front.options.compress_bytes), compress::compress);
    let data = Router::new()
        .route("/schema", get(schema::read_all).post(schema::merge_all).put(schema::replace_all))
        .route("/db/{bucket}/query", get(query::query).post(query::query_by_body))
        .route("/db/{bucket}/ids", get(query::ids))
        .route_layer(compress);
    let resources = Router::new()
        .merge(data)
        .route("/connect", get(connect::connect).post(bridge::page))
        .route("/banned", get(banned::list).delete(banned::lift_all))
        .route("/banned/{address}", get(banned::test).put(banned::ban).delete(banned::lift))
        .route("/status", get(connect::status))
        .route("/schema/{bucket}", get(schema::read_one).post(schema::merge_one).put(schema::replace_one).delete(schema::delete_one))
        .merge(users::routes())
        .route("/batch", post(batch::batch))
        .route("/db/{bucket}", post(objects::insert).get(transfer::export).put(transfer::import).delete(transfer::truncate))
        .route("/db/{bucket}/count", get(query::count).post(query::count_by_body))
        .route("/index/{bucket}", get(index::list).post(index::change).delete(index::drop_all))
        .route("/db/{bucket}/{oid}", get(objects::load).put(objects::replace).post(partial::update).delete(objects::delete))
        .route("/db/{bucket}/{oid}/{field}", post(partial::update_field))
        .method_not_allowed_fallback(async || ApiError::plain(error::WRONG_METHOD))
        .layer(middleware::from_fn_with_state(front.clone(), identity::establish))
        .with_state(front.clone());
    let cors = cors(front.clone());
    Router::new()
        .nest(
            "/{app}",
            resources
                .merge(live)
                .layer(middleware::from_fn(quota::admit))
                .layer(middleware::from_fn_with_state(front.clone(), arrive::arrive))
                .layer(middleware::from_fn_with_state(front.clone(), identity::enter)),
        )
        .fallback(async || ApiError::plain(error::NO_SUCH_PAGE))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(axum::extract::DefaultBodyLimit::max(front.options.body_bytes))
        .layer(cors)
        .layer(middleware::from_fn(linger::linger))
        .layer(middleware::from_fn_with_state(front, observe))
}

/// Browsers: any of the app's origins, echoed, with credentials; every header that the SDK sends or reads.
fn cors(front: Arc<Front>) -> CorsLayer {
    let name = HeaderName::from_static;
    let origin = AllowOrigin::predicate(move |origin, head| {
        let word = head.uri.path().split('/').nth(1).unwrap_or_default();
        let own = front.apps.resolve(identity::host(&head.uri, &head.headers), word).and_then(|app| app.origins());
        let origins = own.as_deref().unwrap_or(&front.options.origins);
        origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
    });
    CorsLayer::new()
        .allow_origin(origin)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_UNMODIFIED_SINCE,
            header::CACHE_CONTROL,
            name("last-event-id"),
            name("baqend-acl"),
            name("baqend-custom-headers"),
        ])
        .expose_headers([
            identity::TOKEN,
            header::CONTENT_TYPE,
            name("baqend-size"),
            name("baqend-acl"),
            header::ETAG,
            header::LAST_MODIFIED,
            name("baqend-created-at"),
            name("baqend-custom-headers"),
            name("baqend-mfa-auth-token"),
            POSITION,
        ])
        .max_age(Duration::from_secs(3600))
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response<axum::body::Body> {
    use axum::response::IntoResponse;
    // The panic hook has logged where and why.
    ApiError::new(error::CRASHED, "the server failed on this request; its log says more").into_response()
}

impl Front {
    /// The first word of an app's paths, as it stands in links.
    fn word<'f>(&'f self, app: &'f App) -> &'f str {
        if app.word == self.apps.default_app().word { self.apps.base() } else { &app.word }
    }

    /// Where browsers may come from to an app: `*` for everywhere.
    fn origins(&self, app: &App) -> Arc<[String]> {
        app.origins().unwrap_or_else(|| self.options.origins.as_slice().into())
    }

    /// Where logins at providers may end; none where an app has no origins of its own. Those that are configured are the default
    /// app's then, as pages of several apps may be among them, and none of them is to get the logins of another.
    fn login_origins(&self, app: &App) -> Option<Arc<[String]>> {
        app.origins().or_else(|| (app.word == self.apps.default_app().word).then(|| self.options.origins.as_slice().into()))
    }

    /// Refuses writes to a bucket that a topic fills: the next record would undo them, or they would hide one.
    fn require_own(&self, app: &App, bucket: &str) -> Result<(), ApiError> {
        match self.ingested.get(&*app.name).and_then(|buckets| buckets.get(bucket)) {
            None => Ok(()),
            Some(topic) => {
                let message = format!("the bucket {bucket} is filled from the topic {topic} and is written there only");
                Err(ApiError::new(error::BUCKET_INGESTED, message))
            }
        }
    }

    /// Commits a write, and measures how long that takes.
    async fn commit(&self, write: Write) -> Result<Committed, ApiError> {
        let began = Instant::now();
        let committed = self.store.commit(write).await?;
        self.metrics.commit_seconds.observe(began.elapsed());
        Ok(committed)
    }
}

/// Says which state an answer is of.
fn set_position(response: &mut Response<axum::body::Body>, position: &Position) {
    if let Ok(value) = HeaderValue::from_str(&position.to_string()) {
        response.headers_mut().insert(POSITION, value);
    }
}

/// Counts and traces. Only the path is told, never the query: tokens and tickets travel there.
async fn observe(
    axum::extract::State(front): axum::extract::State<Arc<Front>>,
    request: Request<axum::body::Body>,
    next: Next,
) -> Response<axum::body::Body> {
    let began = Instant::now();
    let told = tracing::enabled!(tracing::Level::DEBUG).then(|| (request.method().clone(), request.uri().path().to_owned()));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = began.elapsed();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        front.metrics.answered(response.status().as_u16(), took);
    }
    if let Some((method, path)) = told {
        tracing::debug!(%method, path, status = response.status().as_u16(), micros = took.as_micros() as u64, "answered");
    }
    response
}
