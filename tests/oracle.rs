//! The oracle (invariants 1 to 4): random documents, queries, access lists and racing writes, subscriptions that
//! come, go and come back while they race; every message of every subscription is judged.
//!
//! What is true is put together from the answers to the writers alone (`support::history`). Every live result
//! must be, message by message, what the same query gives over the commits in order; every one-shot answer must be
//! what it gives at the position that it carries, and what the live results were there; and no frame may hold
//! the tag of an image that its reader may not read.
//!
//! `TIDEGATE_CASES` is the number of queries in all: in rounds of 60, with 160 writes each, on each of three layouts
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

use dataflows::change::Image;
use plan::{PEOPLE, Plan, QUERIES};
use round::{Arena, Score};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::history::{Commit, State};
use support::people::Person;
use support::{run, server, setting};
use tidegate::config::Config;
use tidegate::store::Store;
use tidegate::store::embedded::Embedded;

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
        let server = server::start(config.clone()).await;
        let people = PEOPLE.iter().map(|(user, roles)| match user {
            Some(user) => Person::of(server.authority(), user, roles),
            None => Person::anonymous(),
        });
        let arena = Arena::new(&server.url(), people.collect());
        let (mut score, mut committed) = (Score::default(), BTreeMap::new());
        for round in 0..cases {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(round * 10 + (workers * 3 + columns) as u64);
            let plan = Plan::new(seed, &format!("Bucket{round}"), round % 3 == 2);
            let told =
                OnPanic(format!("round {round} of {workers} workers in {columns} columns, TIDEGATE_SEED={}", setting("TIDEGATE_SEED", 1)));
            let (judged, history) = round::play(&arena, &plan).await;
            score.add(&judged);
            committed.extend(history.commits);
            drop(told);
        }
        server.shutdown().await.unwrap();
        println!("{workers} workers, {columns} columns, {cases} rounds: {score:?}");
        score.check_that_it_judged(cases as usize);
        check_log(&config, &committed).await;
    });
}

/// The change log on the disk has what the writers were told, and nothing else: the same commits, the same images.
async fn check_log(config: &Config, committed: &BTreeMap<u64, Commit>) {
    let store = Embedded::open(&config.store, &config.changelog).unwrap();
    let log = store.changelog();
    let mut at = log.oldest();
    assert_eq!(at.commit(), 0, "the log was trimmed, it cannot be compared");
    let mut logged = BTreeMap::new();
    loop {
        let batch = log.read(at.clone(), 1 << 20).await.unwrap();
        if batch.through == at {
            break;
        }
        at = batch.through;
        // What the server makes at its first start is of other buckets.
        logged.extend(batch.changes.into_iter().filter(|change| change.bucket.starts_with("Bucket")).map(|change| (change.commit, change)));
    }
    assert_eq!(logged.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (number, commit) in committed {
        let change = &logged[number];
        let told = |state: &Option<Arc<State>>| state.as_ref().map(|state| state.image.json().clone());
        let found = |image: &Option<Arc<Image>>| image.as_ref().map(|image| image.json().clone());
        assert_eq!(*change.id, *commit.id, "at {number}");
        assert_eq!((found(&change.before), found(&change.after)), (told(&commit.before), told(&commit.after)), "at {number}");
    }
    store.close().await.unwrap();
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
