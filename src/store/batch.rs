//! Several writes as one: all or nothing, in one group, with the secrets and revocations that belong to them.

use super::{Committed, StoreError, Write};
use crate::changelog::Position;
use crate::rights::Revocation;

/// What happens together.
#[derive(Clone, Default)]
pub struct Batch {
    /// What happens to objects, at most one write for each
    pub writes: Vec<Write>,
    /// What happens to secrets
    pub secrets: Vec<SecretWrite>,
    /// Whose tokens die. Each is noted durably, told in the control stream, and known on this node before the answer.
    pub revocations: Vec<Revocation>,
}

/// Puts or removes a secret.
#[derive(Clone)]
pub struct SecretWrite {
    /// Its name
    pub name: String,
    /// What must stand there; `Some(None)`: nothing. None: whatever it is.
    pub expect: Option<Option<Vec<u8>>>,
    /// None: there is none from then on
    pub value: Option<Vec<u8>>,
}

/// What a batch came to.
#[derive(Debug, Clone)]
pub struct BatchCommitted {
    /// For each write in its place
    pub writes: Vec<Committed>,
    /// The position that contains all of it
    pub position: Position,
}

/// Why a batch did not happen; nothing changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The store
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of the writes
    #[error("the write at place {place} failed: {error}")]
    Write {
        /// Its place in the batch, from 0
        place: usize,
        /// Why
        error: StoreError,
    },
    /// A secret is not what was expected: somebody else was quicker
    #[error("somebody else has changed it in the meantime; read it again")]
    Conflict,
}

impl BatchError {
    /// Stable name for clients and logs.
    pub fn code(&self) -> &'static str {
        match self {
            BatchError::Store(error) | BatchError::Write { error, .. } => error.code(),
            BatchError::Conflict => "batch-conflict",
        }
    }
}

impl std::fmt::Debug for SecretWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretWrite").field("name", &self.name).finish_non_exhaustive()
    }
}
