//! What goes with the object of a user: whether he may log in, and what proves that he is he.
//!
//! It follows every change of the object in the same batch, whoever makes it and by whichever route, so nobody's credentials
//! outlive him. The names of these secrets are those of [`crate::rights::secrets`]. That no other user of the app has his
//! name is the built-in unique index's doing (`indexes`): nothing beside the objects says who has which name.

use super::revocations;
use super::writer::Writer;
use super::{Keyspaces, OpenError};
use crate::rights::secrets::{self as names, LONGEST_NAME};
use crate::rights::{ROOT, Revocation, USERS, is_inactive};
use crate::store::{Actor, Refusal, StoreError};
use dataflows::change::{Change, Image};
use dataflows::document::Value;
use std::sync::Arc;

const INACTIVE: &str = "inactive/";

impl Writer {
    /// What a change of a user does to secrets, or why it may not be.
    pub(super) fn secrets_of_user(&self, change: &Change, actor: &Actor) -> Result<Vec<(String, Option<Vec<u8>>)>, StoreError> {
        if &*change.bucket != USERS {
            return Ok(Vec::new());
        }
        let (app, user) = (&change.app, &change.id);
        let mut secrets = Vec::new();
        let name = name_of(change.after.as_deref());
        if name.is_some_and(|name| name.len() > LONGEST_NAME) && name != name_of(change.before.as_deref()) {
            return Err(Refusal::Invalid(format!("a user's name has {LONGEST_NAME} bytes at most")).into());
        }
        match (is_inactive(change.before.as_deref()), is_inactive(change.after.as_deref())) {
            (false, true) => secrets.push((inactive_secret(app, user), Some(Vec::new()))),
            (true, false) => secrets.push((inactive_secret(app, user), None)),
            _ => {}
        }
        if change.after.is_none() {
            if &**user == ROOT && !matches!(actor, Actor::Fixed(_)) {
                // There would be nobody left who could make another administrator. The server itself may, with the whole app.
                return Err(Refusal::Denied(user.to_string()).into());
            }
            secrets.push((names::credentials(app, user), None));
            let until = self.rights.forgotten_at(self.clock.now_ms() / 1000);
            let revocation = Revocation { app: app.clone(), user: user.clone(), generation: u32::MAX, until };
            let text = serde_json::to_vec(&revocation).map_err(|error| StoreError::Broken(error.to_string()))?;
            secrets.push((revocations::name(&revocation), Some(text)));
        } else if change.before.is_none() {
            // The administrator of an app that begins anew; no other id is given twice.
            secrets.push((revocations::name_of(app, user), None));
        }
        Ok(secrets)
    }
}

/// A user's name. None where he has none to log in by.
fn name_of(user: Option<&Image>) -> Option<&str> {
    match user?.document.root().get("username") {
        Some(Value::String(name)) if !name.is_empty() => Some(name),
        _ => None,
    }
}

fn inactive_secret(app: &str, user: &str) -> String {
    format!("{INACTIVE}{app}{user}")
}

/// App and id of everybody who may not log in, as the store was left.
pub(super) fn inactive(keyspaces: &Keyspaces) -> Result<Vec<(Arc<str>, String)>, OpenError> {
    let mut users = Vec::new();
    for entry in keyspaces.secrets.prefix(INACTIVE) {
        let (key, _) = entry.into_inner()?;
        let name = std::str::from_utf8(&key).ok().and_then(|key| key.strip_prefix(INACTIVE));
        let parts = name.and_then(|name| Some(name.split_at(name.find('/')?)));
        let (app, user) = parts.ok_or_else(|| OpenError::Damaged("the name of a secret cannot be read".into()))?;
        users.push((app.into(), user.to_owned()));
    }
    Ok(users)
}
