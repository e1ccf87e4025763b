//! `tidegate demo` as a newcomer runs it, and its page in a real browser.
//!
//! Needs `node` with `npm` and Chromium; `tests/browser/setup` installs what is missing. Screenshots are left below
//! the target folder, for people to look at.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(180);

/// A running demo; it is killed if the test fails.
struct Demo {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    origin: String,
    data: PathBuf,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (mut origin, mut data) = (None, None);
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 && !line.contains("Ctrl-C") {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Open"), Some(url)) => origin = url.strip_suffix("/_tidegate/").map(str::to_owned),
                (Some("Data"), Some(folder)) => data = Some(PathBuf::from(folder)),
                _ => {}
            }
            line.clear();
        }
        Demo { child, output, origin: origin.expect("the page's address"), data: data.expect("where the data is") }
    }

    async fn count(&self, bucket: &str) -> u64 {
        let answer = reqwest::get(format!("{}/v1/db/{bucket}/count?q=%7B%7D", self.origin)).await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        answer["count"].as_u64().unwrap()
    }

    /// As ctrl-c does it. The exit code.
    fn interrupt(mut self) -> Option<i32> {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        // Ends with the process, or with the test's own time.
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {}
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_house_is_full_lively_and_leaves_nothing_behind() {
    let demo = Demo::start(&["--lots", "300", "--rate", "100", "--seed", "5"]);
    assert!(demo.data.is_dir());
    let (lots, bidders) = (demo.count("Lot").await, demo.count("Bidder").await);
    assert!((290..=330).contains(&lots), "{lots} lots");
    assert!(bidders >= 20, "{bidders} bidders");
    let until = Instant::now() + PATIENCE;
    while demo.count("Bid").await < 20 {
        assert!(Instant::now() < until, "nobody bids");
    }
    let page = reqwest::get(format!("{}/_tidegate/", demo.origin)).await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let (data, folder) = (demo.data.clone(), demo.data.parent().unwrap().to_owned());
    assert_eq!(demo.interrupt(), Some(0));
    assert!(!data.exists() && !folder.exists(), "the temporary directory is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_in_a_browser() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    assert!(Command::new(tests.join("setup")).status().unwrap().success(), "tests/browser/setup failed");
    let demo = Demo::start(&["--lots", "1000", "--rate", "100"]);
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    let visit = Command::new("node").arg(tests.join("page.mjs")).arg(&demo.origin).arg(&screenshots).output().unwrap();
    let told = String::from_utf8_lossy(&visit.stdout);
    println!("{told}screenshots in {}", screenshots.display());
    assert!(visit.status.success(), "{told}{}", String::from_utf8_lossy(&visit.stderr));
    assert_eq!(demo.interrupt(), Some(0));
}
