//! Each app's turn at what all share: a request waits behind its own app's requests and nobody else's.
//!
//! Its body is there by then ([`super::arrive`]), so a turn is held for as long as the server works and no longer.

use super::error::{self, ApiError};
use crate::apps::App;
use crate::apps::quota::{Cost, Over};
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use std::sync::Arc;

/// What a request will cost, as its method and path (without the base) say.
fn cost(method: &Method, path: &str) -> Cost {
    let mut segments = path.trim_matches('/').split('/');
    let (first, bucket, last) = (segments.next(), segments.next(), segments.next());
    match (first, bucket, last) {
        (Some("db"), Some("User"), Some("login" | "register" | "password" | "changeUsername")) if *method != Method::GET => Cost::Hash,
        (Some("db"), Some(_), Some("query" | "count")) => Cost::Scan,
        // Whole buckets: exports are read, imports written, both long.
        (Some("db"), Some(_), None) if *method == Method::GET || *method == Method::PUT => Cost::Scan,
        _ if *method == Method::GET || *method == Method::HEAD || *method == Method::OPTIONS => Cost::Light,
        (Some("events" | "connect"), ..) => Cost::Light,
        _ => Cost::Write,
    }
}

/// Whether the body is worked on while it comes: it is longer than memory, and its handler bounds what it takes of it.
pub(super) fn is_streamed(method: &Method, path: &str) -> bool {
    let mut segments = path.trim_matches('/').split('/');
    *method == Method::PUT && segments.next() == Some("db") && segments.next().is_some() && segments.next().is_none()
}

/// Lets a request in when it is its turn, or says when to come again.
pub(super) async fn admit(request: Request<Body>, next: Next) -> Response<Body> {
    let Some(app) = request.extensions().get::<Arc<App>>().cloned() else { return next.run(request).await };
    match app.quota.turn(cost(request.method(), request.uri().path())).await {
        Ok(_turns) => next.run(request).await,
        Err(over) => refused(&over),
    }
}

fn refused(over: &Over) -> Response<Body> {
    let message = match over.limit {
        "waiting" => "more requests of this app wait than may (limits.waiting); come again in a moment".to_owned(),
        limit => format!("more requests of this app come than may (limits.{limit}); come again in a moment"),
    };
    let mut response = ApiError::new(error::OVER_QUOTA, message).into_response();
    // In whole seconds, and never earlier than it makes sense.
    let seconds = over.again.as_millis().div_ceil(1000).max(1).to_string();
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_streams_and_nothing_else_is() {
        assert!(is_streamed(&Method::PUT, "/db/Lot") && is_streamed(&Method::PUT, "/db/Lot/"));
        for (method, path) in
            [(Method::POST, "/db/Lot"), (Method::PUT, "/db/Lot/1"), (Method::PUT, "/db"), (Method::PUT, "/schema"), (Method::PUT, "/")]
        {
            assert!(!is_streamed(&method, path), "{method} {path}");
        }
    }

    #[test]
    fn the_route_says_what_it_costs() {
        for (method, path, costs) in [
            (Method::GET, "/db/Lot/1", Cost::Light),
            (Method::GET, "/connect", Cost::Light),
            (Method::GET, "/events", Cost::Light),
            (Method::POST, "/events/ticket", Cost::Light),
            (Method::POST, "/connect", Cost::Light),
            (Method::POST, "/batch", Cost::Write),
            (Method::POST, "/db/Lot/1", Cost::Write),
            (Method::PUT, "/db/Lot", Cost::Scan),
            (Method::GET, "/db/User/me", Cost::Light),
            (Method::POST, "/db/Lot", Cost::Write),
            (Method::PUT, "/db/Lot/1", Cost::Write),
            (Method::DELETE, "/db/Lot/1", Cost::Write),
            (Method::POST, "/schema", Cost::Write),
            (Method::GET, "/db/Lot/query", Cost::Scan),
            (Method::POST, "/db/Lot/query", Cost::Scan),
            (Method::POST, "/db/Lot/count", Cost::Scan),
            (Method::GET, "/db/Lot", Cost::Scan),
            (Method::POST, "/db/User/login", Cost::Hash),
            (Method::POST, "/db/User/register", Cost::Hash),
            (Method::POST, "/db/User/password", Cost::Hash),
            (Method::POST, "/db/User/changeUsername", Cost::Hash),
        ] {
            assert_eq!(cost(&method, path), costs, "{method} {path}");
        }
    }
}
