//! Small records that touch large objects: taken in piece by piece, exactly once, in bounded memory.

use crate::harness::{House, mapping};
use crate::support::kafka::{self, Record};
use crate::support::run;
use serde_json::json;

const ROWS: u64 = 200;
const FIELD: usize = 500_000;

fn row(id: u64, n: u64, text: &str) -> Record {
    let value = json!({"before": null, "after": {"id": id, "n": n, "text": text}, "source": {"snapshot": "false"}, "op": "u"});
    Record {
        partition: Some(0),
        key: Some(json!({"id": id}).to_string().into_bytes()),
        value: Some(value.to_string().into_bytes()),
        ..Record::default()
    }
}

#[test]
fn updates_of_large_objects_and_a_truncate_of_them_take_bounded_memory() {
    run(async {
        let broker = kafka::shared();
        let topic = broker.topic("large", 1, &[("max.message.bytes", "2000000")]).await;
        let house = House::new();
        let mappings = mapping(&topic, "Large", "format = \"debezium\"");
        // What is kept in memory for live queries and of the disk has its own bounds.
        let small = "[changelog]\nrecent_bytes = 1000000\n";
        let text = "x".repeat(FIELD);
        let server = house.start(&(small.to_owned() + &mappings)).await;
        broker.produce(&topic, (0..ROWS).map(|id| row(id, 1, &text))).await;
        server.process.until("tidegate_log_head", |head| head >= ROWS as f64).await;
        drop(server);
        // A few bytes each, which come at once, several of each object. With both images and their record each touches two megabytes.
        let updates = (2..4).flat_map(|n| (0..ROWS).map(move |id| (id, n)));
        broker.produce(&topic, updates.map(|(id, n)| row(id, n, "__debezium_unavailable_value"))).await;
        let server = house.start(&(small.to_owned() + &mappings)).await;
        let metric = format!("tidegate_ingest_lag{{topic=\"{topic}\",bucket=\"Large\"}}");
        server.process.until("tidegate_log_head", |head| head >= (3 * ROWS) as f64).await;
        server.process.until(&metric, |lag| lag == 0.0).await;
        let most = server.process.most_memory() >> 20;
        println!("{most} MiB at most");
        for id in (0..ROWS).step_by(11) {
            let object = server.root.load("Large", &id.to_string()).await.json();
            assert_eq!((&object["n"], &object["version"], object["text"].as_str().unwrap().len()), (&json!(3), &json!(3), FIELD));
        }
        assert!(most < 1_000, "{most} MiB");
        drop(server);
        let truncate = json!({"before": null, "after": null, "source": {"snapshot": "false"}, "op": "t"}).to_string();
        broker.produce(&topic, [Record { partition: Some(0), value: Some(truncate.into_bytes()), ..Record::default() }]).await;
        let server = house.start(&(small.to_owned() + &mappings)).await;
        server.until("Large", |objects| objects.is_empty()).await;
        let most = server.process.most_memory() >> 20;
        println!("{most} MiB at most by the truncate");
        assert!(most < 1_000, "{most} MiB");
    });
}
