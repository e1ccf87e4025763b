//! A writer and a listener on bare sockets, so that what is there first can be told.

use crate::support;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

pub fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap().split('/').next().unwrap()
}

/// Subscribed to everything of the bucket, the result read.
pub fn listener(url: &str, token: Option<&str>) -> WebSocket<TcpStream> {
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

pub fn event(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

pub fn request(stream: &mut TcpStream, url: &str, token: Option<&str>, number: usize) {
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

pub fn write_and_listen(url: &str, token: Option<&str>) {
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
