//! Whoever writes gets his answer before he gets the event about it (invariant 10), judged where no scheduler can
//! blur it: at the sockets. When the event can be read, the whole answer must already lie in the other socket.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "answers/sockets.rs"]
mod sockets;
mod support;

use sockets::{address, event, listener, request, write_and_listen};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::run;
use support::server::{PASSWORD, Process, serve};
use tokio_tungstenite::tungstenite;

#[test]
fn the_answer_is_there_when_the_event_comes() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    // However slow the machine is: no event goes because its answer took too long.
    command.args(["--set", "store.durability=system", "--set", "live.answer_limit_ms=60000"]);
    let process = Process::start(command);
    let root = run(async { process.http().login("root", PASSWORD).await });
    write_and_listen(&process.url, root.token());
    // Anonymous callers of one address are one session.
    write_and_listen(&process.url, None);
}

#[test]
fn nobody_else_waits_for_an_answer_that_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = serve(&directory.path().join("data"));
    // If somebody else waited for the writer it would be this long.
    command.args(["--set", "live.answer_grace_ms=20000", "--set", "live.answer_limit_ms=20000", "--set", "store.durability=system"]);
    let process = Process::start(command);
    let root = run(async { process.http().login("root", PASSWORD).await });
    let (mut other, mut own) = (listener(&process.url, root.token()), listener(&process.url, None));
    let mut stream = TcpStream::connect(address(&process.url)).unwrap();
    let began = Instant::now();
    for number in 0..20 {
        request(&mut stream, &process.url, None, number);
        assert_eq!(event(&mut other)["data"]["n"], number);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // The writer himself waits for the end of the grace; a ping that keeps his connection open is no event.
    own.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let early = loop {
        match own.read() {
            Ok(tungstenite::Message::Ping(_)) => {}
            other => break other,
        }
    };
    assert!(
        matches!(&early, Err(tungstenite::Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "{early:?}"
    );
}
