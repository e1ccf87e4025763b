//! One-shot queries by an index against the scan of the same bucket, which stands beside as the baseline.
//!
//! `cargo bench --bench queries [-- --objects N]`

#![allow(clippy::unwrap_used, clippy::expect_used)]

use dataflows::access::Caller;
use dataflows::change::Writer;
use dataflows::query::sort::Sort;
use dataflows::query::{Filter, QueryLimits};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::config::{Config, Durability};
use tidegate::store::embedded::Embedded;
use tidegate::store::{
    Actor, Decision, IndexChange, IndexDefinition, IndexKey, IndexState, Key, KeyOrder, QueryReport, Selection, Store, Write,
};

const APP: &str = "bench";
const BUCKET: &str = "Lot";
/// The same queries a few times: the best counts, as others share the machine.
const ROUNDS: usize = 5;

fn write(n: u64) -> Write {
    let key = Key { app: APP.into(), bucket: BUCKET.into(), id: format!("/db/{BUCKET}/{n:07}").into() };
    let text = format!(
        r#"{{"id":"{}","version":1,"n":{n},"city":"city {}","price":{},"tags":["t{}","u{}"],"loc":{{"longitude":{},"latitude":{}}},"text":"{}"}}"#,
        key.id,
        n % 1000,
        n.wrapping_mul(7919) % 10_007,
        n % 500,
        n % 7,
        (n % 1000) as f64 / 100.0,
        (n / 1000) as f64 / 10.0,
        "x".repeat(200),
    );
    let decide =
        Arc::new(move |_: Option<&dataflows::change::Image>, _: &tidegate::store::Stamp<'_>| Ok(Decision::Put(text.clone().into())));
    Write { key, decide, actor: Actor::server(), writer: Writer::default() }
}

fn selection(query: &str, sort: &str, count: Option<usize>) -> Selection {
    let filter = Filter::parse(query, &QueryLimits::default()).unwrap();
    let sort = if sort.is_empty() { Sort::default() } else { Sort::parse(sort).unwrap() };
    let all = Selection::all(APP.into(), BUCKET.into(), filter.predicate, Arc::new(Caller::admin()), usize::MAX);
    Selection { sort, count, ..all }
}

async fn best(store: &Embedded, asked: &Selection) -> (Duration, usize) {
    let mut best = (Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let snapshot = store.snapshot().await.unwrap();
        let begin = Instant::now();
        let found = snapshot.select(asked.clone()).await.unwrap().len();
        best = best.min((begin.elapsed(), found));
    }
    best
}

async fn fill(store: &Embedded, objects: u64) -> f64 {
    let begin = Instant::now();
    for piece in (0..objects).collect::<Vec<_>>().chunks(256) {
        let commits: Vec<_> = piece.iter().map(|n| store.commit(write(*n))).collect();
        for commit in commits {
            commit.await.unwrap();
        }
    }
    objects as f64 / begin.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let named = arguments.iter().position(|argument| argument == "--objects").and_then(|at| arguments.get(at + 1));
    let objects: u64 = named.map_or(100_000, |count| count.parse().expect("--objects takes a number"));
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.store.data = dir.path().join("data");
    config.store.durability = Durability::System;
    let store = Embedded::open(&config.store, &config.changelog).unwrap();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(run(&store, objects));
}

async fn run(store: &Embedded, objects: u64) {
    println!("{objects} objects of about 370 bytes");
    println!("writes without an index: {:.0}/s", fill(store, objects).await);
    let in_list: Vec<String> = (0..5000).map(|n| (n * 13).to_string()).collect();
    let in_list = format!(r#"{{"n":{{"$in":[{}]}}}}"#, in_list.join(","));
    let queries = [
        ("equality, one object", r#"{"n":77777}"#, "", None),
        ("equality, one in a thousand", r#"{"city":"city 7"}"#, "", None),
        ("equality and range", r#"{"city":"city 7","price":{"$lt":1000}}"#, "", None),
        ("$in of 5000", &*in_list, "", None),
        ("an element of an array", r#"{"tags":"t33"}"#, "", None),
        ("sorted, the first ten", "{}", r#"{"price":-1}"#, Some(10)),
        (
            "points in a box",
            r#"{"loc":{"$geoWithin":{"$geometry":{"type":"Polygon","coordinates":[[[1,1],[1.5,1],[1.5,1.5],[1,1.5],[1,1]]]}}}}"#,
            "",
            None,
        ),
        ("half of all", r#"{"price":{"$lt":5000}}"#, "", None),
    ];
    let mut scans = Vec::new();
    for (_, query, sort, count) in &queries {
        scans.push(best(store, &selection(query, sort, *count)).await);
    }
    use KeyOrder::{Asc, Desc, Geo};
    for keys in [&[("n", Asc)][..], &[("city", Asc), ("price", Desc)], &[("tags", Asc)], &[("price", Asc)], &[("loc", Geo)]] {
        let keys = keys.iter().map(|(path, order)| IndexKey { path: (*path).into(), order: *order }).collect();
        let definition = IndexDefinition { unique: false, keys };
        let begin = Instant::now();
        store.change_indexes(APP.into(), BUCKET.into(), IndexChange::Create(definition.clone())).await.unwrap();
        while store.indexes(APP, BUCKET).iter().any(|report| report.state != IndexState::Ready) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("building {definition}: {:.0} objects/s", objects as f64 / begin.elapsed().as_secs_f64());
    }
    println!("{:<30} {:>10} {:>10} {:>8}  {:>9} {:>9}  plan", "query", "scan", "planned", "times", "examined", "returned");
    for ((name, query, sort, count), (scan, expected)) in queries.iter().zip(scans) {
        let asked = selection(query, sort, *count);
        let (planned, found) = best(store, &asked).await;
        assert_eq!(found, expected, "{name}");
        let QueryReport { plan, rows_examined, rows_returned, .. } = store.snapshot().await.unwrap().explain(asked).await.unwrap();
        let times = scan.as_secs_f64() / planned.as_secs_f64();
        println!(
            "{name:<30} {:>7.2} ms {:>7.2} ms {times:>8.1}  {rows_examined:>9} {rows_returned:>9}  {} {}",
            scan.as_secs_f64() * 1e3,
            planned.as_secs_f64() * 1e3,
            plan.kind,
            plan.indexes.join(" ")
        );
    }
    println!("writes with five indexes: {:.0}/s", fill(store, objects.min(20_000)).await);
}
