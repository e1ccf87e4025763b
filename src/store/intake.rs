//! What comes in from other producers: many writes and how far they are, in one transaction.

use super::{StoreError, Write};
use crate::changelog::Position;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Something that ingest remembers beside the objects: how far it is, in which snapshot. In no image and no change record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its name; ingest decides how names are made
    pub key: Bytes,
    /// None: there is none
    pub value: Option<Bytes>,
}

/// Writes that happen together with the notes about them: all or nothing, in this order, without another write between.
#[derive(Clone)]
pub struct Intake {
    /// What must still stand there, or somebody else went on from the same place
    pub expect: Note,
    /// What happens to objects; several may be of one object
    pub writes: Vec<Write>,
    /// What is remembered from then on
    pub notes: Vec<Note>,
}

/// How much of a bucket at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Objects at most, at least one
    pub objects: usize,
    /// Bytes of their texts; the object that exceeds them is the last
    pub bytes: usize,
}

/// Why an intake did not happen; nothing changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The store
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was expected does not stand there: another process, or a restored backup, is elsewhere
    #[error("another process has taken in these records; this one stops")]
    Overtaken,
    /// Its writes and the images that they touch are more than the writer prepares at once
    #[error("it is too large for one transaction: the first {fits} of its writes fit")]
    Large {
        /// So many of the first writes fit, at least one and never all; the notes are of no account
        fits: usize,
    },
    /// Some writes were refused, each by its place in `writes`; take in the others without them
    #[error("{} of the writes were refused", .0.len())]
    Refused(Vec<(usize, StoreError)>),
}

impl IntakeError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            IntakeError::Store(error) => error.code(),
            IntakeError::Overtaken => "intake-overtaken",
            IntakeError::Large { .. } => "intake-large",
            IntakeError::Refused(_) => "intake-refused",
        }
    }
}

/// A store that takes in from other producers.
pub trait Intakes: Send + Sync + 'static {
    /// Commits an intake; resolves when it is durable at the configured level. The position contains all of it.
    fn commit_intake(&self, intake: Intake) -> BoxFuture<'static, Result<Position, IntakeError>>;

    /// At most so many notes whose names begin so and come behind `after`, in the order of their names. Blocks; for the start
    /// and for rare moments.
    fn notes(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// Objects of a bucket whose ids come behind `after`, each with its JSON text, in their order, whoever may read them; none
    /// only where there are none. Blocks; for what concerns a whole bucket, piece by piece.
    fn objects(&self, app: &str, bucket: &str, after: Option<&str>, piece: Piece) -> Result<Vec<(Arc<str>, Bytes)>, StoreError>;
}
