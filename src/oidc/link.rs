//! Who at a provider is which user: by issuer and subject, never by a name or an address.
//!
//! A subject is never given to another person; a name or an address may be, and an address may be anybody's who typed it in.

use super::Person;
use crate::store::{SecretWrite, Secrets, StoreError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

/// The user's id that a person was linked to, as it stands.
pub fn find(secrets: &dyn Secrets, app: &str, person: &Person) -> Result<Option<String>, StoreError> {
    let Some(user) = secrets.secret(&name(app, person))? else { return Ok(None) };
    String::from_utf8(user).map(Some).map_err(|error| StoreError::Broken(format!("a link to a user: {error}")))
}

/// Links a person to a user. `before`: the user that he was linked to until now.
pub fn write(app: &str, person: &Person, before: Option<&str>, user: &str) -> SecretWrite {
    SecretWrite { name: name(app, person), expect: Some(before.map(Into::into)), value: Some(user.into()) }
}

/// Issuers contain slashes and subjects anything, so both are hashed, with their lengths.
fn name(app: &str, person: &Person) -> String {
    let mut hash = Sha256::new();
    hash.update((person.issuer.len() as u64).to_be_bytes());
    hash.update(&person.issuer);
    hash.update(&person.subject);
    format!("oidc/{app}/{}", BASE64.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_shares_a_link() {
        let person = |issuer: &str, subject: &str| Person { issuer: issuer.into(), subject: subject.into(), username: None };
        let names = [
            name("app", &person("https://a", "b")),
            name("app", &person("https://ab", "")),
            name("app", &person("https://", "ab")),
            name("other", &person("https://a", "b")),
        ];
        for (place, one) in names.iter().enumerate() {
            assert!(names[place + 1..].iter().all(|other| other != one));
        }
    }
}
