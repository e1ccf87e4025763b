//! Which standing queries match this image? For now every query of the bucket is evaluated.

use crate::change::Change;
use crate::engine::{Delta, QueryId};
use crate::query::ast::Predicate;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Limits of the index.
#[derive(Debug, Clone, Copy)]
pub struct IndexOptions {
    /// Standing queries of one app that no index entry fits
    pub residual_queries: usize,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions { residual_queries: 10_000 }
    }
}

/// On which entries a standing query hangs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// Why no entry fits
    pub residual: Option<String>,
}

/// Why a query cannot be inserted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// Too many queries that no entry fits
    #[error("the app has {0} queries already that must be evaluated on every change; use an equality or a range in the query")]
    ResidualQuota(usize),
}

impl IndexError {
    /// A stable code, see docs/errors.md
    pub fn code(&self) -> &'static str {
        "query-residual-quota"
    }
}

type Scope = (Arc<str>, Arc<str>);

/// The standing queries of one worker.
pub struct QueryIndex {
    options: IndexOptions,
    scopes: HashMap<Scope, Vec<(QueryId, Arc<Predicate>)>>,
    scope_of: HashMap<QueryId, Scope>,
    candidates: u64,
}

impl QueryIndex {
    /// An empty one.
    pub fn new(options: IndexOptions) -> QueryIndex {
        QueryIndex { options, scopes: HashMap::new(), scope_of: HashMap::new(), candidates: 0 }
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.scope_of.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of queries that no entry fits.
    pub fn residual(&self) -> usize {
        self.len()
    }

    /// Queries looked at so far.
    pub fn candidates(&self) -> u64 {
        self.candidates
    }

    /// Inserts a query.
    pub fn insert(&mut self, app: &Arc<str>, bucket: &Arc<str>, query: QueryId, predicate: Arc<Predicate>) -> Result<(), IndexError> {
        let own = self.scope_of.values().filter(|(other, _)| other == app).count();
        if own >= self.options.residual_queries {
            return Err(IndexError::ResidualQuota(own));
        }
        let scope = (Arc::clone(app), Arc::clone(bucket));
        self.scopes.entry(scope.clone()).or_default().push((query, predicate));
        self.scope_of.insert(query, scope);
        Ok(())
    }

    /// Removes a query; whether it was there.
    pub fn remove(&mut self, query: QueryId) -> bool {
        let Some(scope) = self.scope_of.remove(&query) else { return false };
        if let Some(queries) = self.scopes.get_mut(&scope) {
            queries.retain(|(other, _)| *other != query);
            if queries.is_empty() {
                self.scopes.remove(&scope);
            }
        }
        true
    }

    /// Why a query is where it is.
    pub fn explain(&self, query: QueryId) -> Option<Explanation> {
        self.scope_of.get(&query).map(|_| Explanation { residual: Some("every query is evaluated".to_owned()) })
    }

    /// Appends the deltas of a change.
    pub fn matches(&mut self, change: &Change, deltas: &mut Vec<Delta>) {
        let scope = (Arc::clone(&change.app), Arc::clone(&change.bucket));
        for (query, predicate) in self.scopes.get(&scope).into_iter().flatten() {
            self.candidates += 1;
            let matches =
                |image: &Option<Arc<crate::change::Image>>| image.as_ref().is_some_and(|image| predicate.matches(&image.document));
            let (before, after) = (matches(&change.before), matches(&change.after));
            if before || after {
                deltas.push(Delta { query: *query, before, after });
            }
        }
    }
}
