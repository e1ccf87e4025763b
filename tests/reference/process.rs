//! Installs the references and asks them, one line a case over stdin and stdout.

#![allow(unreachable_pub)]

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a reference says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Matches(bool),
    Refuses(String),
}

const FILES: &[&str] = &["package.json", "package-lock.json", ".npmrc", "mingo.js", "requirements.txt", "monty.py"];

/// Copies `tests/reference` below the target folder and installs the packages there, unless that was done for these very files.
pub fn install() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reference");
    let pinned: String = FILES.iter().map(|file| std::fs::read_to_string(source.join(file)).unwrap()).collect();
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) {
        return folder;
    }
    std::fs::create_dir_all(&folder).unwrap();
    for file in FILES {
        std::fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    run(Command::new("npm").arg("ci").current_dir(&folder));
    let pip =
        ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--require-hashes", "--target", "python", "-r", "requirements.txt"];
    run(Command::new("python3").args(pip).current_dir(&folder));
    std::fs::write(stamp, pinned).unwrap();
    folder
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn mingo(folder: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg("mingo.js").current_dir(folder);
    command
}

pub fn monty(folder: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg("monty.py").env("PYTHONPATH", folder.join("python")).env("PYTHONIOENCODING", "utf-8").current_dir(folder);
    command
}

/// Writes all lines to a process and reads one answer for each.
pub fn ask(mut command: Command, lines: &[String]) -> Vec<Answer> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = BufWriter::new(child.stdin.take().unwrap());
    let output = BufReader::new(child.stdout.take().unwrap());
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        scope.spawn(move || {
            for line in lines {
                writeln!(input, "{line}").unwrap();
            }
        });
        output.lines().map(|line| answer(&line.unwrap())).collect()
    });
    assert!(child.wait().unwrap().success(), "{command:?} failed");
    assert_eq!(answers.len(), lines.len(), "{command:?} left cases unanswered");
    answers
}

fn answer(line: &str) -> Answer {
    match serde_json::from_str(line).unwrap() {
        serde_json::Value::Bool(matches) => Answer::Matches(matches),
        other => Answer::Refuses(other["error"].as_str().unwrap_or_default().to_owned()),
    }
}
