//! The authority: issues and verifies the tokens of every app.

use super::token::{Claims, TokenKey};
use super::{Authenticate, Session};
use crate::clock::Clock;
use crate::rights::{Revocation, Rights};
use crate::store::{Secrets, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Issues and verifies tokens. Cheap to ask: nothing is looked up but keys in memory.
#[derive(Debug)]
pub struct Authority {
    clock: Arc<Clock>,
    lifetime: u32,
    keys: RwLock<HashMap<Box<str>, TokenKey>>,
    /// Whose tokens are dead, and who has which roles
    rights: Arc<Rights>,
}

impl Authority {
    /// `lifetime` of tokens in seconds.
    pub fn new(clock: Arc<Clock>, lifetime: u64, rights: Arc<Rights>) -> Authority {
        Authority { clock, lifetime: u32::try_from(lifetime).unwrap_or(u32::MAX), keys: RwLock::default(), rights }
    }

    /// Reads an app's signing key, or makes one at first.
    pub async fn open(&self, app: &str, secrets: &dyn Secrets) -> Result<(), StoreError> {
        let name = format!("signing-key/{app}");
        let secret = match secrets.secret(&name)? {
            Some(secret) => secret,
            None => {
                let secret: [u8; TokenKey::BYTES] = rand::random();
                secrets.put_secret(&name, secret.to_vec()).await?;
                secret.to_vec()
            }
        };
        let key = TokenKey::new(&secret).ok_or_else(|| StoreError::Broken(format!("the secret {name} is not a key")))?;
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(app.into(), key);
        Ok(())
    }

    /// Nobody has a valid token of this app from now on.
    pub fn forget(&self, app: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    /// What makes a user's tokens of older generations dead; to be committed with what it is about.
    pub fn revocation(&self, app: &str, user: &str, generation: u32) -> Revocation {
        let until = i64::from(self.now()).saturating_add(i64::from(self.lifetime)).saturating_add(1);
        Revocation { app: app.into(), user: user.into(), generation, until }
    }

    /// What a token of an app says, if it is valid now.
    pub fn claims(&self, app: &str, token: &str) -> Option<Claims> {
        self.alive(app, self.key(app)?.verify(token, self.now())?)
    }

    /// What the token of an app says whose holder signed this one path with it, if it is valid now.
    pub fn claims_of_path(&self, app: &str, path: &str, signed: &str) -> Option<Claims> {
        self.alive(app, self.key(app)?.verify_path(path, signed, self.now())?)
    }

    fn alive(&self, app: &str, claims: Claims) -> Option<Claims> {
        self.rights.is_alive(app, &claims.user, claims.generation).then_some(claims)
    }

    /// A token for somebody who has just logged in.
    pub fn issue(&self, app: &str, user: Arc<str>, roles: Vec<Arc<str>>, generation: u32) -> Option<(Claims, String)> {
        let claims = Claims { created: 0, expires: 0, session: rand::random(), generation, user, roles };
        self.sign(app, claims.renewed(self.now(), self.lifetime))
    }

    /// A newer token of the same session, if it is time for one.
    pub fn renew(&self, app: &str, claims: &Claims) -> Option<String> {
        if claims.is_due(self.now()) { self.reissue(app, claims) } else { None }
    }

    /// A newer token of the same session.
    pub fn reissue(&self, app: &str, claims: &Claims) -> Option<String> {
        self.sign(app, claims.renewed(self.now(), self.lifetime)).map(|(_, token)| token)
    }

    /// The session of somebody with such claims, with the roles that he has now.
    pub fn session_of(&self, app: &str, claims: &Claims) -> Session {
        Session {
            caller: Arc::new(self.rights.caller(app, &claims.user)),
            user: Some(claims.user.clone()),
            // Random already, the same on every node; of no use to anybody without a signature over it.
            hash: claims.session | 1,
        }
    }

    fn sign(&self, app: &str, claims: Claims) -> Option<(Claims, String)> {
        let token = self.key(app)?.sign(&claims);
        Some((claims, token))
    }

    fn key(&self, app: &str) -> Option<TokenKey> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    fn now(&self) -> u32 {
        u32::try_from(self.clock.now_ms() / 1000).unwrap_or(0)
    }
}

impl Authenticate for Authority {
    fn session(&self, app: &str, token: &str) -> Option<Session> {
        self.claims(app, token).map(|claims| self.session_of(app, &claims))
    }
}
