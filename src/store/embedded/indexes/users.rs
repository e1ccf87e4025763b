//! The built-in index on the names of users, for data directories in which it is not: older ones, and restored backups.

use super::catalogue::Catalogue;
use super::entries;
use crate::store::embedded::schemas::{self, Schemas};
use crate::store::embedded::snapshot::parse;
use crate::store::embedded::{Keyspaces, OpenError, keys, meta};
use fjall::{Database, PersistMode};
use std::sync::Arc;

/// Objects whose entries are written in one batch.
const BATCH: usize = 4096;

/// Adds the users of all apps to the index. What two of them have in common stays as it is: the next write of one of them is
/// refused until its name is its own.
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
    batch.insert(&keyspaces.meta, meta::USERS_INDEXED, "true");
    Ok(batch.durability(Some(PersistMode::SyncAll)).commit()?)
}
