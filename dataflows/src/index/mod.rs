//! The index over queries: which standing queries match this image?
//!
//! The work for a change grows with the queries it touches, not with those that exist (invariant 7). Each query hangs
//! on the most selective part of its predicate; a document is walked once along the paths that queries mention,
//! and what stands there is looked up among the entries.
//!
//! * [`plan`]: what a query hangs on, a pure function. Equality, `$in` (one entry each), array membership (the same
//!   entries, found by each element), whole arrays and objects by their hash, ranges as intervals, prefixes of
//!   regular expressions, literals that they need, presence, absence, the complement of a negated range, cells of the
//!   globe; every branch of an `$or`. What has nothing of the kind is the residual class, evaluated for every change of
//!   its bucket, the cheap checks first, and limited by a quota for each app.
//! * [`paths`], [`strings`], [`lookup`]: the names and strings that queries mention, numbered, kept as long as a query does. What
//!   documents contain is never added, so open objects do not make the index grow.
//! * [`key`]: values and operands as (class, 64 bits).
//! * [`entries`]: entries and the nodes they hang on. An entry carries one more condition inline; long lists get a second
//!   level under that condition, so `city = X and price in [a, b]` touches few queries also if many name city X.
//! * [`intervals`], [`patterns`], [`cells`]: what the nodes of ranges, regular expressions and shapes consist of.
//! * [`walk`], [`probe`]: from a change's images to the queries that match them. Both images are looked up together
//!   where they agree. A query is judged at most once for each image.
//!
//! What is compiled (equality, `$in`, ranges of numbers and instants, `$exists`, and their negations, in a conjunction)
//! is decided here alone, so its rules must be those of [`crate::query`]; all else asks
//! [`Predicate::matches`](crate::query::ast::Predicate::matches).

mod arena;
mod cells;
mod entries;
mod explain;
mod install;
mod intervals;
mod key;
mod lookup;
mod paths;
mod patterns;
mod plan;
mod probe;
mod strings;
#[cfg(test)]
mod tests;
mod walk;

pub use explain::{Explanation, Reached};
pub use patterns::literal_prefix;

use crate::change::Change;
use crate::delta::{Delta, QueryId};
use crate::query::ast::Predicate;
use arena::Arena;
use entries::{Check, Entries, Names};
use hashbrown::{HashMap, HashTable};
use key::{Class, Hashing};
use paths::Paths;
use patterns::Patterns;
use probe::{Probe, Visit};
use std::hash::BuildHasher;
use std::sync::Arc;
use strings::Strings;
use walk::{Findings, Walk};

/// How an index is to behave.
#[derive(Debug, Clone, Copy)]
pub struct IndexOptions {
    /// How many residual queries an app may have
    pub residual_queries: usize,
    /// Makes every query residual and lifts the quota: each change is put to every query of its bucket. What the
    /// index is measured and tested against.
    pub scan: bool,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions { residual_queries: 10_000, scan: false }
    }
}

/// Why a query is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The app has as many queries without an index entry as it may have
    #[error(
        "no index entry fits this query, so it is asked about every change of {bucket}; the app {app} has {limit} such queries already, \
         the most allowed: add a condition that an object must meet ($eq, $in, a range, $exists, a regular expression with a literal)"
    )]
    ResidualQuota {
        /// The app
        app: Arc<str>,
        /// The bucket
        bucket: Arc<str>,
        /// How many it may have
        limit: usize,
    },
}

impl IndexError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            IndexError::ResidualQuota { .. } => "query-residual-quota",
        }
    }
}

/// What an index holds and has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct IndexStatistics {
    /// Standing queries
    pub queries: usize,
    /// Of these, how many no entry fits
    pub residual: usize,
    /// Places where queries hang; a query has one or more
    pub entries: usize,
    /// Paths that queries mention, with those that lead to them
    pub paths: usize,
    /// Changes matched so far
    pub changes: u64,
    /// Entries looked at for them
    pub candidates: u64,
    /// Bytes, estimated
    pub memory: usize,
}

/// One standing query.
#[derive(Default)]
struct Query {
    id: u64,
    /// What its entries leave open
    rest: Option<Box<Rest>>,
    /// The change that touched it last; `matches` and `judged` are of that one
    stamp: u32,
    /// Its first place, or [`entries::NONE`]
    places: u32,
    scope: u32,
    matches: u8,
    judged: u8,
    residual: bool,
}

/// Conditions that are asked once an entry was reached.
#[derive(Default)]
struct Rest {
    checks: Box<[Check]>,
    /// Of each `$in`
    sets: Box<[Set]>,
    predicate: Option<Arc<Predicate>>,
}

/// The operands of one `$in`, sorted.
type Set = Box<[(Class, u64)]>;

/// One bucket of one app.
#[derive(Default)]
struct Scope {
    app: Arc<str>,
    bucket: Arc<str>,
    /// The slot of its documents
    slot: u32,
    /// The node below which its entries are
    root: u32,
    queries: usize,
    /// Slots with entries for what is not there (of the classes `Null` and `Opened`), with their number
    absent: HashMap<(u32, Class), usize, Hashing>,
}

/// The standing queries of one worker. Not shared: no locks.
pub struct QueryIndex {
    options: IndexOptions,
    paths: Paths,
    strings: Strings,
    patterns: Patterns,
    entries: Entries,
    queries: Arena<Query>,
    numbers: HashTable<u32>,
    scopes: Arena<Scope>,
    scope_numbers: HashTable<u32>,
    residual: HashMap<Arc<str>, usize, Hashing>,
    residual_count: usize,
    hashing: Hashing,
    findings: [Findings; 2],
    touched: Vec<u32>,
    hits: Vec<(u32, u8)>,
    visits: Vec<Visit>,
    /// The one of the last change
    last_scope: u32,
    stamp: u32,
    changes: u64,
    candidates: u64,
    /// Heap bytes of what queries keep for themselves
    rest: usize,
}

impl QueryIndex {
    /// An empty index.
    pub fn new(options: IndexOptions) -> QueryIndex {
        QueryIndex {
            options,
            paths: Paths::default(),
            strings: Strings::default(),
            patterns: Patterns::default(),
            entries: Entries::default(),
            queries: Arena::default(),
            numbers: HashTable::new(),
            scopes: Arena::default(),
            scope_numbers: HashTable::new(),
            residual: HashMap::default(),
            residual_count: 0,
            hashing: Hashing::default(),
            findings: Default::default(),
            touched: Vec::new(),
            hits: Vec::new(),
            visits: Vec::new(),
            last_scope: 0,
            stamp: 0,
            changes: 0,
            candidates: 0,
            rest: 0,
        }
    }

    /// Adds a standing query. One with the same number that is there already is replaced.
    pub fn insert(&mut self, app: &Arc<str>, bucket: &Arc<str>, query: QueryId, predicate: Arc<Predicate>) -> Result<(), IndexError> {
        install::insert(self, app, bucket, query, predicate)
    }

    /// Takes a standing query out; whether it was there.
    pub fn remove(&mut self, query: QueryId) -> bool {
        install::remove(self, query)
    }

    /// Number of standing queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of standing queries that no entry fits.
    pub fn residual(&self) -> usize {
        self.residual_count
    }

    /// Entries looked at so far, for all changes.
    pub fn candidates(&self) -> u64 {
        self.candidates
    }

    /// Appends a delta for each standing query that matches an image of the change. In no particular order.
    pub fn matches(&mut self, change: &Change, deltas: &mut Vec<Delta>) {
        self.changes += 1;
        // Changes of one bucket come in a row; a hash of two names is as dear as a lookup of a value.
        let same = |scope: &Scope| *scope.bucket == *change.bucket && *scope.app == *change.app;
        if self.scopes.get(self.last_scope).is_none_or(|scope| scope.queries == 0 || !same(scope)) {
            match self.scope(&change.app, &change.bucket) {
                Some(scope) => self.last_scope = scope,
                None => return,
            }
        }
        self.begin_change();
        let scope = &self.scopes[self.last_scope];
        let documents = [&change.before, &change.after].map(|image| image.as_deref().map(|image| &image.document));
        for document in documents.into_iter().flatten() {
            document.prefetch();
        }
        let (paths, strings, entries) = (&self.paths, &self.strings, &self.entries);
        let [before, after] = &mut self.findings;
        before.begin(self.stamp, paths.bound());
        after.begin(self.stamp, paths.bound());
        // Strings are looked up in three steps, between which other work is done: see [`walk`].
        if let Some(document) = documents[0] {
            Walk { paths, strings, document, findings: before, earlier: None }.document(scope.slot);
        }
        if let Some(document) = documents[1] {
            let earlier = documents[0].map(|document| (document, &*before));
            Walk { paths, strings, document, findings: after, earlier }.document(scope.slot);
        }
        before.likely(strings);
        after.likely(strings);
        if let Some(document) = documents[0] {
            before.resolve(document, strings, entries, None);
        }
        if let Some(document) = documents[1] {
            after.resolve(document, strings, entries, Some(&*before));
            after.share(before);
        }
        let mut probe = Probe {
            entries: &self.entries,
            paths: &self.paths,
            strings: &self.strings,
            patterns: &self.patterns,
            queries: &mut self.queries,
            findings: &self.findings,
            documents,
            stamp: self.stamp,
            touched: &mut self.touched,
            hits: &mut self.hits,
            visits: &mut self.visits,
            candidates: 0,
        };
        probe.run(scope.root, scope.absent.keys().copied());
        self.candidates += probe.candidates;
        deltas.reserve(self.touched.len());
        for number in self.touched.drain(..) {
            let query = &self.queries[number];
            deltas.push(Delta { query: QueryId(query.id), before: query.matches & 1 != 0, after: query.matches & 2 != 0 });
        }
        self.touched.shrink_to(1 << 16);
        self.hits.shrink_to(1 << 16);
        self.visits.shrink_to(1 << 14);
    }

    /// Which entries a standing query hangs on, or why it is residual; `None` if there is no such query.
    pub fn explain(&self, query: QueryId) -> Option<Explanation> {
        explain::explain(self, self.number(query)?)
    }

    /// What the index holds and has done.
    pub fn statistics(&self) -> IndexStatistics {
        let tables = self.numbers.allocation_size() + self.scope_numbers.allocation_size() + self.queries.memory() + self.scopes.memory();
        let names = self.paths.memory() + self.strings.memory() + self.patterns.memory();
        let scratch = self.findings.iter().map(Findings::memory).sum::<usize>() + self.touched.capacity() * 4;
        IndexStatistics {
            queries: self.queries.len(),
            residual: self.residual_count,
            entries: self.entries.count,
            paths: self.paths.len(),
            changes: self.changes,
            candidates: self.candidates,
            memory: tables + names + scratch + self.entries.memory() + self.rest,
        }
    }

    fn begin_change(&mut self) {
        self.patterns.refresh();
        // The two low bits of a stamp are for masks.
        match self.stamp.checked_add(4) {
            Some(stamp) => self.stamp = stamp,
            None => {
                self.queries.iter_mut().for_each(|query| query.stamp = 0);
                self.entries.nodes.iter_mut().for_each(|node| node.visited.set(0));
                self.findings.iter_mut().for_each(Findings::reset);
                self.patterns.reset();
                self.stamp = 4;
            }
        }
    }

    fn scope(&self, app: &str, bucket: &str) -> Option<u32> {
        let found = |number: &u32| {
            let scope = &self.scopes[*number];
            *scope.bucket == *bucket && *scope.app == *app
        };
        self.scope_numbers.find(self.hashing.hash_one((app, bucket)), found).copied()
    }

    fn number(&self, query: QueryId) -> Option<u32> {
        self.numbers.find(self.hashing.hash_one(query.0), |number| self.queries[*number].id == query.0).copied()
    }

    fn names(&mut self) -> (Names<'_>, &mut Entries) {
        (Names { paths: &mut self.paths, strings: &mut self.strings, patterns: &mut self.patterns }, &mut self.entries)
    }
}

/// Gives memory back after many removals.
fn shrink(table: &mut HashTable<u32>, rehash: impl Fn(&u32) -> u64) {
    if table.capacity() > 64 && table.len() * 8 < table.capacity() {
        table.shrink_to(table.len() * 2, rehash);
    } else if table.is_empty() {
        *table = HashTable::new();
    }
}
