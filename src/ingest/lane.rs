//! One partition on its way into the store: records gather in a batch while the batch before is committed.
//!
//! The order within the partition is kept: one intake at a time, and what comes next is decoded meanwhile. How far the
//! partition is goes into the same transaction, so every record is taken in exactly once.

use super::apply;
use super::batch::{Batch, Came};
use super::dead_letter::{Fault, Raw};
use super::meaning::{Meaning, Moments, Snapshot};
use super::progress::{self, Mark, Marking, Progress};
use super::stream::{Ended, PIECE, Stream, Unread};
use super::wait::poll_now;
use crate::changelog::Position;
use crate::store::{Intake, IntakeError, Key, Note, StoreError, Write};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long to wait before trying again, growing to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// One partition.
pub(crate) struct Lane {
    stream: Arc<Stream>,
    pub(crate) partition: i32,
    name: Bytes,
    /// As it is noted in the store
    noted: Option<Bytes>,
    progress: Progress,
    /// The offset of the next record that is to be looked at
    pub(crate) next: Option<i64>,
    /// While a snapshot runs
    marking: Option<Marking>,
    /// What was known of snapshots when this lane looked last
    version: u64,
    /// Whether records were gone since the last one that is in no snapshot
    hole: bool,
    batch: Batch,
    under_way: Option<UnderWay>,
    /// What was taken off a batch that was more than the store takes at once: goes next, the last one first
    rest: Vec<Batch>,
    /// Writes that the store takes at once. Few only where objects are large: then some fewer than more are tried.
    fits: usize,
    /// The moments of the last record, all of them declared or about to be
    moments: Option<Arc<Moments>>,
    retry: Duration,
}

/// A batch that is being committed.
struct UnderWay {
    batch: Batch,
    progress: Progress,
    text: Bytes,
    answer: BoxFuture<'static, Result<Position, IntakeError>>,
}

impl Lane {
    /// Goes on where the store says.
    pub(crate) fn open(stream: Arc<Stream>, partition: i32) -> Result<Lane, StoreError> {
        let name = progress::progress(&stream.target.bucket, &stream.topic, partition);
        let noted = stream.intakes.notes(&name, None, 1)?.pop().filter(|(key, _)| *key == name).map(|(_, value)| value);
        let progress = match &noted {
            Some(text) => {
                Progress::read(text).map_err(|error| StoreError::Broken(format!("the progress of ingest cannot be read: {error}")))?
            }
            None => Progress::default(),
        };
        stream.board.begin(partition, &progress);
        let next = noted.as_ref().map(|_| progress.next);
        let marking = progress.marking;
        if marking.is_some_and(|marking| !stream.snapshots.is_over(&marking)) {
            stream.snapshots.turn_on(marking.and_then(|marking| marking.last.or(marking.first)));
        }
        let batch = Batch::default();
        Ok(Lane {
            stream,
            partition,
            name,
            noted,
            progress,
            next,
            marking,
            // So that it looks at once.
            version: u64::MAX,
            hole: false,
            batch,
            under_way: None,
            rest: Vec::new(),
            fits: usize::MAX,
            moments: None,
            retry: RETRY.0,
        })
    }

    /// Whether it is time to commit before more comes in.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Whether there is something that is not on its way.
    pub(crate) fn gathers(&self) -> bool {
        self.batch.next.is_some()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.is_some() || self.batch.next.is_some()
    }

    /// Takes a record into the batch; waits for the store where it must.
    pub(crate) fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<(), Ended> {
        let offset = message.offset();
        if self.next.is_some_and(|next| offset < next) {
            return Ok(());
        }
        if self.next.is_none() {
            // What was before is gone; whether that was a part of a snapshot nobody knows.
            (self.next, self.hole) = (Some(offset), offset > 0);
        }
        let headers = message.headers().map(rdkafka::message::BorrowedHeaders::detach);
        let raw = Raw {
            partition: self.partition,
            offset,
            timestamp: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers: headers.as_ref(),
        };
        self.look_at_snapshots();
        let again = self.marking.is_some_and(|marking| offset < marking.written);
        let meaning = self.stream.read(&raw);
        let mark = self.mark_of(message);
        let came = match meaning {
            meaning if again => {
                // Written already: it is here to be marked.
                match meaning {
                    Ok(Meaning::Put { id, .. }) => drop(self.stream.key(&id).map(|key| self.see(&mark, &key))),
                    Ok(_) => {}
                    Err(unread) => self.miss(&unread, &mark),
                }
                Came::Again
            }
            Ok(Meaning::Put { id, fields, snapshot }) => {
                self.meet(snapshot, mark);
                match self.stream.key(&id) {
                    Ok(key) => {
                        self.see(&mark, &key);
                        self.note_moments(&fields.moments);
                        self.batch.write(self.stream.target.put(key, fields), &raw);
                        Came::Write
                    }
                    // Nothing is stored that is called so, so a snapshot misses nothing by it.
                    Err(fault) => self.put_aside(&raw, &fault),
                }
            }
            Ok(Meaning::Delete { id }) => match self.stream.key(&id) {
                Ok(key) => {
                    self.batch.write(apply::delete(key), &raw);
                    Came::Write
                }
                Err(fault) => self.put_aside(&raw, &fault),
            },
            Ok(Meaning::Truncate) => {
                self.truncate(offset)?;
                Came::Done
            }
            Ok(Meaning::Skip(kind)) => Came::Skipped(kind),
            Err(unread) => {
                if let Some(snapshot) = unread.snapshot.filter(|snapshot| *snapshot != Snapshot::No) {
                    self.meet(snapshot, mark);
                }
                self.miss(&unread, &mark);
                self.put_aside(&raw, &unread.fault)
            }
        };
        self.next = Some(offset + 1);
        self.batch.pass(offset, came);
        self.batch.next = self.next;
        self.batch.marking = self.marking;
        Ok(())
    }

    /// Where a record is and when it was made.
    fn mark_of(&self, message: &BorrowedMessage<'_>) -> Mark {
        let timestamp = message.timestamp();
        Mark {
            partition: message.partition(),
            generation: self.progress.generation,
            offset: message.offset(),
            // Without a time it may be newer than anything.
            at: timestamp.to_millis().unwrap_or(i64::MAX),
            appended: matches!(timestamp, Timestamp::LogAppendTime(_)),
        }
    }

    /// A record says that the source has this object.
    fn see(&mut self, mark: &Mark, key: &Key) {
        if self.marking.is_some() && self.stream.snapshot_removes {
            self.batch.mark(mark.note(&self.stream.target.bucket, &self.stream.topic, &key.id));
        }
    }

    /// A record that cannot be read: the source has its object all the same. Where nobody knows which one that is, nobody
    /// knows what a snapshot does not contain.
    fn miss(&mut self, unread: &Unread, mark: &Mark) {
        if let Some(id) = unread.id.as_deref().filter(|_| self.marking.is_some()) {
            drop(self.stream.key(id).map(|key| self.see(mark, &key)));
        } else if unread.snapshot != Some(Snapshot::No) {
            match &mut self.marking {
                Some(marking) => marking.broken = true,
                // It may have been the first record of one.
                None => self.hole = true,
            }
        }
    }

    /// Begins to mark when another partition has met a snapshot, and ends when that is completed.
    fn look_at_snapshots(&mut self) {
        let snapshots = &self.stream.snapshots;
        let version = snapshots.version();
        if self.next.is_none() || version == std::mem::replace(&mut self.version, version) {
            return;
        }
        let before = self.marking;
        if self.marking.is_some_and(|marking| snapshots.is_over(&marking)) {
            self.marking = None;
        }
        if let Some(since) = self.next.filter(|_| self.marking.is_none() && snapshots.is_on()) {
            let broken = self.hole || !self.stream.snapshot_removes;
            self.marking = Some(Marking { since, broken, ..Marking::default() });
        }
        if self.marking != before {
            // Noted also where no record comes.
            self.batch.next = self.next;
            self.batch.marking = self.marking;
        }
    }

    /// A record that says where a snapshot stands.
    fn meet(&mut self, snapshot: Snapshot, mark: Mark) {
        if snapshot == Snapshot::No {
            self.hole = false;
            return;
        }
        // Without the marks of before nothing may be removed, should the mapping say otherwise in the middle.
        let unmarked = !self.stream.snapshot_removes;
        let broken = self.hole || unmarked;
        let mut marking = self.marking.unwrap_or(Marking { since: mark.offset, broken, ..Marking::default() });
        marking.begin.get_or_insert(mark);
        match snapshot {
            Snapshot::First => {
                // It begins anew, and whole.
                (marking.first, marking.broken, self.hole) = (Some(mark), unmarked, false);
            }
            Snapshot::Within => marking.within = true,
            Snapshot::Last => marking.last = Some(mark),
            Snapshot::No => {}
        }
        if self.marking.is_none() || snapshot != Snapshot::Within {
            self.stream.snapshots.turn_on(Some(mark).filter(|_| snapshot != Snapshot::Within));
        }
        self.marking = Some(marking);
    }

    /// Reads from an earlier offset on once more, only to mark.
    pub(crate) fn rewind(&mut self, to: i64) -> Result<(), Ended> {
        self.drain()?;
        let Some(mut marking) = self.marking.filter(|marking| to < marking.since) else { return Ok(()) };
        marking.written = marking.written.max(self.progress.next);
        marking.since = to;
        self.marking = Some(marking);
        self.next = Some(to);
        self.commit(Vec::new(), Progress { next: to, marking: self.marking, ..self.progress.clone() }).map(drop)
    }

    /// Fields that are not declared as moments yet have to be, before the store has the record.
    fn note_moments(&mut self, moments: &Arc<Moments>) {
        if self.moments.as_ref().is_some_and(|known| Arc::ptr_eq(known, moments)) {
            return;
        }
        let declared = self.stream.declared.read().unwrap_or_else(PoisonError::into_inner);
        let new = moments.iter().filter(|(name, _)| !declared.contains_key(*name));
        self.batch.moments.extend(new.map(|(name, moment)| (Arc::clone(name), *moment)));
        self.moments = Some(Arc::clone(moments));
    }

    fn put_aside(&mut self, raw: &Raw<'_>, fault: &Fault) -> Came {
        self.batch.put_aside(self.stream.mailbox.letter(raw, fault, self.stream.clock.now_ms()));
        Came::Letter
    }

    /// Commits what has gathered if nothing is under way, and says whether something went; waits for nothing.
    pub(crate) fn advance(&mut self) -> Result<bool, Ended> {
        if let Some(mut under_way) = self.under_way.take() {
            match poll_now(&mut under_way.answer) {
                Some(answer) => self.settle(under_way, answer)?,
                None => self.under_way = Some(under_way),
            }
        }
        self.look_at_snapshots();
        if self.under_way.is_none() && self.batch.next.is_some() {
            let batch = std::mem::take(&mut self.batch);
            self.submit(batch)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Waits until what is under way is committed.
    pub(crate) fn settled(&mut self) -> Result<(), Ended> {
        while let Some(mut under_way) = self.under_way.take() {
            let answer = self.stream.stop.wait(&mut under_way.answer).ok_or(Ended::Stopped)?;
            self.settle(under_way, answer)?;
        }
        Ok(())
    }

    /// Waits until everything that was taken is committed.
    pub(crate) fn drain(&mut self) -> Result<(), Ended> {
        while self.is_busy() {
            self.advance()?;
            self.settled()?;
        }
        Ok(())
    }

    fn submit(&mut self, mut batch: Batch) -> Result<(), Ended> {
        self.stream.declare(&mut batch.moments)?;
        // Before the store passes their records.
        self.stream.keep(&mut batch.letters)?;
        if batch.writes().len() > self.fits {
            let rest = batch.split_off(self.fits);
            self.rest.push(rest);
        }
        let progress = Progress { marking: batch.marking, ..self.progress.with(&batch.tally()) };
        let text = progress.text();
        let mut notes = batch.marks.clone();
        notes.push(Note { key: self.name.clone(), value: Some(text.clone()) });
        let expect = Note { key: self.name.clone(), value: self.noted.clone() };
        let intake = Intake { expect, writes: batch.writes().to_vec(), notes };
        let answer = self.stream.intakes.commit_intake(intake);
        self.under_way = Some(UnderWay { batch, progress, text, answer });
        Ok(())
    }

    fn settle(&mut self, under_way: UnderWay, answer: Result<Position, IntakeError>) -> Result<(), Ended> {
        let UnderWay { mut batch, progress, text, .. } = under_way;
        match answer {
            Ok(_) => {
                self.retry = RETRY.0;
                self.fits = self.fits.saturating_add(self.fits / 4 + 1);
                self.noted = Some(text);
                self.progress = progress;
                self.stream.board.progress(self.partition, &self.progress);
                match self.rest.pop() {
                    Some(rest) => self.submit(rest),
                    None => Ok(()),
                }
            }
            Err(IntakeError::Refused(refused)) => {
                // From behind, so that the places before stay right.
                for (place, error) in refused.into_iter().rev() {
                    let fault = Fault { code: error.code(), reason: error.to_string() };
                    let now = self.stream.clock.now_ms();
                    batch.refuse(place, self.partition, |raw| self.stream.mailbox.letter(raw, &fault, now));
                }
                self.submit(batch)
            }
            Err(IntakeError::Large { fits }) => {
                self.fits = fits;
                self.submit(batch)
            }
            Err(IntakeError::Overtaken) => {
                self.stream.trouble(format!("partition {}: {}", self.partition, IntakeError::Overtaken));
                Err(Ended::Overtaken)
            }
            Err(IntakeError::Store(StoreError::Closed)) => Err(Ended::Stopped),
            Err(error) => {
                self.back_off(&error);
                if self.stream.stop.is_now() { Err(Ended::Stopped) } else { self.submit(batch) }
            }
        }
    }

    /// Nothing is dropped: it is tried again, later and later.
    fn back_off(&mut self, error: &IntakeError) {
        self.stream.trouble(format!("the store does not take in records: {error}; they are tried again"));
        self.stream.stop.pause(self.retry);
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    /// Removes every object of the bucket, piece by piece. What was removed is noted, so that a restart in the middle goes on.
    fn truncate(&mut self, offset: i64) -> Result<(), Ended> {
        self.drain()?;
        let mut after = self.progress.truncating.clone().filter(|_| self.progress.next == offset);
        let mut piece = PIECE;
        loop {
            let target = &self.stream.target;
            let objects = match self.stream.intakes.objects(&target.app, &target.bucket, after.as_deref(), piece) {
                Ok(objects) => objects,
                Err(error) => {
                    self.back_off(&error.into());
                    if self.stream.stop.is_now() {
                        return Err(Ended::Stopped);
                    }
                    continue;
                }
            };
            let Some((last, _)) = objects.last() else { break };
            let last = Some(last.to_string());
            let writes =
                objects.iter().map(|(id, _)| apply::delete(crate::object::id::key(&target.app, &target.bucket, Arc::clone(id)))).collect();
            let progress = Progress { next: offset, truncating: last.clone(), ..self.progress.clone() };
            match self.commit(writes, progress)? {
                Done::All => (after, piece) = (last, PIECE),
                // They grew in between.
                Done::None { fits } => piece.objects = fits,
            }
        }
        // Noted as over with the records that follow.
        self.progress.truncating = None;
        Ok(())
    }

    /// Notes that reading goes on elsewhere, because what comes next is not in the topic any more.
    pub(crate) fn jump(&mut self, to: i64, lost: u64) -> Result<(), Ended> {
        self.drain()?;
        let mut progress = Progress { next: to, lost: self.progress.lost + lost, truncating: None, ..self.progress.clone() };
        if self.next.is_some_and(|next| to < next) {
            // Offsets begin again: what was known of snapshots by them is of another generation.
            progress.generation += 1;
            self.marking = None;
            // What was before is gone, as at the first record ever.
            self.hole = to > 0;
            // It marks again where a snapshot still runs.
            self.version = u64::MAX;
        } else if lost > 0 {
            self.hole = true;
            if let Some(marking) = &mut self.marking {
                marking.broken = true;
            }
        }
        self.next = Some(to);
        self.commit(Vec::new(), Progress { marking: self.marking, ..progress }).map(drop)
    }

    /// Commits writes that are not of a batch, and waits for it.
    fn commit(&mut self, writes: Vec<Write>, progress: Progress) -> Result<Done, Ended> {
        loop {
            let text = progress.text();
            let intake = Intake {
                expect: Note { key: self.name.clone(), value: self.noted.clone() },
                writes: writes.clone(),
                notes: vec![Note { key: self.name.clone(), value: Some(text.clone()) }],
            };
            let mut answer = self.stream.intakes.commit_intake(intake);
            match self.stream.stop.wait(&mut answer).ok_or(Ended::Stopped)? {
                Ok(_) => {
                    self.noted = Some(text);
                    self.progress = progress;
                    self.stream.board.progress(self.partition, &self.progress);
                    return Ok(Done::All);
                }
                Err(IntakeError::Large { fits }) => return Ok(Done::None { fits }),
                Err(IntakeError::Overtaken) => return Err(Ended::Overtaken),
                Err(IntakeError::Store(StoreError::Closed)) => return Err(Ended::Stopped),
                Err(error) => {
                    self.back_off(&error);
                    if self.stream.stop.is_now() {
                        return Err(Ended::Stopped);
                    }
                }
            }
        }
    }
}

/// What was done of writes that are not of a batch.
pub(crate) enum Done {
    All,
    /// They are more than the store takes at once: so many of them fit
    None {
        fits: usize,
    },
}
