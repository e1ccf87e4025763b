//! Passwords: argon2id, away from the async threads and a few at a time, and a brake on guessing.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Longest password, bytes.
pub const LONGEST: usize = 1024;

/// The server cannot hash or verify just now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the password could not be processed: {0}")]
pub struct PasswordError(String);

/// Hashes and verifies; at most a few at once, since each takes 19 MiB and a core.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Verified against where there is no user, so that the time tells nobody which users there are
    decoy: Arc<str>,
}

impl Passwords {
    /// `at_once`: how many are worked on at the same time.
    pub fn new(at_once: usize) -> Result<Passwords, PasswordError> {
        let decoy = hash(&generate())?;
        Ok(Passwords { turns: Arc::new(Semaphore::new(at_once)), decoy: decoy.into() })
    }

    /// The hash of a password, as text with its parameters.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.turn(move || hash(&password)).await?
    }

    /// Whether it is the password of the hash. Takes as long where there is no hash, and is false then.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        let decoy = self.decoy.clone();
        self.turn(move || {
            let (text, real) = hash.as_deref().map_or((&*decoy, false), |hash| (hash, true));
            let parsed = PasswordHash::new(text).map_err(|error| PasswordError(error.to_string()))?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && real)
        })
        .await?
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|error| PasswordError(error.to_string()))?;
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        worked.await.map_err(|error| PasswordError(error.to_string()))
    }
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let random: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&random).map_err(|error| PasswordError(error.to_string()))?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|error| PasswordError(error.to_string()))?;
    Ok(hash.to_string())
}

/// A password of 120 bits for people to copy, without letters that look like others.
pub fn generate() -> String {
    use rand::Rng;
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
    let mut random = rand::rng();
    (0..24).map(|_| LETTERS[random.random_range(0..LETTERS.len())] as char).collect()
}

/// Failed logins of late, per user and per address; beyond the limit the next ones are refused unseen.
#[derive(Debug, Default)]
pub struct Brake {
    failures: Mutex<HashMap<Suspect, Failures>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Suspect {
    User(String),
    Address(IpAddr),
}

#[derive(Debug)]
struct Failures {
    since: i64,
    count: u32,
}

impl Brake {
    /// Failures are forgotten after this, milliseconds.
    const WINDOW: i64 = 60_000;
    /// So many within the window are free for one user …
    const OF_USER: u32 = 10;
    /// … and for one address, which may stand for many people.
    const OF_ADDRESS: u32 = 50;
    /// Never remembers more; the oldest go first.
    const REMEMBERED: usize = 10_000;

    /// Whether a login may be tried. `now` in milliseconds.
    pub fn permits(&self, user: &str, address: IpAddr, now: i64) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let below = |suspect: Suspect, limit: u32| {
            failures.get(&suspect).is_none_or(|failures| failures.count < limit || now - failures.since >= Self::WINDOW)
        };
        below(Suspect::User(user.to_owned()), Self::OF_USER) && below(Suspect::Address(address), Self::OF_ADDRESS)
    }

    /// A login failed.
    pub fn failed(&self, user: &str, address: IpAddr, now: i64) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= Self::REMEMBERED {
            failures.retain(|_, failures| now - failures.since < Self::WINDOW);
        }
        if failures.len() >= Self::REMEMBERED {
            // Under attack from everywhere; forgetting all at once costs the attacker's victims nothing but time.
            failures.clear();
        }
        for suspect in [Suspect::User(user.to_owned()), Suspect::Address(address)] {
            let entry = failures.entry(suspect).or_insert(Failures { since: now, count: 0 });
            if now - entry.since >= Self::WINDOW {
                *entry = Failures { since: now, count: 0 };
            }
            entry.count += 1;
        }
    }

    /// A login succeeded: the user's failures are forgotten, the address's are not.
    pub fn succeeded(&self, user: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&Suspect::User(user.to_owned()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verifies_its_own_hashes_only() {
        let passwords = Passwords::new(1).unwrap();
        let hash = passwords.hash("secret".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify("secret".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("Secret".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("secret".into(), None).await.unwrap());
    }

    #[test]
    fn generated_passwords_differ() {
        assert_ne!(generate(), generate());
        assert_eq!(generate().len(), 24);
    }

    #[test]
    fn the_brake_holds_a_user_for_a_minute_and_nobody_else() {
        let brake = Brake::default();
        let (here, there) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        for _ in 0..10 {
            assert!(brake.permits("root", here, 1_000));
            brake.failed("root", here, 1_000);
        }
        assert!(!brake.permits("root", here, 2_000) && !brake.permits("root", there, 2_000));
        assert!(brake.permits("joe", here, 2_000));
        assert!(brake.permits("root", here, 61_000));
        brake.succeeded("root");
        assert!(brake.permits("root", here, 2_000));
    }
}
