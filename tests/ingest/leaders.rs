//! A topic in a cluster: leaders of its partitions are killed and moved while records come, and each counts once.

use crate::crash::{history, made};
use crate::harness::{House, mapping, record};
use crate::support::cluster::Cluster;
use crate::support::kafka::patient;
use crate::support::run;
use rdkafka::admin::{NewTopic, TopicReplication};
use serde_json::{Value, json};
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

/// A topic whose partitions are on these brokers, one on each.
async fn topic_on(cluster: &Cluster, topic: &str, brokers: &[i32]) {
    let replicas: Vec<&[i32]> = brokers.iter().map(std::slice::from_ref).collect();
    let wanted = NewTopic::new(topic, brokers.len() as i32, TopicReplication::Variable(&replicas)).set("min.insync.replicas", "1");
    for made in cluster.any().admin().create_topics([&wanted], &patient()).await.unwrap() {
        made.unwrap();
    }
}

#[test]
fn a_leader_that_does_not_answer_keeps_nobody_waiting() {
    // If each of its partitions were waited for, a look would take minutes.
    const SILENT: i32 = 60;
    run(async {
        // The others take it for the leader as long as the test goes on, as they do where only the way to it is cut.
        let cluster = Cluster::start_with(&[("broker.session.timeout.ms", "3600000")]);
        let [many, late] = ["many", "late"].map(|name| format!("{name}-{:08x}", rand::random::<u32>()));
        let mut on = vec![3; SILENT as usize];
        on.push(1);
        topic_on(&cluster, &many, &on).await;
        cluster.numbered(3).pause();
        let house = House::new();
        let server = house.start_at(cluster.addresses(), &(mapping(&many, "Many", "") + &mapping(&late, "Late", ""))).await;
        // What can be read is, and a topic that comes later is found.
        let record = || record("1", json!({"n": 1}).to_string());
        cluster.any().produce(&many, [record().in_partition(SILENT)]).await;
        server.until("Many", |objects| objects.len() == 1).await;
        topic_on(&cluster, &late, &[1]).await;
        cluster.any().produce(&late, [record()]).await;
        server.until("Late", |objects| objects.len() == 1).await;
        let ended = tokio::task::spawn_blocking(move || server.process.terminate()).await.unwrap();
        assert_eq!(ended.code(), Some(0));
    });
}

fn values(objects: &BTreeMap<String, Value>) -> BTreeMap<&str, u64> {
    objects.iter().map(|(id, object)| (&**id, object["n"].as_u64().unwrap())).collect()
}

fn values_of(expected: &BTreeMap<String, (u64, u64)>) -> BTreeMap<&str, u64> {
    expected.iter().map(|(id, (n, _))| (&**id, *n)).collect()
}
