//! Tokens that are mailed: whoever has one reads the user's mailbox.
//!
//! `<key of the user, base64url>.<256 random bits, base64url>`. Only the hash of the random half is kept, beside the user's credentials:
//! who reads the store or a backup can open nothing with it. A token works once, for a time, and not after another
//! password: what is redeemed is removed in the commit that it is redeemed for, under the condition that it stood there.

use crate::store::{SecretWrite, Secrets, StoreError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Tokens of one purpose that a user may have at a time; the oldest gives way.
const AT_A_TIME: usize = 5;
/// No token is longer, bytes.
const LONGEST: usize = 1024;

/// What a token lets do, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Log in with a name that is an address
    Verify,
    /// Choose a new password
    Reset,
    /// Be known by another address
    Rename,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Purpose::Verify => "verify",
            Purpose::Reset => "reset",
            Purpose::Rename => "rename",
        }
    }
}

/// A token that can be redeemed, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    hash: String,
    /// Milliseconds since 1970
    ends: i64,
    /// Of the user's credentials when it was made
    generation: u32,
    /// The address that it was sent to
    address: String,
}

/// What a new token is for.
#[derive(Debug, Clone)]
pub struct Request<'r> {
    /// The app
    pub app: &'r str,
    /// The user's id
    pub user: &'r str,
    /// What it lets do
    pub purpose: Purpose,
    /// The address that it is sent to
    pub address: &'r str,
    /// Of the user's credentials
    pub generation: u32,
    /// Milliseconds since 1970
    pub now: i64,
    /// How long it works, seconds
    pub seconds: u64,
}

impl Request<'_> {
    /// When it ends, milliseconds since 1970.
    pub fn ends(&self) -> i64 {
        self.now.saturating_add(i64::try_from(self.seconds).unwrap_or(i64::MAX).saturating_mul(1000))
    }
}

/// A token that was redeemed.
#[derive(Debug, Clone)]
pub struct Redeemed {
    /// The user's id
    pub user: String,
    /// The address that it was sent to
    pub address: String,
    /// The credentials that it was made beside: with others it is dead
    pub generation: u32,
    /// Removes it, and all others of its purpose; to be committed with what it is redeemed for
    pub spent: SecretWrite,
}

/// A new token, and what keeps it; to be committed before it is sent.
pub fn issue(secrets: &dyn Secrets, request: &Request<'_>) -> Result<(String, SecretWrite), StoreError> {
    let Request { app, user, purpose, address, generation, now, .. } = request;
    let name = name(app, user, *purpose);
    let before = secrets.secret(&name)?;
    let mut kept = before.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
    kept.retain(|kept| kept.ends > *now && kept.generation == *generation);
    kept.drain(..kept.len().saturating_sub(AT_A_TIME - 1));
    let random: [u8; 32] = rand::random();
    kept.push(Kept { hash: hash(&random), ends: request.ends(), generation: *generation, address: (*address).to_owned() });
    let value = serde_json::to_vec(&kept).map_err(|error| StoreError::Broken(error.to_string()))?;
    let key = user.strip_prefix(USERS).unwrap_or(user);
    let token = format!("{}.{}", BASE64.encode(key), BASE64.encode(random));
    Ok((token, SecretWrite { name, expect: Some(before), value: Some(value) }))
}

/// What a token says, if it can be redeemed; the caller compares the generation, inside the commit.
pub fn redeem(secrets: &dyn Secrets, app: &str, purpose: Purpose, token: &str, now: i64) -> Result<Option<Redeemed>, StoreError> {
    let Some((user, random)) = parse(token) else { return Ok(None) };
    let name = name(app, &user, purpose);
    let Some(before) = secrets.secret(&name)? else { return Ok(None) };
    // The hash of a random number of 256 bits: how long the comparison takes tells nobody anything of use.
    let hash = hash(&random);
    let found = read(&before)?.into_iter().find(|kept| kept.hash == hash && kept.ends > now);
    Ok(found.map(|kept| Redeemed {
        user,
        address: kept.address,
        generation: kept.generation,
        spent: SecretWrite { name, expect: Some(Some(before)), value: None },
    }))
}

/// Ids of users begin with this.
const USERS: &str = "/db/User/";

fn parse(token: &str) -> Option<(String, Vec<u8>)> {
    if token.len() > LONGEST {
        return None;
    }
    let (key, random) = token.split_once('.')?;
    let key = String::from_utf8(BASE64.decode(key).ok()?).ok()?;
    // Canonical, or it could be a name of something else in the same place.
    let (user, _) = crate::object::id::whole(&format!("{USERS}{key}")).ok()?;
    (user.strip_prefix(USERS) == Some(&*key)).then_some(())?;
    Some((user.to_string(), BASE64.decode(random).ok()?))
}

fn read(kept: &[u8]) -> Result<Vec<Kept>, StoreError> {
    serde_json::from_slice(kept).map_err(|error| StoreError::Broken(format!("a mailed token: {error}")))
}

fn hash(random: &[u8]) -> String {
    BASE64.encode(Sha256::digest(random))
}

fn name(app: &str, user: &str, purpose: Purpose) -> String {
    format!("mailed-{}/{app}{user}", purpose.name())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::future::BoxFuture;
    use std::collections::HashMap;
    use std::sync::Mutex;

    /// Secrets in memory, with the condition of the store.
    #[derive(Default)]
    struct Memory(Mutex<HashMap<String, Vec<u8>>>);

    impl Memory {
        fn commit(&self, write: SecretWrite) -> bool {
            let mut secrets = self.0.lock().unwrap();
            if write.expect.is_some_and(|expected| expected != secrets.get(&write.name).cloned()) {
                return false;
            }
            match write.value {
                Some(value) => secrets.insert(write.name, value),
                None => secrets.remove(&write.name),
            };
            true
        }
    }

    impl Secrets for Memory {
        fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(self.0.lock().unwrap().get(name).cloned())
        }

        fn put_secret(&self, name: &str, value: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>> {
            self.0.lock().unwrap().insert(name.into(), value);
            Box::pin(async { Ok(()) })
        }

        fn secret_names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
            let mut names: Vec<String> = self.0.lock().unwrap().keys().map(|name| (*name).to_owned()).collect();
            names.sort();
            Ok(names.into_iter().filter(|name| after.is_none_or(|after| **name > *after)).take(limit).collect())
        }
    }

    fn request(now: i64, generation: u32) -> Request<'static> {
        Request { app: "app", user: "/db/User/a%2Fb", purpose: Purpose::Reset, address: "a@b.cc", generation, now, seconds: 60 }
    }

    #[test]
    fn work_once_for_a_time_for_one_purpose_in_one_app() {
        let memory = Memory::default();
        let (token, write) = issue(&memory, &request(0, 3)).unwrap();
        assert!(!String::from_utf8_lossy(write.value.as_ref().unwrap()).contains(token.split_once('.').unwrap().1));
        assert!(memory.commit(write));
        let ask = |app: &str, purpose, token: &str, now| redeem(&memory, app, purpose, token, now).unwrap();
        assert!(ask("app", Purpose::Reset, &token, 60_000).is_none(), "too late");
        assert!(ask("app", Purpose::Verify, &token, 0).is_none(), "another purpose");
        assert!(ask("other", Purpose::Reset, &token, 0).is_none(), "another app");
        for wrong in ["", ".", "a", "a.b", &format!("{token}A"), &token[..token.len() - 1], &token[1..], &"a.".repeat(1000)] {
            assert!(ask("app", Purpose::Reset, wrong, 0).is_none(), "{wrong}");
        }
        let (first, second) = (ask("app", Purpose::Reset, &token, 0).unwrap(), ask("app", Purpose::Reset, &token, 0).unwrap());
        assert_eq!((&*first.user, &*first.address, first.generation), ("/db/User/a%2Fb", "a@b.cc", 3));
        assert!(memory.commit(first.spent));
        assert!(!memory.commit(second.spent), "of two at once one is first");
        assert!(ask("app", Purpose::Reset, &token, 0).is_none(), "spent");
    }

    #[test]
    fn are_few_at_a_time_and_end_with_the_password() {
        let memory = Memory::default();
        let tokens: Vec<_> = (0..=AT_A_TIME)
            .map(|_| {
                let (token, write) = issue(&memory, &request(0, 0)).unwrap();
                assert!(memory.commit(write));
                token
            })
            .collect();
        let works = |token: &str| redeem(&memory, "app", Purpose::Reset, token, 1).unwrap().is_some();
        assert!(!works(&tokens[0]) && tokens[1..].iter().all(|token| works(token)));
        let (new, write) = issue(&memory, &request(0, 1)).unwrap();
        assert!(memory.commit(write));
        assert!(works(&new) && !works(&tokens[AT_A_TIME]));
    }
}
