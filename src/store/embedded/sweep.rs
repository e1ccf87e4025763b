//! Rewriting the objects whose fields were renamed or removed.
//!
//! Nobody waits for it: stored objects are read through the moves of their class ([`crate::schema::lens`]) until this has come by.
//! It runs on the writer's thread, so no object is written meanwhile, a piece at a time: whenever no command waits, and now
//! and then under load. What an object says does not change, so it gets no version and no change record. When all of a
//! schema's moves are carried out it closes them with a change of the schema. A crash loses at most the place: what is rewritten
//! already is passed over quickly.

use super::snapshot::broken;
use super::stored::{Growth, Growths};
use super::writer::{Command, Writer};
use super::{keys, schemas};
use crate::schema::moves;
use crate::store::{Actor, JudgedSchemaChange, StoreError};
use fjall::PersistMode;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::mpsc::error::TryRecvError;

/// Objects of a piece at most.
const OBJECTS: usize = 512;
/// Bytes of a piece at most, but for the last object.
const BYTES: usize = 1 << 20;
/// After a failure it is tried again when so many commands have come.
const PAUSE: u32 = 1024;
/// Under load a piece is done after so many commands that came alone or ended a group.
const PATIENCE: u32 = 8;

/// Where the rewriting is.
#[derive(Default)]
pub(super) struct Sweeper {
    /// Whether all schemas were looked at and nothing was to be done
    rests: bool,
    under_way: Option<Sweep>,
    /// Commands since the last piece
    waited: u32,
    /// Commands until it is tried again, after it failed
    pause: u32,
}

struct Sweep {
    app: Arc<str>,
    /// The moves up to this version of the schema are carried out
    through: u64,
    /// Buckets that are still to be done, the last first
    buckets: Vec<String>,
    /// The last key that was done in that bucket
    behind: Option<Vec<u8>>,
}

impl Sweeper {
    /// A schema has changed.
    pub(super) fn wake(&mut self) {
        self.rests = false;
    }
}

impl Writer {
    /// The next command, and pieces of rewriting while there is none. None: there will be none any more.
    pub(super) fn next_command(&mut self) -> Option<Command> {
        while self.failed.is_none() && !self.sweeper.rests {
            if self.sweeper.pause > 0 {
                self.sweeper.pause -= 1;
                break;
            }
            match self.queue.try_recv() {
                Ok(command) => {
                    self.sweeper.waited += 1;
                    if self.sweeper.waited >= PATIENCE {
                        self.sweep_on();
                    }
                    return Some(command);
                }
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.sweep_on(),
            }
        }
        self.queue.blocking_recv()
    }

    fn sweep_on(&mut self) {
        self.sweeper.waited = 0;
        if let Err(error) = self.sweep() {
            // Until then objects are read through the moves.
            tracing::warn!(%error, "objects could not be rewritten after a field was renamed or removed; trying again later");
            self.sweeper.pause = PAUSE;
        }
    }

    fn sweep(&mut self) -> Result<(), StoreError> {
        let Some(mut sweep) = self.sweeper.under_way.take().or_else(|| self.begin_sweep()) else {
            self.sweeper.rests = true;
            return Ok(());
        };
        let Some(bucket) = sweep.buckets.last() else {
            let through = sweep.through;
            let close: JudgedSchemaChange = Arc::new(move |schema, _| Ok(moves::closed(schema, through)));
            self.schema(&sweep.app, &Actor::server(), &close)?;
            return Ok(());
        };
        let view = Arc::clone(schemas::of(&self.schemas, &sweep.app).dates(bucket));
        let prefix = keys::bucket(&sweep.app, bucket);
        let from = sweep.behind.clone().map_or_else(|| Bound::Included(prefix.clone()), Bound::Excluded);
        let mut batch = self.database.batch();
        let (mut seen, mut bytes, mut rewritten, mut last) = (0, 0, 0_u64, None);
        let mut growth = Growth::default();
        for entry in self.keyspaces.objects.range::<Vec<u8>, _>((from, Bound::Unbounded)) {
            let (key, text) = entry.into_inner().map_err(|error| broken(&error))?;
            if !key.starts_with(&prefix) {
                break;
            }
            if seen >= OBJECTS || bytes >= BYTES {
                last = Some(());
                break;
            }
            seen += 1;
            bytes += text.len();
            if let Some(present) = view.present(&text) {
                growth.add(Growth::of(&key, Some(text.len()), Some(present.len())));
                batch.insert(&self.keyspaces.objects, &*key, present);
                rewritten += 1;
            }
            sweep.behind = Some(key.to_vec());
        }
        if rewritten > 0 {
            // The change of the schema that closes the moves makes it durable; lost before, it is done again.
            let growths = Growths::from([(Arc::clone(&sweep.app), growth)]);
            self.note_stored(&growths, &mut batch)?;
            batch.durability(Some(PersistMode::Buffer)).commit().map_err(|error| broken(&error))?;
            self.grow_stored(&growths);
        }
        if last.is_none() {
            sweep.buckets.pop();
            sweep.behind = None;
        }
        self.sweeper.under_way = Some(sweep);
        Ok(())
    }

    /// An app whose schema has open moves.
    fn begin_sweep(&self) -> Option<Sweep> {
        self.schemas.iter().find(|(_, schema)| !schema.schema.moves.is_empty()).map(|(app, schema)| {
            let mut buckets: Vec<String> = schema.moving().map(str::to_owned).collect();
            buckets.sort_unstable_by(|one, other| other.cmp(one));
            Sweep { app: Arc::clone(app), through: schema.schema.version, buckets, behind: None }
        })
    }
}
