//! Why a server does not start.

use crate::apps::AppError;
use crate::auth::password::PasswordError;
use crate::changelog::kafka::KafkaLogError;
use crate::http::tls::TlsError;
use crate::ingest::IngestError;
use crate::mail::MailError;
use crate::oidc::OidcError;
use crate::store::StoreError;
use crate::store::embedded::OpenError;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An address
    #[error("cannot listen on {address} ({option}): {reason}; stop what listens there, or choose another address with {flag}")]
    Listen {
        /// As configured
        address: String,
        /// Which option it is
        option: &'static str,
        /// How to give another
        flag: &'static str,
        /// What the operating system said
        reason: String,
    },
    /// Certificate and key
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Reading or writing what a server needs
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Hashing the password
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// An option that is of the right type and makes no sense
    #[error("the option {option} cannot be {value:?}: {reason}")]
    Option {
        /// `section.key`
        option: &'static str,
        /// As configured
        value: String,
        /// What would do
        reason: &'static str,
    },
    /// Mail
    #[error(transparent)]
    Mail(#[from] MailError),
    /// Providers at which users log in
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// Ingest
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The apps
    #[error(transparent)]
    App(#[from] AppError),
    /// The change log
    #[error(transparent)]
    ChangeLog(#[from] KafkaLogError),
    /// The dataflow
    #[error("{0}")]
    Engine(String),
}

impl StartError {
    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::Open(error) => error.code(),
            StartError::Listen { .. } => "listen",
            StartError::Tls(error) => error.code(),
            StartError::Store(error) => error.code(),
            StartError::Password(error) => error.code(),
            StartError::Option { .. } => "config-unfit-value",
            StartError::Mail(error) => error.code(),
            StartError::Oidc(error) => error.code(),
            StartError::Ingest(error) => error.code(),
            StartError::App(error) => error.code(),
            StartError::ChangeLog(error) => error.code(),
            StartError::Engine(_) => "engine",
        }
    }
}
