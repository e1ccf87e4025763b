//! Passwords: argon2id, as costly as the machine can afford, away from the async threads and a few at a time.

use crate::store::{Secrets, StoreError};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Longest password, bytes.
pub const LONGEST: usize = 1024;

/// Passwords that may wait for each one that is worked on; who comes then is told to come again.
const WAITING: usize = 64;

/// The secret in which the cost stands that was measured.
const COST: &str = "password-cost";

/// The server cannot hash or verify just now.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many at once
    #[error("too many passwords are being checked; try again in a moment")]
    Busy,
    /// The library or the thread
    #[error("the password could not be processed: {0}")]
    Failed(String),
    /// What was measured could not be noted
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PasswordError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            PasswordError::Busy => "busy",
            PasswordError::Failed(_) => "password",
            PasswordError::Store(error) => error.code(),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

/// What one hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Memory, KiB
    pub memory: u32,
    /// How often it is gone through
    pub passes: u32,
}

impl Cost {
    /// The least that OWASP recommends for argon2id. Nothing goes below it.
    pub const LEAST: Cost = Cost { memory: 19 * 1024, passes: 2 };
    /// Memory of one hash at most, KiB.
    const MOST_MEMORY: u32 = 64 * 1024;
    const MOST_PASSES: u32 = 12;

    /// The cost whose hash takes about so long, by what `measure` says of others.
    pub fn calibrate(target: Duration, mut measure: impl FnMut(Cost) -> Duration) -> Cost {
        let least = measure(Cost::LEAST);
        if least >= target {
            return Cost::LEAST;
        }
        // Memory is what makes guessing dear, so it comes first; passes take the rest of the time.
        let one_pass = measure(Cost { memory: Cost::MOST_MEMORY, passes: 1 });
        let times = |of: Duration| target.as_secs_f64() / of.as_secs_f64().max(1e-6);
        if one_pass >= target {
            let memory = (f64::from(Cost::LEAST.memory) * times(least)) as u32;
            return Cost { memory: memory.clamp(Cost::LEAST.memory, Cost::MOST_MEMORY), ..Cost::LEAST };
        }
        Cost { memory: Cost::MOST_MEMORY, passes: (times(one_pass) as u32).clamp(1, Cost::MOST_PASSES) }
    }

    fn of(hash: &PasswordHash<'_>) -> Option<Cost> {
        let params = Params::try_from(hash).ok()?;
        (hash.algorithm == Algorithm::Argon2id.ident()).then(|| Cost { memory: params.m_cost(), passes: params.t_cost() })
    }

    fn argon2(self) -> Result<Argon2<'static>, PasswordError> {
        let params = Params::new(self.memory, self.passes, 1, None).map_err(failed)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// What was measured, for which aim.
#[derive(Serialize, Deserialize)]
struct Measured {
    target_ms: u64,
    cost: Cost,
}

/// Whether a password was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was
    pub right: bool,
    /// Whether it was, and its hash has another cost than new ones have: make a new one
    pub outdated: bool,
}

/// Hashes and verifies; at most a few at once, since each takes up to 64 MiB and a core.
#[derive(Debug, Clone)]
pub struct Passwords {
    cost: Cost,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    at_once: usize,
    /// Verified against where there is no user, so that the time tells nobody which users there are
    decoy: Arc<str>,
    /// Hashes that were worked on
    worked: Arc<AtomicU64>,
}

impl Passwords {
    /// With the cost that was measured at the first start, or with one that is measured now. `target_ms`: how long a hash may
    /// take; 0 for the least cost, unmeasured. `at_once`: how many are worked on at the same time.
    pub async fn open(target_ms: u64, at_once: usize, secrets: &dyn Secrets) -> Result<Passwords, PasswordError> {
        let noted = secrets.secret(COST)?.and_then(|text| serde_json::from_slice::<Measured>(&text).ok());
        let cost = match noted {
            _ if target_ms == 0 => Cost::LEAST,
            Some(measured) if measured.target_ms == target_ms => measured.cost,
            _ => {
                let target = Duration::from_millis(target_ms);
                let cost = tokio::task::spawn_blocking(move || Cost::calibrate(target, measure)).await.map_err(failed)?;
                let text = serde_json::to_vec(&Measured { target_ms, cost }).map_err(failed)?;
                secrets.put_secret(COST, text).await?;
                tracing::info!(memory_kib = cost.memory, passes = cost.passes, "passwords will be hashed at this cost");
                cost
            }
        };
        Passwords::new(cost, at_once)
    }

    /// `at_once`: how many are worked on at the same time.
    pub fn new(cost: Cost, at_once: usize) -> Result<Passwords, PasswordError> {
        let decoy = hash(&generate(), cost)?;
        let at_once = at_once.max(1);
        Ok(Passwords {
            cost,
            at_once,
            turns: Arc::new(Semaphore::new(at_once)),
            waiting: Arc::new(Semaphore::new(at_once * WAITING)),
            decoy: decoy.into(),
            worked: Arc::default(),
        })
    }

    /// How many are worked on at the same time.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// How many hashes were made or verified so far.
    pub fn worked(&self) -> u64 {
        self.worked.load(Ordering::Relaxed)
    }

    /// The hash of a password, as text with its parameters.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let cost = self.cost;
        self.turn(move || hash(&password, cost)).await?
    }

    /// Whether it is the password of the hash. Takes as long where there is no hash, and is false then.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<Verdict, PasswordError> {
        let (decoy, cost) = (self.decoy.clone(), self.cost);
        self.turn(move || {
            let (text, real) = hash.as_deref().map_or((&*decoy, false), |hash| (hash, true));
            let parsed = PasswordHash::new(text).map_err(failed)?;
            // By the parameters that stand in the hash.
            let right = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && real;
            Ok(Verdict { right, outdated: right && Cost::of(&parsed) != Some(cost) })
        })
        .await?
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(failed)?;
        self.worked.fetch_add(1, Ordering::Relaxed);
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        worked.await.map_err(failed)
    }
}

/// How long a hash takes here: the shorter of two, as whatever else runs only ever makes it longer.
fn measure(cost: Cost) -> Duration {
    let once = || {
        let began = Instant::now();
        // One that fails takes no time, and is refused when it is used.
        let _ = hash("a password to measure with", cost);
        began.elapsed()
    };
    once().min(once())
}

fn hash(password: &str, cost: Cost) -> Result<String, PasswordError> {
    let random: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&random).map_err(failed)?;
    let hash = cost.argon2()?.hash_password(password.as_bytes(), &salt).map_err(failed)?;
    Ok(hash.to_string())
}

/// A password of 120 bits for people to copy, without letters that look like others.
pub fn generate() -> String {
    use rand::Rng;
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
    let mut random = rand::rng();
    (0..24).map(|_| LETTERS[random.random_range(0..LETTERS.len())] as char).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RIGHT: Verdict = Verdict { right: true, outdated: false };
    const WRONG: Verdict = Verdict { right: false, outdated: false };

    #[tokio::test]
    async fn verifies_its_own_hashes_only() {
        let passwords = Passwords::new(Cost::LEAST, 1).unwrap();
        let hash = passwords.hash("secret".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.verify("secret".into(), Some(hash.clone())).await.unwrap(), RIGHT);
        assert_eq!(passwords.verify("Secret".into(), Some(hash)).await.unwrap(), WRONG);
        assert_eq!(passwords.verify("secret".into(), None).await.unwrap(), WRONG);
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_good_and_outdated() {
        let (old, new) = (Passwords::new(Cost::LEAST, 1).unwrap(), Passwords::new(Cost { passes: 3, ..Cost::LEAST }, 1).unwrap());
        let hash = old.hash("secret".into()).await.unwrap();
        assert_eq!(new.verify("secret".into(), Some(hash.clone())).await.unwrap(), Verdict { right: true, outdated: true });
        assert_eq!(new.verify("wrong".into(), Some(hash)).await.unwrap(), WRONG);
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_told_so() {
        let passwords = Passwords::new(Cost::LEAST, 1).unwrap();
        let turn = passwords.turns.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(passwords.hash("x".into()))).collect();
        let mut waiting: futures_util::stream::FuturesUnordered<_> = waiting.into_iter().collect();
        let polled = futures_util::poll!(futures_util::StreamExt::next(&mut waiting));
        assert!(polled.is_pending());
        assert!(matches!(passwords.hash("x".into()).await, Err(PasswordError::Busy)));
        drop((waiting, turn));
        assert!(passwords.hash("x".into()).await.is_ok());
    }

    #[test]
    fn generated_passwords_differ() {
        assert_ne!(generate(), generate());
        assert_eq!(generate().len(), 24);
    }

    proptest! {
        /// On a machine that goes through so many KiB a millisecond.
        #[test]
        fn the_cost_fits_the_time_and_never_falls_below_the_least(speed in 10u32..10_000_000, target in 1u64..1_000) {
            let took = |cost: Cost| Duration::from_secs_f64(f64::from(cost.memory) * f64::from(cost.passes) / f64::from(speed) / 1e3);
            let cost = Cost::calibrate(Duration::from_millis(target), took);
            prop_assert!(cost.memory >= Cost::LEAST.memory && cost.memory <= Cost::MOST_MEMORY && cost.passes <= Cost::MOST_PASSES);
            prop_assert!(cost.passes >= 2 || cost.memory == Cost::MOST_MEMORY, "one pass only with all the memory: {cost:?}");
            let limit = Duration::from_millis(target + target / 50 + 1);
            prop_assert!(cost == Cost::LEAST || took(cost) <= limit, "{cost:?} takes {:?}", took(cost));
            prop_assert!(cost.passes == Cost::MOST_PASSES || 2 * took(cost) >= Duration::from_millis(target), "{cost:?}");
        }
    }
}
