//! A login that is under way: what the browser that began it must bring back.
//!
//! Kept in a cookie of that browser and nowhere else, signed: so nobody can make this server remember logins that never end, and
//! nobody can hand his own login to somebody else's browser.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// A login may take so long, seconds.
pub const SECONDS: i64 = 600;
/// No cookie is longer, bytes.
const LONGEST: usize = 4096;

/// What the browser must bring back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The app
    pub app: String,
    /// The provider's name
    pub provider: String,
    /// As the provider will bring it back
    pub state: String,
    /// As it will stand in the id token
    pub nonce: String,
    /// What proves to the provider that it is the same client
    pub verifier: String,
    /// Where the browser goes in the end; none: to whoever opened the window
    pub redirect: Option<String>,
    /// What the app wants to find there again
    pub login_option: Option<serde_json::Value>,
    /// Seconds since 1970
    pub ends: i64,
}

/// Signs logins that begin, and knows its own again.
#[derive(Clone)]
pub struct Attempts {
    mac: Hmac<Sha256>,
}

impl Attempts {
    /// With a key of this process: a login that is under way while the server restarts begins again.
    pub fn new() -> Option<Attempts> {
        let key: [u8; 32] = rand::random();
        Some(Attempts { mac: Hmac::new_from_slice(&key).ok()? })
    }

    /// As the value of a cookie.
    pub fn sign(&self, attempt: &Attempt) -> Result<String, serde_json::Error> {
        let data = BASE64.encode(serde_json::to_vec(attempt)?);
        let signature = self.mac.clone().chain_update(&data).finalize().into_bytes();
        Ok(format!("{data}.{}", BASE64.encode(signature)))
    }

    /// The login that a cookie is of, if it is for this provider and state and not over. `now` in seconds.
    pub fn verify(&self, cookie: &str, app: &str, provider: &str, state: &str, now: i64) -> Option<Attempt> {
        if cookie.len() > LONGEST {
            return None;
        }
        let (data, signature) = cookie.split_once('.')?;
        self.mac.clone().chain_update(data).verify_slice(&BASE64.decode(signature).ok()?).ok()?;
        let attempt: Attempt = serde_json::from_slice(&BASE64.decode(data).ok()?).ok()?;
        let fits = attempt.app == app && attempt.provider == provider && attempt.state == state && now < attempt.ends;
        fits.then_some(attempt)
    }
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempts").finish_non_exhaustive()
    }
}

/// The cookie's name: a browser may have several logins under way.
pub fn cookie_name(state: &str) -> String {
    let letters: String = state.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    format!("tidegate-oauth-{letters}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        Attempt {
            app: "app".into(),
            provider: "acme".into(),
            state: "s".into(),
            nonce: "n".into(),
            verifier: "v".into(),
            redirect: Some("https://app.example.org/".into()),
            login_option: None,
            ends: 100,
        }
    }

    #[test]
    fn only_what_was_signed_comes_back() {
        let attempts = Attempts::new().unwrap();
        let cookie = attempts.sign(&attempt()).unwrap();
        assert_eq!(attempts.verify(&cookie, "app", "acme", "s", 99), Some(attempt()));
        assert_eq!(attempts.verify(&cookie, "app", "acme", "s", 100), None, "too late");
        assert_eq!(attempts.verify(&cookie, "other", "acme", "s", 0), None);
        assert_eq!(attempts.verify(&cookie, "app", "other", "s", 0), None);
        assert_eq!(attempts.verify(&cookie, "app", "acme", "t", 0), None);
        assert_eq!(Attempts::new().unwrap().verify(&cookie, "app", "acme", "s", 0), None, "another key");
        for at in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(attempts.verify(&changed, "app", "acme", "s", 0), None, "at {at}");
        }
    }
}
