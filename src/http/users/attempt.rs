//! One try at a password, a name or a code: counted when it begins, forgotten when it was right.

use crate::auth::brake::{Tried, Try};
use crate::http::Front;
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::rights::secrets::LONGEST_NAME;
use std::net::IpAddr;
use std::sync::Arc;

/// A try under way.
#[must_use = "who succeeds has to be told apart from who guesses"]
pub(in crate::http) struct Attempt<'f> {
    front: &'f Front,
    app: Arc<str>,
    tried: Tried,
    user: String,
    address: IpAddr,
}

impl<'f> Attempt<'f> {
    /// At the password of whoever has a name, or at a name.
    pub(in crate::http) fn at_name(front: &'f Front, identity: &Identity, name: &str) -> Result<Attempt<'f>, ApiError> {
        if name.len() > LONGEST_NAME {
            return Err(ApiError::plain(error::BAD_CREDENTIALS));
        }
        Attempt::begin(front, identity, Tried::Password, name)
    }

    /// At a code of a user's second factor.
    pub(in crate::http) fn at_code(front: &'f Front, identity: &Identity, user: &str) -> Result<Attempt<'f>, ApiError> {
        Attempt::begin(front, identity, Tried::Code, user)
    }

    fn begin(front: &'f Front, identity: &Identity, tried: Tried, user: &str) -> Result<Attempt<'f>, ApiError> {
        let attempt = Attempt { front, app: identity.app.name.clone(), tried, user: user.to_owned(), address: identity.address };
        if front.brake.begin(attempt.of(), front.clock.now_ms()) { Ok(attempt) } else { Err(ApiError::plain(error::TOO_MANY_TRIES)) }
    }

    /// It was right, or at least no guess.
    pub(in crate::http) fn succeeded(self) {
        self.front.brake.succeeded(self.of());
    }

    fn of(&self) -> Try<'_> {
        Try { app: &self.app, tried: self.tried, user: &self.user, address: self.address }
    }
}
