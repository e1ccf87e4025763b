//! Real data: flights of the United States (npm `vega-datasets`, `flights-5k.json`), replayed as updates over HTTP:
//! one object an airport, which is written anew with every departure. What queries give, and every coming and going
//! in between, is computed from the file alone, and held against what subscribers were told.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "flights/questions.rs"]
mod questions;
mod support;

use questions::{BUCKET, Outcome, Question, compute, flights, heard, questions, unhurried};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use support::live::{LiveResult, by_id};
use support::server::{Process, serve};
use support::socket::{Socket, Terms};
use support::{PATIENCE, run};

/// A running `tidegate watch --json`, which ends by itself after so many events.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
    lines
}

impl Watch {
    /// Returns when it watches.
    fn start(process: &Process, query: &Value, events: usize) -> Watch {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["watch", BUCKET, &query.to_string(), "--json", "--count", &events.to_string()])
            .args(["--url", process.url.trim_end_matches("/v1")])
            .env_remove("TIDEGATE_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, printed) = (lines(child.stderr.take().unwrap()), lines(child.stdout.take().unwrap()));
        while !said.recv_timeout(PATIENCE).expect("it does not watch").contains("now") {}
        Watch { child, lines: printed }
    }

    /// What it printed: how often each thing happened, and the airports that are left.
    fn outcome(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("events are missing: {outcome:?}"),
            };
            let event: Value = serde_json::from_str(&line).unwrap();
            let airport = event["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            match event["event"].as_str().unwrap() {
                "add" => {
                    outcome.adds += 1;
                    outcome.airports.insert(airport);
                }
                "change" => outcome.changes += 1,
                "remove" => {
                    outcome.removes += 1;
                    outcome.airports.remove(&airport);
                }
                other => panic!("{other}: {event}"),
            }
        }
        assert!(self.child.wait().unwrap().success());
        outcome
    }
}

#[test]
fn five_thousand_flights_are_told_as_the_file_has_them() {
    let flights = flights();
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    command.args(["--set", "store.durability=system"]);
    command.args(unhurried());
    let process = Process::start(command);
    run(async {
        let (http, socket) = (process.http(), Socket::connect(&process.url).await);
        let questions = questions();
        let subscribe = |question: &Question| socket.subscribe(BUCKET, &question.query.to_string(), &Terms::extended());
        let subscriptions: Vec<_> = questions.iter().map(subscribe).collect();
        for subscription in &subscriptions {
            subscription.answered().await;
        }
        // By the command line as well, for some of them: it counts what it prints, and ends.
        let watches: Vec<_> = questions[1..5]
            .iter()
            .map(|question| {
                let Outcome { adds, changes, removes, .. } = compute(question, &flights);
                (question, Watch::start(&process, &question.query, adds + changes + removes))
            })
            .collect();
        let mut last = 0;
        for flight in &flights {
            let answer = http.put(BUCKET, &flight.origin, flight.board().to_string(), None).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            last = answer.position().unwrap();
        }
        for (question, subscription) in questions.iter().zip(&subscriptions) {
            let (expected, told) = (compute(question, &flights), subscription.reached(last).await);
            let heard = heard(&told);
            println!(
                "{}: {} add, {} change, {} remove, {} at the end",
                question.query,
                heard.adds,
                heard.changes,
                heard.removes,
                heard.airports.len()
            );
            assert_eq!(heard, expected, "{}", question.query);
            let answer = http.query(BUCKET, &question.query.to_string()).await;
            let now = by_id(answer.json().as_array().unwrap()).unwrap();
            assert_eq!(now, LiveResult::after(&told).unwrap().objects, "{}", question.query);
            let count = http.count(BUCKET, &question.query.to_string()).await;
            assert_eq!(count.json()["count"], expected.airports.len());
        }
        for (question, watch) in watches {
            assert_eq!(watch.outcome(), compute(question, &flights), "tidegate watch of {}", question.query);
        }
    });
}
