//! Envelopes of Debezium: what a snapshot that is read again removes, and what a truncate does.

use crate::harness::{House, Server, mapping};
use crate::source;
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

/// Waits until the last error of the only mapping says so.
async fn until_told(server: &Server, part: &str) {
    source::until(server, |status| status["lastError"]["message"].as_str().is_some_and(|message| message.contains(part))).await;
}

#[test]
fn a_snapshot_of_one_record_removes_nothing_and_says_so() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("alone", 2, &[]).await;
        let house = House::new();
        let server = house.start(&debezium(&topic)).await;
        broker.produce(&topic, [row(0, 1, 1, "false"), row(1, 2, 1, "false"), row(0, 3, 1, "false")]).await;
        until(&server, &[(1, 1), (2, 1), (3, 1)]).await;
        // As an ad hoc snapshot with a condition that one row fits; two of them are no whole one either.
        broker.produce(&topic, [row(1, 2, 2, "last"), row(0, 3, 2, "last_in_data_collection")]).await;
        until_told(&server, "snapshot_removes").await;
        until(&server, &[(1, 1), (2, 2), (3, 2)]).await;
        // A whole one behind it does what it is there for.
        broker.produce(&topic, [row(0, 3, 3, "first"), row(1, 4, 1, "last")]).await;
        until(&server, &[(3, 3), (4, 1)]).await;
    });
}

#[test]
fn a_mapping_may_say_that_snapshots_remove_nothing() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("parts", 1, &[]).await;
        let house = House::new();
        // The same topic once more, to know when its snapshots are complete: the one that is asked about is looked at before.
        let keeps = mapping(&topic, "Row", "format = \"debezium\"\nsnapshot_removes = false");
        let removes = mapping(&topic, "Whole", "format = \"debezium\"");
        let server = house.start(&(keeps.clone() + &removes)).await;
        broker.produce(&topic, (1..=4).map(|id| row(0, id, 1, "false"))).await;
        until(&server, &[(1, 1), (2, 1), (3, 1), (4, 1)]).await;
        for round in 2..4 {
            broker.produce(&topic, [row(0, 1, round, "first"), row(0, 2, round, "last"), row(0, round + 10, 1, "false")]).await;
            server.until("Whole", |objects| objects.len() as i64 == 2 + 1).await;
        }
        until(&server, &[(1, 3), (2, 3), (3, 1), (4, 1), (12, 1), (13, 1)]).await;
        drop(server);
        // In the middle of one it is changed: what has no mark has none because nobody made any.
        let server = house.start(&keeps).await;
        broker.produce(&topic, [row(0, 1, 4, "first"), row(0, 2, 4, "true")]).await;
        until(&server, &[(1, 4), (2, 4), (3, 1), (4, 1), (12, 1), (13, 1)]).await;
        drop(server);
        let server = house.start(&debezium(&topic)).await;
        broker.produce(&topic, [row(0, 3, 4, "last")]).await;
        until_told(&server, "nothing was removed").await;
        until(&server, &[(1, 4), (2, 4), (3, 4), (4, 1), (12, 1), (13, 1)]).await;
    });
}

#[test]
fn a_snapshot_into_a_topic_that_was_made_anew_removes_what_it_does_not_contain_and_nothing_else() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("rows-anew", 1, &[]).await;
        let house = House::new();
        let server = house.start(&debezium(&topic)).await;
        let snapshot = |ids: std::ops::Range<i64>, n: i64| {
            let (first, last) = (ids.start, ids.end - 1);
            ids.map(move |id| {
                row(
                    0,
                    id,
                    n,
                    if id == first {
                        "first"
                    } else if id == last {
                        "last"
                    } else {
                        "true"
                    },
                )
            })
        };
        // One that is completed at a high offset: 999 goes by it. Then one that is not, so that its marks stay.
        broker.produce(&topic, (0..500).map(|n| row(0, 999, n, "false"))).await;
        broker.produce(&topic, snapshot(0..50, 1)).await;
        let rows = |ids: std::ops::Range<i64>, n: i64| ids.map(move |id| (id, n));
        until(&server, &rows(0..50, 1).collect::<Vec<_>>()).await;
        broker.produce(&topic, snapshot(0..50, 2).take(49)).await;
        until(&server, &rows(0..49, 2).chain(rows(49..50, 1)).collect::<Vec<_>>()).await;
        drop(server);
        source::make_anew(broker, &topic, 1).await;
        // Rows 0 to 9 are as they were; 30 to 49 are gone. Half of it, and a kill.
        let fresh = || snapshot(0..30, 3).zip(0..).map(|(record, id)| if id < 10 && id > 0 { row(0, id, 2, "true") } else { record });
        broker.produce(&topic, fresh().take(15)).await;
        let server = house.start(&debezium(&topic)).await;
        let begun: Vec<_> =
            rows(0..1, 3).chain(rows(1..10, 2)).chain(rows(10..15, 3)).chain(rows(15..49, 2)).chain(rows(49..50, 1)).collect();
        until(&server, &begun).await;
        server.process.kill();
        let server = house.start(&debezium(&topic)).await;
        broker.produce(&topic, fresh().skip(15)).await;
        let whole: Vec<_> = rows(0..1, 3).chain(rows(1..10, 2)).chain(rows(10..30, 3)).collect();
        until(&server, &whole).await;
        // And once more, in the same topic.
        broker.produce(&topic, snapshot(0..20, 4)).await;
        until(&server, &rows(0..20, 4).collect::<Vec<_>>()).await;
    });
}

/// A row that the mapping of [`dated`] cannot read.
fn dead(id: i64, snapshot: &str) -> Record {
    let value = json!({"before": null, "after": {"id": id, "n": 9, "at": "soon"}, "source": {"snapshot": snapshot}, "op": "r"});
    Record { value: Some(value.to_string().into_bytes()), ..row(0, id, 9, snapshot) }
}

fn dated(topic: &str) -> String {
    mapping(topic, "Row", "format = \"debezium\"\n[ingest.types]\nat = \"iso-timestamp\"")
}

#[test]
fn dead_records_are_in_their_snapshot_all_the_same() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("dead-rows", 1, &[]).await;
        let house = House::new();
        let server = house.start(&dated(&topic)).await;
        broker.produce(&topic, (1..=5).map(|id| row(0, id, 1, "false"))).await;
        until(&server, &[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]).await;
        // The first, one within and the last are dead: it begins, is whole and ends. Only 5 is not in it.
        broker.produce(&topic, [dead(1, "first"), row(0, 2, 2, "true"), dead(3, "true"), dead(4, "last")]).await;
        until(&server, &[(1, 1), (2, 2), (3, 1), (4, 1)]).await;
        // Of which row one is nobody can tell: then nobody can tell which are not in it.
        let nobodys = Record { key: None, ..row(0, 3, 3, "true") };
        broker.produce(&topic, [row(0, 1, 3, "first"), nobodys, row(0, 4, 3, "last")]).await;
        until_told(&server, "nothing was removed").await;
        until(&server, &[(1, 3), (2, 2), (3, 1), (4, 3)]).await;
        // So also where it is no envelope, and might have been its first record.
        let oops = Record { key: None, value: Some(b"{oops".to_vec()), partition: Some(0), ..Record::default() };
        broker.produce(&topic, [oops, row(0, 4, 4, "true"), row(0, 3, 4, "last")]).await;
        until(&server, &[(1, 3), (2, 2), (3, 4), (4, 4)]).await;
        broker.produce(&topic, [row(0, 1, 5, "first"), row(0, 2, 5, "last")]).await;
        until(&server, &[(1, 5), (2, 5)]).await;
        assert_eq!(source::status(&server).await["deadLetters"], 5);
    });
}
