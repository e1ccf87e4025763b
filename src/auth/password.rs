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
    at_once: usize,
    /// Verified against where there is no user, so that the time tells nobody which users there are
    decoy: Arc<str>,
}

impl Passwords {
    /// `at_once`: how many are worked on at the same time.
    pub fn new(at_once: usize) -> Result<Passwords, PasswordError> {
        let decoy = hash(&generate())?;
        Ok(Passwords { turns: Arc::new(Semaphore::new(at_once)), at_once, decoy: decoy.into() })
    }

    /// How many are worked on at the same time.
    pub fn at_once(&self) -> usize {
        self.at_once
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

/// Logins of late that did not succeed; beyond the limits the next ones are refused unseen.
///
/// Counted when they begin, so that many at once count as well as many in a row.
#[derive(Debug, Default)]
pub struct Brake {
    tries: Mutex<HashMap<Suspect, Tries>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Suspect {
    /// Somebody who tries one user's passwords
    Pair(Box<str>, IpAddr),
    /// An address, which may stand for many people
    Address(IpAddr),
    /// A user, tried from everywhere: the limit is high, since whoever reaches it locks the user out
    User(Box<str>),
}

impl Suspect {
    fn limit(&self) -> u32 {
        match self {
            Suspect::Pair(..) => 10,
            Suspect::Address(_) => 50,
            Suspect::User(_) => 300,
        }
    }
}

#[derive(Debug)]
struct Tries {
    since: i64,
    count: u32,
}

impl Brake {
    /// Tries are forgotten after this, milliseconds.
    const WINDOW: i64 = 60_000;
    /// Never remembers more.
    const REMEMBERED: usize = 10_000;
    /// No user has a longer name, bytes; what is remembered is bounded by it.
    pub const LONGEST_NAME: usize = 256;

    /// Counts a try; whether it may go on. `now` in milliseconds.
    pub fn begin(&self, user: &str, address: IpAddr, now: i64) -> bool {
        if user.len() > Self::LONGEST_NAME {
            return false;
        }
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() + 3 > Self::REMEMBERED {
            tries.retain(|_, tries| now - tries.since < Self::WINDOW);
        }
        if tries.len() + 3 > Self::REMEMBERED {
            // Under attack from everywhere; what is forgotten gives nobody more than one window's tries.
            tries.clear();
        }
        let suspects = Self::suspects(user, address);
        let open = suspects
            .iter()
            .all(|suspect| tries.get(suspect).is_none_or(|tries| tries.count < suspect.limit() || now - tries.since >= Self::WINDOW));
        if open {
            for suspect in suspects {
                let entry = tries.entry(suspect).or_insert(Tries { since: now, count: 0 });
                if now - entry.since >= Self::WINDOW {
                    *entry = Tries { since: now, count: 0 };
                }
                entry.count += 1;
            }
        }
        open
    }

    /// The try was right: it does not count, and who found his password may forget it again.
    pub fn succeeded(&self, user: &str, address: IpAddr) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        for suspect in Self::suspects(user, address) {
            if matches!(suspect, Suspect::Pair(..)) {
                tries.remove(&suspect);
            } else if let Some(entry) = tries.get_mut(&suspect) {
                entry.count = entry.count.saturating_sub(1);
            }
        }
    }

    fn suspects(user: &str, address: IpAddr) -> [Suspect; 3] {
        [Suspect::Pair(user.into(), address), Suspect::Address(address), Suspect::User(user.into())]
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
    fn the_brake_holds_who_guesses_for_a_minute_and_nobody_else() {
        let brake = Brake::default();
        let (here, there) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        assert!((0..10).all(|_| brake.begin("root", here, 1_000)));
        assert!(!brake.begin("root", here, 2_000));
        assert!(brake.begin("root", there, 2_000), "the user himself, from elsewhere");
        assert!(brake.begin("joe", here, 2_000));
        assert!(brake.begin("root", here, 61_000));
        assert!(!brake.begin(&"x".repeat(257), here, 61_000));
    }

    #[test]
    fn who_succeeds_is_never_held() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        for _ in 0..1_000 {
            assert!(brake.begin("root", here, 1_000));
            brake.succeeded("root", here);
        }
    }

    #[test]
    fn an_address_that_tries_many_users_is_held() {
        let brake = Brake::default();
        let here = [127, 0, 0, 1].into();
        assert_eq!((0..100).filter(|user| brake.begin(&user.to_string(), here, 1_000)).count(), 50);
    }
}
