//! Revocations: kept beside the secrets, told in the control stream, and loaded into memory at the start.

use super::group::{Group, Noted};
use super::schemas;
use super::snapshot::broken;
use super::writer::Writer;
use super::{Keyspaces, OpenError};
use crate::changelog::recent::Recorded;
use crate::changelog::record::{self, Payload, Record};
use crate::rights::{Membership, ROLES, Revocation};
use crate::store::StoreError;
use crate::store::embedded::{keys, snapshot};
use dataflows::change::BatchSpan;
use std::sync::Arc;

const PREFIX: &str = "revocation/";

/// The name under which a user's newest revocation stands.
pub(super) fn name(revocation: &Revocation) -> String {
    name_of(&revocation.app, &revocation.user)
}

pub(super) fn name_of(app: &str, user: &str) -> String {
    format!("{PREFIX}{app}{user}")
}

impl Writer {
    /// The records of revocations that follow the commit `last`.
    pub(super) fn records_of(
        &self,
        revocations: &[Revocation],
        last: u64,
        batch: Option<BatchSpan>,
    ) -> Result<Vec<(Arc<Record>, Vec<u8>)>, StoreError> {
        let at = self.clock.now_ms().max(self.state.at);
        let record = |(place, revocation): (usize, &Revocation)| {
            let previous = last + place as u64;
            let record = Record {
                app: revocation.app.clone(),
                bucket: "".into(),
                schema_version: schemas::of(&self.schemas, &revocation.app).schema.version,
                commit: previous + 1,
                previous,
                control: self.state.control,
                at,
                batch,
                payload: Payload::Rights { subject: (*revocation.user).into(), generation: Some(revocation.generation) },
            };
            let text = record::encode(&record).map_err(|error| StoreError::Unfit(error.to_string()))?;
            self.fits_log(&text)?;
            Ok((Arc::new(record), text))
        };
        if !revocations.is_empty() {
            self.open()?;
        }
        revocations.iter().enumerate().map(record).collect()
    }

    /// Adds a revocation to the group.
    pub(super) fn revoke(&mut self, revocation: &Revocation, (record, text): (Arc<Record>, Vec<u8>), group: &mut Group) {
        self.append(&mut group.batch, record.at, text);
        self.state.control = self.state.commit;
        self.membership.revoke(revocation);
        group.noted.push(Noted::Revoked(revocation.clone()));
        group.records.push(Recorded::Control(record));
    }
}

/// Who belongs to which role, and whose tokens are dead, as the store was left. `now` in seconds since 1970.
pub(super) fn load<'a>(
    keyspaces: &Keyspaces,
    apps: impl Iterator<Item = &'a Arc<str>>,
    schemas: &schemas::Schemas,
    now: i64,
) -> Result<Membership, OpenError> {
    let damaged = |error: StoreError| OpenError::Damaged(error.to_string());
    let mut membership = Membership::default();
    for app in apps {
        let prefix = keys::bucket(app, ROLES);
        let dates = schemas::of(schemas, app).dates(ROLES);
        for entry in keyspaces.objects.prefix(&prefix) {
            let (key, text) = entry.into_inner()?;
            let id = key.strip_prefix(&prefix[..]).and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default();
            membership.load(app, &id.into(), &*snapshot::parse(&text, dates).map_err(damaged)?);
        }
    }
    for (app, user) in super::users::inactive(keyspaces)? {
        membership.load_inactive(&app, &user);
    }
    for entry in keyspaces.secrets.prefix(PREFIX) {
        let (key, text) = entry.into_inner()?;
        let revocation: Revocation = serde_json::from_slice(&text).map_err(|error| OpenError::Damaged(error.to_string()))?;
        if revocation.until < now {
            keyspaces.secrets.remove(key).map_err(|error| damaged(broken(&error)))?;
        } else {
            membership.revoke(&revocation);
        }
    }
    Ok(membership)
}
