//! Exactly once: the server is killed in the middle of ingesting, again and again.
//!
//! `TIDEGATE_CRASHES` is how often, `TIDEGATE_SEED` repeats when.

use crate::harness::{House, Server, mapping, record, tombstone};
use crate::support::kafka::Record;
use crate::support::{PATIENCE, kafka, run, setting};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Counters that are written again and again: an object's version says how often it was.
pub fn history(records: u64, keys: u64) -> Vec<Record> {
    (0..records)
        .map(|n| {
            let key = format!("k{}", (n * 7 + n / keys) % keys);
            if n % 97 == 96 { tombstone(&key) } else { record(&key, format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(200))) }
        })
        .collect()
}

/// What the records make: by id the last value and how often it was written since it was last made.
pub fn made<'r>(bucket: &str, records: impl IntoIterator<Item = &'r Record>) -> BTreeMap<String, (u64, u64)> {
    let mut objects: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for record in records {
        let id = format!("/db/{bucket}/{}", std::str::from_utf8(record.key.as_ref().unwrap()).unwrap());
        match &record.value {
            Some(value) => {
                let n = serde_json::from_slice::<serde_json::Value>(value).unwrap()["n"].as_u64().unwrap();
                let version = objects.get(&id).map_or(0, |(_, version)| *version);
                objects.insert(id, (n, version + 1));
            }
            None => drop(objects.remove(&id)),
        }
    }
    objects
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_comes_twice() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("counters", 4, &[]).await;
        let records = history(setting("TIDEGATE_INGEST_RECORDS", 60_000), 500);
        let expected = made("Counter", &records);
        let producing = {
            let (topic, records) = (topic.clone(), records.clone());
            tokio::spawn(async move { broker.produce(&topic, records).await })
        };
        let house = House::new();
        let mappings = mapping(&topic, "Counter", "");
        let crashes = setting("TIDEGATE_CRASHES", 6);
        let seed = setting("TIDEGATE_SEED", u64::from(rand::random::<u32>()));
        println!("TIDEGATE_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let count = format!("tidegate_ingest_records_total{{topic=\"{topic}\",bucket=\"Counter\"}}");
        let (mut seen, mut middle) = (Vec::new(), 0);
        for round in 0..crashes {
            let server = house.start(&mappings).await;
            let is_through = async || server.process.metric(&count).await == Some(records.len() as f64);
            // Somewhere in the middle: when so many more commits were made, by count and not by time; each round leaves something
            // for those behind it. A record need not make a commit, so there may not be so many.
            let before = server.process.metric("tidegate_log_head").await.unwrap();
            let share = (records.len() as f64 - before) / (crashes - round + 1) as f64;
            let more = random.random_range(1.0..=share.max(1.0));
            let deadline = Instant::now() + PATIENCE;
            while server.process.metric("tidegate_log_head").await.unwrap() < before + more && !is_through().await {
                assert!(Instant::now() < deadline, "not {more} commits more than {before}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            middle += usize::from(!is_through().await);
            seen.push(before as u64);
            server.process.kill();
        }
        assert!(middle > 0, "it was never killed in the middle");
        producing.await.unwrap();
        let server = house.start(&mappings).await;
        let objects = server
            .until("Counter", |objects| {
                objects.len() == expected.len()
                    && objects.iter().all(|(id, object)| expected.get(id).is_some_and(|(n, _)| object["n"] == *n))
            })
            .await;
        let found: BTreeMap<_, _> =
            objects.into_iter().map(|(id, object)| (id, (object["n"].as_u64().unwrap(), object["version"].as_u64().unwrap()))).collect();
        println!("killed at {seen:?} of {} records", records.len());
        assert_eq!(found, expected);
    });
}

/// A row that a snapshot reads or a change writes.
fn row(partition: i32, id: u64, n: u64, snapshot: &str) -> Record {
    let op = if snapshot == "false" { "u" } else { "r" };
    let value = json!({"before": null, "after": {"id": id, "n": n}, "source": {"snapshot": snapshot}, "op": op});
    let key = json!({"id": id}).to_string();
    Record { partition: Some(partition), ..record(&key, value.to_string()) }
}

#[test]
fn killed_in_a_snapshot_or_a_truncate_it_removes_what_it_should_and_nothing_else() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("killed-rows", 2, &[]).await;
        let of = |id: u64| (id % 2) as i32;
        let old = 3_000;
        let house = House::new();
        let mappings = mapping(&topic, "Row", "format = \"debezium\"");
        // Many rows; then the table is truncated and filled anew; then a snapshot has every third of those, and a new one.
        let truncate = json!({"before": null, "after": null, "source": {"snapshot": "false"}, "op": "t"}).to_string();
        let server = house.start(&mappings).await;
        broker.produce(&topic, (0..old).map(|id| row(of(id), id, 1, "false"))).await;
        server.until("Row", |objects| objects.len() as u64 == old).await;
        broker.produce(&topic, [Record { partition: Some(0), value: Some(truncate.into_bytes()), ..Record::default() }]).await;
        let head = async |server: &Server| server.process.metric("tidegate_log_head").await.unwrap();
        // If so much is left to do.
        let kill = async |server: Server, after: f64| {
            let from = head(&server).await;
            let deadline = Instant::now() + Duration::from_secs(4);
            while head(&server).await < from + after && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.process.kill();
        };
        kill(server, 500.0).await;
        let server = house.start(&mappings).await;
        server.until("Row", |objects| objects.is_empty()).await;
        broker.produce(&topic, (0..old).map(|id| row(of(id), id, 2, "false"))).await;
        server.until("Row", |objects| objects.len() as u64 == old).await;
        let kept: Vec<u64> = (0..old).filter(|id| id % 3 == 0).collect();
        let last = kept.len() - 1;
        let mark = |place: usize| match place {
            0 => "first",
            place if place == last => "last",
            _ => "true",
        };
        let snapshot: Vec<Record> = kept.iter().enumerate().map(|(place, id)| row(of(*id), *id, 3, mark(place))).collect();
        // In the middle of the snapshot: its end is not there yet.
        let from = head(&server).await;
        broker.produce(&topic, snapshot[..500].to_vec()).await;
        server.process.until("tidegate_log_head", |head| head >= from + 300.0).await;
        server.process.kill();
        broker.produce(&topic, snapshot[500..].to_vec()).await;
        broker.produce(&topic, [row(1, 9_999, 1, "false")]).await;
        // While it removes: the head moves by that alone.
        kill(house.start(&mappings).await, 900.0).await;
        let server = house.start(&mappings).await;
        let expected: BTreeMap<String, u64> =
            kept.iter().map(|id| (format!("/db/Row/{id}"), 3)).chain([("/db/Row/9999".to_owned(), 1)]).collect();
        server
            .until("Row", |objects| {
                objects.len() == expected.len() && objects.iter().all(|(id, object)| expected.get(id).is_some_and(|n| object["n"] == *n))
            })
            .await;
        let objects = server.objects("Row").await;
        assert!(kept.iter().all(|id| objects[&format!("/db/Row/{id}")]["version"] == 2), "written twice since the truncate");
    });
}
