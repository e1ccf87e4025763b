//! Expiry on a real store, with a clock of the tests.

use super::*;
use crate::config::{Config, Durability};
use crate::schema::{ClassRequest, merge};
use crate::store::Decision;
use crate::store::embedded::Embedded;
use dataflows::access::Caller;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

struct House {
    config: Config,
    wall: Arc<AtomicI64>,
    _directory: tempfile::TempDir,
}

/// A store and the task at work on it.
struct Rooms {
    store: Arc<Embedded>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl House {
    fn new() -> House {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.data = directory.path().join("data");
        config.store.cache_bytes = 8 << 20;
        config.store.durability = Durability::System;
        House { config, wall: Arc::new(AtomicI64::new(1_000_000)), _directory: directory }
    }

    fn open(&self) -> Rooms {
        let wall = self.wall.clone();
        let clock = Arc::new(Clock::with_source(Box::new(move || wall.load(Relaxed))));
        let store = Arc::new(Embedded::open_at(&self.config.store, &self.config.changelog, clock.clone()).unwrap());
        let (expiry, stop) = (Expiry { store: store.clone(), changelog: store.changelog(), clock }, CancellationToken::new());
        let task = tokio::spawn(expiry.run(stop.clone()));
        Rooms { store, stop, task }
    }
}

impl Rooms {
    async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store.close().await.unwrap();
    }

    /// As a crash: nothing is finished.
    async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn declare(&self, app: &str, expires: &str) {
        let class = format!(
            r#"[{{"class":"/db/Lease","metadata":{{"expires":"{expires}"}},"fields":{{"until":{{"name":"until","type":"/db/DateTime"}}}}}}]"#
        );
        let requests: Vec<ClassRequest> = serde_json::from_str(&class).unwrap();
        let change = move |old: &crate::schema::Schema| Ok(merge(old, &requests, &Caller::admin()).unwrap());
        self.store.commit_schema(app.into(), Arc::new(change)).await.unwrap();
    }

    fn write(&self, app: &str, key: u32, until: i64) -> impl Future<Output = Result<crate::store::Committed, StoreError>> + use<> {
        let id: Arc<str> = format!("/db/Lease/{key:05}").into();
        let text = format!(r#""until":"{}""#, crate::object::time::instant(until));
        let key = Key { app: app.into(), bucket: "Lease".into(), id: id.clone() };
        let decide: Decide =
            Arc::new(move |_, stamp| Ok(Decision::Put(format!(r#"{{"id":"{id}","version":{},{text}}}"#, stamp.version).into())));
        self.store.commit(Write { key, decide, actor: Actor::server(), writer: Writer::default() })
    }

    async fn left(&self, app: &str) -> usize {
        self.page(app, usize::MAX).await
    }

    /// How many are left, counted up to `objects`.
    async fn page(&self, app: &str, objects: usize) -> usize {
        let page = Page { app: app.into(), bucket: "Lease".into(), after: None, objects, bytes: usize::MAX };
        self.store.snapshot().await.unwrap().page(page).await.unwrap().len()
    }

    /// Waits, commit by commit, until so many are left.
    async fn until_left(&self, app: &str, count: usize) {
        let log = self.store.changelog();
        tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                let head = log.head();
                if self.left(app).await == count {
                    return;
                }
                log.beyond(head).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("not {count} left"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_end_when_their_time_has_come_and_not_before() {
    let house = House::new();
    let rooms = house.open();
    rooms.declare("app", "until").await;
    rooms.declare("other", "until").await;
    rooms.write("app", 1, 1_010_000).await.unwrap();
    rooms.write("app", 2, 1_020_000).await.unwrap();
    rooms.write("app", 3, 1_010_000).await.unwrap();
    rooms.write("other", 1, 1_010_000).await.unwrap();
    rooms.write("unbounded", 1, 1_010_000).await.unwrap();
    // Prolonged before it ended.
    rooms.write("app", 3, 1_030_000).await.unwrap();
    let before = rooms.store.changelog().head();
    house.wall.store(1_009_999, Relaxed);
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(rooms.store.changelog().head(), before, "not before");
    house.wall.store(1_010_000, Relaxed);
    rooms.until_left("app", 2).await;
    rooms.until_left("other", 0).await;
    house.wall.store(1_030_000, Relaxed);
    rooms.until_left("app", 0).await;
    assert_eq!(rooms.left("unbounded").await, 1, "an app without such a class");
    let deleted = rooms.store.changelog().read(before, usize::MAX).await.unwrap();
    let ids: Vec<_> = deleted.changes.iter().filter(|change| &*change.app == "app").map(|change| (&*change.id, change.at)).collect();
    assert_eq!(ids.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["/db/Lease/00001", "/db/Lease/00002", "/db/Lease/00003"]);
    assert!(deleted.changes.iter().all(|change| change.after.is_none() && change.before.is_some()));
    rooms.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_while_the_server_was_down_goes_at_the_next_start() {
    let house = House::new();
    let rooms = house.open();
    rooms.declare("app", "until").await;
    for key in 0..10 {
        rooms.write("app", key, 1_000_000 + 10_000 * i64::from(key + 1)).await.unwrap();
    }
    rooms.crash().await;
    house.wall.store(1_050_000, Relaxed);
    let rooms = house.open();
    rooms.until_left("app", 5).await;
    house.wall.store(1_100_000, Relaxed);
    rooms.until_left("app", 0).await;
    rooms.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stops_when_the_class_names_no_field_any_more() {
    let house = House::new();
    let rooms = house.open();
    rooms.write("app", 1, 1_010_000).await.unwrap();
    rooms.declare("app", "until").await;
    rooms.write("app", 2, 1_020_000).await.unwrap();
    house.wall.store(1_010_000, Relaxed);
    rooms.until_left("app", 1).await;
    rooms.declare("app", "").await;
    house.wall.store(1_020_000, Relaxed);
    rooms.write("app", 3, 1_000_000).await.unwrap();
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(rooms.left("app").await, 2);
    rooms.declare("app", "until").await;
    rooms.until_left("app", 0).await;
    rooms.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_at_once_hold_no_writer_up() {
    let house = House::new();
    let rooms = house.open();
    rooms.declare("app", "until").await;
    for piece in 0..10 {
        let writes: Vec<_> = (0..2_000).map(|key| rooms.write("app", piece * 2_000 + key, 1_010_000)).collect();
        join_all(writes).await.into_iter().for_each(|done| drop(done.unwrap()));
    }
    house.wall.store(1_010_000, Relaxed);
    let (mut took, mut count) = (Vec::new(), 0);
    let whole = std::time::Instant::now();
    while rooms.page("app", 1).await > 0 {
        let began = std::time::Instant::now();
        rooms.write("bystander", count, i64::from(count)).await.unwrap();
        took.push(began.elapsed());
        count += 1;
    }
    let whole = whole.elapsed();
    assert!(count > 4, "writers had their turns between the pieces: {count}");
    took.sort();
    let median = took[took.len() / 2];
    assert!(median < whole / 8, "a write took {median:?} of {whole:?}");
    rooms.close().await;
}
