//! A user whom the brokers let in, but not do everything: each right that is missing is named, with the command that grants it.
//! What can wait for a right waits, and goes on when it is granted.

use crate::guarded::{Guarded, guarded};
use crate::support::kafka::{Record, java};
use crate::support::server::{Process, fails};
use crate::support::{PATIENCE, run};
use crate::{error, ingest_status, logged};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Grants what an error says, or takes it away: `arguments` are those of Kafka's own command.
fn acl(guarded: &Guarded, what: &str, arguments: &str) {
    let mut command = java("-Xmx128m", "org.apache.kafka.tools.AclCommand");
    command.env("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1");
    command.args(["--bootstrap-server", &guarded.broker.address(), what, "--allow-principal", "User:limited"]);
    let output = command.args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// The arguments that a message says first, behind the user.
fn said_to_grant(message: &str) -> &str {
    let (_, rest) = message
        .split_once("(kafka-acls --add --allow-principal User:NAME ")
        .unwrap_or_else(|| panic!("it does not say what to grant: {message}"));
    rest.split_once(')').unwrap().0
}

/// Waits until somebody says so; gives that and what stands behind it, where other rights may be missing, too.
fn until(mut says: impl FnMut() -> String, what: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = says();
        if let Some(place) = said.find(what) {
            return said[place..].to_owned();
        }
        assert!(Instant::now() < deadline, "nobody says {what:?}: {said}");
        // A file and a command have no event for it.
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn command(guarded: &Guarded, directory: &Path, log: &str, source: &str) -> Command {
    let (ca, password) = (guarded.file("ca.pem").display().to_string(), format!("file:{}", guarded.file("password").display()));
    let properties = [("sasl.mechanisms", "PLAIN"), ("sasl.username", "limited"), ("sasl.password", &*password), ("ssl.ca.location", &*ca)];
    let mut command = guarded.serve(directory, &properties, log, source);
    command.args(["--set", "log.level=info"]);
    command
}

#[test]
fn a_right_that_is_missing_is_named_and_when_it_is_granted_it_goes_on() {
    let guarded = guarded();
    let directory = tempfile::tempdir().unwrap();
    let log = format!("rights-{:08x}", rand::random::<u32>());
    run(async {
        let source = guarded.broker.topic("entitled", 2, &[]).await;
        guarded.broker.produce(&source, [Record::new("1", json!({"n": 1}).to_string())]).await;
        // Without what a start needs there is none, and the error says what to grant.
        let mut needed = Vec::new();
        while needed.len() < 4 {
            let (_, said) = fails(command(guarded, directory.path(), &log, &source));
            let last = error(&said);
            let grant = said_to_grant(last).to_owned();
            println!("{last}");
            if needed.last() == Some(&grant) {
                // The broker has not heard of it yet.
                continue;
            }
            // Several at once save a while: the one that is named, and of topics what is named next.
            let more = if grant.contains("Create") { "--operation Describe --operation DescribeConfigs " } else { "" };
            acl(guarded, "--add", &format!("{more}{grant}"));
            needed.push(grant);
        }
        let id = needed.iter().find_map(|grant| grant.split_once("--transactional-id ")).unwrap().1;
        let expected = [
            format!("--operation Create --topic {log}"),
            format!("--operation Read --topic {log}"),
            format!("--operation Write --transactional-id {id}"),
            format!("--operation Read --group {id}"),
        ];
        assert_eq!(needed, expected);

        // Writing the log and reading a source are waited for: the server serves meanwhile.
        let said = directory.path().join("said.log");
        let text = || std::fs::read_to_string(&said).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let process = loop {
            let mut started = command(guarded, directory.path(), &log, &source);
            logged(&mut started, &said);
            if let Ok(process) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Process::start(started))) {
                break process;
            }
            // Nor of the last one, maybe.
            let said = text();
            let last = error(&said);
            assert!(last.contains(&expected[3]) && Instant::now() < deadline, "it does not start: {said}");
        };
        let http = process.http();
        let mut commits = vec![http.put("Note", "1", r#"{"n":1}"#, None).await.position().unwrap()];
        let denied = until(text, &format!("lacks the right Write on the topic {log}"));
        acl(guarded, "--add", said_to_grant(&denied));
        process.until("tidegate_relay_outbox_records", |waiting| waiting == 0.0).await;
        let denied = until(|| ingest_status(&process), &format!("lacks the right Read on the topic {source}"));
        acl(guarded, "--add", said_to_grant(&denied));
        let orders = format!("tidegate_ingest_records_total{{topic=\"{source}\",bucket=\"Order\"}}");
        process.until(&orders, |records| records == 1.0).await;

        // Taken away under way, and granted again.
        for (right, grant) in [
            (format!("Write on the topic {log}"), format!("--operation Write --topic {log}")),
            (format!("Write on the transactional id {id}"), format!("--operation Write --transactional-id {id}")),
        ] {
            acl(guarded, "--remove", &format!("--force {grant}"));
            let before = text().len();
            let answer = http.put("Note", "2", json!({"n": commits.len()}).to_string(), None).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            commits.push(answer.position().unwrap());
            until(|| text()[before..].to_owned(), &right);
            acl(guarded, "--add", &grant);
            process.until("tidegate_relay_outbox_records", |waiting| waiting == 0.0).await;
        }
        acl(guarded, "--remove", &format!("--force --operation Read --topic {source}"));
        guarded.broker.produce(&source, [Record::new("2", json!({"n": 2}).to_string())]).await;
        let before = text().len();
        until(|| text()[before..].to_owned(), &format!("Read on the topic {source}"));
        acl(guarded, "--add", &format!("--operation Read --topic {source}"));
        process.until(&orders, |records| records == 2.0).await;
        let answer = http.query("Order", "{}").await;
        assert_eq!(answer.json().as_array().unwrap().len(), 2, "{answer:?}");

        // Nothing is lost, and nothing is there twice.
        process.until("tidegate_relay_outbox_records", |waiting| waiting == 0.0).await;
        let written = guarded.broker.read(&log).await;
        let headers = |message: &rdkafka::message::OwnedMessage| {
            use rdkafka::message::{Headers, Message};
            let header = message.headers().unwrap().iter().find(|header| header.key == "commit").unwrap();
            std::str::from_utf8(header.value.unwrap()).unwrap().parse::<u64>().unwrap()
        };
        let found: Vec<u64> = written.iter().map(headers).collect();
        let unique: std::collections::BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(found.len(), unique.len(), "some records are there twice: {found:?}");
        assert!(commits.iter().all(|commit| unique.contains(commit)), "{commits:?} in {found:?}");
        assert!(process.terminate().success());
    });
}
