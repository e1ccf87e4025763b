//! Kafka as change log, from outside, with a real broker: events come through the topic, once each and in order, whatever
//! happens to the broker; who comes back reads from the topic; what the topic has lost leads to fresh results.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "kafka_log/lag.rs"]
mod lag;
#[path = "crash/rounds.rs"]
mod rounds;
#[path = "answers/sockets.rs"]
mod sockets;
mod support;

use serde_json::json;
use std::path::Path;
use support::http::Http;
use support::kafka::{self, Broker, Record};
use support::live::LiveResult;
use support::server::{self, PASSWORD, Process};
use support::socket::{Socket, Subscription, Terms, Told};
use support::{PATIENCE, run};
use tidegate::config::Config;
use tidegate::server::Server;

/// A server whose log is a topic of its own.
fn config(directory: &Path, broker: &Broker, partitions: u32) -> (Config, String) {
    let topic = format!("log-{:08x}", rand::random::<u32>());
    let mut config = server::config(directory);
    config.changelog.log = format!("kafka://{}/{topic}", broker.address());
    config.changelog.partitions = partitions;
    config.live.ping_seconds = 1;
    (config, topic)
}

async fn subscribe(server: &Server, terms: Terms) -> (Socket, Subscription) {
    let socket = Socket::connect(&server.url()).await;
    let subscription = socket.subscribe("Thing", "{}", &terms);
    subscription.answered().await;
    (socket, subscription)
}

/// Writes an object under one of so many keys and gives the commit.
async fn put(http: &Http, key: usize, number: usize) -> u64 {
    put_filled(http, key, number, 0).await
}

async fn put_filled(http: &Http, key: usize, number: usize, fill: usize) -> u64 {
    let answer = http.put("Thing", &key.to_string(), json!({"n": number, "fill": "x".repeat(fill)}).to_string(), None).await;
    assert!((200..=202).contains(&answer.status), "{answer:?}");
    answer.position().unwrap()
}

/// A number of the metrics.
fn number(server: &Server, name: &str) -> u64 {
    let text = server.metrics().text().unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not in {text}"))
}

/// Every commit is an event, once and in order; and what they make of the first result is what a query gives.
async fn judge(http: &Http, subscription: &Subscription, commits: &[u64]) {
    let told = subscription.reached(*commits.last().unwrap()).await;
    let result = LiveResult::after(&told).unwrap();
    let events: Vec<u64> = told.iter().filter(|told| matches!(told, Told::Event { .. })).filter_map(Told::position).collect();
    assert_eq!(events, commits);
    let objects = http.query("Thing", "{}").await.json();
    assert_eq!(result.objects, support::live::by_id(objects.as_array().unwrap()).unwrap());
}

#[test]
fn every_commit_is_an_event_once_and_in_order_with_racing_writers() {
    run(async {
        for partitions in [1, 4] {
            let directory = tempfile::tempdir().unwrap();
            let (config, topic) = config(directory.path(), kafka::shared(), partitions);
            let server = server::start(config).await;
            let (_socket, subscription) = subscribe(&server, Terms::extended()).await;
            let writers = (0..6).map(|writer| {
                let http = Http::new(&server.url());
                tokio::spawn(async move {
                    let mut commits = Vec::new();
                    for number in 0..50 {
                        commits.push(put(&http, (writer + number) % 10, number).await);
                    }
                    commits
                })
            });
            let mut commits: Vec<u64> = Vec::new();
            for writer in writers.collect::<Vec<_>>() {
                commits.extend(writer.await.unwrap());
            }
            commits.sort_unstable();
            judge(&Http::new(&server.url()), &subscription, &commits).await;
            // What came is what the topic has; nothing was parsed twice.
            let records = kafka::shared().read(&topic).await.len();
            assert!(records >= commits.len(), "{records}");
            assert!(number(&server, "tidegate_topic_reused_total") >= commits.len() as u64);
            assert_eq!(number(&server, "tidegate_topic_decoded_total"), 0);
            let deadline = std::time::Instant::now() + PATIENCE;
            while number(&server, "tidegate_topic_lag") > 0 {
                assert!(std::time::Instant::now() < deadline, "it lags though everything came");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            server.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_batch_comes_from_the_topic_as_one_or_not_at_all() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (config, _) = config(directory.path(), kafka::shared(), 4);
        let server = server::start(config).await;
        let (http, log) = (Http::new(&server.url()), server.changelog());
        let (_socket, subscription) = subscribe(&server, Terms::extended()).await;
        let before = log.head();
        let mut ends = Vec::new();
        for round in 0..20 {
            // Ids that lie in all partitions.
            let writes: Vec<_> =
                (0..12).map(|n| json!({"operation": "put", "id": format!("/db/Thing/{round}-{n}"), "object": {"n": n}})).collect();
            let answer = http.post("/batch", json!(writes).to_string()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            ends.push(answer.position().unwrap());
            ends.push(put(&http, round, round).await);
        }
        let last = *ends.last().unwrap();
        // However little is asked for at a time.
        let mut follower = log.follow(before.clone());
        let mut given = Vec::new();
        while given.last().is_none_or(|(through, _)| *through < last) {
            let batch = follower.next(1).await.unwrap();
            given.push((batch.through.commit(), batch.changes.len()));
        }
        let expected: Vec<_> = ends.iter().enumerate().map(|(n, end)| (*end, if n % 2 == 0 { 12 } else { 1 })).collect();
        assert_eq!(given, expected);
        let mut within = before.clone();
        within.offsets[0] = ends[0] - 5;
        let refused = log.follow(within).next(1).await;
        assert!(matches!(refused, Err(tidegate::changelog::LogError::Gone { .. })), "{refused:?}");
        let told = subscription.reached(last).await;
        assert_eq!(told.iter().filter(|told| matches!(told, Told::Event { .. })).count(), 20 * 13);
        server.shutdown().await.unwrap();
    });
}

#[test]
fn both_images_of_the_largest_object_fit_and_nothing_waits_for_them() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (mut config, _) = config(directory.path(), kafka::shared(), 2);
        // However slowly it is read, nothing is put together.
        config.live.queue_bytes = 64 << 20;
        let fill = config.store.object_bytes - 1_000;
        let server = server::start(config).await;
        let http = Http::new(&server.url());
        let (_socket, subscription) = subscribe(&server, Terms::extended()).await;
        let mut commits = Vec::new();
        for number in 0..6 {
            commits.push(put_filled(&http, number % 2, number, fill).await);
            commits.push(put(&http, 2 + number, number).await);
        }
        judge(&http, &subscription, &commits).await;
        server.shutdown().await.unwrap();
    });
}

#[test]
fn events_wait_for_the_broker_and_writes_do_not() {
    run(async {
        let broker = Broker::start();
        let directory = tempfile::tempdir().unwrap();
        let (config, _) = config(directory.path(), &broker, 3);
        let server = server::start(config).await;
        let http = Http::new(&server.url());
        let (_socket, subscription) = subscribe(&server, Terms::extended()).await;
        let mut commits = vec![put(&http, 0, 0).await];
        subscription.reached(commits[0]).await;

        // A broker that hangs: its connections stay.
        broker.pause();
        for number in 1..20 {
            commits.push(put(&http, number % 7, number).await);
        }
        let live = server.gateway().statistics();
        assert!(live.lag > 0, "an event came that the broker cannot have: {live:?}");
        assert_eq!(subscription.told().iter().filter(|told| matches!(told, Told::Event { .. })).count(), 1);
        broker.resume();
        judge(&http, &subscription, &commits).await;

        // One that is killed, twice; writers write on.
        for round in 0..2 {
            broker.kill();
            for number in 0..20 {
                commits.push(put(&http, number % 7, 100 * (round + 1) + number).await);
            }
            broker.restart();
            for number in 20..40 {
                commits.push(put(&http, number % 7, 100 * (round + 1) + number).await);
            }
            judge(&http, &subscription, &commits).await;
        }
        assert_eq!(server.gateway().statistics().resynchronised, 0);
        server.shutdown().await.unwrap();
    });
}

/// A server that cuts its outbox soon, and a client that was there before so many writes. Gives the client's position
/// and the commits that it missed; the server is stopped, the outbox does not reach back to the position.
async fn absence(config: &Config, writes: usize) -> (String, LiveResult, Vec<u64>) {
    let server = server::start(config.clone()).await;
    let http = Http::new(&server.url());
    for number in 0..20 {
        put(&http, number, number).await;
    }
    let (socket, subscription) = subscribe(&server, Terms::extended()).await;
    let (position, before) = (subscription.last_position().unwrap(), LiveResult::after(&subscription.told()).unwrap());
    socket.cut().await;
    let mut commits = Vec::new();
    for number in 0..writes {
        commits.push(put(&http, number % 30, 1_000 + number).await);
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while server.store().statistics().oldest <= before.position {
        assert!(std::time::Instant::now() < deadline, "the outbox is not cut");
        commits.push(put(&http, commits.len() % 30, 2_000 + commits.len()).await);
    }
    server.shutdown().await.unwrap();
    (position, before, commits)
}

#[test]
fn who_comes_back_after_a_restart_reads_from_the_topic() {
    run(async {
        for partitions in [1, 5] {
            let directory = tempfile::tempdir().unwrap();
            let (mut config, _) = config(directory.path(), kafka::shared(), partitions);
            config.changelog.outbox_bytes = 512 << 10;
            let (position, before, mut commits) = absence(&config, 400).await;
            let server = server::start(config).await;
            let http = Http::new(&server.url());
            let terms = || Terms { position: Some(position.clone()), ..Terms::extended() };
            // Several at once, and one after them, while writes go on.
            let mut clients = Vec::new();
            for _ in 0..6 {
                clients.push(subscribe(&server, terms()).await);
                commits.push(put(&http, 7, commits.len()).await);
            }
            for (_, subscription) in &clients {
                let told = subscription.reached(*commits.last().unwrap()).await;
                assert!(matches!(told[0], Told::Resumed { position } if position == before.position), "{:?}", told[0]);
                let events: Vec<u64> = told.iter().filter(|told| matches!(told, Told::Event { .. })).filter_map(Told::position).collect();
                assert_eq!(events, commits);
                let mut result = before.clone();
                told.iter().for_each(|told| result.apply(told).unwrap());
                let objects = http.query("Thing", "{}").await.json();
                assert_eq!(result.objects, support::live::by_id(objects.as_array().unwrap()).unwrap());
            }
            assert_eq!(server.gateway().statistics().resumed, 6);
            server.shutdown().await.unwrap();
        }
    });
}

#[test]
fn who_comes_back_to_deleted_records_gets_a_fresh_result() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (mut config, topic) = config(directory.path(), kafka::shared(), 2);
        config.changelog.outbox_bytes = 512 << 10;
        let (position, before, commits) = absence(&config, 200).await;
        // One partition loses its first half, then everything.
        for all in [false, true] {
            let (first, end) = kafka::shared().ends(&topic)[1];
            kafka::shared().trim(&topic, 1, if all { end } else { first + (end - first) / 2 }).await;
            let server = server::start(config.clone()).await;
            let http = Http::new(&server.url());
            let (_socket, subscription) = subscribe(&server, Terms { position: Some(position.clone()), ..Terms::extended() }).await;
            assert!(!matches!(subscription.told()[0], Told::Resumed { position } if position > before.position));
            let commit = put(&http, 3, 9).await;
            let told = subscription.reached(commit).await;
            let fresh = told.iter().find(|told| matches!(told, Told::Result { .. })).expect("a fresh result");
            assert!(fresh.position().unwrap() >= *commits.last().unwrap(), "{fresh:?}");
            // It was found out, not waited for in vain.
            assert_eq!(number(&server, "tidegate_topic_trimmed_total"), 1);
            assert!(matches!(told.last(), Some(Told::Event { .. } | Told::Position { .. })), "{told:?}");
            server.shutdown().await.unwrap();
        }
    });
}

#[test]
fn a_topic_with_other_messages_is_read_and_one_with_another_log_stops_the_live_side() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let (config, topic) = config(directory.path(), kafka::shared(), 2);
        let server = server::start(config).await;
        let http = Http::new(&server.url());
        let (_socket, subscription) = subscribe(&server, Terms::extended()).await;
        let mut commits = vec![put(&http, 1, 1).await];
        // Somebody tried something out: no change record, so nothing of ours is missing.
        kafka::shared().produce(&topic, (0..3).map(|partition| Record::new("key", "hello").in_partition(partition))).await;
        for number in 0..10 {
            commits.push(put(&http, number, number).await);
        }
        judge(&http, &subscription, &commits).await;

        let headers = [("log", "00000000000000ff"), ("commit", "999999"), ("after", "999998"), ("previous", "0")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        kafka::shared().produce(&topic, [Record { headers, ..Record::new("key", "{}").in_partition(1) }]).await;
        let told = subscription.until("the end", |told| told.iter().any(|told| matches!(told, Told::Error { .. }))).await;
        assert!(matches!(told.last(), Some(Told::Error { code, .. }) if code == "live-stopped"), "{:?}", told.last());
        // Writes know nothing of it.
        put(&http, 1, 1).await;
        server.shutdown().await.unwrap();
    });
}

#[test]
fn the_answer_is_there_before_the_event_comes_through_the_topic() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = server::serve(&directory.path().join("data"));
    command.args(["--set", "store.durability=system", "--set", "changelog.partitions=2", "--set", "live.answer_limit_ms=60000"]);
    command.arg("--changelog").arg(format!("kafka://{}/answers-{:08x}", kafka::shared().address(), rand::random::<u32>()));
    let process = Process::start(command);
    let root = run(async { process.http().login("root", PASSWORD).await });
    sockets::write_and_listen(&process.url, root.token());
    // Anonymous callers of one address are one session.
    sockets::write_and_listen(&process.url, None);
}

#[test]
fn what_was_acknowledged_is_told_once_after_kill_9_of_server_and_broker() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let broker = Broker::start();
    let command = || {
        let mut command = server::serve(&data);
        // So small that who comes back reads from the topic.
        command.args(["--set", "changelog.partitions=3", "--set", "changelog.outbox_bytes=524288"]);
        command.arg("--changelog").arg(format!("kafka://{}/crash", broker.address()));
        command
    };
    // In every second round the broker goes first, and is back before the next server starts.
    let disturb = |crash: u64, moment: rounds::Moment| match moment {
        rounds::Moment::Before if crash % 2 == 1 => broker.kill(),
        rounds::Moment::After if crash % 2 == 1 => broker.restart(),
        _ => {}
    };
    run(rounds::crashes(command, disturb));
}
