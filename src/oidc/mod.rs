//! Login at a provider (OpenID Connect): the authorization code flow with PKCE.
//!
//! * `client`: requests to providers: https (or loopback), bounded in time and size, no redirects followed
//! * [`provider`]: discovery, keys and their rotation, the exchange of a code, the claims
//! * [`attempt`]: a login that is under way, bound to the browser that began it
//! * [`link`]: who at a provider is which user
//!
//! The HTTP side is `src/http/users/oauth.rs`.

pub mod attempt;
mod client;
pub mod link;
pub mod provider;

pub use attempt::{Attempt, Attempts};
pub use provider::{Person, Provider};

use crate::config::{OidcOptions, SecretError};
use std::collections::HashMap;
use std::sync::Arc;

/// What goes wrong between this server and a provider.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// A client secret
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It does not answer, or not what it should
    #[error("the provider {provider} cannot be used: {reason}")]
    Unusable {
        /// Its name
        provider: String,
        /// Why
        reason: String,
    },
    /// It does not confirm the login
    #[error("the provider {provider} does not confirm the login: {reason}")]
    Unconfirmed {
        /// Its name
        provider: String,
        /// Why
        reason: String,
    },
}

impl OidcError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            OidcError::Secret(error) => error.code(),
            OidcError::Unusable { .. } => "oidc-unusable",
            OidcError::Unconfirmed { .. } => "oidc-unconfirmed",
        }
    }
}

/// The providers of every app.
#[derive(Debug, Default)]
pub struct Providers {
    providers: HashMap<(Box<str>, Box<str>), Arc<Provider>>,
}

impl Providers {
    /// As configured. Nothing is asked of a provider before somebody logs in: one that is down keeps nobody else out.
    pub fn new(options: &[OidcOptions]) -> Result<Providers, OidcError> {
        let client = client::Client::new();
        let mut providers = HashMap::new();
        for options in options {
            let provider = Provider::new(options.clone(), client.clone())?;
            providers.insert((options.app.as_str().into(), options.name.as_str().into()), Arc::new(provider));
        }
        Ok(Providers { providers })
    }

    /// An app's provider.
    pub fn get(&self, app: &str, name: &str) -> Option<&Arc<Provider>> {
        self.providers.get(&(app.into(), name.into()))
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }
}
