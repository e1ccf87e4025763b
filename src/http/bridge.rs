//! `POST /connect`: the page through which the SDK talks from pages of other origins (CONTRACT sections 3 and 4).
//!
//! The SDK embeds it by a form with the token in its field `BAT`, so that no URL has the token in it. The page holds what
//! `GET /connect` answers, and passes on requests that its embedding page sends it as messages. Both ways only for
//! pages of the allowed origins: nobody else may embed it, and it answers nobody else.

use super::connect;
use super::error::ApiError;
use super::identity::{Identity, NoRenewal};
use super::page::Page;
use super::{Front, body::Whole};
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Response, StatusCode};
use std::borrow::Cow;
use std::sync::Arc;

const SCRIPT: &str = include_str!("bridge.js");

/// `POST /connect`
pub(super) async fn bridge(
    State(front): State<Arc<Front>>,
    identity: Identity,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response<Body>, ApiError> {
    let token = field(&body.0, "BAT");
    // Nobody who is logged out gets in by a header either: the form alone says who it is.
    let identity = identity.with_token(&front, token.as_deref());
    let welcome = connect::welcome(&front, &identity, &uri, &headers).await?;
    let origins = &front.options.origins;
    let allowed = serde_json::to_string(origins).unwrap_or_else(|_| "[]".into());
    let page = Page {
        status: StatusCode::OK,
        title: "Connection",
        body: "",
        data: &[("/connect", &welcome), ("origins", &allowed)],
        script: SCRIPT,
        framed_by: &frame_sources(origins),
    };
    let mut response = page.answer();
    response.extensions_mut().insert(NoRenewal);
    Ok(response)
}

/// The origins as sources of a policy. What could be more than an origin there is left out.
pub(super) fn frame_sources(origins: &[String]) -> String {
    let plain = |origin: &&String| *origin == "*" || (origin.contains("://") && !origin.contains([' ', ';', ',', '\'', '"']));
    let sources: Vec<&str> = origins.iter().filter(plain).map(String::as_str).collect();
    if sources.is_empty() { "'self'".to_owned() } else { format!("'self' {}", sources.join(" ")) }
}

/// A field of a form.
fn field<'b>(body: &'b [u8], name: &str) -> Option<Cow<'b, str>> {
    let (_, value) = form_urlencoded::parse(body).find(|(field, _)| field == name)?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_cannot_write_a_policy() {
        let sources = |origins: &[&str]| frame_sources(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>());
        assert_eq!(sources(&["https://a.example", "*"]), "'self' https://a.example *");
        assert_eq!(sources(&["https://a.example; script-src *", "null", ""]), "'self'");
    }

    #[test]
    fn the_token_is_read_from_the_form() {
        assert_eq!(field(b"a=b&BAT=12%33", "BAT").as_deref(), Some("123"));
        assert_eq!(field(b"", "BAT"), None);
    }
}
