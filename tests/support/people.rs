//! Users with tokens, made with the server's own key: that they exist as objects is not needed for access.

use dataflows::access::{Caller, LOGGED_IN_ROLE};
use std::sync::Arc;
use tidegate::auth::Authority;
use tidegate::server::APP;

/// Somebody who asks.
#[derive(Debug, Clone)]
pub struct Person {
    pub token: Option<String>,
    /// What the judge is told about him
    pub caller: Arc<Caller>,
}

impl Person {
    pub fn anonymous() -> Person {
        Person { token: None, caller: Arc::new(Caller::anonymous()) }
    }

    /// Somebody logged in, with a user's id and those of his roles.
    pub fn of(authority: &Authority, user: &str, roles: &[&str]) -> Person {
        let (_, token) = authority.issue(APP, user.into(), roles.iter().map(|role| (*role).into()).collect(), 0).unwrap();
        let references = roles.iter().copied().chain([user, LOGGED_IN_ROLE]);
        Person { token: Some(token), caller: Arc::new(Caller::new(references)) }
    }
}
