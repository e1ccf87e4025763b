//! From an HTTP write to its event at a websocket client, one after the other: nothing is queued anywhere.
//!
//! Measures write to answer, answer to event and write to event, with one writer (logged in as `root`) and one
//! anonymous subscriber among 1 000 distinct queries, once with writes acknowledged when they are on the disk, once when the
//! operating system has them. Baselines in turns: an echo over the same websocket stack, one text of the event's
//! size there and back; and the same with a pause between, as wake-ups cost more than work. Servers in
//! processes of their own.
//!
//! An event that comes before the writer has his answer counts as 0 from answer to event: the writer is another session
//! than the subscriber, and nobody else waits for an answer.
//!
//! Run: `cargo bench --bench write_to_event` (`-- --brief` ends within seconds).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;
use support::child::{self, Server};
use support::tidegate::Tidegate;
use support::{Table, count};
use tidegate::bench::echo::Echo;
use tidegate::bench::latency::Latencies;
use tidegate::bench::load::{Load, LoadOptions, Outcome};
use tidegate::bench::table::micros;
use tidegate::bench::workload::Workload;
use tidegate::config::Durability;

/// Bytes of an event of the workload, with its envelope.
const EVENT_BYTES: usize = 600;

fn main() {
    match child::role().as_deref() {
        Some(support::tidegate::ROLE) => return support::tidegate::serve(),
        Some(_) => return serve_echo(),
        None => {}
    }
    let arguments = support::arguments();
    let (turns, lasting) = (arguments.choose(5, 1), arguments.choose(Duration::from_secs(3), Duration::from_millis(300)));
    support::open_files(4_000);
    let mut table = Table::new(["", "p50", "p99", "p99.9", "events"]);
    for (durability, name) in [(Durability::Disk, "on the disk"), (Durability::System, "with the system")] {
        support::runtime().block_on(async {
            let tidegate = Tidegate::start(durability);
            let echo_server = Server::of_role("echo", &[]);
            let echo = Echo::at(&echo_server.said);
            let workload = Workload { queries: arguments.choose(1_000, 20), objects: 100 };
            let (base, token) = (tidegate.base.clone(), Some(tidegate.token().await));
            let options = LoadOptions { base, token, bucket: "Lots".to_owned(), workload, writers: 1 };
            let mut load = Load::prepare(options).await.expect("the objects");
            load.subscribe(1).await.expect("subscriptions");
            load.run(lasting / 4, None).await.expect("warmed up");
            let (mut whole, mut trips, mut paused) = (Outcome::default(), Latencies::default(), Latencies::default());
            for _ in 0..turns {
                // Paced so that each write finds an idle server.
                let outcome = load.run(lasting, Some(100.0)).await.expect("every event comes");
                assert_eq!(outcome.composed, 0, "nothing is put together for a client that reads");
                whole.events += outcome.events;
                whole.ahead += outcome.ahead;
                whole.to_answer.add(&outcome.to_answer);
                whole.answer_to_event.add(&outcome.answer_to_event);
                whole.write_to_event.add(&outcome.write_to_event);
                trips.add(&echo.round_trips(EVENT_BYTES, lasting / 2, Duration::ZERO).await.expect("an echo"));
                paused.add(&echo.round_trips(EVENT_BYTES, lasting / 2, Duration::from_millis(10)).await.expect("an echo"));
            }
            for (label, latencies) in [
                (format!("write to answer, {name}"), &whole.to_answer),
                (format!("answer to event, {name}"), &whole.answer_to_event),
                (format!("write to event, {name}"), &whole.write_to_event),
                ("baseline: echo, every 10 ms".to_owned(), &paused),
                ("baseline: echo, one after the other".to_owned(), &trips),
            ] {
                let mut row = vec![label];
                row.extend([0.5, 0.99, 0.999].map(|share| micros(latencies.micros(share))));
                row.push(count(latencies.len() as f64));
                table.row(row);
            }
            table.row([
                format!("ratio write to event / echo every 10 ms, {name}"),
                format!("{:.1}", whole.write_to_event.micros(0.5) / paused.micros(0.5)),
                format!("{:.1}", whole.write_to_event.micros(0.99) / paused.micros(0.99)),
            ]);
            table.row([format!("ahead of the answer, {name}"), format!("{:.0} %", 100.0 * whole.ahead as f64 / whole.events as f64)]);
        });
    }
    println!("{table}");
}

fn serve_echo() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let echo = runtime.block_on(Echo::start()).expect("an echo");
    child::ready(echo.authority());
    child::until_the_end();
}
