//! Reads and writes of each object are linearizable: whatever concurrent clients do over HTTP, with conditions and without, there
//! is one order that explains every answer and agrees with real time. Also when the server is killed in between: what
//! was not answered happened before its death, or never. Batches of several objects are one operation in that order, for whoever
//! looks at all objects as for whoever loads one after the other.
//!
//! `TIDEGATE_HISTORIES` is how many are recorded, `TIDEGATE_SEED` where the random choices begin.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "linearizable/batches.rs"]
mod batches;
#[path = "linearizable/check.rs"]
mod check;
#[path = "linearizable/clients.rs"]
mod clients;
#[path = "linearizable/object.rs"]
mod object;
#[path = "linearizable/objects.rs"]
mod objects;
#[path = "linearizable/planted.rs"]
mod planted;
mod support;
#[path = "linearizable/torn.rs"]
mod torn;

use batches::Witness;
use check::check;
use clients::{Run, Seen, together};
use futures_util::future::join_all;
use object::{Asked, Operation, Told};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use support::http::Http;
use support::server::{Process, config, serve, start};
use support::{run, setting};

const CLIENTS: u64 = 8;
const OBJECTS: usize = 3;

fn verify(seen: &Seen) {
    for (object, history) in seen {
        check(history).unwrap_or_else(|violation| panic!("object {object}, {} operations: {violation}", history.len()));
    }
}

/// How often each kind of answer was given: a run in which everything was refused proves nothing.
fn answers(seen: &Seen) -> [usize; 4] {
    let all: Vec<_> = seen.values().flatten().filter_map(|operation| operation.told).collect();
    let count = |of: fn(&Told) -> bool| all.iter().filter(|told| of(told)).count();
    [
        count(|told| matches!(told, Told::Is(..))),
        count(|told| matches!(told, Told::IsNot)),
        count(|told| matches!(told, Told::Exists)),
        count(|told| matches!(told, Told::OutOfDate)),
    ]
}

/// Every change of a real history that must not go unnoticed, does not: a value that nobody wrote, and a write that others
/// were told of but whose client is said never to have asked.
fn is_sensitive(history: &[Operation]) {
    let reads = |told: Option<Told>| if let Some(Told::Is(_, value)) = told { Some(value) } else { None };
    for (at, operation) in history.iter().enumerate().step_by(7) {
        if let (Asked::Load, Some(Told::Is(version, _))) = (operation.asked, operation.told) {
            let mut broken = history.to_vec();
            broken[at].told = Some(Told::Is(version, u64::MAX));
            assert!(check(&broken).is_err(), "a value from nowhere in {operation:?}");
        }
        if let (Asked::Save(value, _) | Asked::Insert(value), Some(Told::Is(..))) = (operation.asked, operation.told)
            && history.iter().enumerate().any(|(other, seen)| other != at && reads(seen.told).map(|read| read & 0xf_ffff) == Some(value))
        {
            let mut broken = history.to_vec();
            broken.remove(at);
            assert!(check(&broken).is_err(), "what {operation:?} wrote was read");
        }
    }
}

async fn clients(run: &Arc<Run>, http: &Http, seed: u64, operations: u64) -> Vec<tokio::task::JoinHandle<Seen>> {
    (0..CLIENTS).map(|client| tokio::spawn(run.clone().client(http.clone(), seed * 1000 + client, operations))).collect()
}

#[test]
fn concurrent_clients_over_http() {
    run(async {
        let data = tempfile::tempdir().unwrap();
        let server = start(config(data.path())).await;
        let first = setting("TIDEGATE_SEED", 1);
        for history in 0..setting("TIDEGATE_HISTORIES", 3) {
            let run = Run::new(OBJECTS);
            let http = Http::new(&server.url());
            for object in 0..OBJECTS {
                assert_eq!(http.delete(clients::BUCKET, &object.to_string(), None).await.status, 204);
            }
            let all = join_all(clients(&run, &http, first + history, 150).await).await;
            let seen = together(all.into_iter().map(Result::unwrap));
            verify(&seen);
            let answers = answers(&seen);
            println!("history {history}: objects, none, exists, out of date: {answers:?}");
            assert!(answers.iter().all(|count| *count > 20), "{answers:?}");
            if history == 0 {
                seen.values().for_each(|history| is_sensitive(history));
            }
        }
        server.shutdown().await.unwrap();
    });
}

#[test]
fn clients_of_a_server_that_is_killed_again_and_again() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let (run, seed) = (Run::new(OBJECTS), setting("TIDEGATE_SEED", 1));
        let mut parts = Vec::new();
        let mut lost = 0;
        for life in 0..setting("TIDEGATE_CRASHES", 4) {
            let process = Process::start(serve(&data));
            let mut found = Seen::new();
            run.look(&process.http(), &mut found).await;
            parts.push(found);
            let until = run.answered.load(Ordering::Relaxed) + 150 + 41 * life;
            let clients = clients(&run, &process.http(), seed + life, u64::MAX).await;
            run.until_answered(until).await;
            process.kill();
            let dead = run.now();
            for client in clients {
                let mut seen = client.await.unwrap();
                for operation in seen.values_mut().flatten().filter(|operation| operation.told.is_none()) {
                    (lost, operation.ended) = (lost + 1, dead);
                }
                parts.push(seen);
            }
        }
        let process = Process::start(serve(&data));
        let mut found = Seen::new();
        run.look(&process.http(), &mut found).await;
        parts.push(found);
        let seen = together(parts);
        println!("{lost} operations were not answered; answers {:?}", answers(&seen));
        assert!(lost > 0, "nothing was under way when the server was killed");
        verify(&seen);
    });
}

/// How often batches were done and refused, and how often everything was looked at.
fn outcomes(history: &[objects::Operation]) -> [usize; 3] {
    let count =
        |of: fn(&objects::Told) -> bool| history.iter().filter_map(|operation| operation.told.as_ref()).filter(|told| of(told)).count();
    [
        count(|told| matches!(told, objects::Told::Done(_))),
        count(|told| matches!(told, objects::Told::Refused(..))),
        count(|told| matches!(told, objects::Told::Saw(_))),
    ]
}

async fn clients_with_batches(run: &Arc<Run>, http: &Http, seed: u64, operations: u64) -> Vec<tokio::task::JoinHandle<batches::Seen>> {
    (0..CLIENTS).map(|client| tokio::spawn(batches::client(run.clone(), http.clone(), seed * 1000 + client, operations))).collect()
}

#[test]
fn batches_of_concurrent_clients_over_http() {
    run(async {
        let data = tempfile::tempdir().unwrap();
        let server = start(config(data.path())).await;
        let (run, http) = (Run::new(objects::OBJECTS), Http::new(&server.url()));
        let mut witness = Witness::default();
        witness.attach(&server.url()).await;
        let mut seen = batches::Seen::default();
        for client in join_all(clients_with_batches(&run, &http, setting("TIDEGATE_SEED", 1), 150).await).await {
            seen.extend(client.unwrap());
        }
        let order = check(&seen.operations).unwrap_or_else(|violation| panic!("{violation}"));
        let outcomes = outcomes(&seen.operations);
        println!("batches done and refused, looks: {outcomes:?}");
        assert!(outcomes.iter().all(|count| *count > 50), "{outcomes:?}");
        // And had one of these looks seen half of a batch, it would have been found.
        let torn = batches::torn(&seen.operations, &order);
        println!("{} looks saw what a batch has made", torn.len());
        assert!(torn.len() > 10, "{}", torn.len());
        for broken in torn.iter().step_by(3) {
            assert!(check(broken).is_err(), "half of a batch was not found");
        }
        witness.reached(*seen.landed.last_key_value().unwrap().0).await;
        witness.detach(false).await;
        let looks = witness.verify(&seen);
        assert!(looks > 50, "{looks}");
        server.shutdown().await.unwrap();
    });
}

#[test]
fn batches_of_a_server_that_is_killed_again_and_again() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let (run, seed) = (Run::new(objects::OBJECTS), setting("TIDEGATE_SEED", 1));
        let mut seen = batches::Seen::default();
        let (mut witness, mut lost) = (Witness::default(), 0);
        for life in 0..setting("TIDEGATE_CRASHES", 4) {
            let process = Process::start(serve(&data));
            seen.extend(batches::look(&run, &process.http()).await);
            witness.attach(&process.url).await;
            let until = run.answered.load(Ordering::Relaxed) + 150 + 41 * life;
            let clients = clients_with_batches(&run, &process.http(), seed + life, u64::MAX).await;
            run.until_answered(until).await;
            process.kill();
            let dead = run.now();
            for client in clients {
                let mut part = client.await.unwrap();
                for operation in part.operations.iter_mut().filter(|operation| operation.told.is_none()) {
                    let is_batch = matches!(operation.asked, objects::Asked::Batch(_));
                    (lost, operation.ended) = (lost + usize::from(is_batch), dead);
                }
                seen.extend(part);
            }
            witness.detach(true).await;
        }
        let process = Process::start(serve(&data));
        seen.extend(batches::look(&run, &process.http()).await);
        witness.attach(&process.url).await;
        let last = process.http().put(clients::BUCKET, "0", r#"{"value":1}"#, None).await;
        witness.reached(last.position().unwrap()).await;
        witness.detach(false).await;
        let looks = witness.verify(&seen);
        println!("{lost} batches were not answered; outcomes {:?}; {looks} batches told", outcomes(&seen.operations));
        assert!(lost > 0 && looks > 50, "{lost} {looks}");
        check(&seen.operations).unwrap_or_else(|violation| panic!("{violation}"));
    });
}
