//! What subscriptions cost that only stand there, and how fast many come at once.
//!
//! Idle: 10 000 distinct queries on 1 000 websockets. Measures the server's resident memory before, with, and after they have
//! left; again with all of them a second time, which shows whether memory comes back; and the processor time over some
//! idle seconds. Baselines: the same websockets without subscriptions, and the server with nothing connected.
//!
//! Storm: the same 10 000 subscriptions, asked for at once on open connections; the time until all have their initial result, p50
//! and p99 of one. Baseline in turns: as many texts of the same size through a bare echo over the same websocket stack.
//!
//! Data: 1 000 objects of about 400 bytes, of which each query's result has at most one. The server is a process of its own.
//!
//! Run: `cargo bench --bench idle_and_storm` (`-- --brief` ends within seconds).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, StreamExt};
use std::time::{Duration, Instant};
use support::child::{self, Server};
use support::tidegate::Tidegate;
use support::{Table, count, median};
use tidegate::bench::echo::Echo;
use tidegate::bench::http::Base;
use tidegate::bench::latency::Latencies;
use tidegate::bench::load::{Load, LoadOptions};
use tidegate::bench::subscriber::{Heard, Subscriber};
use tidegate::bench::table::micros;
use tidegate::bench::workload::Workload;
use tidegate::config::Durability;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const BUCKET: &str = "Lots";
/// Connections that are opened at a time.
const OPENING: usize = 64;

fn main() {
    match child::role().as_deref() {
        Some(support::tidegate::ROLE) => return support::tidegate::serve(),
        Some(_) => return serve_echo(),
        None => {}
    }
    let arguments = support::arguments();
    let (connections, subscriptions) = arguments.choose((1_000, 10_000), (50, 500));
    support::open_files(connections as u64 + 500);
    support::runtime().block_on(async {
        let tidegate = Tidegate::start(Durability::System);
        let workload = Workload { queries: subscriptions, objects: arguments.choose(1_000, 100) };
        let (base, token) = (tidegate.base.clone(), Some(tidegate.token().await));
        let options = LoadOptions { base, token, bucket: BUCKET.to_owned(), workload, writers: 4 };
        let _objects = Load::prepare(options).await.expect("the objects");
        let (settle, idle_for) = arguments.choose((12_000, 10_000), (300, 500));
        let quiet = Quiet { settle: Duration::from_millis(settle), idle: Duration::from_millis(idle_for) };
        idle(&tidegate, workload, connections, quiet).await;
        storm(&tidegate, workload, connections, arguments.choose(3, 1)).await;
    });
}

async fn idle(tidegate: &Tidegate, workload: Workload, connections: usize, quiet: Quiet) {
    let mut table = Table::new(["", "resident", "each", "idle CPU"]);
    let megabytes = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    let each = |bytes: f64, count: usize| format!("{:.0} bytes", bytes / count as f64);
    let percent = |cpu: f64| format!("{:.2} %", cpu * 100.0);
    let before = settled(tidegate, quiet).await;
    table.row(["nothing connected".to_owned(), megabytes(before), String::new(), percent(idle_cpu(tidegate, quiet).await)]);

    let bare = open(&tidegate.base, connections).await;
    let with_bare = settled(tidegate, quiet).await;
    let cpu = idle_cpu(tidegate, quiet).await;
    table.row([format!("{connections} websockets alone"), megabytes(with_bare), each(with_bare - before, connections), percent(cpu)]);
    close(bare).await;

    let mut after: Vec<f64> = Vec::new();
    let most = |first: f64| first * 1.25 + 8e6;
    for round in ["", ", again"] {
        let (subscribers, ..) = storm_once(tidegate, workload, connections).await;
        let with = settled(tidegate, quiet).await;
        let cpu = idle_cpu(tidegate, quiet).await;
        let name = format!("{} subscriptions on {connections} websockets{round}", workload.queries);
        table.row([name, megabytes(with), each(with - with_bare, workload.queries), percent(cpu)]);
        assert!(cpu < 0.2, "idle subscriptions took {} of a core", percent(cpu));
        close(subscribers).await;
        let mut gone = settled(tidegate, quiet).await;
        // The allocator gives back in its own time.
        let limit = Instant::now() + Duration::from_secs(60);
        while after.first().is_some_and(|first| gone >= most(*first)) && Instant::now() < limit {
            gone = settled(tidegate, quiet).await;
        }
        table.row([format!("after they left{round}"), megabytes(gone)]);
        after.push(gone);
    }
    println!("{table}");
    // What is left is what the store and the allocator keep; a second round must not add to it.
    assert!(after[1] < most(after[0]), "memory does not come back: {}, then {}", megabytes(after[0]), megabytes(after[1]));
}

async fn storm(tidegate: &Tidegate, workload: Workload, connections: usize, turns: usize) {
    let echo_server = Server::of_role("echo", &[]);
    let (mut totals, mut echo_totals) = (Vec::new(), Vec::new());
    let (mut latencies, mut echo_latencies, mut cpu) = (Latencies::default(), Latencies::default(), Vec::new());
    for _ in 0..turns {
        let used = tidegate.server.cpu();
        let (subscribers, total, of_each) = storm_once(tidegate, workload, connections).await;
        cpu.push((tidegate.server.cpu() - used) * 1e6 / workload.queries as f64);
        totals.push(total.as_secs_f64() * 1e6);
        latencies.add(&of_each);
        close(subscribers).await;
        let (total, of_each) = echo_storm(&echo_server.said, workload, connections).await;
        echo_totals.push(total.as_secs_f64() * 1e6);
        echo_latencies.add(&of_each);
    }
    let (total, echo_total) = (median(totals), median(echo_totals));
    let mut table = Table::new([
        format!("storm on {connections} websockets"),
        "all".to_owned(),
        "a second".to_owned(),
        "p50".to_owned(),
        "p99".to_owned(),
    ]);
    for (name, total, of_each) in [("subscriptions", total, latencies), ("baseline: echoes", echo_total, echo_latencies)] {
        let a_second = count(workload.queries as f64 / total * 1e6);
        table.row([
            format!("{} {name}", workload.queries),
            micros(total),
            a_second,
            micros(of_each.micros(0.5)),
            micros(of_each.micros(0.99)),
        ]);
    }
    table.row(["ratio".to_owned(), format!("{:.1}", total / echo_total)]);
    println!("{table}\nserver's processor time for each subscription: {}", micros(median(cpu)));
}

/// Opens the connections, then asks for everything at once.
async fn storm_once(tidegate: &Tidegate, workload: Workload, connections: usize) -> (Vec<Subscriber>, Duration, Latencies) {
    let open = open(&tidegate.base, connections).await;
    let from = Instant::now();
    let asking = open.into_iter().enumerate().map(|(place, mut subscriber)| async move {
        let own: Vec<usize> = (place..workload.queries).step_by(connections).collect();
        for &key in &own {
            subscriber.subscribe(key, BUCKET, &workload.query(key)).await.expect("asked");
        }
        subscriber.flush().await.expect("asked");
        let mut came = Vec::with_capacity(own.len());
        while came.len() < own.len() {
            match subscriber.hear().await.expect("a result") {
                (Heard::Result { objects, .. }, at) => {
                    assert!(objects <= 1, "a query fits one key");
                    came.push(at);
                }
                (Heard::Event { .. }, _) => panic!("nobody writes"),
            }
        }
        (subscriber, came)
    });
    let all = tokio::time::timeout(Duration::from_secs(120), join_all(asking)).await.expect("all have their result in two minutes");
    let (mut latencies, mut subscribers, mut last) = (Latencies::default(), Vec::new(), from);
    for (subscriber, came) in all {
        for at in came {
            latencies.record(at - from);
            last = last.max(at);
        }
        subscribers.push(subscriber);
    }
    assert_eq!(latencies.len(), workload.queries as u64);
    (subscribers, last - from, latencies)
}

async fn echo_storm(authority: &str, workload: Workload, connections: usize) -> (Duration, Latencies) {
    type Socket = WebSocketStream<TcpStream>;
    let mut sockets: Vec<Socket> = Vec::with_capacity(connections);
    for group in (0..connections).collect::<Vec<_>>().chunks(OPENING) {
        let opening = group.iter().map(|_| async {
            let stream = TcpStream::connect(authority).await.expect("the echo listens");
            stream.set_nodelay(true).expect("a socket");
            tokio_tungstenite::client_async(format!("ws://{authority}/echo"), stream).await.expect("a websocket").0
        });
        sockets.extend(join_all(opening).await);
    }
    let from = Instant::now();
    let text = "x".repeat(300);
    let asking = sockets.into_iter().enumerate().map(|(place, mut socket)| {
        let text = &text;
        async move {
            let own = (place..workload.queries).step_by(connections).count();
            for _ in 0..own {
                socket.feed(Message::text(text.as_str())).await.expect("sent");
            }
            socket.flush().await.expect("sent");
            let mut came = Vec::with_capacity(own);
            while came.len() < own {
                socket.next().await.expect("an echo").expect("an echo");
                came.push(Instant::now());
            }
            (socket, came)
        }
    });
    let all = join_all(asking).await;
    let (mut latencies, mut last) = (Latencies::default(), from);
    for at in all.iter().flat_map(|(_, came)| came) {
        latencies.record(*at - from);
        last = last.max(*at);
    }
    (last - from, latencies)
}

async fn open(base: &Base, connections: usize) -> Vec<Subscriber> {
    let mut subscribers = Vec::with_capacity(connections);
    while subscribers.len() < connections {
        let opening = (0..OPENING.min(connections - subscribers.len())).map(|_| Subscriber::connect(base));
        subscribers.extend(try_join_all(opening).await.expect("connections"));
    }
    subscribers
}

async fn close(subscribers: Vec<Subscriber>) {
    join_all(subscribers.into_iter().map(Subscriber::close)).await;
}

/// How long is watched.
#[derive(Clone, Copy)]
struct Quiet {
    /// Until memory counts as settled
    settle: Duration,
    /// For the processor time
    idle: Duration,
}

/// The server's memory when it has not changed for a while. The allocator gives free pages back within ten
/// seconds, so a full run watches longer than that.
async fn settled(tidegate: &Tidegate, quiet: Quiet) -> f64 {
    let (mut last, mut since, limit) = (tidegate.server.resident(), Instant::now(), Instant::now() + quiet.settle * 3);
    while since.elapsed() < quiet.settle && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = tidegate.server.resident();
        if (now - last).abs() > 500e3 {
            (last, since) = (now, Instant::now());
        }
    }
    tidegate.server.resident()
}

/// Share of one core that the server takes while nothing happens: the least of three times, as what it still had to do is not that.
async fn idle_cpu(tidegate: &Tidegate, quiet: Quiet) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let (from, used) = (Instant::now(), tidegate.server.cpu());
        tokio::time::sleep(quiet.idle / 3).await;
        least = least.min((tidegate.server.cpu() - used) / from.elapsed().as_secs_f64());
    }
    least
}

fn serve_echo() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let echo = runtime.block_on(Echo::start()).expect("an echo");
    child::ready(echo.authority());
    child::until_the_end();
}
