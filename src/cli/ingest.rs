//! `tidegate ingest`: how the topics that come in stand, and dead letters tried again.

use super::Failure;
use super::administration::Asking;
use hyper::Method;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Look after the topics that come into a running server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate ingest status\n  \
    tidegate ingest status --json | jq '.topics[] | {topic, lag}'\n  \
    tidegate ingest replay orders --letter 3:1207\n  \
    tidegate ingest replay orders --all")]
pub struct Ingest {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Status(Status),
    Replay(Replay),
}

/// Show topics, lag, rates and dead letters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate ingest status\n  \
    ssh -N -L 8081:127.0.0.1:8081 db.example.org    # in another shell; the first line then is about that server\n\n\
    The lag is counted in offsets, so marks of transactions count too, until the end is reached.")]
struct Status {
    #[command(flatten)]
    asking: Asking,
}

/// Try dead letters again, read by the mapping as it is now.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate ingest replay orders --letter 3:1207\n  \
    tidegate ingest replay orders --all\n\n\
    A letter is written as if it came now: it replaces what was written of the same object since. Each is replayed once.\n\
    Exit code 1: some are still dead; the output says why.")]
#[command(group = clap::ArgGroup::new("which").required(true))]
struct Replay {
    /// The topic
    topic: String,
    /// One letter, by where its record is
    #[arg(long, value_name = "PARTITION:OFFSET", group = "which", value_parser = place)]
    letter: Option<(i32, i64)>,
    /// All of the topic
    #[arg(long, group = "which")]
    all: bool,
    /// The bucket, where the topic comes into several
    #[arg(long, value_name = "BUCKET")]
    bucket: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

fn place(text: &str) -> Result<(i32, i64), String> {
    let place = text.split_once(':').and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
    place.ok_or_else(|| "a letter is named by partition and offset, such as 3:1207".to_owned())
}

impl Ingest {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Status(command) => command.run(),
            Action::Replay(command) => command.run(),
        }
    }
}

impl Status {
    fn run(self) -> Result<(), Failure> {
        let (status, _) = self.asking.ask(Method::GET, "/ingest", None)?;
        if self.asking.json {
            println!("{status}");
        } else {
            print!("{}", shown(&status));
        }
        Ok(())
    }
}

impl Replay {
    fn run(self) -> Result<(), Failure> {
        let mut asked = json!({"topic": self.topic, "bucket": self.bucket});
        if let (Some((partition, offset)), Some(asked)) = (self.letter, asked.as_object_mut()) {
            asked.insert("letter".into(), json!({"partition": partition, "offset": offset}));
        }
        let (done, _) = self.asking.ask(Method::POST, "/ingest/replay", Some(&asked))?;
        let count = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or(0);
        if self.asking.json {
            println!("{done}");
        } else {
            println!("{} replayed, {} had been before, {} still dead", count("replayed"), count("before"), count("failed"));
            for failure in done.get("failures").and_then(Value::as_array).into_iter().flatten() {
                let (partition, offset) = (number(failure, "partition"), number(failure, "offset"));
                println!("  {partition}:{offset}  {} ({})", text(failure, "reason"), text(failure, "code"));
            }
        }
        match count("failed") {
            0 => Ok(()),
            failed => Err(format!("{failed} letters are still dead").into()),
        }
    }
}

/// The status for people.
fn shown(status: &Value) -> String {
    let topics = status.get("topics").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if topics.is_empty() {
        return "No topic comes in. `tidegate serve --ingest TOPIC=BUCKET` maps one; docs/kafka.md says more.\n".to_owned();
    }
    let mut out = String::new();
    for topic in topics {
        let rate = topic.get("recordsPerSecond").and_then(Value::as_f64).unwrap_or(0.0);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} -> {}  {}, lag {}, {rate:.0} records/s",
            text(topic, "topic"),
            text(topic, "bucket"),
            text(topic, "state"),
            number(topic, "lag")
        );
        let _ = write!(out, "  records {}  dead letters {}", number(topic, "records"), number(topic, "deadLetters"));
        if number(topic, "deadLetters") > 0 {
            let _ = write!(out, " ({})", text(topic, "deadLettersIn"));
        }
        if number(topic, "lost") > 0 {
            let _ = write!(out, "  lost {}", number(topic, "lost"));
        }
        for (kind, count) in topic.get("skipped").and_then(Value::as_object).into_iter().flatten() {
            let _ = write!(out, "  {kind} {count}");
        }
        out.push('\n');
        for partition in topic.get("partitions").and_then(Value::as_array).into_iter().flatten() {
            let end = partition.get("end").and_then(Value::as_i64).map_or_else(|| "?".to_owned(), |end| end.to_string());
            let (number, offset, lag) = (number(partition, "partition"), number(partition, "offset"), number(partition, "lag"));
            let _ = writeln!(out, "  partition {number:<4} offset {offset:<12} end {end:<12} lag {lag}");
        }
        if let Some(error) = topic.get("lastError").filter(|error| !error.is_null()) {
            let _ = writeln!(out, "  last error, {}: {}", text(error, "at"), text(error, "message"));
        }
    }
    out
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or(0)
}
