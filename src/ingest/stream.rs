//! One mapping at work: what its threads share, and what each of them does with a record.

use super::apply::Target;
use super::dead_letter::{Fault, Letter, Mailbox, Raw};
use super::mapping::Mapping;
use super::meaning::{Meaning, Moments, Snapshot};
use super::snapshot::Snapshots;
use super::status::Board;
use super::wait::Stop;
use crate::clock::Clock;
use crate::kafka::KafkaError;
use crate::kafka::right::Deed;
use crate::store::{Intakes, Key, Piece, Store, StoreError};
use futures_util::future::BoxFuture;
use rdkafka::error::RDKafkaErrorCode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// How long to wait before the store, or who keeps dead letters, is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// What concerns a whole bucket is done with so much of it at a time.
pub(crate) const PIECE: Piece = Piece { objects: 1_000, bytes: 4 << 20 };

/// Why a record is not read, and what is known of it all the same.
pub(crate) struct Unread {
    pub(crate) fault: Fault,
    /// The id of its object as the source says it
    pub(crate) id: Option<String>,
    /// Where a snapshot stands at it; none: nobody knows
    pub(crate) snapshot: Option<Snapshot>,
}

/// Why a lane goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to, or the store closes
    Stopped,
    /// Somebody else goes on from its place
    Overtaken,
}

/// Everything about one mapping that its threads share.
pub(crate) struct Stream {
    pub(crate) topic: String,
    pub(crate) mapping: Mapping,
    pub(crate) target: Arc<Target>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) intakes: Arc<dyn Intakes>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) mailbox: Mailbox,
    pub(crate) board: Arc<Board>,
    /// Fields that are declared as moments
    pub(crate) declared: RwLock<Moments>,
    pub(crate) snapshots: Snapshots,
    /// Whether a snapshot that is complete removes what it does not contain
    pub(crate) snapshot_removes: bool,
    /// Whether objects' access lists are being rewritten, which is no sign of life of the objects
    pub(crate) lists_move: AtomicBool,
    /// Held by whoever replays dead letters
    pub(crate) replaying: Mutex<()>,
    pub(crate) stop: Stop,
}

impl Stream {
    /// What a record means; a panic over one is that one's fault alone.
    pub(crate) fn read(&self, raw: &Raw<'_>) -> Result<Meaning, Unread> {
        let read = catch_unwind(AssertUnwindSafe(|| self.mapping.read(raw.key, raw.value)));
        match read {
            Ok(read) => read.map_err(|unreadable| Unread {
                fault: Fault { code: unreadable.code(), reason: unreadable.to_string() },
                id: unreadable.id,
                snapshot: unreadable.snapshot,
            }),
            Err(_) => {
                let reason = "reading it failed inside the server; please report it".into();
                Err(Unread { fault: Fault { code: "record-panicked", reason }, id: None, snapshot: None })
            }
        }
    }

    /// Where the object lives that the source calls so.
    pub(crate) fn key(&self, source_id: &str) -> Result<Key, Fault> {
        self.target.key(source_id).map_err(|error| Fault { code: "record-id", reason: error.to_string() })
    }

    /// Declares fields that hold moments, before the records that have them.
    pub(crate) fn declare(&self, moments: &mut Moments) -> Result<(), Ended> {
        while !moments.is_empty() {
            let declared = {
                let mut declaring: BoxFuture<'_, _> = Box::pin(super::classes::ensure(&*self.store, &self.target, None, moments));
                self.stop.wait(&mut declaring).ok_or(Ended::Stopped)?
            };
            match declared {
                Ok(()) => self.declared.write().unwrap_or_else(PoisonError::into_inner).append(moments),
                Err(error) => {
                    self.trouble(format!("the moments of the bucket cannot be declared: {error}; it is tried again"));
                    self.stop.pause(RETRY);
                }
            }
        }
        Ok(())
    }

    /// The access lists are as the mapping says.
    pub(crate) fn lists_settled(&self) {
        self.lists_move.store(false, Ordering::Release);
    }

    /// Keeps dead letters; as long as that fails their records are not passed.
    pub(crate) fn keep(&self, letters: &mut Vec<Letter>) -> Result<(), Ended> {
        while !letters.is_empty() {
            match self.mailbox.keep(letters) {
                Ok(()) => letters.clear(),
                Err(error) => {
                    self.trouble(format!(
                        "dead letters cannot be kept in {}: {error}; it is tried again",
                        self.mailbox.file().path().display()
                    ));
                    if self.stop.is_now() {
                        return Err(Ended::Stopped);
                    }
                    self.stop.pause(RETRY);
                }
            }
        }
        Ok(())
    }

    /// What to tell where the brokers do not let the topic be read; none where the error is another.
    pub(crate) fn denied(&self, code: Option<RDKafkaErrorCode>) -> Option<String> {
        // It contains Describe, without which the topic is not even seen.
        let right = Deed { topic: Some(("Read", &self.topic)), ..Deed::default() }.denied(code)?;
        Some(format!("{}; it is tried again", KafkaError::Right(right)))
    }

    pub(crate) fn trouble(&self, message: String) {
        self.board.trouble(message, self.clock.now_ms());
    }

    /// What the store says; none where it failed and is to be asked again.
    pub(crate) fn patiently<T>(&self, ask: impl FnOnce() -> Result<T, StoreError>) -> Result<Option<T>, Ended> {
        if self.stop.is_now() {
            return Err(Ended::Stopped);
        }
        match ask() {
            Ok(told) => Ok(Some(told)),
            Err(error) => {
                self.trouble(format!("the store cannot be read: {error}"));
                self.stop.pause(RETRY);
                Ok(None)
            }
        }
    }
}
