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
#[path = "oracle/rounds.rs"]
mod rounds;
mod support;
#[path = "oracle/verify.rs"]
mod verify;

use rounds::{OnPanic, compare};
use std::collections::BTreeMap;
use support::history::Commit;
use support::{run, server};
use tidegate::config::Config;
use tidegate::store::Store;
use tidegate::store::embedded::Embedded;

fn rounds(workers: usize, columns: usize) {
    let directory = tempfile::tempdir().unwrap();
    let config = server::config(directory.path());
    let committed = rounds::rounds(&config, (workers, columns), if cfg!(debug_assertions) { 720 } else { 2520 });
    run(check_log(&config, &committed));
}

/// The change log on the disk.
async fn check_log(config: &Config, committed: &BTreeMap<u64, Commit>) {
    let store = Embedded::open(&config.store, &config.changelog).unwrap();
    let log = store.changelog();
    let mut at = log.oldest();
    assert_eq!(at.commit(), 0, "the log was trimmed, it cannot be compared");
    let mut logged = Vec::new();
    loop {
        let batch = log.read(at.clone(), 1 << 20).await.unwrap();
        if batch.through == at {
            break;
        }
        at = batch.through;
        logged.extend(batch.changes);
    }
    compare(logged, committed);
    store.close().await.unwrap();
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
