//! One change from bytes to events: parse a document, match it, emit what it touches.
//!
//! Measured on one thread, by its processor time, on the data of `workload`: the JSON text of 10 fields and about 300 bytes is
//! parsed, matched together with the image before (which was parsed when it was the image after), and for each delta an
//! event is written: the query's number, what happened, and the shared text. The baseline is the time in which `serde_json`
//! skips the same bytes (`IgnoredAny`), which also finds all that is wrong in them. Both by turns in one run, medians.
//!
//! Run: `cargo bench --bench parse_match_emit` (`-- --brief` ends within seconds, `-- --queries 1000,100000` is
//! for these sizes).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod workload;

use bytes::Bytes;
use dataflows::change::{Change, Image, Operation, Writer};
use dataflows::document::{DateFields, DocumentLimits};
use dataflows::engine::Delta;
use dataflows::index::QueryIndex;
use serde::de::IgnoredAny;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use workload::{Dice, Mix, brief, document, index, median, processor_time, scope, wished_sizes};

/// An event as it would go to a connection's queue: the text is shared, not copied.
struct Event {
    query: u64,
    kind: &'static str,
    text: Bytes,
}

/// The texts that updates bring, and the image that stands before each.
struct Updates {
    texts: Vec<Bytes>,
    before: Vec<Arc<Image>>,
    limits: DocumentLimits,
    dates: DateFields,
}

impl Updates {
    fn new(count: usize) -> Updates {
        let mut dice = Dice(3);
        let (limits, dates) = (DocumentLimits::default(), DateFields::default());
        let (mut texts, mut before) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let lot = dice.roll(1_000_000);
            let mut text = |version| Bytes::from(document(lot, version, dice.roll(1_000_000), dice.roll(1_000_000)));
            let old = text(1);
            texts.push(text(2));
            before.push(Arc::new(Image::parse(old, &dates, limits).unwrap()));
        }
        Updates { texts, before, limits, dates }
    }

    fn parse(&self, number: usize) -> Image {
        Image::parse(self.texts[number].clone(), &self.dates, self.limits).unwrap()
    }
}

/// Seconds of one turn of work.
fn measure(time: Duration, next: &mut usize, mut work: impl FnMut(usize)) -> f64 {
    let (start, mut count, mut batch) = (processor_time(), 0u64, 64);
    loop {
        for _ in 0..batch {
            work(*next);
            *next += 1;
        }
        count += batch;
        let passed = processor_time() - start;
        if passed > time {
            return passed.as_secs_f64() / count as f64;
        }
        if passed < time / 20 {
            batch *= 2;
        }
    }
}

fn emit(index: &mut QueryIndex, updates: &Updates, template: &mut Change, deltas: &mut Vec<Delta>, events: &mut Vec<Event>, number: usize) {
    let number = number % updates.texts.len();
    let after = Arc::new(updates.parse(number));
    template.before = Some(updates.before[number].clone());
    template.after = Some(after.clone());
    deltas.clear();
    index.matches(template, deltas);
    events.clear();
    events.extend(deltas.iter().map(|delta| {
        let kind = match (delta.before, delta.after) {
            (false, _) => "add",
            (true, true) => "change",
            (true, false) => "remove",
        };
        Event { query: delta.query.0, kind, text: after.json().clone() }
    }));
    for event in &*events {
        black_box((event.query, event.kind, event.text.len()));
    }
}

fn main() {
    let brief = brief();
    let sizes: &[u64] = if brief { &[1_000, 20_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let wished = wished_sizes();
    let sizes = wished.as_deref().unwrap_or(sizes);
    let (turns, time) = if brief { (3, Duration::from_millis(60)) } else { (7, Duration::from_millis(400)) };
    let updates = Updates::new(if brief { 2_000 } else { 20_000 });
    let bytes = updates.texts.iter().map(Bytes::len).sum::<usize>() / updates.texts.len();
    println!("documents of {bytes} bytes, selective queries, one thread; nanoseconds, medians");
    let head = ["queries", "skip (base)", "parse", "all", "all / skip", "to first", "updates/s", "events"];
    println!("{}", head.map(|title| format!("{title:>12}")).join(" "));
    let (app, bucket) = scope();
    let mut template = Change {
        commit: 1,
        at: 0,
        app,
        bucket,
        id: "/db/lots/1".into(),
        operation: Operation::Update,
        before: None,
        after: None,
        schema_version: 0,
        control: 0,
        writer: Writer::default(),
        batch: None,
    };
    let mut first = None;
    for &size in sizes {
        let mut index = index(size, Mix::Selective, false);
        let (mut deltas, mut events) = (Vec::new(), Vec::new());
        let (mut skips, mut parses, mut alls) = (Vec::new(), Vec::new(), Vec::new());
        let (mut at, mut count, mut emitted) = ([0; 3], 0u64, 0u64);
        for _ in 0..turns {
            skips.push(measure(time, &mut at[0], |number| {
                let text = &updates.texts[number % updates.texts.len()];
                black_box(serde_json::from_slice::<IgnoredAny>(text).unwrap());
            }));
            parses.push(measure(time, &mut at[1], |number| {
                black_box(updates.parse(number % updates.texts.len()));
            }));
            alls.push(measure(time, &mut at[2], |number| {
                emit(&mut index, &updates, &mut template, &mut deltas, &mut events, number);
                count += 1;
                emitted += events.len() as u64;
            }));
        }
        let (skip, parse, all) = (median(skips), median(parses), median(alls));
        let first = *first.get_or_insert(all);
        let row = [
            size.to_string(),
            format!("{:.0}", skip * 1e9),
            format!("{:.0}", parse * 1e9),
            format!("{:.0}", all * 1e9),
            format!("{:.1}", all / skip),
            format!("{:.2}", all / first),
            format!("{:.0}", 1.0 / all),
            format!("{:.2}", emitted as f64 / count as f64),
        ];
        println!("{}", row.map(|cell| format!("{cell:>12}")).join(" "));
    }
}
