//! Requests whose bodies come slowly, at one app: nobody waits for them, neither that app's own users nor whoever deletes it.

use super::harness::{Rig, code, password_of};
use super::support::PATIENCE;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a slow sender sends; he announces more.
const FIRST: &[u8] = b"{\"username\":\"root\"";

async fn slow(rig: &Rig, head: &str, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(rig.server.api_address()).await.unwrap();
    let head = if head.contains("HTTP/1.1") { head.to_owned() } else { format!("{head} HTTP/1.1") };
    stream.write_all(format!("{head}\r\nhost: x\r\ncontent-length: 100000\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

/// Waits until an app's bodies hold so many bytes.
async fn until_held(rig: &Rig, app: &str, bytes: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = rig.admin(Method::GET, &format!("/apps/{app}"), None).await.json();
        if shown["usage"]["bodyBytes"] == bytes {
            return;
        }
        assert!(Instant::now() < deadline, "{shown}");
        tokio::task::yield_now().await;
    }
}

/// The app works on one request of each kind at a time; the slow ones hold none of these places.
#[tokio::test]
async fn logins_writes_and_queries_go_on_beside_slow_senders() {
    let rig = Rig::start().await;
    let shop = rig.create("shop", json!({"hashings": 1, "writes": 1, "scans": 1, "requests": 1})).await;
    let mut slow_ones = Vec::new();
    for path in ["db/User/login", "db/User/register", "db/User/password", "db/Lot", "batch", "db/Lot/query", "db/Lot/count", "schema"] {
        for _ in 0..4 {
            slow_ones.push(slow(&rig, &format!("POST /shop/{path}"), FIRST).await);
        }
    }
    until_held(&rig, "shop", slow_ones.len() * FIRST.len()).await;
    let login = json!({"username": "root", "password": password_of("shop")}).to_string();
    assert_eq!(rig.app("shop").post("/db/User/login", login).await.status, 200);
    assert_eq!(shop.insert("Lot", r#"{"id":"/db/Lot/1","n":1}"#).await.status, 201);
    assert_eq!(shop.put("Lot", "1", r#"{"n":2}"#, None).await.status, 200);
    assert_eq!(shop.count("Lot", "{}").await.json()["count"], 1);
    // None of them was given up meanwhile: they were there all the time.
    until_held(&rig, "shop", slow_ones.len() * FIRST.len()).await;
    drop(slow_ones);
    until_held(&rig, "shop", 0).await;
}

/// They send a little all the time and would go on for ever.
#[tokio::test]
async fn an_app_that_is_deleted_does_not_wait_for_slow_senders() {
    let rig = Rig::start().await;
    let doomed = rig.create("doomed", json!({})).await;
    let mut slow_ones = Vec::new();
    for path in ["db/User/login", "db/Lot"] {
        slow_ones.push(slow(&rig, &format!("POST /doomed/{path}"), FIRST).await);
    }
    // An import is a stream, which may take as long as it likes.
    let head = format!("PUT /doomed/db/Lot HTTP/1.1\r\nauthorization: BAT {}", doomed.token().unwrap());
    let mut import = slow(&rig, &head, b"{\"id\":\"/db/Lot/1\"}\n").await;
    let mut told = Vec::new();
    while !told.ends_with(b"\r\n\r\n") {
        assert_ne!(import.read_buf(&mut told).await.unwrap(), 0);
    }
    assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    until_held(&rig, "doomed", slow_ones.len() * FIRST.len()).await;
    slow_ones.push(import);
    let (mut ends, mut trickles) = (Vec::new(), tokio::task::JoinSet::new());
    for stream in slow_ones {
        let (read, mut write) = stream.into_split();
        ends.push(read);
        trickles.spawn(async move {
            while write.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    rig.delete("doomed").await;
    rig.until_gone("doomed").await;
    for (end, said) in ends.iter_mut().zip(["no-such-page", "no-such-page", "the app is being deleted"]) {
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains(said) {
            assert_ne!(end.read_buf(&mut told).await.unwrap(), 0, "{}", String::from_utf8_lossy(&told));
        }
    }
}

#[tokio::test]
async fn the_memory_for_bodies_is_not_one_apps() {
    let rig = Rig::with(|config| {
        config.server.body_bytes = 100_000;
        config.server.bodies_bytes = 200_000;
    })
    .await;
    let (greedy, other) = (rig.create("greedy", json!({})).await, rig.create("other", json!({})).await);
    let mut stream = TcpStream::connect(rig.server.api_address()).await.unwrap();
    stream.write_all(b"POST /greedy/db/Lot HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
    stream.write_all(&[b' '; 90_000]).await.unwrap();
    until_held(&rig, "greedy", 90_000).await;
    let object = |bytes: usize| json!({"text": "x".repeat(bytes)}).to_string();
    let refused = greedy.insert("Lot", object(50_000)).await;
    assert_eq!((refused.status, code(&refused)), (503, "too-many-bodies".into()));
    assert_eq!(other.insert("Lot", object(50_000)).await.status, 201);
}
