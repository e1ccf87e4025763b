//! Who does not finish a handshake: holds a place for a while, and no longer.

use super::harness::{PATIENCE, Rig, ask_1, request};
use std::time::Instant;
use tidegate::http::tls::HANDSHAKE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// All places are taken by peers that are silent, or stop in the middle: whoever comes waits at the door for no longer than
/// a handshake may take, and is served then.
#[tokio::test]
async fn silent_peers_give_their_places_back() {
    let rig = Rig::with(|config| config.server.connections = 2).await;
    let began = Instant::now();
    let mut silent = TcpStream::connect(rig.address()).await.unwrap();
    let mut half = TcpStream::connect(rig.address()).await.unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01").await.unwrap();
    // They are in before the next one comes.
    let open = rig.server.metrics().connections.clone();
    while open.load(std::sync::atomic::Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    let served = async { ask_1(rig.connect(&["http/1.1"]).await, request("GET", "/v1/status", "")).await };
    let (head, _) = tokio::time::timeout(PATIENCE, served).await.unwrap();
    assert_eq!(head.status, 200);
    assert!(began.elapsed() >= HANDSHAKE, "the cap of connections did not hold: {:?}", began.elapsed());
    for peer in [&mut silent, &mut half] {
        let mut read = Vec::new();
        // Cut, with or without a word.
        let _ = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut read)).await.unwrap();
    }
}

#[tokio::test]
async fn the_end_does_not_wait_for_handshakes() {
    let mut took = Vec::new();
    // If it waited it would do so each time; a machine that is busy is not so each time.
    for _ in 0..3 {
        let rig = Rig::start().await;
        let _silent = TcpStream::connect(rig.address()).await.unwrap();
        while rig.server.metrics().connections.load(std::sync::atomic::Ordering::Relaxed) < 1 {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        rig.server.shutdown().await.unwrap();
        took.push(began.elapsed());
        if began.elapsed() < HANDSHAKE / 2 {
            return;
        }
    }
    panic!("{took:?}");
}
