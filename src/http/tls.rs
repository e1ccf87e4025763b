//! TLS for the API's listener: certificate and key from files, changed without a restart.
//!
//! A renewal replaces the two files, often one after the other, so what is read is used only if it is whole and fits
//! together; until then the former certificate stays in use. Connections that are open keep what they began with.

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// A peer that has not finished its handshake by then gives its place to another.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const LOOKS: Duration = Duration::from_secs(2);
/// The first byte of a handshake: a record that holds one.
const HANDSHAKE_RECORD: u8 = 0x16;
/// No file with a chain or a key is larger, bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One of the two files is not named
    #[error("TLS needs a certificate and its key: give both, --tls-cert FILE (server.tls_cert) and --tls-key FILE (server.tls_key)")]
    Half,
    /// A file is not there, or may not be read
    #[error("the file {path} ({option}) cannot be read: {reason}")]
    Unreadable {
        /// Which file
        path: PathBuf,
        /// Which option names it
        option: &'static str,
        /// What the operating system said
        reason: String,
    },
    /// A file does not hold what it should
    #[error("the file {path} ({option}) is of no use: {reason}; it must be PEM text")]
    Unfit {
        /// Which file
        path: PathBuf,
        /// Which option names it
        option: &'static str,
        /// What is wrong with it
        reason: String,
    },
    /// The key belongs to another certificate
    #[error("the key {key} is not that of the first certificate in {cert}; give the two files that belong together")]
    Mismatch {
        /// `server.tls_cert`
        cert: PathBuf,
        /// `server.tls_key`
        key: PathBuf,
    },
    /// TLS cannot be set up at all
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl TlsError {
    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            TlsError::Half => "tls-incomplete",
            TlsError::Unreadable { .. } => "tls-unreadable",
            TlsError::Unfit { .. } => "tls-unfit",
            TlsError::Mismatch { .. } => "tls-mismatch",
            TlsError::Setup(_) => "tls-setup",
        }
    }
}

/// The certificate in use.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

/// What every handshake asks for.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Tls {
    /// TLS as it is configured: an empty path is none. Reads the files; blocks.
    pub fn configured(cert: &Path, key: &Path) -> Result<Option<Arc<Tls>>, TlsError> {
        match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
            (true, true) => Ok(None),
            (false, false) => Tls::open(cert.to_owned(), key.to_owned()).map(|tls| Some(Arc::new(tls))),
            _ => Err(TlsError::Half),
        }
    }

    fn open(cert: PathBuf, key: PathBuf) -> Result<Tls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let current = Arc::new(Current(RwLock::new(Arc::new(read(&cert, &key, &provider)?))));
        let versions = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| TlsError::Setup(error.to_string()))?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls { cert, key, provider, current, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Takes what the files hold now. After an error the former certificate stays in use. Blocks.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.cert, &self.key, &self.provider)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Reloads when the files change and at SIGHUP, until `ended`.
    pub async fn follow(self: Arc<Self>, ended: CancellationToken) {
        let mut hang_up = match signal(SignalKind::hangup()) {
            Ok(hang_up) => Some(hang_up),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be listened for; certificates are reloaded when their files change");
                None
            }
        };
        let mut known = self.stamps().await;
        let mut looks = tokio::time::interval(LOOKS);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                _ = looks.tick() => false,
                Some(()) = async { hang_up.as_mut()?.recv().await } => true,
                () = ended.cancelled() => return,
            };
            let found = self.stamps().await;
            if !told && found == known {
                continue;
            }
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(())) => tracing::info!(cert = %self.cert.display(), "the certificate was reloaded"),
                // Told once for each change of the files: a renewal that is half done is told and mended by its other half.
                Ok(Err(error)) => tracing::warn!(%error, code = error.code(), "the former certificate stays in use"),
                Err(error) => tracing::error!(%error, "the certificate could not be reloaded"),
            }
            known = found;
        }
    }

    /// When the files were last written; also a link that leads elsewhere now is another file.
    async fn stamps(&self) -> [Option<(u64, u64, SystemTime)>; 2] {
        use std::os::unix::fs::MetadataExt;
        let stamp = async |path: &Path| {
            let about = tokio::fs::metadata(path).await.ok()?;
            Some((about.ino(), about.len(), about.modified().ok()?))
        };
        [stamp(&self.cert).await, stamp(&self.key).await]
    }

    /// The handshake with a peer; none where it is not TLS that it speaks. Bounded in time.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Option<TlsStream<TcpStream>>> {
        let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "the handshake took too long");
        tokio::time::timeout(HANDSHAKE, self.shake_hands(stream)).await.map_err(|_| late())?
    }

    async fn shake_hands(&self, mut stream: TcpStream) -> std::io::Result<Option<TlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first[0] != HANDSHAKE_RECORD {
            stream.write_all(&plain_answer()).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        self.acceptor.accept(stream).await.map(Some)
    }
}

/// For somebody who speaks plain HTTP: his client shows him what this says.
fn plain_answer() -> Vec<u8> {
    let body = r#"{"className":"BadRequest","message":"this port speaks TLS: use https:// (and wss://) in the URL","reason":"bad-request","status":400}"#;
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json;charset=utf-8\r\nconnection: close";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Certificate and key, if they are whole and belong together.
fn read(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let unfit = |path: &Path, option| {
        let path = path.to_owned();
        move |reason: String| TlsError::Unfit { path, option, reason }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents(cert, "server.tls_cert")?).collect();
    let chain = chain.map_err(|error| unfit(cert, "server.tls_cert")(said(&error)))?;
    if chain.is_empty() {
        return Err(unfit(cert, "server.tls_cert")("there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&contents(key, "server.tls_key")?);
    let private = private.map_err(|error| unfit(key, "server.tls_key")(said(&error)))?;
    let private = provider.key_provider.load_private_key(private).map_err(|error| unfit(key, "server.tls_key")(error.to_string()))?;
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }),
        Err(error) => Err(unfit(cert, "server.tls_cert")(error.to_string())),
    }
}

fn contents(path: &Path, option: &'static str) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| TlsError::Unreadable { path: path.to_owned(), option, reason: error.to_string() };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// What is wrong with PEM text; never a part of it, as it may be a key.
fn said(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is no private key in it".into(),
        pem::Error::Base64Decode(_) => "a part of it is not base64".into(),
        pem::Error::MissingSectionEnd { .. } => "it is cut off".into(),
        _ => "it cannot be read".into(),
    }
}
