//! Clients that do not read, and a live side that has lost track (invariants 6 and 8).

use super::harness::{Kept, PATIENCE, Server};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::sync::Arc;
use tidegate::changelog::{Batch, ChangeLog, Follower, LogError, Position, Reading};
use tidegate::config::{Config, Durability};
use tidegate::store::embedded::Embedded;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

const OBJECTS: usize = 250;
const ROUNDS: usize = 14;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_bounded_and_nobody_else_notices() {
    let server = Server::start_with(|config| {
        config.live.queue_events = 60;
        config.live.queue_bytes = 1 << 20;
    })
    .await;
    let mut stuck = server.client().await;
    stuck.subscribe("list", json!({}), json!({})).await;
    stuck.expect("result").await;
    stuck.subscribe("stream", json!({}), json!({"initial": false, "reconnects": 0})).await;
    stuck.expect("result").await;
    stuck.subscribe("aware", json!({}), json!({"extensions": true, "reconnects": 0})).await;
    stuck.expect("result").await;
    let mut reader = server.client().await;
    reader.subscribe("r", json!({}), json!({})).await;
    reader.expect("result").await;

    // Far more than the buffers of both sides' sockets take.
    let text = "x".repeat(10_000);
    let mut read = Kept::default();
    let mut most = 0;
    for round in 0..ROUNDS {
        for object in 0..OBJECTS {
            server.put(&object.to_string(), json!({"round": round, "text": text})).await;
            read.apply(&reader.expect("match").await);
        }
        let statistics = server.gateway.statistics();
        most = most.max(statistics.longest_queue);
        assert!(statistics.queued_events <= 60 && statistics.queued_bytes <= 1 << 20, "{statistics:?}");
    }
    assert_eq!(read.0.len(), OBJECTS);
    let statistics = server.gateway.statistics();
    assert!(statistics.outdated >= 3 && statistics.fresh_results == 0, "{statistics:?}");

    // It reads again: what was on its way, an error for whom a fresh result does not help, a fresh result for the others.
    let (mut list, mut aware) = (Kept::default(), Kept::default());
    let (mut fresh, mut errors) = (0, 0);
    while list != read || aware != read {
        let message = stuck.next().await;
        match (message["id"].as_str().unwrap(), message["type"].as_str().unwrap()) {
            ("list", "result") => {
                assert_eq!(message.get("fresh"), None, "the SDK does not know it");
                fresh += 1;
            }
            ("aware", "result") => {
                assert_eq!(message["fresh"], true);
                fresh += 1;
            }
            ("stream", "error") => {
                assert_eq!(message["error"]["code"], "subscription-overrun");
                errors += 1;
            }
            (_, kind) => assert_eq!(kind, "match"),
        }
        match message["id"].as_str().unwrap() {
            "list" => list.apply(&message),
            "aware" => aware.apply(&message),
            _ => {}
        }
    }
    assert!(fresh >= 2 && errors == 1, "{fresh} {errors}");
    // And goes on live.
    server.put("new", json!({})).await;
    let ids = [stuck.expect("match").await["id"].clone(), stuck.expect("match").await["id"].clone()];
    assert_eq!(ids, ["list", "aware"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_does_not_keep_the_server_from_stopping() {
    let server = Server::start_with(|config| config.live.dead_seconds = 3_600).await;
    let mut stuck = server.client().await;
    stuck.subscribe("s", json!({}), json!({})).await;
    stuck.expect("result").await;
    // More than the buffers of both sides' sockets take: the rest waits in the outbox.
    let text = "x".repeat(200_000);
    for n in 0.. {
        if server.gateway.statistics().queued_events >= 10 {
            break;
        }
        server.put(&format!("{n}"), json!({"text": text})).await;
    }
    tokio::time::timeout(PATIENCE, server.gateway.drain()).await.expect("long before it would be taken for dead");
    server.until("nothing is queued", |now| now.queued_events == 0).await;
}

/// Each of its answers has the id in it, of which every byte is six there.
fn malformed() -> Message {
    Message::Text(json!({"id": "\u{1}".repeat(256)}).to_string().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_is_not_listened_to_for_long() {
    /// Several times what the buffers of both sides' sockets take.
    const MOST: usize = 200 << 20;
    /// As long as this nobody who is listened to waits.
    const STUCK: Duration = Duration::from_secs(10);
    let server = Server::start_with(|config| config.live.dead_seconds = 3600).await;
    let (mut client, frame) = (server.small_client().await, malformed());
    let mut sent = 0;
    while let Ok(done) = tokio::time::timeout(STUCK, client.socket.feed(frame.clone())).await {
        done.unwrap();
        sent += frame.len();
        assert!(sent < MOST, "the server takes and takes");
    }
    // It reads: everything that it said is answered.
    let (mut send, receive) = client.socket.split();
    let answers = receive.filter(|message| std::future::ready(message.as_ref().is_ok_and(Message::is_text)));
    let reading = answers.take(sent / frame.len()).count();
    let (flushed, answered) = tokio::time::timeout(PATIENCE, async { tokio::join!(send.flush(), reading) }).await.expect("in time");
    flushed.unwrap();
    assert_eq!(answered, sent / frame.len());
}

/// Whoever sends and sends and reads nothing: what the server keeps for him would grow for as long as he likes.
async fn is_let_go(server: &Server, frame: Message) {
    let client = server.small_client().await;
    let (mut send, _reads_nothing) = client.socket.split();
    let sending = tokio::spawn(async move { while send.send(frame.clone()).await.is_ok() {} });
    server.until("it is taken for dead, whatever it says", |now| now.connections == 0).await;
    sending.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_and_never_reads_is_let_go() {
    let server = Server::start_with(|config| config.live.dead_seconds = 2).await;
    is_let_go(&server, malformed()).await;
    is_let_go(&server, Message::Ping(vec![1; 125].into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_ends_with_its_subscription_whatever_it_waits_for() {
    let server = Server::start().await;
    let turn = server.only_turn().await;
    let mut client = server.client().await;
    for number in 0..20 {
        let id = number.to_string();
        client.subscribe(&id, json!({}), json!({})).await;
        client.say(json!({"id": id, "type": "unsubscribe"})).await;
    }
    // Frames are taken in order: with the answer to this one all are.
    client.say(json!({"id": "last"})).await;
    assert_eq!(client.expect("error").await["id"], "last");
    server.comes("their places are given back", || server.app.quota.usage().subscriptions == 0).await;
    drop(turn);
    client.subscribe("s", json!({}), json!({})).await;
    client.expect("result").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_of_something_are_refused() {
    let server = Server::start_with(|config| {
        config.live.connections = 2;
        config.live.subscriptions = 3;
    })
    .await;
    let mut client = server.client().await;
    for id in ["1", "2", "3"] {
        client.subscribe(id, json!({}), json!({})).await;
        client.expect("result").await;
    }
    client.subscribe("4", json!({}), json!({})).await;
    let error = client.expect("error").await;
    assert_eq!((&error["id"], &error["error"]["status"]), (&json!("4"), &json!(429)));
    // The same id again takes the place of the first.
    client.subscribe("3", json!({"a": 1}), json!({})).await;
    client.expect("result").await;
    let _second = server.client().await;
    assert!(tokio_tungstenite::connect_async(format!("ws://{}/v1/events", server.address)).await.is_err());
    server.until("the third is counted", |now| now.connections_refused == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_is_an_error_that_says_so() {
    let server = Server::start_with(|config| config.live.result_objects = 2).await;
    for id in ["1", "2", "3"] {
        server.put(id, json!({"n": id})).await;
    }
    let mut client = server.client().await;
    client.subscribe("all", json!({}), json!({})).await;
    assert_eq!(client.expect("error").await["error"]["code"], "too-many-objects");
    client.subscribe("one", json!({"n": "2"}), json!({})).await;
    assert_eq!(client.expect("result").await["data"].as_array().unwrap().len(), 1);
    server.until("it is gone", |now| now.subscriptions == 1 && now.standing_queries == 1).await;
}

/// The real log on a slow disk: nobody is told of something new without a permit.
struct Slow {
    log: Arc<dyn ChangeLog>,
    permits: Arc<Semaphore>,
}

impl ChangeLog for Slow {
    fn follow(&self, from: Position) -> Box<dyn Follower> {
        Box::new(Reading::new(Arc::new(Slow { log: self.log.clone(), permits: self.permits.clone() }), from))
    }
    fn head(&self) -> Position {
        self.log.head()
    }
    fn oldest(&self) -> Position {
        self.log.oldest()
    }
    fn read(&self, from: Position, bytes: usize) -> BoxFuture<'static, Result<Batch, LogError>> {
        self.log.read(from, bytes)
    }
    fn beyond(&self, position: Position) -> BoxFuture<'static, ()> {
        let (beyond, permits) = (self.log.beyond(position), self.permits.clone());
        Box::pin(async move {
            beyond.await;
            permits.acquire().await.unwrap().forget();
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_the_log_stands_still_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.store.data = directory.path().join("data");
    config.store.durability = Durability::System;
    let store = Arc::new(Embedded::open(&config.store, &config.changelog).unwrap());
    let log: Arc<dyn ChangeLog> = Arc::new(Slow { log: store.changelog(), permits: Arc::new(Semaphore::new(0)) });
    let server = Server::of(store, log, config.live, directory).await;
    // In every result, and never passed by the dataflow.
    server.put("1", json!({})).await;
    let (mut stays, mut goes) = (server.client().await, server.client().await);
    for client in [&mut stays, &mut goes] {
        for id in ["1", "2", "3"] {
            client.subscribe(id, json!({}), json!({})).await;
            assert_eq!(client.expect("result").await["data"].as_array().unwrap().len(), 1);
        }
    }
    assert_eq!(server.app.quota.usage().subscriptions, 6);
    stays.say(json!({"id": "2", "type": "unsubscribe"})).await;
    server.comes("one has unsubscribed", || server.app.quota.usage().subscriptions == 5).await;
    drop(goes);
    server.comes("one has gone", || server.app.quota.usage().subscriptions == 2).await;
    assert_eq!(server.gateway.statistics().lag, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_side_that_falls_behind_the_log_sends_fresh_results() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.store.data = directory.path().join("data");
    config.store.durability = Durability::System;
    config.changelog.size_bytes = 64 << 10;
    config.changelog.recent_bytes = 16 << 10;
    let store = Arc::new(Embedded::open(&config.store, &config.changelog).unwrap());
    let permits = Arc::new(Semaphore::new(0));
    let log: Arc<dyn ChangeLog> = Arc::new(Slow { log: store.changelog(), permits: permits.clone() });
    let server = Server::of(store, log, config.live, directory).await;

    let mut list = server.client().await;
    list.subscribe("list", json!({}), json!({})).await;
    list.expect("result").await;
    let mut stream = server.client().await;
    stream.subscribe("stream", json!({}), json!({"initial": false, "reconnects": 0})).await;
    stream.expect("result").await;

    let start = server.changelog.head();
    let mut written = 0;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.changelog.oldest().commit() <= start.commit() + 1 {
        assert!(tokio::time::Instant::now() < deadline, "the log is trimmed");
        server.put(&(written % 20).to_string(), json!({"n": written, "text": "x".repeat(2000)})).await;
        written += 1;
    }
    permits.add_permits(1000);
    let fresh = list.expect("result").await;
    assert_eq!(fresh["data"].as_array().unwrap().len(), written.min(20));
    assert_eq!(stream.expect("error").await["error"]["code"], "subscription-overrun");
    server.put("after", json!({})).await;
    // What came between the head and the snapshot is not sent twice.
    assert_eq!(list.expect("match").await["data"]["id"], "/db/Thing/after");
}
