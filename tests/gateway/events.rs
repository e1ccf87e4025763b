//! Results and events of one or more subscriptions.

use super::harness::{Kept, Server};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_result_then_its_changes() {
    let server = Server::start().await;
    server.put("1", json!({"size": 5})).await;
    server.put("2", json!({"size": 50})).await;
    let mut client = server.client().await;
    client.subscribe("s", json!({"size": {"$lt": 10}}), json!({})).await;
    let result = client.expect("result").await;
    assert_eq!((&result["id"], result["data"].as_array().unwrap().len()), (&json!("s"), 1));
    assert_eq!(result["data"][0]["id"], "/db/Thing/1");

    server.put("3", json!({"size": 1})).await;
    let event = client.expect("match").await;
    assert_eq!((&event["matchType"], &event["operation"], &event["data"]["version"]), (&json!("add"), &json!("insert"), &json!(1)));
    server.put("3", json!({"size": 2})).await;
    let event = client.expect("match").await;
    assert_eq!((&event["matchType"], &event["operation"], &event["data"]["version"]), (&json!("change"), &json!("update"), &json!(2)));
    server.put("3", json!({"size": 20})).await;
    let event = client.expect("match").await;
    assert_eq!((&event["matchType"], &event["operation"], &event["data"]["version"]), (&json!("remove"), &json!("update"), &json!(3)));
    server.put("2", json!({"size": 4})).await;
    let event = client.expect("match").await;
    assert_eq!((&event["matchType"], &event["operation"]), (&json!("add"), &json!("update")));
    let committed = server.delete("1").await;
    let event = client.expect("match").await;
    assert_eq!(
        (&event["matchType"], &event["operation"], &event["data"]),
        (&json!("remove"), &json!("delete"), &json!({"id": "/db/Thing/1"}))
    );
    assert_eq!(event["position"], committed.position.to_string());
    assert_eq!(event.get("index"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_writes_racing_the_subscribe_nothing_is_missing_and_nothing_comes_twice() {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 60;
    let server = Arc::new(Server::start().await);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let server = server.clone();
        writers.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let id = format!("{writer}-{}", round % 7);
                match round % 5 {
                    4 => drop(server.delete(&id).await),
                    _ => drop(server.put(&id, json!({"in": round % 3 != 0, "round": round})).await),
                }
            }
        }));
    }
    let mut readers = Vec::new();
    for reader in 0..30 {
        let server = server.clone();
        readers.push(tokio::spawn(async move {
            let mut client = server.client().await;
            tokio::time::sleep(std::time::Duration::from_millis(reader * 3)).await;
            client.subscribe("s", json!({"in": true}), json!({})).await;
            client
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let last = server.put("last", json!({"in": true})).await.position.to_string();
    let mut truth = Kept::default();
    let mut client = server.client().await;
    client.subscribe("t", json!({"in": true}), json!({})).await;
    truth.apply(&client.expect("result").await);
    for reader in readers {
        let mut client = reader.await.unwrap();
        let mut kept = Kept::default();
        let mut seen: HashMap<String, bool> = HashMap::new();
        let mut position = 0;
        loop {
            let message = client.next().await;
            let at: u64 = message["position"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
            match message["type"].as_str().unwrap() {
                "result" => {
                    assert!(position == 0 && seen.is_empty(), "one result, and first");
                    position = at;
                    for object in message["data"].as_array().unwrap() {
                        seen.insert(object["id"].as_str().unwrap().to_owned(), true);
                    }
                }
                _ => {
                    assert!(at > position, "in the order of commits, none twice: {message}");
                    position = at;
                    // Strictly: what comes was not there, what changes or leaves was.
                    let id = message["data"]["id"].as_str().unwrap().to_owned();
                    let before = seen.insert(id, message["matchType"] != "remove").unwrap_or(false);
                    assert_eq!(before, message["matchType"] != "add", "{message}");
                }
            }
            kept.apply(&message);
            if message["position"] == Value::String(last.clone()) || kept.0.contains_key("/db/Thing/last") {
                break;
            }
        }
        assert_eq!(kept, truth);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_judged_on_both_images() {
    let server = Server::start().await;
    let mut anna = server.client().await;
    anna.subscribe("a", json!({}), json!({"token": "token-anna"})).await;
    anna.expect("result").await;
    let mut nobody = server.client().await;
    nobody.subscribe("n", json!({}), json!({"token": "forged"})).await;
    nobody.expect("result").await;

    let secret = json!({"v": 1, "acl": {"read": {"/db/User/anna": "allow"}}});
    server.put("1", secret).await;
    assert_eq!(anna.expect("match").await["matchType"], "add");
    // Becomes public: it comes, for those who could not see it.
    server.put("1", json!({"v": 2})).await;
    assert_eq!(anna.expect("match").await["matchType"], "change");
    let event = nobody.expect("match").await;
    assert_eq!((&event["matchType"], &event["data"]["v"]), (&json!("add"), &json!(2)));
    // Is hidden again: it goes, and tells nothing of what it is now.
    server.put("1", json!({"v": 3, "acl": {"read": {"/db/User/anna": "allow"}}})).await;
    assert_eq!(anna.expect("match").await["data"]["v"], 3);
    let event = nobody.expect("match").await;
    assert_eq!((&event["matchType"], &event["data"]), (&json!("remove"), &json!({"id": "/db/Thing/1"})));
    // What happens while it is hidden is not heard of; the next thing heard is the public object.
    server.put("1", json!({"v": 4, "acl": {"read": {"/db/User/anna": "allow"}}})).await;
    server.delete("1").await;
    server.put("2", json!({"v": 5})).await;
    assert_eq!(nobody.expect("match").await["data"]["v"], 5);
    for expected in [json!(4), Value::Null, json!(5)] {
        assert_eq!(anna.expect("match").await["data"]["v"], expected);
    }
    // Results are judged, too.
    server.put("3", json!({"v": 6, "acl": {"read": {"/db/User/bert": "allow"}}})).await;
    let mut late = server.client().await;
    late.subscribe("l", json!({}), json!({})).await;
    assert_eq!(late.expect("result").await["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_events_asked_for_under_the_names_asked_for() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("matches", json!({}), json!({"matchTypes": ["match"]})).await;
    client.subscribe("deletes", json!({}), json!({"operations": ["delete"], "initial": false, "reconnects": 0})).await;
    for _ in 0..2 {
        client.expect("result").await;
    }
    server.put("1", json!({})).await;
    let event = client.expect("match").await;
    assert_eq!((&event["id"], &event["matchType"]), (&json!("matches"), &json!("match")));
    server.delete("1").await;
    let event = client.expect("match").await;
    assert_eq!((&event["id"], &event["matchType"]), (&json!("deletes"), &json!("remove")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_ends_alone_with_an_error() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe("good", json!({}), json!({})).await;
    client.expect("result").await;
    client.say_text("{").await;
    let error = client.expect("error").await;
    assert_eq!((error.get("id"), &error["error"]["status"]), (None, &json!(400)));
    client.say(json!({"id": "x", "type": "subscribe"})).await;
    let error = client.expect("error").await;
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!("x"), &json!("malformed-message")));
    client.subscribe("sorted", json!({}), json!({"sort": "{\"a\":1}"})).await;
    let error = client.expect("error").await;
    assert_eq!((&error["id"], &error["error"]["status"]), (&json!("sorted"), &json!(468)));
    client.subscribe("odd", json!({"a": {"$near": 1}}), json!({})).await;
    let error = client.expect("error").await;
    assert_eq!((&error["id"], &error["error"]["status"]), (&json!("odd"), &json!(468)));
    client.say(json!({"id": "text", "type": "subscribe", "bucket": "Thing", "query": "{"})).await;
    assert_eq!(client.expect("error").await["error"]["status"], 471);
    server.put("1", json!({})).await;
    assert_eq!(client.expect("match").await["id"], "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribe_and_disconnect_free_everything() {
    let server = Server::start().await;
    let mut one = server.client().await;
    let mut other = server.client().await;
    for id in 0..10 {
        // Written differently, the same query.
        one.subscribe(&id.to_string(), json!({"a": id, "b": {"$gt": 1}}), json!({})).await;
        other.subscribe(&id.to_string(), json!({"b": {"$gt": 1}, "a": {"$eq": id}}), json!({})).await;
    }
    for _ in 0..10 {
        one.expect("result").await;
        other.expect("result").await;
    }
    let statistics = server.gateway.statistics();
    assert_eq!((statistics.connections, statistics.subscriptions, statistics.standing_queries), (2, 20, 10));
    for id in 0..10 {
        one.say(json!({"id": id.to_string(), "type": "unsubscribe"})).await;
    }
    server.until("the others' stay", |now| (now.subscriptions, now.standing_queries) == (10, 10)).await;
    drop(other);
    server.until("nothing stays", |now| (now.connections, now.subscriptions, now.standing_queries) == (1, 0, 0)).await;
    // The query comes to life again.
    one.subscribe("again", json!({"a": 1, "b": {"$gt": 1}}), json!({})).await;
    one.expect("result").await;
    server.put("1", json!({"a": 1, "b": 2})).await;
    assert_eq!(one.expect("match").await["id"], "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_result_and_a_large_query() {
    let server = Server::start().await;
    let text = "ä\u{1F30A}x".repeat(20_000);
    for id in 0..20 {
        server.put(&id.to_string(), json!({"text": text})).await;
    }
    let mut client = server.client().await;
    let many: Vec<String> = (0..5000).map(|n| format!("/db/Thing/{n}")).collect();
    client.subscribe("s", json!({"id": {"$in": many}}), json!({})).await;
    let result = client.expect("result").await;
    let objects = result["data"].as_array().unwrap();
    assert_eq!(objects.len(), 20);
    assert!(objects.iter().all(|object| object["text"] == text));
    server.put("7", json!({"text": text})).await;
    assert_eq!(client.expect("match").await["data"]["text"], text);
}
