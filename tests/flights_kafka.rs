//! Real data through a topic of plain JSON: the departures of `tests/flights.rs`, produced to a real Kafka with the airport
//! as key. What queries give, and every coming and going in between, is computed from the file alone.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "flights/questions.rs"]
mod questions;
mod support;

use questions::{BUCKET, Flight, compute, flights, heard, questions, unhurried};
use std::collections::HashMap;
use support::kafka::{Record, shared};
use support::live::{LiveResult, by_id};
use support::run;
use support::server::{Process, serve};
use support::socket::{Socket, Terms, Told};

/// Without the departures that are a repetition of the airport's last one: they change nothing, so nobody is told.
fn changing(flights: &[Flight]) -> Vec<Flight> {
    let mut boards: HashMap<&str, &Flight> = HashMap::new();
    flights.iter().filter(|flight| boards.insert(&flight.origin, flight) != Some(flight)).cloned().collect()
}

#[test]
fn five_thousand_flights_come_through_a_topic_as_the_file_has_them() {
    let flights = flights();
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let broker = shared();
        let topic = broker.topic("flights", 4, &[]).await;
        let mut command = serve(&directory.path().join("data"));
        command.args(["--set", "store.durability=system", "--set", &format!("kafka.brokers={}", broker.address())]);
        command.args(["--set", &format!(r#"ingest=[{{ topic = "{topic}", bucket = "{BUCKET}", read = "public" }}]"#)]);
        command.args(unhurried());
        let process = Process::start(command);
        let (http, socket) = (process.http(), Socket::connect(&process.url).await);
        let questions = questions();
        let subscribe = |query: &str| socket.subscribe(BUCKET, query, &Terms::extended());
        let subscriptions: Vec<_> = questions.iter().map(|question| subscribe(&question.query.to_string())).collect();
        for subscription in &subscriptions {
            subscription.answered().await;
        }
        // The airports keep their order by their key; which of two airports is first is the partitions' affair.
        broker.produce(&topic, flights.iter().map(|flight| Record::new(&*flight.origin, flight.board().to_string()))).await;
        let flights = changing(&flights);
        let events = flights.len();
        let told = subscriptions[0]
            .until("all departures", |told| told.iter().filter(|told| matches!(told, Told::Event { .. })).count() >= events)
            .await;
        let last = told.iter().filter_map(Told::position).max().unwrap();
        for (question, subscription) in questions.iter().zip(&subscriptions) {
            let told = subscription.reached(last).await;
            assert_eq!(heard(&told), compute(question, &flights), "{}", question.query);
            let query = question.query.to_string();
            let now = by_id(http.query(BUCKET, &query).await.json().as_array().unwrap()).unwrap();
            assert_eq!(now, LiveResult::after(&told).unwrap().objects, "{query}");
            // Who comes later gets the same.
            let later = subscribe(&query);
            assert_eq!(LiveResult::after(&later.answered().await).unwrap().objects, now, "{query}");
        }
        assert_eq!(process.metric("tidegate_live_composed_total").await, Some(0.0));
    });
}
