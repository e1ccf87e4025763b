//! `/banned`: who is kept out, from what, for how long, and who says so.

use super::harness::{Answer, PASSWORD, Rig};
use super::sessions::Live;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Long enough on any machine; what is waited for is an event.
const PATIENCE: Duration = Duration::from_secs(60);

/// Behind a proxy, so that requests come from where the test says.
async fn rig() -> Rig {
    Rig::with(|config| config.server.trusted_proxies = vec![[127, 0, 0, 1].into()]).await
}

async fn from(rig: &Rig, address: &str, method: Method, path: &str, body: Option<&str>) -> Answer {
    rig.ask(method, path, None, &[("x-forwarded-for", address)], body.map(str::to_owned)).await
}

async fn login(rig: &Rig, address: &str, password: &str) -> Answer {
    let body = json!({"username": "root", "password": password}).to_string();
    from(rig, address, Method::POST, "/db/User/login", Some(&body)).await
}

async fn ask(rig: &Rig, method: Method, path: &str, body: &str) -> Answer {
    rig.ask(method, path, Some(&rig.root), &[], Some(body.to_owned())).await
}

#[tokio::test]
async fn a_banned_network_cannot_log_in_until_the_ban_is_lifted_also_after_a_restart() {
    let rig = rig().await;
    assert_eq!(ask(&rig, Method::PUT, "/banned/10.0.0.0%2F8", r#"{"reason":"guesses"}"#).await.status, 204);
    assert_eq!(login(&rig, "10.1.2.3", PASSWORD).await.reason(), "banned");
    assert_eq!(login(&rig, "11.1.2.3", PASSWORD).await.status, 200);
    assert_eq!(from(&rig, "10.1.2.3", Method::GET, "/connect", None).await.status, 200, "the rest is open to them");
    assert_eq!(from(&rig, "10.1.2.3", Method::GET, "/banned/10.1.2.3", None).await.reason(), "banned");
    assert_eq!(from(&rig, "11.1.2.3", Method::GET, "/banned/11.1.2.3", None).await.status, 204);
    let list = ask(&rig, Method::GET, "/banned", "").await.json();
    assert_eq!((&list["bans"][0]["address"], &list["bans"][0]["reason"]), (&json!("10.0.0.0/8"), &json!("guesses")));

    let rig = rig.restart().await;
    assert_eq!(ask(&rig, Method::GET, "/banned", "").await.json()["bans"], list["bans"], "bans are durable");
    assert_eq!(ask(&rig, Method::DELETE, "/banned/10.0.0.0%2F8", "").await.status, 204);
    assert_eq!(ask(&rig, Method::GET, "/banned", "").await.json()["bans"], json!([]));
}

#[tokio::test]
async fn whoever_is_kept_out_of_everything_gets_nothing() {
    let rig = rig().await;
    assert_eq!(ask(&rig, Method::PUT, "/banned/2001:db8::%2F32", r#"{"scope":"everything"}"#).await.status, 204);
    for path in ["/connect", "/schema", "/events", "/db/User/me"] {
        assert_eq!(from(&rig, "2001:db8:1::7", Method::GET, path, None).await.reason(), "banned", "{path}");
    }
    assert_eq!(from(&rig, "2001:db9::7", Method::GET, "/connect", None).await.status, 200);
    assert_eq!(ask(&rig, Method::DELETE, "/banned", "").await.status, 204);
    assert_eq!(from(&rig, "2001:db8:1::7", Method::GET, "/connect", None).await.status, 200);
}

#[tokio::test]
async fn only_administrators_ban_and_nobody_himself() {
    let rig = rig().await;
    let user = rig.token("/db/User/joe", &[]);
    for (method, path) in [(Method::PUT, "/banned/10.0.0.1"), (Method::DELETE, "/banned/10.0.0.1"), (Method::DELETE, "/banned")] {
        let answer = rig.ask(method.clone(), path, Some(&user), &[], None).await;
        assert_eq!(answer.reason(), "permission-denied", "{method} {path}");
    }
    assert_eq!(rig.ask(Method::GET, "/banned", Some(&user), &[], None).await.reason(), "banned");
    assert_eq!(from(&rig, "11.0.0.1", Method::GET, "/banned/10.0.0.1", None).await.reason(), "permission-denied");
    for wrong in ["/banned/127.0.0.1", "/banned/0.0.0.0%2F0", "/banned/nonsense"] {
        assert_eq!(ask(&rig, Method::PUT, wrong, "{}").await.reason(), "bad-request", "{wrong}");
    }
    assert_eq!(ask(&rig, Method::PUT, "/banned/10.0.0.1", r#"{"scope":"nothing"}"#).await.reason(), "bad-json");
}

#[tokio::test]
async fn whom_the_brake_holds_is_told_and_can_be_let_go() {
    let rig = rig().await;
    while login(&rig, "10.0.0.9", "wrong").await.reason() != "too-many-tries" {}
    let held = ask(&rig, Method::GET, "/banned", "").await.json()["held"].clone();
    assert_eq!((&held[0]["user"], &held[0]["address"]), (&json!("root"), &json!("10.0.0.9")), "{held}");
    assert_eq!(login(&rig, "10.0.0.9", PASSWORD).await.reason(), "too-many-tries");
    assert_eq!(ask(&rig, Method::DELETE, "/banned/10.0.0.9", "").await.status, 204);
    assert_eq!(login(&rig, "10.0.0.9", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_ban_from_everything_ends_what_is_open() {
    let rig = rig().await;
    let (mut kept_out, mut other) = (Live::connect_from(&rig, "10.0.0.1").await, Live::connect_from(&rig, "11.0.0.1").await);
    kept_out.subscribe("a", None).await;
    kept_out.subscribe("b", None).await;
    other.subscribe("c", None).await;
    let stream = format!("{}/events?bucket=Lot", rig.server.url());
    let mut stream = reqwest::Client::new().get(stream).header("x-forwarded-for", "10.0.0.2").send().await.unwrap();
    let mut streamed = String::new();
    while !streamed.contains("event: result") {
        streamed += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }
    // From logging in alone: what is open stays.
    assert_eq!(ask(&rig, Method::PUT, "/banned/10.0.0.0%2F8", "{}").await.status, 204);
    kept_out.sees_a_write(&rig, &["a", "b"]).await;

    assert_eq!(ask(&rig, Method::PUT, "/banned/10.0.0.0%2F8", r#"{"scope":"everything"}"#).await.status, 204);
    let ends = async {
        for _ in 0..2 {
            let message = kept_out.next().await;
            assert_eq!((&message["type"], &message["error"]["code"]), (&json!("error"), &json!("banned")), "{message}");
        }
        loop {
            match kept_out.0.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(Some(close)))) => break assert_eq!(close.code, CloseCode::Policy),
                other => panic!("{other:?}"),
            }
        }
        while let Some(chunk) = stream.chunk().await.unwrap() {
            streamed += std::str::from_utf8(&chunk).unwrap();
        }
        assert!(streamed.contains("event: error") && streamed.contains("\"banned\""), "{streamed}");
    };
    tokio::time::timeout(PATIENCE, ends).await.expect("what is open stays");
    other.next().await;
    other.sees_a_write(&rig, &["c"]).await;
    let only_the_other = async {
        while rig.server.gateway().statistics().connections != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, only_the_other).await.expect("the connection is not given up");
}

/// One connection, many requests, as a browser or a proxy sends them: answers in their order.
#[tokio::test]
async fn a_connection_that_is_kept_alive_is_judged_by_each_request() {
    let rig = rig().await;
    let mut connection = TcpStream::connect(rig.server.api_address()).await.unwrap();
    let mut status = async |address: &str| -> u16 {
        let request = format!("GET /v1/status HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {address}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.expect("the connection stays open"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        connection.read_exact(&mut vec![0; length]).await.unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(status("10.0.0.1").await < 300);
    assert_eq!(ask(&rig, Method::PUT, "/banned/10.0.0.1", r#"{"scope":"everything"}"#).await.status, 204);
    assert_eq!(status("10.0.0.1").await, 429);
    assert!(status("10.0.0.2").await < 300, "the same proxy, for somebody else");
    assert_eq!(ask(&rig, Method::DELETE, "/banned/10.0.0.1", "").await.status, 204);
    assert!(status("10.0.0.1").await < 300);
}
