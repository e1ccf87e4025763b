//! What holds of every request: CORS, limits, errors, the end.

use super::harness::Rig;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn browsers_may_ask_from_anywhere() {
    let rig = Rig::start().await;
    let asks = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,content-type,if-match,baqend-acl"),
    ];
    let preflight = rig.ask(Method::OPTIONS, "/db/Lot/1", None, &asks, None).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    let list = |name: &str| preflight.header(name).unwrap().to_ascii_lowercase();
    for method in ["get", "head", "post", "put", "delete"] {
        assert!(list("access-control-allow-methods").contains(method));
    }
    for header in ["authorization", "content-type", "if-match", "if-none-match", "cache-control", "baqend-acl", "baqend-custom-headers"] {
        assert!(list("access-control-allow-headers").contains(header), "{header}");
    }
    for answer in
        [rig.ask(Method::GET, "/status", None, &asks[..1], None).await, rig.ask(Method::GET, "/db/Lot/none", None, &asks[..1], None).await]
    {
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
        let exposed = answer.header("access-control-expose-headers").unwrap().to_ascii_lowercase();
        for header in ["baqend-authorization-token", "etag", "last-modified", "baqend-created-at", "tidegate-position"] {
            assert!(exposed.contains(header), "{header}");
        }
    }
}

#[tokio::test]
async fn origins_can_be_limited() {
    let rig = Rig::with(|config| config.server.origins = vec!["https://app.example".into()]).await;
    let from = async |origin: &str| {
        let answer = rig.ask(Method::GET, "/status", None, &[("origin", origin)], None).await;
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(from("https://app.example").await.as_deref(), Some("https://app.example"));
    assert_eq!(from("https://evil.example").await, None);
}

#[tokio::test]
async fn errors_of_the_house_are_json_too() {
    let rig = Rig::with(|config| config.server.body_bytes = 1000).await;
    assert_eq!(rig.get("/nothing").await.reason(), "no-such-page");
    assert_eq!(rig.ask(Method::DELETE, "/connect", None, &[], None).await.reason(), "wrong-method");
    assert_eq!(rig.post("/db/Lot", &format!(r#"{{"a":"{}"}}"#, "x".repeat(1000))).await.reason(), "too-large");
    let status = rig.get("/status").await;
    assert_eq!((status.status, &status.json()["status"]), (200, &serde_json::json!("ok")));
    assert_eq!(status.header("referrer-policy"), Some("no-referrer"));
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_garbage_ends_alone() {
    let rig = Rig::start().await;
    let address = rig.server.api_address();
    let mut garbage = tokio::net::TcpStream::connect(address).await.unwrap();
    garbage.write_all(b"\x16\x03\x01\x00garbage\r\n\r\n").await.unwrap();
    let mut kept = tokio::net::TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        kept.write_all(b"GET /v1/db/Lot/count HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(br#"{"count":0}"#) {
            assert_ne!(kept.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
        assert!(read.starts_with(b"HTTP/1.1 200"));
    }
}

/// What docs/api.md says of URLs: encoded they work, raw they are refused by the HTTP stack, and nobody else notices.
#[tokio::test]
async fn what_is_no_url_is_refused_by_the_http_stack() {
    let rig = Rig::start().await;
    let address = rig.server.api_address();
    let answer = async |target: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        String::from_utf8(read).unwrap()
    };
    for raw in [r#"/v1/db/Lot/query?q={"a":1}"#, "/v1/db/Lot/query?q={}<"] {
        let refused = answer(raw).await;
        assert!(refused.starts_with("HTTP/1.1 400") && refused.ends_with("\r\n\r\n"), "{refused}");
    }
    for fine in ["/v1/db/Lot/query?q={%22a%22:1}", "/v1/db/Lot/query?q=%7B%22a%22%3A1%7D"] {
        assert!(answer(fine).await.starts_with("HTTP/1.1 200"), "{fine}");
    }
    // In a path the stack takes it, so it is an object that is not there.
    assert!(answer(r#"/v1/db/Lot/"a""#).await.contains("no-such-object"));
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let rig = Rig::start().await;
    let mut stream = tokio::net::TcpStream::connect(rig.server.api_address()).await.unwrap();
    // Preface and an empty SETTINGS frame; the server's own SETTINGS frame (type 4) must come.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4);
}

#[tokio::test]
async fn the_end_finishes_what_is_under_way_and_frees_the_port() {
    let rig = Rig::start().await;
    let address = rig.server.api_address();
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /v1/db/Lot HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n{\"id\":").await.unwrap();
    // The request is under way once the server has counted its connection.
    while rig.server.metrics().connections.load(std::sync::atomic::Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let ending = tokio::spawn(rig.server.shutdown());
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    slow.write_all(b"\"/db/Lot/1\"  }").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    ending.await.unwrap().unwrap();
    let server = tidegate::server::Server::start(super::harness::config(&rig.data)).await.unwrap();
    let stored = reqwest::get(format!("{}/db/Lot/1", server.url())).await.unwrap();
    assert_eq!(stored.status().as_u16(), 200, "what was acknowledged is there");
}

#[tokio::test]
async fn who_cannot_start_is_told_why() {
    use tidegate::server::Server;
    let rig = Rig::start().await;
    let mut taken = super::harness::config(&rig.data);
    taken.server.listen = rig.server.api_address().to_string();
    let error = Server::start(taken).await.unwrap_err();
    assert!(error.code() == "listen" && error.to_string().contains("--listen"), "{error}");
    let error = Server::start(super::harness::config(&rig.data)).await.unwrap_err();
    assert_eq!(error.code(), "data-locked", "{error}");
}

#[tokio::test]
async fn an_answer_arrives_also_where_the_request_was_not_read() {
    let rig = Rig::with(|config| config.server.body_bytes = 100_000).await;
    let mut connection = tokio::net::TcpStream::connect(rig.server.api_address()).await.unwrap();
    let mut status = async |head: &str, first: &[u8], rest: &[u8]| {
        connection
            .write_all(format!("{head}\r\nhost: x\r\ncontent-length: {}\r\n\r\n", first.len() + rest.len()).as_bytes())
            .await
            .unwrap();
        connection.write_all(first).await.unwrap();
        let mut answer = Vec::new();
        // All of the answers here are objects.
        while !answer.ends_with(b"}") {
            assert_ne!(connection.read_buf(&mut answer).await.unwrap(), 0, "{head}: {}", String::from_utf8_lossy(&answer));
        }
        // The client goes on, as those do that look at the answer only when all is sent.
        for part in rest.chunks(100_000) {
            connection.write_all(part).await.unwrap();
        }
        String::from_utf8(answer[9..12].to_vec()).unwrap()
    };
    let (first, rest) = (vec![b' '; 200_000], vec![b' '; 3_000_000]);
    for _ in 0..3 {
        assert_eq!(status("POST /v1/nothing HTTP/1.1", &first, &rest).await, "404");
        assert_eq!(status("POST /v1/db/Lot HTTP/1.1", &first, &rest).await, "413");
    }
    assert_eq!(status("GET /v1/status HTTP/1.1", b"", b"").await, "200");
}
