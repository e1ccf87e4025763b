//! Server-Sent Events.

use super::harness::{PATIENCE, Server};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;

/// One event of a stream.
#[derive(Debug, Default)]
struct Received {
    kind: String,
    id: String,
    data: String,
}

struct Stream {
    bytes: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Stream {
    async fn open(server: &Server, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Stream, reqwest::Response> {
        let url = reqwest::Url::parse_with_params(&format!("http://{}/v1/events", server.address), query).unwrap();
        let mut request = reqwest::Client::new().get(url).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        if response.status() != 200 {
            return Err(response);
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(Stream { bytes: Box::pin(response.bytes_stream()), text: String::new() })
    }

    async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                self.text = rest.to_owned();
                let mut received = Received::default();
                for line in event.lines() {
                    match line.split_once(": ") {
                        Some(("event", kind)) => received.kind = kind.to_owned(),
                        Some(("id", id)) => received.id = id.to_owned(),
                        Some(("data", data)) => received.data.push_str(data),
                        _ => {}
                    }
                }
                if !received.kind.is_empty() {
                    return Some(received);
                }
                continue;
            }
            let bytes = tokio::time::timeout(PATIENCE, self.bytes.next()).await.expect("in time")?.ok()?;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn expect(&mut self, kind: &str) -> (String, Value) {
        let received = self.next().await.expect("not the end");
        assert_eq!(received.kind, kind, "{received:?}");
        (received.id, serde_json::from_str(&received.data).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_stream_and_back_with_the_last_id() {
    let server = Server::start().await;
    server.put("1", json!({"a": 1})).await;
    let query = [("bucket", "Thing"), ("q", r#"{"a":1}"#)];
    let mut stream = Stream::open(&server, &query, &[]).await.ok().unwrap();
    let (position, result) = stream.expect("result").await;
    assert_eq!((&result["position"], result["data"].as_array().unwrap().len()), (&json!(position), 1));
    server.put("2", json!({"a": 1})).await;
    let (last, event) = stream.expect("match").await;
    assert_eq!((&event["matchType"], &event["position"]), (&json!("add"), &json!(last)));
    drop(stream);
    server.until("it is gone", |now| (now.connections, now.standing_queries) == (0, 0)).await;

    server.put("1", json!({"a": 2})).await;
    server.put("3", json!({"a": 1})).await;
    let mut stream = Stream::open(&server, &query, &[("last-event-id", &last)]).await.ok().unwrap();
    stream.expect("resumed").await;
    for (kind, id) in [("remove", "/db/Thing/1"), ("add", "/db/Thing/3")] {
        let (_, event) = stream.expect("match").await;
        assert_eq!((&event["matchType"], &event["data"]["id"]), (&json!(kind), &json!(id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_by_header_or_as_a_ticket_that_is_good_once() {
    let server = Server::start().await;
    server.put("1", json!({"acl": {"read": {"/db/User/anna": "allow"}}})).await;
    let seen = |result: &Value| result["data"].as_array().unwrap().len();
    let mut stream = Stream::open(&server, &[("bucket", "Thing")], &[("authorization", "BAT token-anna")]).await.ok().unwrap();
    assert_eq!(seen(&stream.expect("result").await.1), 1);
    let mut stream = Stream::open(&server, &[("bucket", "Thing")], &[]).await.ok().unwrap();
    assert_eq!(seen(&stream.expect("result").await.1), 0);

    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/events/ticket", server.address);
    assert_eq!(client.post(&url).send().await.unwrap().status(), 466);
    let answer = client.post(&url).header("authorization", "BAT token-anna").send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let ticket = answer.json::<Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned();
    let query = [("bucket", "Thing"), ("ticket", ticket.as_str())];
    let mut stream = Stream::open(&server, &query, &[]).await.ok().unwrap();
    assert_eq!(seen(&stream.expect("result").await.1), 1);
    let refused = Stream::open(&server, &query, &[]).await.err().unwrap();
    assert_eq!(refused.status(), 466);
    assert_eq!(refused.json::<Value>().await.unwrap()["reason"], "ticket-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_when_it_begins_and_not_of_when_it_was_asked_for() {
    let server = Server::start().await;
    server.role("7", &["anna"]).await;
    server.put("1", json!({"acl": {"read": {"/db/Role/7": "allow"}}})).await;
    let seen = |result: &Value| result["data"].as_array().unwrap().len();
    let url = format!("http://{}/v1/events/ticket", server.address);
    let client = reqwest::Client::new();
    let ticket = async || {
        let answer = client.post(&url).header("authorization", "BAT token-anna").send().await.unwrap();
        answer.json::<Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned()
    };
    let mut stream = Stream::open(&server, &[("bucket", "Thing"), ("ticket", &ticket().await)], &[]).await.ok().unwrap();
    assert_eq!(seen(&stream.expect("result").await.1), 1);
    let ticket = ticket().await;
    server.role("7", &[]).await;
    let mut stream = Stream::open(&server, &[("bucket", "Thing"), ("ticket", &ticket)], &[]).await.ok().unwrap();
    assert_eq!(seen(&stream.expect("result").await.1), 0, "she is in the role no more");

    // A query that waits until it can be parsed.
    server.role("7", &["anna"]).await;
    let shown = server.names.shown.load(SeqCst);
    let turn = server.only_turn().await;
    let mut client = server.client().await;
    client.subscribe("s", json!({"id": {"$regex": "1$"}}), json!({"token": "token-anna"})).await;
    server.comes("it waits", || server.names.shown.load(SeqCst) > shown).await;
    server.role("7", &[]).await;
    drop(turn);
    assert_eq!(seen(&client.expect("result").await), 0, "she is in the role no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_upgrades_that_are_offered_are_passed_over() {
    let server = Server::start().await;
    let offer = [("upgrade", "h2c"), ("connection", "Upgrade, HTTP2-Settings"), ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA")];
    let mut stream = Stream::open(&server, &[("bucket", "Thing")], &offer).await.ok().unwrap();
    stream.expect("result").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_an_answer_with_a_status() {
    let server = Server::start().await;
    for (query, status) in [
        (vec![], 400),
        (vec![("bucket", "Thing"), ("q", "{")], 471),
        (vec![("bucket", "Thing"), ("limit", "5")], 468),
        (vec![("bucket", "Thing"), ("matchTypes", "perhaps")], 400),
    ] {
        assert_eq!(Stream::open(&server, &query, &[]).await.err().unwrap().status(), status, "{query:?}");
    }
    server.until("nothing stays", |now| now.connections == 0).await;
}
