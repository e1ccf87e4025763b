//! `tidegate config`: the configuration in force.

use super::{ConfigArgs, Failure};
use crate::config::DEFAULTS;

/// Print the configuration in force and where each value comes from.
///
/// The output is itself a configuration file, but that what may be a secret is not shown: properties of Kafka that are not known to be
/// harmless, and secrets that do not stand in a file or variable. Put those in before you use it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate config\n  \
    tidegate config --defaults > tidegate.toml\n  \
    TIDEGATE_SERVER_LISTEN=127.0.0.1:9000 tidegate config --set store.durability=system")]
pub struct Config {
    #[command(flatten)]
    options: ConfigArgs,
    /// Print the defaults with what each option means: a file to begin with
    #[arg(long)]
    defaults: bool,
}

impl Config {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        if self.defaults {
            print!("{DEFAULTS}");
        } else {
            print!("{}", self.options.load()?.render());
        }
        Ok(())
    }
}
