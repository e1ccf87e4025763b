//! A writer's connection: HTTP/1.1, kept alive, one request at a time.

use super::BenchError;
use crate::client::endpoint::Endpoint;
use crate::client::stream::{self, Stream};
use crate::client::trust::Trust;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::json;

/// Carries a new token.
const TOKEN: &str = "baqend-authorization-token";

/// Where a server is, and whose certificates are believed there.
#[derive(Debug, Clone)]
pub struct Base {
    endpoint: Endpoint,
    trust: Trust,
}

impl Base {
    /// Reads an URL such as `http://127.0.0.1:8080/v1`. Over TLS that is measured along with the server.
    pub fn parse(url: &str, trust: Trust) -> Result<Base, BenchError> {
        let endpoint = Endpoint::parse(url)?;
        let endpoint = if endpoint.path().is_empty() { endpoint.below("v1") } else { endpoint };
        Ok(Base { endpoint, trust })
    }

    /// `host:port`
    pub fn authority(&self) -> String {
        self.endpoint.authority()
    }

    /// As text.
    pub fn url(&self) -> String {
        self.endpoint.http()
    }

    /// Where events come from.
    pub fn events(&self) -> String {
        format!("{}/events", self.endpoint.websocket())
    }

    /// A connection without delay of small packets.
    pub async fn connect(&self) -> Result<Stream, BenchError> {
        Ok(stream::connect(&self.endpoint, &self.trust).await?)
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code
    pub status: u16,
    /// The header
    pub headers: HeaderMap,
    /// The whole body
    pub body: Bytes,
}

/// One connection.
#[derive(Debug)]
pub struct HttpClient {
    /// What every path is below, and what the header `Host` says
    path: String,
    host: String,
    sender: SendRequest<Full<Bytes>>,
    token: Option<String>,
}

impl HttpClient {
    /// Connects. With a token, every request is made in its name.
    pub async fn connect(base: &Base, token: Option<String>) -> Result<HttpClient, BenchError> {
        let stream = base.connect().await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| BenchError::connection("connecting", error))?;
        tokio::spawn(connection);
        Ok(HttpClient { path: base.endpoint.path().to_owned(), host: base.authority(), sender, token })
    }

    /// Sends a request and reads the whole answer. `path` is relative to the base.
    pub async fn send(&mut self, method: Method, path: &str, body: Option<String>) -> Result<Answer, BenchError> {
        self.send_if(method, path, None, body).await
    }

    /// As [`HttpClient::send`], with a value of `If-Match`.
    pub async fn send_if(&mut self, method: Method, path: &str, tag: Option<&str>, body: Option<String>) -> Result<Answer, BenchError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.path)).header(HOST, &self.host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("BAT {token}"));
        }
        if let Some(tag) = tag {
            request = request.header(IF_MATCH, tag);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(body.map(Bytes::from).unwrap_or_default());
        let request = request.body(body).map_err(|error| BenchError::connection("making a request", error))?;
        let failed = |error: hyper::Error| BenchError::connection("waiting for an answer", error);
        self.sender.ready().await.map_err(failed)?;
        let (head, body) = self.sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        // Tokens are renewed while they are in use, and clients take the new one.
        if let (Some(token), Some(renewed)) = (&mut self.token, head.headers.get(TOKEN).and_then(|renewed| renewed.to_str().ok())) {
            renewed.clone_into(token);
        }
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// As [`HttpClient::send`], where anything but success is an error.
    pub async fn expect(&mut self, method: Method, path: &str, body: Option<String>) -> Result<Answer, BenchError> {
        let answer = self.send(method.clone(), path, body).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let said = String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
        Err(BenchError::Refused { what: format!("{method} {path}"), answer: format!("{} {said}", answer.status) })
    }

    /// Logs in; the token is used from then on, and returned.
    pub async fn log_in(&mut self, user: &str, password: &str) -> Result<String, BenchError> {
        let body = json!({"username": user, "password": password}).to_string();
        let answer = self.expect(Method::POST, "/db/User/login", Some(body)).await?;
        let token = answer.headers.get(TOKEN).and_then(|token| token.to_str().ok());
        let token = token.ok_or_else(|| BenchError::Fault("a login was answered without a token".to_owned()))?.to_owned();
        self.token = Some(token.clone());
        Ok(token)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_v1_unless_it_is_named() {
        let base = |url| Base::parse(url, Trust::default()).unwrap();
        assert_eq!(
            (base("http://[::1]:8080").events().as_str(), base("http://[::1]:8080/").url().as_str()),
            ("ws://[::1]:8080/v1/events", "http://[::1]:8080/v1")
        );
        assert_eq!(base("https://localhost/shop").events(), "wss://localhost:443/shop/events");
        assert_eq!(Base::parse("localhost:8080", Trust::default()).unwrap_err().code(), "client-address");
    }
}
