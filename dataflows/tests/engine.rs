//! The engine from outside: order, frontier, installing under way, stopping, idling, dying.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use dataflows::change::{Change, CommitNumber, Image, Operation, Writer};
use dataflows::document::{DateFields, DocumentLimits};
use dataflows::engine::{Delta, Engine, EngineOptions, QueryId, Sink};
use dataflows::index::IndexOptions;
use dataflows::query::Filter;
use dataflows::query::ast::Predicate;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};

/// Notes all that comes out.
#[derive(Default)]
struct Notes {
    deltas: Mutex<Vec<(CommitNumber, Delta)>>,
    frontiers: Mutex<Vec<CommitNumber>>,
}

impl Sink for Notes {
    fn deltas(&self, change: &Arc<Change>, deltas: &[Delta]) {
        let reached = self.frontiers.lock().unwrap().last().copied().unwrap_or(0);
        assert!(change.commit > reached, "a delta of commit {} came after the frontier {reached}", change.commit);
        self.deltas.lock().unwrap().extend(deltas.iter().map(|delta| (change.commit, *delta)));
    }

    fn frontier(&self, through: CommitNumber) {
        self.frontiers.lock().unwrap().push(through);
    }
}

fn options(workers: usize, columns: usize) -> EngineOptions {
    EngineOptions { workers, columns, index: IndexOptions::default() }
}

fn everything() -> Filter {
    Filter { predicate: Arc::new(Predicate::True), text: "{}".into() }
}

fn insert(commit: CommitNumber) -> Arc<Change> {
    let id = format!("/db/lots/{}", commit % 7);
    let text = format!(r#"{{"id":"{id}","version":{commit},"n":{commit}}}"#);
    let image = Image::parse(Bytes::from(text), &DateFields::default(), DocumentLimits::default()).unwrap();
    Arc::new(Change {
        commit,
        at: 0,
        app: "app".into(),
        bucket: "lots".into(),
        id: id.into(),
        operation: Operation::Insert,
        before: None,
        after: Some(Arc::new(image)),
        schema_version: 0,
        control: 0,
        writer: Writer::default(),
        batch: None,
    })
}

fn subscribe(engine: &Engine) -> QueryId {
    let (sender, installed) = mpsc::channel();
    let done = Box::new(move |result| sender.send(result).unwrap());
    let query = engine.subscribe("app".into(), "lots".into(), &everything(), done);
    installed.recv().unwrap().unwrap();
    query
}

#[test]
fn every_delta_comes_once_in_commit_order_before_its_frontier() {
    for (workers, columns) in [(1, 1), (2, 1), (2, 2), (4, 2)] {
        let notes = Arc::new(Notes::default());
        let engine = Engine::start(options(workers, columns), notes.clone()).unwrap();
        let queries: Vec<QueryId> = (0..5).map(|_| subscribe(&engine)).collect();
        let mut commit = 0;
        for size in [1, 3, 1, 200, 2, 50] {
            let batch = (commit + 1..=commit + size).map(insert).collect();
            commit += size;
            engine.feed(batch, commit);
        }
        engine.drain();
        assert_eq!(engine.frontier(), commit);
        let mut by_query: HashMap<QueryId, Vec<CommitNumber>> = HashMap::new();
        for (commit, delta) in notes.deltas.lock().unwrap().iter() {
            assert!(delta.after && !delta.before);
            by_query.entry(delta.query).or_default().push(*commit);
        }
        assert_eq!(by_query.len(), queries.len());
        for commits in by_query.values() {
            assert_eq!(*commits, (1..=commit).collect::<Vec<_>>(), "{workers} workers, {columns} columns");
        }
        let frontiers = notes.frontiers.lock().unwrap();
        assert!(frontiers.is_sorted() && frontiers.last() == Some(&commit));
    }
}

#[test]
fn a_query_that_is_installed_misses_no_change_that_is_fed_later() {
    let notes = Arc::new(Notes::default());
    let engine = Engine::start(options(2, 1), notes.clone()).unwrap();
    let mut firsts = Vec::new();
    for commit in 1..=300 {
        if commit % 10 == 0 {
            firsts.push((subscribe(&engine), commit));
        }
        engine.feed(vec![insert(commit)], commit);
        if commit % 50 == 0 {
            engine.unsubscribe(firsts.remove(0).0);
        }
    }
    engine.drain();
    let deltas = notes.deltas.lock().unwrap();
    for (query, first) in firsts {
        // Changes that were fed before may be matched too, where they were still under way.
        let of_query = deltas.iter().filter(|(commit, delta)| delta.query == query && *commit >= first);
        let commits: Vec<CommitNumber> = of_query.map(|(commit, _)| *commit).collect();
        assert_eq!(commits, (first..=300).collect::<Vec<_>>());
    }
}

#[test]
fn an_idle_engine_does_not_turn() {
    let engine = Engine::start(options(2, 1), Arc::new(Notes::default())).unwrap();
    subscribe(&engine);
    engine.feed(vec![insert(1)], 1);
    engine.drain();
    let turns = || engine.statistics().iter().map(|worker| worker.turns.load(std::sync::atomic::Ordering::Relaxed)).sum::<u64>();
    // The last turns after the frontier has passed settle; then nothing turns without new input.
    let settled = (0..200).map(|_| (turns(), std::thread::sleep(std::time::Duration::from_millis(5)), turns()));
    let quiet = settled.filter(|(before, (), after)| before == after).count();
    assert!(quiet > 150, "the workers turned in {} of 200 idle moments", 200 - quiet);
}

/// A sink that fails, to be run in a process of its own.
struct Fails;

impl Sink for Fails {
    fn deltas(&self, _: &Arc<Change>, _: &[Delta]) {
        panic!("a bug in the sink");
    }
    fn frontier(&self, _: CommitNumber) {}
}

#[test]
fn a_panic_of_a_worker_ends_the_process_with_a_message() {
    const CHILD: &str = "TIDEGATE_TEST_PANICKING_WORKER";
    if std::env::var_os(CHILD).is_some() {
        let engine = Engine::start(options(2, 1), Arc::new(Fails)).unwrap();
        subscribe(&engine);
        engine.feed(vec![insert(1)], 1);
        engine.drain();
        return;
    }
    let this = std::env::current_exe().unwrap();
    let name = "a_panic_of_a_worker_ends_the_process_with_a_message";
    let child = std::process::Command::new(this).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(!child.status.success(), "the process lived on");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("dataflow worker") && said.contains("restart"), "{said}");
}
