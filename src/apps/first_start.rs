//! What must be there before the first request: the built-in classes, the predefined roles, the administrator.
//!
//! Looked after at every start: a newer version may bring classes that an older one did not know.

use super::AppError;
use crate::auth::Authority;
use crate::auth::credentials::Credentials;
use crate::auth::password::{self, Passwords};
use crate::json::push_string;
use crate::object::text;
use crate::rights::ROOT;
use crate::schema::{Schema, built_in};
use crate::store::{Actor, Batch, Decision, Key, Secrets, Store, StoreError, Write};
use dataflows::access::{ADMIN_ROLE, Acl};
use dataflows::change::Writer;
use std::sync::Arc;

/// The name of the administrator that every app has (docs/operating.md).
const ROOT_NAME: &str = "root";

/// Makes what is missing. The password of `root`, if it was generated just now.
pub(super) async fn prepare(
    app: &str,
    store: &dyn Store,
    secrets: &dyn Secrets,
    authority: &Authority,
    passwords: &Passwords,
    given: Option<String>,
) -> Result<Option<String>, AppError> {
    classes(app, store).await?;
    for (id, name) in built_in::ROLES {
        let users = if id == ADMIN_ROLE { format!("[\"{ROOT}\"]") } else { "[]".to_owned() };
        let mut fields = String::from(",\"name\":");
        push_string(&mut fields, name);
        object(app, store, "Role", id, built_in::admin_written(), format!("{fields},\"users\":{users}")).await?;
    }
    let mut fields = String::from(",\"username\":");
    push_string(&mut fields, ROOT_NAME);
    object(app, store, "User", ROOT, built_in::own(ROOT), format!("{fields},\"inactive\":null")).await?;

    let known = Credentials::read(secrets, app, ROOT)?;
    let (password, generated) = match (given, &known) {
        (Some(given), Some(known)) if passwords.verify(given.clone(), known.hash.clone()).await?.right => return Ok(None),
        (Some(given), _) => (given, None),
        (None, Some(Credentials { hash: Some(_), .. })) => return Ok(None),
        // None, or blank ones, where he was deleted.
        (None, _) => {
            let password = password::generate();
            (password.clone(), Some(password))
        }
    };
    // A new password ends the tokens that the old one brought.
    let generation = known.as_ref().map_or(0, |known| known.generation + 1);
    let second_factor = known.and_then(|known| known.second_factor);
    let credentials = Credentials { hash: Some(passwords.hash(password).await?), generation, second_factor };
    let batch = Batch {
        secrets: vec![credentials.write(app, ROOT, None)?],
        revocations: (generation > 0).then(|| authority.revocation(app, ROOT, generation)).into_iter().collect(),
        ..Batch::default()
    };
    store.commit_batch(batch).await.map_err(|error| StoreError::Broken(error.to_string()))?;
    Ok(generated)
}

async fn classes(app: &str, store: &dyn Store) -> Result<(), StoreError> {
    let complete = |schema: &Schema| {
        let mut complete = Schema::built_in();
        complete.version = schema.version;
        // What is declared wins, in the place that it has among the built-in ones, or behind them.
        complete.classes.extend(schema.classes.iter().map(|(bucket, class)| (bucket.clone(), class.clone())));
        complete
    };
    let known = store.schema(app);
    // Also where nothing is missing: an app whose classes were never noted is none that the store knows of.
    if known.version == 0 || complete(&known).classes.len() != known.classes.len() {
        store.commit_schema(app.into(), Arc::new(move |schema| Ok(complete(schema)))).await?;
    }
    Ok(())
}

async fn object(app: &str, store: &dyn Store, bucket: &str, id: &str, acl: Acl, fields: String) -> Result<(), StoreError> {
    let key = Key { app: app.into(), bucket: bucket.into(), id: id.into() };
    if store.snapshot().await?.get(&key).await?.is_some() {
        return Ok(());
    }
    let id: Arc<str> = id.into();
    let decide = Arc::new(move |before: Option<&dataflows::change::Image>, stamp: &crate::store::Stamp<'_>| {
        Ok(match before {
            Some(_) => Decision::Nothing,
            None => Decision::Put(text::canonical(&id, stamp.version, Some(&acl), stamp.now, stamp.now, &fields).into()),
        })
    });
    store.commit(Write { key, decide, actor: Actor::server(), writer: Writer::default() }).await.map(drop)
}
