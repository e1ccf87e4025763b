//! Who a request or a subscription is from: tokens, passwords, sessions.

mod authority;
pub mod bans;
pub mod brake;
pub mod credentials;
pub mod keys;
pub mod mailed;
pub mod network;
pub mod pace;
pub mod password;
pub mod second_factor;
pub mod token;

pub use authority::{Authority, Lifetimes, RotateError};

use dataflows::access::Caller;
use std::net::IpAddr;
use std::sync::Arc;

/// Somebody at the door: who he is, and which of his requests and subscriptions belong together.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose rights
    pub caller: Arc<Caller>,
    /// The user's id, `/db/User/…`; none for anonymous callers
    pub user: Option<Arc<str>>,
    /// Hash of the token's session id; for anonymous callers of the remote address. Never 0.
    pub hash: u64,
    /// What his token says; none for anonymous callers
    pub claims: Option<Arc<token::Claims>>,
}

impl Session {
    /// A caller without a token: all those of one address are one session.
    pub fn anonymous(address: IpAddr) -> Session {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        address.to_canonical().hash(&mut hasher);
        Session { caller: Arc::new(Caller::anonymous()), user: None, hash: hasher.finish() | 1, claims: None }
    }
}

/// Tells who holds a token. An invalid or expired one is nobody's (docs/users.md).
pub trait Authenticate: Send + Sync + 'static {
    /// The session of a token of an app.
    fn session(&self, app: &str, token: &str) -> Option<Session>;

    /// A session that began before, with the rights that its caller has now; none where its token has died since.
    fn again(&self, app: &str, session: &Session) -> Option<Session> {
        self.is_alive(app, session).then(|| session.clone())
    }

    /// Whether the token of a session of an app is still valid. Nothing ends the session of anonymous callers.
    fn is_alive(&self, _app: &str, _session: &Session) -> bool {
        true
    }

    /// The time that tokens are judged by, seconds since 1970.
    fn now(&self) -> u32 {
        0
    }
}
