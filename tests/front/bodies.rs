//! Bodies that come slowly, or all at once: bounded in time and in memory, and in nobody's way.

use super::harness::Rig;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request of which only the first part is sent.
async fn begun(rig: &Rig, head: &str, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(rig.server.api_address()).await.unwrap();
    stream.write_all(format!("{head}\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

/// What comes back, up to the end of an object.
async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

/// Waits until bodies hold so many bytes.
async fn until_held(rig: &Rig, bytes: u64) {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let shown = rig.ask_admin("/apps/app", Some(&rig.root), &[]).await.json();
        if shown["usage"]["bodyBytes"] == bytes {
            return;
        }
        assert!(Instant::now() < deadline, "{shown}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_in_the_end() {
    let rig = Rig::with(|config| config.server.body_seconds = 1).await;
    for head in ["POST /v1/db/Lot", "PUT /v1/db/Lot/1", "POST /v1/db/User/login", "POST /v1/batch"] {
        let stream = begun(&rig, &format!("{head} HTTP/1.1\r\ncontent-length: 1000000"), b"{").await;
        let (mut read, mut write) = stream.into_split();
        // Never silent for long, and never done.
        let trickle = tokio::spawn(async move {
            while write.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut told = Vec::new();
        while !told.ends_with(b"}") {
            assert_ne!(read.read_buf(&mut told).await.unwrap(), 0, "{head}");
        }
        let told = String::from_utf8(told).unwrap();
        assert!(told.starts_with("HTTP/1.1 408") && told.contains("too-slow"), "{head}: {told}");
        trickle.abort();
    }
    until_held(&rig, 0).await;
}

#[tokio::test]
async fn what_bodies_hold_is_bounded_and_given_back() {
    let rig = Rig::with(|config| {
        config.server.body_bytes = 100_000;
        config.server.bodies_bytes = 200_000;
    })
    .await;
    let part = vec![b' '; 90_000];
    let mut slow = Vec::new();
    for held in [90_000, 180_000] {
        slow.push(begun(&rig, "POST /v1/db/Lot HTTP/1.1\r\ncontent-length: 90002", &part).await);
        until_held(&rig, held).await;
    }
    let object = |bytes: usize| json!({"text": "x".repeat(bytes)}).to_string();
    let refused = rig.post("/db/Lot", &object(50_000)).await;
    assert_eq!((refused.status, refused.reason()), (503, "too-many-bodies".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Small ones have room, and who has no body needs none.
    assert_eq!(rig.post("/db/Lot", &object(1000)).await.status, 201);
    assert_eq!(rig.get("/db/Lot/count").await.json()["count"], 1);
    // Those under way go on to their end, one by being whole and one by being broken off.
    let mut whole = slow.pop().unwrap();
    whole.write_all(b"{}").await.unwrap();
    assert!(answer(&mut whole).await.starts_with("HTTP/1.1 201"));
    drop(slow);
    until_held(&rig, 0).await;
    assert_eq!(rig.post("/db/Lot", &object(50_000)).await.status, 201);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_told_so_only_where_it_is_wanted() {
    let rig = Rig::with(|config| config.server.body_bytes = 1000).await;
    // Announced, and found out only on the way.
    let long = "x".repeat(1001);
    assert_eq!(rig.post("/db/Lot", &long).await.reason(), "too-large");
    assert_eq!(rig.post("/nothing", &long).await.reason(), "no-such-page");
    let client = reqwest::Client::new();
    for (path, reason) in [("/db/Lot", "too-large"), ("/nothing", "no-such-page")] {
        let pieces = futures_util::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>("x".repeat(500))));
        let request = client.request(Method::POST, format!("{}{path}", rig.server.url())).body(reqwest::Body::wrap_stream(pieces));
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(text.contains(reason), "{path}: {text}");
    }
    let exact = format!(r#"{{"a":"{}"}}"#, "x".repeat(1000 - 8));
    assert_eq!(rig.post("/db/Lot", &exact).await.status, 201);
    until_held(&rig, 0).await;
}
