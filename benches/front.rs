//! The front stage over loopback: requests/s and latency of load, insert, conditional update, query by index and by scan, and
//! what our work costs: each beside a bare axum handler that answers the same bytes, in turns with it, both in
//! processes of their own. Processor time a request is the figure to trust on a shared machine; its ratio is the cost
//! of our work. Then how often the disk is waited for with 1, 8 and 64 writers: a group of writes waits once.
//!
//! Data: made up, 10 000 objects of 10 fields and about 300 bytes; a query finds 10. Writes are acknowledged when the operating
//! system has them (the disk is measured last, apart); nobody subscribes. 16 connections, one request at a time on each; the
//! clients are this process.
//!
//! Run: `cargo bench --bench front`; `-- --brief` takes some seconds and shows only that it works.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[path = "front/bare.rs"]
mod bare;
#[path = "front/cases.rs"]
mod cases;
mod support;

use bare::Bare;
use cases::{BUCKET, CASES, Case, FOUND, askers, fill, together};
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;
use support::tidegate::Tidegate;
use support::{Table, child, count, median};
use tidegate::bench::http::{Base, HttpClient};
use tidegate::bench::in_process::InProcess;
use tidegate::bench::latency::Latencies;
use tidegate::bench::table::micros;
use tidegate::config::Durability;

/// What was measured of one server in one case.
#[derive(Default)]
struct Measured {
    rates: Vec<f64>,
    latencies: Latencies,
    /// Processor time of the server, seconds, and requests
    cpu: (f64, f64),
}

impl Measured {
    fn processor(&self) -> f64 {
        self.cpu.0 / self.cpu.1 * 1e6
    }

    fn cells(&self) -> [String; 4] {
        let latency = |share| micros(self.latencies.micros(share));
        [count(median(self.rates.clone())), latency(0.5), latency(0.99), micros(self.processor())]
    }
}

/// Requests of one case at one server for a while.
async fn measure(into: &mut Measured, server: &child::Server, askers: &mut Vec<cases::Asker>, case: Case, lasting: Duration) {
    let before = server.cpu();
    let (rate, latencies) = together(askers, case, lasting).await;
    into.cpu.0 += server.cpu() - before;
    into.cpu.1 += latencies.len() as f64;
    into.rates.push(rate);
    into.latencies.add(&latencies);
}

/// A class with an index on `city` and none on `district`; both tell the same objects apart.
async fn declare(base: &Base, token: String) {
    let mut root = HttpClient::connect(base, Some(token)).await.expect("a connection");
    let types = [
        ("city", "String"),
        ("district", "String"),
        ("title", "String"),
        ("price", "Integer"),
        ("bids", "Integer"),
        ("open", "Boolean"),
        ("seller", "String"),
        ("place", "String"),
        ("note", "String"),
    ];
    let field = |(order, (name, of)): (usize, &(&str, &str))| {
        ((*name).to_owned(), json!({"name": name, "type": format!("/db/{of}"), "order": order}))
    };
    let fields: serde_json::Map<String, Value> = types.iter().enumerate().map(field).collect();
    let class = json!({"class": format!("/db/{BUCKET}"), "superClass": "/db/Object", "fields": fields});
    root.expect(Method::POST, "/schema", Some(class.to_string())).await.expect("the class");
    let index = json!({"unique": false, "keys": [{"city": "asc"}]});
    root.expect(Method::POST, &format!("/index/{BUCKET}"), Some(index.to_string())).await.expect("the index");
}

async fn beside_a_bare_handler(brief: bool) {
    let (objects, connections) = (if brief { 500 } else { 10_000 }, 16);
    let (turns, lasting) = if brief { (1, Duration::from_millis(200)) } else { (5, Duration::from_secs(2)) };
    let tidegate = Tidegate::start(Durability::System);
    declare(&tidegate.base, tidegate.token().await).await;
    fill(&tidegate.base, objects).await;
    let header = ["", "requests/s", "p50", "p99", "processor", "bare: requests/s", "p50", "p99", "processor", "cost of our work"];
    let mut table = Table::new(header);
    let mut ours = askers(&tidegate.base, true, connections, objects).await;
    for (case, name) in CASES {
        let sample = ours[0].ask(case).await;
        if matches!(case, Case::Indexed | Case::Scanned) {
            let found: Vec<Value> = serde_json::from_slice(&sample.body).expect("objects");
            assert_eq!(found.len() as u64, FOUND, "a query finds what it should");
        }
        let bare = Bare::like(&sample);
        let mut theirs = askers(&bare.base, false, connections, objects).await;
        together(&mut ours, case, lasting / 4).await;
        together(&mut theirs, case, lasting / 4).await;
        let (mut of_ours, mut of_theirs) = (Measured::default(), Measured::default());
        for _ in 0..turns {
            measure(&mut of_ours, &tidegate.server, &mut ours, case, lasting).await;
            measure(&mut of_theirs, &bare.server, &mut theirs, case, lasting).await;
        }
        let ratio = format!("{:.1} x", of_ours.processor() / of_theirs.processor());
        let row = [name.to_owned()].into_iter().chain(of_ours.cells()).chain(of_theirs.cells()).chain([ratio]);
        table.row(row);
    }
    println!(
        "{objects} objects, {connections} connections; a query finds {FOUND}; processor time is the server's, for one request\n{table}"
    );
}

/// Waits for the disk that a write costs, by the number of those who write at once.
fn syncs(brief: bool) {
    let lasting = if brief { Duration::from_millis(300) } else { Duration::from_secs(5) };
    let server = InProcess::start(Durability::Disk).expect("a server");
    let mut table = Table::new(["writers", "writes/s", "syncs/s", "syncs a write", "writes a sync", "p50", "p99"]);
    support::runtime().block_on(async {
        for writers in [1, 8, 64] {
            let mut all = askers(server.base(), true, writers, 1_000).await;
            let before = server.statistics().expect("it runs");
            let (rate, latencies) = together(&mut all, Case::Insert, lasting).await;
            let after = server.statistics().expect("it runs");
            let (writes, syncs) = ((after.commits - before.commits) as f64, (after.syncs - before.syncs) as f64);
            assert!(syncs > 0.0 && syncs <= writes + 1.0, "{syncs} syncs for {writes} writes");
            table.row([
                writers.to_string(),
                count(rate),
                count(rate * syncs / writes),
                format!("{:.3}", syncs / writes),
                format!("{:.1}", writes / syncs),
                micros(latencies.micros(0.5)),
                micros(latencies.micros(0.99)),
            ]);
        }
    });
    println!("acknowledged when on the disk\n{table}");
}

fn main() {
    match child::role().as_deref() {
        Some(support::tidegate::ROLE) => return support::tidegate::serve(),
        Some(bare::ROLE) => return bare::serve(),
        _ => {}
    }
    let brief = support::arguments().brief;
    support::runtime().block_on(beside_a_bare_handler(brief));
    syncs(brief);
}
