//! Login by OpenID Connect: which providers there are.

use super::secret::SecretPlace;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The list of providers.
pub(super) const OIDC: &str = "oidc";

/// A provider at which users log in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcOptions {
    /// Its name in URLs, `/db/User/OAuth/<name>`
    pub name: String,
    /// The app whose users it brings
    #[serde(default = "default_app")]
    pub app: String,
    /// Its issuer, exactly as it names itself; over https, on loopback also http
    pub issuer: String,
    /// What the provider knows this server as
    pub client_id: String,
    /// What proves that; none for a public client
    #[serde(default)]
    pub client_secret: Option<SecretPlace>,
    /// What is asked for beside `openid`
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim that becomes the user name
    #[serde(default = "username_claim")]
    pub username_claim: String,
}

fn default_app() -> String {
    super::DEFAULT_APP.into()
}

fn scopes() -> Vec<String> {
    vec!["profile".into(), "email".into()]
}

fn username_claim() -> String {
    "preferred_username".into()
}

/// Whether these providers can be together; else what is expected, and what was found.
pub(super) fn check(providers: &[OidcOptions]) -> Result<(), (String, String)> {
    let mut names = BTreeSet::new();
    for provider in providers {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if provider.name.is_empty() || provider.name.len() > 64 || !provider.name.bytes().all(fits) {
            return Err(("of providers whose names are small letters, digits, '-' and '_'".into(), format!("{:?}", provider.name)));
        }
        if !names.insert((&provider.app, &provider.name)) {
            return Err(("one provider for each name in an app".into(), format!("{:?} twice", provider.name)));
        }
        if provider.client_id.is_empty() || provider.username_claim.is_empty() {
            return Err(("of providers with client_id and username_claim".into(), format!("{:?} without", provider.name)));
        }
        if !is_safe(&provider.issuer) {
            return Err(("of issuers over https, or over http on loopback".into(), format!("{:?}", provider.issuer)));
        }
    }
    Ok(())
}

/// Whether nobody on the way can read or change what is sent there: https, or http that does not leave the machine.
pub fn is_safe(url: &str) -> bool {
    let Ok(url) = axum::http::Uri::try_from(url) else { return false };
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => {
            let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
            host == "localhost" || literal.is_ok_and(|address| address.is_loopback())
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_does_not_leave_the_machine() {
        for (url, safe) in [
            ("https://login.example.org", true),
            ("http://127.0.0.1:4000/oidc", true),
            ("http://[::1]:4000", true),
            ("http://localhost", true),
            ("http://login.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1@example.org", false),
            ("ftp://127.0.0.1", false),
            ("127.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_safe(url), safe, "{url}");
        }
    }
}
