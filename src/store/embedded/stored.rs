//! How many bytes each app's objects have, and how many they may have.
//!
//! The writer keeps count: what a group adds or takes is noted in the group's own batch, so the count is that of the objects
//! after a crash too, and nothing is counted again at a start. Directories from before there was a count, and restored backups, are
//! counted once. What counts is an object's key and its JSON text as they are stored, before compression; not the change log, not
//! the entries of indexes.

use super::keyspaces::Keyspaces;
use super::writer::Writer;
use super::{Embedded, OpenError, keys, meta};
use crate::store::StoreError;
use fjall::{Database, OwnedWriteBatch as WriteBatch, PersistMode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// What an app's objects are together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredBytes {
    /// How many there are
    pub objects: u64,
    /// Bytes of their keys and texts
    pub bytes: u64,
}

/// By how much what an app stores becomes more; less than nothing: less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) objects: i64,
    pub(super) bytes: i64,
}

/// What is under way, by app.
pub(super) type Growths = HashMap<Arc<str>, Growth>;

impl Growth {
    /// Of an object with this key, from a text of so many bytes to another; none: no object.
    pub(super) fn of(key: &[u8], before: Option<usize>, after: Option<usize>) -> Growth {
        let bytes = |text: Option<usize>| text.map_or(0, |text| i64::try_from(key.len() + text).unwrap_or(i64::MAX));
        Growth { objects: i64::from(after.is_some()) - i64::from(before.is_some()), bytes: bytes(after) - bytes(before) }
    }

    pub(super) fn add(&mut self, more: Growth) {
        self.objects += more.objects;
        self.bytes += more.bytes;
    }
}

impl StoredBytes {
    fn grown(self, growth: Growth) -> StoredBytes {
        let add = |number: u64, more: i64| number.saturating_add_signed(more);
        StoredBytes { objects: add(self.objects, growth.objects), bytes: add(self.bytes, growth.bytes) }
    }
}

/// One app's numbers. Only the writer changes the first two.
#[derive(Debug, Default)]
struct OfApp {
    objects: AtomicU64,
    bytes: AtomicU64,
    /// 0: no bound
    most: AtomicU64,
}

/// All apps' numbers, as of the last published commit.
#[derive(Debug, Default)]
pub(super) struct Stored(RwLock<HashMap<Arc<str>, Arc<OfApp>>>);

impl Stored {
    /// Reads what was noted, or counts.
    pub(super) fn load(database: &Database, keyspaces: &Keyspaces) -> Result<Stored, OpenError> {
        let stored = Stored::default();
        if keyspaces.meta.contains_key(meta::STORED_COUNTED)? {
            for entry in keyspaces.meta.prefix(meta::STORED) {
                let (name, value) = entry.into_inner()?;
                let damaged = |reason: String| OpenError::Damaged(format!("what an app stores cannot be read: {reason}"));
                let app = std::str::from_utf8(name.get(meta::STORED.len()..).unwrap_or_default());
                let app = app.map_err(|error| damaged(error.to_string()))?;
                let noted: StoredBytes = serde_json::from_slice(&value).map_err(|error| damaged(error.to_string()))?;
                stored.of(app).set(noted);
            }
            return Ok(stored);
        }
        let mut batch = database.batch();
        for (app, counted) in count(keyspaces)? {
            batch.insert(&keyspaces.meta, name(&app), meta::text(&counted).map_err(OpenError::Engine)?);
            stored.of(&app).set(counted);
        }
        batch.insert(&keyspaces.meta, meta::STORED_COUNTED, "true");
        batch.durability(Some(PersistMode::SyncAll)).commit()?;
        Ok(stored)
    }

    fn known(&self, app: &str) -> Option<Arc<OfApp>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    fn of(&self, app: &str) -> Arc<OfApp> {
        self.known(app).unwrap_or_else(|| {
            let mut apps = self.0.write().unwrap_or_else(PoisonError::into_inner);
            apps.entry(app.into()).or_default().clone()
        })
    }
}

impl OfApp {
    fn get(&self) -> StoredBytes {
        StoredBytes { objects: self.objects.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn set(&self, stored: StoredBytes) {
        self.objects.store(stored.objects, Ordering::Relaxed);
        self.bytes.store(stored.bytes, Ordering::Relaxed);
    }
}

impl Embedded {
    /// What an app's objects are together, as of the last published commit. Cheap.
    pub fn stored(&self, app: &str) -> StoredBytes {
        self.stored.known(app).map(|app| app.get()).unwrap_or_default()
    }

    /// From now on an app's objects may have no more bytes than that; 0: no bound. What is there already stays.
    pub(crate) fn bound_stored(&self, app: &str, most: u64) {
        self.stored.of(app).most.store(most, Ordering::Relaxed);
    }
}

impl Writer {
    /// Whether there is room for what a write adds. `under_way`: what is decided and not yet published. Who takes something away may
    /// always.
    pub(super) fn has_room<'g>(&self, app: &str, growth: Growth, under_way: impl Iterator<Item = &'g Growths>) -> Result<(), StoreError> {
        let Some(of) = self.stored.known(app).filter(|of| growth.bytes > 0 && of.most.load(Ordering::Relaxed) > 0) else { return Ok(()) };
        let most = of.most.load(Ordering::Relaxed);
        let mut sum = growth;
        under_way.filter_map(|growths| growths.get(app)).for_each(|more| sum.add(*more));
        if of.get().grown(sum).bytes > most { Err(StoreError::Full { limit: most }) } else { Ok(()) }
    }

    /// Adds to a batch what it makes of the apps' numbers.
    pub(super) fn note_stored(&self, growths: &Growths, batch: &mut WriteBatch) -> Result<(), StoreError> {
        for (app, growth) in growths.iter().filter(|(_, growth)| **growth != Growth::default()) {
            let stored = self.stored.of(app).get().grown(*growth);
            if stored == StoredBytes::default() {
                batch.remove(&self.keyspaces.meta, name(app));
            } else {
                batch.insert(&self.keyspaces.meta, name(app), meta::text(&stored).map_err(StoreError::Broken)?);
            }
        }
        Ok(())
    }

    /// The batch is committed.
    pub(super) fn grow_stored(&self, growths: &Growths) {
        for (app, growth) in growths {
            let of = self.stored.of(app);
            of.set(of.get().grown(*growth));
        }
    }
}

fn name(app: &str) -> String {
    format!("{}{app}", meta::STORED)
}

/// Goes through all objects.
pub(super) fn count(keyspaces: &Keyspaces) -> Result<HashMap<String, StoredBytes>, OpenError> {
    let mut apps: HashMap<String, StoredBytes> = HashMap::new();
    for app in super::places::apps(keyspaces)? {
        let mut counted = StoredBytes::default();
        for entry in keyspaces.objects.prefix(keys::app(&app)) {
            let (key, text) = entry.into_inner()?;
            counted = counted.grown(Growth::of(&key, None, Some(text.len())));
        }
        apps.insert(app, counted);
    }
    Ok(apps)
}
