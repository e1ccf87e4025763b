//! A writer's connection: HTTP/1.1, kept alive, one request at a time.

use super::BenchError;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

/// Carries a new token.
const TOKEN: &str = "baqend-authorization-token";

/// Where a server is: host and port, and the path that everything is below.
#[derive(Debug, Clone)]
pub struct Base {
    /// `host:port`
    pub authority: String,
    /// Without a slash at the end, such as `/v1`
    pub path: String,
}

impl Base {
    /// Reads an URL such as `http://127.0.0.1:8080/v1`.
    pub fn parse(url: &str) -> Result<Base, BenchError> {
        let refused = |reason: &str| BenchError::Url { url: url.to_owned(), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| refused(&error.to_string()))?;
        if uri.scheme_str() != Some("http") {
            return Err(refused("it must begin with http:// (TLS would be measured along with the server)"));
        }
        let host = uri.host().ok_or_else(|| refused("it names no host"))?;
        let path = uri.path().trim_end_matches('/');
        let path = if path.is_empty() { "/v1" } else { path };
        Ok(Base { authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)), path: path.to_owned() })
    }

    /// Where events come from.
    pub fn events(&self) -> String {
        format!("ws://{}{}/events", self.authority, self.path)
    }

    /// A connection without delay of small packets.
    pub async fn connect(&self) -> Result<TcpStream, BenchError> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| BenchError::connection("connecting", error))?;
        stream.set_nodelay(true).map_err(|error| BenchError::connection("connecting", error))?;
        Ok(stream)
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
    base: Base,
    sender: SendRequest<Full<Bytes>>,
    token: Option<String>,
}

impl HttpClient {
    /// Connects. With a token, every request is made in its name.
    pub async fn connect(base: &Base, token: Option<String>) -> Result<HttpClient, BenchError> {
        let stream = base.connect().await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| BenchError::connection("connecting", error))?;
        tokio::spawn(connection);
        Ok(HttpClient { base: base.clone(), sender, token })
    }

    /// Sends a request and reads the whole answer. `path` is relative to the base.
    pub async fn send(&mut self, method: Method, path: &str, body: Option<String>) -> Result<Answer, BenchError> {
        self.send_if(method, path, None, body).await
    }

    /// As [`HttpClient::send`], with a value of `If-Match`.
    pub async fn send_if(&mut self, method: Method, path: &str, tag: Option<&str>, body: Option<String>) -> Result<Answer, BenchError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base.path)).header(HOST, &self.base.authority);
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
    fn urls_are_read_or_refused_with_a_reason() {
        let base = Base::parse("http://localhost:8080/v1/").unwrap();
        assert_eq!((base.events().as_str(), base.path.as_str()), ("ws://localhost:8080/v1/events", "/v1"));
        assert_eq!(Base::parse("http://[::1]:8080").unwrap().events(), "ws://[::1]:8080/v1/events");
        for url in ["https://localhost", "localhost:8080", "/v1", ""] {
            assert_eq!(Base::parse(url).unwrap_err().code(), "bench-url", "{url}");
        }
    }
}
