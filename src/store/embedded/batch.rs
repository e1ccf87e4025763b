//! Batches: several writes, secrets and revocations, all or nothing, in the same groups as every other write.
//!
//! Everything that may fail is prepared first on a picture of its own over the group's, so that a refusal leaves the group
//! as it was.

use super::group::{Group, Images, Prepared, SecretValues};
use super::revocations;
use super::snapshot::broken;
use super::writer::{Place, Writer};
use crate::store::{Batch, BatchCommitted, BatchError, Committed, StoreError};
use dataflows::change::BatchSpan;
use tokio::sync::oneshot;

/// Bytes of change records of one batch at most: it is one group, read at once by whoever follows the log.
const BATCH_BYTES: usize = 64 << 20;

/// Where the answer to a batch goes.
pub(super) type BatchAnswer = oneshot::Sender<Result<BatchCommitted, BatchError>>;

impl Writer {
    /// Adds a batch to the group, or changes nothing.
    pub(super) fn together(&mut self, batch: &Batch, group: &mut Group) -> Result<BatchCommitted, BatchError> {
        group.writes += batch.writes.len().max(1);
        if let Some(failed) = &self.failed {
            return Err(failed.clone().into());
        }
        for secret in &batch.secrets {
            if let Some(expected) = &secret.expect
                && self.secret_of(&secret.name, &group.secrets)? != *expected
            {
                return Err(BatchError::Conflict);
            }
        }
        // One time for all of it: that of the object which needs the latest.
        let at = batch.writes.iter().map(|write| self.now(&super::keys::object(&write.key))).max();
        let mut own = Images::default();
        let mut prepared = Vec::with_capacity(batch.writes.len());
        let (mut commits, mut bytes) = (self.state.commit, 0);
        for (place, write) in batch.writes.iter().enumerate() {
            let failed = |error| BatchError::Write { place, error };
            let place = Place { last: commits, at };
            let done = self.prepare_alone(write, place, &[&own, &group.images]).map_err(failed)?;
            if let Some(done) = &done {
                if own.insert(done).is_some() {
                    return Err(failed(StoreError::Unfit(format!("a batch writes each object once; {} stands there twice", write.key.id))));
                }
                commits += 1;
                bytes += done.record().len();
                if bytes > BATCH_BYTES {
                    let reason = format!("the change records of the batch have more than {BATCH_BYTES} bytes; make several batches of it");
                    return Err(failed(StoreError::Unfit(reason)));
                }
            }
            prepared.push(done);
        }
        let last = commits + batch.revocations.len() as u64;
        // One record is one anyway.
        let span = (last > self.state.commit + 1).then_some(BatchSpan { first: self.state.commit + 1, last });
        if let Some(span) = span {
            for (place, done) in prepared.iter_mut().enumerate() {
                *done = done.take().map(|done| self.join(done, span)).transpose().map_err(|error| BatchError::Write { place, error })?;
            }
        }
        let records = self.records_of(&batch.revocations, commits, span)?;
        let mut writes = Vec::with_capacity(prepared.len());
        for done in prepared {
            let change = done.as_ref().map(|done| done.change.clone());
            if let Some(done) = done {
                self.add(done, group)?;
            }
            writes.push(Committed { change, position: self.position() });
        }
        for (revocation, record) in batch.revocations.iter().zip(records) {
            let text = serde_json::to_vec(revocation).map_err(|error| StoreError::Broken(error.to_string()))?;
            group.put_secret(&self.keyspaces.secrets, revocations::name(revocation), Some(text));
            self.revoke(revocation, record, group);
        }
        for secret in &batch.secrets {
            group.put_secret(&self.keyspaces.secrets, secret.name.clone(), secret.value.clone());
        }
        let position = self.position();
        for committed in &mut writes {
            committed.position = position.clone();
        }
        Ok(BatchCommitted { writes, position })
    }

    fn join(&self, done: Prepared, span: BatchSpan) -> Result<Prepared, StoreError> {
        let done = done.join(span)?;
        self.fits_log(done.record())?;
        Ok(done)
    }

    /// What stands under the name of a secret. `under_way`: what is not in the store yet.
    fn secret_of(&self, name: &str, under_way: &SecretValues) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = under_way.get(name) {
            return Ok(value.clone());
        }
        Ok(self.keyspaces.secrets.get(name).map_err(|error| broken(&error))?.map(|value| value.to_vec()))
    }
}
