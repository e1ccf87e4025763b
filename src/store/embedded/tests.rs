//! The store and its log together, on real directories.

use super::*;
use crate::changelog::record::{ObjectChange, Payload};
use crate::changelog::{LogError, Position, Record};
use crate::config::{Config, Durability};
use crate::store::{Decide, Decision, Key, Refusal, Selection};
use bytes::Bytes;
use dataflows::access::Caller;
use dataflows::change::{Change, Image, Operation, Writer as Who};
use dataflows::document::Value;
use dataflows::query::ast::Predicate;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;

struct House {
    dir: tempfile::TempDir,
    config: Config,
}

impl House {
    fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.data = dir.path().join("data");
        config.store.cache_bytes = 8 << 20;
        config.store.durability = Durability::Disk;
        House { dir, config }
    }

    fn open(&self) -> Embedded {
        Embedded::open(&self.config.store, &self.config.changelog).unwrap()
    }

    fn open_with(&self, wall: &Arc<AtomicI64>) -> Embedded {
        let wall = Arc::clone(wall);
        let clock = Clock::with_source(Box::new(move || wall.load(Ordering::Relaxed)));
        Embedded::open_at(&self.config.store, &self.config.changelog, Arc::new(clock)).unwrap()
    }
}

fn key(bucket: &str, id: &str) -> Key {
    Key { app: "app".into(), bucket: bucket.into(), id: format!("/db/{bucket}/{id}").into() }
}

fn write(key: Key, decide: impl Fn(Option<&Image>, &Stamp) -> Result<Decision, Refusal> + Send + Sync + 'static) -> Write {
    Write { key, decide: Arc::new(decide) as Decide, writer: Who { session: 7, request: 1 } }
}

use crate::store::Stamp;

fn object(key: &Key, stamp: &Stamp, fields: &str) -> Decision {
    let comma = if fields.is_empty() { "" } else { "," };
    let id = serde_json::to_string(&*key.id).unwrap();
    Decision::Put(Bytes::from(format!(r#"{{"id":{id},"version":{},"at":{}{comma}{fields}}}"#, stamp.version, stamp.now)))
}

fn put(key: Key, fields: String) -> Write {
    let own = key.clone();
    write(key, move |_, stamp| Ok(object(&own, stamp, &fields)))
}

fn delete(key: Key) -> Write {
    write(key, |_, _| Ok(Decision::Delete))
}

fn number(image: &Image, name: &str) -> i64 {
    match image.document.root().get(name) {
        Some(Value::Number(number)) => number.as_i64().unwrap(),
        other => panic!("{name}: {other:?}"),
    }
}

fn all(bucket: &str) -> Selection {
    Selection {
        app: "app".into(),
        bucket: bucket.into(),
        predicate: Arc::new(Predicate::True),
        caller: Arc::new(Caller::admin()),
        limit: usize::MAX,
    }
}

/// For what other threads do in their own time; fails when that is far too long.
async fn eventually(mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "it never happened");
        tokio::task::yield_now().await;
    }
}

async fn commit(store: &Embedded, write: Write) -> Arc<Change> {
    store.commit(write).await.unwrap().change.unwrap()
}

/// Ten writes at a time, so that the disk is waited for less often.
async fn commit_all(store: &Embedded, writes: impl IntoIterator<Item = Write>) -> Vec<Arc<Change>> {
    let (mut changes, mut writes) = (Vec::new(), writes.into_iter().peekable());
    while writes.peek().is_some() {
        let answers: Vec<_> = writes.by_ref().take(10).map(|write| store.commit(write)).collect();
        for answer in answers {
            changes.push(answer.await.unwrap().change.unwrap());
        }
    }
    changes
}

async fn contents(snapshot: &Arc<dyn Snapshot>, bucket: &str) -> BTreeMap<String, Bytes> {
    let images = snapshot.select(all(bucket)).await.unwrap();
    images.into_iter().map(|image| (id_of(&image), image.json().clone())).collect()
}

fn id_of(image: &Image) -> String {
    match image.document.root().get("id") {
        Some(Value::String(id)) => id.to_owned(),
        other => panic!("{other:?}"),
    }
}

/// What the changes make of an empty store.
fn replay<'a>(changes: impl IntoIterator<Item = &'a Arc<Change>>) -> BTreeMap<String, Bytes> {
    let mut objects = BTreeMap::new();
    for change in changes {
        let before = change.before.as_ref().map(|image| image.json().clone());
        let found = match &change.after {
            Some(image) => objects.insert(change.id.to_string(), image.json().clone()),
            None => objects.remove(&*change.id),
        };
        assert_eq!(found, before, "the image before is what the changes made");
    }
    objects
}

async fn read_all(log: &Arc<dyn ChangeLog>, from: Position, bytes: usize) -> Result<(Vec<Arc<Change>>, Position), LogError> {
    let (mut changes, mut at) = (Vec::new(), from);
    loop {
        let batch = log.read(at.clone(), bytes).await?;
        if batch.through == at {
            return Ok((changes, at));
        }
        changes.extend(batch.changes);
        at = batch.through;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_writes_lose_no_update() {
    let house = House::new();
    let store = Arc::new(house.open());
    let counter = key("counters", "one");
    commit(&store, put(counter.clone(), r#""n":0"#.into())).await;
    let refused = Arc::new(AtomicI64::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, counter, refused) = (Arc::clone(&store), counter.clone(), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut done = 0;
                while done < 25 {
                    let seen = store.snapshot().await.unwrap().get(&counter).await.unwrap().unwrap();
                    let (asked, n) = (seen.version(), number(&seen, "n"));
                    let own = counter.clone();
                    let increment = write(counter.clone(), move |before, stamp| {
                        let found = before.map_or(0, Image::version);
                        if found != asked {
                            return Err(Refusal::OutOfDate { id: own.id.to_string(), asked: asked.to_string(), found: found.to_string() });
                        }
                        Ok(object(&own, stamp, &format!(r#""n":{}"#, n + 1)))
                    });
                    match store.commit(increment).await {
                        Ok(committed) => {
                            done += 1;
                            // Whoever was told of a commit finds it.
                            assert!(store.snapshot().await.unwrap().contains(&committed.change.unwrap()));
                        }
                        Err(StoreError::Refused(Refusal::OutOfDate { .. })) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let end = store.snapshot().await.unwrap().get(&counter).await.unwrap().unwrap();
    assert_eq!((number(&end, "n"), end.version()), (200, 201));
    assert!(refused.load(Ordering::Relaxed) > 0, "the writers never met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_see_the_earlier_writes_of_their_group() {
    let house = House::new();
    let store = house.open();
    let counter = key("counters", "one");
    // All are queued before the first is answered, so many share a group.
    let answers: Vec<_> = (0..500)
        .map(|_| {
            let own = counter.clone();
            store.commit(write(counter.clone(), move |before, stamp| {
                let n = before.map_or(0, |image| number(image, "n"));
                Ok(object(&own, stamp, &format!(r#""n":{}"#, n + 1)))
            }))
        })
        .collect();
    let mut times = Vec::new();
    for (position, answer) in answers.into_iter().enumerate() {
        let change = answer.await.unwrap().change.unwrap();
        let after = change.after.as_ref().unwrap();
        assert_eq!((number(after, "n"), after.version()), (position as i64 + 1, position as u64 + 1));
        assert_eq!(change.operation, if position == 0 { Operation::Insert } else { Operation::Update });
        assert_eq!(number(after, "at"), change.at);
        times.push(change.at);
    }
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "the times of one object grow strictly");
    let statistics = store.statistics();
    assert_eq!(statistics.commits, 500);
    assert!(statistics.groups < 500, "{statistics:?}");
    assert_eq!(statistics.syncs, statistics.groups);
}

#[tokio::test]
async fn one_bad_write_harms_no_other() {
    let house = House::new();
    let mut small = house.config.store.clone();
    small.object_bytes = 1000;
    let store = Embedded::open(&small, &house.config.changelog).unwrap();
    let good = store.commit(put(key("b", "1"), String::new()));
    let panics = store.commit(write(key("b", "2"), |_, _| panic!("on purpose")));
    let no_json = store.commit(write(key("b", "3"), |_, _| Ok(Decision::Put(Bytes::from_static(b"{oops")))));
    let large = store.commit(put(key("b", "4"), format!(r#""text":"{}""#, "x".repeat(1000))));
    let long_id = store.commit(put(key("b", &"x".repeat(70_000)), String::new()));
    let refused = store.commit(write(key("b", "5"), |_, _| Err(Refusal::Missing("/db/b/5".into()))));
    let nothing = store.commit(delete(key("b", "6")));
    let other = store.commit(put(key("b", "7"), String::new()));
    assert_eq!(good.await.unwrap().change.unwrap().commit, 1);
    assert!(matches!(panics.await, Err(StoreError::Panicked(text)) if text == "on purpose"));
    for unfit in [no_json.await, large.await, long_id.await] {
        assert!(matches!(unfit, Err(StoreError::Unfit(_))), "{unfit:?}");
    }
    assert!(matches!(refused.await, Err(StoreError::Refused(Refusal::Missing(_)))));
    let nothing = nothing.await.unwrap();
    assert!(nothing.change.is_none() && nothing.position.commit() == 1);
    assert_eq!(other.await.unwrap().change.unwrap().commit, 2, "what failed took no commit number");
    assert_eq!(contents(&store.snapshot().await.unwrap(), "b").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_exactly_the_changes_up_to_its_position() {
    let house = House::new();
    let store = Arc::new(house.open());
    let log = store.changelog();
    let start = log.head();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for round in 0..60 {
                    let own = key("things", &format!("{}", (writer * 7 + round * 3) % 20));
                    let write = if round % 4 == 3 { delete(own) } else { put(own, format!(r#""by":{writer},"round":{round}"#)) };
                    store.commit(write).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let snapshot = store.snapshot().await.unwrap();
        seen.push((snapshot.position(), contents(&snapshot, "things").await));
    }
    let (changes, _) = read_all(&log, start, 4096).await.unwrap();
    assert!(changes.windows(2).all(|pair| pair[0].commit + 1 == pair[1].commit && pair[0].at <= pair[1].at));
    assert!(seen.len() > 3);
    for (position, objects) in seen {
        let until = changes.iter().take_while(|change| change.commit <= position.commit());
        assert_eq!(replay(until), objects, "at {position}");
    }
}

#[tokio::test]
async fn after_a_delete_versions_start_again_and_commits_go_on() {
    let house = House::new();
    let wall = Arc::new(AtomicI64::new(1_000));
    let store = house.open_with(&wall);
    let one = key("b", "1");
    let first = commit(&store, put(one.clone(), String::new())).await;
    let gone = commit(&store, delete(one.clone())).await;
    let again = commit(&store, put(one.clone(), String::new())).await;
    let versions = [&first, &again].map(|change| change.after.as_ref().unwrap().version());
    assert_eq!(versions, [1, 1]);
    assert_eq!((first.commit, gone.commit, again.commit), (1, 2, 3));
    assert_eq!(gone.operation, Operation::Delete);
    assert_eq!(gone.before.as_ref().unwrap().json(), first.after.as_ref().unwrap().json());
    assert_eq!(again.operation, Operation::Insert);
    assert!(first.at < gone.at && gone.at < again.at, "also without a clock that moves");
}

#[tokio::test]
async fn a_clock_set_back_shrinks_nothing() {
    let house = House::new();
    let wall = Arc::new(AtomicI64::new(1_000_000));
    let store = house.open_with(&wall);
    let one = key("b", "1");
    let first = commit(&store, put(one.clone(), String::new())).await;
    wall.store(940_000, Ordering::Relaxed);
    let second = commit(&store, put(one.clone(), String::new())).await;
    let other = commit(&store, put(key("b", "2"), String::new())).await;
    assert!(first.at < second.at && second.at <= other.at);
    assert!(store.clock().now_ms() >= other.at, "tokens go by the same clock");
    let token_time = {
        wall.store(2_000_000, Ordering::Relaxed);
        let time = store.clock().now_ms();
        wall.store(900_000, Ordering::Relaxed);
        time
    };
    store.close().await.unwrap();
    drop(store);
    let store = house.open_with(&wall);
    assert!(store.clock().now_ms() >= token_time, "also across a restart");
    let third = commit(&store, put(one, String::new())).await;
    assert!(third.at > second.at && third.at >= token_time);
    assert_eq!(third.after.as_ref().unwrap().version(), 3);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_stop_without_a_close() {
    let house = House::new();
    let store = house.open();
    let start = store.changelog().head();
    commit_all(&store, (0..50).map(|n| put(key("b", &format!("{n}")), format!(r#""n":{n}"#)))).await;
    store.put_secret("key", vec![1, 2, 3]).await.unwrap();
    let position = store.snapshot().await.unwrap().position();
    drop(store);
    let store = house.open();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.position(), position);
    assert_eq!(store.secret("key").unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(store.secret("other").unwrap(), None);
    // From the disk now.
    let (changes, end) = read_all(&store.changelog(), start, 500).await.unwrap();
    assert_eq!(end, position);
    assert_eq!(replay(&changes), contents(&snapshot, "b").await);
    assert_eq!(changes.len(), 50);
    assert!(changes.iter().all(|change| change.writer == Who { session: 7, request: 0 }));
    // The directory is ours while we live.
    let second = Embedded::open(&house.config.store, &house.config.changelog).err().unwrap();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert_eq!(commit(&store, put(key("b", "new"), String::new())).await.commit, 51);
}

#[tokio::test]
async fn positions_that_may_be_lost_are_gone_and_no_others() {
    let mut house = House::new();
    house.config.store.durability = Durability::System;
    let store = house.open();
    let start = store.changelog().head();
    for n in 0..3 {
        commit(&store, put(key("b", &format!("{n}")), String::new())).await;
    }
    assert_eq!(store.statistics().syncs, 0);
    let known = store.changelog().head();
    drop(store);
    let store = house.open();
    let log = store.changelog();
    assert!(log.head().commit() > 3 + (1 << 31));
    let lost = Position::single(known.log, known.commit() + 1);
    assert!(matches!(log.read(lost.clone(), 1000).await, Err(LogError::Gone { .. })));
    log.beyond(lost).await;
    // What was there before and after the gap reads on, without end or repeat.
    let (changes, end) = read_all(&log, known.clone(), 1000).await.unwrap();
    assert!(changes.is_empty() && end == log.head());
    let behind = commit(&store, put(key("b", "new"), String::new())).await;
    for (from, count) in [(start, 4), (known, 1), (end, 1)] {
        let (changes, end) = read_all(&log, from, 1).await.unwrap();
        assert_eq!((changes.len(), end.commit()), (count, behind.commit));
    }
    // A second crash without a write, then a close: no further gap after that.
    drop((store, log));
    let store = house.open();
    let (changes, head) = read_all(&store.changelog(), Position::single(store.log.id(), 1), 1).await.unwrap();
    assert_eq!((changes.len(), &head), (3, &store.changelog().head()));
    store.close().await.unwrap();
    drop(store);
    assert_eq!(house.open().changelog().head(), head);
}

#[tokio::test]
async fn the_log_reads_in_order_across_memory_disk_and_trimming() {
    let mut house = House::new();
    house.config.changelog.recent_bytes = 8_000;
    house.config.changelog.size_bytes = 60_000;
    let store = house.open();
    let log = store.changelog();
    let start = log.head();
    let counted = |until| (0..until).map(|n| put(key("b", &format!("{}", n % 9)), format!(r#""n":{n}"#)));
    let expected: Vec<_> = commit_all(&store, counted(60)).await.iter().map(|change| change.commit).collect();
    assert!(store.statistics().recent_bytes <= 8_000);
    let (changes, end) = read_all(&log, start.clone(), 2_000).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.commit).collect::<Vec<_>>(), expected);
    assert_eq!(end, log.head());
    // Now more than the log may hold.
    commit_all(&store, counted(300)).await;
    eventually(|| store.statistics().log_bytes <= 60_000).await;
    let oldest = log.oldest();
    assert!(oldest.commit() > 0);
    match log.read(start, 1_000).await {
        Err(LogError::Gone { oldest: named, .. }) => assert!(named.commit() >= oldest.commit()),
        other => panic!("{other:?}"),
    }
    let (changes, end) = read_all(&log, oldest.clone(), 1_500).await.unwrap();
    let commits: Vec<_> = changes.iter().map(|change| change.commit).collect();
    assert_eq!(commits, (oldest.commit() + 1..=end.commit()).collect::<Vec<_>>());
    // The cut outlives a restart.
    drop((store, log));
    let store = house.open();
    assert!(store.changelog().oldest().commit() >= oldest.commit());
    let (changes, _) = read_all(&store.changelog(), store.changelog().oldest(), 1_500).await.unwrap();
    assert_eq!(changes.last().unwrap().commit, 360);
    assert_eq!(store.statistics().log_records, changes.len() as u64);
}

#[tokio::test]
async fn trimming_gives_the_disk_back() {
    let mut house = House::new();
    house.config.changelog.recent_bytes = 0;
    house.config.changelog.size_bytes = 200_000;
    let store = house.open();
    let log = store.changelog();
    let records = store.keyspaces.log.clone();
    for round in 0..6 {
        let text = format!(r#""round":{round},"text":"{}""#, "x".repeat(2_000));
        commit_all(&store, (0..20).map(|n| put(key("b", &format!("{n}")), text.clone()))).await;
        // What the engine does of itself every 32 MiB.
        records.rotate_memtable_and_wait().unwrap();
    }
    store.trimmer.wake();
    eventually(|| store.statistics().log_bytes <= 200_000).await;
    let kept = store.statistics().log_records as usize;
    // All that was cut but what shares a table with what was kept.
    eventually(|| records.iter().count() <= kept + 40).await;
    assert!(kept + 40 < 120, "too much was kept to see anything");
    let (changes, _) = read_all(&log, log.oldest(), 1_000).await.unwrap();
    assert_eq!((changes.len(), changes.last().unwrap().commit), (kept, 120));
    drop((store, log, records));
    let store = house.open();
    let (changes, _) = read_all(&store.changelog(), store.changelog().oldest(), 1_000).await.unwrap();
    assert_eq!(changes.len(), kept);
}

#[tokio::test]
async fn old_records_are_trimmed_although_nothing_is_written() {
    let mut house = House::new();
    house.config.changelog.age_seconds = 60;
    let wall = Arc::new(AtomicI64::new(1_000_000));
    let store = house.open_with(&wall);
    for n in 0..5 {
        commit(&store, put(key("b", &format!("{n}")), String::new())).await;
    }
    let log = store.changelog();
    assert_eq!(log.oldest().commit(), 0);
    wall.store(1_070_000, Ordering::Relaxed);
    store.trimmer.wake();
    eventually(|| log.oldest().commit() >= 5).await;
    assert_eq!(store.statistics().log_records, 0);
    assert_eq!(contents(&store.snapshot().await.unwrap(), "b").await.len(), 5, "objects are not the log");
    assert_eq!(commit(&store, put(key("b", "x"), String::new())).await.commit, 6);
    assert_eq!(read_all(&log, log.oldest(), 10).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn waiting_readers_wake_at_a_commit_and_at_the_end() {
    let house = House::new();
    let store = house.open();
    let log = store.changelog();
    let head = log.head();
    let waiting = tokio::spawn(log.beyond(head.clone()));
    commit(&store, put(key("b", "1"), String::new())).await;
    waiting.await.unwrap();
    let batch = log.read(head.clone(), 1).await.unwrap();
    assert_eq!((batch.changes.len(), batch.through.commit()), (1, 1));
    let other_log = Position::single(LogId(head.log.0 ^ 1), 0);
    log.beyond(other_log.clone()).await;
    assert!(matches!(log.read(other_log, 1).await, Err(LogError::Gone { .. })));
    let waiting = tokio::spawn(log.beyond(batch.through.clone()));
    store.close().await.unwrap();
    waiting.await.unwrap();
    assert_eq!(log.read(head, 1).await.unwrap().changes.len(), 1, "to the end it can be read");
    assert!(matches!(log.read(batch.through, 1).await, Err(LogError::Closed)));
    assert!(matches!(store.commit(delete(key("b", "1"))).await, Err(StoreError::Closed)));
}

fn with_date(bucket: &str) -> SchemaChange {
    let bucket: Box<str> = bucket.into();
    Arc::new(move |old: &Schema| {
        let mut schema = old.clone();
        let text = format!(r#"{{"class":"/db/{bucket}","fields":{{"due":{{"name":"due","type":"/db/DateTime"}}}}}}"#);
        schema.classes.insert(bucket.clone(), serde_json::from_str(&text).unwrap());
        Ok(schema)
    })
}

#[tokio::test]
async fn a_schema_change_is_a_record_and_decides_how_images_are_read() {
    let house = House::new();
    let store = house.open();
    let log = store.changelog();
    let start = log.head();
    let due = r#""due":"2026-01-02T03:04:05.000Z""#;
    let is_date = |change: &Change| matches!(change.after.as_ref().unwrap().document.root().get("due"), Some(Value::Date(_)));
    let open = commit(&store, put(key("task", "1"), due.into())).await;
    let schema = store.commit_schema("app".into(), with_date("task")).await.unwrap();
    assert_eq!((schema.version, store.schema("app").version, store.schema("other").version), (1, 1, 0));
    let declared = commit(&store, put(key("task", "2"), due.into())).await;
    assert_eq!((is_date(&open), is_date(&declared)), (false, true));
    assert_eq!((declared.schema_version, declared.control), (1, 2));
    let refused = store.commit_schema("app".into(), Arc::new(|_| Err(Refusal::Invalid("no".into())))).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    let stored = store.snapshot().await.unwrap().get(&key("task", "1")).await.unwrap().unwrap();
    assert!(matches!(stored.document.root().get("due"), Some(Value::Date(_))), "what is there is read by the new schema");
    let check = async |log: &Arc<dyn ChangeLog>| {
        let batch = log.read(start.clone(), usize::MAX).await.unwrap();
        assert_eq!(batch.changes.iter().map(|change| is_date(change)).collect::<Vec<_>>(), [false, true], "each by its own schema");
        let [record] = &batch.control[..] else { panic!("{:?}", batch.control) };
        assert_eq!((record.commit, &*record.app), (2, "app"));
        assert!(matches!(&record.payload, Payload::Schema(schema) if schema.version == 1));
        assert_eq!(batch.through.commit(), 3);
    };
    check(&log).await;
    drop((store, log));
    let store = house.open();
    assert_eq!(store.schema("app"), schema);
    check(&store.changelog()).await;
}

#[tokio::test]
async fn apps_buckets_and_ids_do_not_mix() {
    let house = House::new();
    let store = house.open();
    let ids = ["/db/b/b", "/db/b/a", "/db/b/ä", "/db/b/a\u{0}", "/db/b/%2F"];
    for app in ["one", "two"] {
        for bucket in ["b", "bb"] {
            for id in ids {
                let key = Key { app: app.into(), bucket: bucket.into(), id: id.into() };
                commit(&store, put(key, format!(r#""app":"{app}","bucket":"{bucket}""#))).await;
            }
        }
    }
    let mut selection = all("b");
    selection.app = "two".into();
    let snapshot = store.snapshot().await.unwrap();
    let found = snapshot.select(selection.clone()).await.unwrap();
    let mut sorted = ids.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(found.iter().map(|image| id_of(image)).collect::<Vec<_>>(), sorted);
    assert!(found.iter().all(|image| matches!(image.document.root().get("app"), Some(Value::String("two")))));
    assert_eq!(snapshot.count(selection.clone()).await.unwrap(), 5);
    selection.limit = 5;
    assert_eq!(snapshot.select(selection.clone()).await.unwrap().len(), 5);
    selection.limit = 4;
    assert!(matches!(snapshot.select(selection).await, Err(StoreError::TooMany { limit: 4 })));
}

#[tokio::test]
async fn nobody_selects_what_he_may_not_read() {
    let house = House::new();
    let store = house.open();
    commit(&store, put(key("b", "1"), r#""acl":{"read":{"/db/User/a":"allow"}}"#.into())).await;
    commit(&store, put(key("b", "2"), r#""acl":{"read":{"/db/User/a":"deny"}}"#.into())).await;
    let snapshot = store.snapshot().await.unwrap();
    for (caller, expected) in [
        (Caller::anonymous(), vec!["/db/b/2"]),
        (Caller::new(["/db/User/a"]), vec!["/db/b/1"]),
        (Caller::admin(), vec!["/db/b/1", "/db/b/2"]),
    ] {
        let selection = Selection { caller: Arc::new(caller), ..all("b") };
        assert_eq!(snapshot.count(selection.clone()).await.unwrap(), expected.len() as u64);
        let found = snapshot.select(selection).await.unwrap();
        assert_eq!(found.iter().map(|image| id_of(image)).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn too_many_waiting_writes_are_refused() {
    let mut house = House::new();
    house.config.store.queue = 4;
    let store = house.open();
    let (entered, entering) = std::sync::mpsc::channel::<()>();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let own = key("b", "slow");
    let slow = store.commit(write(key("b", "slow"), move |_, stamp| {
        entered.send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        Ok(object(&own, stamp, ""))
    }));
    entering.recv().unwrap();
    let waiting: Vec<_> = (0..4).map(|n| store.commit(put(key("b", &format!("{n}")), String::new()))).collect();
    assert_eq!(store.statistics().queued, 4);
    assert!(matches!(store.commit(put(key("b", "5"), String::new())).await, Err(StoreError::Overloaded)));
    assert_eq!(store.statistics().overloaded, 1);
    open.send(()).unwrap();
    slow.await.unwrap();
    for write in waiting {
        write.await.unwrap();
    }
}

#[tokio::test]
async fn a_record_of_a_newer_version_stops_the_reader() {
    let house = House::new();
    let store = house.open();
    let log = store.changelog();
    commit(&store, put(key("b", "1"), String::new())).await;
    let payload = ObjectChange {
        id: "/db/b/1".into(),
        operation: Operation::Delete,
        before: Some(Bytes::from_static(b"{}")),
        after: None,
        session: 0,
    };
    let record = Record {
        app: "app".into(),
        bucket: "b".into(),
        schema_version: 0,
        commit: 2,
        previous: 1,
        control: 0,
        at: 1,
        payload: Payload::Object(payload),
    };
    let text = String::from_utf8(crate::changelog::record::encode(&record).unwrap()).unwrap();
    commit(&store, put(key("b", "2"), String::new())).await;
    drop((store, log));
    let plant = |value: Option<&str>| {
        let (database, keyspaces) = open_engine(&house.dir.path().join("data/store"), 1 << 20).unwrap();
        match value {
            Some(value) => keyspaces.log.insert(2u64.to_be_bytes(), value).unwrap(),
            None => keyspaces.log.remove(2u64.to_be_bytes()).unwrap(),
        }
        database.persist(PersistMode::SyncAll).unwrap();
    };
    plant(Some(&text.replace("\"kind\":\"object\"", "\"kind\":\"novelty\"")));
    {
        let store = house.open();
        let start = Position::single(store.log.id(), 0);
        let error = store.changelog().read(start, 10_000).await.unwrap_err();
        assert!(matches!(&error, LogError::Unreadable { commit: 2, .. }), "{error}");
        assert!(error.to_string().contains("novelty"), "{error}");
    }
    plant(None);
    let store = house.open();
    let error = store.changelog().read(Position::single(store.log.id(), 0), 10_000).await.unwrap_err();
    assert!(matches!(&error, LogError::Unreadable { commit: 2, .. }), "a hole stops the reader: {error}");
}

/// A store with objects, a schema and a secret, and writers that go on until they are told to stop.
async fn backup_under_load(store: &Arc<Embedded>) -> (Position, Vec<u8>) {
    store.put_secret("signing", b"secret".to_vec()).await.unwrap();
    store.commit_schema("app".into(), with_date("task")).await.unwrap();
    commit_all(store, (0..200).map(|n| put(key("b", &format!("{n}")), format!(r#""text":"{}""#, "x".repeat(6_000))))).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let own = key("b", &format!("{}", n % 300));
                store.commit(if n % 5 == 0 { delete(own) } else { put(own, format!(r#""n":{n}"#)) }).await.unwrap();
            }
        })
    };
    let copying = Arc::clone(store);
    let backup = tokio::task::spawn_blocking(move || {
        let (mut bytes, mut shown) = (Vec::new(), Vec::new());
        let head = copying.changelog().head().commit();
        let watch = &mut |progress| {
            // So that there are writes between two parts of the copy, also on a slow disk.
            while shown.is_empty() && copying.changelog().head().commit() < head + 5 {
                std::thread::yield_now();
            }
            shown.push(progress);
        };
        let position = copying.backup(&mut bytes, watch).unwrap();
        assert!(shown.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes) && !shown.is_empty());
        (position, bytes)
    });
    let (position, bytes) = backup.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    (position, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_exactly_its_position() {
    let house = House::new();
    let store = Arc::new(house.open());
    let start = store.changelog().head();
    let (position, bytes) = backup_under_load(&store).await;
    let (changes, _) = read_all(&store.changelog(), start, 1 << 20).await.unwrap();
    let expected = replay(changes.iter().filter(|change| change.commit <= position.commit()));

    let mut other = House::new();
    let first = backup::restore(&bytes[..], &other.config.store.data, &mut |_| {}).unwrap();
    other.config.store.durability = Durability::System;
    let restored = other.open();
    let snapshot = restored.snapshot().await.unwrap();
    assert_eq!(contents(&snapshot, "b").await, expected);
    assert_eq!((restored.schema("app").version, restored.secret("signing").unwrap()), (1, Some(b"secret".to_vec())));
    // Another log: what a client of the first store knows means nothing here.
    let log = restored.changelog();
    assert_eq!((snapshot.position(), log.head(), log.oldest()), (first.clone(), first.clone(), first.clone()));
    assert_eq!(first.commit(), position.commit());
    assert_ne!(first.log, position.log);
    assert!(matches!(log.read(position.clone(), 1).await, Err(LogError::Gone { .. })));
    let next = commit(&restored, put(key("b", "new"), String::new())).await;
    assert_eq!(next.commit, position.commit() + 1);
    assert_eq!(read_all(&log, first, 1).await.unwrap().0.len(), 1);
    let again = backup::restore(&bytes[..], &other.config.store.data, &mut |_| {}).unwrap_err();
    assert!(matches!(again, backup::BackupError::Directory(OpenError::Locked { .. })), "{again}");
    drop((restored, log, snapshot));
    let again = backup::restore(&bytes[..], &other.config.store.data, &mut |_| {}).unwrap_err();
    assert!(matches!(again, backup::BackupError::Directory(OpenError::NotEmpty { .. })), "{again}");
}

#[tokio::test]
async fn a_damaged_backup_is_found_out_and_never_opened() {
    let house = House::new();
    let store = house.open();
    for n in 0..10 {
        commit(&store, put(key("b", &format!("{n}")), String::new())).await;
    }
    let mut bytes = Vec::new();
    store.backup(&mut bytes, &mut |_| {}).unwrap();
    let restore = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let result = backup::restore(bytes, dir.path(), &mut |_| {});
        (result, dir)
    };
    assert!(restore(&bytes).0.is_ok());
    for length in [0, 15, 16, 20, bytes.len() / 2, bytes.len() - 1] {
        let (result, dir) = restore(&bytes[..length]);
        assert!(matches!(result, Err(backup::BackupError::Truncated)), "{length}: {result:?}");
        let mut options = house.config.store.clone();
        options.data = dir.path().into();
        if length > 20 {
            let opened = Embedded::open(&options, &house.config.changelog).err().unwrap();
            assert!(matches!(opened, OpenError::Incomplete { .. }), "{opened}");
        }
    }
    for at in (0..bytes.len()).step_by(41) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(restore(&damaged).0.is_err(), "a flipped bit at {at} went unnoticed");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_holds_secrets_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let store = house.open();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&house.config.store.data.join("store")), 0o700);
    let file = house.dir.path().join("copy");
    store.backup(backup::create_file(&file).unwrap(), &mut |_| {}).unwrap();
    assert_eq!(mode(&file), 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selections_that_come_together_each_get_their_own() {
    let house = House::new();
    let store = house.open();
    for n in 0..50 {
        store.commit(put(key("lots", &format!("{n:02}")), format!(r#""n":{n}"#))).await.unwrap();
    }
    let limits = dataflows::query::QueryLimits::default();
    let snapshot = store.snapshot().await.unwrap();
    let select = |n: usize, limit: usize| {
        let filter = dataflows::query::Filter::parse(&format!(r#"{{"n":{{"$gte":{n}}}}}"#), &limits).unwrap();
        snapshot.select(Selection { predicate: filter.predicate, limit, ..all("lots") })
    };
    // More than one scan serves, some of them too small for what they find, one for a bucket with nothing in it.
    let found = futures_util::future::join_all((0..600).map(|n| select(n % 60, if n < 300 { 1_000 } else { 25 })));
    let (found, nothing) = futures_util::join!(found, snapshot.select(all("nothing")));
    assert!(nothing.unwrap().is_empty());
    for (n, found) in found.into_iter().enumerate() {
        let matching = 50_usize.saturating_sub(n % 60);
        match found {
            Ok(images) => {
                assert_eq!(images.len(), matching);
                assert!(images.iter().zip(n % 60..).all(|(image, n)| number(image, "n") == n as i64));
            }
            Err(error) => assert!(matches!(error, StoreError::TooMany { limit: 25 }) && n >= 300 && matching > 25, "{n}: {error}"),
        }
    }
    store.close().await.unwrap();
    // A scan that has no turn any more says so instead of leaving anybody waiting.
    let late = tokio::time::timeout(std::time::Duration::from_secs(10), snapshot.select(all("lots"))).await;
    assert!(late.is_ok(), "the late one waits for ever");
}
