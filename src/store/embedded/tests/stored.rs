//! What the apps' objects are together: counted with every commit, and bounded.

use super::*;
use crate::schema::{ClassRequest, Request, change};
use crate::store::{Batch, BatchError, Intake, IntakeError, Intakes, Note};
use proptest::prelude::*;

fn counted(store: &Embedded, app: &str) -> StoredBytes {
    crate::store::embedded::stored::count(&store.keyspaces).unwrap().get(app).copied().unwrap_or_default()
}

fn of(app: &str, id: u8) -> Key {
    Key { app: app.into(), ..key("b", &id.to_string()) }
}

fn filled(app: &str, id: u8, length: usize) -> Write {
    put(of(app, id), format!(r#""text":"{}""#, "x".repeat(length)))
}

#[derive(Debug, Clone)]
enum Step {
    Write(&'static str, u8, Option<usize>),
    Together(Vec<(u8, Option<usize>)>),
    Reopen,
    Bound(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let text = || prop::option::weighted(0.8, 0usize..400);
    let app = prop::sample::select(vec!["app", "app.2", "other"]);
    prop_oneof![
        12 => (app, 0u8..12, text()).prop_map(|(app, id, text)| Step::Write(app, id, text)),
        3 => prop::collection::vec((0u8..12, text()), 1..5).prop_map(Step::Together),
        1 => Just(Step::Reopen),
        1 => (0u64..4000).prop_map(Step::Bound),
    ]
}

fn one(app: &str, id: u8, text: Option<usize>) -> Write {
    text.map_or_else(|| delete(of(app, id)), |length| filled(app, id, length))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    /// Whatever is written, refused or lost with a process: the count is that of the objects, and within its bound where it grew.
    #[test]
    fn the_count_is_that_of_the_objects(steps in prop::collection::vec(step(), 1..60)) {
        let mut house = House::new();
        house.config.store.durability = Durability::System;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let mut store = house.open();
            let mut bound = 0;
            for step in steps {
                let before = store.stored("app");
                match step {
                    Step::Write(app, id, text) => match store.commit(one(app, id, text)).await {
                        Ok(_) => {}
                        Err(StoreError::Full { limit }) => assert!(app == "app" && limit == bound && text.is_some()),
                        Err(error) => panic!("{error}"),
                    },
                    Step::Together(writes) => {
                        let writes = writes.into_iter().map(|(id, text)| one("app", id, text)).collect();
                        // Also refused where an object stands in it twice.
                        let _ = store.commit_batch(Batch { writes, ..Batch::default() }).await;
                    }
                    Step::Reopen => {
                        drop(store);
                        store = house.open();
                        store.bound_stored("app", bound);
                    }
                    Step::Bound(most) => {
                        bound = most;
                        store.bound_stored("app", most);
                    }
                }
                let after = store.stored("app");
                assert!(bound == 0 || after.bytes <= bound.max(before.bytes));
                for app in ["app", "app.2", "other"] {
                    assert_eq!(store.stored(app), counted(&store, app), "{app}");
                }
            }
        });
    }
}

#[tokio::test]
async fn what_would_be_too_much_is_refused_and_what_takes_away_is_not() {
    let house = House::new();
    let store = house.open();
    commit(&store, filled("app", 1, 1000)).await;
    let used = store.stored("app");
    assert!(used.objects == 1 && (1000..1200).contains(&used.bytes), "{used:?}");
    store.bound_stored("app", used.bytes + 500);
    let full = |result: Result<Committed, StoreError>| matches!(result, Err(StoreError::Full { .. }));
    assert!(full(store.commit(filled("app", 2, 500)).await));
    // Neither may several that each would fit.
    let pair = || vec![filled("app", 2, 250), filled("app", 3, 250)];
    let together = store.commit_batch(Batch { writes: pair(), ..Batch::default() }).await;
    assert!(matches!(together, Err(BatchError::Write { place: 1, error: StoreError::Full { .. } })), "{together:?}");
    let expect = Note { key: Bytes::from_static(b"n"), value: None };
    let taken = store.commit_intake(Intake { expect, writes: pair(), notes: Vec::new() }).await;
    assert!(matches!(taken, Err(IntakeError::Store(StoreError::Full { .. }))), "{taken:?}");
    let (one, two) = (store.commit(filled("app", 2, 250)), store.commit(filled("app", 3, 250)));
    assert_eq!((full(one.await), full(two.await)), (false, true), "in one group or in two");
    assert!(!full(store.commit(filled("other", 1, 5000)).await), "another app's are its own affair");
    // Smaller is always possible, also where there is too much already.
    store.bound_stored("app", 10);
    assert!(full(store.commit(filled("app", 1, 1001)).await));
    assert!(!full(store.commit(filled("app", 1, 900)).await));
    assert!(!full(store.commit(delete(of("app", 1))).await));
    assert!(!full(store.commit(delete(of("app", 2))).await));
    assert_eq!(store.stored("app"), StoredBytes::default());
    store.bound_stored("app", 0);
    assert!(!full(store.commit(filled("app", 2, 5000)).await));
}

#[tokio::test]
async fn older_directories_and_restored_backups_are_counted_once() {
    let house = House::new();
    let store = house.open();
    commit_all(&store, (0..20).map(|id| filled("app", id, 100))).await;
    let used = store.stored("app");
    let mut copy = Vec::new();
    store.backup(&mut copy, &mut |_| {}).unwrap();
    let other = House::new();
    backup::restore(&copy[..], &other.config.store.data, &mut |_| {}).unwrap();
    assert_eq!(other.open().stored("app"), used);
    // As it was before there was a count.
    store.keyspaces.meta.remove(meta::STORED_COUNTED).unwrap();
    store.keyspaces.meta.remove(format!("{}app", meta::STORED)).unwrap();
    store.close().await.unwrap();
    drop(store);
    assert_eq!(house.open().stored("app"), used);
}

#[tokio::test]
async fn objects_that_are_rewritten_are_counted_as_they_are_then() {
    let house = House::new();
    let store = house.open();
    let ask = |request: Request| {
        let decide = move |schema: &Schema| change(schema, &request, &Caller::admin()).map_err(|error| Refusal::Invalid(error.to_string()));
        store.commit_schema("app".into(), Arc::new(decide))
    };
    let class: ClassRequest = serde_json::from_str(r#"{"class":"/db/b","fields":{"n":{"name":"n","type":"/db/Integer"}}}"#).unwrap();
    ask(Request::Merge(vec![class])).await.unwrap();
    commit_all(&store, (0..200).map(|id| put(of("app", id), r#""n":1"#.into()))).await;
    let used = store.stored("app");
    ask(Request::Rename { class: "/db/b".into(), from: "n".into(), to: "number".into() }).await.unwrap();
    // Some of them while they are in their former form on the disk.
    commit_all(&store, (0..50).map(|id| put(of("app", id), r#""number":2"#.into()))).await;
    eventually(|| store.schema("app").moves.is_empty()).await;
    let after = store.stored("app");
    assert_eq!(after, counted(&store, "app"));
    assert_eq!(after, StoredBytes { objects: 200, bytes: used.bytes + 200 * 5 });
}
