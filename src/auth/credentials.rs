//! Credentials: what proves that somebody is a user. They live beside the objects, never in one, so that
//! they are in no image, log, export or query (docs/users.md).
//!
//! They stand under the user's id, so a new name leaves them alone; those of users who are gone are removed by the store's
//! writer, whoever deletes.

use super::second_factor::SecondFactor;
use crate::rights::secrets as names;
use crate::store::{SecretWrite, Secrets, StoreError};
use serde::{Deserialize, Serialize};

/// What is kept of a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The argon2 hash of the password, with its parameters; none for somebody who logs in by other means alone
    pub hash: Option<String>,
    /// Raised with each new password and each revocation: tokens of older ones are dead
    pub generation: u32,
    /// The second factor, if there is one or one is being set up
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
}

impl Credentials {
    /// Of a new user.
    pub fn new(hash: Option<String>) -> Credentials {
        Credentials { hash, generation: 0, second_factor: None }
    }

    /// Reads a user's credentials; none if he never had any.
    pub fn read(secrets: &dyn Secrets, app: &str, user: &str) -> Result<Option<Credentials>, StoreError> {
        let Some(text) = secrets.secret(&names::credentials(app, user))? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| StoreError::Broken(format!("the credentials of {user}: {error}")))
    }

    /// What makes these a user's credentials; to be committed with what else belongs to it. `before`: what must stand
    /// there until then; None: whatever it is.
    pub fn write(&self, app: &str, user: &str, before: Option<Option<&Credentials>>) -> Result<SecretWrite, StoreError> {
        let expect = before.map(|before| before.map(Credentials::text).transpose()).transpose()?;
        Ok(SecretWrite { name: names::credentials(app, user), expect, value: Some(self.text()?) })
    }

    /// The second factor, where a login needs it.
    pub fn required_factor(&self) -> Option<&SecondFactor> {
        self.second_factor.as_ref().filter(|factor| factor.confirmed)
    }

    fn text(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::Broken(error.to_string()))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("generation", &self.generation).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_store_reads_and_makes_them_in_the_same_form() {
        let blank = Credentials { hash: None, generation: 7, second_factor: None };
        assert_eq!(blank.text().unwrap(), names::blank(7).unwrap());
        let whole = Credentials { hash: Some("hash".into()), generation: 9, second_factor: Some(SecondFactor::generate()) };
        assert_eq!(names::generation_of(&whole.text().unwrap()).unwrap(), 9);
    }
}
