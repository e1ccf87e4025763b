//! `tidegate watch` as its users run it: the binary, against a real server in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidegate::config::{Config, Durability};
use tidegate::server::{Server, Setup};

const PATIENCE: Duration = Duration::from_secs(180);

async fn server(data: &TempDir, listen: &str) -> Server {
    let mut config = Config::default();
    config.server.listen = listen.into();
    config.server.admin_listen = "127.0.0.1:0".into();
    config.store.data = data.path().join("data");
    config.store.durability = Durability::System;
    Server::start(Setup { config, root_password: Some("pw".into()), ..Setup::default() }).await.unwrap()
}

async fn write(server: &Server, id: &str, fields: Value) {
    let response = reqwest::Client::new().put(format!("{}/db/Lot/{id}", server.url())).json(&fields).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
}

async fn delete(server: &Server, id: &str) {
    let response = reqwest::Client::new().delete(format!("{}/db/Lot/{id}", server.url())).send().await.unwrap();
    assert!(response.status().is_success());
}

/// A running `tidegate watch`; it is killed if the test fails.
struct Watch {
    child: Child,
    lines: Receiver<String>,
    words: Receiver<String>,
}

impl Watch {
    fn start(address: SocketAddr, arguments: &[&str]) -> Watch {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("watch")
            .args(arguments)
            .args(["--url", &format!("http://{address}")])
            .env_remove("TIDEGATE_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, words) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
        Watch { child, lines, words }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of output")
    }

    fn event(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Waits until standard error says this.
    fn says(&self, what: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let line = self.words.recv_timeout(until.saturating_duration_since(Instant::now())).expect(what);
            if line.contains(what) {
                return line;
            }
        }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn end(mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_people() {
    let data = TempDir::new().unwrap();
    let server = server(&data, "127.0.0.1:0").await;
    write(&server, "1", json!({"title": "A vase", "city": "Paris", "price": 5})).await;
    write(&server, "2", json!({"title": "A map", "city": "Vienna", "price": 5})).await;
    let watch = Watch::start(server.api_address(), &["Lot", r#"{"city":"Paris"}"#]);
    watch.says("1 object matches now");
    // No commit time: it was there when we came.
    assert_eq!(watch.line().trim_start(), r#"= 1  city=Paris  price=5  title="A vase""#);
    write(&server, "1", json!({"title": "A vase", "city": "Paris", "price": 6})).await;
    write(&server, "2", json!({"title": "A map", "city": "Paris", "price": 5})).await;
    write(&server, "1", json!({"title": "A vase", "city": "Berlin", "price": 6})).await;
    delete(&server, "2").await;
    let lines: Vec<String> = (0..4).map(|_| watch.line()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        events,
        ["~ 1  price 5 → 6", r#"+ 2  city=Paris  price=5  title="A map""#, "- 1  no longer matches: city Paris → Berlin", "- 2  deleted"]
    );
    let time = lines[0].split_once(' ').unwrap().0;
    assert!(time.len() == 12 && time.as_bytes()[2] == b':' && time.as_bytes()[8] == b'.', "{time}");
    watch.signal("-INT");
    assert_eq!(watch.end().code(), Some(0));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_machines() {
    let data = TempDir::new().unwrap();
    let server = server(&data, "127.0.0.1:0").await;
    write(&server, "1", json!({"city": "Paris", "price": 5})).await;
    let arguments = ["Lot", r#"{"city":"Paris"}"#, "--json", "--fields", "price,city", "--count", "2"];
    let watch = Watch::start(server.api_address(), &arguments);
    let initial = watch.event();
    assert_eq!((&initial["event"], &initial["data"]), (&json!("initial"), &json!({"price": 5, "city": "Paris"})));
    let later = Watch::start(server.api_address(), &["Lot", "{}", "--json", "--no-initial", "--count", "1"]);
    later.says("watching");
    write(&server, "a b", json!({"city": "Paris", "price": 7})).await;
    delete(&server, "1").await;
    let (add, remove) = (watch.event(), watch.event());
    assert_eq!((&add["event"], &add["operation"], &add["id"]), (&json!("add"), &json!("insert"), &json!("/db/Lot/a%20b")));
    assert_eq!(add["data"], json!({"price": 7, "city": "Paris"}));
    assert!(add["position"].is_string() && add["date"].is_string(), "{add}");
    assert_eq!((&remove["event"], &remove["operation"], &remove["id"]), (&json!("remove"), &json!("delete"), &json!("/db/Lot/1")));
    assert_eq!(watch.end().code(), Some(0), "--count ends it");
    let only = later.event();
    assert_eq!((&only["event"], &only["data"]["price"]), (&json!("add"), &json!(7)));
    assert_eq!(later.end().code(), Some(0));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_and_goes_on_where_it_was() {
    const WRITES: u64 = 60;
    let data = TempDir::new().unwrap();
    let mut running = server(&data, "127.0.0.1:0").await;
    let address = running.api_address();
    let watch = Watch::start(address, &["Lot", r#"{"price":{"$gte":0}}"#, "--json"]);
    watch.says("watching");
    for at in 0..WRITES {
        // Twice the server goes away; the first writes after it are made while the watcher still waits to come back.
        if at == 2 * WRITES / 3 {
            watch.says("nothing was missed");
        }
        if at == WRITES / 3 || at == 2 * WRITES / 3 {
            running.shutdown().await.unwrap();
            watch.says("connection lost");
            running = server(&data, &address.to_string()).await;
        }
        write(&running, &(at % 7).to_string(), json!({"price": at})).await;
    }
    let prices: Vec<u64> = (0..WRITES).map(|_| watch.event()["data"]["price"].as_u64().unwrap()).collect();
    assert_eq!(prices, (0..WRITES).collect::<Vec<_>>(), "every write once, in the order of commits");
    watch.says("nothing was missed");
    // Nothing more comes than was written: the next line is of the next write.
    delete(&running, "0").await;
    assert_eq!(watch.event()["event"], "remove");
    running.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_result_is_told_as_its_difference() {
    let data = TempDir::new().unwrap();
    let first = server(&data, "127.0.0.1:0").await;
    let address = first.api_address();
    for id in ["1", "2", "3"] {
        write(&first, id, json!({"price": 1})).await;
    }
    let watch = Watch::start(address, &["Lot", "{}", "--json"]);
    (0..3).for_each(|_| assert_eq!(watch.event()["event"], "initial"));
    first.shutdown().await.unwrap();
    // Another store, hence another log: a position of the old one means nothing here.
    let other = TempDir::new().unwrap();
    let second = server(&other, "127.0.0.1:0").await;
    write(&second, "2", json!({"price": 2})).await;
    write(&second, "4", json!({"price": 4})).await;
    second.shutdown().await.unwrap();
    watch.says("connection lost");
    let second = server(&other, &address.to_string()).await;
    watch.says("could not go on");
    let events: BTreeMap<String, String> = (0..4)
        .map(|_| watch.event())
        .map(|event| (event["id"].as_str().unwrap().to_owned(), event["event"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [("/db/Lot/1", "remove"), ("/db/Lot/2", "change"), ("/db/Lot/3", "remove"), ("/db/Lot/4", "add")];
    assert_eq!(events, expected.map(|(id, event)| (id.to_owned(), event.to_owned())).into());
    second.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes() {
    let data = TempDir::new().unwrap();
    let server = server(&data, "127.0.0.1:0").await;
    let address = server.api_address();
    for (arguments, code, says) in [
        (["Lot", r#"{"price":{"$near":1}}"#].as_slice(), 1, "$near"),
        (&["Lot", "{price"], 1, "tidegate: "),
        (&["Lot", "{}", "--base", "v9"], 3, "cannot reach"),
        (&["Lot", "{}", "--count", "0"], 2, "--count"),
        (&["Lot", "{}", "--token-file", "/nonexistent/token"], 2, "token"),
    ] {
        let watch = Watch::start(address, arguments);
        watch.says(says);
        assert_eq!(watch.end().code(), Some(code), "{arguments:?}");
    }
    server.shutdown().await.unwrap();
    let watch = Watch::start(address, &["Lot"]);
    watch.says("cannot reach");
    assert_eq!(watch.end().code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_it_quietly() {
    let data = TempDir::new().unwrap();
    let server = server(&data, "127.0.0.1:0").await;
    let mut watch = Watch::start(server.api_address(), &["Lot", "{}", "--no-initial"]);
    watch.says("watching");
    // The reader's thread ends, and with it the pipe, at the first line after nobody wants lines any more.
    watch.lines = channel().1;
    let mut written = 0;
    while watch.child.try_wait().unwrap().is_none() {
        write(&server, "1", json!({"price": written})).await;
        written += 1;
        assert!(written < 10_000, "it goes on writing into a closed pipe");
    }
    let told: Vec<String> = watch.words.try_iter().collect();
    assert_eq!((watch.child.wait().unwrap().code(), told.as_slice()), (Some(0), [].as_slice()));
    server.shutdown().await.unwrap();
}
