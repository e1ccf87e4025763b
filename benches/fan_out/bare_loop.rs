//! The baseline: after the handshake nothing but a loop that writes the same bytes to every socket.

use super::support::child;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// In the child: takes websockets at one port; each line that comes over the other is written to all of them.
pub(crate) fn serve() {
    super::support::open_files(20_000);
    let (sockets, control) = (TcpListener::bind("127.0.0.1:0").expect("a port"), TcpListener::bind("127.0.0.1:0").expect("a port"));
    child::ready(&format!("{} {}", sockets.local_addr().expect("bound"), control.local_addr().expect("bound")));
    let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let taken = open.clone();
    std::thread::spawn(move || {
        for stream in sockets.incoming().flatten() {
            stream.set_nodelay(true).expect("a socket");
            if let Ok(socket) = tokio_tungstenite::tungstenite::accept(stream) {
                taken.lock().expect("no panic").push(socket.into_inner());
            }
        }
    });
    std::thread::spawn(move || {
        for mut stream in control.incoming().flatten() {
            stream.set_nodelay(true).expect("a socket");
            let mut lines = BufReader::new(stream.try_clone().expect("a socket"));
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                match line.trim_end() {
                    // How many there are, and none from now on: between two measurements.
                    "count" => writeln!(stream, "{}", open.lock().expect("no panic").len()).expect("the bench listens"),
                    "drop" => open.lock().expect("no panic").clear(),
                    text => {
                        let frame = frame(text);
                        open.lock().expect("no panic").iter_mut().for_each(|socket| drop(socket.write_all(&frame)));
                    }
                }
                line.clear();
            }
            let _ = stream.read(&mut [0]);
        }
    });
    child::until_the_end();
}

/// A text frame as a server writes it (RFC 6455, 5.2).
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..=125 => frame.push(short as u8),
        middle @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}
