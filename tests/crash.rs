//! What a crash leaves (invariants 3 and 5): the real binary is killed while several writers write, again and again,
//! on one data directory. Every acknowledged write is there, and a client that comes back with its position is
//! told every change once. A field that was being renamed has one name, old or new. And the ways to stop and to start: SIGTERM, a
//! directory in use, a newer format.
//!
//! `TIDEGATE_CRASHES` is how often it is killed.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "crash/renames.rs"]
mod renames;
#[path = "crash/rounds.rs"]
mod rounds;
mod support;

use rounds::{Acknowledged, BUCKET, KEYS, WRITERS, check_objects, crashes};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::server::{Process, fails, serve};
use support::socket::{Socket, Terms};
use support::{PATIENCE, run};

#[test]
fn what_was_acknowledged_is_there_after_kill_9_and_every_change_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    run(crashes(|| serve(&data), |_, _| {}));
}

#[test]
fn a_field_that_is_renamed_has_one_name_after_kill_9_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    run(renames::renames(&directory.path().join("data")));
}

#[test]
fn sigterm_ends_it_in_order_while_writes_run() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    run(async {
        let process = Process::start(serve(&data));
        let socket = Socket::connect(&process.url).await;
        let subscription = socket.subscribe(BUCKET, "{}", &Terms::extended());
        subscription.answered().await;
        let (next, stop) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write_until_refused(process.http(), writer, next.clone(), stop.clone()))).collect();
        while next.load(Ordering::Relaxed) < 100 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let status = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0));
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        assert!(acknowledged.len() > 50);
        tokio::time::timeout(PATIENCE, socket.closed()).await.expect("a server that ends closes its websockets");
        let process = Process::start(serve(&data));
        check_objects(&process, &acknowledged).await;
    });
}

/// As [`write`], but a server that is shutting down may say so.
async fn write_until_refused(http: support::http::Http, writer: usize, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let value = next.fetch_add(1, Ordering::Relaxed);
        let key = format!("w{writer}-{}", value % KEYS);
        let request = http.request(reqwest::Method::PUT, &format!("/db/{BUCKET}/{key}"));
        let request = request.header("content-type", "application/json").body(json!({"value": value}).to_string());
        match http.try_send(request).await {
            Ok(answer) if answer.status == 200 => {
                let version = answer.json()["version"].as_u64();
                all.push(Acknowledged { commit: answer.position().unwrap(), key, version, value });
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                break;
            }
            Err(_) => break,
        }
    }
    all
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let _process = Process::start(serve(&data));
    let (status, said) = fails(serve(&data));
    assert!(!status.success());
    assert!(said.contains("in use by another process") && said.contains("data"), "{said}");
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    assert_eq!(Process::start(serve(&data)).terminate().code(), Some(0));
    let format = std::fs::read_to_string(data.join("format")).unwrap();
    let newer = format.replace(char::is_numeric, "").trim_end().to_owned() + " 99\n";
    std::fs::write(data.join("format"), &newer).unwrap();
    let (status, said) = fails(serve(&data));
    assert!(!status.success());
    assert!(said.contains("99") && said.contains("newer"), "{said}");
    assert_eq!(std::fs::read_to_string(data.join("format")).unwrap(), newer);
    // Nothing was touched: as itself it is as good as before.
    std::fs::write(data.join("format"), format).unwrap();
    assert_eq!(Process::start(serve(&data)).terminate().code(), Some(0));
}

#[test]
fn a_foreign_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    let (status, said) = fails(serve(directory.path()));
    assert!(!status.success());
    assert!(said.contains("no data directory"), "{said}");
    let left: Value = json!(std::fs::read_to_string(directory.path().join("thesis.txt")).unwrap());
    assert_eq!(left, "years of work");
}
