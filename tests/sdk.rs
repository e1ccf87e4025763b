//! npm `baqend` 3.4.1, unmodified, against the real binary: `tests/sdk/app.js` is an app as its users write them.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use support::server::{PASSWORD, Process, serve};
use support::{PATIENCE, npm};

/// Ended with the test, whatever becomes of it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_app_on_the_unmodified_sdk_works() {
    let folder = npm::install("sdk");
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(serve(&directory.path().join("data")));
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/app.js");
    let mut child = Ended(
        Command::new("node")
            .arg(app)
            .env("NODE_PATH", folder.join("node_modules"))
            .env("SERVER", &process.url)
            .env("PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node is not installed"),
    );
    let mut pipes: Vec<Box<dyn std::io::Read + Send>> =
        vec![Box::new(child.0.stdout.take().unwrap()), Box::new(child.0.stderr.take().unwrap())];
    let (send, said) = mpsc::channel();
    for mut pipe in pipes.drain(..) {
        let send = send.clone();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            let _ = send.send(text);
        });
    }
    let output = said.recv_timeout(PATIENCE).expect("the app does not end") + &said.recv_timeout(PATIENCE).expect("the app does not end");
    let status = child.0.wait().unwrap();
    println!("{output}");
    assert!(status.success(), "{output}");
    // Every step says its name: a script that ended early is not one that passed.
    let steps = output.lines().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(steps, 12, "{output}");
}
