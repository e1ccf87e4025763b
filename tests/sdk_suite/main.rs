//! The SDK's own suite as the judge: npm `baqend` ships its specs, and they run here, unmodified, against the real binary.
//!
//! One server process with an empty data directory for each version of the SDK and each scheme, one mocha process for each spec
//! file, one after the other. What each file reaches stands in `recorded.toml`; a file that falls below it fails the test.
//!
//! All of them, as in CI: `cargo test --test sdk_suite`. While working on the server:
//!
//! ```text
//! TIDEGATE_SUITE=3.4.1:user cargo test --test sdk_suite             # one file of one version, over http
//! TIDEGATE_SUITE=3.1.4:user,acl:https cargo test --test sdk_suite   # several, over https
//! TIDEGATE_SUITE=3.4.1 cargo test --test sdk_suite                  # all files of a version
//! TIDEGATE_SUITE_GREP='should login'                                # beside it: only tests with such a title
//! TIDEGATE_SUITE_SERVER=http://127.0.0.1:8080/v1                    # beside it: a running server, root's password is root
//! ```
//!
//! The titles and messages of failing tests, and what stands in the table, go to stderr whether the test passes or not.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod certificate;
mod choice;
mod mocha;
mod package;
mod recorded;
#[path = "../support/mod.rs"]
mod support;

use choice::{Choice, Scheme};
use mocha::{Outcome, Titles};
use package::Package;
use recorded::{Line, Recorded};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use support::server::{Process, serve};

/// The SDK's suites log in as `root` with this.
const PASSWORD: &str = "root";

// Libtest takes them up by their names, in order, and mostly two at a time: neighbours are of different versions.

#[test]
fn http_3_1_4() {
    suite("3.1.4", Scheme::Http);
}

#[test]
fn http_3_4_1() {
    suite("3.4.1", Scheme::Http);
}

#[test]
fn https_3_1_4() {
    suite("3.1.4", Scheme::Https);
}

#[test]
fn https_3_4_1() {
    suite("3.4.1", Scheme::Https);
}

/// Two versions side by side, but a version's schemes one after the other: the specs wait for four seconds at most.
static TURN: [(&str, Mutex<()>); 2] = [("3.4.1", Mutex::new(())), ("3.1.4", Mutex::new(()))];

fn suite(version: &str, scheme: Scheme) {
    let Some(choice) = Choice::from_environment(version, scheme) else { return };
    let turn = &TURN.iter().find(|(of, _)| *of == version).unwrap().1;
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);

    let directory = tempfile::tempdir().unwrap();
    let authority = (scheme == Scheme::Https).then(|| certificate::make(directory.path()));
    let mut started = None;
    let url = choice.server.clone().unwrap_or_else(|| {
        let mut command = serve(&directory.path().join("data"));
        command.env("TIDEGATE_ADMIN_PASSWORD", PASSWORD);
        if let Some(authority) = &authority {
            command.arg("--tls-cert").arg(&authority.certificate).arg("--tls-key").arg(&authority.key);
        }
        let process = Process::start(command);
        started.insert(process).url.clone()
    });
    let package = Package::copy(version, directory.path(), &url);
    let recorded = Recorded::read(version, scheme);

    let mut table = Vec::new();
    for file in package.files().into_iter().filter(|file| choice.wants(file)) {
        let titles = choice.grep.as_deref().map_or_else(|| Titles::Without(recorded.left_out(&file)), Titles::Matching);
        let outcome = mocha::run(&package, &file, &titles, authority.as_ref().map(|authority| &*authority.certificate));
        say(&format!("{version} {scheme}: {file}: {} passed, {} failed\n", outcome.passed, outcome.failed.len()));
        table.push(Line { recorded: recorded.of(&file), file, outcome });
    }
    let mut text = format!("\nnpm baqend {version} over {scheme}\n{}", recorded::table(&table));
    for line in &table {
        text.push_str(&failures(&line.file, &line.outcome));
    }
    say(&text);
    if choice.grep.is_some() {
        assert!(table.iter().all(|line| line.outcome.failed.is_empty()), "tests of the suite fail");
        return;
    }
    let fallen: Vec<String> = table.iter().filter_map(Line::fallen).collect();
    assert!(fallen.is_empty(), "fewer tests of npm baqend {version} pass over {scheme} than recorded:\n{}", fallen.join("\n"));
}

fn failures(file: &str, outcome: &Outcome) -> String {
    let mut text = String::new();
    for failure in &outcome.failed {
        // Of a stack, the part that is in the spec.
        let message: Vec<&str> =
            failure.message.lines().filter(|line| !line.contains("/node_modules/") && !line.contains("node:")).take(8).collect();
        text.push_str(&format!("{file}: {}\n    {}\n", failure.title, message.join("\n    ")));
    }
    if let Some(trouble) = &outcome.trouble {
        text.push_str(&format!("{file}: {trouble}\n"));
    }
    text
}

/// To the real stderr: libtest would keep what is printed until a test fails.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
