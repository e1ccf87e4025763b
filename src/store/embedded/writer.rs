//! The one thread that writes.
//!
//! It takes all writes that wait, decides them one after the other, and commits them as one group: one atomic
//! batch, one wait for the disk. While that lasts the next group gathers in the queue, so nobody waits for a group to
//! fill. Only when the group is durable is it published (snapshot, then log), and only then are its writers
//! answered: nobody sees a state that a crash could take back.

use super::batch::BatchAnswer;
use super::group::{Group, Images, Noted, Prepared};
use super::indexes::catalogue::Catalogue;
use super::intake::IntakeAnswer;
use super::schemas::{self, Schemas};
use super::snapshot::{EmbeddedSnapshot, Reading, broken, parse};
use super::statistics::Counters;
use super::stored::{Growth, Stored};
use super::sweep::Sweeper;
use super::{Keyspaces, keys, meta};
use crate::changelog::embedded::EmbeddedLog;
use crate::changelog::recent::Recorded;
use crate::changelog::record::{self, Record};
use crate::changelog::trim::Mark;
use crate::changelog::{LogId, Position};
use crate::clock::Clock;
use crate::config::Durability;
use crate::rights::{self, Membership, Rights, USERS};
use crate::schema::Schema;
use crate::store::{
    Actor, Batch, BatchError, Committed, Decision, IndexChange, Intake, IntakeError, JudgedSchemaChange, Stamp, StoreError, Write,
};
use bytes::Bytes;
use dataflows::access::Caller;
use dataflows::change::{Change, CommitNumber, Image, Operation};
use dataflows::document::DocumentLimits;
use fjall::{Database, OwnedWriteBatch as WriteBatch, PersistMode};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, RwLock};
use tokio::sync::{mpsc, oneshot};

/// Writes in one group at most: bounds how long the first of them waits for the last to be decided.
const GROUP_WRITES: usize = 4096;
/// Bytes of records in one group at most.
const GROUP_BYTES: u64 = 16 << 20;
/// Objects remembered as written at one moment, see [`Writer::moment`].
const MOMENT_OBJECTS: usize = 1 << 16;

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Command {
    Write { write: Write, answer: Answer<Committed> },
    Intake { intake: Box<Intake>, answer: IntakeAnswer },
    Batch { batch: Box<Batch>, answer: BatchAnswer },
    Schema { app: Arc<str>, actor: Actor, change: JudgedSchemaChange, answer: Answer<Arc<Schema>> },
    Secret { name: String, value: Vec<u8>, answer: Answer<()> },
    Indexes { app: Arc<str>, bucket: Arc<str>, change: IndexChange, answer: Answer<()> },
    BuildIndex { number: u64, done: std::sync::mpsc::Sender<bool> },
    Trim { mark: Mark, done: std::sync::mpsc::Sender<bool> },
    Close { answer: Answer<()> },
}

pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) keyspaces: Keyspaces,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) log_id: LogId,
    pub(super) log: Arc<EmbeddedLog>,
    pub(super) reading: Arc<Reading>,
    pub(super) published: Arc<RwLock<Arc<EmbeddedSnapshot>>>,
    pub(super) trimmer: Arc<super::trimmer::Signal>,
    pub(super) clock: Arc<Clock>,
    pub(super) durability: Durability,
    pub(super) limits: DocumentLimits,
    pub(super) counters: Arc<Counters>,
    pub(super) schemas: Arc<Schemas>,
    pub(super) indexes: Arc<Catalogue>,
    /// Wakes the thread that has indexes built
    pub(super) builder: Arc<super::trimmer::Signal>,
    /// As of the write before, by which the next one is judged
    pub(super) membership: Membership,
    /// As of the last published commit
    pub(super) rights: Arc<Rights>,
    /// What the apps store and may
    pub(super) stored: Arc<Stored>,
    pub(super) state: meta::State,
    /// Keys of the objects written at `state.at`, so that the next write of one of them gets a later time, see [`Writer::now`]
    pub(super) moment: HashSet<Vec<u8>>,
    /// Why nothing can be written any more
    pub(super) failed: Option<StoreError>,
    /// Rewrites objects whose fields were renamed or removed
    pub(super) sweeper: Sweeper,
}

/// Where a write would stand.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The commit before it
    pub(super) last: CommitNumber,
    /// Its time, where it is not that of its object
    pub(super) at: Option<i64>,
}

impl Writer {
    /// Runs until the store is closed or dropped.
    pub(super) fn run(mut self) {
        let mut next = None;
        while let Some(command) = next.take().or_else(|| self.next_command()) {
            match command {
                command @ (Command::Write { .. } | Command::Intake { .. } | Command::Batch { .. }) => next = self.group(command),
                Command::Schema { app, actor, change, answer } => {
                    let _ = answer.send(self.schema(&app, &actor, &change));
                }
                Command::Secret { name, value, answer } => {
                    let _ = answer.send(self.secret(&name, &value));
                }
                Command::Indexes { app, bucket, change, answer } => {
                    let _ = answer.send(self.change_indexes(&app, &bucket, change));
                }
                Command::BuildIndex { number, done } => {
                    let _ = done.send(self.build(number).is_ok());
                }
                Command::Trim { mark, done } => {
                    let _ = done.send(self.trim(mark).is_ok());
                }
                Command::Close { answer } => {
                    self.queue.close();
                    let _ = answer.send(self.close());
                    // What was queued behind it is refused.
                    self.failed.get_or_insert(StoreError::Closed);
                }
            }
        }
    }

    /// Commits what is written first and all that waits behind it. Hands back the command that is no write and ended the group.
    fn group(&mut self, first: Command) -> Option<Command> {
        let mut group = Group {
            batch: self.database.batch(),
            images: Images::default(),
            notes: HashMap::new(),
            records: Vec::new(),
            answers: Vec::new(),
            noted: Vec::new(),
            secrets: HashMap::new(),
            batches: Vec::new(),
            intakes: Vec::new(),
            writes: 0,
            bytes: 0,
        };
        let before = self.state;
        let mut next = Some(first);
        let end = loop {
            match next.take() {
                Some(Command::Write { write, answer }) => {
                    let outcome = self.decide(&write, &mut group);
                    group.writes += 1;
                    group.answers.push((answer, outcome));
                }
                Some(Command::Intake { intake, answer }) => {
                    let outcome = self.take_in(&intake, &mut group);
                    group.intakes.push((answer, outcome));
                }
                Some(Command::Batch { batch, answer }) => {
                    let outcome = self.together(&batch, &mut group);
                    group.batches.push((answer, outcome));
                }
                other => break other,
            }
            if group.writes < GROUP_WRITES && group.bytes < GROUP_BYTES {
                next = self.queue.try_recv().ok();
            }
        };
        let Group { mut batch, images, records, answers, intakes, batches, notes, noted, secrets, .. } = group;
        let counted = self.note_stored(&images.growths, &mut batch);
        // Secrets are on the disk when they are answered, at either durability.
        let batch = if secrets.is_empty() { self.durable(batch) } else { batch.durability(Some(PersistMode::SyncAll)) };
        let done = match (records.is_empty(), notes.is_empty() && secrets.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => self.publish_notes(batch),
            (false, _) => counted.and_then(|()| self.publish(batch, records, &noted, before)),
        };
        if done.is_ok() {
            self.grow_stored(&images.growths);
        }
        for (answer, outcome) in answers {
            // Also a refusal was decided on a state that is published only now, or not at all.
            let _ = answer.send(done.clone().and(outcome));
        }
        for (answer, outcome) in batches {
            let _ = answer.send(done.clone().map_err(BatchError::Store).and(outcome));
        }
        for (answer, outcome) in intakes {
            let _ = answer.send(done.clone().map_err(IntakeError::Store).and(outcome));
        }
        end
    }

    /// Decides one write and adds it to the group.
    fn decide(&mut self, write: &Write, group: &mut Group) -> Result<Committed, StoreError> {
        let place = Place { last: self.state.commit, at: None };
        let Some(prepared) = self.prepare_alone(write, place, &[&group.images])? else {
            return Ok(Committed { change: None, position: self.position() });
        };
        let change = Arc::clone(&prepared.change);
        self.add(prepared, group)?;
        Ok(Committed { position: Position::single(self.log_id, change.commit), change: Some(change) })
    }

    /// Where the log ends, what is under way included.
    pub(super) fn position(&self) -> Position {
        Position::single(self.log_id, self.state.commit)
    }

    /// As `prepare`; the decision is somebody else's code, and a panic in it ends this write alone.
    pub(super) fn prepare_alone(&self, write: &Write, place: Place, written: &[&Images]) -> Result<Option<Prepared>, StoreError> {
        let prepared = catch_unwind(AssertUnwindSafe(|| self.prepare(write, place, written)))
            .map_err(|panic| StoreError::Panicked(panic_message(&*panic)))??;
        let Some(mut prepared) = prepared else { return Ok(None) };
        self.belongings_of_user(&mut prepared, &write.actor)?;
        Ok(Some(prepared))
    }

    /// Adds to the group what was prepared behind the last commit.
    pub(super) fn add(&mut self, prepared: Prepared, group: &mut Group) -> Result<(), StoreError> {
        group.images.insert(&prepared);
        let Prepared { key, change, record, indexed, secrets, revocation, growth: _ } = prepared;
        self.keep_up((&change.app, &change.bucket), indexed, &mut group.batch)?;
        match &change.after {
            Some(image) => group.batch.insert(&self.keyspaces.objects, key.as_slice(), &**image.json()),
            None => group.batch.remove(&self.keyspaces.objects, key.as_slice()),
        }
        group.bytes += record.len() as u64;
        self.append(&mut group.batch, change.at, record);
        // Users who come into being are nobody yet, but for those who come back.
        if rights::concerns(&change) || (&*change.bucket == USERS && self.membership.is_gone(&change.app, &change.id)) {
            self.membership.apply(&change);
            self.state.control = self.state.commit;
            group.noted.push(Noted::Change(change.clone()));
        }
        if let Some(revocation) = revocation {
            self.membership.revoke(&revocation);
            group.noted.push(Noted::Revoked(revocation));
        }
        for (name, value) in secrets {
            group.put_secret(&self.keyspaces.secrets, name, value);
        }
        self.moment.insert(key);
        group.records.push(Recorded::Change(change));
        Ok(())
    }

    /// Everything about a write that may fail; changes nothing. None where the decision changes nothing. `written` is what
    /// is not in the store yet, the newest first.
    fn prepare(&self, write: &Write, place: Place, written: &[&Images]) -> Result<Option<Prepared>, StoreError> {
        self.open()?;
        let key = keys::object(&write.key);
        if key.len() > keys::LONGEST {
            return Err(StoreError::Unfit(format!("its id has {} bytes, which is too long", write.key.id.len())));
        }
        let schema = schemas::of(&self.schemas, &write.key.app);
        let dates = schema.dates(&write.key.bucket);
        // Its text as it is stored may be another than that of its present form.
        let (before, length) = match written.iter().find_map(|images| images.objects.get(&key)) {
            Some(image) => (image.clone(), image.as_ref().map(|image| image.json().len())),
            None => match self.keyspaces.objects.get(&key).map_err(|error| broken(&error))? {
                Some(text) => (Some(parse(&text, dates)?), Some(text.len())),
                None => (None, None),
            },
        };
        let now = place.at.unwrap_or_else(|| self.now(&key));
        let version = before.as_ref().map_or(0, |image| image.version()).saturating_add(1);
        let caller = self.caller(&write.key.app, &write.actor);
        let class = schema.schema.rights_of(&write.key.bucket);
        let stamp = Stamp { commit: place.last + 1, version, now, caller: &caller, class, schema: &schema.schema };
        let (operation, after) = match ((write.decide)(before.as_deref(), &stamp)?, &before) {
            (Decision::Nothing, _) | (Decision::Delete, None) => return Ok(None),
            (Decision::Delete, Some(_)) => (Operation::Delete, None),
            (Decision::Put(text), before) => {
                // Decided on a former schema, perhaps.
                let text = dates.present(&text).map_or(text, Bytes::from);
                let image = Image::parse(text, dates, self.limits).map_err(|error| StoreError::Unfit(error.to_string()))?;
                (if before.is_some() { Operation::Update } else { Operation::Insert }, Some(Arc::new(image)))
            }
        };
        let growth = Growth::of(&key, length, after.as_ref().map(|image| image.json().len()));
        self.has_room(&write.key.app, growth, written.iter().map(|images| &images.growths))?;
        let indexed = self.indexed(&write.key, &key, (before.as_deref(), after.as_deref()), written)?;
        let change = Change {
            commit: stamp.commit,
            at: now,
            app: Arc::clone(&write.key.app),
            bucket: Arc::clone(&write.key.bucket),
            id: Arc::clone(&write.key.id),
            operation,
            before,
            after,
            schema_version: schema.schema.version,
            control: self.state.control,
            writer: write.writer,
            batch: None,
        };
        let record = record::encode(&Record::of(&change, place.last)).map_err(|error| StoreError::Unfit(error.to_string()))?;
        self.fits_log(&record)?;
        Ok(Some(Prepared { key, change: Arc::new(change), record, growth, indexed, secrets: Vec::new(), revocation: None }))
    }

    /// Whose rights are judged, with the roles that he has in the state before the next write.
    pub(super) fn caller<'a>(&self, app: &str, actor: &'a Actor) -> Cow<'a, Caller> {
        match actor {
            Actor::Fixed(caller) => Cow::Borrowed(&**caller),
            Actor::User(user) => Cow::Owned(self.membership.caller(app, user)),
            Actor::Assumed { user, role } => Cow::Owned(self.membership.assumed(app, user, role).unwrap_or_default()),
        }
    }

    /// Whether anything can be written that leaves a record.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some(failed) => Err(failed.clone()),
            None => Ok(self.log.admits(self.state.bytes)?),
        }
    }

    /// What cannot get into the log must not get into the store.
    pub(super) fn fits_log(&self, record: &[u8]) -> Result<(), StoreError> {
        let (found, largest) = (record.len(), self.log.largest());
        if found > largest {
            let reason = format!("with the images before and after its change record has {found} bytes, the change log takes {largest}");
            return Err(StoreError::Unfit(reason));
        }
        Ok(())
    }

    /// The time of the next commit: not before the last one, and behind the last one of this object as far as commits may
    /// run ahead of the clock. With the clock set back it stands still, and moves on only where an object is written again.
    pub(super) fn now(&self, key: &[u8]) -> i64 {
        self.now_unless(|moment| moment.contains(key))
    }

    /// The same for what is committed at one time, of which `taken` says whether any was written at the moment already.
    pub(super) fn now_unless(&self, taken: impl FnOnce(&HashSet<Vec<u8>>) -> bool) -> i64 {
        let now = self.clock.now_ms().max(self.state.at);
        let taken = now == self.state.at && (self.moment.len() >= MOMENT_OBJECTS || taken(&self.moment));
        if taken && now < self.clock.furthest() { now.saturating_add(1) } else { now }
    }

    /// Adds a record to the log and moves the state on.
    pub(super) fn append(&mut self, batch: &mut WriteBatch, at: i64, record: Vec<u8>) {
        if at > self.state.at {
            self.moment.clear();
            self.state.at = at;
            self.clock.raise(at);
        }
        self.state.commit += 1;
        self.state.bytes += record.len() as u64;
        self.state.records += 1;
        batch.insert(&self.keyspaces.log, self.state.commit.to_be_bytes(), record);
    }

    /// Makes a group durable, then known.
    pub(super) fn publish(
        &mut self,
        mut batch: WriteBatch,
        records: Vec<Recorded>,
        noted: &[Noted],
        before: meta::State,
    ) -> Result<(), StoreError> {
        let tail = self.state.tail();
        let mark = self.log.wants_mark(&tail).then_some(tail);
        let prepared = (|| {
            batch.insert(&self.keyspaces.meta, meta::STATE, meta::text(&self.state)?);
            if let Some(mark) = mark {
                batch.insert(&self.keyspaces.marks, mark.commit.to_be_bytes(), meta::text(&mark)?);
            }
            Ok::<_, String>(batch)
        })();
        let committed = prepared.map_err(StoreError::Broken).and_then(|batch| self.commit(batch));
        if let Err(error) = committed {
            self.state = before;
            // Nothing is written any more; what is judged until then is judged by what is there.
            for noted in noted.iter().rev() {
                if let Noted::Change(change) = noted {
                    self.membership.undo(change);
                }
            }
            return Err(error);
        }
        Counters::add(&self.counters.commits, records.len() as u64);
        Counters::add(&self.counters.groups, 1);
        // Rights first: nobody sees what was written after a right was taken away and is still judged by it.
        for noted in noted {
            match noted {
                Noted::Change(change) => self.rights.apply(change),
                Noted::Revoked(revocation) => self.rights.revoke(revocation),
            }
        }
        // Snapshot before log: whoever reads of a change in the log finds it in the store.
        self.show();
        self.log.publish(records, tail, mark);
        if mark.is_some() || self.log.is_over() {
            self.trimmer.wake();
        }
        Ok(())
    }

    /// Makes notes durable beside which nothing changed.
    fn publish_notes(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        self.commit(batch)?;
        // For backups, which copy what is shown.
        self.show();
        Ok(())
    }

    /// What is committed is what readers see from now on.
    pub(super) fn show(&self) {
        let snapshot = EmbeddedSnapshot {
            reading: Arc::clone(&self.reading),
            state: self.database.snapshot(),
            noted: self.state,
            schemas: Arc::clone(&self.schemas),
            indexes: Arc::clone(&self.indexes),
        };
        *self.published.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(snapshot);
    }

    pub(super) fn durable(&self, batch: WriteBatch) -> WriteBatch {
        batch.durability(Some(match self.durability {
            Durability::Disk => PersistMode::SyncData,
            Durability::System => PersistMode::Buffer,
        }))
    }

    /// Once a commit failed it is unknown what is on the disk: nothing is written any more until a restart.
    pub(super) fn commit(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        if self.durability == Durability::Disk && self.failed.is_none() {
            Counters::add(&self.counters.syncs, 1);
        }
        self.apply(batch)
    }

    /// The same where nobody waits for the disk.
    pub(super) fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        batch.commit().map_err(|error| {
            tracing::error!(%error, "a commit failed; the store takes no more writes");
            let failed = broken(&error);
            self.failed = Some(failed.clone());
            failed
        })
    }

    fn secret(&mut self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        if name.is_empty() || name.len() > keys::LONGEST {
            return Err(StoreError::Unfit("a secret needs a name, and a short one".into()));
        }
        let mut batch = self.database.batch();
        batch.insert(&self.keyspaces.secrets, name, value);
        self.commit(batch.durability(Some(PersistMode::SyncAll)))?;
        // For backups, which copy what is shown.
        self.show();
        Ok(())
    }

    /// Notes that the log begins behind the mark; the trimmer then frees what lies before it.
    fn trim(&mut self, mark: Mark) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        batch.insert(&self.keyspaces.meta, meta::TRIMMED, meta::text(&mark).map_err(StoreError::Broken)?);
        for entry in self.keyspaces.marks.range(..=mark.commit.to_be_bytes()) {
            batch.remove(&self.keyspaces.marks, entry.key().map_err(|error| broken(&error))?);
        }
        self.commit(batch.durability(Some(PersistMode::SyncData)))?;
        self.log.set_trimmed(mark);
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        // The time of tokens may be later than that of the last commit.
        self.state.at = self.state.at.max(self.clock.now_ms());
        let run = meta::Run { clean: true, durability: self.durability };
        let mut batch = self.database.batch();
        batch.insert(&self.keyspaces.meta, meta::STATE, meta::text(&self.state).map_err(StoreError::Broken)?);
        batch.insert(&self.keyspaces.meta, meta::RUN, meta::text(&run).map_err(StoreError::Broken)?);
        self.note_indexes(&mut batch)?;
        self.commit(batch.durability(Some(PersistMode::SyncAll)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log.close();
    }
}

/// What somebody else's code said when it panicked.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
