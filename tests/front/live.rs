//! Front stage and live side together: a write over HTTP is an event on a websocket.

use super::harness::Rig;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_write_over_http_is_an_event() {
    let rig = Rig::start().await;
    rig.post("/db/Lot", r#"{"id":"/db/Lot/1","price":1}"#).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/v1/events", rig.server.api_address())).await.unwrap();
    let subscribe = json!({
        "id": "s", "type": "subscribe", "bucket": "Lot", "query": r#"{"price":{"$lt":10}}"#, "initial": true,
        "matchTypes": ["all"], "operations": ["any"], "reconnects": 0,
    });
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    let mut next = async || -> Value {
        loop {
            if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    };
    let result = next().await;
    assert_eq!((&result["type"], &result["data"][0]["id"]), (&json!("result"), &json!("/db/Lot/1")));
    let stored = rig.post("/db/Lot", r#"{"id":"/db/Lot/%C3%9F%2F","price":2}"#).await.json();
    let event = next().await;
    assert_eq!((&event["matchType"], &event["operation"], &event["data"]), (&json!("add"), &json!("insert"), &stored));
    rig.put("/db/Lot/1", &[("if-match", "\"1\"")], r#"{"price":10}"#).await;
    let event = next().await;
    assert_eq!((&event["matchType"], &event["data"]["id"]), (&json!("remove"), &json!("/db/Lot/1")));
    rig.post("/db/Other", r#"{"price":2}"#).await;
    rig.delete("/db/Lot/%c3%9F%2f", &[]).await;
    let event = next().await;
    assert_eq!((&event["operation"], &event["data"]["id"]), (&json!("delete"), &json!("/db/Lot/%C3%9F%2F")));
    let metrics = rig.ask_admin("/metrics", None, &[]).await.text;
    for stage in ["commit", "engine", "delivery", "answer_hold"] {
        let count = format!("tidegate_{stage}_seconds_count ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&*count)).unwrap_or_else(|| panic!("{stage}\n{metrics}"));
        // Whether an event had to wait for its answer is a matter of microseconds.
        assert!(line.parse::<u64>().unwrap() >= 1 || stage == "answer_hold", "{stage} {line}");
    }
    // The end of the server is told, not waited for.
    rig.server.shutdown().await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_))) | None));
}
