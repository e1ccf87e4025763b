//! `tidegate import`: objects of a file into a bucket.

use super::bucket::{Bucket, BucketArgs, follow};
use super::{ConfigArgs, Failure, runtime};
use crate::client::api::pieces;
use clap::ValueEnum;
use hyper::Method;
use std::path::PathBuf;
use tokio_util::io::ReaderStream;

/// Write objects into a bucket: lines of JSON as an export has them, or a JSON array.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate import Lot lots.ndjson\n  \
    gunzip -c lots.ndjson.gz | tidegate import Lot --mode skip\n  \
    tidegate import Lot lots.ndjson --from 120001\n\n\
    Ids, access lists and times of creation are kept; versions begin at 1, or go on where an object is there. The same import again changes nothing.")]
pub struct Import {
    #[command(flatten)]
    bucket: BucketArgs,
    /// The file to read. Without one: standard input
    file: Option<PathBuf>,
    /// What happens to objects that are there already
    #[arg(long, value_enum, default_value = "upsert")]
    mode: Mode,
    /// The first line to take, counted from 1: behind the last one that was told to be read
    #[arg(long, default_value_t = 1)]
    from: u64,
    #[command(flatten)]
    options: ConfigArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The file's takes its place
    Upsert,
    /// It stays as it is
    Skip,
    /// It stays, and that is told as a failure
    Insert,
}

impl Import {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let config = self.options.load()?.config;
        runtime()?.block_on(self.send(&config.server))
    }

    async fn send(&self, server: &crate::config::ServerOptions) -> Result<(), Failure> {
        let bucket = Bucket::open(&self.bucket, server).await?;
        let body = match &self.file {
            Some(path) => {
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| format!("the file {} cannot be read: {error}", path.display()))?;
                pieces(ReaderStream::with_capacity(file, 128 << 10))
            }
            None => pieces(ReaderStream::with_capacity(tokio::io::stdin(), 128 << 10)),
        };
        let mode = self.mode.to_possible_value().map(|mode| mode.get_name().to_owned()).unwrap_or_default();
        let answer = bucket.ask(Method::PUT, &format!("?mode={mode}&from={}", self.from), Some(body)).await?;
        let mut read = 0;
        let done = follow(answer, |step| match step["failed_at"].as_u64() {
            Some(line) => eprintln!("\rline {line}: {}", step["message"].as_str().unwrap_or_default()),
            None => {
                read = step["read"].as_u64().unwrap_or(read);
                eprint!("\r{} read, {} written, {} unchanged, {} failed", step["read"], step["written"], step["unchanged"], step["failed"]);
            }
        })
        .await;
        eprintln!();
        let done = done.map_err(|error| format!("the import broke off: {error}; go on with --from {}", read + 1))?;
        match done["failed"].as_u64() {
            Some(0) => Ok(()),
            failed => Err(format!("{} objects were not written", failed.unwrap_or_default()).into()),
        }
    }
}
