//! Tokens: who somebody is, signed, so that a request is authenticated without any look-up.
//!
//! `createdAt (8 hex, unix seconds) + expireAt (8 hex) + payload (hex) + signature (40 hex)`: the SDK reads the
//! first two numbers, and takes a token only if it does not expire before the one it holds (the SDK relies on it).
//! The signature is HMAC-SHA256 over everything before it, cut to 160 bits.
//!
//! Payload: purpose (2 hex), session (16 hex), generation of the credentials (8 hex), then the ids of the
//! user and of his roles as text with line feeds between them, in hex. Ids are canonical: they hold no line feed.
//! The purpose is signed like all else, so that what was made for one thing is good for nothing else.

use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use std::sync::Arc;

/// Length of the signature, hex digits.
const SIGNATURE: usize = 40;
/// Length of both times, hex digits.
const TIMES: usize = 16;
/// Length of purpose, session and generation, hex digits.
const FIXED: usize = 26;
/// Longest token that is looked at. Whatever is signed is shorter, see [`ROOM`].
const LONGEST: usize = 16 * 1024;
/// Roles are named in a token as long as its text is no longer than this: it is a header of every request, and anybody may
/// make a role with anybody in it. Who is a member of more has them all the same, as nodes judge by the roles themselves.
const ROOM: usize = 4 * 1024;
/// A token is renewed when it is so old, seconds: within that an answer does not change it (the SDK relies on it).
pub const RENEWED_AFTER: u32 = 2;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Requests of somebody who has logged in; renewed while it is in use
    Session,
    /// The second step of a login: the password was right, the code is still to come
    SecondFactor,
    /// Requests of a program; long-lived, never renewed
    Api,
    /// Requests with the rights of one role alone, for as long as its holder is a member; never renewed
    Role,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Purpose; 4] = [Purpose::Session, Purpose::SecondFactor, Purpose::Api, Purpose::Role];

    /// Whether a request may be made with it.
    pub fn is_of_requests(self) -> bool {
        matches!(self, Purpose::Session | Purpose::Api | Purpose::Role)
    }

    fn text(self) -> &'static str {
        match self {
            Purpose::Session => "01",
            Purpose::SecondFactor => "02",
            Purpose::Api => "03",
            Purpose::Role => "04",
        }
    }

    fn of(text: &str) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.text() == text)
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// What it is good for
    pub purpose: Purpose,
    /// When it was issued, seconds since 1970
    pub created: u32,
    /// When it ends
    pub expires: u32,
    /// Chosen at random at login, kept by renewals: what belongs together
    pub session: u64,
    /// Of the user's credentials: raised by a new password, so that older tokens die
    pub generation: u32,
    /// The user's id
    pub user: Arc<str>,
    /// The ids of his roles, for the edge alone, the first of them where they are many; of [`Purpose::Role`] the one role
    pub roles: Vec<Arc<str>>,
}

/// Signs and verifies the tokens of one app.
#[derive(Clone)]
pub struct TokenKey {
    mac: Hmac<Sha256>,
}

impl TokenKey {
    /// Length of a key, bytes.
    pub const BYTES: usize = 32;

    /// From the secret bytes.
    pub fn new(secret: &[u8]) -> Option<TokenKey> {
        Hmac::new_from_slice(secret).ok().filter(|_| secret.len() >= Self::BYTES).map(|mac| TokenKey { mac })
    }

    /// The text of a token, with as many of the roles as there is room for.
    pub fn sign(&self, claims: &Claims) -> String {
        let mut names = claims.user.to_string();
        for role in claims.named() {
            names.push('\n');
            names.push_str(role);
        }
        let purpose = claims.purpose.text();
        let mut token = format!("{:08x}{:08x}{purpose}{:016x}{:08x}", claims.created, claims.expires, claims.session, claims.generation);
        push_hex(&mut token, names.as_bytes());
        let signature = self.signature(&token).finalize().into_bytes();
        push_hex(&mut token, &signature[..SIGNATURE / 2]);
        token
    }

    /// What a token says, if it was signed with this key and has not ended. `now` in seconds since 1970.
    pub fn verify(&self, token: &str, now: u32) -> Option<Claims> {
        if !token.is_ascii() || token.len() > LONGEST {
            return None;
        }
        let (data, signature) = token.split_at_checked(token.len().checked_sub(SIGNATURE)?)?;
        // In constant time; and the hex of a signature has one spelling only.
        self.signature(data).verify_truncated_left(&from_hex(signature)?).ok()?;
        read(data, now)
    }

    /// What the token says whose holder signed this one path, as [`verify`](Self::verify).
    ///
    /// `signed` is all of his token but its signature, and in the place of that `HMAC-SHA1(signature, path + the rest)`: it opens
    /// this path, and no token can be made of it (the SDK relies on it). `path` is the whole path as it was sent.
    pub fn verify_path(&self, path: &str, signed: &str, now: u32) -> Option<Claims> {
        if !signed.is_ascii() || signed.len() > LONGEST {
            return None;
        }
        let (data, signature) = signed.split_at_checked(signed.len().checked_sub(SIGNATURE)?)?;
        let mut key = String::with_capacity(SIGNATURE);
        push_hex(&mut key, &self.signature(data).finalize().into_bytes()[..SIGNATURE / 2]);
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).ok()?;
        mac.update(path.as_bytes());
        mac.update(data.as_bytes());
        mac.verify_slice(&from_hex(signature)?).ok()?;
        read(data, now)
    }

    fn signature(&self, data: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(data.as_bytes());
        mac
    }
}

/// What stands before a signature that was verified.
fn read(data: &str, now: u32) -> Option<Claims> {
    let (times, payload) = data.split_at_checked(TIMES)?;
    let (fixed, names) = payload.split_at_checked(FIXED)?;
    let number = |from: &str| u64::from_str_radix(from, 16).ok();
    let names = String::from_utf8(from_hex(names)?).ok()?;
    let mut names = names.split('\n').map(Arc::from);
    let claims = Claims {
        purpose: Purpose::of(fixed.get(..2)?)?,
        created: u32::try_from(number(times.get(..8)?)?).ok()?,
        expires: u32::try_from(number(times.get(8..)?)?).ok()?,
        session: number(fixed.get(2..18)?)?,
        generation: u32::try_from(number(fixed.get(18..)?)?).ok()?,
        user: names.next()?,
        roles: names.collect(),
    };
    (now < claims.expires).then_some(claims)
}

impl Claims {
    /// The roles that its text names: the one that was assumed in any case, since what it is good for hangs on it.
    fn named(&self) -> &[Arc<str>] {
        let mut length = TIMES + FIXED + 2 * self.user.len() + SIGNATURE;
        let fitting = self.roles.iter().take_while(|role| {
            length += 2 * (role.len() + 1);
            length <= ROOM
        });
        let fitting = fitting.count().max(usize::from(self.assumed().is_some()));
        &self.roles[..fitting]
    }

    /// The role whose rights alone it has.
    pub fn assumed(&self) -> Option<&Arc<str>> {
        self.roles.first().filter(|_| self.purpose == Purpose::Role)
    }

    /// Whether an answer should carry a new token.
    pub fn is_due(&self, now: u32) -> bool {
        self.purpose == Purpose::Session && now.saturating_sub(self.created) >= RENEWED_AFTER
    }

    /// The same, issued now. Never ends before the one it comes from: the SDK would not take it.
    pub fn renewed(&self, now: u32, lifetime: u32) -> Claims {
        let created = now.max(self.created);
        Claims { created, expires: created.saturating_add(lifetime).max(self.expires), ..self.clone() }
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// Lower case only, so that no token has two spellings.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> TokenKey {
        TokenKey::new(&[byte; 32]).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            purpose: Purpose::Session,
            created: 1_700_000_000,
            expires: 1_700_001_000,
            session: 0xfeed,
            generation: 3,
            user: "/db/User/1".into(),
            roles: vec!["/db/Role/1".into(), "/db/Role/%C3%9F".into()],
        }
    }

    /// As the client does it.
    fn sign_path(path: &str, token: &str) -> String {
        let (data, signature) = token.split_at(token.len() - SIGNATURE);
        let mac = Hmac::<Sha1>::new_from_slice(signature.as_bytes()).unwrap().chain_update(path).chain_update(data);
        let mut signed = data.to_owned();
        push_hex(&mut signed, &mac.finalize().into_bytes());
        signed
    }

    #[test]
    fn has_the_form_that_the_client_reads() {
        let token = key(1).sign(&claims());
        assert_eq!(&token[..16], "6553f1006553f4e8");
        assert!(token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }

    #[test]
    fn ends_and_is_renewed_with_a_later_end() {
        let token = key(1).sign(&claims());
        assert_eq!(key(1).verify(&token, 1_700_000_999), Some(claims()));
        assert_eq!(key(1).verify(&token, 1_700_001_000), None);
        assert!(!claims().is_due(1_700_000_001) && claims().is_due(1_700_000_002));
        assert!(!claims().is_due(1_600_000_000), "a clock that was set back");
        let renewed = claims().renewed(1_700_000_002, 10);
        assert_eq!((renewed.created, renewed.expires, renewed.session), (1_700_000_002, 1_700_001_000, 0xfeed));
    }

    /// Made by the SDK's own code (3.4.1 and 3.1.4 alike) from the token of [`claims`], signed with a key of ones.
    #[test]
    fn opens_what_the_client_signed() {
        const DATA: &str = "6553f1006553f4e801000000000000feed00000003\
            2f64622f557365722f310a2f64622f526f6c652f310a2f64622f526f6c652f254333253946";
        assert_eq!(key(1).sign(&claims()), format!("{DATA}eedf30318aba20fb3f2902930019a2a160720cda"));
        for (path, signature) in [
            ("/v1/connect", "ebf33b4cfb429db69ec925c866a6162f12d9a623"),
            ("/v1/file/www/a%20b/%3B%2C%3F%3A%40%26%3D%2B%24%23-_.!~*'()%C3%9F.png", "efb17ab4ee3d10dab8b4c7361f944c6e95a7da45"),
        ] {
            let signed = format!("{DATA}{signature}");
            assert_eq!(key(1).verify_path(path, &signed, 0), Some(claims()), "{path}");
            assert_eq!(key(1).verify_path(&path.replace("/v1/", "/v2/"), &signed, 0), None);
        }
    }

    proptest! {
        #[test]
        fn says_what_was_signed(purpose in prop::sample::select(&Purpose::ALL[..]), created in 0u32..1000, life in 1u32..1000, session: u64, generation: u32, ids in proptest::collection::vec("/db/[A-Za-z]{1,5}/[a-zA-Z0-9%_.!~*'()-]{1,9}", 1..5)) {
            let claims = Claims {
                purpose, created, expires: created + life, session, generation,
                user: ids[0].as_str().into(), roles: ids[1..].iter().map(|id| id.as_str().into()).collect(),
            };
            prop_assert_eq!(key(1).verify(&key(1).sign(&claims), created), Some(claims));
        }

        #[test]
        fn whatever_is_signed_is_good_however_many_and_long_the_ids(
            purpose in prop::sample::select(&Purpose::ALL[..]),
            user in 1usize..=crate::object::id::LONGEST,
            roles in proptest::collection::vec(1usize..=crate::object::id::LONGEST, 0..20),
            more in 0usize..2_000,
        ) {
            let roles: Vec<Arc<str>> = roles.into_iter().chain(std::iter::repeat_n(45, more)).map(|length| "r".repeat(length).into()).collect();
            let claims = Claims { purpose, user: "u".repeat(user).into(), roles, ..claims() };
            let token = key(1).sign(&claims);
            let read = key(1).verify(&token, claims.created).unwrap();
            prop_assert!(key(1).verify_path("/v1/connect", &sign_path("/v1/connect", &token), claims.created).is_some());
            prop_assert_eq!(read.assumed(), claims.assumed());
            prop_assert!(claims.roles.starts_with(&read.roles));
            // Where the user alone needs the room, or the role that was assumed, the token has that and no more.
            prop_assert!(token.len() <= ROOM || read.roles.len() <= usize::from(purpose == Purpose::Role));
            // What it is made of again, when it is renewed, is good as well.
            prop_assert_eq!(key(1).verify(&key(1).sign(&read), read.created), Some(read));
        }

        #[test]
        fn no_other_bit_is_accepted(at: prop::sample::Index, bit in 0u8..7) {
            let mut token = key(1).sign(&claims()).into_bytes();
            let at = at.index(token.len());
            token[at] ^= 1 << bit;
            prop_assert_eq!(key(1).verify(std::str::from_utf8(&token).unwrap(), 0), None);
        }

        #[test]
        fn opens_the_path_that_was_signed_and_nothing_else(path in "/v1/[a-z%/.~!]{1,20}", other in "/v1/[a-z%/.~!]{1,20}", at: prop::sample::Index, bit in 0u8..7) {
            let token = key(1).sign(&claims());
            let signed = sign_path(&path, &token);
            prop_assert_eq!(key(1).verify_path(&path, &signed, 0), Some(claims()));
            prop_assert_eq!(key(1).verify_path(&path, &signed, claims().expires), None);
            prop_assert_eq!(key(2).verify_path(&path, &signed, 0), None);
            prop_assert_eq!(key(1).verify(&signed, 0), None, "it is no token");
            prop_assert_eq!(key(1).verify_path(&path, &token, 0), None, "nor is a token one");
            prop_assert_eq!(key(1).verify_path(&other, &signed, 0).is_some(), path == other);
            let mut bytes = signed.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(key(1).verify_path(&path, std::str::from_utf8(&bytes).unwrap(), 0), None);
        }

        #[test]
        fn no_longer_text_is_accepted(more in "[0-9a-f]{1,60}", before: bool) {
            let token = key(1).sign(&claims());
            let longer = if before { format!("{more}{token}") } else { format!("{token}{more}") };
            prop_assert_eq!(key(1).verify(&longer, 0), None);
            prop_assert_eq!(key(1).verify_path("/v1/connect", &longer, 0), None);
            // Nor inside of it, where the signature stays the last part.
            let (data, signature) = token.split_at(token.len() - SIGNATURE);
            prop_assert_eq!(key(1).verify(&format!("{data}{more}{signature}"), 0), None);
        }

        #[test]
        fn no_part_is_accepted(from: prop::sample::Index, to: prop::sample::Index) {
            let token = key(1).sign(&claims());
            let (from, to) = (from.index(token.len()), to.index(token.len()));
            prop_assert_eq!(key(1).verify(&token[from.min(to)..from.max(to)], 0), None);
        }

        #[test]
        fn no_other_key_is_accepted(byte in 2u8..) {
            prop_assert_eq!(key(1).verify(&key(byte).sign(&claims()), 0), None);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9a-f]{0,120}") {
            prop_assert_eq!(key(1).verify(&text, 0), None);
        }
    }
}
