//! Which topics a log is kept in, and which are refused.

use crate::chain::{Told, told};
use crate::load::BUCKET;
use crate::support::http::Answer;
use crate::support::kafka;
use crate::support::ports::free_port;
use crate::support::run;
use crate::support::server::{Process, fails, serve};
use crate::{PARTITIONS, fresh, relayed, relaying};
use std::time::{Duration, Instant};

#[test]
fn topics_that_would_lose_changes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let broker = kafka::shared();
    let partitions = PARTITIONS as i32 + 1;
    run(async {
        let right = [("max.message.bytes", "10000000")];
        let cases: [(&str, i32, &[(&str, &str)], &str); 5] = [
            ("compact", partitions, &[right[0], ("cleanup.policy", "compact")], "cleanup.policy = compact"),
            ("both", partitions, &[right[0], ("cleanup.policy", "compact,delete")], "cleanup.policy = compact,delete"),
            ("unclean", partitions, &[right[0], ("unclean.leader.election.enable", "true")], "unclean.leader.election.enable = true"),
            ("small", partitions, &[], "max.message.bytes = 1048588"),
            ("few", partitions - 1, &right, "partitions = 3"),
        ];
        for (name, partitions, settings, expected) in cases {
            let topic = broker.topic(name, partitions, settings).await;
            let (status, said) = fails(relaying(&directory.path().join(name), broker, &topic));
            assert!(!status.success());
            assert!(said.contains(expected) && said.contains(&topic), "{said}");
        }
        // One that is right is taken, and what was made here is right.
        let topic = broker.topic("right", partitions, &right).await;
        assert_eq!(Process::start(relaying(&directory.path().join("right"), broker, &topic)).terminate().code(), Some(0));
        // It is that store's now.
        let (status, said) = fails(relaying(&directory.path().join("other"), broker, &topic));
        assert!(!status.success());
        assert!(said.contains("change log of another store") && said.contains(&topic), "{said}");
        let elsewhere = broker.topic("letters", partitions, &right).await;
        broker.produce(&elsewhere, [kafka::Record::new("a", "b")]).await;
        let (status, said) = fails(relaying(&directory.path().join("letters"), broker, &elsewhere));
        assert!(!status.success());
        assert!(said.contains("not of this store's change log"), "{said}");
    });
}

#[test]
fn a_broker_that_does_not_answer_is_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    let address = format!("127.0.0.1:{}", free_port());
    command.arg("--changelog").arg(format!("kafka://{address}/nowhere"));
    let began = Instant::now();
    let (status, said) = fails(command);
    assert!(!status.success());
    assert!(said.contains("no Kafka broker answers") && said.contains(&address), "{said}");
    // It asks for 15 seconds.
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    // Nothing was noted: the directory is as good as new for another log.
    assert!(!directory.path().join("data/format").exists());
}

#[test]
fn another_place_is_another_log_and_begins_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (broker, topic) = (kafka::shared(), fresh("begin"));
    run(async {
        let process = Process::start(serve(&data));
        let before = process.http().put(BUCKET, "1", r#"{"n":1}"#, None).await;
        assert_eq!(process.terminate().code(), Some(0));
        let process = Process::start(relaying(&data, broker, &topic));
        let after = process.http().put(BUCKET, "1", r#"{"n":2}"#, None).await;
        let log = |answer: &Answer| answer.headers["tidegate-position"].to_str().unwrap()[..16].to_owned();
        assert_ne!(log(&before), log(&after));
        relayed(&process).await;
        assert_eq!(process.terminate().code(), Some(0));
        let all: Vec<Told> = broker.read(&topic).await.iter().map(told).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((all[0].commit, all[0].after, all[0].previous), (after.position().unwrap(), before.position().unwrap(), 0));
        assert_eq!(all[0].log, log(&after));
        // Back in the store for a while, the topic has a hole in it: it is not taken up again.
        let process = Process::start(serve(&data));
        assert_ne!(log(&process.http().put(BUCKET, "1", r#"{"n":3}"#, None).await), log(&after));
        assert_eq!(process.terminate().code(), Some(0));
        let (status, said) = fails(relaying(&data, broker, &topic));
        assert!(!status.success());
        assert!(said.contains("change log of another store"), "{said}");
        // And a refused start changes nothing.
        let process = Process::start(serve(&data));
        assert_eq!(process.http().load(BUCKET, "1").await.json()["n"], 3);
    });
}
