//! Writers to a server, and what they were told.

use crate::support::PATIENCE;
use crate::support::http::Http;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub const BUCKET: &str = "Relay";
const WRITERS: usize = 6;
const KEYS: u64 = 40;

/// What a writer was told is true.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub commit: u64,
    pub id: String,
    /// None for a delete
    pub value: Option<u64>,
}

/// Writers that go on until they are stopped or get no answer.
pub struct Load {
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<Vec<Acknowledged>>>,
}

impl Load {
    /// As fast as answers come.
    pub fn start(http: &Http, by: &'static str) -> Load {
        Load::paced(http, by, Duration::ZERO)
    }

    /// Each writer rests so long between two writes: where brokers start meanwhile, what waits for them has a size of its own.
    pub fn paced(http: &Http, by: &'static str, rest: Duration) -> Load {
        let (next, stop) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let writers = (0..WRITERS).map(|_| tokio::spawn(write(http.clone(), by, rest, next.clone(), stop.clone()))).collect();
        Load { next, stop, writers }
    }

    /// Until so many more writes have begun.
    pub async fn on(&self, more: u64) {
        let until = self.next.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + PATIENCE;
        while self.next.load(Ordering::Relaxed) < until {
            assert!(Instant::now() < deadline, "the writers do not go on");
            // There is no event for it, and who spins here takes the processor from those that are awaited.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn end(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        all
    }
}

async fn write(http: Http, by: &'static str, rest: Duration, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let value = next.fetch_add(1, Ordering::Relaxed);
        let path = format!("/db/{BUCKET}/{}", value % KEYS);
        let delete = value % 11 == 5;
        let request = if delete {
            http.request(Method::DELETE, &path)
        } else {
            let body = json!({"id": path, "value": value, "by": by, "text": "x".repeat(value as usize % 700)}).to_string();
            http.request(Method::PUT, &path).header("content-type", "application/json").body(body)
        };
        let Ok(answer) = http.try_send(request).await else { break };
        match answer.status {
            200 => all.push(Acknowledged { commit: answer.position().unwrap(), id: path, value: Some(value) }),
            // A delete of what is not there leaves no record, and which one it was is not told.
            204 => {}
            _ => break,
        }
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
    }
    all
}
