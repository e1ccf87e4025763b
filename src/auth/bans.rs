//! Addresses that may not log in, or may not ask anything at all: durable, each app's own, set by its administrators.
//!
//! Asked on every request, so kept in memory; a list is one small value of the store, replaced under the condition that nobody
//! else replaced it meanwhile.

use crate::store::{Batch, BatchError, SecretWrite, Secrets, Store, StoreError};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// No app has more.
const MOST: usize = 10_000;

/// What somebody at a banned address may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Log in, register, ask for mail
    Login,
    /// Anything
    Everything,
}

/// A ban of an address or of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Which
    pub network: IpNet,
    /// From what
    pub scope: Scope,
    /// For people
    pub reason: String,
    /// Since when, milliseconds since 1970
    pub since: i64,
    /// Until when; none: until it is lifted
    pub until: Option<i64>,
}

/// Why a list cannot be changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BanError {
    /// The store
    #[error(transparent)]
    Store(#[from] BatchError),
    /// There are too many
    #[error("the list holds {MOST} bans already; lift some, or ban networks instead of addresses")]
    Full,
}

impl BanError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            BanError::Store(error) => error.code(),
            BanError::Full => "bans-full",
        }
    }
}

/// The lists of every app.
pub struct Bans {
    secrets: Arc<dyn Secrets>,
    /// Those that were asked for
    apps: RwLock<HashMap<Box<str>, Arc<List>>>,
    /// Changes are made one after the other
    turn: Mutex<()>,
}

/// One app's bans.
#[derive(Debug, Default)]
struct List {
    bans: HashMap<IpNet, Ban>,
    /// The lengths of prefixes that occur: an address is looked up once for each
    lengths: BTreeSet<u8>,
}

impl List {
    fn new(bans: Vec<Ban>) -> List {
        let lengths = bans.iter().map(|ban| ban.network.prefix_len()).collect();
        List { bans: bans.into_iter().map(|ban| (ban.network, ban)).collect(), lengths }
    }

    fn of(&self, address: IpAddr, now: i64) -> impl Iterator<Item = &Ban> {
        let networks = self.lengths.iter().filter_map(move |length| IpNet::new(address, *length).ok());
        networks.filter_map(|network| self.bans.get(&network.trunc())).filter(move |ban| ban.until.is_none_or(|until| now < until))
    }
}

impl Bans {
    /// Lists are read when they are first asked for, and kept.
    pub fn new(secrets: Arc<dyn Secrets>) -> Bans {
        Bans { secrets, apps: RwLock::default(), turn: Mutex::default() }
    }

    /// The ban that keeps an address from something, the widest first. `now` in milliseconds.
    pub fn of(&self, app: &str, address: IpAddr, scope: Scope, now: i64) -> Result<Option<Ban>, StoreError> {
        let list = self.list(app)?;
        Ok(list.of(address.to_canonical(), now).find(|ban| scope == Scope::Login || ban.scope == Scope::Everything).cloned())
    }

    /// An app's bans that have not ended, in the order of their networks.
    pub fn all(&self, app: &str, now: i64) -> Result<Vec<Ban>, StoreError> {
        let list = self.list(app)?;
        let mut bans: Vec<Ban> = list.bans.values().filter(|ban| ban.until.is_none_or(|until| now < until)).cloned().collect();
        bans.sort_by_key(|ban| ban.network);
        Ok(bans)
    }

    /// Changes an app's list, durably. What has ended is dropped on the way.
    pub async fn change(&self, app: &str, store: &dyn Store, now: i64, change: impl FnOnce(&mut Vec<Ban>)) -> Result<(), BanError> {
        let _turn = self.turn.lock().await;
        let broken = |error: StoreError| BanError::Store(error.into());
        let (before, mut bans) = read(&*self.secrets, app).map_err(broken)?;
        bans.retain(|ban| ban.until.is_none_or(|until| now < until));
        change(&mut bans);
        if bans.len() > MOST {
            return Err(BanError::Full);
        }
        let value = serde_json::to_vec(&bans).map_err(|error| broken(StoreError::Broken(error.to_string())))?;
        let write = SecretWrite { name: name(app), expect: Some(before), value: Some(value) };
        store.commit_batch(Batch { secrets: vec![write], ..Batch::default() }).await?;
        self.put(app, List::new(bans));
        Ok(())
    }

    fn list(&self, app: &str) -> Result<Arc<List>, StoreError> {
        if let Some(list) = self.apps.read().unwrap_or_else(PoisonError::into_inner).get(app) {
            return Ok(list.clone());
        }
        let list = Arc::new(List::new(read(&*self.secrets, app)?.1));
        // Whoever has changed it meanwhile put a newer one there.
        Ok(self.apps.write().unwrap_or_else(PoisonError::into_inner).entry(app.into()).or_insert(list).clone())
    }

    fn put(&self, app: &str, list: List) {
        self.apps.write().unwrap_or_else(PoisonError::into_inner).insert(app.into(), Arc::new(list));
    }
}

impl std::fmt::Debug for Bans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bans").finish_non_exhaustive()
    }
}

fn name(app: &str) -> String {
    format!("bans/{app}")
}

fn read(secrets: &dyn Secrets, app: &str) -> Result<(Option<Vec<u8>>, Vec<Ban>), StoreError> {
    let text = secrets.secret(&name(app))?;
    let bans = match &text {
        Some(text) => serde_json::from_slice(text).map_err(|error| StoreError::Broken(format!("the bans of {app}: {error}")))?,
        None => Vec::new(),
    };
    Ok((text, bans))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_for_their_time() {
        let ban = |network: &str, scope, until| Ban { network: network.parse().unwrap(), scope, reason: String::new(), since: 0, until };
        let list = List::new(vec![
            ban("10.0.0.0/8", Scope::Login, None),
            ban("10.1.0.0/16", Scope::Everything, Some(100)),
            ban("2001:db8::/32", Scope::Everything, None),
        ]);
        let held = |address: &str, now| list.of(address.parse().unwrap(), now).map(|ban| ban.scope).collect::<Vec<_>>();
        assert_eq!(held("10.9.9.9", 0), [Scope::Login]);
        assert_eq!(held("10.1.2.3", 99), [Scope::Login, Scope::Everything]);
        assert_eq!(held("10.1.2.3", 100), [Scope::Login]);
        assert_eq!(held("2001:db8:1::1", 0), [Scope::Everything]);
        assert_eq!(held("11.0.0.1", 0), []);
    }
}
