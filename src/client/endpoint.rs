//! What a URL says of a server.

use super::ClientError;
use url::{Host, Url};

/// Where a server is: host and port, whether TLS is spoken there, and the path that everything is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    encrypted: bool,
    host: Host<String>,
    port: u16,
    path: String,
}

impl Endpoint {
    /// Reads a URL such as `https://api.example.org/v1`; `ws` and `wss` are taken for what they run over.
    pub fn parse(url: &str) -> Result<Endpoint, ClientError> {
        let refused = |reason: &str| ClientError::Address { url: url.to_owned(), reason: reason.to_owned() };
        let unfit = "it begins with http:// or https://, such as http://127.0.0.1:8080/v1";
        let parsed = match Url::parse(url) {
            Ok(parsed) => parsed,
            Err(url::ParseError::RelativeUrlWithoutBase) => return Err(refused(unfit)),
            Err(error) => return Err(refused(&error.to_string())),
        };
        let encrypted = match parsed.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(refused(unfit)),
        };
        let host = parsed.host().ok_or_else(|| refused("there is no host in it"))?.to_owned();
        let port = parsed.port_or_known_default().ok_or_else(|| refused("there is no port in it"))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(refused("names and passwords do not belong in it"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(refused("it ends with a path"));
        }
        Ok(Endpoint { encrypted, host, port, path: parsed.path().trim_end_matches('/').to_owned() })
    }

    /// The same server, further down: `path` without slashes around it.
    #[must_use]
    pub fn below(mut self, path: &str) -> Endpoint {
        self.path = format!("{}/{}", self.path, path.trim_matches('/'));
        self
    }

    /// Whether TLS is spoken.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Name or address, for a connection; that of IPv6 in brackets.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What everything is below, without a slash at the end: `/v1`, or nothing.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host:port`
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// For requests.
    pub fn http(&self) -> String {
        self.url(if self.encrypted { "https" } else { "http" })
    }

    /// For websockets.
    pub fn websocket(&self) -> String {
        self.url(if self.encrypted { "wss" } else { "ws" })
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_with_a_reason() {
        for (url, http, websocket) in [
            ("http://localhost:8080/v1/", "http://localhost:8080/v1", "ws://localhost:8080/v1"),
            ("ws://[::1]:8080", "http://[::1]:8080", "ws://[::1]:8080"),
            ("https://api.example.org/shop", "https://api.example.org:443/shop", "wss://api.example.org:443/shop"),
            ("wss://127.0.0.1", "https://127.0.0.1:443", "wss://127.0.0.1:443"),
            ("http://host/", "http://host:80", "ws://host:80"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.http().as_str(), endpoint.websocket().as_str()), (http, websocket), "{url}");
        }
        assert_eq!(Endpoint::parse("http://h").unwrap().below("v1").below("/events").path(), "/v1/events");
        for url in
            ["localhost:8080", "127.0.0.1:8080", "ftp://host", "http://", "/v1", "", "http://a:b@h", "http://h/v1?x=1", "http://h/#x"]
        {
            let error = Endpoint::parse(url).unwrap_err();
            assert_eq!(error.code(), "client-address", "{url}");
        }
    }
}
