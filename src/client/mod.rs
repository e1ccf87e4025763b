//! How commands reach a server: where it is, which certificates are believed, a stream, the API as an administrator.
//!
//! * [`endpoint`]: what a URL says of a server, pure
//! * [`trust`]: whose certificates are believed
//! * [`stream`]: one connection, plain or TLS
//! * [`api`]: requests as `root`
//!
//! It knows nothing of the server's inside; `watch`, `bench` and the command line stand on it.

pub mod api;
pub mod endpoint;
pub mod stream;
pub mod trust;

use std::error::Error;
use std::path::PathBuf;

/// Why a server could not be talked to, or what it answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not a URL of a server
    #[error("{url:?} is not the URL of a server: {reason}")]
    Address {
        /// As given
        url: String,
        /// What is wrong with it, or what would do
        reason: String,
    },
    /// The certificates to believe
    #[error("the certificates in {path} (--ca) are of no use: {reason}; it must be PEM text")]
    Authority {
        /// Which file
        path: PathBuf,
        /// What is wrong with it
        reason: String,
    },
    /// No connection, or none any more
    #[error("cannot reach {server}: {reason}; is it running there?")]
    Unreachable {
        /// Host and port
        server: String,
        /// What went wrong
        reason: String,
    },
    /// Its certificate is not believed
    #[error("{server} shows a certificate that is not believed: {reason}; {hint}")]
    Distrusted {
        /// Host and port
        server: String,
        /// What is wrong with it
        reason: String,
        /// What to do
        hint: &'static str,
    },
    /// It said no
    #[error("the server at {server} refused {what}: {message}")]
    Refused {
        /// Where
        server: String,
        /// What was asked for
        what: String,
        /// What it said
        message: String,
    },
    /// What answers there is something else
    #[error("{server} is no server of Tidegate: {reason}")]
    Foreign {
        /// Where
        server: String,
        /// How that shows
        reason: &'static str,
    },
}

impl ClientError {
    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            ClientError::Address { .. } => "client-address",
            ClientError::Authority { .. } => "client-authority",
            ClientError::Unreachable { .. } => "client-unreachable",
            ClientError::Distrusted { .. } => "client-distrusts",
            ClientError::Refused { .. } => "client-refused",
            ClientError::Foreign { .. } => "client-foreign",
        }
    }

    /// What went wrong with a connection to `server`. A certificate that is not believed is told apart, wherever it is in the
    /// chain of errors, as it is mended elsewhere.
    fn connection(server: &str, error: &(dyn Error + 'static)) -> ClientError {
        let server = server.to_owned();
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        let mut said = Vec::new();
        while let Some(error) = next {
            if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
                return ClientError::Distrusted { server, reason: reason.to_string(), hint: hint(reason) };
            }
            said.push(error.to_string());
            // What an I/O error wraps is not its source, but that error itself.
            next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        // The innermost one says what happened; those around it that something did.
        ClientError::Unreachable { server, reason: said.pop().unwrap_or_default() }
    }
}

/// What to do about a certificate that is not believed.
fn hint(reason: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidForName, NotValidForNameContext};
    match reason {
        NotValidForName | NotValidForNameContext { .. } => "use a host name in the URL that the certificate is for",
        Expired | ExpiredContext { .. } => "it has to be renewed",
        _ => "if it is one of your own, name it, or the one that signed it, with --ca FILE",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_found_however_deep() {
        let distrust = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, distrust));
        let error = ClientError::connection("h:443", &wrapped);
        assert_eq!(error.code(), "client-distrusts");
        assert!(error.to_string().contains("--ca FILE"), "{error}");
        let refused = std::io::Error::other(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let error = ClientError::connection("h:443", &refused);
        assert_eq!(
            (error.code(), error.to_string().as_str()),
            ("client-unreachable", "cannot reach h:443: connection refused; is it running there?")
        );
    }
}
