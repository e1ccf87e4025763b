//! A client that does nothing wrong, and writes down how long its events take.

use crate::support::http::Http;
use crate::support::server::{PASSWORD, Process};
use crate::support::socket::{Socket, Subscription, Terms, Told};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A writer and, in another session (so that nothing waits for the writer's answer), a subscriber.
pub struct Witness {
    bucket: String,
    writer: Http,
    live: Subscription,
    written: AtomicUsize,
}

/// From the answer to the event.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

impl Latency {
    /// Far above what it takes, far below what somebody would notice as an outage.
    pub fn is_sane(&self) -> bool {
        self.p50 < Duration::from_millis(200) && self.p99 < Duration::from_millis(500)
    }
}

impl Witness {
    pub async fn new(process: &Process, bucket: &str) -> Witness {
        let root = process.http().login("root", PASSWORD).await;
        let socket = Socket::connect(&process.url).await;
        let live = socket.subscribe(bucket, "{}", &Terms::of(root.token()));
        assert!(matches!(live.answered().await[0], Told::Result { .. }));
        Witness { bucket: bucket.to_owned(), writer: process.http(), live, written: AtomicUsize::new(0) }
    }

    /// Writes, hears of it, and writes again. Every event comes, and comes once. The latency is that of the best third: who is
    /// harmed is so all the time, what else runs on the machine is not.
    pub async fn writes(&self, count: usize, bytes: usize) -> Latency {
        let mut times = Vec::new();
        for _ in 0..count {
            let number = self.written.fetch_add(1, Ordering::Relaxed);
            let body = json!({"n": number, "fill": "x".repeat(bytes)}).to_string();
            let known = self.live.count();
            let answer = self.writer.put(&self.bucket, &format!("w{}", number % 50), body, None).await;
            let answered = Instant::now();
            assert!(answer.status == 200, "{answer:?}");
            self.live.wait("the event of its own write", |told| told.len() > known).await;
            times.push(answered.elapsed());
            let position = answer.position();
            let last = self.live.last().unwrap();
            assert!(matches!(last, Told::Event { .. }) && last.position() == position, "{last:?}");
        }
        let window = |times: &mut [Duration]| {
            times.sort();
            Latency { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
        };
        times.chunks_mut(count.div_ceil(3)).map(window).min_by_key(|latency| latency.p99).unwrap()
    }

    /// One more object; its commit.
    pub async fn write(&self, body: &str) -> u64 {
        let known = self.live.count();
        let answer = self.writer.insert(&self.bucket, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        self.live.wait("the event of its own write", |told| told.len() > known).await;
        answer.position().unwrap()
    }
}
