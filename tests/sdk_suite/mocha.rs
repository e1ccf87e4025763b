//! One spec file, one process.

use super::package::Package;
use serde::Deserialize;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For the tests that name no limit of their own. None waits for it, and a machine that does nothing for a few seconds among two
/// thousand tests is no fault of the server.
const TEST_TIMEOUT_MS: &str = "30000";

/// The longest file waits in most of its two hundred tests for events that must not come.
const FILE_TIMEOUT: Duration = Duration::from_secs(1800);

/// What became of a file's tests.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Titles; some are there more than once
    pub passed: Vec<String>,
    pub pending: usize,
    pub failed: Vec<Failure>,
    /// What kept mocha from coming to its end
    pub trouble: Option<String>,
    pub took: Duration,
    /// Milliseconds, of a test that passed: how near the suite is to its time limits
    pub slowest: u64,
}

impl Outcome {
    /// Of a file that ran again: what passed in either run has passed, what failed in both has failed. The titles that fell only
    /// once come beside it.
    pub fn or(mut self, again: Outcome) -> (Outcome, Vec<String>) {
        let mut missing = again.passed;
        for title in &self.passed {
            if let Some(place) = missing.iter().position(|one| one == title) {
                missing.swap_remove(place);
            }
        }
        self.passed.extend(missing);
        let fails_again = |failure: &Failure| again.failed.iter().any(|one| one.title == failure.title);
        let (failed, once) = self.failed.into_iter().partition(fails_again);
        self.failed = failed;
        self.trouble = self.trouble.and(again.trouble);
        (self, once.into_iter().map(|failure: Failure| failure.title).collect())
    }
}

/// A test, or a hook with all the tests behind it.
#[derive(Debug)]
pub struct Failure {
    pub title: String,
    pub message: String,
}

/// A line of `reporter.js`.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
enum Told {
    Passed { title: String, milliseconds: Option<u64> },
    Pending,
    Failed { title: String, message: String },
    Ended,
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Which of a file's tests run.
pub enum Titles<'t> {
    /// Those that match a regular expression
    Matching(&'t str),
    /// All but those with one of these in their titles
    Without(&'t [String]),
}

/// Runs one spec file; `trusted` is a certificate in PEM.
pub fn run(package: &Package, file: &str, titles: &Titles<'_>, trusted: Option<&Path>) -> Outcome {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk_suite");
    let (report, said) = (package.folder.join(format!("{file}.report")), package.folder.join(format!("{file}.said")));
    let output = std::fs::File::create(&said).unwrap();
    let mut command = Command::new("node");
    command.current_dir(&package.folder).arg(&package.mocha);
    command.args(["--no-config", "--exit", "--timeout", TEST_TIMEOUT_MS]);
    command.arg("--require").arg(ours.join("chai-as-promised.js")).arg("--reporter").arg(ours.join("reporter.js"));
    match titles {
        Titles::Matching(pattern) => drop(command.args(["--grep", pattern])),
        Titles::Without([]) => {}
        Titles::Without(titles) => drop(command.args(["--invert", "--grep", &titles.join("|")])),
    }
    command.arg(format!("spec/{file}.spec.js"));
    // Nothing of the environment may lead the SDK around the server.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("SUITE_REPORT", &report);
    if let Some(trusted) = trusted {
        command.env("NODE_EXTRA_CA_CERTS", trusted);
    }
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let began = Instant::now();
    let mut child = Ended(command.spawn().expect("node is not installed"));
    let mut trouble = None;
    while child.0.try_wait().unwrap().is_none() {
        if began.elapsed() > FILE_TIMEOUT {
            trouble = Some(format!("mocha did not end within {} s", FILE_TIMEOUT.as_secs()));
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(child);
    let mut outcome = read(&std::fs::read_to_string(&report).unwrap_or_default());
    outcome.took = began.elapsed();
    outcome.trouble = trouble.or_else(|| {
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        outcome.trouble.is_some().then(|| format!("mocha broke off:\n{}", &text[..text.floor_char_boundary(4_000)]))
    });
    outcome
}

fn read(report: &str) -> Outcome {
    let mut outcome = Outcome { trouble: Some("no end".into()), ..Outcome::default() };
    for line in report.lines() {
        match serde_json::from_str(line).unwrap_or_else(|error| panic!("a line of the report: {error}: {line}")) {
            Told::Passed { title, milliseconds } => {
                outcome.passed.push(title);
                outcome.slowest = outcome.slowest.max(milliseconds.unwrap_or_default());
            }
            Told::Pending => outcome.pending += 1,
            Told::Failed { title, message } => outcome.failed.push(Failure { title, message }),
            Told::Ended => outcome.trouble = None,
        }
    }
    outcome
}
