//! A live side that stops following for a while, beside the server's own, and records that go from the topic meanwhile.

use super::{config, put, put_filled};
use crate::support::http::Http;
use crate::support::live::LiveResult;
use crate::support::socket::{Socket, Terms, Told};
use crate::support::{kafka, live, run, server};
use dataflows::engine::{Engine, EngineOptions};
use dataflows::index::IndexOptions;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tidegate::changelog::{Batch, ChangeLog, Follower, LogError, Position};
use tidegate::live::Gateway;
use tidegate::server::Server;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A log whose followers stop while the gate is shut.
struct Gated {
    log: Arc<dyn ChangeLog>,
    open: watch::Receiver<bool>,
    /// Whether a follower that is asked for while the gate is shut begins at once, or only once it is open
    early: bool,
}

struct GatedFollower {
    begin: Option<Box<dyn FnOnce() -> Box<dyn Follower> + Send>>,
    follower: Option<Box<dyn Follower>>,
    open: watch::Receiver<bool>,
}

impl ChangeLog for Gated {
    fn head(&self) -> Position {
        self.log.head()
    }
    fn oldest(&self) -> Position {
        self.log.oldest()
    }
    fn read(&self, from: Position, bytes: usize) -> BoxFuture<'static, Result<Batch, LogError>> {
        self.log.read(from, bytes)
    }
    fn follow(&self, from: Position) -> Box<dyn Follower> {
        let log = self.log.clone();
        let mut begin: Option<Box<dyn FnOnce() -> Box<dyn Follower> + Send>> = Some(Box::new(move || log.follow(from)));
        let follower = if self.early { begin.take().map(|begin| begin()) } else { None };
        Box::new(GatedFollower { begin, follower, open: self.open.clone() })
    }
    fn beyond(&self, position: Position) -> BoxFuture<'static, ()> {
        self.log.beyond(position)
    }
}

impl Follower for GatedFollower {
    fn next(&mut self, bytes: usize) -> BoxFuture<'_, Result<Batch, LogError>> {
        Box::pin(async move {
            let _ = self.open.wait_for(|open| *open).await;
            let begin = &mut self.begin;
            self.follower.get_or_insert_with(|| begin.take().unwrap()()).next(bytes).await
        })
    }
}

/// A second live side on a server's store, with a log of its own.
async fn second(server: &Server, log: Gated) -> (Arc<Gateway>, String) {
    let authority = server.authority().clone();
    let mut options = tidegate::config::Config::default().live;
    options.ping_seconds = 1;
    let gateway = Gateway::new(server.store().clone(), Arc::new(log), authority, Arc::default(), options);
    let engine = EngineOptions { workers: 1, columns: 1, index: IndexOptions::default() };
    let engine = Arc::new(Engine::start(engine, gateway.clone()).unwrap());
    gateway.attach(engine, 4_096);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let service = gateway.router().into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    (gateway, base)
}

/// Shuts the gate, writes, deletes everything that the partitions have, writes on, opens it: there is one resynchronisation, a fresh result,
/// and everything after it is an event.
fn falls_behind(early: bool, writes: usize, fill: usize) {
    run(async {
        let broker = kafka::shared();
        let directory = tempfile::tempdir().unwrap();
        let (config, topic) = config(directory.path(), broker, 1);
        let server = server::start(config).await;
        let http = Http::new(&server.url());
        let first = put(&http, 0, 0).await;
        let (gate, open) = watch::channel(early);
        let (gateway, base) = second(&server, Gated { log: server.changelog().clone(), open, early }).await;
        let socket = Socket::connect(&base).await;
        let subscription = socket.subscribe("Thing", "{}", &Terms::extended());
        subscription.answered().await;
        if early {
            // It follows, and then no more.
            let commit = put(&http, 0, 1).await;
            subscription.reached(commit).await;
            gate.send_replace(false);
        }
        // The server's own live side says when the topic has them.
        let own = Socket::connect(&server.url()).await.subscribe("Thing", "{}", &Terms::extended());
        own.answered().await;
        let mut last = first;
        for number in 0..writes {
            last = put_filled(&http, number % 5, number, fill).await;
        }
        own.reached(last).await;
        let end = broker.ends(&topic)[1].1;
        broker.trim(&topic, 1, end).await;
        // One more, so that the loss shows.
        let behind = put(&http, 0, 7).await;
        own.reached(behind).await;

        gate.send_replace(true);
        let told = subscription
            .until("a fresh result", |told| {
                told.iter().any(|told| matches!(told, Told::Result { fresh: true, position, .. } if *position >= behind))
            })
            .await;
        assert_eq!(gateway.statistics().resynchronised, 1);
        let mut commits = Vec::new();
        for number in 0..10 {
            commits.push(put(&http, number, 100 + number).await);
        }
        let told_later = subscription.reached(*commits.last().unwrap()).await;
        let events: Vec<u64> =
            told_later[told.len()..].iter().filter(|told| matches!(told, Told::Event { .. })).filter_map(Told::position).collect();
        assert_eq!(events, commits);
        let objects = http.query("Thing", "{}").await.json();
        assert_eq!(LiveResult::after(&told_later).unwrap().objects, live::by_id(objects.as_array().unwrap()).unwrap());
        assert_eq!(gateway.statistics().resynchronised, 1);
        gateway.shutdown();
        server.shutdown().await.unwrap();
    });
}

#[test]
fn a_live_side_that_begins_behind_deleted_records_sends_fresh_results() {
    falls_behind(false, 30, 0);
}

#[test]
fn a_live_side_that_falls_behind_deleted_records_sends_fresh_results() {
    // More than it reads ahead.
    falls_behind(true, 80, 400_000);
}
