//! One connection to a server, plain or TLS.

use super::ClientError;
use super::endpoint::Endpoint;
use super::trust::Trust;
use rustls::pki_types::ServerName;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use url::Host;

/// A connection, with its handshake, takes at most so long.
pub const CONNECT: Duration = Duration::from_secs(10);

/// Plain on the left, TLS on the right.
pub type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Connects, without delay of small packets. Over TLS HTTP/1.1 is what the server takes it for.
pub async fn connect(endpoint: &Endpoint, trust: &Trust) -> Result<Stream, ClientError> {
    let authority = endpoint.authority();
    match tokio::time::timeout(CONNECT, open(endpoint, trust)).await {
        Ok(opened) => opened.map_err(|error| ClientError::connection(&authority, &error)),
        Err(_) => Err(ClientError::Unreachable { server: authority, reason: format!("no answer within {} s", CONNECT.as_secs()) }),
    }
}

async fn open(endpoint: &Endpoint, trust: &Trust) -> std::io::Result<Stream> {
    let stream = match endpoint.host() {
        Host::Domain(name) => TcpStream::connect((name.as_str(), endpoint.port())).await?,
        Host::Ipv4(address) => TcpStream::connect((*address, endpoint.port())).await?,
        Host::Ipv6(address) => TcpStream::connect((*address, endpoint.port())).await?,
    };
    stream.set_nodelay(true)?;
    if !endpoint.is_encrypted() {
        return Ok(Either::Left(stream));
    }
    let name = match endpoint.host() {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(std::io::Error::other)?,
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(*address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(*address)),
    };
    let trust = trust.clone();
    let config = tokio::task::spawn_blocking(move || trust.config()).await.map_err(std::io::Error::other)?;
    TlsConnector::from(config).connect(name, stream).await.map(Either::Right)
}
