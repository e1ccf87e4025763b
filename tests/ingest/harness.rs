//! A server with mappings, as a child, and what its root is told.

use crate::support::http::Http;
use crate::support::kafka::{self, Record};
use crate::support::server::{PASSWORD, Process, serve};
use crate::support::{PATIENCE, live};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where a server lives: its data outlasts it.
pub struct House {
    directory: TempDir,
}

impl House {
    pub fn new() -> House {
        House { directory: tempfile::tempdir().unwrap() }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A server with these `[[ingest]]` sections, against the shared broker.
    pub async fn start(&self, mappings: &str) -> Server {
        self.start_at(&kafka::shared().address(), mappings).await
    }

    pub async fn start_at(&self, brokers: &str, mappings: &str) -> Server {
        let config = self.directory.path().join("tidegate.toml");
        std::fs::write(&config, format!("[kafka]\nbrokers = {brokers:?}\n{mappings}")).unwrap();
        let mut command = serve(&self.data());
        command.arg("--config").arg(config);
        let process = Process::start(command);
        let root = process.http().login("root", PASSWORD).await;
        Server { process, root }
    }
}

pub struct Server {
    pub process: Process,
    pub root: Http,
}

/// A mapping with nothing said but this.
pub fn mapping(topic: &str, bucket: &str, rest: &str) -> String {
    format!("[[ingest]]\ntopic = {topic:?}\nbucket = {bucket:?}\n{rest}\n")
}

pub fn record(key: &str, value: impl Into<String>) -> Record {
    Record { key: Some(key.into()), value: Some(value.into().into_bytes()), ..Record::default() }
}

pub fn tombstone(key: &str) -> Record {
    Record { key: Some(key.into()), ..Record::default() }
}

impl Server {
    /// All objects of a bucket by id, as root sees them.
    pub async fn objects(&self, bucket: &str) -> BTreeMap<String, Value> {
        let answer = self.root.query(bucket, "{}").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        live::by_id(answer.json().as_array().unwrap()).unwrap()
    }

    /// Waits until the bucket is as it should be.
    pub async fn until(&self, bucket: &str, right: impl Fn(&BTreeMap<String, Value>) -> bool) -> BTreeMap<String, Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let objects = self.objects(bucket).await;
            if right(&objects) {
                return objects;
            }
            assert!(Instant::now() < deadline, "{bucket} stays at {objects:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
