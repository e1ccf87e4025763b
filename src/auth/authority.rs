//! The authority: issues and verifies the tokens of every app.

use super::keys::{KeyError, KeyRing};
use super::token::{Claims, Purpose};
use super::{Authenticate, Session};
use crate::clock::Clock;
use crate::rights::{Revocation, Rights};
use crate::store::{Batch, BatchError, SecretWrite, Secrets, Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// How long tokens live, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of those that people get by logging in
    pub session: u64,
    /// Of those that programs are given
    pub api: u64,
}

/// Issues and verifies tokens. Cheap to ask: nothing is looked up but keys and rights in memory.
#[derive(Debug)]
pub struct Authority {
    clock: Arc<Clock>,
    session: u32,
    api: u32,
    keys: RwLock<HashMap<Box<str>, Arc<KeyRing>>>,
    /// Whose tokens are dead, and who has which roles
    rights: Arc<Rights>,
}

/// Why keys were not rotated.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The keys
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store
    #[error(transparent)]
    Store(#[from] BatchError),
    /// No such app was opened
    #[error("there is no app {0}")]
    NoApp(String),
}

impl RotateError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            RotateError::Key(error) => error.code(),
            RotateError::Store(error) => error.code(),
            RotateError::NoApp(_) => "no-such-app",
        }
    }
}

impl Authority {
    /// An authority without keys, see [`Authority::open`].
    pub fn new(clock: Arc<Clock>, lifetimes: Lifetimes, rights: Arc<Rights>) -> Authority {
        let seconds = |seconds: u64| u32::try_from(seconds).unwrap_or(u32::MAX);
        let (session, api) = (seconds(lifetimes.session), seconds(lifetimes.api));
        Authority { clock, session, api, keys: RwLock::default(), rights }
    }

    /// Reads an app's keys, or makes one at first.
    pub async fn open(&self, app: &str, secrets: &dyn Secrets) -> Result<(), StoreError> {
        let name = secret_name(app);
        let broken = |error: KeyError| StoreError::Broken(format!("the secret {name}: {error}"));
        let ring = match secrets.secret(&name)? {
            Some(secret) => KeyRing::read(&secret).map_err(broken)?,
            None => {
                let ring = KeyRing::generate().map_err(broken)?;
                secrets.put_secret(&name, ring.text().map_err(broken)?).await?;
                ring
            }
        };
        self.hold(app, ring);
        self.tell_lifetime(app, secrets).await
    }

    /// What is revoked need not be remembered for longer than any token lives. Tokens from before the lifetime was shortened
    /// live for as long as was said then.
    async fn tell_lifetime(&self, app: &str, secrets: &dyn Secrets) -> Result<(), StoreError> {
        let name = format!("token-lifetime/{app}");
        let noted = secrets.secret(&name)?.and_then(|text| std::str::from_utf8(&text).ok()?.parse::<u32>().ok()).unwrap_or(0);
        let longest = noted.max(self.session).max(self.api);
        if longest > noted {
            secrets.put_secret(&name, longest.to_string().into_bytes()).await?;
        }
        self.rights.tokens_live(longest);
        Ok(())
    }

    /// Nobody has a valid token of this app from now on.
    pub fn forget(&self, app: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    /// A new key signs from now on; what older ones signed is good for `overlap` seconds more, or, without that, for as long as
    /// any token lives. How many older keys verify still. Resolves when it is on the disk.
    pub async fn rotate(&self, app: &str, overlap: Option<u64>, store: &dyn Store) -> Result<usize, RotateError> {
        let name = secret_name(app);
        let ring = self.ring(app).ok_or_else(|| RotateError::NoApp(app.to_owned()))?;
        let overlap = overlap.map_or(self.session.max(self.api), |overlap| u32::try_from(overlap).unwrap_or(u32::MAX));
        let rotated = ring.rotated(self.now(), overlap)?;
        // Whoever rotates at the same time finds another ring than he read.
        let expect = Some(Some(ring.text()?));
        let write = SecretWrite { name, expect, value: Some(rotated.text()?) };
        match store.commit_batch(Batch { secrets: vec![write.clone()], ..Batch::default() }).await {
            // A bare key from an older version stands there in another form.
            Err(BatchError::Conflict) if ring.former(0) == 0 => {
                let write = SecretWrite { expect: Some(Some(ring.bare())), ..write };
                store.commit_batch(Batch { secrets: vec![write], ..Batch::default() }).await?;
            }
            done => drop(done?),
        }
        let former = rotated.former(self.now());
        self.hold(app, rotated);
        Ok(former)
    }

    /// What makes a user's tokens of older generations dead; to be committed with what it is about.
    pub fn revocation(&self, app: &str, user: &str, generation: u32) -> Revocation {
        let until = self.rights.forgotten_at(i64::from(self.now()));
        Revocation { app: app.into(), user: user.into(), generation, gone: false, until }
    }

    /// What the token of a request says, if it is valid now.
    pub fn claims(&self, app: &str, token: &str) -> Option<Claims> {
        self.of_request(app, self.ring(app)?.verify(token, self.now())?)
    }

    /// What the token of an app says whose holder signed this one path with it, if it is valid now.
    pub fn claims_of_path(&self, app: &str, path: &str, signed: &str) -> Option<Claims> {
        self.of_request(app, self.ring(app)?.verify_path(path, signed, self.now())?)
    }

    /// What a token says that is good for one thing alone, if it is valid now.
    pub fn redeem(&self, app: &str, token: &str, purpose: Purpose) -> Option<Claims> {
        let claims = self.ring(app)?.verify(token, self.now())?;
        (claims.purpose == purpose && self.is_alive(app, &claims)).then_some(claims)
    }

    fn of_request(&self, app: &str, claims: Claims) -> Option<Claims> {
        (claims.purpose.is_of_requests() && self.is_alive(app, &claims)).then_some(claims)
    }

    /// Whether the user is there, active, and has not ended his tokens of this generation; of a role, whether he may still
    /// assume it. That it is not too old was judged when it was verified.
    fn is_alive(&self, app: &str, claims: &Claims) -> bool {
        self.rights.is_alive(app, &claims.user, claims.generation)
            && claims.assumed().is_none_or(|role| self.rights.assumed(app, &claims.user, role).is_some())
    }

    /// A token for somebody who has just logged in.
    pub fn issue(&self, app: &str, user: Arc<str>, roles: Vec<Arc<str>>, generation: u32) -> Option<(Claims, String)> {
        self.issue_for(app, Purpose::Session, user, roles, generation, self.session)
    }

    /// A token of a session of its own. `lifetime` in seconds.
    pub fn issue_for(
        &self,
        app: &str,
        purpose: Purpose,
        user: Arc<str>,
        roles: Vec<Arc<str>>,
        generation: u32,
        lifetime: u32,
    ) -> Option<(Claims, String)> {
        let created = self.now();
        let expires = created.saturating_add(lifetime);
        let claims = Claims { purpose, created, expires, session: rand::random(), generation, user, roles };
        let token = self.ring(app)?.sign(&claims);
        Some((claims, token))
    }

    /// How long a token for a program lives, seconds.
    pub fn api_lifetime(&self) -> u32 {
        self.api
    }

    /// How long a token for a person lives, seconds.
    pub fn session_lifetime(&self) -> u32 {
        self.session
    }

    /// A newer token of the same session, if it is time for one and the old one has not died while the request went on.
    pub fn renew(&self, app: &str, claims: &Claims) -> Option<(Claims, String)> {
        if claims.is_due(self.now()) && self.is_alive(app, claims) { self.reissue(app, claims) } else { None }
    }

    /// A newer token of the same session; of one that is never renewed the same.
    pub fn reissue(&self, app: &str, claims: &Claims) -> Option<(Claims, String)> {
        let claims = match claims.purpose {
            Purpose::Session => claims.renewed(self.now(), self.session),
            _ => claims.clone(),
        };
        let token = self.ring(app)?.sign(&claims);
        Some((claims, token))
    }

    /// The session of somebody with such claims, with the roles that he has now.
    pub fn session_of(&self, app: &str, claims: &Claims) -> Session {
        let caller = match claims.assumed() {
            Some(role) => self.rights.assumed(app, &claims.user, role).unwrap_or_default(),
            None => self.rights.caller(app, &claims.user),
        };
        Session {
            caller: Arc::new(caller),
            user: claims.assumed().is_none().then(|| claims.user.clone()),
            // Random already, the same on every node; of no use to anybody without a signature over it.
            hash: claims.session | 1,
            claims: Some(Arc::new(claims.clone())),
        }
    }

    fn hold(&self, app: &str, ring: KeyRing) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(app.into(), Arc::new(ring));
    }

    fn ring(&self, app: &str) -> Option<Arc<KeyRing>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    fn now(&self) -> u32 {
        u32::try_from(self.clock.now_ms() / 1000).unwrap_or(0)
    }
}

fn secret_name(app: &str) -> String {
    format!("signing-key/{app}")
}

impl Authenticate for Authority {
    fn session(&self, app: &str, token: &str) -> Option<Session> {
        self.claims(app, token).map(|claims| self.session_of(app, &claims))
    }

    fn again(&self, app: &str, session: &Session) -> Option<Session> {
        let now = || session.claims.as_ref().map_or_else(|| session.clone(), |claims| self.session_of(app, claims));
        Authenticate::is_alive(self, app, session).then(now)
    }

    fn is_alive(&self, app: &str, session: &Session) -> bool {
        session.claims.as_ref().is_none_or(|claims| Authority::is_alive(self, app, claims) && self.now() < claims.expires)
    }

    fn now(&self) -> u32 {
        Authority::now(self)
    }
}
