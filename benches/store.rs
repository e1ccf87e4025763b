//! The embedded store as a whole: how fast are writes, reads, scans, the log and backups?
//!
//! Baseline of the writes, in turns with them: the same number of bytes appended to a bare file and synced, in groups of
//! the same size. The store decides each write on the image before, writes the object and its record with both images,
//! and answers each writer.
//!
//! Data: made up, 100 000 objects of 10 fields and about 300 bytes under random ids; writers update objects at random.
//!
//! Run: `cargo bench --bench store`; `-- --brief` takes a few seconds and shows only that it works. The directory is
//! made where `TMPDIR` says; the figures are those of its disk.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use bytes::Bytes;
use dataflows::access::Caller;
use dataflows::change::Writer;
use dataflows::query::ast::Predicate;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidegate::changelog::Position;
use tidegate::config::{Config, Durability};
use tidegate::store::embedded::Embedded;
use tidegate::store::{Actor, Decision, Key, Selection, Store, Write};

fn random(state: &AtomicU64) -> u64 {
    let mixed = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

fn write(id: u64) -> Write {
    let id: Arc<str> = format!("/db/lots/{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into();
    let key = Key { app: "bench".into(), bucket: "lots".into(), id: Arc::clone(&id) };
    let decide = move |_: Option<&dataflows::change::Image>, stamp: &tidegate::store::Stamp| {
        let mut text = format!(r#"{{"id":"{id}","version":{}"#, stamp.version);
        for field in 0..8 {
            text.push_str(&format!(r#","field{field}":"{:016x}{:04}""#, stamp.commit.wrapping_mul(field + 1), field));
        }
        text.push('}');
        Ok(Decision::Put(Bytes::from(text)))
    };
    Write { key, decide: Arc::new(decide), actor: Actor::server(), writer: Writer::default() }
}

/// Writes/s and the time from a write to its answer (p50, p99) with so many writers who each wait for their answer.
async fn writers(store: &Arc<Embedded>, objects: u64, count: usize, time: Duration) -> (f64, Duration, Duration) {
    let ids = Arc::new(AtomicU64::new(count as u64));
    let start = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let (store, ids) = (Arc::clone(store), Arc::clone(&ids));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < time {
                    let begin = Instant::now();
                    store.commit(write(random(&ids) % objects)).await.unwrap();
                    times.push(begin.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    (rate, times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Groups of `size` writes of `bytes` each, appended to a file and synced: writes/s.
fn bare(dir: &std::path::Path, size: usize, bytes: usize, time: Duration) -> f64 {
    let mut file = std::fs::File::create(dir.join("bare")).unwrap();
    let group = vec![7u8; size * bytes];
    let (start, mut groups) = (Instant::now(), 0);
    while start.elapsed() < time {
        file.write_all(&group).unwrap();
        file.sync_data().unwrap();
        groups += 1;
    }
    (groups * size) as f64 / start.elapsed().as_secs_f64()
}

/// Processor time that this process has used, all threads; ticks of 10 ms.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() {
    let brief = std::env::args().any(|argument| argument == "--brief");
    let (objects, time) = if brief { (2_000, Duration::from_millis(200)) } else { (100_000, Duration::from_secs(3)) };
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    for durability in [Durability::Disk, Durability::System] {
        config.store.data = dir.path().join(format!("{durability:?}"));
        config.store.durability = durability;
        let store = Arc::new(Embedded::open(&config.store, &config.changelog).unwrap());
        for chunk in (0..objects).collect::<Vec<_>>().chunks(10_000) {
            let answers: Vec<_> = chunk.iter().map(|id| store.commit(write(*id))).collect();
            for answer in answers {
                answer.await.unwrap();
            }
        }
        println!("{objects} objects, durability {durability:?}");
        println!("| writers | writes/s | answer p50 / p99 ms | processor us a write | writes in a group | bare file writes/s |");
        println!("|---|---|---|---|---|---|");
        for count in [1, 16, 256, 2048] {
            let (before, used) = (store.statistics(), processor());
            let (rate, p50, p99) = writers(&store, objects, count, time).await;
            let (after, used) = (store.statistics(), processor() - used);
            let each = used.as_secs_f64() * 1e6 / (after.commits - before.commits) as f64;
            let group = (after.commits - before.commits) as f64 / (after.groups - before.groups) as f64;
            // Object, record with two images, keys.
            let baseline = bare(dir.path(), group.round() as usize, 1250, time / 2);
            let answers = format!("{:.2} / {:.2}", ms(p50), ms(p99));
            println!("| {count} | {rate:.0} | {answers} | {each:.1} | {group:.1} | {baseline:.0} |");
        }
        if durability == Durability::System {
            reads(&store, objects).await;
        }
        store.close().await.unwrap();
    }
}

async fn reads(store: &Arc<Embedded>, objects: u64) {
    let snapshot = store.snapshot().await.unwrap();
    let rate = |count: u64, (start, used): (Instant, Duration)| {
        let each = (processor() - used).as_secs_f64() * 1e6 / count as f64;
        format!("{:.0}/s, processor {each:.2} us each", count as f64 / start.elapsed().as_secs_f64())
    };
    let start = || (Instant::now(), processor());
    let gets = objects.min(20_000);
    let begin = start();
    for id in 0..gets {
        assert!(snapshot.get(&write(id * 7 % objects).key).await.unwrap().is_some());
    }
    println!("get, one after the other: {}", rate(gets, begin));
    let selection = Selection::all("bench".into(), "lots".into(), Arc::new(Predicate::True), Arc::new(Caller::anonymous()), usize::MAX);
    for (name, predicate) in [("select, all match", Predicate::True), ("select, none matches", Predicate::False)] {
        let begin = start();
        let found = snapshot.select(Selection { predicate: Arc::new(predicate), ..selection.clone() }).await.unwrap();
        assert!(found.is_empty() || found.len() as u64 == objects);
        println!("{name}: {}", rate(objects, begin));
    }
    let log = store.changelog();
    let (head, oldest) = (log.head(), log.oldest());
    let recent = Position::single(head.log, head.commit().saturating_sub(1_000));
    for (name, from) in [("log from memory", recent), ("log from disk", oldest)] {
        let (mut at, mut count, begin) = (from, 0, start());
        while at != head && count < 200_000 {
            let batch = log.read(at, 256 << 10).await.unwrap();
            count += batch.changes.len() as u64;
            at = batch.through;
        }
        println!("{name}: {}", rate(count, begin));
    }
    let begin = start();
    let copied = Arc::clone(store);
    let copy = tokio::task::spawn_blocking(move || {
        let mut bytes = 0;
        copied.backup(std::io::sink(), &mut |progress| bytes = progress.bytes).unwrap();
        bytes
    });
    let bytes = copy.await.unwrap();
    println!("backup, megabytes: {}", rate(bytes.div_ceil(1_000_000), begin));
}
