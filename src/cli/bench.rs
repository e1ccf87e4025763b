//! `tidegate bench`: a load on a running server, or on one of its own.

use super::{Failure, TrustArgs};
use crate::bench::in_process::InProcess;
use crate::bench::whole::{WholeOptions, measure};
use crate::bench::{http::Base, process};
use crate::config::Durability;
use clap::Args;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Put a load on a server and print what it sustains
///
/// Without --url it starts a server of its own on a temporary directory. Writers update objects over HTTP, subscribers with
/// distinct live queries receive the events over websockets, all over the loopback interface or the network. The table at the
/// end has its own baselines from the same run: the same writes with no live query, and a bare echo over the same websocket stack.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate bench
  tidegate bench --queries 10000 --connections 1000
  tidegate bench --url http://127.0.0.1:8080/v1 --password-file root-password --seconds 30
  tidegate bench --url https://api.example.org/v1 --ca authority.pem")]
pub struct Bench {
    /// A running server; it gets a bucket of its own, whose objects are deleted at the end
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// File with the password of the administrator root of that server. Without one the writers are anonymous: then the
    /// server takes writers and subscribers of this machine for one, and its events wait until the answer is out
    #[arg(long, value_name = "FILE", requires = "url")]
    password_file: Option<PathBuf>,
    /// The password itself; better in the environment than on the command line, where others can read it
    #[arg(long, value_name = "PASSWORD", env = "TIDEGATE_ADMIN_PASSWORD", hide_env_values = true, conflicts_with = "password_file")]
    admin_password: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Distinct live queries
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queries: u32,
    /// Websockets that the queries are spread over
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: u32,
    /// HTTP connections that write
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    writers: u32,
    /// Objects that are written over and over
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    objects: u32,
    /// Length of the part flat out; the whole takes about three times as long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Acknowledge writes when the operating system has them, not the disk (server of its own only)
    #[arg(long, conflicts_with = "url")]
    system: bool,
    /// End within seconds: fewer queries, connections and objects, the same checks
    #[arg(long, env = "TIDEGATE_BENCH_BRIEF", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    brief: bool,
}

impl Bench {
    /// Runs to the table, or to what went wrong.
    pub fn run(self) -> Result<(), Failure> {
        let sockets = u64::from(self.connections) * if self.url.is_some() { 1 } else { 2 } + u64::from(self.writers) * 2 + 200;
        let allowed = process::raise_file_limit(sockets);
        if allowed < sockets {
            return Err(format!("so many connections need {sockets} open files, the system allows {allowed}: raise it with `ulimit -n {sockets}`, or ask for fewer --connections").into());
        }
        let own = match &self.url {
            Some(_) => None,
            None => Some(InProcess::start(if self.system { Durability::System } else { Durability::Disk })?),
        };
        let (base, password) = match (&self.url, &own) {
            (None, Some(own)) => (own.base().clone(), Some(own.password().to_owned())),
            (url, _) => (Base::parse(url.as_deref().unwrap_or_default(), self.trust.read()?)?, self.password()?),
        };
        let least = |asked: u32, brief: u32| if self.brief { asked.min(brief) } else { asked } as usize;
        let options = WholeOptions {
            base,
            password,
            queries: least(self.queries, 200),
            connections: least(self.connections, 20),
            writers: least(self.writers, 8),
            objects: least(self.objects, 100),
            lasting: if self.brief { Duration::from_millis(500) } else { Duration::from_secs(self.seconds.into()) },
        };
        // The clients have a thread of their own, apart from the server's.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(measure(&options, &tell));
        clear_line();
        drop(own);
        println!("{}", report?);
        Ok(())
    }

    fn password(&self) -> Result<Option<String>, Failure> {
        match &self.password_file {
            Some(file) => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("cannot read the password file {}: {error}", file.display()))?;
                Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            None => Ok(self.admin_password.clone()),
        }
    }
}

/// The progress line: one line on a terminal, nothing where nobody looks.
fn tell(text: String) {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}
