//! Credentials: what proves that somebody is a user. They live beside the objects, never in one, so that
//! they are in no image, log, export or query (CONTRACT section 6).

use crate::store::{SecretWrite, Secrets, StoreError};
use serde::{Deserialize, Serialize};

/// What is kept of a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The argon2 hash of the password, with its parameters
    pub hash: String,
    /// Raised with each new password
    pub generation: u32,
}

impl Credentials {
    /// Reads a user's credentials; none if he never had any.
    pub fn read(secrets: &dyn Secrets, app: &str, user: &str) -> Result<Option<Credentials>, StoreError> {
        let Some(text) = secrets.secret(&name(app, user))? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).map_err(|error| StoreError::Broken(format!("the credentials of {user}: {error}")))
    }

    /// What makes these a user's credentials; to be committed with what else belongs to it. `before`: what must stand
    /// there until then; None: whatever it is.
    pub fn write(&self, app: &str, user: &str, before: Option<Option<&Credentials>>) -> Result<SecretWrite, StoreError> {
        let expect = before.map(|before| before.map(Credentials::text).transpose()).transpose()?;
        Ok(SecretWrite { name: name(app, user), expect, value: Some(self.text()?) })
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

fn name(app: &str, user: &str) -> String {
    format!("credentials/{app}{user}")
}
