//! The thread that has indexes built and frees dropped ones, while writes go on.

use super::catalogue::{self, Phase};
use crate::store::embedded::snapshot::EmbeddedSnapshot;
use crate::store::embedded::trimmer::Signal;
use crate::store::embedded::writer::Command;
use fjall::{Database, Keyspace, PersistMode};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// Entries that are freed in one batch.
const PIECE: usize = 4096;
/// When freeing failed: time until it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

pub(in crate::store::embedded) struct Builder {
    pub(in crate::store::embedded) database: Database,
    pub(in crate::store::embedded) notes: Keyspace,
    pub(in crate::store::embedded) entries: Keyspace,
    pub(in crate::store::embedded) published: Arc<RwLock<Arc<EmbeddedSnapshot>>>,
    pub(in crate::store::embedded) signal: Arc<Signal>,
    pub(in crate::store::embedded) writer: mpsc::Sender<Command>,
}

impl Builder {
    /// Runs until it is stopped.
    pub(in crate::store::embedded) fn run(self) {
        let mut longest = None;
        loop {
            if self.signal.is_stopped() {
                return;
            }
            if let Some(number) = self.unbuilt() {
                let (done, answer) = std::sync::mpsc::channel();
                // Ends with the writer: it answers or is gone.
                if self.writer.blocking_send(Command::BuildIndex { number, done }).is_err() || answer.recv() != Ok(true) {
                    return;
                }
                continue;
            }
            if let Err(error) = self.free() {
                tracing::warn!(%error, "the entries of a dropped index could not be freed yet");
                longest = Some(AGAIN);
            }
            if self.unbuilt().is_none() && !self.signal.wait(longest.take()) {
                return;
            }
        }
    }

    fn unbuilt(&self) -> Option<u64> {
        let published = Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner));
        published.indexes.iter().find(|(_, _, index)| matches!(index.phase, Phase::Building { .. })).map(|(_, _, index)| index.number)
    }

    /// Frees the entries of dropped indexes, then forgets them.
    fn free(&self) -> Result<(), String> {
        let text = |error: fjall::Error| error.to_string();
        for entry in self.notes.iter() {
            let (key, note) = entry.into_inner().map_err(text)?;
            if catalogue::read_note(&note)?.phase != Phase::Dropped {
                continue;
            }
            // Behind what was freed: an iterator from the front would step over all of that each time.
            let mut from = Bound::Included(key.to_vec());
            loop {
                if self.signal.is_stopped() {
                    return Ok(());
                }
                let mut batch = self.database.batch();
                let mut found = 0;
                for entry in self.entries.range::<Vec<u8>, _>((from.clone(), Bound::Unbounded)).take(PIECE) {
                    let entry = entry.key().map_err(text)?;
                    if !entry.starts_with(&key) {
                        break;
                    }
                    from = Bound::Excluded(entry.to_vec());
                    batch.remove(&self.entries, entry);
                    found += 1;
                }
                if found == 0 {
                    break;
                }
                batch.durability(Some(PersistMode::Buffer)).commit().map_err(text)?;
            }
            self.notes.remove(&*key).map_err(text)?;
            tracing::debug!(number = catalogue::number_of(&key)?, "an index was freed");
        }
        Ok(())
    }
}
