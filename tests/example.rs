//! The example app of docs/example, by the three commands of its README: the real server, the SDK as npm has it, the page from a plain
//! web server on another origin. Two browsers have it open side by side, as two people.
//!
//! Needs `node` with `npm`, `python3` and Chromium; `tests/browser/setup` installs what is missing. Screenshots are left below
//! the target folder, for people to look at.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::npm;
use support::server::{PASSWORD, Process, serve};

/// `python3 -m http.server` in a folder; ended with the test.
struct WebServer {
    child: Child,
    origin: String,
}

impl WebServer {
    fn start(folder: &Path) -> WebServer {
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is not installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, rest) = line.split_once(" port ").unwrap_or_else(|| panic!("where it listens is not in {line:?}"));
        let port: u16 = rest.split(' ').next().unwrap().parse().unwrap();
        WebServer { child, origin: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The app as its README leaves it: its files, and beside them what `npm install` brings.
fn installed(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/example");
    for file in ["index.html", "app.js", "board.css", "schema.js"] {
        std::fs::copy(source.join(file), folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    std::os::unix::fs::symlink(npm::install("sdk").join("node_modules"), folder.join("node_modules")).unwrap();
    folder.to_owned()
}

#[test]
fn two_browsers_side_by_side() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(Command::new(tests.join("setup")).status().unwrap().success(), "tests/browser/setup failed");
    let directory = tempfile::tempdir().unwrap();
    let app = installed(directory.path());

    let server = Process::start(serve(&directory.path().join("data")));
    let declared = Command::new("node").args(["schema.js", &server.url]).current_dir(&app).env("ROOT_PASSWORD", PASSWORD).output().unwrap();
    assert!(declared.status.success(), "{}", String::from_utf8_lossy(&declared.stderr));
    let page = WebServer::start(&app);

    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("example");
    let visit = Command::new("node").arg(tests.join("example.mjs")).args([&page.origin, &server.url]).arg(&screenshots).output().unwrap();
    let told = String::from_utf8_lossy(&visit.stdout);
    println!("{told}screenshots in {}", screenshots.display());
    assert!(visit.status.success(), "{told}{}", String::from_utf8_lossy(&visit.stderr));
}

/// A data directory holds keys and hashes of passwords, and the third command publishes the folder that it is run in.
#[test]
fn the_data_is_not_in_the_folder_that_is_published() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/example/README.md")).unwrap();
    let (_, after) = readme.split_once("tidegate serve --data ").expect("the server's command");
    let data = after.split_whitespace().next().unwrap();
    assert!(data.starts_with("~/") || data.starts_with('/'), "{data}");
}

/// The versions that the README's reader installs are those that are tested.
#[test]
fn it_is_pinned_to_what_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = |folder: &str| -> serde_json::Value {
        let lock = std::fs::read_to_string(root.join(folder).join("package-lock.json")).unwrap();
        let mut packages = serde_json::from_str::<serde_json::Value>(&lock).unwrap()["packages"].take();
        packages[""]["name"].take();
        packages
    };
    assert_eq!(packages("docs/example"), packages("tests/sdk"));
}
