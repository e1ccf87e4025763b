//! Standing queries: equal ones (app, bucket, normal form) are one query of the engine.
//!
//! Installed with the first subscription, removed with the last. Joining and leaving go through one lock,
//! so whoever joins either finds the query in place, or installs a new one after the old one was removed.

use super::lock;
use super::members::Members;
use super::subscription::{Membership, Subscription};
use dataflows::change::Change;
use dataflows::engine::{Engine, InstallError, QueryId};
use dataflows::query::Filter;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use tokio::sync::oneshot;

/// What makes two queries equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StandingKey {
    app: Arc<str>,
    bucket: Arc<str>,
    text: Arc<str>,
}

/// One query of the engine and those who wait for its deltas.
pub(crate) struct Standing {
    pub(crate) app: Arc<str>,
    pub(crate) bucket: Arc<str>,
    pub(crate) filter: Filter,
    query: OnceLock<QueryId>,
    pub(crate) members: Mutex<Members>,
    install: Mutex<Install>,
}

enum Install {
    UnderWay(Vec<oneshot::Sender<Result<(), InstallError>>>),
    Done(Result<(), InstallError>),
}

impl Standing {
    /// Whether a change is one of its bucket.
    pub(crate) fn is_about(&self, change: &Change) -> bool {
        *change.app == *self.app && *change.bucket == *self.bucket
    }

    /// Resolves when every change that is fed from then on is matched.
    pub(crate) async fn installed(&self) -> Result<(), InstallError> {
        let told = match &mut *lock(&self.install) {
            Install::Done(result) => return result.clone(),
            Install::UnderWay(waiting) => {
                let (tell, told) = oneshot::channel();
                waiting.push(tell);
                told
            }
        };
        // The engine drops what it was told to call only when it stops.
        told.await.unwrap_or_else(|_| {
            Err(InstallError { code: "server-stopping".into(), message: "the server is shutting down; connect again".into() })
        })
    }

    fn set_installed(&self, result: Result<(), InstallError>) {
        let before = std::mem::replace(&mut *lock(&self.install), Install::Done(result.clone()));
        if let Install::UnderWay(waiting) = before {
            for tell in waiting {
                // Whoever does not wait any more has ended.
                let _ = tell.send(result.clone());
            }
        }
    }
}

/// All standing queries of a gateway.
#[derive(Default)]
pub(crate) struct Registry {
    by_key: Mutex<HashMap<StandingKey, Arc<Standing>>>,
    by_query: RwLock<HashMap<QueryId, Arc<Standing>>>,
}

impl Registry {
    /// Joins a subscription to its standing query, which is installed if it is the first.
    pub(crate) fn join(&self, engine: &Engine, app: &Arc<str>, bucket: &Arc<str>, filter: Filter, subscription: &Arc<Subscription>) {
        let key = StandingKey { app: app.clone(), bucket: bucket.clone(), text: filter.text.clone() };
        let mut by_key = lock(&self.by_key);
        if let Some(standing) = by_key.get(&key) {
            admit(standing, subscription);
            return;
        }
        let standing = Arc::new(Standing {
            app: app.clone(),
            bucket: bucket.clone(),
            filter,
            query: OnceLock::new(),
            members: Mutex::default(),
            install: Mutex::new(Install::UnderWay(Vec::new())),
        });
        admit(&standing, subscription);
        by_key.insert(key, standing.clone());
        let told = standing.clone();
        let installed = Box::new(move |result| told.set_installed(result));
        let query = engine.subscribe(app.clone(), bucket.clone(), &standing.filter, installed);
        let _ = standing.query.set(query);
        // A delta that comes before this line is of a change that every snapshot read from here on has in it,
        // and the snapshot of this subscription is read later.
        self.by_query.write().unwrap_or_else(PoisonError::into_inner).insert(query, standing);
    }

    /// Takes a subscription out; the last one removes the query. `engine` is none when the engine has stopped.
    pub(crate) fn leave(&self, engine: Option<&Engine>, subscription: &Subscription) {
        let Some(Membership { standing, place }) = subscription.membership.get() else { return };
        let mut by_key = lock(&self.by_key);
        let last = {
            let mut members = lock(&standing.members);
            if !members.remove(*place, subscription) {
                return;
            }
            members.is_empty()
        };
        if !last {
            return;
        }
        by_key.remove(&StandingKey { app: standing.app.clone(), bucket: standing.bucket.clone(), text: standing.filter.text.clone() });
        if by_key.is_empty() {
            *by_key = HashMap::new();
        }
        let Some(query) = standing.query.get() else { return };
        {
            let mut by_query = self.by_query.write().unwrap_or_else(PoisonError::into_inner);
            by_query.remove(query);
            if by_query.is_empty() {
                *by_query = HashMap::new();
            }
        }
        if let Some(engine) = engine {
            engine.unsubscribe(*query);
        }
    }

    /// The standing queries of an app on buckets that are wanted.
    pub(crate) fn of_app(&self, app: &str, wanted: impl Fn(&str) -> bool) -> Vec<Arc<Standing>> {
        lock(&self.by_key).values().filter(|standing| *standing.app == *app && wanted(&standing.bucket)).cloned().collect()
    }

    /// Who waits for a query's deltas.
    pub(crate) fn find(&self, query: QueryId) -> Option<Arc<Standing>> {
        self.by_query.read().unwrap_or_else(PoisonError::into_inner).get(&query).cloned()
    }

    /// Number of standing queries.
    pub(crate) fn len(&self) -> usize {
        lock(&self.by_key).len()
    }
}

fn admit(standing: &Arc<Standing>, subscription: &Arc<Subscription>) {
    let place = lock(&standing.members).insert(subscription.clone());
    let _ = subscription.membership.set(Membership { standing: standing.clone(), place });
}
