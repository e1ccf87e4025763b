//! Requests to providers.

use crate::config::is_safe;
use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Http, Error as HttpError};
use hyper_util::rt::TokioExecutor;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

/// A provider that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer, bytes.
const LARGEST: usize = 1024 * 1024;

type Connected = Http<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Talks to providers. Follows no redirects: what a provider's documents name is asked, nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    /// Made when it is first used: reading the machine's certificates takes a while
    http: std::sync::Arc<OnceLock<Connected>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{0} is neither https nor on this machine")]
    Unsafe(String),
    #[error("it does not answer: {0}")]
    Http(#[from] HttpError),
    #[error("it does not answer within {} seconds", PATIENCE.as_secs())]
    Slow,
    #[error("its answer cannot be read: {0}")]
    Body(String),
    #[error("no TLS: {0}")]
    Tls(std::io::Error),
}

impl Client {
    pub(super) fn new() -> Client {
        Client::default()
    }

    fn http(&self) -> Result<&Connected, ClientError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let provider = rustls::crypto::ring::default_provider();
        let roots = hyper_rustls::HttpsConnectorBuilder::new().with_provider_and_native_roots(provider).map_err(ClientError::Tls)?;
        let connector = roots.https_or_http().enable_http1().build();
        Ok(self.http.get_or_init(|| Http::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector)))
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, ClientError> {
        if !is_safe(&request.uri().to_string()) {
            return Err(ClientError::Unsafe(request.uri().to_string()));
        }
        let answered = async {
            let answer = self.http()?.request(request.map(|body| Full::new(Bytes::from(body)))).await?;
            let (parts, body) = answer.into_parts();
            let whole = Limited::new(body, LARGEST).collect().await.map_err(|error| ClientError::Body(error.to_string()))?;
            Ok(HttpResponse::from_parts(parts, whole.to_bytes().into()))
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Err(ClientError::Slow))
    }
}

impl<'c> AsyncHttpClient<'c> for Client {
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, ClientError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}
