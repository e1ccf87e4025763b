//! What goes with the object of a user: whether he may log in, and what proves that he is he.
//!
//! It follows every change of the object in the same batch, whoever makes it and by whichever route, so nobody's credentials
//! outlive him. The names of these secrets are those of [`crate::rights::secrets`]. That no other user of the app has his
//! name is the built-in unique index's doing (`indexes`): nothing beside the objects says who has which name.

use super::group::Prepared;
use super::revocations;
use super::snapshot::broken;
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
    /// Adds to a change of a user what it does to his secrets and tokens, or says why it may not be.
    pub(super) fn belongings_of_user(&self, prepared: &mut Prepared, actor: &Actor) -> Result<(), StoreError> {
        let Prepared { change, secrets, revocation, .. } = prepared;
        if &*change.bucket != USERS {
            return Ok(());
        }
        let (app, user) = (&change.app, &change.id);
        let name = name_of(change.after.as_deref());
        let renamed = name != name_of(change.before.as_deref());
        if renamed && name.is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(Refusal::Invalid(format!("a user's name has {LONGEST_NAME} bytes at most")).into());
        }
        // Otherwise whoever has a user's token has the links sent to himself by which the user's password is set.
        if renamed && change.after.is_some() && self.rights.names_are_confirmed() && !self.caller(app, actor).is_admin() {
            return Err(Refusal::NameUnconfirmed(user.to_string()).into());
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
            let ended = self.revocation(change, self.generation(app, user)?.saturating_add(1), true);
            secrets.push((revocations::name(&ended), Some(text(&ended)?)));
            *revocation = Some(ended);
        } else if change.before.is_none() && self.membership.is_gone(app, user) {
            // He comes back under his id, imported perhaps: with a generation above that of each of his former tokens.
            let generation = self.membership.generation(app, user);
            let former = self.revocation(change, generation, false);
            secrets.push((revocations::name(&former), Some(text(&former)?)));
            secrets.push((names::credentials(app, user), Some(names::blank(generation).map_err(unfit)?)));
        }
        Ok(())
    }

    fn revocation(&self, change: &Change, generation: u32, gone: bool) -> Revocation {
        let until = self.rights.forgotten_at(self.clock.now_ms() / 1000);
        Revocation { app: change.app.clone(), user: change.id.clone(), generation, gone, until }
    }

    /// No token of a user is of a higher generation. What is under way raised it with a revocation, if it did.
    fn generation(&self, app: &str, user: &str) -> Result<u32, StoreError> {
        let credentials = self.keyspaces.secrets.get(names::credentials(app, user)).map_err(|error| broken(&error))?;
        let stored = credentials.map(|credentials| names::generation_of(&credentials)).transpose().map_err(unfit)?;
        Ok(stored.unwrap_or(0).max(self.membership.generation(app, user)))
    }
}

fn text(revocation: &Revocation) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(revocation).map_err(unfit)
}

fn unfit(error: serde_json::Error) -> StoreError {
    StoreError::Broken(error.to_string())
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
