//! A small typed client of the API.

use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tidegate::changelog::Position;

/// One caller.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: Client,
    token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Bytes,
}

impl Http {
    /// `base` such as `http://127.0.0.1:1234/v1`.
    pub fn new(base: &str) -> Http {
        Http { base: base.to_owned(), client: Client::builder().no_proxy().build().unwrap(), token: None }
    }

    /// The same server, as somebody else.
    pub fn with_token(&self, token: Option<String>) -> Http {
        Http { token, ..self.clone() }
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request below the base; what it is not answered in time for is an error.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base)).timeout(super::PATIENCE);
        match &self.token {
            Some(token) => request.header("authorization", format!("BAT {token}")),
            None => request,
        }
    }

    pub async fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await? })
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.send(json(self.request(Method::POST, path), body)).await
    }

    pub async fn insert(&self, bucket: &str, object: impl Into<String>) -> Answer {
        self.post(&format!("/db/{bucket}"), object).await
    }

    /// `condition`: `If-Match` as it is sent, such as `"3"` with its quotes, or `*`.
    pub async fn put(&self, bucket: &str, key: &str, object: impl Into<String>, condition: Option<&str>) -> Answer {
        let request = json(self.request(Method::PUT, &format!("/db/{bucket}/{key}")), object);
        self.send(conditional(request, condition)).await
    }

    pub async fn delete(&self, bucket: &str, key: &str, condition: Option<&str>) -> Answer {
        let request = self.request(Method::DELETE, &format!("/db/{bucket}/{key}"));
        self.send(conditional(request, condition)).await
    }

    pub async fn load(&self, bucket: &str, key: &str) -> Answer {
        self.get(&format!("/db/{bucket}/{key}")).await
    }

    /// By `GET` where the query is short, else as the SDK does it, by `POST` of a text.
    pub async fn query(&self, bucket: &str, query: &str) -> Answer {
        self.ask(bucket, "query", query).await
    }

    pub async fn count(&self, bucket: &str, query: &str) -> Answer {
        self.ask(bucket, "count", query).await
    }

    async fn ask(&self, bucket: &str, what: &str, query: &str) -> Answer {
        let path = format!("/db/{bucket}/{what}");
        if query.len() < 1000 {
            let query = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
            self.get(&format!("{path}?q={query}")).await
        } else {
            let request = self.request(Method::POST, &path).header("content-type", "text/plain;charset=utf-8");
            self.send(request.body(query.to_owned())).await
        }
    }

    /// The same caller, logged in.
    pub async fn login(&self, name: &str, password: &str) -> Http {
        let body = serde_json::json!({"username": name, "password": password}).to_string();
        let answer = self.post("/db/User/login", body).await;
        assert_eq!(answer.status, 200, "login of {name}: {answer:?}");
        self.with_token(Some(answer.renewed_token().expect("a login carries a token")))
    }
}

fn json(request: RequestBuilder, body: impl Into<String>) -> RequestBuilder {
    request.header("content-type", "application/json;charset=utf-8").body(body.into())
}

fn conditional(request: RequestBuilder, condition: Option<&str>) -> RequestBuilder {
    match condition {
        Some(condition) => request.header("if-match", condition),
        None => request,
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The commit that the answer's state contains.
    pub fn position(&self) -> Option<u64> {
        let text = self.headers.get("tidegate-position")?.to_str().unwrap();
        Some(text.parse::<Position>().unwrap().commit())
    }

    pub fn renewed_token(&self) -> Option<String> {
        Some(self.headers.get("baqend-authorization-token")?.to_str().unwrap().to_owned())
    }
}
