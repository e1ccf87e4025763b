//! Declaring and dropping indexes, and building them in pieces between the writes.
//!
//! A piece is a turn of the writer: it reads the next objects as they are and adds their entries, with how far it came, in one batch.
//! So a write either is before the piece and read by it, or behind it and keeps its object's entries up itself; after a
//! crash the build goes on where it was.

use super::catalogue::{Catalogue, Index, Noted, Phase};
use super::upkeep::{described, entries_of};
use crate::schema::alteration::Alteration;
use crate::store::embedded::schemas::{self, AppSchema};
use crate::store::embedded::snapshot::{broken, parse};
use crate::store::embedded::writer::Writer;
use crate::store::embedded::{keys, meta};
use crate::store::{IndexChange, IndexDefinition, MOST_INDEXES, Refusal, StoreError};
use dataflows::change::Image;
use dataflows::document::{DateFields, Shapes};
use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};
use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long writes wait for a piece at most, about.
const PIECE: Duration = Duration::from_millis(4);
/// Objects in a piece at most.
const PIECE_OBJECTS: u64 = 2000;

impl Writer {
    /// Declares or drops.
    pub(in crate::store::embedded) fn change_indexes(
        &mut self,
        app: &Arc<str>,
        bucket: &Arc<str>,
        change: IndexChange,
    ) -> Result<(), StoreError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let mut catalogue = Catalogue::clone(&self.indexes);
        let mut batch = self.database.batch();
        let declared = catalogue.declared(app, bucket).to_vec();
        match change {
            IndexChange::Create(definition) => {
                definition.check().map_err(|error| Refusal::Index(error.to_string()))?;
                let same = self.indexes.of(app, bucket).into_iter().find(|index| index.definition.keys == definition.keys);
                match same {
                    Some(index) if index.definition.unique != definition.unique => {
                        let message = format!("there is the index {} with these keys already; drop it first", index.definition);
                        return Err(Refusal::Index(message).into());
                    }
                    Some(index) if matches!(index.phase, Phase::Failed { .. }) => {
                        catalogue.remove(app, bucket, index.number);
                        batch.remove(&self.keyspaces.index_notes, index.number.to_be_bytes());
                    }
                    Some(_) => return Ok(()),
                    None if declared.len() >= MOST_INDEXES => {
                        let message =
                            format!("the bucket {bucket} has {MOST_INDEXES} indexes, which is as many as it may have; drop one first");
                        return Err(Refusal::Index(message).into());
                    }
                    None => {}
                }
                self.declare(&mut catalogue, &mut batch, app, bucket, definition)?;
            }
            IndexChange::Drop(wanted) => {
                for index in declared.iter().filter(|index| index.definition.keys == wanted) {
                    self.discard(&mut catalogue, &mut batch, app, bucket, index)?;
                }
            }
            IndexChange::DropAll => {
                for index in &declared {
                    self.discard(&mut catalogue, &mut batch, app, bucket, index)?;
                }
            }
        }
        self.commit(batch.durability(Some(PersistMode::SyncAll)))?;
        self.indexes = Arc::new(catalogue);
        self.show();
        self.builder.wake();
        Ok(())
    }

    /// A new index, which waits to be built where there is something.
    fn declare(
        &self,
        catalogue: &mut Catalogue,
        batch: &mut WriteBatch,
        app: &Arc<str>,
        bucket: &Arc<str>,
        definition: IndexDefinition,
    ) -> Result<(), StoreError> {
        let empty = self.keyspaces.objects.prefix(keys::bucket(app, bucket)).next().is_none();
        let phase = if empty { Phase::Ready } else { Phase::Building { cursor: None, objects: 0 } };
        let number = catalogue.next;
        catalogue.next += 1;
        let noted = Noted { app: Arc::clone(app), bucket: Arc::clone(bucket), definition, phase, regular: true, entries: 0 };
        let index = Index::new(number, &noted);
        self.note(app, bucket, &index, batch)?;
        catalogue.put(app, bucket, Arc::new(index));
        Ok(())
    }

    /// Takes an index away; its entries are freed later.
    fn discard(
        &self,
        catalogue: &mut Catalogue,
        batch: &mut WriteBatch,
        app: &Arc<str>,
        bucket: &Arc<str>,
        index: &Index,
    ) -> Result<(), StoreError> {
        self.note(app, bucket, &Index { phase: Phase::Dropped, ..index.clone() }, batch)?;
        catalogue.remove(app, bucket, index.number);
        Ok(())
    }

    /// Indexes on fields that hold times in only one of two schemas, or were renamed or removed, are built anew. What the catalogue then is.
    pub(in crate::store::embedded) fn altered(
        &self,
        app: &Arc<str>,
        (old, new): (&AppSchema, &AppSchema),
        batch: &mut WriteBatch,
    ) -> Result<Arc<Catalogue>, StoreError> {
        let mut shapes = Shapes::default();
        let stale: Vec<_> = self
            .indexes
            .iter()
            .filter(|(of, bucket, index)| {
                let altered = new.schema.altered.iter().find(|altered| *altered.bucket == ***bucket);
                *of == app
                    && (is_redated(index, old.dates(bucket), new.dates(bucket), &mut shapes)
                        || altered.is_some_and(|altered| is_moved(index, altered)))
            })
            .map(|(_, bucket, index)| (Arc::clone(bucket), Arc::clone(index)))
            .collect();
        if stale.is_empty() {
            return Ok(Arc::clone(&self.indexes));
        }
        let mut catalogue = Catalogue::clone(&self.indexes);
        for (bucket, index) in stale {
            self.discard(&mut catalogue, batch, app, &bucket, &index)?;
            self.declare(&mut catalogue, batch, app, &bucket, index.definition.clone())?;
        }
        Ok(Arc::new(catalogue))
    }

    /// Builds a piece of an index. False: there is nothing more to build of it.
    pub(in crate::store::embedded) fn build(&mut self, number: u64) -> Result<bool, StoreError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let found = self.indexes.iter().find(|(_, _, index)| index.number == number);
        let Some((app, bucket, index)) = found.map(|(app, bucket, index)| (app.clone(), bucket.clone(), index.clone())) else {
            return Ok(false);
        };
        let Phase::Building { cursor, objects } = index.phase.clone() else { return Ok(false) };
        let mut batch = self.database.batch();
        let mut catalogue = Catalogue::clone(&self.indexes);
        let more = match self.piece((&app, &bucket), &index, cursor, &mut batch)? {
            Piece::Done { cursor, more, objects: built } => {
                let objects = objects + built;
                let phase = if more { Phase::Building { cursor, objects } } else { Phase::Ready };
                if !more {
                    tracing::info!(app = &*app, bucket = &*bucket, index = %index.definition, objects, "an index was built");
                }
                let index = Index { phase, ..Index::clone(&index) };
                self.note(&app, &bucket, &index, &mut batch)?;
                catalogue.put(&app, &bucket, Arc::new(index));
                more
            }
            Piece::Failed(reason) => {
                tracing::warn!(app = &*app, bucket = &*bucket, index = %index.definition, reason, "an index cannot be built");
                batch = self.database.batch();
                self.discard(&mut catalogue, &mut batch, &app, &bucket, &index)?;
                // The reason stays, under a number of its own: the entries go with the former one.
                let number = catalogue.next;
                catalogue.next += 1;
                let failed = Noted { phase: Phase::Failed { reason }, entries: 0, ..index.noted(&app, &bucket) };
                let failed = Index::new(number, &failed);
                self.note(&app, &bucket, &failed, &mut batch)?;
                catalogue.put(&app, &bucket, Arc::new(failed));
                false
            }
        };
        self.apply(batch.durability(Some(PersistMode::Buffer)))?;
        self.indexes = Arc::new(catalogue);
        self.show();
        Ok(more)
    }

    fn piece(
        &self,
        (app, bucket): (&Arc<str>, &Arc<str>),
        index: &Index,
        cursor: Option<Vec<u8>>,
        batch: &mut WriteBatch,
    ) -> Result<Piece, StoreError> {
        let began = Instant::now();
        let schema = Arc::clone(schemas::of(&self.schemas, app));
        let prefix = keys::bucket(app, bucket);
        let from = cursor.map_or(Bound::Included(prefix.clone()), Bound::Excluded);
        let (mut last, mut objects) = (None, 0);
        let mut claimed = HashSet::new();
        for entry in self.keyspaces.objects.range::<Vec<u8>, _>((from, Bound::Unbounded)) {
            let (key, text) = entry.into_inner().map_err(|error| broken(&error))?;
            let Some(id) = key.strip_prefix(&prefix[..]) else { break };
            if objects >= PIECE_OBJECTS || (objects > 0 && began.elapsed() >= PIECE) {
                return Ok(Piece::Done { cursor: last, more: true, objects });
            }
            let id = std::str::from_utf8(id).map_err(|_| StoreError::Broken("the key of an object is no text".into()))?;
            let image = parse(&text, schema.dates(bucket))?;
            if let Some(reason) = self.build_one(index, id, &image, &mut claimed, batch)? {
                return Ok(Piece::Failed(reason));
            }
            objects += 1;
            last = Some(key.to_vec());
        }
        Ok(Piece::Done { cursor: last, more: false, objects })
    }

    /// Adds the entries of one object; what stands in the way, if something does.
    fn build_one(
        &self,
        index: &Index,
        id: &str,
        image: &Image,
        claimed: &mut HashSet<Vec<u8>>,
        batch: &mut WriteBatch,
    ) -> Result<Option<String>, StoreError> {
        let entries = match entries_of(index, image) {
            Ok(entries) => entries,
            Err(StoreError::Unfit(reason)) => return Ok(Some(format!("{id} cannot be in it: {reason}"))),
            Err(error) => return Err(error),
        };
        for entry in &entries.components {
            if index.definition.unique && !entry.open {
                let value = entry.prefix(index);
                let stored = self.keyspaces.indexes.prefix(&value).next().is_some();
                if stored || !claimed.insert(value) {
                    return Ok(Some(format!("more than one object has the value {}; {id} is one of them", described(index, image))));
                }
            }
            batch.insert(&self.keyspaces.indexes, entry.key(index, id), entry.value());
        }
        index.shared.entries.fetch_add(entries.components.len() as i64, Ordering::Relaxed);
        if !entries.regular {
            index.shared.regular.store(false, Ordering::Release);
        }
        Ok(None)
    }

    /// Notes the sizes of all indexes, which are estimates for the planner after the next start.
    pub(in crate::store::embedded) fn note_indexes(&self, batch: &mut WriteBatch) -> Result<(), StoreError> {
        for (app, bucket, index) in self.indexes.iter() {
            self.note(app, bucket, index, batch)?;
        }
        Ok(())
    }
}

enum Piece {
    Done { cursor: Option<Vec<u8>>, more: bool, objects: u64 },
    Failed(String),
}

/// Whether its fields hold times in only one of two schemas.
fn is_redated(index: &Index, old: &DateFields, new: &DateFields, shapes: &mut Shapes) -> bool {
    let differing = shapes.differing(old, new);
    index.paths.iter().filter_map(|path| path.components.first()).any(|first| differing.contains(&first.name))
}

/// Whether one of its fields was renamed or removed, or has the name of one that was.
fn is_moved(index: &Index, altered: &Alteration) -> bool {
    let mut names = index.paths.iter().filter_map(|path| path.components.first());
    names.any(|first| {
        altered.moved.iter().any(|moved| match &moved.path[..] {
            [] => true,
            [only] if only.is_empty() => true,
            [only] => *only == first.name || moved.to.as_ref() == Some(&first.name),
            [above, ..] => *above == first.name,
        })
    })
}

/// What is noted of an index when a backup is restored: there are no entries, so it has to be built.
pub(in crate::store::embedded) fn restored(text: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let noted = super::catalogue::read_note(text)?;
    let phase = match noted.phase {
        Phase::Dropped => return Ok(None),
        Phase::Failed { reason } => Phase::Failed { reason },
        Phase::Ready | Phase::Building { .. } => Phase::Building { cursor: None, objects: 0 },
    };
    Ok(Some(meta::text(&Noted { phase, regular: true, entries: 0, ..noted })?))
}
