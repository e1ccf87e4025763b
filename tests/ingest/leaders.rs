//! A topic in a cluster: leaders of its partitions are killed and moved while records come, and each counts once.

use crate::crash::{history, made};
use crate::harness::{House, mapping};
use crate::support::cluster::Cluster;
use crate::support::run;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: u64 = 300;
const RECORDS: u64 = 9_000;

#[test]
fn leaders_of_a_topic_are_killed_and_moved_and_each_record_counts_once() {
    run(async {
        let cluster = Arc::new(Cluster::start());
        let topic = format!("led-{:08x}", rand::random::<u32>());
        cluster.any().make_topic(&topic, 4, &[]).await;
        let house = House::new();
        let server = house.start_at(cluster.addresses(), &mapping(&topic, "Counter", "")).await;
        let records = history(RECORDS, KEYS);
        let mut produced = 0;
        // First one that hands over in order what it leads, then one that is killed.
        for in_order in [true, false] {
            let broker = cluster.leader(&topic, 0);
            let load = records[produced..produced + records.len() / 2].to_vec();
            produced += load.len();
            let count = format!("tidegate_ingest_records_total{{topic=\"{topic}\",bucket=\"Counter\"}}");
            let before = server.process.metric(&count).await.unwrap();
            let producing = tokio::spawn({
                let (cluster, topic) = (Arc::clone(&cluster), topic.clone());
                async move { cluster.any().produce(&topic, load).await }
            });
            server.process.until(&count, |read| read > before).await;
            if in_order {
                broker.stop();
            } else {
                broker.kill();
            }
            cluster.until_led_without(broker, &topic);
            producing.await.unwrap();
            // While it is away: the others have all, and all of it is read from them.
            let expected = made("Counter", &records[..produced]);
            let objects = server.until("Counter", |objects| values(objects) == values_of(&expected)).await;
            // A version counts how often an object was written.
            let versions: BTreeMap<_, _> = objects.iter().map(|(id, object)| (id, object["version"].as_u64().unwrap())).collect();
            assert_eq!(versions, expected.iter().map(|(id, (_, version))| (id, *version)).collect());
            if in_order {
                cluster.restart(broker, &topic);
            }
        }
    });
}

fn values(objects: &BTreeMap<String, Value>) -> BTreeMap<&str, u64> {
    objects.iter().map(|(id, object)| (&**id, object["n"].as_u64().unwrap())).collect()
}

fn values_of(expected: &BTreeMap<String, (u64, u64)>) -> BTreeMap<&str, u64> {
    expected.iter().map(|(id, (n, _))| (&**id, *n)).collect()
}
