//! The SDK's own suite as the judge: npm `baqend` ships its specs, and they run here, unmodified, against the real binary.
//!
//! One server process with an empty data directory for each version of the SDK and each scheme, one mocha process for each spec
//! file, one after the other. What each file reaches stands in `recorded.toml`. A file that falls below it runs again, twice at
//! most, each time against a server of its own: what fails each time fails the test, what fell once is told.
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

/// How often a file that fell short runs again.
const AGAIN: usize = 2;

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

/// Two versions side by side, but a version's schemes one after the other: some specs have time limits of their own.
static TURN: [(&str, Mutex<()>); 2] = [("3.4.1", Mutex::new(())), ("3.1.4", Mutex::new(()))];

fn suite(version: &str, scheme: Scheme) {
    let Some(choice) = Choice::from_environment(version, scheme) else { return };
    let turn = &TURN.iter().find(|(of, _)| *of == version).unwrap().1;
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);

    let stage = Stage::set(version, scheme, choice.server.as_deref());
    let recorded = Recorded::read(version, scheme);

    let mut table = Vec::new();
    for file in stage.package.files().into_iter().filter(|file| choice.wants(file)) {
        let titles = choice.grep.as_deref().map_or_else(|| Titles::Without(recorded.left_out(&file)), Titles::Matching);
        let outcome = stage.run(&file, &titles);
        say(&format!("{version} {scheme}: {file}: {} passed, {} failed\n", outcome.passed.len(), outcome.failed.len()));
        let mut line = Line { recorded: recorded.of(&file), file, outcome };
        for _ in 0..AGAIN {
            // A running server is none of ours to begin anew.
            if line.fallen().is_none() || choice.grep.is_some() || choice.server.is_some() {
                break;
            }
            say(&failures(&line.file, &line.outcome));
            let again = Stage::set(version, scheme, None).run(&line.file, &titles);
            let (outcome, once) = line.outcome.or(again);
            say(&format!("{version} {scheme}: {}: {} passed by now; fell once: {once:?}\n", line.file, outcome.passed.len()));
            line.outcome = outcome;
        }
        table.push(line);
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

/// A server and a package that is pointed at it.
struct Stage {
    package: Package,
    authority: Option<certificate::Certificate>,
    /// None: one that ran already
    _server: Option<Process>,
    /// Of all of that
    _directory: tempfile::TempDir,
}

impl Stage {
    fn set(version: &str, scheme: Scheme, running: Option<&str>) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let authority = (scheme == Scheme::Https).then(|| certificate::make(directory.path()));
        let mut started = None;
        let url = running.map(str::to_owned).unwrap_or_else(|| {
            let mut command = serve(&directory.path().join("data"));
            command.env("TIDEGATE_ADMIN_PASSWORD", PASSWORD);
            if let Some(authority) = &authority {
                command.arg("--tls-cert").arg(&authority.certificate).arg("--tls-key").arg(&authority.key);
            }
            started.insert(Process::start(command)).url.clone()
        });
        let package = Package::copy(version, directory.path(), &url);
        Stage { package, authority, _server: started, _directory: directory }
    }

    fn run(&self, file: &str, titles: &Titles<'_>) -> Outcome {
        mocha::run(&self.package, file, titles, self.authority.as_ref().map(|authority| &*authority.certificate))
    }
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
