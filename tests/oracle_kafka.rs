//! The oracle with Kafka as change log, one partition for changes and several: see `tests/oracle.rs`. A real broker runs beside it.
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

use dataflows::document::DateFields;
use rdkafka::message::{Headers, Message};
use rounds::{OnPanic, compare};
use std::sync::Arc;
use support::{kafka, run, server};
use tidegate::changelog::record;

/// Rounds over a log with so many partitions for changes; then the topic itself is judged, as any other consumer would read it.
fn rounds(workers: usize, columns: usize, partitions: u32) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = server::config(directory.path());
    let topic = format!("oracle-{workers}-{columns}-{partitions}-{:08x}", rand::random::<u32>());
    config.changelog.log = format!("kafka://{}/{topic}", kafka::shared().address());
    config.changelog.partitions = partitions;
    let committed = rounds::rounds(&config, (workers, columns), if cfg!(debug_assertions) { 540 } else { 2520 });
    let mut records = run(kafka::shared().read(&topic));
    let header = |message: &rdkafka::message::OwnedMessage, name: &str| -> u64 {
        let header = message.headers().unwrap().iter().find(|header| header.key == name).unwrap();
        std::str::from_utf8(header.value.unwrap()).unwrap().parse().unwrap()
    };
    // In each partition each record names the one before it, and so does each in the whole.
    let mut before = vec![0; partitions as usize + 1];
    for record in &records {
        let previous = &mut before[record.partition() as usize];
        assert_eq!(header(record, "previous"), *previous, "in partition {}", record.partition());
        *previous = header(record, "commit");
    }
    records.sort_by_key(|record| header(record, "commit"));
    let mut before = 0;
    for record in &records {
        assert_eq!(header(record, "after"), before);
        before = header(record, "commit");
    }
    let used = records.iter().map(Message::partition).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(used.len(), partitions as usize + 1, "not every partition was used");
    let dates = DateFields::default();
    let changes = records.iter().filter_map(|message| record::decode(message.payload().unwrap()).unwrap().change(&dates).unwrap());
    compare(changes.map(Arc::new), &committed);
}

#[test]
fn live_results_are_the_truth_with_one_partition() {
    rounds(1, 1, 1);
}

#[test]
fn live_results_are_the_truth_with_several_partitions() {
    rounds(1, 1, 4);
}

#[test]
fn live_results_are_the_truth_with_several_partitions_and_two_rows() {
    rounds(2, 1, 3);
}
