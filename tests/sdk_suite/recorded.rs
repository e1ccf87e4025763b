//! What each file reached before, and what it reaches now.

use super::choice::Scheme;
use super::mocha::Outcome;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

/// The counts of one version over one scheme.
pub struct Recorded {
    passed: HashMap<String, usize>,
    left_out: HashMap<String, Vec<String>>,
}

/// `recorded.toml`
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Notes {
    left_out: HashMap<String, Vec<String>>,
    #[serde(flatten)]
    versions: HashMap<String, HashMap<String, Count>>,
}

/// Tests that pass: the same over both schemes, if it is one number.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Count {
    Both(usize),
    Each { http: usize, https: usize },
}

impl Recorded {
    pub fn read(version: &str, scheme: Scheme) -> Recorded {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk_suite/recorded.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let Notes { left_out, mut versions } = toml::from_str(&text).unwrap();
        let counts = versions.remove(version).unwrap_or_else(|| panic!("nothing is recorded of {version}"));
        let passed = counts.into_iter().map(|(file, count)| match (count, scheme) {
            (Count::Both(count), _)
            | (Count::Each { http: count, .. }, Scheme::Http)
            | (Count::Each { https: count, .. }, Scheme::Https) => (file, count),
        });
        Recorded { passed: passed.collect(), left_out }
    }

    /// Parts of the titles of tests in a file that do not run.
    pub fn left_out(&self, file: &str) -> &[String] {
        self.left_out.get(file).map_or(&[], Vec::as_slice)
    }

    /// Of a file that nobody recorded: none passed.
    pub fn of(&self, file: &str) -> usize {
        self.passed.get(file).copied().unwrap_or_default()
    }
}

/// A file's line in the table.
pub struct Line {
    pub file: String,
    pub outcome: Outcome,
    pub recorded: usize,
}

impl Line {
    /// What is to be said of a file that lost something.
    pub fn fallen(&self) -> Option<String> {
        let passed = self.outcome.passed.len();
        (passed < self.recorded).then(|| format!("{}: {passed} of {} recorded", self.file, self.recorded))
    }
}

pub fn table(lines: &[Line]) -> String {
    let mut text =
        format!("{:18}{:>8}{:>8}{:>9}{:>10}{:>9}{:>9}\n", "file", "passed", "failed", "pending", "recorded", "seconds", "slowest");
    let mut sum = (0, 0, 0, 0);
    for Line { file, outcome, recorded } in lines {
        let (passed, failed, pending) = (outcome.passed.len(), outcome.failed.len(), outcome.pending);
        sum = (sum.0 + passed, sum.1 + failed, sum.2 + pending, sum.3 + recorded);
        let seconds = outcome.took.as_secs_f64();
        let slowest = format!("{} ms", outcome.slowest);
        let _ = write!(text, "{file:18}{passed:>8}{failed:>8}{pending:>9}{recorded:>10}{seconds:>9.1}{slowest:>9}");
        text.push_str(match passed.cmp(recorded) {
            std::cmp::Ordering::Less => "  FEWER\n",
            std::cmp::Ordering::Equal => "\n",
            std::cmp::Ordering::Greater => "  more: raise what is recorded\n",
        });
    }
    let _ = writeln!(text, "{:18}{:>8}{:>8}{:>9}{:>10}", "all", sum.0, sum.1, sum.2, sum.3);
    text
}
