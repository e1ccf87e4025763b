//! Whoever writes gets his answer before he gets the event about it (invariant 10), judged where no scheduler can
//! blur it: at the sockets. When the event can be read, the whole answer must already lie in the other socket.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::run;
use support::server::{PASSWORD, Process, serve};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap().split('/').next().unwrap()
}

/// Subscribed to everything of the bucket, the result read.
fn listener(url: &str, token: Option<&str>) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address(url)).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let (mut socket, _) = tungstenite::client(format!("{}/events", url.replace("http", "ws")), stream).unwrap();
    let subscribe = json!({
        "id": "s", "type": "subscribe", "bucket": "Answer", "query": "{}", "token": token, "initial": true,
        "matchTypes": ["all"], "operations": ["any"], "reconnects": -1,
    });
    socket.send(Message::Text(subscribe.to_string().into())).unwrap();
    assert_eq!(event(&mut socket)["type"], "result");
    socket
}

fn event(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

fn request(stream: &mut TcpStream, url: &str, token: Option<&str>, number: usize) {
    let body = json!({"n": number, "fill": "x".repeat(number * 97 % 20_000)}).to_string();
    let authorization = token.map(|token| format!("authorization: BAT {token}\r\n")).unwrap_or_default();
    let head = format!(
        "PUT /v1/db/Answer/{} HTTP/1.1\r\nhost: {}\r\n{authorization}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        number % 5,
        address(url),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
}

/// Whether a whole answer is in what was received.
fn is_whole(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 20"), "{head}");
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap();
    received.len() >= end + 4 + length
}

/// What lies in the socket, without waiting for more.
fn drain(stream: &mut TcpStream, received: &mut Vec<u8>) {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
}

fn write_and_listen(url: &str, token: Option<&str>) {
    let mut socket = listener(url, token);
    let mut stream = TcpStream::connect(address(url)).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    for number in 0..200 {
        request(&mut stream, url, token, number);
        let event = event(&mut socket);
        let mut received = Vec::new();
        drain(&mut stream, &mut received);
        assert_eq!(event["data"]["n"], number);
        assert!(is_whole(&received), "the event of write {number} came before its answer, of which {} bytes are there", received.len());
    }
}

#[test]
fn the_answer_is_there_when_the_event_comes() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(serve(&directory.path().join("data")));
    let root = run(async { process.http().login("root", PASSWORD).await });
    write_and_listen(&process.url, root.token());
    // Anonymous callers of one address are one session.
    write_and_listen(&process.url, None);
}

#[test]
fn nobody_else_waits_for_an_answer_that_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    // If somebody else waited for the writer it would be this long.
    command.args(["--set", "live.answer_grace_ms=20000", "--set", "live.answer_limit_ms=20000"]);
    let process = Process::start(command);
    let root = run(async { process.http().login("root", PASSWORD).await });
    let (mut other, mut own) = (listener(&process.url, root.token()), listener(&process.url, None));
    let mut stream = TcpStream::connect(address(&process.url)).unwrap();
    let began = Instant::now();
    for number in 0..20 {
        request(&mut stream, &process.url, None, number);
        assert_eq!(event(&mut other)["data"]["n"], number);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // The writer himself waits for the end of the grace.
    own.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let early = own.read();
    assert!(
        matches!(&early, Err(tungstenite::Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "{early:?}"
    );
}
