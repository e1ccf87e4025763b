//! Records that gather on their way into the store, and what comes off where the store takes fewer of them at once.

use super::dead_letter::{Letter, Raw};
use super::meaning::Moments;
use super::progress::{Marking, Tally};
use crate::store::{Note, Write};
use rdkafka::message::{Headers, OwnedHeaders};
use std::ops::Range;

/// Records and bytes of a batch at most.
const RECORDS: usize = 2_000;
const BYTES: usize = 4 << 20;

/// Records that gather.
#[derive(Default)]
pub(crate) struct Batch {
    /// What became of each record, in their order
    taken: Vec<Taken>,
    /// The offset behind all of it. None: there is nothing to commit.
    pub(crate) next: Option<i64>,
    writes: Vec<Write>,
    /// Of each write
    origins: Vec<Origin>,
    /// Keys and values of the records behind the writes, should one be refused
    raw: Vec<u8>,
    pub(crate) letters: Vec<Letter>,
    /// Fields that hold moments and are not declared yet
    pub(crate) moments: Moments,
    /// Objects that were seen while a snapshot runs
    pub(crate) marks: Vec<Note>,
    /// Whether the record that is being taken has one
    marked: bool,
    /// As it is behind the last record
    pub(crate) marking: Option<Marking>,
    /// Of everything here that came in
    bytes: usize,
}

/// A record in a batch.
struct Taken {
    offset: i64,
    came: Came,
    marked: bool,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// A write, the next one of the batch
    Write,
    /// A dead letter
    Letter,
    /// Nothing, and counted by this name
    Skipped(&'static str),
    /// Something that is done already: a truncate
    Done,
    /// Nothing: it was written before, and is here to be marked
    Again,
}

/// Where a write comes from.
struct Origin {
    offset: i64,
    timestamp: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Option<OwnedHeaders>,
}

impl Batch {
    /// Whether it is to be committed before more comes in.
    pub(crate) fn is_full(&self) -> bool {
        self.taken.len() >= RECORDS || self.bytes >= BYTES
    }

    pub(crate) fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Adds what a record writes.
    pub(crate) fn write(&mut self, write: Write, raw: &Raw<'_>) {
        let mut part = |bytes: Option<&[u8]>| {
            bytes.map(|bytes| {
                let from = self.raw.len();
                self.raw.extend_from_slice(bytes);
                from..self.raw.len()
            })
        };
        let (key, value) = (part(raw.key), part(raw.value));
        self.bytes += raw.bytes();
        self.writes.push(write);
        self.origins.push(Origin { offset: raw.offset, timestamp: raw.timestamp, key, value, headers: raw.headers.cloned() });
    }

    /// Adds what a record became that cannot be read.
    pub(crate) fn put_aside(&mut self, letter: Letter) {
        self.bytes += letter.bytes();
        self.letters.push(letter);
    }

    /// Adds that a record's object was seen.
    pub(crate) fn mark(&mut self, note: Note) {
        self.bytes += note.key.len();
        self.marks.push(note);
        self.marked = true;
    }

    /// Ends with a record.
    pub(crate) fn pass(&mut self, offset: i64, came: Came) {
        self.taken.push(Taken { offset, came, marked: std::mem::take(&mut self.marked) });
    }

    /// Takes a refused write out, to make a letter of its record.
    pub(crate) fn refuse(&mut self, place: usize, partition: i32, letter: impl FnOnce(&Raw<'_>) -> Letter) {
        drop(self.writes.remove(place));
        let origin = self.origins.remove(place);
        self.letters.push(letter(&origin.raw(partition, &self.raw)));
        if let Some(taken) = self.taken.iter_mut().filter(|taken| taken.came == Came::Write).nth(place) {
            taken.came = Came::Letter;
        }
    }

    /// Takes off what comes behind so many writes. Letters and moments are to be safe before.
    pub(crate) fn split_off(&mut self, writes: usize) -> Batch {
        let written = self.taken.iter().enumerate().filter(|(_, taken)| taken.came == Came::Write);
        let cut = written.map(|(place, _)| place).nth(writes).unwrap_or(self.taken.len());
        let taken = self.taken.split_off(cut);
        let marks = self.taken.iter().filter(|taken| taken.marked).count();
        let rest = Batch {
            next: self.next,
            writes: self.writes.split_off(writes),
            origins: self.origins.split_off(writes),
            raw: self.raw.clone(),
            marks: self.marks.split_off(marks),
            // What is known of a snapshot early makes no difference: read again it is met again.
            marking: self.marking,
            bytes: self.bytes,
            taken,
            ..Batch::default()
        };
        self.next = rest.taken.first().map_or(self.next, |taken| Some(taken.offset));
        rest
    }

    /// What it adds to the progress.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally { next: self.next, ..Tally::default() };
        for taken in &self.taken {
            tally.records += u64::from(taken.came != Came::Again);
            tally.dead_letters += u64::from(taken.came == Came::Letter);
            if let Came::Skipped(kind) = taken.came {
                *tally.skipped.entry(kind).or_default() += 1;
            }
        }
        tally
    }
}

impl Origin {
    fn raw<'r>(&'r self, partition: i32, raw: &'r [u8]) -> Raw<'r> {
        let part = |range: &Option<Range<usize>>| range.clone().and_then(|range| raw.get(range));
        Raw {
            partition,
            offset: self.offset,
            timestamp: self.timestamp,
            key: part(&self.key),
            value: part(&self.value),
            headers: self.headers.as_ref(),
        }
    }
}

impl Raw<'_> {
    /// What it takes to keep it.
    fn bytes(&self) -> usize {
        let headers = self.headers.into_iter().flat_map(Headers::iter);
        let headers: usize = headers.map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum();
        headers + self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ingest::apply;
    use crate::store::Key;
    use bytes::Bytes;
    use rdkafka::message::Header;

    fn raw<'r>(offset: i64, value: &'r [u8], headers: Option<&'r OwnedHeaders>) -> Raw<'r> {
        Raw { partition: 0, offset, timestamp: None, key: Some(b"k"), value: Some(value), headers }
    }

    fn letter(offset: i64, value: &str) -> Letter {
        let text = format!(
            r#"{{"topic":"t","bucket":"B","partition":0,"offset":{offset},"timestamp":null,"code":"c","reason":"","key":null,"value":"{value}","at":""}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn write(batch: &mut Batch, offset: i64, marked: bool) {
        let id = format!("/db/B/{offset}");
        batch.write(apply::delete(Key { app: "app".into(), bucket: "B".into(), id: id.clone().into() }), &raw(offset, b"value", None));
        if marked {
            batch.mark(Note { key: Bytes::from(id), value: None });
        }
        batch.pass(offset, Came::Write);
    }

    #[test]
    fn its_pieces_are_as_good_as_the_whole() {
        let mut batch = Batch { next: Some(30), ..Batch::default() };
        write(&mut batch, 10, true);
        batch.pass(11, Came::Skipped("heartbeat"));
        write(&mut batch, 12, false);
        batch.put_aside(letter(13, "x"));
        batch.pass(13, Came::Letter);
        // An offset is missing here.
        write(&mut batch, 15, true);
        batch.pass(16, Came::Again);
        write(&mut batch, 17, false);
        batch.pass(18, Came::Done);
        batch.refuse(1, 0, |raw| {
            assert_eq!((raw.offset, raw.value), (12, Some(&b"value"[..])));
            letter(raw.offset, "y")
        });
        batch.letters.clear();
        let whole = batch.tally();
        let rest = batch.split_off(1);
        let shape = |batch: &Batch| {
            let ids: Vec<_> = batch.writes().iter().map(|write| write.key.id.to_string()).collect();
            let marks: Vec<_> = batch.marks.iter().map(|note| note.key.clone()).collect();
            (batch.next, ids, marks)
        };
        assert_eq!(shape(&batch), (Some(15), vec!["/db/B/10".into()], vec!["/db/B/10".into()]));
        assert_eq!(shape(&rest), (Some(30), vec!["/db/B/15".into(), "/db/B/17".into()], vec!["/db/B/15".into()]));
        let (one, other) = (batch.tally(), rest.tally());
        assert_eq!((one.records, one.dead_letters, other.records, other.dead_letters), (4, 2, 3, 0));
        assert_eq!((whole.records, whole.dead_letters), (7, 2));
        assert_eq!((one.skipped, other.skipped.len()), (whole.skipped, 0));
        let mut rest = rest;
        rest.refuse(0, 0, |raw| letter(raw.offset, "z"));
        assert_eq!((rest.letters[0].offset, rest.tally().dead_letters), (15, 1));
    }

    #[test]
    fn letters_and_headers_make_it_full() {
        let large = "x".repeat(BYTES / 4);
        let mut batch = Batch::default();
        for offset in 0..4 {
            assert!(!batch.is_full());
            batch.put_aside(letter(offset, &large));
            batch.pass(offset, Came::Letter);
        }
        assert!(batch.is_full());
        let mut batch = Batch::default();
        let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some(&large) });
        for offset in 0..4 {
            assert!(!batch.is_full());
            let key = Key { app: "app".into(), bucket: "B".into(), id: "/db/B/1".into() };
            batch.write(apply::delete(key), &raw(offset, b"{}", Some(&headers)));
            batch.pass(offset, Came::Write);
        }
        assert!(batch.is_full());
    }
}
