//! The page behind `POST /connect`, in a real browser, with the SDK's own browser build on pages of other origins.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::Command;
use support::npm;
use support::ports::free_port;
use support::server::{PASSWORD, Process, serve};

#[test]
fn the_sdk_in_a_browser_connects_from_another_origin() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(Command::new(tests.join("setup")).status().unwrap().success(), "tests/browser/setup failed");
    let sdk = npm::install("sdk").join("node_modules/baqend/dist/baqend.es2015.js");
    let directory = tempfile::tempdir().unwrap();
    // Of a page: its origin must be known before the server starts.
    let port = free_port();
    let mut command = serve(&directory.path().join("data"));
    command.args(["--set", &format!("server.origins=http://127.0.0.1:{port}")]);
    let process = Process::start(command);
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bridge");
    let visit = Command::new("node")
        .arg(tests.join("bridge.mjs"))
        .args([&process.url, sdk.to_str().unwrap(), &port.to_string(), PASSWORD])
        .arg(&screenshots)
        .output()
        .expect("node is not installed");
    let told = String::from_utf8_lossy(&visit.stdout);
    println!("{told}screenshots in {}", screenshots.display());
    assert!(visit.status.success(), "{told}{}", String::from_utf8_lossy(&visit.stderr));
    assert_eq!(told.lines().filter(|line| line.starts_with("ok ")).count(), 6, "{told}");
}
