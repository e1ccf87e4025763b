//! What is spoken over TLS: HTTP/1.1, HTTP/2, websockets; and what is said to who speaks none.

use super::harness::{PASSWORD, PATIENCE, Rig, ask_1, ask_2, request};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn http_1_and_2_are_agreed_upon_and_answer() {
    let rig = Rig::start().await;
    assert!(rig.server.url().starts_with("https://127.0.0.1:"), "{}", rig.server.url());

    let stream = rig.connect(&["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let login = json!({"username": "root", "password": PASSWORD}).to_string();
    let (head, _) = ask_1(stream, request("POST", "/v1/db/User/login", &login)).await;
    assert_eq!(head.status, 200);
    assert!(head.headers.contains_key("baqend-authorization-token"));

    // A client that offers both gets the newer one.
    let stream = rig.connect(&["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let origin = format!("https://localhost:{}", rig.address().port());
    let insert = request("POST", &format!("{origin}/v1/db/Lot"), r#"{"id":"/db/Lot/1"}"#);
    let answers = ask_2(stream, vec![insert, request("GET", &format!("{origin}/v1/status"), "")]).await;
    assert_eq!((answers[0].0.status.as_u16(), answers[1].0.status.as_u16()), (201, 200), "{answers:?}");

    // And one that offers none speaks as of old.
    let (head, text) = ask_1(rig.connect(&[]).await, request("GET", "/v1/db/Lot/1", "")).await;
    assert_eq!((head.status.as_u16(), head.version), (200, hyper::Version::HTTP_11), "{text}");
}

#[tokio::test]
async fn a_websocket_over_tls_gets_what_is_written_over_tls() {
    let rig = Rig::start().await;
    let url = format!("wss://localhost:{}/v1/events", rig.address().port());
    let (mut socket, _) = tokio_tungstenite::client_async(url, rig.connect(&["http/1.1"]).await).await.unwrap();
    let subscribe = json!({"id": "s", "type": "subscribe", "bucket": "Lot", "query": "{\"price\":5}", "initial": true, "matchTypes": ["all"], "operations": ["any"], "reconnects": 0});
    socket.send(Message::text(subscribe.to_string())).await.unwrap();
    let mut next = async || loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = message {
            break serde_json::from_str::<Value>(&text).unwrap();
        }
    };
    assert_eq!(next().await["type"], "result");
    let (head, _) = ask_1(rig.connect(&["http/1.1"]).await, request("POST", "/v1/db/Lot", r#"{"id":"/db/Lot/7","price":5}"#)).await;
    assert_eq!(head.status, 201);
    let event = next().await;
    assert_eq!((&event["matchType"], &event["data"]["id"]), (&json!("add"), &json!("/db/Lot/7")));
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_so() {
    let rig = Rig::start().await;
    let mut plain = tokio::net::TcpStream::connect(rig.address()).await.unwrap();
    plain.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The end may come as a reset: what was sent lies unread at the server.
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = plain.read(&mut piece).await {
        answer.extend_from_slice(&piece[..read]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["status"], 400);
    // Garbage ends alone.
    let mut garbage = tokio::net::TcpStream::connect(rig.address()).await.unwrap();
    garbage.write_all(b"\x16\x03\x01\x00\x05garbage").await.unwrap();
    let (head, _) = ask_1(rig.connect(&["http/1.1"]).await, request("GET", "/v1/status", "")).await;
    assert_eq!(head.status, 200);
}
