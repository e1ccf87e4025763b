//! The commands against a server with TLS, as people run them: the binary, and a certificate that it is told to believe.

use super::harness::{PASSWORD, PATIENCE, Rig};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use tokio::task::spawn_blocking;

/// `tidegate` with these words, as root, with nothing else in its environment.
fn tidegate(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", PASSWORD).args(words).stdin(Stdio::null());
    command
}

async fn run(words: &[&str]) -> Output {
    let mut command = tidegate(words);
    spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn succeed(words: &[&str]) -> String {
    let output = run(words).await;
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

impl Rig {
    fn origin(&self) -> String {
        format!("https://localhost:{}", self.address().port())
    }

    fn ca(&self) -> String {
        self.files.cert.to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_bucket_goes_out_is_emptied_and_comes_in_again() {
    let rig = Rig::start().await;
    let (api, ca) = (format!("{}/v1", rig.origin()), rig.ca());
    let (lots, again) = (rig.file("lots.ndjson"), rig.file("again.ndjson"));
    let objects: Vec<Value> = (0..20).map(|number| json!({"id": format!("/db/Lot/{number}"), "price": number})).collect();
    std::fs::write(&lots, objects.iter().map(|object| format!("{object}\n")).collect::<String>()).unwrap();
    succeed(&["import", "Lot", &lots, "--api", &api, "--ca", &ca]).await;
    succeed(&["export", "Lot", &again, "--api", &api, "--ca", &ca]).await;
    let exported = std::fs::read_to_string(&again).unwrap();
    let prices = exported.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["price"].as_u64());
    assert_eq!(prices.sum::<u64>(), 190);
    succeed(&["truncate", "Lot", "--yes", "--api", &api, "--ca", &ca]).await;
    let empty = succeed(&["export", "Lot", "--api", &api, "--ca", &ca]).await;
    assert!(!empty.contains("price"), "{empty}");
}

#[tokio::test]
async fn who_administrates_logs_in_over_tls() {
    let rig = Rig::start().await;
    let (api, ca) = (format!("{}/v1", rig.origin()), rig.ca());
    let admin = format!("http://{}", rig.server.admin_address());
    let at = ["--api", &api, "--admin", &admin, "--ca", &ca];
    let with = |words: &[&str]| [words, &at].concat().iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    for words in [with(&["app", "create", "shop"]), with(&["ingest", "status"]), with(&["explain", "Lot", "{}", "--ask"])] {
        succeed(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    let listed = succeed(&with(&["app", "list"]).iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(listed.contains("shop"), "{listed}");
    let copy = rig.file("copy.backup");
    succeed(&with(&["backup", &copy]).iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(std::fs::metadata(&copy).unwrap().len() > 0);
}

#[tokio::test]
async fn a_query_is_watched_over_wss() {
    let rig = Rig::start().await;
    let (origin, ca) = (rig.origin(), rig.ca());
    let mut command = tidegate(&["watch", "Lot", r#"{"price":7}"#, "--json", "--count", "1", "--url", &origin]);
    // The environment says it as well as the flag.
    let mut child = command.env("TIDEGATE_CA", &ca).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (send, lines) = mpsc::channel();
    let words = send.clone();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
    std::thread::spawn(move || BufReader::new(err).lines().map_while(Result::ok).for_each(|line| drop(words.send(line))));
    let (ready, lines) = spawn_blocking(move || (lines.recv_timeout(PATIENCE), lines)).await.unwrap();
    assert!(ready.as_ref().is_ok_and(|line| line.contains("watching")), "{ready:?}");
    let request = super::harness::request("POST", "/v1/db/Lot", r#"{"price":7}"#);
    let (head, _) = super::harness::ask_1(rig.connect(&["http/1.1"]).await, request).await;
    assert_eq!(head.status, 201);
    let line = spawn_blocking(move || lines.recv_timeout(PATIENCE)).await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["data"]["price"], 7);
    assert!(spawn_blocking(move || child.wait().unwrap()).await.unwrap().success());
}

#[tokio::test]
async fn a_load_is_put_on_over_tls() {
    let rig = Rig::start().await;
    let table = succeed(&["bench", "--brief", "--url", &format!("{}/v1", rig.origin()), "--ca", &rig.ca()]).await;
    assert!(table.contains("answer to event, p99"), "{table}");
}

#[tokio::test]
async fn who_is_not_believed_is_told_apart_and_what_to_do() {
    let rig = Rig::start().await;
    let (origin, ca) = (rig.origin(), rig.ca());
    let api = format!("{origin}/v1");
    let by_number = format!("https://{}", rig.address());
    let other = rig.file("other.pem");
    std::fs::write(&other, rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()).unwrap();
    for (words, exit, say) in [
        (vec!["watch", "Lot", "--url", &origin], 3, "--ca FILE"),
        (vec!["watch", "Lot", "--url", &origin, "--ca", &other], 3, "not believed"),
        (vec!["watch", "Lot", "--url", &by_number, "--ca", &ca], 3, "host name"),
        (vec!["watch", "Lot", "--url", &origin, "--ca", "/nowhere.pem"], 2, "/nowhere.pem"),
        (vec!["export", "Lot", "--api", &api], 1, "--ca FILE"),
        (vec!["bench", "--brief", "--url", &api], 1, "--ca FILE"),
    ] {
        let output = run(&words).await;
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(say), "{words:?}: {}", text(&output.stderr));
    }
}
