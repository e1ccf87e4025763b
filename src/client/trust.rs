//! Whose certificates are believed: those that the system believes, and the ones that a person names.

use super::ClientError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// What is believed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    own: Vec<CertificateDer<'static>>,
    /// Made when TLS is first spoken: reading the system's certificates takes a while
    config: OnceLock<Arc<ClientConfig>>,
}

impl Trust {
    /// Those of the system, and those in this file: an authority's certificate, or the server's own. Reads the file; blocks.
    pub fn with(file: Option<&Path>) -> Result<Trust, ClientError> {
        let own = match file {
            Some(path) => read(path).map_err(|reason| ClientError::Authority { path: path.to_owned(), reason })?,
            None => Vec::new(),
        };
        Ok(Trust(Arc::new(Inner { own, config: OnceLock::new() })))
    }

    /// Believes nobody, for who speaks no TLS: reads nothing.
    pub(super) fn without_system() -> Arc<ClientConfig> {
        Arc::new(configured(&[], Vec::new()))
    }

    /// For handshakes; names no protocol, so HTTP/1.1 is spoken. Reads files of the system the first time; blocks.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.config.get_or_init(|| Arc::new(configured(&self.0.own, rustls_native_certs::load_native_certs().certs))).clone()
    }
}

/// Believes these. What cannot be read of the system's is left out: then servers that need it are not believed.
fn configured(own: &[CertificateDer<'static>], system: Vec<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system);
    roots.add_parsable_certificates(own.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[allow(clippy::expect_used)] // the provider is part of the binary, and tests shake hands with it
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("ring speaks TLS 1.2 and 1.3");
    versions.with_root_certificates(roots).with_no_client_auth()
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certs = certs.map_err(|_| "a part of it is cut off or garbled".to_owned())?;
    let mut roots = RootCertStore::empty();
    certs.iter().try_for_each(|cert| roots.add(cert.clone())).map_err(|error| error.to_string())?;
    if certs.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(certs) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_certificates_or_is_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("ca.pem");
        assert_eq!(Trust::with(Some(&path)).unwrap_err().code(), "client-authority");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for unfit in [String::new(), "x".into(), made.signing_key.serialize_pem(), made.cert.pem()[..300].to_owned()] {
            std::fs::write(&path, unfit).unwrap();
            assert_eq!(Trust::with(Some(&path)).unwrap_err().code(), "client-authority");
        }
        std::fs::write(&path, made.cert.pem()).unwrap();
        assert_eq!(Trust::with(Some(&path)).unwrap().0.own, [made.cert.der().clone()]);
    }
}
