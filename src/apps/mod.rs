//! Apps: one server holds many, each with its own data, schema, users, keys and limits.
//!
//! * [`App`], [`Apps`]: which there are, and which one a request is for
//! * [`limits`], [`quota`]: what one of them may use of what all share, and what it uses
//! * [`bodies`]: the memory for bodies of requests
//! * [`registry`]: which there are, durably; makes and removes them
//! * `removal`: takes away what an app had, in pieces
//! * `first_start`: what every app has from the beginning
//! * `name`: what apps and hosts may be called
//!
//! Which app a request is for: the first word of a URL's path and the host name say it. The configured base (`v1`) stands
//! for the app that has the host name, or for the default one; any other word is an app's name, which is all that the
//! SDK's URL allows. On a host name that is an app's own nothing but that app answers, so no other app's pages and answers
//! share its origin in a browser. Apps that are reached by name on a host of nobody share that host's origin.

pub mod bodies;
mod first_start;
pub mod limits;
mod name;
pub mod quota;
pub mod registry;
mod removal;

pub use registry::Registry;

use crate::auth::password::PasswordError;
use crate::config::Config;
use crate::store::StoreError;
use axum::http::Extensions;
use limits::{Limits, OwnLimits};
use quota::Quota;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use crate::config::DEFAULT_APP;

/// Why something about an app cannot be done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// No app can be called so
    #[error("{name:?} cannot be the name of an app: {reason}")]
    Name {
        /// As asked for
        name: String,
        /// What would do
        reason: String,
    },
    /// No app can have such a host name
    #[error("{host:?} cannot be an app's host: give a host name, without a port; addresses are the server's own")]
    Host {
        /// As asked for
        host: String,
    },
    /// No page can be of such an origin
    #[error("{origin:?} cannot be an app's origin: give scheme, host and port as https://shop.example.org, without a path")]
    Origin {
        /// As asked for
        origin: String,
    },
    /// A limit that makes no sense
    #[error("the limit {name} must be {reason}")]
    Limit {
        /// Which
        name: &'static str,
        /// What would do
        reason: &'static str,
    },
    /// There is one of this name
    #[error("there is an app {0:?} already")]
    Exists(String),
    /// There is none of this name
    #[error("there is no app {0:?}")]
    Missing(String),
    /// The host name is another app's
    #[error("the host {host} belongs to the app {app:?}; take it away there first")]
    HostTaken {
        /// Which
        host: String,
        /// Whose
        app: String,
    },
    /// There are as many as there may be
    #[error("there are {0} apps, and no more may be (limits.apps); delete one or raise the limit")]
    TooMany(usize),
    /// The default app stays
    #[error("the app {DEFAULT_APP:?} is always there and cannot be deleted")]
    Default,
    /// The password of its administrator
    #[error("the password of root is longer than {0} bytes, or empty")]
    Password(usize),
    /// Hashing it
    #[error(transparent)]
    Hashing(#[from] PasswordError),
    /// The store
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AppError {
    /// The stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            AppError::Name { .. } => "app-name",
            AppError::Host { .. } => "app-host",
            AppError::Origin { .. } => "app-origin",
            AppError::Limit { .. } => "app-limit",
            AppError::Exists(_) => "app-exists",
            AppError::Missing(_) => "no-such-app",
            AppError::HostTaken { .. } => "host-taken",
            AppError::TooMany(_) => "too-many-apps",
            AppError::Default => "default-app",
            AppError::Password(_) => "app-password",
            AppError::Hashing(_) => "password",
            AppError::Store(error) => error.code(),
        }
    }
}

/// One app.
#[derive(Debug)]
pub struct App {
    /// What the store, the tokens and the change log call it. Never again the name of another, also when an app
    /// that was deleted is made anew: nothing of the former one can turn up in it.
    pub name: Arc<str>,
    /// What people and URLs call it
    pub word: Arc<str>,
    /// What it uses of what all share
    pub quota: Quota,
    /// None: as configured for all
    origins: RwLock<Option<Arc<[String]>>>,
    open: AtomicBool,
    closed: CancellationToken,
    under_way: AtomicUsize,
    idle: Notify,
}

impl App {
    /// An open app.
    pub fn new(name: Arc<str>, word: Arc<str>, limits: Limits) -> App {
        App {
            name,
            word,
            quota: Quota::new(limits),
            origins: RwLock::default(),
            open: AtomicBool::new(true),
            closed: CancellationToken::new(),
            under_way: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// The origins of its own from which browsers may come, and at which logins may end; none where it has those that are configured.
    pub fn origins(&self) -> Option<Arc<[String]>> {
        self.origins.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other ones from now on; none: those that are configured.
    fn set_origins(&self, origins: impl IntoIterator<Item = String>) {
        let origins: Arc<[String]> = origins.into_iter().collect();
        *self.origins.write().unwrap_or_else(PoisonError::into_inner) = (!origins.is_empty()).then_some(origins);
    }

    /// Whether it takes requests.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// A request begins; none where the app is closed. Whoever waits for the last one waits for this too.
    pub fn begin(self: &Arc<Self>) -> Option<UnderWay> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(self.clone());
        self.is_open().then_some(under_way)
    }

    /// Takes no requests from now on.
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.closed.cancel();
    }

    /// Resolves when it takes no more requests: nobody waits any longer for what may never come.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Resolves when no request is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let mut told = std::pin::pin!(self.idle.notified());
            told.as_mut().enable();
            if self.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            told.await;
        }
    }
}

/// Kept while a request of an app is under way.
#[derive(Debug)]
pub struct UnderWay(Arc<App>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// The apps of a server, as requests find them.
#[derive(Debug)]
pub struct Apps {
    base: Box<str>,
    default: Arc<App>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<Arc<str>, Arc<App>>,
    by_host: HashMap<Box<str>, Arc<App>>,
}

impl Default for Apps {
    /// As with the default configuration, on a machine that hashes one password at a time.
    fn default() -> Apps {
        let config = Config::default();
        Apps::new(&config.server.base, Limits::new(&config.limits, &OwnLimits::default(), 1, true))
    }
}

impl Apps {
    /// The default app alone. `base`: the first word of paths that do not name an app.
    pub fn new(base: &str, limits: Limits) -> Apps {
        let default = Arc::new(App::new(DEFAULT_APP.into(), DEFAULT_APP.into(), limits));
        let known = Known { by_name: [(default.word.clone(), default.clone())].into(), by_host: HashMap::new() };
        Apps { base: base.into(), default, known: RwLock::new(known) }
    }

    /// The app of a server that was not told of others.
    pub fn default_app(&self) -> &Arc<App> {
        &self.default
    }

    /// The first word of paths that do not name an app.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// An app by its name in URLs.
    pub fn get(&self, name: &str) -> Option<Arc<App>> {
        self.read().by_name.get(name).cloned()
    }

    /// All of them, by their names.
    pub fn all(&self) -> Vec<Arc<App>> {
        let mut all: Vec<_> = self.read().by_name.values().cloned().collect();
        all.sort_by(|one, other| one.word.cmp(&other.word));
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.read().by_name.len()
    }

    /// The app that a request is for: `word` is the first segment of its path, `host` as the client named the server.
    pub fn resolve(&self, host: Option<&str>, word: &str) -> Option<Arc<App>> {
        let known = self.read();
        let own = if known.by_host.is_empty() { None } else { host.and_then(|host| known.by_host.get(&*name::host(host))) };
        let named = if word == &*self.base { None } else { Some(known.by_name.get(word)?) };
        match (own, named) {
            (None, None) => Some(self.default.clone()),
            (Some(own), None) => Some(own.clone()),
            (None, Some(named)) => Some(named.clone()),
            // A browser would take the other app's answers for this one's.
            (Some(own), Some(named)) => Arc::ptr_eq(own, named).then(|| own.clone()),
        }
    }

    /// Takes an app in, or another set of hosts for it.
    fn put(&self, app: &Arc<App>, hosts: &[String]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.by_host.retain(|_, owner| !Arc::ptr_eq(owner, app));
        known.by_host.extend(hosts.iter().map(|host| (host.as_str().into(), app.clone())));
        known.by_name.insert(app.word.clone(), app.clone());
    }

    /// Nobody finds it any more.
    fn remove(&self, word: &str) -> Option<Arc<App>> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let app = known.by_name.remove(word)?;
        known.by_host.retain(|_, owner| !Arc::ptr_eq(owner, &app));
        Some(app)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the store calls the app that a request was found to be for; the default one where nothing looked.
pub fn of(extensions: &Extensions) -> Arc<str> {
    extensions.get::<Arc<App>>().map_or_else(|| DEFAULT_APP.into(), |app| app.name.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn app(word: &str) -> App {
        App::new(word.into(), word.into(), Limits::new(&Config::default().limits, &OwnLimits::default(), 1, false))
    }

    #[test]
    fn word_and_host_say_which_app_it_is() {
        let apps = Apps::default();
        let (acme, other) = (Arc::new(app("acme")), Arc::new(app("other")));
        apps.put(&acme, &["acme.example".into(), "www.acme.example".into()]);
        apps.put(&other, &[]);
        let resolve = |host: Option<&str>, word: &str| apps.resolve(host, word).map(|app| app.word.to_string());
        for (host, word, found) in [
            (None, "v1", Some("app")),
            (Some("anything.example"), "v1", Some("app")),
            (Some("anything.example:80"), "app", Some("app")),
            (Some("anything.example"), "acme", Some("acme")),
            (Some("anything.example"), "other", Some("other")),
            (Some("acme.example"), "v1", Some("acme")),
            (Some("ACME.example.:8443"), "v1", Some("acme")),
            (Some("www.acme.example"), "acme", Some("acme")),
            // A host of its own is nobody else's, not even the default app's.
            (Some("acme.example"), "other", None),
            (Some("acme.example"), "app", None),
            (Some("sub.acme.example"), "v1", Some("app")),
            (None, "nobody", None),
            (None, "", None),
            (None, "ACME", None),
        ] {
            assert_eq!(resolve(host, word).as_deref(), found, "{host:?} {word}");
        }
        apps.put(&acme, &["new.example".into()]);
        assert_eq!(resolve(Some("acme.example"), "v1").as_deref(), Some("app"));
        assert_eq!(resolve(Some("new.example"), "v1").as_deref(), Some("acme"));
        assert!(Arc::ptr_eq(&apps.remove("acme").unwrap(), &acme));
        assert_eq!(resolve(Some("new.example"), "v1").as_deref(), Some("app"));
        assert_eq!(resolve(None, "acme"), None);
    }

    #[tokio::test]
    async fn a_closed_app_takes_nothing_and_is_idle_when_the_last_has_gone() {
        use futures_util::FutureExt;
        let app = Arc::new(app("acme"));
        let last = app.begin().unwrap();
        app.close();
        assert!(app.begin().is_none());
        let mut idle = Box::pin(app.idle());
        assert!(idle.as_mut().now_or_never().is_none());
        drop(last);
        idle.await;
    }
}
