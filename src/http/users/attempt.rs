//! One try at a password, a name or a code: counted when it begins, forgotten when it was right.

use crate::auth::brake::Tried;
use crate::http::Front;
use crate::http::error::{self, ApiError};
use crate::http::identity::Identity;
use crate::rights::secrets::LONGEST_NAME;
use std::net::IpAddr;

/// A try under way.
#[must_use = "who succeeds has to be told apart from who guesses"]
pub(in crate::http) struct Attempt<'f> {
    front: &'f Front,
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
        let attempt = Attempt { front, tried, user: format!("{}\n{user}", identity.app.name), address: identity.address };
        if front.brake.begin(tried, &attempt.user, attempt.address, front.clock.now_ms()) {
            Ok(attempt)
        } else {
            Err(ApiError::plain(error::TOO_MANY_TRIES))
        }
    }

    /// It was right, or at least no guess.
    pub(in crate::http) fn succeeded(self) {
        self.front.brake.succeeded(self.tried, &self.user, self.address);
    }
}
