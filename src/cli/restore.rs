//! `tidegate restore`: a data directory from a backup.

use super::Failure;
use crate::config::Config;
use crate::store::embedded::backup::restore;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

/// Build a data directory from a backup.
///
/// Its change log is a new one: clients that come back get fresh results.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate restore tidegate.backup --data /var/lib/tidegate\n  \
    tidegate serve --data /var/lib/tidegate")]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// The data directory to build; it must be empty, or not be there
    #[arg(long, value_name = "DIR", default_value_os_t = Config::default().store.data)]
    data: PathBuf,
}

impl Restore {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        let file = File::open(&self.file).map_err(|error| format!("the backup {} cannot be read: {error}", self.file.display()))?;
        let result = restore(BufReader::new(file), &self.data, &mut |copied| {
            eprint!("\r{} objects, {} MiB", copied.objects, copied.bytes >> 20);
        });
        eprintln!();
        println!("restored into {}; its log begins at {}", self.data.display(), result?);
        Ok(())
    }
}
