//! Matching alone: changes a second through the index, against evaluating every query.
//!
//! Measured on one thread, by its processor time, with both images of each change, on the data of `workload`, at 1 000 to 1 000 000 standing queries
//! of the mixed and of the selective kind. The baseline puts each change to every query, with the same compiled predicates:
//! the first condition of each stands in one array that is read from end to end. Both by turns in one run,
//! medians. Before it measures, it checks that both find the same. Also: bytes a query that the allocator was asked for, all in,
//! and microseconds to insert and to remove a query (of queries beside those that stand).
//!
//! Run: `cargo bench --bench matching` (`-- --brief` ends within seconds, `-- --queries 1000,100000` is
//! for these sizes).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod workload;

use dataflows::change::Change;
use dataflows::engine::{Delta, QueryId};
use dataflows::index::QueryIndex;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use workload::{Dice, Mix, brief, changes, index, median, predicate, processor_time, scope, wished_sizes};

/// Counts the bytes that are in use.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);

// Only passes on what it is asked.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        USED.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        USED.fetch_add(size, Relaxed);
        USED.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Seconds of processor time a change, going around through the changes for about this long.
fn measure(index: &mut QueryIndex, changes: &[Change], time: Duration, next: &mut usize) -> f64 {
    let mut deltas: Vec<Delta> = Vec::new();
    let (start, mut count, mut batch) = (processor_time(), 0u64, 1);
    loop {
        for _ in 0..batch {
            deltas.clear();
            index.matches(&changes[*next % changes.len()], &mut deltas);
            black_box(&deltas);
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

fn found(index: &mut QueryIndex, change: &Change) -> Vec<Delta> {
    let mut deltas = Vec::new();
    index.matches(change, &mut deltas);
    deltas.sort_by_key(|delta| delta.query);
    deltas
}

/// Microseconds to insert and to remove one query.
fn churn(index: &mut QueryIndex, mix: Mix, count: u64) -> (f64, f64) {
    let (app, bucket) = scope();
    let mut dice = Dice(99);
    let fresh: Vec<_> = (0..count).map(|_| predicate(&mut dice, mix)).collect();
    let start = processor_time();
    for (number, predicate) in fresh.into_iter().enumerate() {
        index.insert(&app, &bucket, QueryId(1 << 40 | number as u64), predicate).unwrap();
    }
    let inserted = processor_time() - start;
    for number in 0..count {
        // In another order than they came.
        assert!(index.remove(QueryId((1 << 40) | (number * 7_919 % count))));
    }
    let removed = processor_time() - start - inserted;
    (inserted.as_secs_f64() * 1e6 / count as f64, removed.as_secs_f64() * 1e6 / count as f64)
}

fn main() {
    let brief = brief();
    let sizes: &[u64] = if brief { &[1_000, 10_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let wished = wished_sizes();
    let sizes = wished.as_deref().unwrap_or(sizes);
    let (turns, time) = if brief { (3, Duration::from_millis(60)) } else { (7, Duration::from_millis(400)) };
    let changes = changes(if brief { 2_000 } else { 20_000 });
    let head = [
        "queries",
        "changes/s",
        "scan: changes/s",
        "evaluations/s",
        "ratio",
        "matches",
        "candidates",
        "bytes/query",
        "insert us",
        "remove us",
    ];
    for (mix, name) in [(Mix::Selective, "selective"), (Mix::Mixed, "mixed")] {
        println!("\n{name} queries, one thread, two images a change");
        println!("{}", head.map(|title| format!("{title:>15}")).join(" "));
        for &size in sizes {
            let used = USED.load(Relaxed);
            let mut indexed = index(size, mix, false);
            let bytes = (USED.load(Relaxed) - used) as f64 / size as f64;
            let mut scanned = index(size, mix, true);
            let mut matches = 0;
            let checked = if size > 100_000 { 20 } else { 100 };
            for change in &changes[..checked] {
                let deltas = found(&mut indexed, change);
                assert_eq!(deltas, found(&mut scanned, change), "the index finds what evaluating every query finds");
                matches += deltas.len();
            }
            let before = indexed.statistics();
            let (mut index_times, mut scan_times) = (Vec::new(), Vec::new());
            let (mut next, mut next_scanned) = (0, 0);
            for _ in 0..turns {
                index_times.push(measure(&mut indexed, &changes, time, &mut next));
                scan_times.push(measure(&mut scanned, &changes, time, &mut next_scanned));
            }
            let after = indexed.statistics();
            let candidates = (after.candidates - before.candidates) as f64 / (after.changes - before.changes) as f64;
            let (change, scan) = (median(index_times), median(scan_times));
            let (insert, remove) = churn(&mut indexed, mix, if brief { 7_000 } else { 50_000 });
            let row = [
                size.to_string(),
                format!("{:.0}", 1.0 / change),
                format!("{:.0}", 1.0 / scan),
                format!("{:.0} M", size as f64 * 2.0 / scan / 1e6),
                format!("{:.0}", scan / change),
                format!("{:.2}", matches as f64 / checked as f64),
                format!("{candidates:.1}"),
                format!("{bytes:.0}"),
                format!("{insert:.2}"),
                format!("{remove:.2}"),
            ];
            println!("{}", row.map(|cell| format!("{cell:>15}")).join(" "));
        }
    }
}
