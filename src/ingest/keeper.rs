//! A source that is read from the beginning again: what the new snapshot does not contain is gone.
//!
//! From the first record of a snapshot on, every partition *marks* the objects of its records: a note says where and when
//! each was seen last. Partitions are read side by side, so some may have been beyond the beginning when it was met: those
//! read the records behind it once more, only to mark them. When the last record was met, and every partition was read to
//! where it ended then, the objects without a mark since the beginning are removed. A snapshot that was begun again counts
//! from its newest beginning; one that was not read whole, or that is one record alone, removes nothing. Nor does any where
//! the mapping says so.

use super::apply;
use super::lane::Done;
use super::progress::{self, Mark};
use super::snapshot::{Seen, Stage, stage};
use super::stream::{Ended, PIECE, Stream};
use crate::object::id;
use crate::store::{Decide, Decision, Intake, IntakeError, Note, Piece, Write};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long to wait before the store is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The note about the last snapshot that was completed.
#[derive(Debug, Serialize, Deserialize)]
struct Completed {
    last: Mark,
}

/// Reads it.
pub(crate) fn completed(text: &[u8]) -> Option<Mark> {
    serde_json::from_slice::<Completed>(text).ok().map(|completed| completed.last)
}

/// Removes what a snapshot did not contain (without a beginning: nothing), and notes that it is completed. Begun again it
/// comes to the same. Blocks.
pub(crate) fn complete(stream: &Stream, beginning: Option<Mark>, last: Mark) -> Result<u64, Ended> {
    let name = progress::snapshot(&stream.target.bucket, &stream.topic);
    let mut removed = 0;
    let mut after: Option<Arc<str>> = None;
    while let Some(beginning) = beginning {
        let target = &stream.target;
        let objects = stream.patiently(|| stream.intakes.objects(&target.app, &target.bucket, after.as_deref(), PIECE))?;
        let Some(objects) = objects else { continue };
        let Some((id, _)) = objects.last() else { break };
        after = Some(Arc::clone(id));
        let mut gone = Vec::new();
        for (id, text) in objects {
            let note = progress::seen(&target.bucket, &stream.topic, &id);
            // Marks are looked up behind the objects: one that came between keeps its object.
            let seen = loop {
                if let Some(notes) = stream.patiently(|| stream.intakes.notes(&note, None, 1))? {
                    break notes.into_iter().find(|(key, _)| *key == note).and_then(|(_, value)| Mark::read(&value));
                }
            };
            if !seen.is_some_and(|seen| seen.is_since(&beginning)) {
                gone.push(delete_as_it_is(id::key(&target.app, &target.bucket, id), text));
            }
        }
        removed += gone.len() as u64;
        let mut most = gone.len();
        while !gone.is_empty() {
            let some: Vec<Write> = gone.iter().take(most).cloned().collect();
            match commit(stream, &name, &some, &[])? {
                Done::All => drop(gone.drain(..some.len())),
                // They grew in between.
                Done::None { fits } => most = fits,
            }
        }
    }
    let text = serde_json::to_vec(&Completed { last }).unwrap_or_default();
    commit(stream, &name, &[], &[Note { key: name.clone(), value: Some(text.into()) }])?;
    stream.snapshots.completed(last);
    clear(stream, &name)?;
    Ok(removed)
}

/// Says why a snapshot removes nothing, where it might have had to.
fn warn_of(stream: &Stream, stage: &Stage) {
    let why = match stage {
        Stage::Broken { .. } => {
            "a snapshot of the source was not read whole (records of it were gone, or dead letters without an id), so nothing was \
             removed by it; let the connector take another one"
        }
        Stage::Alone { .. } => {
            let two = Piece { objects: 2, ..PIECE };
            // What cannot be told now is told in vain: nothing hangs on it.
            let objects = stream.intakes.objects(&stream.target.app, &stream.target.bucket, None, two);
            if !objects.is_ok_and(|objects| objects.len() > 1) {
                return;
            }
            "a snapshot of the source was one record alone, which says nothing of the other objects: none was removed. It may have \
             been an ad hoc snapshot of a part of the table. Set snapshot_removes = false in the mapping if you take such ones: \
             with more than one record they look like snapshots of the whole table"
        }
        Stage::Nothing | Stage::Reading { .. } => return,
    };
    stream.trouble(why.to_owned());
}

/// Deletes an object unless a record has written it since.
fn delete_as_it_is(key: crate::store::Key, text: Bytes) -> Write {
    let decide: Decide = Arc::new(move |before, _| {
        let same = before.is_some_and(|image| *image.json() == text);
        Ok(if same { Decision::Delete } else { Decision::Nothing })
    });
    Write { decide, ..apply::delete(key) }
}

/// Takes the marks away, as long as no other snapshot needs them.
fn clear(stream: &Stream, name: &Bytes) -> Result<(), Ended> {
    let all = progress::all_seen(&stream.target.bucket, &stream.topic);
    loop {
        // Held over the piece: whoever turns marking on waits, and his marks come behind it.
        let shared = stream.snapshots.shared();
        if shared.on {
            return Ok(());
        }
        let Some(marks) = stream.patiently(|| stream.intakes.notes(&all, None, PIECE.objects))? else { continue };
        if marks.is_empty() {
            return Ok(());
        }
        commit(stream, name, &[], &marks.into_iter().map(|(key, _)| Note { key, value: None }).collect::<Vec<_>>())?;
        drop(shared);
    }
}

/// Commits, and tries again until it is done or known to be too much at once.
pub(crate) fn commit(stream: &Stream, name: &Bytes, writes: &[Write], notes: &[Note]) -> Result<Done, Ended> {
    loop {
        let Some(known) = stream.patiently(|| stream.intakes.notes(name, None, 1))? else { continue };
        let value = known.into_iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let intake = Intake { expect: Note { key: name.clone(), value }, writes: writes.to_vec(), notes: notes.to_vec() };
        match stream.stop.wait(&mut stream.intakes.commit_intake(intake)).ok_or(Ended::Stopped)? {
            Ok(_) => return Ok(Done::All),
            Err(IntakeError::Large { fits }) => return Ok(Done::None { fits }),
            Err(IntakeError::Overtaken) => return Err(Ended::Overtaken),
            Err(error) => {
                // Of refusals the first says more than how many there are.
                let reason = match &error {
                    IntakeError::Refused(refused) => refused.first().map(|(_, error)| error.to_string()),
                    _ => None,
                };
                let reason = reason.unwrap_or_else(|| error.to_string());
                stream.trouble(format!("objects of the bucket cannot be rewritten or removed yet: {reason}; it is tried again"));
                stream.stop.pause(RETRY);
            }
        }
        if stream.stop.is_now() {
            return Err(Ended::Stopped);
        }
    }
}

/// Watches over the snapshots of one topic.
#[derive(Default)]
pub(crate) struct Keeper {
    /// Partitions that have marked everything since a beginning
    checked: BTreeMap<i32, Mark>,
    /// Where the partitions ended when the last record was known, and how often each had come to its end by then
    ends: Option<(Mark, BTreeMap<i32, (i64, u64)>)>,
    /// Where the partitions were at the last look
    idle: BTreeMap<i32, i64>,
    /// Whether the snapshot is being completed
    completing: Option<std::thread::JoinHandle<()>>,
}

/// What the keeper asks of the brokers and of the readers.
pub(crate) trait Errands {
    /// The first offset of a record that is not older
    fn offset_at(&self, partition: i32, at: i64) -> Option<i64>;
    /// Where a partition begins and ends
    fn ends(&self, partition: i32) -> Option<(i64, i64)>;
    /// Reads from there on again, to mark
    fn rewind(&self, partition: i32, to: i64);
    /// Tells the end again, should it be there
    fn refresh(&self, partition: i32);
}

impl Keeper {
    /// One look.
    pub(crate) fn look(&mut self, stream: &Arc<Stream>, partitions: &BTreeMap<i32, Seen>, errands: &impl Errands) {
        if self.completing.as_ref().is_some_and(|thread| !thread.is_finished()) || !stream.snapshots.is_on() {
            return;
        }
        if stream.lists_move.load(Ordering::Acquire) {
            // What is removed must be as it was when its marks were looked up.
            return;
        }
        self.completing = None;
        let begun = |seen: &&Seen| seen.progress.records > 0;
        if partitions.values().filter(begun).any(|seen| seen.progress.marking.is_none()) {
            // It joins with its next record or its next look.
            return;
        }
        let markings = partitions.values().filter_map(|seen| seen.progress.marking.as_ref());
        let stage = stage(markings);
        let (beginning, last) = match stage {
            Stage::Nothing => return,
            Stage::Reading { beginning, last: None } => return self.check(partitions, errands, Some(beginning)),
            Stage::Reading { beginning, last: Some(last) } => (Some(beginning), last),
            Stage::Broken { last } | Stage::Alone { last } => (None, last),
        };
        let beginning = beginning.filter(|_| stream.snapshot_removes);
        self.check(partitions, errands, beginning);
        let checked = |partition: &i32| beginning.is_none_or(|beginning| self.checked.get(partition) == Some(&beginning));
        if !partitions.iter().filter(|(_, seen)| seen.progress.records > 0).all(|(partition, _)| checked(partition)) {
            return;
        }
        if self.ends.as_ref().is_none_or(|(of, _)| *of != last) {
            let ends = partitions
                .iter()
                .map(|(partition, seen)| Some((*partition, (errands.ends(*partition)?.1, seen.turns))))
                .collect::<Option<_>>();
            self.ends = ends.map(|ends| (last, ends));
            return;
        }
        let Some((_, ends)) = &self.ends else { return };
        let mut all = true;
        for (partition, seen) in partitions {
            let read = ends.get(partition).is_none_or(|(end, turns)| seen.progress.next >= *end || (seen.turns > *turns && seen.settled));
            // Behind the last record there may be marks of transactions, which are no records: only hearing of the end
            // tells that there is nothing more.
            if !read {
                all = false;
                // Whoever moves will come to it.
                let before = self.idle.insert(*partition, seen.progress.next);
                if before == Some(seen.progress.next) && seen.settled {
                    errands.refresh(*partition);
                }
            }
        }
        if all {
            self.ends = None;
            let stream = Arc::clone(stream);
            let completing = std::thread::Builder::new().name("ingest-snapshot".into()).spawn(move || {
                if stream.snapshot_removes {
                    warn_of(&stream, &stage);
                }
                if let Ok(removed) = complete(&stream, beginning, last) {
                    tracing::info!(topic = stream.topic, bucket = &*stream.target.bucket, removed, "a snapshot of the source is complete");
                }
            });
            self.completing = completing.ok();
        }
    }

    /// Sends partitions back that may not have marked everything since the beginning.
    fn check(&mut self, partitions: &BTreeMap<i32, Seen>, errands: &impl Errands, beginning: Option<Mark>) {
        let Some(beginning) = beginning else { return };
        for (partition, seen) in partitions {
            let Some(marking) = seen.progress.marking.filter(|_| self.checked.get(partition) != Some(&beginning)) else { continue };
            let needed = if *partition == beginning.partition {
                Some(beginning.offset)
            } else {
                errands.offset_at(*partition, beginning.earliest())
            };
            match needed {
                Some(needed) if needed < marking.since => errands.rewind(*partition, needed),
                Some(_) => drop(self.checked.insert(*partition, beginning)),
                None => {}
            }
        }
    }

    /// Waits for what is under way. Blocks.
    pub(crate) fn join(self) {
        if self.completing.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("completing a snapshot panicked");
        }
    }
}
