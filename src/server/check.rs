//! What only the whole configuration can say: options that each fit and together make no sense.

use super::StartError;
use crate::config::{Config, MailTransport, is_safe};

pub(super) fn check(config: &Config) -> Result<(), StartError> {
    let base = &config.server.base;
    if base.is_empty() || !base.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Err(StartError::Option {
            option: "server.base",
            value: base.clone(),
            reason: "one path segment of letters, digits, '-' and '_' is what clients can connect to",
        });
    }
    let public = &config.server.public_url;
    let option = |option, value: &str, reason| Err(StartError::Option { option, value: value.to_owned(), reason });
    if (config.mail.transport != MailTransport::None || !config.oidc.is_empty()) && !is_origin(public) {
        let reason = "mail and logins at providers need to know where the API is reached from outside, such as https://api.example.org, \
                      without a path";
        return option("server.public_url", public, reason);
    }
    if config.server.body_seconds == 0 {
        return option("server.body_seconds", "0", "no body arrives in no time: give at least a second");
    }
    if config.server.bodies_bytes / 2 < config.server.body_bytes {
        let value = config.server.bodies_bytes.to_string();
        return option("server.bodies_bytes", &value, "an app gets half of it, which must have room for one body of server.body_bytes");
    }
    if config.mail.verification && config.mail.transport == MailTransport::None {
        return option("mail.verification", "true", "nobody takes mail (mail.transport), so nobody could ever log in");
    }
    if !config.oidc.is_empty() {
        if !is_safe(public) {
            return option("server.public_url", public, "providers send logins to it: https, or loopback");
        }
        if config.server.origins.iter().any(|origin| origin == "*") {
            let reason = "with [[oidc]] it must name the pages that may receive logins: any page could have them otherwise";
            return option("server.origins", "*", reason);
        }
    }
    Ok(())
}

/// Scheme, host and port, and nothing else.
fn is_origin(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) && url.parse::<axum::http::Uri>().is_ok())
}
