//! The oracle (invariants 1 to 4): random documents, queries, access lists and racing writes, subscriptions that
//! come, go and come back while they race; every message of every subscription is judged.
//!
//! What is true is put together from the answers to the writers alone (`support::history`). Every live result
//! must be, message by message, what the same query gives over the commits in order; every one-shot answer must be
//! what it gives at the position that it carries, and what the live results were there; and no frame may hold
//! the tag of an image that its reader may not read.
//!
//! `TIDEGATE_CASES` is the number of queries in all: in rounds of 60, with 100 writes each, on each of three layouts
//! of the dataflow. `TIDEGATE_SEED` is what everything is generated from. Interleavings are free.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "oracle/declared.rs"]
mod declared;
#[path = "oracle/generate.rs"]
mod generate;
#[path = "oracle/plan.rs"]
mod plan;
#[path = "oracle/round.rs"]
mod round;
mod support;
#[path = "oracle/verify.rs"]
mod verify;

use plan::{PEOPLE, Plan, QUERIES};
use round::{Arena, Score};
use support::people::Person;
use support::{run, server, setting};

/// Rounds on one server, with so many workers in so many columns.
fn rounds(workers: usize, columns: usize) {
    let seed = setting("TIDEGATE_SEED", 1);
    let cases = (setting("TIDEGATE_CASES", if cfg!(debug_assertions) { 720 } else { 2520 }) / (3 * QUERIES as u64)).max(1);
    let directory = tempfile::tempdir().unwrap();
    let mut config = server::config(directory.path());
    (config.engine.workers, config.engine.columns) = (workers, columns);
    // Subscriptions to which nothing comes are told how far they are so often.
    config.live.ping_seconds = 1;
    run(async {
        let server = server::start(config).await;
        let people = PEOPLE.iter().map(|(user, roles)| match user {
            Some(user) => Person::of(server.authority(), user, roles),
            None => Person::anonymous(),
        });
        let arena = Arena::new(&server.url(), people.collect());
        let mut score = Score::default();
        for round in 0..cases {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(round * 10 + (workers * 3 + columns) as u64);
            let plan = Plan::new(seed, &format!("Bucket{round}"), round % 3 == 2);
            let told =
                OnPanic(format!("round {round} of {workers} workers in {columns} columns, TIDEGATE_SEED={}", setting("TIDEGATE_SEED", 1)));
            score.add(&round::play(&arena, &plan).await);
            drop(told);
        }
        server.shutdown().await.unwrap();
        println!("{workers} workers, {columns} columns, {cases} rounds: {score:?}");
        score.check_that_it_judged(cases as usize);
    });
}

/// Says where a failure was.
pub struct OnPanic(pub String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it failed in {}", self.0);
        }
    }
}

#[test]
fn live_results_are_the_truth_with_one_worker() {
    rounds(1, 1);
}

#[test]
fn live_results_are_the_truth_with_two_rows() {
    rounds(2, 1);
}

#[test]
fn live_results_are_the_truth_with_two_columns() {
    rounds(2, 2);
}
