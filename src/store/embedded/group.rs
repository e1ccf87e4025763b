//! What the writer has decided and not yet committed.

use super::batch::BatchAnswer;
use super::indexes::upkeep::{Claims, Indexed};
use super::intake::IntakeAnswer;
use super::stored::{Growth, Growths};
use super::writer::Answer;
use crate::changelog::Position;
use crate::changelog::recent::Recorded;
use crate::changelog::record::{self, Record};
use crate::rights::Revocation;
use crate::store::{BatchCommitted, BatchError, Committed, IntakeError, StoreError};
use bytes::Bytes;
use dataflows::change::{BatchSpan, Change, Image};
use fjall::OwnedWriteBatch as WriteBatch;
use std::collections::HashMap;
use std::sync::Arc;

/// What is under way, as it leaves what it writes.
#[derive(Default)]
pub(super) struct Images {
    /// By their keys; none: gone
    pub(super) objects: HashMap<Vec<u8>, Option<Arc<Image>>>,
    pub(super) claims: Claims,
    /// By how much the apps' objects become more
    pub(super) growths: Growths,
}

impl Images {
    /// Adds what a write comes to; what stood there of the same object.
    pub(super) fn insert(&mut self, prepared: &Prepared) -> Option<Option<Arc<Image>>> {
        self.growths.entry(prepared.change.app.clone()).or_default().add(prepared.growth);
        self.claims.extend(prepared.indexed.claims.iter().cloned());
        self.objects.insert(prepared.key.clone(), prepared.change.after.clone())
    }
}

/// Secrets by their names, as what is under way leaves them; none: gone.
pub(super) type SecretValues = HashMap<String, Option<Vec<u8>>>;

/// A group while it gathers.
pub(super) struct Group {
    pub(super) batch: WriteBatch,
    /// Objects as this group leaves them
    pub(super) images: Images,
    /// Notes as this group leaves them
    pub(super) notes: HashMap<Bytes, Option<Bytes>>,
    pub(super) records: Vec<Recorded>,
    /// What became of rights
    pub(super) noted: Vec<Noted>,
    /// Secrets as this group leaves them
    pub(super) secrets: SecretValues,
    pub(super) answers: Vec<(Answer<Committed>, Result<Committed, StoreError>)>,
    pub(super) batches: Vec<(BatchAnswer, Result<BatchCommitted, BatchError>)>,
    pub(super) intakes: Vec<(IntakeAnswer, Result<Position, IntakeError>)>,
    /// How many writes it has judged
    pub(super) writes: usize,
    pub(super) bytes: u64,
}

/// What changes rights.
pub(super) enum Noted {
    Change(Arc<Change>),
    Revoked(Revocation),
}

impl Group {
    pub(super) fn put_secret(&mut self, secrets: &fjall::Keyspace, name: String, value: Option<Vec<u8>>) {
        match &value {
            Some(value) => self.batch.insert(secrets, name.as_str(), value.as_slice()),
            None => self.batch.remove(secrets, name.as_str()),
        }
        self.secrets.insert(name, value);
    }
}

/// A write that was decided.
pub(super) struct Prepared {
    pub(super) key: Vec<u8>,
    pub(super) change: Arc<Change>,
    pub(super) record: Vec<u8>,
    pub(super) growth: Growth,
    pub(super) indexed: Indexed,
    /// What becomes of secrets with it
    pub(super) secrets: Vec<(String, Option<Vec<u8>>)>,
    /// Whose tokens die with it
    pub(super) revocation: Option<Revocation>,
}

impl Prepared {
    /// Says that it is a part of a batch, of which one knows only in the end how long it is.
    pub(super) fn join(mut self, batch: BatchSpan) -> Result<Prepared, StoreError> {
        let previous = self.change.commit - 1;
        Arc::make_mut(&mut self.change).batch = Some(batch);
        self.record = record::encode(&Record::of(&self.change, previous)).map_err(|error| StoreError::Unfit(error.to_string()))?;
        Ok(self)
    }

    /// Bytes of its change record.
    pub(super) fn record(&self) -> &[u8] {
        &self.record
    }
}
