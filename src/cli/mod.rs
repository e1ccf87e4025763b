//! The command line: one file a command.

mod administration;
mod app;
mod backup;
mod bench;
mod bucket;
mod config;
mod demo;
mod explain;
mod export;
mod import;
mod ingest;
mod restore;
mod serve;
mod truncate;
mod watch;

use crate::client::{ClientError, trust::Trust};
use crate::config::{ConfigError, Effective, Layers};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Standing queries over a stream of updates, and the backend around them.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, max_term_width = 110)]
pub struct CommandLine {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// See it work: a server with a lively auction house in it, on a temporary data directory
    Demo(demo::Demo),
    /// Subscribe to a query and print its events as they come
    Watch(watch::Watch),
    /// Copy the store of a running server into a file
    Backup(backup::Backup),
    /// Build a data directory from a backup
    Restore(restore::Restore),
    /// Write all objects of a bucket into a file
    Export(export::Export),
    /// Write objects of a file into a bucket
    Import(import::Import),
    /// Delete all objects of a bucket
    Truncate(truncate::Truncate),
    /// Look after the topics that come into a running server
    Ingest(ingest::Ingest),
    /// Look after the apps of a running server
    App(app::App),
    /// Show how a live query would stand
    Explain(explain::Explain),
    /// Put a load on a server and print what it sustains
    Bench(bench::Bench),
    /// Print the configuration in force and where each value comes from
    Config(config::Config),
}

/// Where the configuration of a command comes from.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set any option, such as --set changelog.age_seconds=3600; may be given several times
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Address of the API [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Data directory [default: tidegate-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the change log is kept: embedded, or kafka://HOST:PORT[,HOST:PORT…]/TOPIC [default: embedded]
    #[arg(long, value_name = "LOG")]
    pub changelog: Option<String>,
}

impl ConfigArgs {
    /// Defaults, then the file, then the environment, then the flags.
    pub fn load(&self) -> Result<Effective, ConfigError> {
        self.load_with(|_| Ok(()))
    }

    /// With flags of the command on top.
    pub fn load_with(&self, flags: impl FnOnce(&mut Layers) -> Result<(), ConfigError>) -> Result<Effective, ConfigError> {
        let mut layers = Layers::defaults();
        if let Some(file) = &self.config {
            layers.file(file)?;
        }
        layers.environment(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))))?;
        for assignment in &self.set {
            layers.set(assignment)?;
        }
        if let Some(listen) = &self.listen {
            layers.flag("server.listen", listen, "--listen")?;
        }
        if let Some(data) = &self.data {
            layers.flag("store.data", &data.to_string_lossy(), "--data")?;
        }
        if let Some(changelog) = &self.changelog {
            layers.flag("changelog.log", changelog, "--changelog")?;
        }
        flags(&mut layers)?;
        layers.finish()
    }
}

/// Whose certificates a command believes, where a server is reached by https.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Certificates (PEM) to believe beside the system's: the one of your authority, or the server's own
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CA")]
    pub ca: Option<PathBuf>,
}

impl TrustArgs {
    /// Reads them.
    pub fn read(&self) -> Result<Trust, ClientError> {
        Trust::with(self.ca.as_deref())
    }
}

/// Topics that come in.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// A topic of JSON records that comes into a bucket, readable by administrators; may be given several times.
    /// [[ingest]] in a configuration file says more (docs/kafka.md)
    #[arg(long, value_name = "TOPIC=BUCKET")]
    pub ingest: Vec<String>,
    /// Kafka's brokers, for ingested topics [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
}

impl IngestArgs {
    /// Lays these flags over what there is.
    pub fn lay(&self, layers: &mut Layers) -> Result<(), ConfigError> {
        if let Some(brokers) = &self.kafka {
            layers.flag("kafka.brokers", brokers, "--kafka")?;
        }
        self.ingest.iter().try_for_each(|mapping| layers.ingest(mapping))
    }
}

/// What a command failed with: one line that says what to do next.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        // Its exit codes say more, and its help tells them.
        Command::Watch(command) => return command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Truncate(command) => command.run(),
        Command::Ingest(command) => command.run(),
        Command::App(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Config(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A runtime for commands that talk to sockets.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tidegate").build()?)
}

/// Resolves at ctrl-c or SIGTERM; from the call on neither ends the process by itself.
pub fn end_of_process() -> Result<impl Future<Output = ()>, std::io::Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
