//! The keys of one app: the one that signs, and former ones that verify until every token they signed has ended.

use super::token::{Claims, TokenKey};
use serde::{Deserialize, Serialize};

/// Former keys that are kept at a time: each costs a MAC for every token that is not valid.
const FORMER: usize = 8;

/// The keys of an app. Rotated by making a new ring and putting it in the place of the old one.
#[derive(Debug, Clone)]
pub struct KeyRing {
    stored: Stored,
    current: TokenKey,
    former: Vec<(TokenKey, u32)>,
}

/// As it stands among the secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    current: [u8; TokenKey::BYTES],
    former: Vec<Former>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    key: [u8; TokenKey::BYTES],
    /// Seconds since 1970
    until: u32,
}

/// Why keys cannot be used or rotated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// What stands among the secrets is no key
    #[error("what is stored as the app's keys cannot be read; restore it from a backup")]
    Unreadable,
    /// Too many rotations within one overlap
    #[error(
        "{FORMER} former keys still verify; wait until the first of them has ended, or rotate with an overlap of 0, which ends them all"
    )]
    TooMany,
}

impl KeyError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            KeyError::Unreadable => "keys-unreadable",
            KeyError::TooMany => "keys-too-many",
        }
    }
}

impl KeyRing {
    /// A new key alone.
    pub fn generate() -> Result<KeyRing, KeyError> {
        KeyRing::new(Stored { current: rand::random(), former: Vec::new() })
    }

    /// As it was stored; a bare key is a ring of one.
    pub fn read(text: &[u8]) -> Result<KeyRing, KeyError> {
        let stored = match <[u8; TokenKey::BYTES]>::try_from(text) {
            Ok(current) => Stored { current, former: Vec::new() },
            Err(_) => serde_json::from_slice(text).map_err(|_| KeyError::Unreadable)?,
        };
        KeyRing::new(stored)
    }

    /// To be stored.
    pub fn text(&self) -> Result<Vec<u8>, KeyError> {
        serde_json::to_vec(&self.stored).map_err(|_| KeyError::Unreadable)
    }

    /// The key that signs, as versions before rotation stored it.
    pub fn bare(&self) -> Vec<u8> {
        self.stored.current.to_vec()
    }

    /// With a new key that signs from now on. Every former one verifies until `now + overlap` at the longest; times in seconds.
    pub fn rotated(&self, now: u32, overlap: u32) -> Result<KeyRing, KeyError> {
        let end = now.saturating_add(overlap);
        let newest = Former { key: self.stored.current, until: end };
        let former = std::iter::once(newest).chain(self.stored.former.iter().cloned());
        let former = former.map(|former| Former { until: former.until.min(end), ..former });
        let former: Vec<_> = former.filter(|former| former.until > now).collect();
        if former.len() > FORMER {
            return Err(KeyError::TooMany);
        }
        KeyRing::new(Stored { current: rand::random(), former })
    }

    /// Former keys that verify still.
    pub fn former(&self, now: u32) -> usize {
        self.former.iter().filter(|(_, until)| now < *until).count()
    }

    /// Signs with the current key.
    pub fn sign(&self, claims: &Claims) -> String {
        self.current.sign(claims)
    }

    /// As [`TokenKey::verify`], by any key that verifies still.
    pub fn verify(&self, token: &str, now: u32) -> Option<Claims> {
        self.verifying(now).find_map(|key| key.verify(token, now))
    }

    /// As [`TokenKey::verify_path`], by any key that verifies still.
    pub fn verify_path(&self, path: &str, signed: &str, now: u32) -> Option<Claims> {
        self.verifying(now).find_map(|key| key.verify_path(path, signed, now))
    }

    fn verifying(&self, now: u32) -> impl Iterator<Item = &TokenKey> {
        let former = self.former.iter().filter(move |(_, until)| now < *until).map(|(key, _)| key);
        std::iter::once(&self.current).chain(former)
    }

    fn new(stored: Stored) -> Result<KeyRing, KeyError> {
        let key = |secret: &[u8]| TokenKey::new(secret).ok_or(KeyError::Unreadable);
        let current = key(&stored.current)?;
        let former = stored.former.iter().map(|former| Ok((key(&former.key)?, former.until))).collect::<Result<_, _>>()?;
        Ok(KeyRing { stored, current, former })
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("former", &self.former.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::token::Purpose;
    use proptest::prelude::*;

    fn claims() -> Claims {
        let user = "/db/User/a".into();
        Claims { purpose: Purpose::Session, created: 0, expires: u32::MAX, session: 1, generation: 0, user, roles: Vec::new() }
    }

    #[test]
    fn a_bare_key_is_a_ring_of_one() {
        let ring = KeyRing::read(&[7; 32]).unwrap();
        let token = TokenKey::new(&[7; 32]).unwrap().sign(&claims());
        assert_eq!(ring.sign(&claims()), token);
        assert_eq!(KeyRing::read(&ring.text().unwrap()).unwrap().verify(&token, 1), Some(claims()));
        assert!(KeyRing::read(b"{}").is_err() && KeyRing::read(&[7; 31]).is_err());
    }

    #[test]
    fn an_overlap_of_nothing_ends_all_former_keys() {
        let first = KeyRing::generate().unwrap();
        let second = first.rotated(10, 1_000).unwrap();
        let third = second.rotated(20, 0).unwrap();
        assert_eq!((second.former(10), third.former(20)), (1, 0));
        assert!(third.verify(&first.sign(&claims()), 20).is_none() && third.verify(&second.sign(&claims()), 20).is_none());
    }

    #[test]
    fn former_keys_are_bounded() {
        let mut ring = KeyRing::generate().unwrap();
        for _ in 0..FORMER {
            ring = ring.rotated(10, 1_000).unwrap();
        }
        assert_eq!(ring.rotated(10, 1_000).unwrap_err(), KeyError::TooMany);
        assert!(ring.rotated(1_010, 1_000).is_ok(), "those that have ended make room");
        assert!(ring.rotated(10, 0).is_ok());
    }

    proptest! {
        /// Whatever rotations came between: a token is good exactly until the overlap of the rotation behind it ends, or an
        /// end of a later one that comes before.
        #[test]
        fn a_key_verifies_for_the_overlap(rotations in prop::collection::vec((0u32..50, 0u32..100), 0..6), wait in 0u32..120) {
            let mut ring = KeyRing::generate().unwrap();
            let token = ring.sign(&claims());
            let (mut now, mut end) = (1u32, u32::MAX);
            for (after, overlap) in rotations {
                now += after;
                ring = KeyRing::read(&ring.rotated(now, overlap).unwrap().text().unwrap()).unwrap();
                end = end.min(now + overlap);
            }
            now += wait;
            prop_assert_eq!(ring.verify(&token, now).is_some(), now < end);
            prop_assert!(ring.verify(&ring.sign(&claims()), now).is_some());
        }
    }
}
