//! Real data and questions about it: departures, what a query over them gives, computed from the file alone.

use crate::support::live::LiveResult;
use crate::support::npm;
use crate::support::socket::Told;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The bucket that the airports are in.
pub const BUCKET: &str = "Airport";

/// A question, and its answer in plain words of Rust: whether a flight is in the result.
pub struct Question {
    pub query: Value,
    pub answer: fn(&Flight) -> bool,
}

/// A departure, as the file has it.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Flight {
    pub date: String,
    pub delay: i64,
    pub distance: i64,
    pub origin: String,
    pub destination: String,
}

/// All departures, in the order of the file.
pub fn flights() -> Vec<Flight> {
    let file = npm::install("flights").join("node_modules/vega-datasets/data/flights-5k.json");
    let flights: Vec<Flight> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(flights.len(), 5000);
    flights
}

impl Flight {
    /// The airport's object with this departure on its board.
    pub fn board(&self) -> Value {
        let Flight { date, delay, distance, origin, destination } = self;
        json!({
            "date": date, "delay": delay, "distance": distance, "origin": origin, "destination": destination,
            "route": [origin, destination],
        })
    }
}

/// Arguments of a server that puts no events together for a slow reader: here every one of them is counted.
pub fn unhurried() -> [&'static str; 4] {
    ["--set", "live.queue_events=1000000", "--set", "live.queue_bytes=1073741824"]
}

/// The same for every way in.
pub fn questions() -> Vec<Question> {
    let question = |query: Value, answer: fn(&Flight) -> bool| Question { query, answer };
    vec![
        question(json!({}), |_| true),
        question(json!({"delay": {"$gt": 60}}), |flight| flight.delay > 60),
        question(json!({"delay": {"$lte": -5}}), |flight| flight.delay <= -5),
        question(json!({"destination": "LAX"}), |flight| flight.destination == "LAX"),
        question(json!({"destination": {"$in": ["JFK", "SFO", "ORD"]}, "delay": {"$gte": 15}}), |flight| {
            ["JFK", "SFO", "ORD"].contains(&&*flight.destination) && flight.delay >= 15
        }),
        question(json!({"distance": {"$gte": 300, "$lt": 500}}), |flight| (300..500).contains(&flight.distance)),
        question(json!({"$or": [{"origin": {"$regex": "^S"}}, {"distance": {"$gt": 2000}}]}), |flight| {
            flight.origin.starts_with('S') || flight.distance > 2000
        }),
        question(json!({"date": {"$regex": "^2001/02"}, "delay": {"$not": {"$gt": 0}}}), |flight| {
            flight.date.starts_with("2001/02") && flight.delay <= 0
        }),
        question(json!({"route.via": {"$exists": true}}), |_| false),
        question(json!({"route": {"$size": 2}, "route.1": {"$ne": "LAS"}}), |flight| flight.destination != "LAS"),
        question(json!({"distance": {"$mod": [100, 0]}}), |flight| flight.distance % 100 == 0),
        question(json!({"$nor": [{"delay": {"$gt": 0}}, {"route": "PHX"}]}), |flight| {
            flight.delay <= 0 && flight.origin != "PHX" && flight.destination != "PHX"
        }),
    ]
}

/// How often each thing is told, and what is there at the end: computed from the file.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub adds: usize,
    pub changes: usize,
    pub removes: usize,
    pub airports: BTreeSet<String>,
}

/// What subscribers of a question must be told when each airport's object is written anew with every departure.
pub fn compute(question: &Question, flights: &[Flight]) -> Outcome {
    let (mut outcome, mut boards) = (Outcome::default(), BTreeMap::new());
    for flight in flights {
        let now = (question.answer)(flight);
        match (boards.insert(flight.origin.as_str(), now).unwrap_or(false), now) {
            (false, true) => outcome.adds += 1,
            (true, true) => outcome.changes += 1,
            (true, false) => outcome.removes += 1,
            (false, false) => {}
        }
    }
    outcome.airports = boards.into_iter().filter(|(_, now)| *now).map(|(origin, _)| origin.to_owned()).collect();
    outcome
}

/// What a subscriber was told.
pub fn heard(told: &[Told]) -> Outcome {
    let mut outcome = Outcome::default();
    for told in told {
        if let Told::Event { match_type, .. } = told {
            *match &**match_type {
                "add" => &mut outcome.adds,
                "change" => &mut outcome.changes,
                "remove" => &mut outcome.removes,
                other => panic!("{other}"),
            } += 1;
        }
    }
    let live = LiveResult::after(told).unwrap();
    outcome.airports = live.objects.values().map(|airport| airport["origin"].as_str().unwrap().to_owned()).collect();
    outcome
}
