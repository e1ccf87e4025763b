//! Apps: one server holds many, each with its own data, schema, users and key.
//!
//! The first word of a URL's path says which app a request is for: the configured base (`v1`) stands for the app of the
//! host name, or for the default one; any other word is an app's name, which is all that the SDK's URL allows.

use axum::http::Extensions;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The app of a server that was not told of others.
pub const DEFAULT_APP: &str = "app";

/// One app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name: a word that can stand in a URL
    pub name: Arc<str>,
}

/// The apps of a server.
#[derive(Debug)]
pub struct Apps {
    base: Box<str>,
    default: Arc<App>,
    by_name: RwLock<HashMap<Arc<str>, Arc<App>>>,
}

impl Apps {
    /// A server with the default app alone. `base`: the first word of paths that do not name an app.
    pub fn new(base: &str) -> Apps {
        let default = Arc::new(App { name: DEFAULT_APP.into() });
        let by_name = RwLock::new([(default.name.clone(), default.clone())].into());
        Apps { base: base.into(), default, by_name }
    }

    /// The app of a server that was not told of others.
    pub fn default_app(&self) -> &Arc<App> {
        &self.default
    }

    /// An app by its name.
    pub fn get(&self, name: &str) -> Option<Arc<App>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<App>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The app that a request is for: `word` is the first segment of its path, `host` the name in its `Host` header.
    pub fn resolve(&self, _host: Option<&str>, word: &str) -> Option<Arc<App>> {
        if word == &*self.base { Some(self.default.clone()) } else { self.get(word) }
    }
}

/// The app that a request was found to be for; the default one where nothing looked.
pub fn of(extensions: &Extensions) -> Arc<str> {
    extensions.get::<Arc<App>>().map_or_else(|| DEFAULT_APP.into(), |app| app.name.clone())
}
