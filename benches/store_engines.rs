//! Which embedded engine fits the store: fjall, redb or LMDB (heed)?
//!
//! Measures what the store does with an engine, and nothing else: groups of commits (for each write: read the object,
//! put it, put a log record of twice its size; for each group: put the counters and make it durable), a scan of a
//! bucket in the order of ids, reading the log in order.
//!
//! Data: made up, the same for all: objects of 10 fields and about 300 bytes under ids of 26 bytes, in random order. The
//! store is filled with 100 000 of them, then written at random for three seconds with each size of group.
//!
//! Run: `cargo bench --bench store_engines`; `-- --brief` takes a few seconds and shows only that it works. The directory is
//! made where `TMPDIR` says; the figures are those of its disk. One thread, as the store has one writer.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::path::Path;
use std::time::{Duration, Instant};

/// What the store wants of an engine.
trait Engine {
    fn open(path: &Path) -> Self;
    /// Commits (key, object, commit number) as one group. Returns bytes read, so that no read is left out.
    fn group(&mut self, writes: &[(Vec<u8>, Vec<u8>, u64)], durable: bool) -> usize;
    /// Objects and their bytes.
    fn scan(&self) -> (usize, usize);
    /// Records from a commit number on, and their bytes.
    fn log(&self, from: u64) -> (usize, usize);
}

fn record(object: &[u8]) -> Vec<u8> {
    [object, object].concat()
}

struct Fjall {
    database: fjall::Database,
    objects: fjall::Keyspace,
    log: fjall::Keyspace,
    meta: fjall::Keyspace,
}

impl Engine for Fjall {
    fn open(path: &Path) -> Self {
        let database = fjall::Database::builder(path).cache_size(256 << 20).open().unwrap();
        let options = || fjall::KeyspaceCreateOptions::default().max_memtable_size(32 << 20);
        let keyspace = |name| database.keyspace(name, options).unwrap();
        Fjall { objects: keyspace("objects"), log: keyspace("log"), meta: keyspace("meta"), database }
    }

    fn group(&mut self, writes: &[(Vec<u8>, Vec<u8>, u64)], durable: bool) -> usize {
        let (mut batch, mut read) = (self.database.batch(), 0);
        for (key, object, commit) in writes {
            read += self.objects.get(key).unwrap().map_or(0, |value| value.len());
            batch.insert(&self.objects, key.as_slice(), object.as_slice());
            batch.insert(&self.log, commit.to_be_bytes(), record(object));
            batch.insert(&self.meta, "state", commit.to_be_bytes());
        }
        let mode = if durable { fjall::PersistMode::SyncData } else { fjall::PersistMode::Buffer };
        batch.durability(Some(mode)).commit().unwrap();
        read
    }

    fn scan(&self) -> (usize, usize) {
        use fjall::Readable;
        let values = self.database.snapshot().iter(&self.objects).map(|entry| entry.value().unwrap().len());
        values.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }

    fn log(&self, from: u64) -> (usize, usize) {
        let values = self.log.range(from.to_be_bytes()..).map(|entry| entry.value().unwrap().len());
        values.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }
}

struct Redb(redb::Database);

const OBJECTS: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("objects");
const LOG: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("log");
const META: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("meta");

impl Engine for Redb {
    fn open(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        Redb(redb::Database::builder().set_cache_size(256 << 20).create(path.join("redb")).unwrap())
    }

    fn group(&mut self, writes: &[(Vec<u8>, Vec<u8>, u64)], durable: bool) -> usize {
        let mut transaction = self.0.begin_write().unwrap();
        let durability = if durable { redb::Durability::Immediate } else { redb::Durability::None };
        transaction.set_durability(durability).unwrap();
        let mut read = 0;
        {
            let mut objects = transaction.open_table(OBJECTS).unwrap();
            let mut log = transaction.open_table(LOG).unwrap();
            let mut meta = transaction.open_table(META).unwrap();
            for (key, object, commit) in writes {
                let before = objects.insert(key.as_slice(), object.as_slice()).unwrap();
                read += before.map_or(0, |value| value.value().len());
                log.insert(*commit, record(object).as_slice()).unwrap();
                meta.insert("state", *commit).unwrap();
            }
        }
        transaction.commit().unwrap();
        read
    }

    fn scan(&self) -> (usize, usize) {
        use redb::{ReadableDatabase, ReadableTable};
        let table = self.0.begin_read().unwrap().open_table(OBJECTS).unwrap();
        let values = table.iter().unwrap().map(|entry| entry.unwrap().1.value().to_vec().len());
        values.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }

    fn log(&self, from: u64) -> (usize, usize) {
        use redb::ReadableDatabase;
        let table = self.0.begin_read().unwrap().open_table(LOG).unwrap();
        let values = table.range(from..).unwrap().map(|entry| entry.unwrap().1.value().to_vec().len());
        values.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }
}

type Table = heed::Database<heed::types::Bytes, heed::types::Bytes>;

struct Lmdb {
    environment: heed::Env,
    tables: [Table; 3],
}

impl Engine for Lmdb {
    // LMDB maps its file, which nobody else may change: the directory is this process's own.
    #[allow(unsafe_code)]
    fn open(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let environment = unsafe { heed::EnvOpenOptions::new().map_size(16 << 30).max_dbs(3).open(path).unwrap() };
        let mut transaction = environment.write_txn().unwrap();
        let tables = ["objects", "log", "meta"].map(|name| environment.create_database(&mut transaction, Some(name)).unwrap());
        transaction.commit().unwrap();
        Lmdb { environment, tables }
    }

    #[allow(unsafe_code)]
    fn group(&mut self, writes: &[(Vec<u8>, Vec<u8>, u64)], durable: bool) -> usize {
        let mode = if durable { heed::FlagSetMode::Disable } else { heed::FlagSetMode::Enable };
        // No other thread is here.
        unsafe { self.environment.set_flags(heed::EnvFlags::NO_SYNC, mode).unwrap() };
        let [objects, log, meta] = &self.tables;
        let mut transaction = self.environment.write_txn().unwrap();
        let mut read = 0;
        for (key, object, commit) in writes {
            read += objects.get(&transaction, key).unwrap().map_or(0, <[u8]>::len);
            objects.put(&mut transaction, key, object).unwrap();
            log.put_with_flags(&mut transaction, heed::PutFlags::APPEND, &commit.to_be_bytes(), &record(object)).unwrap();
            meta.put(&mut transaction, b"state", &commit.to_be_bytes()).unwrap();
        }
        transaction.commit().unwrap();
        read
    }

    fn scan(&self) -> (usize, usize) {
        let transaction = self.environment.read_txn().unwrap();
        let values = self.tables[0].iter(&transaction).unwrap().map(|entry| entry.unwrap().1.to_vec().len());
        values.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }

    fn log(&self, from: u64) -> (usize, usize) {
        let transaction = self.environment.read_txn().unwrap();
        let from = from.to_be_bytes();
        let range = (std::ops::Bound::Included(&from[..]), std::ops::Bound::Unbounded);
        let values = self.tables[1].range(&transaction, &range).unwrap().map(|entry| entry.unwrap().1.to_vec().len());
        values.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }
}

/// The same numbers for every engine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }
}

fn object(id: u64, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let id = format!("/db/lots/{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut text = format!(r#"{{"id":"{id}","version":{}"#, random.next() % 1000);
    for field in 0..8 {
        text.push_str(&format!(r#","field{field}":"{:016x}{:04}""#, random.next(), field));
    }
    text.push('}');
    (id.into_bytes(), text.into_bytes())
}

/// Processor time that this process has used, all threads (compaction, too); ticks of 10 ms. Steadier than the clock
/// on a machine with neighbours.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
}

struct Row {
    groups: Vec<(f64, Duration, Duration)>,
    /// Writes/s, and processor microseconds of one
    buffered: (f64, f64),
    /// Objects/s, and processor microseconds of one
    scan: (f64, f64),
    /// Records/s, and processor microseconds of one
    log: (f64, f64),
    disk: f64,
}

fn disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.path().is_dir() { disk(&entry.path()) } else { entry.metadata().unwrap().blocks() * 512 }).sum()
}

fn measure<E: Engine>(objects: u64, time: Duration, sizes: &[usize]) -> Row {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = E::open(&dir.path().join("store"));
    let mut random = Random(1);
    let mut commit = 0;
    let mut group = |size: usize, ids: &mut dyn FnMut(&mut Random) -> u64| -> Vec<(Vec<u8>, Vec<u8>, u64)> {
        (0..size)
            .map(|_| {
                commit += 1;
                let id = ids(&mut random);
                let (key, object) = object(id, &mut random);
                (key, object, commit)
            })
            .collect()
    };
    let mut next = 0;
    while next < objects {
        let writes = group(1000, &mut |_| {
            next += 1;
            next
        });
        engine.group(&writes, false);
    }
    let mut run = |engine: &mut E, size: usize, durable: bool| {
        let (mut times, mut busy) = (Vec::new(), Duration::ZERO);
        while busy < time {
            let writes = group(size, &mut |random| random.next() % objects + 1);
            let start = Instant::now();
            std::hint::black_box(engine.group(&writes, durable));
            let took = start.elapsed();
            busy += took;
            times.push(took);
        }
        times.sort_unstable();
        let rate = (times.len() * size) as f64 / busy.as_secs_f64();
        (rate, times[times.len() / 2], times[times.len() * 99 / 100])
    };
    let groups = sizes.iter().map(|size| run(&mut engine, *size, true)).collect();
    let used = processor();
    let (rate, ..) = run(&mut engine, 64, false);
    let wrote = rate * time.as_secs_f64();
    let buffered = (rate, (processor() - used).as_secs_f64() * 1e6 / wrote);
    let timed = |work: &dyn Fn() -> (usize, usize)| {
        let (start, used) = (Instant::now(), processor());
        let (count, bytes) = std::hint::black_box(work());
        assert!(count > 0 && bytes > 0);
        let rate = count as f64 / start.elapsed().as_secs_f64();
        (rate, (processor() - used).as_secs_f64() * 1e6 / count as f64)
    };
    let scan = timed(&|| {
        let (count, bytes) = engine.scan();
        assert_eq!(count as u64, objects);
        (count, bytes)
    });
    let log = timed(&|| engine.log(1));
    Row { groups, buffered, scan, log, disk: disk(dir.path()) as f64 / commit as f64 }
}

fn main() {
    let brief = std::env::args().any(|argument| argument == "--brief");
    let (objects, time) = if brief { (2_000, Duration::from_millis(200)) } else { (100_000, Duration::from_secs(3)) };
    let sizes = [1, 16, 256];
    println!("in brackets: times of a group; processor time of one write, object or record");
    println!("{objects} objects of about 300 bytes; each write reads and puts its object and puts a record of 600 bytes");
    println!();
    println!(
        "| engine | durable writes/s in groups of {sizes:?} (p50 / p99 of a group) | not synced, groups of 64 | scan objects/s | log records/s | bytes on disk a write |"
    );
    println!("|---|---|---|---|---|---|");
    let engines: [(&str, fn(u64, Duration, &[usize]) -> Row); 3] =
        [("fjall 3.1", measure::<Fjall>), ("redb 4", measure::<Redb>), ("LMDB (heed 0.22)", measure::<Lmdb>)];
    for (name, measure) in engines {
        let row = measure(objects, time, &sizes);
        let groups: Vec<String> = row
            .groups
            .iter()
            .map(|(rate, p50, p99)| format!("{rate:.0} ({:.2} / {:.2} ms)", p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3))
            .collect();
        let rate = |(rate, each): (f64, f64)| format!("{rate:.0} ({each:.2} us)");
        let [buffered, scan, log] = [row.buffered, row.scan, row.log].map(rate);
        println!("| {name} | {} | {buffered} | {scan} | {log} | {:.0} |", groups.join(", "), row.disk);
    }
}
