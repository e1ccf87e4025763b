//! Intakes: many writes and the notes about them, all or nothing, in the same groups as every other write.
//!
//! Everything that may fail is prepared on a picture of its own over the group's; only when nothing was refused is it added
//! to the group. So a refusal, or a panic in a decision, leaves the group as it was.

use super::group::{Group, Images};
use super::snapshot::broken;
use super::writer::{Command, Place, Writer};
use super::{Embedded, keys};
use crate::changelog::Position;
use crate::store::{Intake, IntakeError, Intakes, Key, Note, Piece, StoreError};
use bytes::Bytes;
use fjall::Readable;
use futures_util::future::BoxFuture;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bytes of change records, each with the images before and after, that one intake prepares. A source can send little that
/// touches much: an update of a few bytes to an object of a megabyte.
pub(super) const INTAKE_BYTES: usize = 16 << 20;

/// Where the answer to an intake goes.
pub(super) type IntakeAnswer = oneshot::Sender<Result<Position, IntakeError>>;

impl Writer {
    /// Adds an intake to the group, or changes nothing.
    pub(super) fn take_in(&mut self, intake: &Intake, group: &mut Group) -> Result<Position, IntakeError> {
        group.writes += intake.writes.len().max(1);
        if let Some(failed) = &self.failed {
            return Err(failed.clone().into());
        }
        if self.noted(&intake.expect, group)? != intake.expect.value {
            return Err(IntakeError::Overtaken);
        }
        // One time for all of it: a source may write one object thousands of times in one intake, and a millisecond for each
        // would carry the clock away. So would one for each intake, of which there may be thousands a second.
        let at = self.now_unless(|moment| intake.writes.iter().any(|write| moment.contains(&keys::object(&write.key))));
        let mut own = Images::default();
        let (mut prepared, mut refused) = (Vec::with_capacity(intake.writes.len()), Vec::new());
        let mut bytes = 0;
        for (place, write) in intake.writes.iter().enumerate() {
            let last = self.state.commit + prepared.len() as u64;
            let place_in_log = Place { last, at: Some(at) };
            match self.prepare_alone(write, place_in_log, &[&own, &group.images]) {
                Ok(Some(done)) => {
                    bytes += done.record().len();
                    if bytes > INTAKE_BYTES && place > 0 {
                        // What was refused comes out first, or it would not be known by its place.
                        return Err(if refused.is_empty() { IntakeError::Large { fits: place } } else { IntakeError::Refused(refused) });
                    }
                    own.insert(&done);
                    prepared.push(done);
                }
                Ok(None) => {}
                Err(error @ (StoreError::Refused(_) | StoreError::Unfit(_) | StoreError::Panicked(_))) => refused.push((place, error)),
                Err(error) => return Err(error.into()),
            }
        }
        if !refused.is_empty() {
            return Err(IntakeError::Refused(refused));
        }
        for done in prepared {
            self.add(done, group)?;
        }
        for Note { key, value } in &intake.notes {
            match value {
                Some(value) => group.batch.insert(&self.keyspaces.notes, &key[..], &value[..]),
                None => group.batch.remove(&self.keyspaces.notes, &key[..]),
            }
            group.notes.insert(key.clone(), value.clone());
        }
        Ok(self.position())
    }

    /// What stands under the name of a note, the group included.
    fn noted(&self, note: &Note, group: &Group) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = group.notes.get(&note.key) {
            return Ok(value.clone());
        }
        let found = self.keyspaces.notes.get(&note.key).map_err(|error| broken(&error))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }
}

impl Intakes for Embedded {
    fn commit_intake(&self, intake: Intake) -> BoxFuture<'static, Result<Position, IntakeError>> {
        self.send(|answer| Command::Intake { intake: Box::new(intake), answer })
    }

    fn notes(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let snapshot = self.snapshot_now();
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut notes = Vec::new();
        for entry in snapshot.state.range::<&[u8], _>(&self.keyspaces.notes, (from, Bound::Unbounded)) {
            let (key, value) = entry.into_inner().map_err(|error| broken(&error))?;
            if notes.len() >= limit || !key.starts_with(prefix) {
                break;
            }
            notes.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
        }
        Ok(notes)
    }

    fn objects(&self, app: &str, bucket: &str, after: Option<&str>, piece: Piece) -> Result<Vec<(Arc<str>, Bytes)>, StoreError> {
        let snapshot = self.snapshot_now();
        let prefix = keys::bucket(app, bucket);
        let from = match after {
            Some(id) => Bound::Excluded(keys::object(&Key { app: app.into(), bucket: bucket.into(), id: id.into() })),
            None => Bound::Included(prefix.clone()),
        };
        let (mut objects, mut bytes) = (Vec::new(), 0);
        for entry in snapshot.state.range::<Vec<u8>, _>(&self.keyspaces.objects, (from, Bound::Unbounded)) {
            let (key, text) = entry.into_inner().map_err(|error| broken(&error))?;
            let Some(id) = key.strip_prefix(&prefix[..]).filter(|_| objects.len() < piece.objects && bytes <= piece.bytes) else { break };
            bytes += text.len();
            let id = std::str::from_utf8(id).map_err(|_| StoreError::Broken("the key of an object is no text".into()))?;
            objects.push((id.into(), Bytes::copy_from_slice(&text)));
        }
        Ok(objects)
    }
}
