//! Unsubscribe and disconnect give memory back.
//!
//! One test in a process of its own, whose allocator counts.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, dead_code)]

#[path = "gateway/harness.rs"]
mod harness;

use harness::Server;
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as isize - layout.size() as isize, Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CONNECTIONS: usize = 30;
const SUBSCRIPTIONS: usize = 50;

/// Connects, subscribes with queries of their own, has events, and (half of them) unsubscribes before the end.
async fn round(server: &Server, round: usize) {
    let mut clients = Vec::new();
    for connection in 0..CONNECTIONS {
        let mut client = server.client().await;
        for subscription in 0..SUBSCRIPTIONS {
            let query = json!({"n": subscription, "of": {"$in": [connection, 1000]}, "round": round});
            client.subscribe(&format!("{subscription}"), query, json!({})).await;
        }
        clients.push(client);
    }
    for client in &mut clients {
        for _ in 0..SUBSCRIPTIONS {
            client.expect("result").await;
        }
    }
    server.put("1", json!({"n": 1, "of": 1000, "round": round})).await;
    for client in &mut clients {
        client.expect("match").await;
    }
    let statistics = server.gateway.statistics();
    assert_eq!(statistics.standing_queries as usize, CONNECTIONS * SUBSCRIPTIONS);
    for client in clients.iter_mut().take(CONNECTIONS / 2) {
        for subscription in 0..SUBSCRIPTIONS {
            client.say(json!({"id": format!("{subscription}"), "type": "unsubscribe"})).await;
        }
    }
    let left = (CONNECTIONS - CONNECTIONS / 2) * SUBSCRIPTIONS;
    server.until("half unsubscribed", |now| now.subscriptions as usize == left && now.standing_queries as usize == left).await;
    drop(clients);
    server.until("nothing stays", |now| (now.connections, now.subscriptions, now.standing_queries) == (0, 0, 0)).await;
}

/// The least that is in use within a while: what tasks are still letting go of is not counted.
async fn settled() -> isize {
    let mut least = isize::MAX;
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        least = least.min(LIVE.load(Relaxed));
    }
    least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_returns() {
    let server = Server::start_with(|config| {
        // What the log keeps in memory is not the gateway's.
        config.changelog.recent_bytes = 16 << 10;
    })
    .await;
    // Once for the buffers and tables that stay.
    round(&server, 0).await;
    round(&server, 1).await;
    // A table or a buffer that has to grow once more grows in one of these, what is not given back in all of them.
    let mut least = isize::MAX;
    for turn in 0..3 {
        let before = settled().await;
        for n in 0..3 {
            round(&server, 2 + 3 * turn + n).await;
        }
        least = least.min(settled().await - before);
    }
    // 60 bytes of each subscription would be 270 KB.
    assert!(least < 200_000, "{least} bytes more after {} subscriptions", 3 * CONNECTIONS * SUBSCRIPTIONS);
}
