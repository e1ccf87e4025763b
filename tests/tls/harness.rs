//! A server with a certificate of its own, and clients that believe nothing else.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tidegate::config::{Config, Durability};
use tidegate::server::{Server, Setup};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Nothing that is awaited takes so long, unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) const PASSWORD: &str = "a password for tests";

/// A certificate for `localhost` and its key, in files.
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn in_directory(directory: &Path) -> Files {
        Files { cert: directory.join("cert.pem"), key: directory.join("key.pem") }
    }

    /// Writes a new pair; the certificate, to be believed.
    pub(crate) fn write(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&self.cert, made.cert.pem()).unwrap();
        std::fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }
}

pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) directory: TempDir,
    pub(crate) files: Files,
    pub(crate) cert: CertificateDer<'static>,
}

pub(crate) fn config(directory: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".into();
    config.server.admin_listen = "127.0.0.1:0".into();
    config.store.data = directory.join("data");
    config.store.durability = Durability::System;
    config
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Rig {
        let directory = TempDir::new().unwrap();
        let files = Files::in_directory(directory.path());
        let cert = files.write();
        let mut config = config(directory.path());
        (config.server.tls_cert, config.server.tls_key) = (files.cert.clone(), files.key.clone());
        change(&mut config);
        let server = Server::start(Setup { config, root_password: Some(PASSWORD.into()), ..Setup::default() }).await.unwrap();
        Rig { server, directory, files, cert }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.api_address()
    }

    pub(crate) async fn connect(&self, protocols: &[&str]) -> TlsStream<TcpStream> {
        connect(self.address(), &self.cert, protocols).await.unwrap()
    }
}

/// Believes this certificate alone, and offers these protocols.
pub(crate) async fn connect(
    address: SocketAddr,
    cert: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

pub(crate) fn request(method: &str, uri: &str, body: &str) -> hyper::Request<Full<Bytes>> {
    let request = hyper::Request::builder().method(method).uri(uri).header("content-type", "application/json");
    let request = if uri.starts_with('/') { request.header("host", "localhost") } else { request };
    request.body(Full::from(body.to_owned())).unwrap()
}

/// Status, headers and text of an answer over HTTP/1.1.
pub(crate) async fn ask_1(stream: TlsStream<TcpStream>, request: hyper::Request<Full<Bytes>>) -> (hyper::http::response::Parts, String) {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request).await.unwrap()).await
}

/// As many requests at once on one connection of HTTP/2.
pub(crate) async fn ask_2(
    stream: TlsStream<TcpStream>,
    requests: Vec<hyper::Request<Full<Bytes>>>,
) -> Vec<(hyper::http::response::Parts, String)> {
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let asked = requests.into_iter().map(|request| {
        let mut sender = sender.clone();
        async move { read(sender.send_request(request).await.unwrap()).await }
    });
    futures_util::future::join_all(asked).await
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> (hyper::http::response::Parts, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, String::from_utf8(body.to_vec()).unwrap())
}
