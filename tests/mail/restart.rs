//! Mail outlives the server that was to send it: the real binary, a real SMTP server, and ends of every kind.

use crate::smtpd::{Nobody, Smtpd};
use crate::support::PATIENCE;
use crate::support::http::Answer;
use crate::support::server::{Process, serve};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const JO: &str = "jo@example.org";

/// The server, which sends its mail there.
fn start(data: &Path, port: u16) -> Process {
    let mut command = serve(data);
    for option in [
        "mail.transport=smtp",
        "mail.host=127.0.0.1",
        &format!("mail.port={port}"),
        "mail.security=none",
        "mail.verification=true",
        "server.public_url=https://api.example.org",
    ] {
        command.args(["--set", option]);
    }
    Process::start(command)
}

async fn post(process: &Process, path: &str, body: Value) -> Answer {
    let http = process.http();
    http.send(http.request(Method::POST, path).body(body.to_string())).await
}

async fn register_and_end(end: impl FnOnce(Process)) {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let down = Nobody::listen();
    let process = start(&data, down.port);
    let registered = post(&process, "/db/User/register", json!({"user": {"username": JO}, "password": "first"})).await;
    assert_eq!(registered.status, 204, "{registered:?}");
    let waiting = data.join("mail-waiting");
    assert_eq!(std::fs::read_dir(&waiting).unwrap().count(), 1, "on the disk before the answer");
    down.called().await;
    end(process);
    assert_eq!(std::fs::read_dir(&waiting).unwrap().count(), 1);

    let server = Smtpd::start(&[]);
    let process = start(&data, server.port);
    let mail = server.next();
    assert_eq!(mail["to"][0], JO, "{mail}");
    // The link works: it is the one whose token was committed with the user.
    let text = mail["text"].as_str().unwrap().replace("=\r\n", "").replace("=3D", "=");
    let path = text.lines().find_map(|line| line.trim().strip_prefix("https://api.example.org/v1")).unwrap();
    let http = process.http();
    assert_eq!(http.send(http.request(Method::GET, path)).await.status, 204);
    assert_eq!(post(&process, "/db/User/login", json!({"username": JO, "password": "first"})).await.status, 200);
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_dir(&waiting).unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "what is delivered still waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(server.is_silent(), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_waits_when_the_server_is_killed_arrives_after_its_next_start() {
    register_and_end(Process::kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_waits_when_the_server_ends_arrives_after_its_next_start() {
    register_and_end(|process| assert!(process.terminate().success())).await;
}
