//! Requests to a server as `root`, over HTTP/1.1.

use super::ClientError;
use super::endpoint::Endpoint;
use super::stream::CONNECT;
use super::trust::Trust;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::io;

/// Carries a token.
const TOKEN: &str = "baqend-authorization-token";

/// What is sent: all at once, or piece by piece.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A text as a body.
pub fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Pieces as a body.
pub fn pieces(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

/// What a request says of its body and of the answer.
#[derive(Debug, Clone, Copy)]
pub enum Media {
    /// JSON
    Json,
    /// A line of JSON an object
    Lines,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Lines => "application/x-ndjson",
        }
    }
}

/// Logged in.
#[derive(Debug)]
pub struct Api {
    http: Client<HttpsConnector<HttpConnector>, Body>,
    endpoint: Endpoint,
    token: String,
}

impl Api {
    /// Logs in as `root` at the API `login`; what is asked for later is below `endpoint`.
    pub async fn sign_in(login: &Endpoint, endpoint: Endpoint, trust: &Trust, password: &str) -> Result<Api, ClientError> {
        let reads_system = login.is_encrypted() || endpoint.is_encrypted();
        let (trust, at) = (trust.clone(), login.authority());
        // Where all is plain nothing of the system is read.
        let reading = tokio::task::spawn_blocking(move || if reads_system { trust.config() } else { Trust::without_system() });
        let config = reading.await.map_err(|error| ClientError::Unreachable { server: at, reason: error.to_string() })?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = HttpsConnectorBuilder::new().with_tls_config((*config).clone()).https_or_http().enable_http1().wrap_connector(tcp);
        let mut api = Api { http: Client::builder(TokioExecutor::new()).build(tls), endpoint: login.clone(), token: String::new() };
        let body = json!({"username": "root", "password": password}).to_string();
        let answer = api.send(Method::POST, "/db/User/login", Media::Json, Some(whole(body))).await.map_err(|error| match error {
            ClientError::Refused { server, message, .. } => ClientError::Refused { server, what: "the login of root".to_owned(), message },
            other => other,
        })?;
        let token = answer.headers().get(TOKEN).and_then(|token| token.to_str().ok()).map(str::to_owned);
        let foreign = || ClientError::Foreign { server: login.http(), reason: "the login brought no token" };
        (api.token, api.endpoint) = (token.ok_or_else(foreign)?, endpoint);
        Ok(api)
    }

    /// Asks for something below the endpoint; what is no success is an error that says so.
    pub async fn ask(&self, method: Method, path: &str, media: Media, body: Option<Body>) -> Result<Answer, ClientError> {
        let response = self.send(method, path, media, body).await?;
        Ok(Answer { server: self.endpoint.http(), body: response.into_body() })
    }

    async fn send(&self, method: Method, path: &str, media: Media, body: Option<Body>) -> Result<Response<Incoming>, ClientError> {
        let server = self.endpoint.http();
        let what = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let mut request = Request::builder().method(method).uri(format!("{server}{path}")).header(ACCEPT, media.name());
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("BAT {}", self.token));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, media.name());
        }
        let address = |error: hyper::http::Error| ClientError::Address { url: format!("{server}{path}"), reason: error.to_string() };
        let request = request.body(body.unwrap_or_else(|| whole(Bytes::new()))).map_err(address)?;
        let sent = self.http.request(request).await;
        let response = sent.map_err(|error| ClientError::connection(&self.endpoint.authority(), &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let said = Answer { server: server.clone(), body: response.into_body() }.json().await.ok();
        let message = said.and_then(|body| body.get("message")?.as_str().map(str::to_owned)).unwrap_or_else(|| status.to_string());
        Err(ClientError::Refused { server, what, message })
    }
}

/// A success, whose body is still to come.
#[derive(Debug)]
pub struct Answer {
    server: String,
    body: Incoming,
}

impl Answer {
    /// The whole body.
    pub async fn json(self) -> Result<Value, ClientError> {
        let server = self.server;
        let body = self.body.collect().await.map_err(|error| ClientError::connection(&server, &error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|_| ClientError::Foreign { server, reason: "its answer is not JSON" })
    }

    /// The body as it comes.
    pub fn pieces(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Unpin {
        let server = self.server;
        self.body.into_data_stream().map(move |piece| piece.map_err(|error| ClientError::connection(&server, &error)))
    }
}
