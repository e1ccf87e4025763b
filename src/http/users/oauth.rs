//! `GET /db/User/OAuth/:provider`: login at a provider.
//!
//! One path for both ends, as the SDK knows it. Without a code it begins: the browser is sent to the provider, with a cookie that
//! binds the login to it. With a code it ends: the user is found or made, and the result goes to whoever opened the window, by the
//! storage of this origin or by a message to the page of this origin that he embeds; or by a redirect, with the token in the
//! fragment, to a page of an allowed origin. What the SDK would send to a provider by itself is refused here: nothing binds it to the
//! browser, so anybody could log anybody in as himself.

use super::super::answer::Answer;
use super::super::error::{self, ApiError};
use super::super::identity::{self, Identity, NoRenewal};
use super::super::page::Page;
use super::super::{Front, body};
use super::{Account, login, register};
use crate::apps::App;
use crate::object::text::Body as ObjectBody;
use crate::oidc::attempt::{self, Attempt, cookie_name};
use crate::oidc::{OidcError, Person, Provider, link};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use form_urlencoded::Serializer;
use http_body_util::BodyExt;
use serde::Deserialize;
use std::sync::Arc;

const SCRIPT: &str = include_str!("oauth.js");

/// What the app or the provider says.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Said {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    /// Who answers (RFC 9207)
    iss: Option<String>,
}

/// What an app puts into `state` when it begins.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wish {
    redirect: Option<String>,
    login_option: Option<serde_json::Value>,
}

/// Both ends of a login.
pub(in crate::http) async fn oauth(
    State(front): State<Arc<Front>>,
    identity: Identity,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
    Query(said): Query<Said>,
) -> Response<Body> {
    let Some(provider) = front.providers.get(&identity.app.word, &name) else {
        return tell(&identity.app, ApiError::plain(error::NO_SUCH_PROVIDER).into_response(), None).await;
    };
    let mut response = if said.code.is_none() && said.error.is_none() {
        match begin(&front, &identity, provider, said).await {
            Ok(response) => response,
            Err(error) => tell(&identity.app, error.into_response(), None).await,
        }
    } else {
        finish(&front, &identity, provider, &headers, said).await
    };
    response.extensions_mut().insert(NoRenewal);
    identity::private(&mut response);
    response
}

/// Where the provider sends the browser: always the configured address.
fn back(front: &Front, identity: &Identity, provider: &Provider) -> String {
    format!("{}{}/{}", front.options.public_url.trim_end_matches('/'), path(front, identity), provider.name())
}

fn path(front: &Front, identity: &Identity) -> String {
    format!("/{}/db/User/OAuth", front.word(&identity.app))
}

async fn begin(front: &Front, identity: &Identity, provider: &Provider, said: Said) -> Result<Response<Body>, ApiError> {
    let wish: Wish = match &said.state {
        Some(state) => {
            serde_json::from_str(state).map_err(|error| ApiError::new(error::BAD_REQUEST, format!("state is not JSON: {error}")))?
        }
        None => Wish::default(),
    };
    let Some(origins) = front.login_origins(&identity.app) else {
        let word = &identity.app.word;
        let message = format!(
            "the app {word} has no origins of its own, at which logins could end; an administrator of the server gives it some: \
             tidegate app change {word} --origin https://…"
        );
        return Err(ApiError::new(error::BAD_LOGIN, message));
    };
    if let Some(redirect) = &wish.redirect
        && !is_allowed(&origins, redirect)
    {
        return Err(ApiError::new(error::BAD_LOGIN, "the page that the login is to end at is of no origin of the app"));
    }
    let beginning = provider.begin(&back(front, identity, provider)).await.map_err(refused)?;
    let attempt = Attempt {
        app: identity.app.name.to_string(),
        provider: provider.name().to_owned(),
        state: beginning.state.clone(),
        nonce: beginning.nonce,
        verifier: beginning.verifier,
        redirect: wish.redirect,
        login_option: wish.login_option,
        ends: front.clock.now_ms() / 1000 + attempt::SECONDS,
    };
    let value = front.attempts.sign(&attempt).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    let mut response = redirect(&beginning.url)?;
    set_cookie(front, identity, &mut response, &beginning.state, &value, attempt::SECONDS);
    Ok(response)
}

async fn finish(front: &Front, identity: &Identity, provider: &Provider, headers: &HeaderMap, said: Said) -> Response<Body> {
    let state = said.state.clone().unwrap_or_default();
    let now = front.clock.now_ms() / 1000;
    let name = cookie_name(&state);
    let begun = cookie(headers, &name).and_then(|value| front.attempts.verify(value, &identity.app.name, provider.name(), &state, now));
    let Some(attempt) = begun else {
        return tell(&identity.app, ApiError::plain(error::BAD_LOGIN).into_response(), None).await;
    };
    let result = match log_in(front, identity, provider, &attempt, said).await {
        Ok(response) => response,
        Err(error) => {
            tracing::info!(provider = provider.name(), %error, address = %identity.address, "a login at a provider failed");
            error.into_response()
        }
    };
    let mut response = tell(&identity.app, result, Some(&attempt)).await;
    // It is used up, whatever came of it.
    set_cookie(front, identity, &mut response, &state, "", 0);
    response
}

async fn log_in(
    front: &Front,
    identity: &Identity,
    provider: &Provider,
    attempt: &Attempt,
    said: Said,
) -> Result<Response<Body>, ApiError> {
    if said.iss.is_some_and(|issuer| issuer != provider.issuer()) {
        return Err(ApiError::new(error::LOGIN_UNCONFIRMED, "another provider answered than was asked"));
    }
    if let Some(code) = said.error {
        let why = said.error_description.unwrap_or_default();
        return Err(ApiError::new(error::LOGIN_UNCONFIRMED, format!("the provider refused the login: {code} {why}")));
    }
    let code = said.code.unwrap_or_default();
    let back = back(front, identity, provider);
    let person: Person = provider.finish(&back, code, attempt.nonce.clone(), attempt.verifier.clone()).await.map_err(refused)?;
    enter_as(front, identity, provider, &person).await
}

/// The user that a person was linked to, or a new one; a code of the second factor is asked for as after a password.
async fn enter_as(front: &Front, identity: &Identity, provider: &Provider, person: &Person) -> Result<Response<Body>, ApiError> {
    for _ in 0..super::TRIES {
        let linked = link::find(&*front.secrets, &identity.app.name, person)?;
        let known = match &linked {
            Some(user) => Account::of(front, identity, &user.as_str().into()).await?,
            None => None,
        };
        match known {
            Some(account) if account.is_active() => return login::first_step(front, identity, &account),
            Some(_) => return Err(ApiError::new(error::BAD_CREDENTIALS, "the user may not log in")),
            None => {}
        }
        let name = free_name(front, identity, provider, person).await?;
        let user = serde_json::json!({ "username": name }).to_string();
        let object = ObjectBody::parse(user.as_bytes()).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
        let answer = Answer::begin(front, identity);
        let secrets = |user: &str| Ok(vec![link::write(&identity.app.name, person, linked.as_deref(), user)]);
        match register::create(front, identity, &object, None, false, &answer, secrets).await {
            Ok(account) => return Ok(answer.out(login::first_step(front, identity, &account)?)),
            // Somebody was quicker: he himself in another window, or somebody with the same name.
            Err(error) if error.kind == error::BUSY || error.kind == error::NAME_TAKEN => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::new(error::BUSY, "others log in as the same user all the time; try again"))
}

/// The name that the provider gives him, if nobody has it here; one that nobody else can have otherwise. It is never a way into
/// the account of whoever has the name.
async fn free_name(front: &Front, identity: &Identity, provider: &Provider, person: &Person) -> Result<String, ApiError> {
    if let Some(name) = &person.username
        && Account::named(front, identity, name).await?.is_none()
    {
        return Ok(name.clone());
    }
    Ok(format!("{}@{}", person.subject, provider.name()))
}

/// The page at the end: it gives the result to whoever opened the window, or goes where the login was to end.
async fn tell(app: &App, result: Response<Body>, attempt: Option<&Attempt>) -> Response<Body> {
    let (head, body) = result.into_parts();
    let entity = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let entity = String::from_utf8_lossy(&entity);
    let token = head.headers.get(identity::TOKEN).and_then(|token| token.to_str().ok());
    if let Some(target) = attempt.and_then(|attempt| attempt.redirect.as_deref()) {
        let mut fragment = Serializer::new(String::new());
        match token {
            Some(token) => fragment.append_pair("token", token),
            None => fragment.append_pair("error", &entity),
        };
        if let Some(option) = attempt.and_then(|attempt| attempt.login_option.as_ref()) {
            fragment.append_pair("loginOption", &option.to_string());
        }
        let page = target.split('#').next().unwrap_or(target);
        return redirect(&format!("{page}#{}", fragment.finish())).unwrap_or_else(IntoResponse::into_response);
    }
    let mut headers = serde_json::Map::from_iter([("content-type".to_owned(), "application/json".into())]);
    if let Some(token) = token {
        headers.insert(identity::TOKEN.to_string(), token.into());
    }
    // Frames of other apps, too, may be on this origin and hear of it: it is for those of its own app.
    let said = serde_json::json!({"app": &*app.word, "status": head.status.as_u16(), "headers": headers, "entity": entity}).to_string();
    let text = if head.status.is_success() { "You are logged in. This window can be closed." } else { "The login failed." };
    let page = Page {
        status: StatusCode::OK,
        title: "Login",
        body: &format!("<p>{text}</p>"),
        data: &[("result", &said)],
        script: SCRIPT,
        framed_by: "'none'",
    };
    page.answer()
}

/// Whether a login may end at a page: one of an origin that is named.
fn is_allowed(origins: &[String], target: &str) -> bool {
    let Ok(url) = url::Url::parse(target) else { return false };
    let origin = url.origin().ascii_serialization();
    let plain = matches!(url.scheme(), "https" | "http") && url.username().is_empty() && url.password().is_none();
    plain && origins.contains(&origin)
}

fn redirect(target: &str) -> Result<Response<Body>, ApiError> {
    let target = HeaderValue::from_str(target).map_err(|error| ApiError::new(error::CRASHED, error.to_string()))?;
    let mut response = body::empty();
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, target);
    identity::private(&mut response);
    Ok(response)
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// For this path alone, out of reach of scripts, and sent along when the provider sends the browser back.
fn set_cookie(front: &Front, identity: &Identity, response: &mut Response<Body>, state: &str, value: &str, seconds: i64) {
    let secure = if front.options.public_url.starts_with("https://") { "; Secure" } else { "" };
    let path = path(front, identity);
    let cookie = format!("{}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", cookie_name(state));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn refused(error: OidcError) -> ApiError {
    let kind = match &error {
        OidcError::Unconfirmed { .. } => error::LOGIN_UNCONFIRMED,
        _ => error::PROVIDER_UNUSABLE,
    };
    ApiError::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_end_at_allowed_pages_only() {
        let origins = ["https://app.example.org".to_owned(), "http://127.0.0.1:3000".to_owned()];
        for (target, allowed) in [
            ("https://app.example.org/", true),
            ("https://app.example.org:443/in?a=b#c", true),
            ("http://127.0.0.1:3000/x", true),
            ("http://app.example.org/", false),
            ("https://app.example.org:8443/", false),
            ("https://app.example.org.evil.example/", false),
            ("https://app.example.org@evil.example/", false),
            ("https://evil@app.example.org/", false),
            ("//app.example.org/", false),
            ("javascript:alert(1)", false),
            ("https:\\\\evil.example\\", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(&origins, target), allowed, "{target}");
        }
        assert!(!is_allowed(&["*".to_owned()], "https://app.example.org/"));
    }
}
