//! Long answers are compressed for who asks for it, and nothing else is.

use super::harness::{PASSWORD, Rig};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::io::Read;

/// From here on answers are compressed, bytes: less than any of those below that are to be, more than an object.
const SHORTEST: usize = 500;

async fn rig() -> Rig {
    Rig::with(|config| config.server.compress_bytes = SHORTEST).await
}

/// Headers and bytes of an answer to somebody who takes gzip, as they came.
async fn packed(rig: &Rig, path: &str) -> (HeaderMap, Vec<u8>) {
    let request = reqwest::Client::new().get(format!("{}{path}", rig.server.url())).header("accept-encoding", "br, gzip;q=0.8");
    let response = request.header("authorization", format!("BAT {}", rig.root)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    (response.headers().clone(), response.bytes().await.unwrap().to_vec())
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

async fn fill(rig: &Rig) {
    let lot = |number: u32| json!({"operation": "insert", "bucket": "Lot", "object": {"id": format!("/db/Lot/{number}"), "number": number, "about": "a chair ".repeat(20)}});
    let writes: Vec<Value> = (0..60).map(lot).collect();
    let answer = rig.post("/batch", &Value::from(writes).to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_asks() {
    let rig = rig().await;
    fill(&rig).await;
    for path in ["/db/Lot/query?q=%7B%7D&sort=%7B%22number%22%3A1%7D", "/schema"] {
        let plain = rig.get_as(&rig.root, path).await;
        assert!(plain.text.len() > SHORTEST, "{path} is too short to tell");
        assert_eq!((plain.header("content-encoding"), plain.status), (None, 200));
        let (headers, bytes) = packed(&rig, path).await;
        assert_eq!(headers["content-encoding"], "gzip", "{path}");
        assert_eq!(headers["content-length"].to_str().unwrap(), bytes.len().to_string());
        assert_eq!(headers["content-type"], "application/json;charset=utf-8");
        assert!(bytes.len() * 2 < plain.text.len());
        assert_eq!(unpacked(&bytes), plain.text);
        // A cache must not give the one to who asked for the other.
        for headers in [&plain.headers, &headers] {
            let varies = headers.get_all("vary").iter().any(|value| value.to_str().unwrap().contains("accept-encoding"));
            assert!(varies, "{headers:?}");
        }
        assert_eq!(headers.contains_key("tidegate-position"), plain.headers.contains_key("tidegate-position"));
    }
}

#[tokio::test]
async fn short_ones_tagged_ones_and_secrets_are_not() {
    let rig = rig().await;
    fill(&rig).await;
    let (headers, bytes) = packed(&rig, "/db/Lot/query?q=%7B%22number%22%3A7%7D").await;
    assert!(!headers.contains_key("content-encoding") && bytes.starts_with(b"["));
    // A single object keeps its tag, and the tag its meaning.
    let about = "x".repeat(20_000);
    let stored = rig.ask(Method::PUT, "/db/Lot/big", None, &[], Some(json!({"about": about}).to_string())).await;
    let tag = stored.header("etag").unwrap();
    let (headers, bytes) = packed(&rig, "/db/Lot/big").await;
    assert_eq!((headers["etag"].to_str().unwrap(), headers.contains_key("content-encoding")), (tag, false));
    assert!(bytes.len() > 20_000);
    let asks = [("accept-encoding", "gzip"), ("if-none-match", tag)];
    assert_eq!(rig.ask(Method::GET, "/db/Lot/big", None, &asks, None).await.status, 304);
    // With the schema in it `connect` is long, and it has the user's token.
    let (headers, bytes) = packed(&rig, "/connect").await;
    assert!(!headers.contains_key("content-encoding") && bytes.len() > SHORTEST);
    let body = json!({"username": "root", "password": PASSWORD}).to_string();
    let login = rig.ask(Method::POST, "/db/User/login", None, &[("accept-encoding", "gzip")], Some(body)).await;
    assert_eq!((login.status, login.header("content-encoding")), (200, None));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let rig = Rig::with(|config| config.server.compress_bytes = 0).await;
    fill(&rig).await;
    let (headers, bytes) = packed(&rig, "/db/Lot/query").await;
    assert!(!headers.contains_key("content-encoding") && bytes.len() > 4096);
}
