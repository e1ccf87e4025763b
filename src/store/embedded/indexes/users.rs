//! The built-in index on the names of users, for data directories in which it is not: older ones, and restored backups.
//!
//! In data of format 1 (and backups up to format 3) secrets said who has which name as well. The index is made of the objects, in
//! the batch of each write, and can be made of them again; so it is what is kept, and those secrets go.

use super::catalogue::Catalogue;
use super::entries;
use crate::store::embedded::schemas::{self, Schemas};
use crate::store::embedded::snapshot::parse;
use crate::store::embedded::{Keyspaces, OpenError, keys, meta};
use fjall::{Database, PersistMode};
use std::sync::Arc;

/// Entries that are written in one batch.
const BATCH: usize = 4096;

/// What the names of the secrets begin with that once held the ids of users by their names.
const FORMER: &str = "username/";

/// Adds the users of all apps to the index and removes what went before it. What two of them have in common stays as it is: the
/// next write of one of them is refused until its name is its own, and nobody logs in by it. Safe to repeat.
pub(in crate::store::embedded) fn build(
    database: &Database,
    keyspaces: &Keyspaces,
    schemas: &Schemas,
    apps: &[Arc<str>],
) -> Result<(), OpenError> {
    if keyspaces.meta.contains_key(meta::USERS_INDEXED)? {
        return Ok(());
    }
    let mut batch = database.batch();
    for app in apps {
        for index in Catalogue::default().of(app, "User") {
            let prefix = keys::bucket(app, "User");
            for entry in keyspaces.objects.prefix(&prefix) {
                let (key, text) = entry.into_inner()?;
                let image = parse(&text, schemas::of(schemas, app).dates("User")).map_err(|error| OpenError::Damaged(error.to_string()))?;
                let id = key.get(prefix.len()..).and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default();
                // Whoever has more names than an object may have entries has none that he could log in with.
                for entry in entries::of(&index, &image).unwrap_or_default().components {
                    batch.insert(&keyspaces.indexes, entry.key(&index, id), entry.value());
                }
                if batch.len() >= BATCH {
                    std::mem::replace(&mut batch, database.batch()).commit()?;
                }
            }
        }
    }
    for entry in keyspaces.secrets.prefix(FORMER) {
        batch.remove(&keyspaces.secrets, entry.key()?);
        if batch.len() >= BATCH {
            std::mem::replace(&mut batch, database.batch()).commit()?;
        }
    }
    batch.insert(&keyspaces.meta, meta::USERS_INDEXED, "true");
    Ok(batch.durability(Some(PersistMode::SyncAll)).commit()?)
}
