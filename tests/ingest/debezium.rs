//! Envelopes of Debezium: what a snapshot that is read again removes, and what a truncate does.

use crate::harness::{House, Server, mapping};
use crate::support::kafka::{self, Record};
use crate::support::run;
use serde_json::json;

/// A row as a snapshot reads it (`first`, `true`, `last`) or as it is written (`false`).
fn row(partition: i32, id: i64, n: i64, snapshot: &str) -> Record {
    let op = if snapshot == "false" { "u" } else { "r" };
    let value = json!({"before": null, "after": {"id": id, "n": n}, "source": {"snapshot": snapshot}, "op": op});
    Record {
        partition: Some(partition),
        key: Some(json!({"id": id}).to_string().into_bytes()),
        value: Some(value.to_string().into_bytes()),
        ..Record::default()
    }
}

fn truncate(partition: i32) -> Record {
    let value = json!({"before": null, "after": null, "source": {"snapshot": "false"}, "op": "t"});
    Record { partition: Some(partition), value: Some(value.to_string().into_bytes()), ..Record::default() }
}

fn debezium(topic: &str) -> String {
    mapping(topic, "Row", "format = \"debezium\"")
}

/// Waits until these rows are there and no others.
async fn until(server: &Server, rows: &[(i64, i64)]) {
    server
        .until("Row", |objects| {
            let mut found: Vec<_> = objects.iter().map(|(id, object)| (id.clone(), object["n"].as_i64().unwrap())).collect();
            let mut rows: Vec<_> = rows.iter().map(|(id, n)| (format!("/db/Row/{id}"), *n)).collect();
            found.sort_unstable();
            rows.sort_unstable();
            found == rows
        })
        .await;
}

#[test]
fn a_snapshot_read_again_removes_what_it_does_not_contain() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("rows", 1, &[]).await;
        let house = House::new();
        let server = house.start(&debezium(&topic)).await;
        broker.produce(&topic, [row(0, 1, 1, "first"), row(0, 2, 1, "true"), row(0, 3, 1, "last"), row(0, 4, 1, "false")]).await;
        until(&server, &[(1, 1), (2, 1), (3, 1), (4, 1)]).await;
        let version = |objects: &std::collections::BTreeMap<String, serde_json::Value>, id: &str| objects[id]["version"].as_u64();
        // 2 and 4 are gone meanwhile. It is begun twice; 5 is only in the first attempt, 6 is made while it runs.
        broker.produce(&topic, [row(0, 5, 1, "first"), row(0, 1, 1, "true")]).await;
        until(&server, &[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]).await;
        drop(server);
        let server = house.start(&debezium(&topic)).await;
        broker.produce(&topic, [row(0, 1, 1, "first"), row(0, 3, 2, "last"), row(0, 6, 1, "false")]).await;
        until(&server, &[(1, 1), (3, 2), (6, 1)]).await;
        let objects = server.objects("Row").await;
        assert_eq!(version(&objects, "/db/Row/1"), Some(1), "what a snapshot repeats is no change");
        // And life goes on.
        broker.produce(&topic, [row(0, 2, 7, "false")]).await;
        until(&server, &[(1, 1), (2, 7), (3, 2), (6, 1)]).await;
        broker.produce(&topic, [row(0, 2, 8, "first"), row(0, 9, 1, "last")]).await;
        until(&server, &[(2, 8), (9, 1)]).await;
    });
}

#[test]
fn a_snapshot_over_several_partitions_is_complete_when_all_are() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("spread", 3, &[]).await;
        let house = House::new();
        let server = house.start(&debezium(&topic)).await;
        let rows: Vec<_> = (0..30).map(|id| row((id % 3) as i32, id, 1, "false")).collect();
        broker.produce(&topic, rows).await;
        until(&server, &(0..30).map(|id| (id, 1)).collect::<Vec<_>>()).await;
        drop(server);
        // Everything is there when the server comes, so partitions are read in any order: a new row in partition 1 behind the
        // beginning in partition 0, the end in partition 2.
        broker.produce(&topic, [row(0, 0, 2, "first")]).await;
        broker.produce(&topic, [row(1, 1, 2, "true"), row(1, 40, 1, "false"), row(0, 3, 2, "true")]).await;
        broker.produce(&topic, [row(2, 2, 2, "last")]).await;
        broker.produce(&topic, [row(1, 43, 1, "false")]).await;
        let server = house.start(&debezium(&topic)).await;
        let kept = [(0, 2), (1, 2), (2, 2), (3, 2), (40, 1), (43, 1)];
        until(&server, &kept).await;
        drop(server);
        let server = house.start(&debezium(&topic)).await;
        broker.produce(&topic, [row(0, 50, 1, "false")]).await;
        until(&server, &[&kept[..], &[(50, 1)]].concat()).await;
    });
}

#[test]
fn a_partition_that_was_ahead_of_the_beginning_removes_nothing_by_that() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("ahead", 2, &[]).await;
        let house = House::new();
        let server = house.start(&debezium(&topic)).await;
        // Old rows; then the snapshot begins in partition 0, behind records that its reader has no room for yet.
        broker.produce(&topic, [row(0, 1, 1, "false"), row(1, 2, 1, "false")]).await;
        until(&server, &[(1, 1), (2, 1)]).await;
        let many = (0..20_000).map(|n| row(0, 1, n + 2, "false"));
        broker.produce(&topic, many.chain([row(0, 3, 1, "first"), row(0, 4, 1, "true")])).await;
        broker.produce(&topic, [row(1, 5, 1, "false"), row(1, 6, 1, "false")]).await;
        broker.produce(&topic, [row(0, 7, 1, "last")]).await;
        until(&server, &[(3, 1), (4, 1), (5, 1), (6, 1), (7, 1)]).await;
    });
}

#[test]
fn a_truncate_removes_what_is_there_and_not_what_follows() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("cut", 1, &[]).await;
        let house = House::new();
        let rows = (0..3_500).map(|id| row(0, id, 1, "false"));
        broker.produce(&topic, rows.chain([truncate(0), row(0, 1, 2, "false"), row(0, 9_999, 1, "false")])).await;
        let server = house.start(&debezium(&topic)).await;
        until(&server, &[(1, 2), (9_999, 1)]).await;
        assert_eq!(server.objects("Row").await["/db/Row/1"]["version"], 1);
    });
}
