//! `tidegate truncate`: deletes all objects of a bucket.

use super::bucket::{Bucket, BucketArgs, follow};
use super::{ConfigArgs, Failure, runtime};
use hyper::Method;

/// Delete all objects of a bucket, in pieces, by ordinary deletes that live queries see.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  TIDEGATE_ADMIN_PASSWORD=… tidegate truncate Lot --yes\n\nBroken off, it goes on when it is run again.")]
pub struct Truncate {
    #[command(flatten)]
    bucket: BucketArgs,
    /// Do it: what is deleted is gone
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: ConfigArgs,
}

impl Truncate {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let config = self.options.load()?.config;
        if !self.yes {
            return Err(format!("this deletes every object of {}; say --yes if that is meant", self.bucket.bucket).into());
        }
        runtime()?.block_on(async {
            let bucket = Bucket::open(&self.bucket, &config.server).await?;
            let answer = bucket.ask(Method::DELETE, "", None).await?;
            let done = follow(answer, |step| match step["failed_at"].as_str() {
                Some(id) => eprintln!("\r{id}: {}", step["message"].as_str().unwrap_or_default()),
                None => eprint!("\r{} deleted, {} failed", step["deleted"], step["failed"]),
            })
            .await;
            eprintln!();
            match done.map_err(|error| format!("it broke off: {error}; run it again"))?["failed"].as_u64() {
                Some(0) => Ok(()),
                failed => Err(format!("{} objects were not deleted", failed.unwrap_or_default()).into()),
            }
        })
    }
}
