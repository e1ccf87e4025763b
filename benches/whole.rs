//! The whole: HTTP writes a second and the time from the writer's answer to the event at a websocket client, with 10, 1 000 and
//! 10 000 distinct live queries on 10 to 1 000 connections. The rate must not depend on the number of queries.
//!
//! The same code as the command `tidegate bench`, against a server in this process with embedded defaults (writes are
//! acknowledged when they are on the disk) in a temporary directory. Every write touches one query (or two, when
//! its object moves from one query to another), however many there are. Baselines: the same writes with no live query, in
//! the same server before and after; an echo over the same websocket stack. The settings take turns.
//!
//! Data: 1 000 objects of 12 fields and about 400 bytes, written over and over by 16 writers.
//!
//! Run: `cargo bench --bench whole` (`-- --brief` ends within seconds; `--system` acknowledges writes when the operating
//! system has them, so that the disk is no part of the figures).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;
use support::{Table, count, median};
use tidegate::bench::in_process::InProcess;
use tidegate::bench::table::micros;
use tidegate::bench::whole::{Report, WholeOptions, measure};
use tidegate::config::Durability;

fn main() {
    let arguments = support::arguments();
    let durability = if arguments.has("--system") { Durability::System } else { Durability::Disk };
    let settings: &[(usize, usize)] = arguments.choose(&[(10, 10), (1_000, 100), (10_000, 100), (10_000, 1_000)], &[(10, 10), (200, 20)]);
    let (turns, lasting) = (arguments.choose(3, 1), arguments.choose(Duration::from_secs(6), Duration::from_millis(400)));
    support::open_files(4_000);
    let mut reports: Vec<Vec<Report>> = vec![Vec::new(); settings.len()];
    for turn in 0..turns {
        for (place, &(queries, connections)) in settings.iter().enumerate() {
            eprintln!("turn {} of {turns}: {queries} queries on {connections} connections", turn + 1);
            let server = InProcess::start(durability).expect("a server");
            let (base, password) = (server.base().clone(), Some(server.password().to_owned()));
            let objects = arguments.choose(1_000, 100);
            let options = WholeOptions { base, password, queries, connections, writers: 16, objects, lasting };
            let report = support::runtime().block_on(measure(&options, &|_| {})).expect("a run without fault");
            assert!(report.flat_out.events >= report.flat_out.writes - report.flat_out.composed, "every write made an event");
            assert_eq!(report.half.composed, 0, "nothing is put together for clients that read, at half of what it can do");
            reports[place].push(report);
        }
    }
    let mut table = Table::new([
        "queries/connections",
        "updates/s",
        "alone",
        "ratio",
        "events/s",
        "answer to event p50",
        "p99",
        "p99.9",
        "at half the rate p50",
        "p99",
        "echo p50",
        "p99",
    ]);
    for ((queries, connections), reports) in settings.iter().zip(&reports) {
        let of = |figure: &dyn Fn(&Report) -> f64| median(reports.iter().map(figure).collect());
        let (rate, alone) = (of(&|report| report.flat_out.write_rate()), of(&|report| report.writes_alone));
        table.row([
            format!("{queries}/{connections}"),
            count(rate),
            count(alone),
            format!("{:.2}", of(&|report| report.flat_out.write_rate() / report.writes_alone)),
            count(of(&|report| report.flat_out.event_rate())),
            micros(of(&|report| report.flat_out.answer_to_event.micros(0.5))),
            micros(of(&|report| report.flat_out.answer_to_event.micros(0.99))),
            micros(of(&|report| report.flat_out.answer_to_event.micros(0.999))),
            micros(of(&|report| report.half.answer_to_event.micros(0.5))),
            micros(of(&|report| report.half.answer_to_event.micros(0.99))),
            micros(of(&|report| report.echo.micros(0.5))),
            micros(of(&|report| report.echo.micros(0.99))),
        ]);
    }
    println!("{table}");
}
