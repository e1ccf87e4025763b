//! Secondary indexes: an answer by a plan is the answer of a scan, whatever is written meanwhile.

use super::*;
use crate::store::{IndexChange, IndexDefinition, IndexKey, IndexReport, IndexState, KeyOrder, QueryReport};
use dataflows::query::ast::Predicate;
use dataflows::query::sort::Sort;
use dataflows::query::{Filter, QueryLimits};
use proptest::prelude::*;

pub(super) fn index(unique: bool, keys: &[(&str, KeyOrder)]) -> IndexDefinition {
    IndexDefinition { unique, keys: keys.iter().map(|(path, order)| IndexKey { path: (*path).into(), order: *order }).collect() }
}

pub(super) async fn change(store: &Embedded, bucket: &str, change: IndexChange) -> Result<(), StoreError> {
    store.change_indexes("app".into(), bucket.into(), change).await
}

/// Declares an index and waits until it is built, or is known not to be.
pub(super) async fn declare(store: &Embedded, bucket: &str, definition: IndexDefinition) -> IndexReport {
    change(store, bucket, IndexChange::Create(definition.clone())).await.unwrap();
    let found = || store.indexes("app", bucket).into_iter().find(|report| report.definition == definition).unwrap();
    eventually(|| !matches!(found().state, IndexState::Building { .. })).await;
    found()
}

pub(super) fn asking(bucket: &str, query: &str, sort: &str, skip: usize, count: Option<usize>) -> Selection {
    let filter = Filter::parse(query, &QueryLimits::default()).unwrap();
    let sort = if sort.is_empty() { Sort::default() } else { Sort::parse(sort).unwrap() };
    Selection { predicate: filter.predicate, sort, skip, count, ..all(bucket) }
}

pub(super) async fn explain(store: &Embedded, selection: Selection) -> QueryReport {
    store.snapshot().await.unwrap().explain(selection).await.unwrap()
}

pub(super) async fn found(store: &Embedded, selection: Selection) -> Vec<String> {
    store.snapshot().await.unwrap().select(selection).await.unwrap().iter().map(|image| id_of(image)).collect()
}

/// The same from every object of the bucket, without any plan.
pub(super) async fn scanned(snapshot: &Arc<dyn Snapshot>, selection: &Selection) -> (Vec<String>, u64) {
    let everything = Selection { predicate: Arc::new(Predicate::True), sort: Sort::default(), skip: 0, count: None, ..selection.clone() };
    let mut images = snapshot.select(everything).await.unwrap();
    images.retain(|image| selection.predicate.matches(&image.document));
    let count = images.len() as u64;
    let nearest = selection.predicate.nearest().filter(|_| selection.sort.is_empty());
    let distance = |image: &Image| nearest.map_or(0.0, |nearest| nearest.distance(image.document.root()));
    images.sort_by(|left, right| {
        let first = distance(left).total_cmp(&distance(right)).then_with(|| selection.sort.compare(left, right));
        first.then_with(|| id_of(left).cmp(&id_of(right)))
    });
    let window = images.iter().skip(selection.skip).take(selection.count.unwrap_or(usize::MAX));
    (window.map(|image| id_of(image)).collect(), count)
}

pub(super) fn house() -> House {
    let mut house = House::new();
    house.config.store.durability = Durability::System;
    house
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (-3i64..4).prop_map(|n| n.to_string()),
        1 => prop::sample::select(vec!["0.5", "1.0", "9007199254740993", "9007199254740992.0", "null", "true", "\"\"", "\"a\"", "\"ab\"", "\"b\"", "{\"x\":1}"])
            .prop_map(str::to_owned),
        1 => Just(format!("\"{}\"", "long".repeat(200))),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => scalar(),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(|elements| format!("[{}]", elements.join(","))),
        1 => prop::collection::vec(scalar().prop_map(|value| format!("{{\"x\":{value}}}")), 0..3).prop_map(|elements| format!("[{}]", elements.join(","))),
    ]
}

fn point() -> impl Strategy<Value = (i32, i32)> {
    (-20..20, -20..20)
}

fn document(arrays: bool) -> impl Strategy<Value = String> {
    let field = move || if arrays { value().boxed() } else { scalar().boxed() };
    let text = |(x, y): (i32, i32)| format!("{{\"longitude\":{x},\"latitude\":{y}}}");
    let place = prop_oneof![
        1 => Just("null".to_owned()),
        4 => point().prop_map(text),
        1 => prop::collection::vec(point().prop_map(text), 0..3).prop_map(|points| format!("[{}]", points.join(","))),
    ];
    (prop::option::of(field()), prop::option::of(field()), prop::option::of(scalar()), place).prop_map(|(a, b, o, place)| {
        let mut fields = vec![format!("\"loc\":{place}")];
        fields.extend(a.map(|value| format!("\"a\":{value}")));
        fields.extend(b.map(|value| format!("\"b\":{value}")));
        fields.extend(o.map(|value| format!("\"o\":{{\"x\":{value}}}")));
        fields.join(",")
    })
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, String),
    Delete(u8),
    Declare(IndexDefinition),
    Drop(IndexDefinition),
}

fn definition() -> impl Strategy<Value = IndexDefinition> {
    let order = prop_oneof![3 => Just(KeyOrder::Asc), 2 => Just(KeyOrder::Desc)];
    let key = (prop::sample::select(vec!["a", "b", "a.x", "o.x", "id"]), order).prop_map(|(path, order)| (path, order));
    let keys = prop::collection::vec(key, 1..4).prop_map(|mut keys| {
        keys.sort_by_key(|(path, _)| *path);
        keys.dedup_by_key(|(path, _)| *path);
        keys.reverse();
        index(false, &keys)
    });
    prop_oneof![5 => keys, 1 => Just(index(false, &[("loc", KeyOrder::Geo)])), 1 => Just(index(false, &[("loc", KeyOrder::Geo), ("a", KeyOrder::Asc)])),
        1 => Just(index(false, &[("a", KeyOrder::Asc), ("loc", KeyOrder::Geo)]))]
}

fn step(arrays: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u8..40, document(arrays)).prop_map(|(id, fields)| Step::Put(id, fields)),
        3 => (0u8..40).prop_map(Step::Delete),
        2 => definition().prop_map(Step::Declare),
        1 => definition().prop_map(Step::Drop),
    ]
}

fn paths() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec!["a", "b", "a.x", "o.x", "a.0"])
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![8 => (0u8..50).prop_map(|n| format!("\"/db/b/{n}\"")), 1 => scalar()]
}

fn test() -> impl Strategy<Value = String> {
    let path = paths();
    let operator = prop::sample::select(vec!["$eq", "$lt", "$lte", "$gt", "$gte", "$ne"]);
    prop_oneof![
        4 => (path.clone(), operator, scalar()).prop_map(|(path, operator, value)| format!("{{\"{path}\":{{\"{operator}\":{value}}}}}")),
        2 => (path.clone(), scalar(), scalar()).prop_map(|(path, low, high)| format!("{{\"{path}\":{{\"$gte\":{low},\"$lt\":{high}}}}}")),
        2 => (path.clone(), prop::collection::vec(scalar(), 0..5)).prop_map(|(path, values)| format!("{{\"{path}\":{{\"$in\":[{}]}}}}", values.join(","))),
        1 => (path.clone(), scalar(), scalar()).prop_map(|(path, low, high)| format!("{{\"{path}\":{{\"$elemMatch\":{{\"$gte\":{low},\"$lte\":{high}}}}}}}")),
        1 => (path.clone(), value()).prop_map(|(path, value)| format!("{{\"{path}\":{value}}}")),
        1 => path.prop_map(|path| format!("{{\"{path}\":{{\"$regex\":\"^a\"}}}}")),
        1 => prop::collection::vec(0u8..50, 0..5).prop_map(|ids| {
            let ids: Vec<_> = ids.iter().map(|id| format!("\"/db/b/{id}\"")).collect();
            format!("{{\"id\":{{\"$in\":[{}]}}}}", ids.join(","))
        }),
        2 => (id(), id(), prop::sample::select(vec!["$gt", "$gte"]), prop::sample::select(vec!["$lt", "$lte"])).prop_map(|(low, high, above, below)| {
            format!("{{\"id\":{{\"{above}\":{low},\"{below}\":{high}}}}}")
        }),
        1 => (id(), prop::sample::select(vec!["$gt", "$lte"])).prop_map(|(id, operator)| format!("{{\"id\":{{\"{operator}\":{id}}}}}")),
        1 => (0u8..5).prop_map(|n| format!("{{\"id\":{{\"$regex\":\"^/db/b/{n}\"}}}}")),
        2 => (paths(), prop::sample::select(vec!["{\"$exists\":true}", "{\"$exists\":false}", "{\"$ne\":null}", "{\"$exists\":true,\"$ne\":null}"]))
            .prop_map(|(path, test)| format!("{{\"{path}\":{test}}}")),
        2 => (paths(), prop::collection::vec(prop::sample::select(vec!["string", "number", "int", "double", "null", "array", "object", "bool"]), 1..3))
            .prop_map(|(path, types)| format!("{{\"{path}\":{{\"$type\":{}}}}}", serde_json::to_string(&types).unwrap())),
        2 => (point(), prop::option::of(0i64..3_000_000)).prop_map(|((x, y), most)| {
            let most = most.map_or_else(String::new, |most| format!(",\"$maxDistance\":{most}"));
            format!("{{\"loc\":{{\"$nearSphere\":{{\"$geometry\":{{\"type\":\"Point\",\"coordinates\":[{x},{y}]}}{most}}}}}}}")
        }),
        1 => (point(), 1..15).prop_map(|((x, y), size)| {
            let (x2, y2) = (x + size, y + size);
            format!("{{\"loc\":{{\"$geoWithin\":{{\"$geometry\":{{\"type\":\"Polygon\",\"coordinates\":[[[{x},{y}],[{x2},{y}],[{x2},{y2}],[{x},{y2}],[{x},{y}]]]}}}}}}}}")
        }),
    ]
}

fn query() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("{}".to_owned()),
        4 => test(),
        3 => prop::collection::vec(test(), 1..4).prop_map(|tests| format!("{{\"$and\":[{}]}}", tests.join(","))),
        2 => prop::collection::vec(test(), 1..4).prop_map(|tests| format!("{{\"$or\":[{}]}}", tests.join(","))),
    ]
}

fn sort() -> impl Strategy<Value = String> {
    let key = (prop::sample::select(vec!["a", "b", "a.x", "o.x", "id"]), prop::sample::select(vec![1, -1]));
    prop::collection::vec(key, 0..3).prop_map(|mut keys| {
        keys.sort_by_key(|(path, _)| *path);
        keys.dedup_by_key(|(path, _)| *path);
        keys.reverse();
        if keys.is_empty() {
            return String::new();
        }
        let keys: Vec<_> = keys.iter().map(|(path, direction)| format!("\"{path}\":{direction}")).collect();
        format!("{{{}}}", keys.join(","))
    })
}

fn question() -> impl Strategy<Value = (String, String, usize, Option<usize>)> {
    (query(), sort(), 0usize..6, prop::option::of(0usize..12))
}

async fn take(store: &Embedded, step: &Step) {
    match step {
        Step::Put(id, fields) => drop(store.commit(put(key("b", &id.to_string()), fields.clone())).await.unwrap()),
        Step::Delete(id) => drop(store.commit(delete(key("b", &id.to_string()))).await.unwrap()),
        Step::Declare(definition) => match change(store, "b", IndexChange::Create(definition.clone())).await {
            Ok(()) | Err(StoreError::Refused(Refusal::Index(_))) => {}
            Err(error) => panic!("{error}"),
        },
        Step::Drop(definition) => change(store, "b", IndexChange::Drop(definition.keys.clone())).await.unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(6), max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever indexes there are, built, being built or just dropped: the answer is that of a scan of the same state.
    #[test]
    fn a_plan_answers_as_a_scan(
        (steps, questions) in any::<bool>().prop_flat_map(|arrays| (prop::collection::vec(step(arrays), 20..120), prop::collection::vec(question(), 12))),
        reopen: bool,
    ) {
        let house = house();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let mut store = house.open();
            for (place, step) in steps.iter().enumerate() {
                take(&store, step).await;
                if place % 16 == 15 {
                    let (query, sort, skip, count) = &questions[place / 16 % questions.len()];
                    check(&store, query, sort, *skip, *count).await;
                }
            }
            if reopen {
                // As after a crash of the process.
                drop(store);
                store = house.open();
            }
            for (query, sort, skip, count) in &questions {
                check(&store, query, sort, *skip, *count).await;
            }
            entries_are_those_of_the_objects(&store).await;
        });
    }
}

/// Through the front door, and by the plan alone where buckets are too small for it to be worth it.
async fn check(store: &Embedded, query: &str, sort: &str, skip: usize, count: Option<usize>) {
    let selection = asking("b", query, sort, skip, count);
    let snapshot = store.snapshot().await.unwrap();
    let (expected, number) = scanned(&snapshot, &selection).await;
    let ids = |images: Vec<Arc<Image>>| images.iter().map(|image| id_of(image)).collect::<Vec<_>>();
    let answer = ids(snapshot.select(selection.clone()).await.unwrap());
    let report = snapshot.explain(selection.clone()).await.unwrap();
    assert_eq!(answer, expected, "{query} {sort} {skip} {count:?} {report:?}");
    assert_eq!(report.rows_returned as usize, expected.len());
    assert_eq!(snapshot.count(selection).await.unwrap(), number, "{query} {report:?}");
}

/// What is in the keyspace is exactly what the objects make of the definitions, once all is built and freed.
async fn entries_are_those_of_the_objects(store: &Embedded) {
    let unbuilt = || store.indexes("app", "b").iter().any(|report| matches!(report.state, IndexState::Building { .. }));
    eventually(|| !unbuilt()).await;
    let declared = store.snapshot_now().indexes.declared("app", "b").to_vec();
    eventually(|| store.keyspaces.index_notes.iter().count() == declared.len()).await;
    let mut expected = BTreeMap::new();
    let snapshot = store.snapshot().await.unwrap();
    for image in snapshot.select(all("b")).await.unwrap() {
        for index in &declared {
            expected.extend(crate::store::embedded::indexes::tests_entries(index, &id_of(&image), &image));
        }
    }
    let mut found = BTreeMap::new();
    for entry in store.keyspaces.indexes.iter() {
        let (key, value) = entry.into_inner().unwrap();
        found.insert(key.to_vec(), value.to_vec());
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn selective_queries_look_at_few_objects() {
    let house = house();
    let store = house.open();
    let item = |n: u32| {
        let fields = format!(
            r#""city":"c{}","price":{},"n":{n},"tags":["t{}","t{}"],"loc":{{"longitude":{},"latitude":{}}}"#,
            n % 40,
            n % 997,
            n % 300,
            n % 7,
            f64::from(n % 100) / 10.0,
            f64::from(n / 100) / 10.0
        );
        put(key("b", &format!("{n:05}")), fields)
    };
    commit_all(&store, (0..1000).map(item)).await;
    use KeyOrder::{Asc, Desc, Geo};
    for definition in [
        index(false, &[("city", Asc), ("price", Desc)]),
        index(false, &[("n", Asc)]),
        index(false, &[("tags", Asc)]),
        index(false, &[("loc", Geo)]),
    ] {
        assert_eq!(declare(&store, "b", definition).await.state, IndexState::Ready);
    }
    // Also while it is written on.
    commit_all(&store, (1000..2000).map(item)).await;
    let many: Vec<_> = (0..5000).map(|n| (n * 17).to_string()).collect();
    for (query, sort, count, kind, examined) in [
        (r#"{"n":77}"#, "", None, "index", 1),
        (r#"{"n":{"$gte":100,"$lt":110}}"#, "", None, "index", 10),
        (r#"{"city":"c7","price":{"$gt":990}}"#, "", None, "index", 5),
        (r#"{"tags":"t250"}"#, "", None, "index", 10),
        (r#"{"$or":[{"n":5},{"city":"c3","price":3}]}"#, "", None, "index", 4),
        (r#"{"id":{"$in":["/db/b/00001","/db/b/00002","/db/b/none"]}}"#, "", None, "ids", 2),
        (&format!(r#"{{"n":{{"$in":[{}]}}}}"#, many.join(",")), "", None, "index", 130),
        ("{}", r#"{"n":-1}"#, Some(10), "ordered index", 11 + 64),
        (r#"{"city":"c7"}"#, r#"{"price":1}"#, Some(3), "index", 50),
        (r#"{"price":{"$gte":0}}"#, r#"{"n":1}"#, Some(5), "ordered index", 6 + 64),
        (
            r#"{"loc":{"$geoWithin":{"$geometry":{"type":"Polygon","coordinates":[[[1,1],[1.5,1],[1.5,1.5],[1,1.5],[1,1]]]}}}}"#,
            "",
            None,
            "index",
            60,
        ),
    ] {
        let selection = asking("b", query, sort, 0, count);
        let report = explain(&store, selection.clone()).await;
        assert_eq!(report.plan.kind, kind, "{query} {report:?}");
        assert!(report.rows_examined <= examined, "{query} {report:?}");
        let before = store.statistics();
        let answer = found(&store, selection.clone()).await;
        let after = store.statistics();
        assert_eq!(after.examined - before.examined, report.rows_examined, "{query}");
        assert_eq!(after.scans, before.scans, "{query}");
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(answer, scanned(&snapshot, &selection).await.0, "{query}");
    }
    // What an index does not help is scanned, and the report says what was considered.
    let report = explain(&store, asking("b", r#"{"n":{"$gte":0}}"#, "", 0, None)).await;
    assert_eq!((report.plan.kind, report.rows_examined), ("scan", 2000));
    assert!(report.alternatives.iter().any(|plan| plan.kind == "index" && plan.rows_at_least.is_some()), "{report:?}");
}

#[tokio::test]
async fn points_near_another_come_by_their_distance() {
    let house = house();
    let store = house.open();
    let place = |n: i32| put(key("b", &n.to_string()), format!(r#""loc":{{"longitude":{},"latitude":{}}}"#, n, (n * 7) % 11));
    commit_all(&store, (0..60).map(place)).await;
    let near = |metres: u32| {
        format!(r#"{{"loc":{{"$nearSphere":{{"$geometry":{{"type":"Point","coordinates":[20,5]}},"$maxDistance":{metres}}}}}}}"#)
    };
    let unindexed = found(&store, asking("b", &near(1_000_000), "", 0, None)).await;
    declare(&store, "b", index(false, &[("loc", KeyOrder::Geo)])).await;
    let indexed = found(&store, asking("b", &near(1_000_000), "", 0, None)).await;
    assert_eq!(indexed, unindexed);
    assert_eq!(found(&store, asking("b", &near(1_000_000), "", 1, Some(2))).await, unindexed[1..3]);
    let distance = |id: &String| {
        let n: i32 = id.rsplit('/').next().unwrap().parse().unwrap();
        let at = |longitude: i32, latitude: i32| dataflows::query::ast::Point { longitude: longitude.into(), latitude: latitude.into() };
        dataflows::query::geo::distance(at(20, 5), at(n, (n * 7) % 11))
    };
    assert!(indexed.len() > 5 && indexed.is_sorted_by(|left, right| distance(left) <= distance(right)), "{indexed:?}");
}

#[tokio::test]
async fn an_index_is_built_while_writes_go_on_and_goes_on_after_a_crash() {
    let house = house();
    let store = house.open();
    commit_all(&store, (0..3000).map(|n| put(key("b", &format!("{n:05}")), format!(r#""n":{}"#, n % 50)))).await;
    change(&store, "b", IndexChange::Create(index(false, &[("n", KeyOrder::Asc)]))).await.unwrap();
    // Somewhere in the middle, as the process ends.
    for n in 0..40 {
        commit(&store, put(key("b", &format!("{:05}", n * 70)), r#""n":51"#.into())).await;
    }
    drop(store);
    let store = house.open();
    commit(&store, delete(key("b", "00001"))).await;
    entries_are_those_of_the_objects(&store).await;
    assert_eq!(store.indexes("app", "b")[0].state, IndexState::Ready);
    let report = explain(&store, asking("b", r#"{"n":51}"#, "", 0, None)).await;
    assert_eq!((report.plan.kind, report.rows_returned), ("index", 40));
    change(&store, "b", IndexChange::DropAll).await.unwrap();
    assert!(store.indexes("app", "b").is_empty());
    eventually(|| store.keyspaces.indexes.is_empty().unwrap() && store.keyspaces.index_notes.is_empty().unwrap()).await;
}

#[tokio::test]
async fn after_a_crash_the_planner_does_not_take_an_index_for_empty() {
    let house = house();
    let store = house.open();
    change(&store, "b", IndexChange::Create(index(false, &[("n", KeyOrder::Asc)]))).await.unwrap();
    commit_all(&store, (0..1000).map(|n| put(key("b", &format!("{n:05}")), format!(r#""n":{}"#, n % 8)))).await;
    drop(store);
    let store = house.open();
    let report = explain(&store, asking("b", r#"{"n":5}"#, "", 0, None)).await;
    assert_eq!((report.plan.kind, report.rows_examined), ("index", 125));
    // What was not known is not known by closing either.
    store.close().await.unwrap();
    drop(store);
    let store = house.open();
    let report = explain(&store, asking("b", r#"{"n":5}"#, "", 0, None)).await;
    assert_eq!((report.plan.kind, report.rows_examined), ("index", 125));
}

#[tokio::test]
async fn an_object_with_several_points_is_in_an_order_once() {
    let house = house();
    let store = house.open();
    declare(&store, "b", index(false, &[("city", KeyOrder::Asc), ("loc", KeyOrder::Geo)])).await;
    let point = |n: i32| format!(r#"{{"longitude":{n},"latitude":{n}}}"#);
    let of = |n: i32| put(key("b", &format!("{n:03}")), format!(r#""city":"c{:02}","loc":[{},{}]"#, n / 10, point(n), point(n - 90)));
    commit_all(&store, (0..90).map(of)).await;
    let selection = asking("b", "{}", r#"{"city":1}"#, 0, Some(20));
    let expected: Vec<_> = (0..20).map(|n| format!("{n:03}")).collect();
    let answer = found(&store, selection.clone()).await;
    assert!(answer.iter().map(|id| id.rsplit('/').next().unwrap()).eq(expected.iter().map(String::as_str)), "{answer:?}");
    // As if it had been built before this was told.
    let declared = store.snapshot_now().indexes.declared("app", "b").to_vec();
    declared[0].shared.regular.store(true, Ordering::Release);
    let report = explain(&store, selection.clone()).await;
    assert_eq!(report.plan.kind, "ordered index", "{report:?}");
    assert_eq!(found(&store, selection).await, answer);
}

#[tokio::test]
async fn backups_have_the_definitions_and_entries_are_made_again() {
    let house = house();
    let store = house.open();
    commit_all(&store, (0..20).map(|n| put(key("b", &n.to_string()), format!(r#""n":{n}"#)))).await;
    declare(&store, "b", index(true, &[("n", KeyOrder::Desc)])).await;
    commit(&store, put(key("User", "1"), r#""username":"ann""#.into())).await;
    let mut copy = Vec::new();
    store.backup(&mut copy, &mut |_| {}).unwrap();
    let restored = House::new();
    let mut restored = House { config: restored.config.clone(), ..restored };
    restored.config.store.data = restored.dir.path().join("other");
    backup::restore(&copy[..], &restored.config.store.data, &mut |_| {}).unwrap();
    let store = restored.open();
    entries_of_users(&store);
    eventually(|| store.indexes("app", "b")[0].state == IndexState::Ready).await;
    assert_eq!(explain(&store, asking("b", r#"{"n":7}"#, "", 0, None)).await.rows_examined, 1);
    let again = store.commit(put(key("b", "x"), r#""n":7"#.into())).await;
    assert!(matches!(again, Err(StoreError::Refused(Refusal::Taken { .. }))), "{again:?}");
    let namesake = store.commit(put(key("User", "2"), r#""username":"ann""#.into())).await;
    assert!(matches!(namesake, Err(StoreError::Refused(Refusal::NameTaken(_)))), "{namesake:?}");
}

fn entries_of_users(store: &Embedded) {
    assert_eq!(store.snapshot_now().indexes.of("app", "User").len(), 1);
}

#[tokio::test]
async fn a_field_that_becomes_a_time_is_indexed_anew() {
    let house = house();
    let store = house.open();
    for (id, due) in [("1", "2020-01-01T00:00:00Z"), ("2", "2021-01-01T00:00:00Z"), ("3", "soon")] {
        commit(&store, put(key("b", id), format!(r#""due":"{due}","n":1"#))).await;
    }
    declare(&store, "b", index(false, &[("due", KeyOrder::Asc)])).await;
    declare(&store, "b", index(false, &[("n", KeyOrder::Asc)])).await;
    let late = r#"{"due":{"$gt":{"$date":"2020-06-01T00:00:00Z"}}}"#;
    assert_eq!(found(&store, asking("b", late, "", 0, None)).await, Vec::<String>::new());
    store.commit_schema("app".into(), with_date("b")).await.unwrap();
    // Right at every moment of the building, and by the index when it is built.
    assert_eq!(found(&store, asking("b", late, "", 0, None)).await, ["/db/b/2"]);
    entries_are_those_of_the_objects(&store).await;
    let report = explain(&store, asking("b", late, "", 0, None)).await;
    assert_eq!((report.plan.kind, report.rows_examined), ("index", 1));
}

#[tokio::test]
async fn what_an_answer_may_have_is_limited_and_said_so() {
    let house = house();
    let store = house.open();
    commit_all(&store, (0..30).map(|n| put(key("b", &n.to_string()), format!(r#""n":{n}"#)))).await;
    declare(&store, "b", index(false, &[("n", KeyOrder::Asc)])).await;
    let snapshot = store.snapshot().await.unwrap();
    for query in ["{}", r#"{"n":{"$gte":0}}"#, r#"{"n":{"$gte":0},"m":null}"#] {
        for sort in ["", r#"{"n":-1}"#, r#"{"m":1}"#] {
            let limited = |count| Selection { limit: 10, ..asking("b", query, sort, 0, count) };
            for count in [None, Some(11), Some(100)] {
                let refused = snapshot.select(limited(count)).await;
                assert!(matches!(refused, Err(StoreError::TooMany { limit: 10 })), "{query} {sort} {count:?}");
            }
            assert_eq!(snapshot.select(limited(Some(10))).await.unwrap().len(), 10, "{query} {sort}");
        }
    }
}

#[tokio::test]
async fn definitions_that_cannot_be_built_are_refused() {
    let house = house();
    let store = house.open();
    use KeyOrder::{Asc, Geo};
    let long = "x".repeat(600);
    let many: Vec<(String, KeyOrder)> = (0..17).map(|n| (format!("f{n}"), Asc)).collect();
    let many: Vec<(&str, KeyOrder)> = many.iter().map(|(path, order)| (&**path, *order)).collect();
    for definition in [
        index(false, &[]),
        index(false, &[("", Asc)]),
        index(false, &[(&long, Asc)]),
        index(false, &[("a", Asc), ("a", KeyOrder::Desc)]),
        index(true, &[("a", Geo)]),
        index(false, &many),
    ] {
        let refused = change(&store, "b", IndexChange::Create(definition)).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal::Index(_)))), "{refused:?}");
    }
    for n in 0..crate::store::MOST_INDEXES {
        change(&store, "b", IndexChange::Create(index(false, &[(&format!("f{n}"), Asc)]))).await.unwrap();
    }
    let refused = change(&store, "b", IndexChange::Create(index(false, &[("more", Asc)]))).await;
    assert!(matches!(refused, Err(StoreError::Refused(Refusal::Index(_)))), "{refused:?}");
    // The same once more is nothing.
    change(&store, "b", IndexChange::Create(index(false, &[("f0", Asc)]))).await.unwrap();
    let other = change(&store, "b", IndexChange::Create(index(true, &[("f0", Asc)]))).await;
    assert!(matches!(other, Err(StoreError::Refused(Refusal::Index(_)))), "{other:?}");
}
