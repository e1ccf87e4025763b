//! What an app had is taken away, in pieces, each of which is as short as a write of anybody else.
//!
//! Objects first, through the store as every delete, so that what follows the change log sees them go; then indexes and classes,
//! then the secrets. Each piece looks at what is still there, so it goes on wherever it was stopped.

use super::App;
use crate::schema::Schema;
use crate::store::embedded::Embedded;
use crate::store::{Actor, Batch, Decision, IndexChange, Key, SecretWrite, Secrets, Store, StoreError, Write, is_secret_of};
use dataflows::change::Writer;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// Objects that go together.
const PIECE: usize = 128;
/// Secrets whose names are looked at together.
const NAMES: usize = 1024;
/// Between two tries where the store refuses.
const PAUSE: Duration = Duration::from_secs(1);

/// Resolves when nothing is left. `app`: the app as requests knew it, for as long as some may be under way.
pub(super) async fn remove(store: &Arc<Embedded>, in_store: &Arc<str>, app: Option<&App>) {
    if let Some(app) = app {
        app.idle().await;
    }
    while let Err(error) = try_remove(store, in_store).await {
        if matches!(error, StoreError::Closed) {
            return std::future::pending().await;
        }
        tracing::warn!(%error, app = %in_store, "an app cannot be removed just now; trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn try_remove(store: &Arc<Embedded>, in_store: &Arc<str>) -> Result<(), StoreError> {
    // A write whose request was given up may still wait in the store's queue; this one comes behind it.
    store.commit(deletion(Key { app: in_store.clone(), bucket: "Object".into(), id: "/db/Object/none".into() })).await?;
    let mut after = None;
    loop {
        let (reading, app, from) = (store.clone(), in_store.clone(), after.take());
        let keys = blocking(move || reading.keys_of(&app, from.as_ref(), PIECE)).await?;
        let Some(last) = keys.last().cloned() else { break };
        for committed in join_all(keys.into_iter().map(|key| store.commit(deletion(key)))).await {
            committed?;
        }
        after = Some(last);
    }
    for bucket in store.indexed_buckets(in_store) {
        store.change_indexes(in_store.clone(), bucket, IndexChange::DropAll).await?;
    }
    if store.schema(in_store).version > 0 {
        // Former versions stay as long as the store: records in the change log are read by them.
        store.commit_schema(in_store.clone(), Arc::new(|_| Ok(Schema::built_in()))).await?;
    }
    secrets(store, in_store).await
}

/// Credentials, keys, revocations: all that bears the app's name.
async fn secrets(store: &Arc<Embedded>, in_store: &Arc<str>) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let (reading, from) = (store.clone(), after.take());
        let names = blocking(move || reading.secret_names(from.as_deref(), NAMES)).await?;
        let Some(last) = names.last().cloned() else { return Ok(()) };
        let own = names.into_iter().filter(|name| is_secret_of(name, in_store));
        let secrets: Vec<_> = own.map(|name| SecretWrite { name, expect: None, value: None }).collect();
        if !secrets.is_empty() {
            let batch = Batch { secrets, ..Batch::default() };
            store.commit_batch(batch).await.map_err(|error| StoreError::Broken(error.to_string()))?;
        }
        after = Some(last);
    }
}

fn deletion(key: Key) -> Write {
    Write { key, decide: Arc::new(|_, _| Ok(Decision::Delete)), actor: Actor::server(), writer: Writer::default() }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Broken(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_bear_the_name_of_one_app() {
        for name in ["signing-key/acme", "credentials/acme/db/User/1", "revocation/acme/db/User/1"] {
            assert!(is_secret_of(name, "acme"), "{name}");
        }
        for name in ["signing-key/acme.2", "signing-key/acme-2", "credentials/app/db/User/acme", "acme", "credentials/ac/acme"] {
            assert!(!is_secret_of(name, "acme"), "{name}");
        }
    }
}
