//! `POST /connect`: the page that a browser's SDK loads into a hidden frame when the app comes from another origin.
//!
//! It holds what `GET /connect` answers, and a script that makes requests for the page around it. It speaks to the
//! app's origins only, may load nothing but the API, and whoever is not among those origins cannot even frame it.

use super::body::{self, Whole};
use super::error::ApiError;
use super::identity::{self, Identity, NoRenewal};
use super::{Front, connect};
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::{Arc, LazyLock};

const SCRIPT: &str = include_str!("bridge.js");

/// As a policy names it: no other script runs in the page, whatever gets into its markup.
static SCRIPT_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(SCRIPT)));

/// `POST /connect`, a form whose field `BAT` is the caller's token.
pub(super) async fn page(
    State(front): State<Arc<Front>>,
    identity: Identity,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    form: Whole,
) -> Result<Response<Body>, ApiError> {
    // A token has no character that a form would escape.
    let token = form.text()?.split('&').find_map(|field| field.strip_prefix("BAT=")).map(str::trim);
    let identity = identity.with_token(&front, token);
    let welcome = connect::welcome(&front, &identity, &uri, &headers).await?;
    let origins = origins(&front.origins(&identity.app));
    let markup = markup(&welcome.json()?, welcome.token.as_deref(), &identity.app.word, &origins);
    let mut response = body::json(StatusCode::OK, markup);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html;charset=utf-8"));
    // A configured origin that no header can hold is nobody's.
    let policy = HeaderValue::from_str(&policy(&origins)).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    identity::private(&mut response);
    response.extensions_mut().insert(NoRenewal);
    Ok(response)
}

/// `*`, or the configured origins with a blank between them.
fn origins(configured: &[String]) -> String {
    if configured.iter().any(|origin| origin == "*") { "*".to_owned() } else { configured.join(" ") }
}

fn policy(origins: &str) -> String {
    let ancestors = if origins.is_empty() { "'none'" } else { origins };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}",
        *SCRIPT_HASH
    )
}

/// Inside of a script node only `<` can end it, and in JSON it stands in strings only.
fn markup(welcome: &str, token: Option<&str>, app: &str, origins: &str) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Tidegate</title>\
         <script id=\"/connect\" type=\"application/json\" data-cache-control=\"no-cache\" data-token=\"{}\">{}</script>\
         <script data-app=\"{}\" data-origins=\"{}\">{SCRIPT}</script>",
        attribute(token.unwrap_or_default()),
        welcome.replace('<', "\\u003c"),
        attribute(app),
        attribute(origins),
    )
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_ends_the_script_node_or_an_attribute() {
        let page = markup(r#"{"a":"</script><script>alert(1)</script>"}"#, Some(r#""><script>"#), "app", r#"https://a" onload="x"#);
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(page.contains(r#"{"a":"\u003c/script>\u003cscript>alert(1)\u003c/script>"}"#));
        assert!(!page.contains(r#"" onload="#));
    }

    #[test]
    fn only_configured_origins_may_frame_it() {
        let list = |origins: &[&str]| origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>();
        assert!(policy(&origins(&list(&["https://a", "*"]))).ends_with("frame-ancestors *"));
        assert!(policy(&origins(&list(&["https://a", "https://b:8443"]))).ends_with("frame-ancestors https://a https://b:8443"));
        assert!(policy(&origins(&[])).ends_with("frame-ancestors 'none'"));
    }
}
