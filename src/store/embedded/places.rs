//! What there is of an app: its objects in all buckets, and the names of secrets. For rare work that goes through all of it.

use super::snapshot::broken;
use super::{Embedded, Keyspaces, keys};
use crate::store::{Key, StoreError};
use fjall::Readable;
use std::ops::Bound;

impl Embedded {
    /// At most so many keys of an app's objects, of all its buckets, behind `after`, in their order on the disk. Blocks.
    pub fn keys_of(&self, app: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, StoreError> {
        let snapshot = self.snapshot_now();
        let prefix = keys::app(app);
        let from = after.map_or_else(|| Bound::Included(prefix.clone()), |key| Bound::Excluded(keys::object(key)));
        let mut found = Vec::new();
        for entry in snapshot.state.range::<Vec<u8>, _>(&self.keyspaces.objects, (from, Bound::Unbounded)) {
            let key = entry.key().map_err(|error| broken(&error))?;
            if found.len() >= limit || !key.starts_with(&prefix) {
                break;
            }
            found.push(keys::read_object(&key).ok_or_else(|| StoreError::Broken("the key of an object cannot be read".into()))?);
        }
        Ok(found)
    }

    /// At most so many names of secrets behind `after`, in their order. Blocks.
    pub(super) fn names_of_secrets(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
        let mut names = Vec::new();
        for entry in self.keyspaces.secrets.range::<&[u8], _>((from, Bound::Unbounded)).take(limit) {
            let name = entry.key().map_err(|error| broken(&error))?;
            names.push(String::from_utf8(name.to_vec()).map_err(|_| StoreError::Broken("the name of a secret is no text".into()))?);
        }
        Ok(names)
    }
}

/// Every app that has an object. One look for each app, however many objects there are.
pub(super) fn apps(keyspaces: &Keyspaces) -> Result<Vec<String>, fjall::Error> {
    let mut apps = Vec::new();
    let mut from = Vec::new();
    while let Some(entry) = keyspaces.objects.range(std::mem::take(&mut from)..).next() {
        let Some(key) = keys::read_object(&entry.key()?) else { break };
        from = keys::behind_app(&key.app);
        apps.push(key.app.to_string());
    }
    Ok(apps)
}
