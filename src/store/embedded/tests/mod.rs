//! The store and its log together, on real directories.

mod backups;
mod batches;
mod chain;
mod indexes;
mod intakes;
mod log;
mod outbox;
mod plans;
mod snapshots;
mod stored;
mod sweeps;
mod uniques;
mod writes;

use super::*;
use crate::changelog::record::{ObjectChange, Payload};
use crate::changelog::{LogError, Position, Record};
use crate::config::{Config, Durability};
use crate::store::{Decide, Decision, Key, Refusal, SchemaChange, Selection};
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
        unlocked(|| Embedded::open(&self.config.store, &self.config.changelog))
    }

    fn open_with(&self, wall: &Arc<AtomicI64>) -> Embedded {
        let wall = Arc::clone(wall);
        let clock = Clock::with_source(Box::new(move || wall.load(Ordering::Relaxed)));
        let clock = Arc::new(clock);
        unlocked(|| Embedded::open_at(&self.config.store, &self.config.changelog, clock.clone()))
    }
}

/// A store that was just dropped: a scan or a thread that was under way may hold the directory a moment longer.
fn unlocked(open: impl Fn() -> Result<Embedded, OpenError>) -> Embedded {
    let start = std::time::Instant::now();
    loop {
        match open() {
            Err(OpenError::Locked { .. }) if start.elapsed() < std::time::Duration::from_secs(60) => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

fn key(bucket: &str, id: &str) -> Key {
    Key { app: "app".into(), bucket: bucket.into(), id: format!("/db/{bucket}/{id}").into() }
}

fn write(key: Key, decide: impl Fn(Option<&Image>, &Stamp) -> Result<Decision, Refusal> + Send + Sync + 'static) -> Write {
    Write { key, decide: Arc::new(decide) as Decide, actor: Actor::server(), writer: Who { session: 7, request: 1 } }
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
    Selection::all("app".into(), bucket.into(), Arc::new(Predicate::True), Arc::new(Caller::admin()), usize::MAX)
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

fn with_date(bucket: &str) -> SchemaChange {
    let bucket: Box<str> = bucket.into();
    Arc::new(move |old: &Schema| {
        let mut schema = old.clone();
        let text = format!(r#"{{"class":"/db/{bucket}","fields":{{"due":{{"name":"due","type":"/db/DateTime"}}}}}}"#);
        schema.classes.insert(bucket.clone(), serde_json::from_str(&text).unwrap());
        Ok(schema)
    })
}
