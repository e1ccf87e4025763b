//! Fan-out: one change to 1 000 and 10 000 websocket subscribers of one query.
//!
//! Measures deliveries a second and the server's processor time for each, light (a change now and then, all delivered before
//! the next) and flat out (four changes under way). Baselines in turns in the same run: a bare loop that writes the same bytes
//! to the same kind of sockets, which is the floor; with `--uwebsockets` also a uWebSockets server (npm `bun`, pinned, which the
//! bench installs into a temporary directory), which publishes the same text to one topic. Every server runs in
//! a process of its own; the clients are the same for all and only count frames.
//!
//! Data: one object of 12 fields; the event is about 600 bytes.
//!
//! Run: `cargo bench --bench fan_out` (`-- --uwebsockets` compares with Bun, `-- --brief` ends within seconds).
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "fan_out/bare_loop.rs"]
mod bare_loop;
#[path = "fan_out/publisher.rs"]
mod publisher;
mod support;

use publisher::Publisher;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use support::readers::{Tally, count_frames};
use support::{Table, child, count, median};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What one turn with one server came to.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    /// Microseconds of the server's processor time for each delivery
    cpu: f64,
    /// The same at light load
    light_cpu: f64,
    /// Microseconds from the write to the last delivery, at light load
    light_last: f64,
}

fn main() {
    match child::role().as_deref() {
        Some(support::tidegate::ROLE) => return support::tidegate::serve(),
        Some(_) => return bare_loop::serve(),
        None => {}
    }
    let arguments = support::arguments();
    let subscribers: &[usize] = arguments.choose(&[1_000, 10_000], &[100]);
    let (turns, lasting) = (arguments.choose(3, 1), arguments.choose(Duration::from_secs(4), Duration::from_millis(300)));
    support::open_files(subscribers.iter().max().map_or(0, |most| *most as u64 + 500));
    let mut table = Table::new([
        "",
        "deliveries/s",
        "CPU a delivery",
        "to the bare loop",
        "light: CPU a delivery",
        "to the bare loop",
        "light: write to last",
    ]);
    for &subscribers in subscribers {
        support::runtime().block_on(tokio::task::LocalSet::new().run_until(async {
            let mut publishers = vec![Publisher::bare_loop(), Publisher::tidegate().await];
            let text = publishers[1].sample().await;
            if arguments.has("--uwebsockets") {
                publishers.push(Publisher::uwebsockets());
            }
            let mut measured: Vec<Vec<Figures>> = vec![Vec::new(); publishers.len()];
            for turn in 0..turns {
                for (publisher, figures) in publishers.iter_mut().zip(&mut measured) {
                    eprintln!("turn {} of {turns}: {subscribers} subscribers of {}", turn + 1, publisher.name());
                    figures.push(measure(publisher, &text, subscribers, lasting).await);
                }
            }
            let of = |place: usize, figure: fn(&Figures) -> f64| median(measured[place].iter().map(figure).collect());
            for (place, publisher) in publishers.iter().enumerate() {
                let (cpu, light) = (of(place, |figures| figures.cpu), of(place, |figures| figures.light_cpu));
                table.row([
                    format!("{} to {subscribers}", publisher.name()),
                    count(of(place, |figures| figures.rate)),
                    format!("{cpu:.2} us"),
                    format!("{:.2}", cpu / of(0, |figures| figures.cpu)),
                    format!("{light:.2} us"),
                    format!("{:.2}", light / of(0, |figures| figures.light_cpu)),
                    tidegate::bench::table::micros(of(place, |figures| figures.light_last)),
                ]);
            }
        }));
    }
    println!("{table}");
}

async fn measure(publisher: &mut Publisher, text: &str, subscribers: usize, lasting: Duration) -> Figures {
    let tally: Arc<Tally> = Arc::default();
    let sockets: Vec<TcpStream> = publisher.connect(subscribers).await;
    let readers: Vec<JoinHandle<()>> =
        sockets.into_iter().map(|socket| tokio::task::spawn_local(count_frames(socket, tally.clone()))).collect();
    let each = subscribers as u64;

    // Warm, and a check that every publication reaches everybody once.
    let mut sent = 0;
    for _ in 0..3 {
        publisher.publish(text).await;
        sent += 1;
        tally.wait_for(sent * each).await;
    }
    assert_eq!(tally.frames.load(Relaxed), sent * each, "each subscriber gets each event once");
    let length = tally.bytes.load(Relaxed) as f64 / (sent * each) as f64;
    assert!((length / text.len() as f64 - 1.0).abs() < 0.1, "events of {length} bytes, where the text has {}", text.len());

    // Light: about 20 000 deliveries a second, each change delivered before the next.
    let pause = Duration::from_secs_f64(each as f64 / 20_000.0);
    let (from, cpu, first, mut last) = (Instant::now(), publisher.cpu(), sent, Vec::new());
    while from.elapsed() < lasting {
        let begun = Instant::now();
        publisher.publish(text).await;
        sent += 1;
        tally.wait_for(sent * each).await;
        last.push(begun.elapsed().as_secs_f64() * 1e6);
        tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
    }
    let light_cpu = (publisher.cpu() - cpu) * 1e6 / ((sent - first) * each) as f64;

    // Flat out: four under way.
    let (from, cpu, first) = (Instant::now(), publisher.cpu(), sent);
    while from.elapsed() < lasting {
        publisher.publish(text).await;
        sent += 1;
        tally.wait_for(sent.saturating_sub(3) * each).await;
    }
    tally.wait_for(sent * each).await;
    let deliveries = ((sent - first) * each) as f64;
    let (rate, cpu) = (deliveries / from.elapsed().as_secs_f64(), (publisher.cpu() - cpu) * 1e6 / deliveries);
    assert_eq!(tally.frames.load(Relaxed), sent * each, "nothing comes twice");
    readers.iter().for_each(JoinHandle::abort);
    for reader in readers {
        let _ = reader.await;
    }
    publisher.disconnected().await;
    Figures { rate, cpu, light_cpu, light_last: median(last) }
}
