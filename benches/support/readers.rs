//! Many websockets that only count what comes: frame headers are looked at, payloads skipped.
//!
//! The clients of a fan-out share the machine with the server, so they are as cheap as can be and the same for
//! every server that is compared. Connecting and subscribing go through the usual client; only then is the
//! bare socket taken out.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What all readers of a run share.
#[derive(Default)]
pub struct Tally {
    /// Text frames that came whole
    pub frames: AtomicU64,
    /// Payload bytes of them
    pub bytes: AtomicU64,
    target: AtomicU64,
    reached: Notify,
    broken: AtomicU64,
}

impl Tally {
    /// Resolves when so many frames have come in all.
    pub async fn wait_for(&self, frames: u64) {
        self.target.store(frames, Relaxed);
        let reached = async {
            while self.frames.load(Relaxed) < frames {
                self.reached.notified().await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(
            came.is_ok(),
            "{} of {frames} deliveries came within a minute, {} sockets broke",
            self.frames.load(Relaxed),
            self.broken.load(Relaxed)
        );
    }

    fn came(&self, frames: u64) {
        let now = self.frames.fetch_add(frames, Relaxed) + frames;
        if now >= self.target.load(Relaxed) {
            self.reached.notify_one();
        }
    }
}

/// Reads one socket until it closes. All readers run on one thread and share its buffer.
pub async fn count_frames(mut socket: TcpStream, tally: Arc<Tally>) {
    thread_local!(static BUFFER: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; 64 << 10]));
    let mut parser = Frames::default();
    loop {
        let read = poll_fn(|context| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut into = ReadBuf::new(buffer);
                ready!(Pin::new(&mut socket).poll_read(context, &mut into))?;
                Poll::Ready(Ok::<_, io::Error>((into.filled().len(), parser.take(into.filled()))))
            })
        });
        match read.await {
            Ok((0, _)) | Err(_) => break,
            Ok((_, Whole { frames: 0, .. })) => {}
            Ok((_, whole)) => {
                tally.bytes.fetch_add(whole.bytes, Relaxed);
                tally.came(whole.frames);
            }
        }
    }
    tally.broken.fetch_add(1, Relaxed);
}

/// Where in the stream of frames a socket is: header bytes so far, payload bytes still to skip.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    missing: u64,
    /// Length of the frame that is being skipped, if it is text
    text: Option<u64>,
}

#[derive(Default)]
struct Whole {
    frames: u64,
    bytes: u64,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8]) -> Whole {
        let mut whole = Whole::default();
        while !bytes.is_empty() {
            if self.missing == 0 {
                self.header.push(bytes[0]);
                bytes = &bytes[1..];
                let Some(length) = payload_length(&self.header) else { continue };
                assert_eq!(self.header[1] & 0x80, 0, "a server's frames are not masked");
                // Continuations and pings are not counted; compressed frames are not asked for.
                self.text = (self.header[0] & 0x0f == 1).then_some(length);
                self.missing = length;
                self.header.clear();
            }
            let skipped = self.missing.min(bytes.len() as u64);
            bytes = &bytes[skipped as usize..];
            self.missing -= skipped;
            if self.missing == 0
                && let Some(length) = self.text.take()
            {
                whole.frames += 1;
                whole.bytes += length;
            }
        }
        whole
    }
}

/// The length that a header announces, once it is complete (RFC 6455, 5.2).
fn payload_length(header: &[u8]) -> Option<u64> {
    match (header.len(), header.get(1)? & 0x7f) {
        (2, length @ 0..=125) => Some(length.into()),
        (4, 126) => Some(u16::from_be_bytes([header[2], header[3]]).into()),
        (10, 127) => Some(header[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte))),
        _ => None,
    }
}
