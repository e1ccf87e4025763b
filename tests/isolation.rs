//! One bad client harms nobody else (invariants 6, 8 and 9): clients that never read, that ask what cannot be
//! answered, that send what is no message, that come and go by the thousand. Another client's events stay in time, the
//! server's memory stays bounded, and what was taken is given back.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;
#[path = "isolation/witness.rs"]
mod witness;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::live::{LiveResult, by_id};
use support::server::{Process, serve};
use support::socket::{Socket, Terms, Told};
use support::{PATIENCE, run};
use tokio_tungstenite::tungstenite::Message;
use witness::Witness;

const BUCKET: &str = "Shared";

fn start(data: &std::path::Path) -> Process {
    let mut command = serve(data);
    command.args(["--set", "store.durability=system"]);
    Process::start(command)
}

/// A websocket of which nobody reads.
type Deaf = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Each of its subscriptions is another standing query, and hears of everything.
fn query(number: usize) -> String {
    json!({"n": {"$gte": -(number as i64)}}).to_string()
}

async fn deaf(process: &Process, subscriptions: usize) -> Deaf {
    let url = format!("{}/events", process.url.replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for number in 0..subscriptions {
        let subscribe = json!({
            "id": format!("deaf{number}"), "type": "subscribe", "bucket": BUCKET, "query": query(number),
            "initial": true, "matchTypes": ["all"], "operations": ["any"], "reconnects": -1,
        });
        socket.send(Message::Text(subscribe.to_string().into())).await.unwrap();
    }
    socket
}

#[test]
fn events_of_one_object_are_put_together_for_clients_that_do_not_read() {
    never_reading(&[], "tidegate_live_composed_total");
}

#[test]
fn results_are_sent_afresh_to_clients_that_do_not_read() {
    never_reading(&["--set", "live.queue_bytes=65536"], "tidegate_live_fresh_results_total");
}

/// Clients that never read harm nobody, and find the truth when they do. `counter` says that what is tested happened.
fn never_reading(settings: &[&str], counter: &str) {
    const DEAF: usize = 10;
    const SUBSCRIPTIONS: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    // However long this takes: they are not taken for dead.
    command.args(["--set", "store.durability=system", "--set", "live.dead_seconds=3600"]).args(settings);
    let process = Process::start(command);
    run(async {
        let witness = Witness::new(&process, BUCKET).await;
        let alone = witness.writes(300, 2_000).await;
        let before = process.memory();
        let mut sockets = Vec::new();
        for _ in 0..DEAF {
            sockets.push(deaf(&process, SUBSCRIPTIONS).await);
        }
        process.until("tidegate_live_subscriptions", |subscriptions| subscriptions >= (DEAF * SUBSCRIPTIONS) as f64).await;
        // 2 kB to each of 200 subscriptions, 3 000 times: more than a gigabyte if it were kept.
        let beside = witness.writes(3_000, 2_000).await;
        let grown = process.memory().saturating_sub(before) >> 20;
        println!("alone {alone:?}, beside {DEAF} deaf clients {beside:?}, memory grew by {grown} MB");
        assert!(beside.is_sane(), "{beside:?}, alone {alone:?}");
        // 4 MB of events for each connection, the same again for what is on its way, and the store's own.
        assert!(grown < 400, "memory grew by {grown} MB");

        // One of them begins to read: whatever was put together or sent afresh, it ends at the truth.
        let http = process.http();
        let mut truths = Vec::new();
        for number in 0..SUBSCRIPTIONS {
            let answer = http.query(BUCKET, &query(number)).await;
            truths.push(by_id(answer.json().as_array().unwrap()).unwrap());
        }
        let mut late = sockets.pop().unwrap();
        let mut lives: Vec<LiveResult> = vec![LiveResult::default(); SUBSCRIPTIONS];
        let reading = async {
            while lives.iter().zip(&truths).any(|(live, truth)| live.objects != *truth) {
                let Message::Text(text) = late.next().await.unwrap().unwrap() else { continue };
                let frame: Value = serde_json::from_str(&text).unwrap();
                let number: usize = frame["id"].as_str().unwrap().trim_start_matches("deaf").parse().unwrap();
                lives[number].apply(&Told::read(&frame)).unwrap_or_else(|fault| panic!("{number}: {fault}"));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it never got to the truth");
        let happened = process.metric(counter).await;
        assert!(happened.is_some_and(|count| count > 0.0), "{counter} is {happened:?}: this test judged nothing");

        drop((late, sockets));
        process.until("tidegate_live_subscriptions", |subscriptions| subscriptions <= 1.0).await;
        process.until("tidegate_live_queue_bytes", |bytes| bytes == 0.0).await;
    });
}

#[test]
fn a_client_that_shows_no_life_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    command.args(["--set", "store.durability=system", "--set", "live.dead_seconds=15"]);
    let process = Process::start(command);
    run(async {
        let witness = Witness::new(&process, BUCKET).await;
        // One has nothing to read and does not answer pings, the other has more to read than fits the sockets.
        let _silent = deaf(&process, 0).await;
        let _stuffed = deaf(&process, 20).await;
        process.until("tidegate_live_connections", |connections| connections == 3.0).await;
        witness.writes(300, 20_000).await;
        process.until("tidegate_live_connections", |connections| connections == 1.0).await;
        process.until("tidegate_live_queue_bytes", |bytes| bytes == 0.0).await;
        witness.writes(10, 300).await;
    });
}

#[test]
fn hostile_queries_end_alone() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(&directory.path().join("data"));
    run(async {
        let witness = Witness::new(&process, BUCKET).await;
        let nested = |open: &str, close: &str, depth: usize| format!("{}{{\"a\":1}}{}", open.repeat(depth), close.repeat(depth));
        let hostile = [
            nested("{\"$and\":[", "]}", 10_000),
            nested("{\"a\":{\"$not\":", "}}", 10_000),
            nested("{\"a\":{\"$elemMatch\":", "}}", 500),
            nested("{\"a\":", "}", 100_000),
            format!("{{\"a\":{{\"$in\":[{}]}}}}", vec!["123456789"; 400_000].join(",")),
            format!("{{\"a\":{{\"$all\":[{}]}}}}", vec!["{\"$elemMatch\":{\"b\":1}}"; 100_000].join(",")),
            format!("{{\"$or\":[{}]}}", (0..100_000).map(|n| format!("{{\"a\":{n}}}")).collect::<Vec<_>>().join(",")),
            r#"{"a":{"$regex":"((((a{100}){100}){100}){100}){100}"}}"#.to_owned(),
            r#"{"a":{"$regex":"(\\w{500}){500}"}}"#.to_owned(),
            r#"{"a":{"$regex":"("}}"#.to_owned(),
            r#"{"a":{"$regex":"(?=a)(?<!b)\\1"}}"#.to_owned(),
            r#"{"$where":"while(true){}"}"#.to_owned(),
            r#"{"a":{"$size":1e999}}"#.to_owned(),
            r#"{"a":{"$mod":[0,0]}}"#.to_owned(),
            "{".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
        ];
        let http = process.http();
        let mut refused = 0;
        for query in &hostile {
            let socket = Socket::connect(&process.url).await;
            let subscription = socket.subscribe(BUCKET, query, &Terms::default());
            // A frame above the limit ends its connection, anything else the subscription alone.
            let told = tokio::select! {
                told = subscription.answered() => Some(told),
                () = socket.closed() => None,
            };
            let short: String = query.chars().take(60).collect();
            match told.as_deref() {
                Some([Told::Error { status, code, message }]) => {
                    refused += 1;
                    println!("{short}: {status} {code}: {}", message.chars().take(150).collect::<String>());
                    assert!(matches!(status, 400 | 429 | 468 | 471) && !code.is_empty() && message.len() > 10, "{status} {code} {message}");
                    assert!(message.len() < 2_000, "an error of {} bytes", message.len());
                    // The same by HTTP.
                    let answer = http.query(BUCKET, query).await;
                    assert!((400..500).contains(&answer.status), "{short}: {answer:?}");
                }
                other => println!("{short}: {other:?}"),
            }
        }
        assert!(refused >= 12, "{refused} of {} were refused", hostile.len());
        let after = witness.writes(200, 300).await;
        assert!(after.is_sane(), "{after:?}");
    });
}

#[test]
fn what_is_no_message_is_answered_or_ends_its_own_connection() {
    let directory = tempfile::tempdir().unwrap();
    let process = start(&directory.path().join("data"));
    run(async {
        let witness = Witness::new(&process, BUCKET).await;
        for garbage in
            ["", "x", "[]", "{}", "{\"id\":1}", "{\"id\":\"a\",\"type\":\"steal\"}", "\u{0}", "{\"id\":\"\",\"type\":\"subscribe\"}"]
        {
            let socket = Socket::connect(&process.url).await;
            socket.send(garbage);
            let told = socket.other().await;
            assert!(matches!(&told, Told::Error { status: 400, code, .. } if code == "malformed-message"), "{garbage:?}: {told:?}");
            // The connection is as good as before.
            assert!(
                matches!(socket.subscribe(BUCKET, "{\"n\":-1}", &Terms::default()).answered().await[0], Told::Result { .. }),
                "{garbage:?}"
            );
        }
        let socket = Socket::connect(&process.url).await;
        socket.send_message(Message::Binary(vec![0xff; 100].into()));
        assert!(matches!(socket.other().await, Told::Error { .. }));
        let socket = Socket::connect(&process.url).await;
        socket.send(" ".repeat(4 << 20));
        socket.closed().await;

        // More subscriptions than a connection may have: those beyond are refused, those within live on.
        let socket = Socket::connect(&process.url).await;
        let many: Vec<_> =
            (0..1_500).map(|number| socket.subscribe(BUCKET, &json!({"n": -number - 10}).to_string(), &Terms::default())).collect();
        let mut refused = 0;
        for (number, subscription) in many.iter().enumerate() {
            match &subscription.answered().await[0] {
                Told::Result { .. } => assert!(number < 1_000),
                Told::Error { status, code, .. } => {
                    assert_eq!((*status, &**code), (429, "too-many-subscriptions"));
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, 500);
        witness.write(&json!({"n": -10}).to_string()).await;
        many[0].until("its event", |told| told.len() == 2).await;

        let after = witness.writes(200, 300).await;
        assert!(after.is_sane(), "{after:?}");
    });
}

/// Queries that no index entry fits are evaluated with every change: there is a quota, and up to it all is well.
#[test]
fn costly_queries_have_a_quota() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    command.args(["--set", "store.durability=system", "--set", "engine.residual_queries=500"]);
    let process = Process::start(command);
    run(async {
        let witness = Witness::new(&process, BUCKET).await;
        let socket = Socket::connect(&process.url).await;
        // "Does not contain": there is nothing to look up.
        let costly: Vec<_> = (0..600)
            .map(|number| {
                socket.subscribe(BUCKET, &format!("{{\"fill\":{{\"$not\":{{\"$regex\":\"(y|z){{1,9}}{number}\"}}}}}}"), &Terms::default())
            })
            .collect();
        let mut refused = 0;
        for subscription in &costly {
            if let Told::Error { status, code, message } = &subscription.answered().await[0] {
                refused += 1;
                assert!(matches!(status, 429 | 468 | 503), "{status} {code} {message}");
            }
        }
        // The witness's own, which matches everything, is one that no index entry fits.
        assert_eq!(refused, 101);
        let after = witness.writes(200, 300).await;
        assert!(after.is_sane(), "{after:?}");
    });
}

#[test]
fn connections_and_subscriptions_give_back_what_they_took() {
    const CONNECTIONS: usize = 100;
    const SUBSCRIPTIONS: usize = 50;
    let directory = tempfile::tempdir().unwrap();
    let process = start(&directory.path().join("data"));
    run(async {
        let witness = Witness::new(&process, BUCKET).await;
        witness.writes(50, 2_000).await;
        let mut after = Vec::new();
        for cycle in 0..6 {
            let mut sockets = Vec::new();
            let mut subscriptions = Vec::new();
            for connection in 0..CONNECTIONS {
                let socket = Socket::connect(&process.url).await;
                for number in 0..SUBSCRIPTIONS {
                    let query = json!({"n": {"$gt": -((cycle * CONNECTIONS + connection) as i64)}, "x": {"$ne": number}});
                    subscriptions.push(socket.subscribe(BUCKET, &query.to_string(), &Terms::default()));
                }
                sockets.push(socket);
            }
            for subscription in &subscriptions {
                assert!(matches!(subscription.answered().await[0], Told::Result { .. }));
            }
            let all = (CONNECTIONS * SUBSCRIPTIONS) as f64;
            process.until("tidegate_live_subscriptions", |count| count >= all).await;
            witness.writes(5, 300).await;
            if cycle % 2 == 0 {
                subscriptions.iter().for_each(|subscription| subscription.unsubscribe());
            } else {
                futures_util::future::join_all(sockets.iter().map(Socket::cut)).await;
            }
            for name in ["tidegate_live_subscriptions", "tidegate_live_standing_queries"] {
                process.until(name, |count| count <= 1.0).await;
            }
            drop((sockets, subscriptions));
            process.until("tidegate_live_connections", |count| count <= 1.0).await;
            after.push(process.memory() >> 20);
        }
        println!("memory after each cycle, MB: {after:?}");
        let most = after[1] + after[1] / 5 + 16;
        // The allocator gives back in its own time.
        let deadline = std::time::Instant::now() + PATIENCE;
        while process.memory() >> 20 > most {
            assert!(std::time::Instant::now() < deadline, "memory grows with every cycle: {after:?}, {} now", process.memory() >> 20);
            witness.writes(3, 300).await;
        }
    });
}
