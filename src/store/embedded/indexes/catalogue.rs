//! Which indexes there are, and how each stands. Part of every published state.

use crate::store::{IndexDefinition, IndexKey, IndexReport, IndexState, KeyOrder};
use dataflows::query::ast::Path;
use fjall::Keyspace;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// So many entries, and those that were added since, are an unknown number: the number is noted when the store is closed, and was not.
const UNKNOWN: i64 = i64::MIN / 2;

/// The bucket of users, which has an index without being asked.
const USERS: &str = "User";

/// What the entries of built-in indexes begin with; declared ones have their number, which is never 0.
const BUILT_IN: u64 = 0;

/// How the entries of an index stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::store::embedded) enum Phase {
    /// The objects up to this key are in it, with every later change of them; those behind it are not
    Building {
        /// Key of an object; none: no object is in it
        cursor: Option<Vec<u8>>,
        /// How many are in it
        objects: u64,
    },
    /// Every object is in it
    Ready,
    /// It could not be built; its entries are being freed under another number
    Failed {
        /// Why
        reason: String,
    },
    /// It is there no more, its entries may be
    Dropped,
}

/// An index, as it is noted under its number.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::store::embedded) struct Noted {
    pub(in crate::store::embedded) app: Arc<str>,
    pub(in crate::store::embedded) bucket: Arc<str>,
    pub(in crate::store::embedded) definition: IndexDefinition,
    pub(in crate::store::embedded) phase: Phase,
    /// See [`Shared::regular`]
    pub(in crate::store::embedded) regular: bool,
    /// Entries when this was noted
    pub(in crate::store::embedded) entries: i64,
}

/// What changes of an index without a new state of the catalogue.
#[derive(Debug)]
pub(in crate::store::embedded) struct Shared {
    /// Every object has exactly one entry, which holds what a sort sees, uncut. Once false it stays so. Whoever reads an older state
    /// and finds it false only plans with more care than needed.
    pub(in crate::store::embedded) regular: AtomicBool,
    /// How many entries there are; less than 0: that is not known, see [`UNKNOWN`]
    pub(in crate::store::embedded) entries: AtomicI64,
}

/// One index of a bucket.
#[derive(Debug, Clone)]
pub(in crate::store::embedded) struct Index {
    /// 0 for built-in ones
    pub(in crate::store::embedded) number: u64,
    /// What its entries begin with
    pub(in crate::store::embedded) prefix: Box<[u8]>,
    pub(in crate::store::embedded) definition: IndexDefinition,
    /// The keys' paths
    pub(in crate::store::embedded) paths: Box<[Path]>,
    pub(in crate::store::embedded) phase: Phase,
    pub(in crate::store::embedded) shared: Arc<Shared>,
}

impl Index {
    pub(in crate::store::embedded) fn new(number: u64, noted: &Noted) -> Index {
        Index {
            number,
            prefix: number.to_be_bytes().into(),
            definition: noted.definition.clone(),
            paths: noted.definition.keys.iter().map(|key| Path::new(&key.path)).collect(),
            phase: noted.phase.clone(),
            shared: Arc::new(Shared { regular: AtomicBool::new(noted.regular), entries: AtomicI64::new(noted.entries) }),
        }
    }

    /// No two users of an app have one name.
    fn of_users(app: &str) -> Index {
        let mut prefix = BUILT_IN.to_be_bytes().to_vec();
        prefix.extend_from_slice(&super::super::keys::bucket(app, USERS));
        Index {
            number: BUILT_IN,
            prefix: prefix.into(),
            definition: IndexDefinition { unique: true, keys: vec![IndexKey { path: "username".into(), order: KeyOrder::Asc }] },
            paths: Box::new([Path::new("username")]),
            phase: Phase::Ready,
            // Nothing is noted about it, so nothing is taken for granted.
            shared: Arc::new(Shared { regular: AtomicBool::new(false), entries: AtomicI64::new(i64::MAX) }),
        }
    }

    pub(in crate::store::embedded) fn is_built_in(&self) -> bool {
        self.number == BUILT_IN
    }

    pub(in crate::store::embedded) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether the object with this key is in it.
    pub(in crate::store::embedded) fn covers(&self, object: &[u8]) -> bool {
        match &self.phase {
            Phase::Ready => true,
            Phase::Building { cursor: Some(cursor), .. } => object <= &cursor[..],
            _ => false,
        }
    }

    pub(in crate::store::embedded) fn is_regular(&self) -> bool {
        self.shared.regular.load(Ordering::Acquire)
    }

    /// How many entries it has; none where that is not known.
    pub(in crate::store::embedded) fn size(&self) -> Option<u64> {
        if self.is_built_in() { None } else { u64::try_from(self.shared.entries.load(Ordering::Relaxed)).ok() }
    }

    /// What is noted under its number.
    pub(in crate::store::embedded) fn noted(&self, app: &Arc<str>, bucket: &Arc<str>) -> Noted {
        Noted {
            app: Arc::clone(app),
            bucket: Arc::clone(bucket),
            definition: self.definition.clone(),
            phase: self.phase.clone(),
            regular: self.is_regular(),
            entries: self.shared.entries.load(Ordering::Relaxed),
        }
    }

    pub(in crate::store::embedded) fn report(&self) -> IndexReport {
        let state = match &self.phase {
            Phase::Ready => IndexState::Ready,
            Phase::Building { objects, .. } => IndexState::Building { objects: *objects },
            Phase::Failed { reason } => IndexState::Failed { reason: reason.clone() },
            Phase::Dropped => IndexState::Failed { reason: "it was dropped".into() },
        };
        IndexReport { definition: self.definition.clone(), built_in: self.is_built_in(), state }
    }
}

/// The indexes of a bucket; few.
pub(in crate::store::embedded) type OfBucket = SmallVec<[Arc<Index>; 2]>;

/// Every index of every app at one moment.
#[derive(Debug, Clone, Default)]
pub(in crate::store::embedded) struct Catalogue {
    by_app: HashMap<Arc<str>, Arc<HashMap<Arc<str>, Arc<[Arc<Index>]>>>>,
    /// The next number
    pub(in crate::store::embedded) next: u64,
}

impl Catalogue {
    /// What is noted. The dropped ones are not in it. `closed`: the noted numbers of entries are as they were at the end.
    pub(in crate::store::embedded) fn load(notes: &Keyspace, closed: bool) -> Result<Catalogue, String> {
        let mut catalogue = Catalogue { by_app: HashMap::new(), next: 1 };
        for entry in notes.iter() {
            let (key, text) = entry.into_inner().map_err(|error| error.to_string())?;
            let number = number_of(&key)?;
            catalogue.next = number + 1;
            let mut noted = read_note(&text)?;
            if noted.phase != Phase::Dropped {
                if !closed {
                    noted.entries = UNKNOWN;
                }
                catalogue.put(&noted.app, &noted.bucket, Arc::new(Index::new(number, &noted)));
            }
        }
        Ok(catalogue)
    }

    /// The indexes of a bucket, the built-in ones first.
    pub(in crate::store::embedded) fn of(&self, app: &str, bucket: &str) -> OfBucket {
        let mut indexes = OfBucket::new();
        if bucket == USERS {
            indexes.push(Arc::new(Index::of_users(app)));
        }
        indexes.extend(self.declared(app, bucket).iter().cloned());
        indexes
    }

    /// Those that somebody declared.
    pub(in crate::store::embedded) fn declared(&self, app: &str, bucket: &str) -> &[Arc<Index>] {
        self.by_app.get(app).and_then(|buckets| buckets.get(bucket)).map(|indexes| &indexes[..]).unwrap_or_default()
    }

    /// Adds an index, or puts it in the place of the one with its number.
    pub(in crate::store::embedded) fn put(&mut self, app: &Arc<str>, bucket: &Arc<str>, index: Arc<Index>) {
        let mut indexes = self.declared(app, bucket).to_vec();
        match indexes.iter_mut().find(|other| other.number == index.number) {
            Some(place) => *place = index,
            None => indexes.push(index),
        }
        self.set(app, bucket, indexes);
    }

    /// Takes an index out.
    pub(in crate::store::embedded) fn remove(&mut self, app: &Arc<str>, bucket: &Arc<str>, number: u64) {
        let indexes = self.declared(app, bucket).iter().filter(|index| index.number != number).cloned().collect();
        self.set(app, bucket, indexes);
    }

    fn set(&mut self, app: &Arc<str>, bucket: &Arc<str>, indexes: Vec<Arc<Index>>) {
        let buckets = Arc::make_mut(self.by_app.entry(Arc::clone(app)).or_default());
        if indexes.is_empty() {
            buckets.remove(bucket);
        } else {
            buckets.insert(Arc::clone(bucket), indexes.into());
        }
        if buckets.is_empty() {
            self.by_app.remove(app);
        }
    }

    /// Every declared index with its app and bucket.
    pub(in crate::store::embedded) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Arc<Index>)> {
        self.by_app.iter().flat_map(|(app, buckets)| {
            buckets.iter().flat_map(move |(bucket, indexes)| indexes.iter().map(move |index| (app, bucket, index)))
        })
    }
}

/// The number in the key of a note.
pub(in crate::store::embedded) fn number_of(key: &[u8]) -> Result<u64, String> {
    Ok(u64::from_be_bytes(key.try_into().map_err(|_| "the note of an index has no number")?))
}

/// A note.
pub(in crate::store::embedded) fn read_note(text: &[u8]) -> Result<Noted, String> {
    serde_json::from_slice(text).map_err(|error| format!("the note of an index cannot be read: {error}"))
}
