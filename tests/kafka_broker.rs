//! The broker that the tests run against: it is a real one, comes back with what it had, and answers nothing while paused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use std::time::Duration;
use support::kafka::{Broker, Record};

#[test]
fn a_broker_keeps_its_records_through_kill_and_stop() {
    support::run(async {
        let broker = Broker::start();
        let topic = broker.topic("kept", 2, &[("cleanup.policy", "delete")]).await;
        broker.produce(&topic, (0..1_000).map(|n: i32| Record::new(n.to_string(), "x".repeat(100)))).await;
        broker.produce(&topic, [Record::tombstone("gone").in_partition(1)]).await;
        broker.kill();
        broker.restart();
        assert_eq!(broker.read(&topic).await.len(), 1_001);
        assert_eq!(broker.ends(&topic).iter().map(|(_, end)| end).sum::<i64>(), 1_001);
        assert!(broker.stop().code().is_some(), "it ends by itself when it is told to");
        broker.restart();
        broker.trim(&topic, 0, 10).await;
        let left = broker.read(&topic).await;
        assert_eq!((left.len(), left[0].offset()), (991, 10));
        let last = left.last().unwrap();
        assert_eq!((last.key(), last.payload(), last.partition()), (Some(&b"gone"[..]), None, 1));
    });
}

#[test]
fn a_paused_broker_answers_when_it_is_resumed() {
    let broker = Broker::start();
    let consumer: BaseConsumer = broker.client().create().unwrap();
    broker.pause();
    consumer.fetch_metadata(None, Duration::from_millis(300)).unwrap_err();
    broker.resume();
    consumer.fetch_metadata(None, support::PATIENCE).unwrap();
}
