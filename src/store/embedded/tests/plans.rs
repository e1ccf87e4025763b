//! How many objects a plan looks at: as many as it answers with, or nearly so.

use super::indexes::{asking, declare, explain, found, house, index, scanned};
use super::*;
use crate::store::KeyOrder::{Asc, Desc, Geo};
use crate::store::{IndexState, QueryReport};

/// The answer is that of a scan, and this is how it was found.
async fn planned(store: &Embedded, selection: Selection) -> QueryReport {
    let report = explain(store, selection.clone()).await;
    let before = store.statistics();
    let answer = found(store, selection.clone()).await;
    let after = store.statistics();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(answer, scanned(&snapshot, &selection).await.0, "{report:?}");
    assert_eq!((after.examined - before.examined, after.scans - before.scans), (report.rows_examined, 0), "{report:?}");
    report
}

#[tokio::test]
async fn conditions_on_ids_read_that_piece_of_the_bucket() {
    let house = house();
    let store = house.open();
    commit_all(&store, (0..600).map(|n| put(key("b", &format!("{n:04}")), format!(r#""n":{},"m":{}"#, n % 7, n % 100)))).await;
    // Neighbours on the disk are others' objects.
    commit_all(&store, ["a", "ba", "c"].map(|bucket| put(key(bucket, "0100"), String::new()))).await;
    for indexed in [false, true] {
        for (query, sort, count, examined) in [
            (r#"{"id":{"$gte":"/db/b/0100","$lt":"/db/b/0130"}}"#, "", None, 30),
            (r#"{"id":{"$gt":"/db/b/0100","$lte":"/db/b/0130"},"n":3}"#, "", None, 30),
            (r#"{"id":{"$regex":"^/db/b/02"}}"#, "", None, 100),
            (r#"{"id":{"$gt":"/db/b/0300"}}"#, "", Some(20), 20),
            (r#"{"id":{"$gt":"/db/b/0300"}}"#, r#"{"id":1}"#, Some(20), 20),
            (r#"{"id":{"$lt":"/db/b/0300"}}"#, r#"{"id":-1}"#, Some(20), 20),
            ("{}", r#"{"id":-1}"#, Some(5), 5),
            (r#"{"id":{"$gt":"/db/b/0598"}}"#, r#"{"n":-1}"#, None, 1),
            (r#"{"id":{"$gt":"/db/b/zzz"}}"#, "", None, 0),
            (r#"{"id":{"$gt":5}}"#, "", None, 0),
            (r#"{"id":{"$gt":"/db/b/0300","$lt":"/db/b/0200"}}"#, "", None, 0),
        ] {
            let report = planned(&store, asking("b", query, sort, 0, count)).await;
            // With an index there is more to choose between, and a choice looks at some.
            let sample = if indexed && count.is_some() { 64 } else { 0 };
            assert!(report.rows_examined <= examined + sample, "{query} {sort} {report:?}");
            assert!(["id range", "ids"].contains(&report.plan.kind), "{query} {sort} {report:?}");
        }
        let among = r#"{"$or":[{"id":{"$lt":"/db/b/0003"}},{"id":"/db/b/0500"},{"id":{"$gte":"/db/b/0599"}}]}"#;
        let report = planned(&store, asking("b", among, "", 0, None)).await;
        assert_eq!((report.plan.kind, report.rows_examined), ("id range", 5), "{report:?}");
        declare(&store, "b", index(false, &[("m", Asc)])).await;
    }
    // What is smaller is taken, in either way round.
    for (query, kind, examined) in [
        (r#"{"id":{"$gte":"/db/b/0100","$lt":"/db/b/0130"},"m":5}"#, "index", 6),
        (r#"{"id":{"$gte":"/db/b/0100","$lt":"/db/b/0103"},"m":{"$lt":9}}"#, "id range", 3),
    ] {
        let report = planned(&store, asking("b", query, "", 0, None)).await;
        assert_eq!((report.plan.kind, report.rows_examined), (kind, examined), "{query} {report:?}");
    }
    let count = store.snapshot().await.unwrap().count(asking("b", r#"{"id":{"$gte":"/db/b/0100"}}"#, "", 0, None)).await;
    assert_eq!(count.unwrap(), 500);
}

#[tokio::test]
async fn types_and_what_is_missing_are_found_by_an_index() {
    let house = house();
    let store = house.open();
    let item = |n: u32| {
        let field = match n % 100 {
            0 => r#""a":"text""#,
            1 => r#""a":null"#,
            2 => r#""m":1"#,
            3 => r#""a":[1,"two"]"#,
            4 => r#""a":{"x":1}"#,
            _ => r#""a":5"#,
        };
        put(key("b", &format!("{n:04}")), field.to_owned())
    };
    commit_all(&store, (0..1000).map(item)).await;
    for order in [Asc, Desc] {
        let definition = index(false, &[("a", order)]);
        assert_eq!(declare(&store, "b", definition.clone()).await.state, IndexState::Ready);
        for (query, rows) in [
            (r#"{"a":{"$type":"string"}}"#, 20),
            (r#"{"a":{"$type":["array","object"]}}"#, 20),
            (r#"{"a":{"$type":"null"}}"#, 20),
            (r#"{"a":{"$type":"bool"}}"#, 0),
            (r#"{"a":{"$exists":false}}"#, 20),
            // One condition may be met by one element of an array, the other by another: only one of them narrows.
            (r#"{"a":{"$type":"string","$gte":"u"}}"#, 20),
        ] {
            let report = planned(&store, asking("b", query, "", 0, None)).await;
            assert_eq!((report.plan.kind, report.rows_examined <= rows), ("index", true), "{query} {report:?}");
        }
        crate::store::embedded::tests::indexes::change(&store, "b", crate::store::IndexChange::Drop(definition.keys)).await.unwrap();
    }
    // Where most have nothing, those that have something are few.
    commit_all(&store, (0..1000).map(|n| put(key("s", &n.to_string()), if n % 100 == 0 { r#""a":1"#.into() } else { String::new() })))
        .await;
    declare(&store, "s", index(false, &[("a", Asc)])).await;
    for query in [r#"{"a":{"$ne":null}}"#, r#"{"a":{"$exists":true,"$ne":null}}"#] {
        let report = planned(&store, asking("s", query, "", 0, None)).await;
        assert_eq!((report.plan.kind, report.rows_examined, report.rows_returned), ("index", 10, 10), "{query} {report:?}");
    }
}

#[tokio::test]
async fn the_nearest_are_found_from_the_point_outwards() {
    let house = house();
    let store = house.open();
    // A town, villages around it, and one place at the other side of the globe.
    let at = |n: u32| match n {
        0..500 => (f64::from(n % 25) / 1000.0, f64::from(n / 25) / 1000.0),
        500..990 => (f64::from(n % 49) * 3.0 - 70.0, f64::from(n / 49) * 2.0 - 40.0),
        _ => (179.0, f64::from(n % 7) / 10.0),
    };
    let item = |n: u32| {
        let (longitude, latitude) = at(n);
        put(key("b", &format!("{n:04}")), format!(r#""kind":{},"loc":{{"longitude":{longitude},"latitude":{latitude}}}"#, n % 4))
    };
    commit_all(&store, (0..1000).map(item)).await;
    let near = |x: f64, y: f64, most: &str, more: &str| {
        format!(r#"{{"loc":{{"$nearSphere":{{"$geometry":{{"type":"Point","coordinates":[{x},{y}]}}{most}}}}}{more}}}"#)
    };
    let unindexed = found(&store, asking("b", &near(0.01, 0.01, "", ""), "", 0, Some(10))).await;
    declare(&store, "b", index(false, &[("loc", Geo)])).await;
    assert_eq!(found(&store, asking("b", &near(0.01, 0.01, "", ""), "", 0, Some(10))).await, unindexed);
    for (query, skip, count, examined) in [
        // Amid the town, in it but for its far end, in the villages, at the antipodes, over the date line.
        (near(0.01, 0.01, "", ""), 0, 10, 20),
        (near(0.01, 0.01, "", ""), 20, 10, 40),
        (near(0.0, 0.0, "", ""), 0, 400, 440),
        (near(30.0, 10.0, "", ""), 0, 5, 10),
        (near(179.9, 0.0, "", ""), 0, 5, 12),
        (near(-179.9, 0.0, "", ""), 0, 5, 12),
        (near(0.0, 90.0, "", ""), 0, 3, 12),
        // No further than that.
        (near(0.01, 0.01, r#","$maxDistance":1000"#, ""), 0, 10, 20),
        (near(0.01, 0.01, r#","$maxDistance":150"#, ""), 0, 100, 12),
        // A quarter of what is looked at.
        (near(0.01, 0.01, "", r#","kind":2"#), 0, 10, 80),
    ] {
        let report = planned(&store, asking("b", &query, "", skip, Some(count))).await;
        assert_eq!(report.plan.kind, "nearest", "{query} {report:?}");
        assert!(report.rows_examined <= examined, "{query} {report:?}");
    }
    // Nothing fits: it is given up in time, and the rest scanned.
    let report = planned(&store, asking("b", &near(0.01, 0.01, "", r#","kind":9"#), "", 0, Some(3))).await;
    assert!(report.rows_returned == 0 && report.rows_examined <= 1000 + 1000 / 4 + 1, "{report:?}");
    // More than there are, and none at all.
    assert_eq!(planned(&store, asking("b", &near(0.0, 0.0, "", ""), "", 0, Some(5000))).await.rows_returned, 1000);
    assert_eq!(planned(&store, asking("b", &near(0.0, 0.0, "", ""), "", 5, Some(0))).await.rows_returned, 0);
    // By an index on something before the points, and a better one.
    declare(&store, "b", index(false, &[("kind", Asc), ("loc", Geo)])).await;
    let report = planned(&store, asking("b", &near(0.01, 0.01, "", r#","kind":2"#), "", 0, Some(10))).await;
    assert!(report.plan.kind == "nearest" && report.rows_examined <= 15 + 128, "{report:?}");
}
