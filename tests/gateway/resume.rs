//! Clients that come back with a position.

use super::harness::{Kept, PATIENCE, Server};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_with_a_position_gets_what_it_missed() {
    let server = Server::start().await;
    server.put("1", json!({"in": true})).await;
    let mut client = server.client().await;
    client.subscribe("s", json!({"in": true}), json!({"token": "token-anna"})).await;
    let mut kept = Kept::default();
    let result = client.expect("result").await;
    kept.apply(&result);
    drop(client);

    server.put("1", json!({"in": false})).await;
    server.put("2", json!({"in": true, "acl": {"read": {"/db/User/anna": "allow"}}})).await;
    server.put("3", json!({"in": true, "acl": {"read": {"/db/User/bert": "allow"}}})).await;
    server.put("4", json!({"in": true})).await;
    server.put("4", json!({"in": true, "n": 2})).await;
    server.delete("2").await;

    let mut client = server.client().await;
    client.subscribe("s", json!({"in": true}), json!({"token": "token-anna", "position": result["position"]})).await;
    assert_eq!(client.expect("resumed").await["position"], result["position"]);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let event = client.expect("match").await;
        kept.apply(&event);
        seen.push((event["matchType"].as_str().unwrap().to_owned(), event["data"]["id"].as_str().unwrap().to_owned()));
    }
    let expected = [("remove", "1"), ("add", "2"), ("add", "4"), ("change", "4"), ("remove", "2")];
    assert_eq!(seen, expected.map(|(kind, id)| (kind.to_owned(), format!("/db/Thing/{id}"))));
    server.put("5", json!({"in": true})).await;
    kept.apply(&client.expect("match").await);
    let mut truth = Kept::default();
    client.subscribe("t", json!({"in": true}), json!({"token": "token-anna"})).await;
    truth.apply(&client.expect("result").await);
    assert_eq!(kept, truth);
    assert_eq!(server.gateway.statistics().resumed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_writes_racing_the_return_nothing_is_missing_and_nothing_comes_twice() {
    let server = std::sync::Arc::new(Server::start().await);
    let mut client = server.client().await;
    client.subscribe("s", json!({}), json!({})).await;
    let mut position = client.expect("result").await["position"].clone();
    drop(client);
    let writer = {
        let server = server.clone();
        tokio::spawn(async move {
            for n in 0..400 {
                server.put(&(n % 5).to_string(), json!({"n": n})).await;
            }
        })
    };
    // Every commit makes one event of this query: their positions have no gap.
    let mut commits = Vec::new();
    while commits.len() < 400 {
        let mut client = server.client().await;
        client.subscribe("s", json!({}), json!({"position": position})).await;
        client.expect("resumed").await;
        for _ in 0..60.min(400 - commits.len()) {
            let event = client.expect("match").await;
            position = event["position"].clone();
            commits.push(event["data"]["n"].as_u64().unwrap());
        }
    }
    writer.await.unwrap();
    assert_eq!(commits, (0..400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resumed_is_a_fresh_result_and_says_so() {
    let server = Server::start_with(|config| {
        config.live.resume_changes = 50;
        config.changelog.size_bytes = 64 << 10;
        config.changelog.recent_bytes = 16 << 10;
    })
    .await;
    let first = server.put("1", json!({})).await.position.to_string();
    let mut client = server.client().await;
    for strange in ["0000000000000001-1", "not a position", &first.replace("-1", "-1000000")] {
        client.subscribe("s", json!({"none": 1}), json!({"position": strange})).await;
        assert_eq!(client.expect("result").await["fresh"], true, "{strange}");
    }
    // Trimmed away: few commits behind, but large ones.
    let mut position = first.clone();
    for _ in 0..10 {
        position = server.put("1", json!({"text": "x".repeat(20_000)})).await.position.to_string();
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.changelog.oldest().commit() <= 1 {
        assert!(tokio::time::Instant::now() < deadline, "the log is trimmed");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(position.rsplit('-').next().unwrap().parse::<u64>().unwrap() < 50, "{position}");
    client.subscribe("s", json!({"none": 1}), json!({"position": first})).await;
    assert_eq!(client.expect("result").await["fresh"], true);
    // Too far behind.
    for n in 0..52 {
        server.put("2", json!({"n": n})).await;
    }
    client.subscribe("t", json!({"n": 51}), json!({"position": position})).await;
    loop {
        let message = client.next().await;
        if message["id"] == "t" {
            assert_eq!((&message["type"], &message["fresh"]), (&json!("result"), &json!(true)));
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_not_judged_by_roles_that_came_later() {
    let server = Server::start().await;
    server.role("8", &["anna"]).await;
    let position = server.put("1", json!({})).await.position.to_string();
    server.put("2", json!({"acl": {"read": {"/db/Role/7": "allow"}}})).await;
    server.delete("2").await;
    server.role("7", &["bert"]).await;
    // Hers is changed, and she is in it as before.
    server.role("8", &["anna", "bert"]).await;
    let mut client = server.client().await;
    let back = json!({"token": "token-anna", "position": position});
    client.subscribe("s", json!({}), back.clone()).await;
    client.expect("resumed").await;

    let mut client = server.client().await;
    server.role("7", &["anna", "bert"]).await;
    client.subscribe("s", json!({}), back.clone()).await;
    let result = client.expect("result").await;
    assert_eq!((&result["fresh"], result["data"].as_array().unwrap().len()), (&json!(true), 1));

    // Also where she is in none of them any more.
    let mut client = server.client().await;
    server.role("7", &["bert"]).await;
    client.subscribe("s", json!({}), back).await;
    assert_eq!(client.expect("result").await["fresh"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_not_judged_by_a_class_right_that_came_later() {
    let server = Server::start().await;
    server.let_query("Thing", json!({"/db/Role/7": "allow"})).await;
    let closed = server.put("1", json!({})).await.position.to_string();
    server.put("2", json!({})).await;
    server.delete("2").await;
    server.let_query("Thing", json!({})).await;
    let open = server.put("3", json!({})).await.position.to_string();
    server.let_query("Other", json!({"/db/Role/7": "allow"})).await;
    server.put("4", json!({})).await;

    let mut client = server.client().await;
    client.subscribe("s", json!({}), json!({"token": "token-anna", "position": closed})).await;
    let result = client.expect("result").await;
    assert_eq!((&result["fresh"], result["data"].as_array().unwrap().len()), (&json!(true), 3));
    // Since it is open, and whatever is done to others.
    client.subscribe("t", json!({}), json!({"token": "token-anna", "position": open})).await;
    client.expect("resumed").await;
    assert_eq!(client.expect("match").await["data"]["id"], "/db/Thing/4");
}

/// What a client missed that is many batches of the log long.
async fn missed(server: &Server, objects: usize) -> String {
    let position = server.put("0", json!({})).await.position.to_string();
    for n in 1..=objects {
        server.put(&n.to_string(), json!({"text": "x".repeat(50_000)})).await;
    }
    position
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_waits_for_the_turn_of_his_app() {
    let server = Server::start().await;
    let position = missed(&server, 20).await;
    let turn = server.only_turn().await;
    let mut client = server.client().await;
    client.subscribe("s", json!({}), json!({"position": position})).await;
    // Nothing comes, however long one waits; had it no need of a turn it would be here within milliseconds.
    assert!(tokio::time::timeout(Duration::from_millis(500), client.next_or_end()).await.is_err());
    drop(turn);
    client.expect("resumed").await;
    for _ in 0..20 {
        client.expect("match").await;
    }
}

/// On one thread: whatever does not wait lets nobody else run.
#[tokio::test]
async fn who_comes_back_from_far_away_lets_others_run() {
    const OBJECTS: u64 = 40;
    let server = Server::start_with(|config| config.live.queue_bytes = 1 << 30).await;
    let position = missed(&server, OBJECTS as usize).await;
    let mut client = server.client().await;
    let seen: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let other = {
        let (gateway, seen) = (server.gateway.clone(), seen.clone());
        tokio::spawn(async move {
            loop {
                let now = gateway.statistics();
                seen.lock().unwrap().insert(now.events + now.queued_events);
                tokio::task::yield_now().await;
            }
        })
    };
    client.subscribe("s", json!({}), json!({"position": position})).await;
    client.expect("resumed").await;
    for _ in 0..OBJECTS {
        client.expect("match").await;
    }
    other.abort();
    let between = seen.lock().unwrap().range(1..OBJECTS).count();
    assert!(between >= 3, "{between}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_extensions_are_told_how_far_they_are_and_others_are_not() {
    let server = Server::start_with(|config| config.live.ping_seconds = 1).await;
    let mut client = server.client().await;
    client.subscribe("plain", json!({"none": 1}), json!({})).await;
    client.expect("result").await;
    client.subscribe("aware", json!({"none": 1}), json!({"extensions": true})).await;
    client.expect("result").await;
    let position = server.put("1", json!({})).await.position.to_string();
    server.until("the dataflow is there", |now| now.lag == 0).await;
    // Before that it may be told how far it was without the write.
    loop {
        let message = client.expect("position").await;
        assert_eq!(message["id"], "aware");
        if message["position"] == json!(position) {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_server_stops_sockets_are_closed_and_clients_can_come_back() {
    use futures_util::StreamExt;
    use tokio_tungstenite::tungstenite::Message;
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("s", json!({}), json!({})).await;
    client.expect("result").await;
    let gateway = server.gateway.clone();
    let drained = tokio::spawn(async move { gateway.drain().await });
    let frame = loop {
        match client.socket.next().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(Some(frame)))) => break frame,
            other => panic!("a close frame, not {other:?}"),
        }
    };
    assert_eq!(u16::from(frame.code), 1001);
    drained.await.unwrap();
    server.until("nothing stays", |now| (now.connections, now.subscriptions, now.standing_queries) == (0, 0, 0)).await;
    assert!(tokio_tungstenite::connect_async(format!("ws://{}/v1/events", server.address)).await.is_err());
    server.gateway.shutdown();
}
