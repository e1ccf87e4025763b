//! A real Kafka Connect with Debezium in it: one worker on loopback.

use super::kafka::{Broker, java, spawn};
use super::ports::free_port;
use super::postgres::Postgres;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::process::Child;
use std::time::Duration;
use tempfile::TempDir;

/// The worker; killed when it is dropped.
pub struct Connect {
    base: String,
    client: Client,
    directory: TempDir,
    child: Child,
}

impl Connect {
    /// Returns when it answers.
    pub async fn start(broker: &Broker) -> Connect {
        let directory = TempDir::with_prefix("tidegate-connect-").unwrap();
        let port = free_port();
        let properties = include_str!("../debezium/worker.properties").replace("@BROKER@", &broker.address());
        let properties = properties.replace("@PORT@", &port.to_string()).replace("@DIRECTORY@", &directory.path().display().to_string());
        let file = directory.path().join("worker.properties");
        std::fs::write(&file, properties).unwrap();
        let log = std::fs::File::create(directory.path().join("connect.log")).unwrap();
        let mut command = java("-Xmx512m", "org.apache.kafka.connect.cli.ConnectStandalone");
        command.arg(file).current_dir(directory.path()).stdout(log.try_clone().unwrap()).stderr(log);
        let client = Client::builder().no_proxy().timeout(super::PATIENCE).build().unwrap();
        let mut connect = Connect { base: format!("http://127.0.0.1:{port}"), client, directory, child: spawn(command) };
        connect.wait().await;
        connect
    }

    async fn wait(&mut self) {
        let answers = async {
            // At first nobody listens, then there is no such page.
            while !matches!(self.client.get(format!("{}/connectors", self.base)).send().await, Ok(answer) if answer.status().is_success()) {
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("Kafka Connect ended with {status}: {}", self.log());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(super::PATIENCE, answers).await.expect("Kafka Connect does not answer");
    }

    /// The end of what it wrote.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.directory.path().join("connect.log")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(16_000)..]).into_owned()
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        let answer = request.send().await.unwrap_or_else(|error| panic!("Kafka Connect is gone: {error}: {}", self.log()));
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn told(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.send(method, path, body).await;
        assert!(status.is_success(), "{path}: {status}: {answer}: {}", self.log());
        answer
    }

    /// Starts a Debezium connector on tables of the database; its topics are `NAME.SCHEMA.TABLE`. Returns when it runs.
    pub async fn capture(&self, name: &str, postgres: &Postgres, tables: &str, settings: &[(&str, &str)]) {
        let mut config: Value = serde_json::from_str(include_str!("../debezium/connector.json")).unwrap();
        let slot = name.replace('-', "_");
        let own = [
            ("database.port", &*postgres.port.to_string()),
            ("topic.prefix", name),
            ("slot.name", &slot),
            ("publication.name", &slot),
            ("table.include.list", tables),
        ];
        for (key, value) in own.iter().chain(settings) {
            config[key] = json!(value);
        }
        self.told(Method::POST, "/connectors", Some(json!({"name": name, "config": config}))).await;
        self.until(name, "RUNNING").await;
    }

    /// Until connector and task are in this state.
    async fn until(&self, name: &str, state: &str) {
        let reached = async {
            loop {
                let (_, status) = self.send(Method::GET, &format!("/connectors/{name}/status"), None).await;
                let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
                if let Some(failed) = tasks.iter().find(|task| task["state"] == "FAILED") {
                    panic!("the connector {name} failed: {failed}");
                }
                let as_wanted = match state {
                    "STOPPED" => tasks.is_empty(),
                    _ => !tasks.is_empty() && tasks.iter().all(|task| task["state"] == state),
                };
                if status["connector"]["state"] == state && as_wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(super::PATIENCE, reached).await.unwrap_or_else(|_| panic!("{name} is not {state}: {}", self.log()));
    }

    /// Ends a connector for good: its offsets, its slot and its publication are gone, so that the next one of its name
    /// begins with a snapshot.
    pub async fn forget(&self, name: &str, postgres: &Postgres) {
        self.told(Method::PUT, &format!("/connectors/{name}/stop"), None).await;
        self.until(name, "STOPPED").await;
        self.told(Method::DELETE, &format!("/connectors/{name}/offsets"), None).await;
        self.told(Method::DELETE, &format!("/connectors/{name}"), None).await;
        let slot = name.replace('-', "_");
        // The server ends the session of the slot a moment after its client is gone.
        let gone = async {
            let active = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active");
            while postgres.sql(&active).trim() != "0" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(super::PATIENCE, gone).await.expect("the slot stays in use");
        postgres.sql(&format!("SELECT pg_drop_replication_slot('{slot}'); DROP PUBLICATION IF EXISTS {slot};"));
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
