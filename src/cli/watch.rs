//! `tidegate watch`: prints the events of a query as they come.

use super::{TrustArgs, end_of_process, runtime};
use crate::watch::line::Layout;
use crate::watch::subscription::{Subscription, Target};
use crate::watch::{self, WatchError};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::io::BufWriter;

/// Where the token is, if it is in no file.
const TOKEN: &str = "TIDEGATE_TOKEN";

/// Subscribe to a query and print its events as they come, one line each.
#[derive(Debug, clap::Args)]
#[command(after_help = "Lines for people: the time of the commit (UTC), then\n  \
    =  an object that matched when we came\n  \
    +  an object that came into the result\n  \
    ~  an object of the result that changed\n  \
    -  an object that left the result\n\n\
    Examples:\n  \
    tidegate watch Lot '{\"city\":\"Paris\",\"state\":\"open\"}'\n  \
    tidegate watch Lot '{\"price\":{\"$gte\":1000}}' --fields title,price --no-initial\n  \
    tidegate watch Bid '{}' --json --no-initial | jq .data.amount\n  \
    tidegate watch Lot '{\"state\":\"sold\"}' --count 10 --no-initial\n  \
    tidegate watch Lot '{}' --url https://api.example.org/v1 --ca authority.pem\n\n\
    If the connection is lost, it comes back by itself and goes on where it was; standard error says so.\n\n\
    Exit codes:\n  \
    0  ended by ctrl-c, by --count, or because nobody reads the output any more\n  \
    1  the server refused the query or the token; standard error says why\n  \
    2  the command line is wrong\n  \
    3  the server could not be reached in the beginning\n  \
    4  the output could not be written")]
pub struct Watch {
    /// The bucket, such as Lot
    bucket: String,
    /// The query, JSON in MongoDB's language
    #[arg(default_value = "{}")]
    query: String,
    /// The server; its path, if there is one, is the base
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// First segment of the API's paths, below the URL's own [default: v1, where the URL has no path]
    #[arg(long, value_name = "BASE")]
    base: Option<String>,
    /// File with the token of a user; without it the environment's TIDEGATE_TOKEN, else nobody's rights
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    /// One JSON object a line: event, operation, id, data, date, position
    #[arg(long)]
    json: bool,
    /// Fields to show, as dotted paths with commas between them
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fields: Vec<String>,
    /// Only what happens from now on
    #[arg(long)]
    no_initial: bool,
    /// End after so many events; the initial result does not count
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl Watch {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let code = match self.watch() {
            Ok(()) => 0,
            Err(Trouble::Watch(error)) => {
                eprintln!("tidegate: {error}");
                error.exit_code()
            }
            Err(Trouble::Start(error)) => {
                eprintln!("tidegate: {error}");
                2
            }
        };
        ExitCode::from(code)
    }

    fn watch(self) -> Result<(), Trouble> {
        let token = match &self.token_file {
            Some(file) => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("cannot read the token in {}: {error}", file.display()))?;
                Some(text.trim().to_owned())
            }
            None => std::env::var(TOKEN).ok().filter(|token| !token.is_empty()),
        };
        let bucket = self.bucket.strip_prefix("/db/").unwrap_or(&self.bucket).to_owned();
        let target = Target { url: self.url, base: self.base, bucket, query: self.query, token, initial: !self.no_initial };
        let trust = self.trust.read().map_err(|error| Trouble::Watch(error.into()))?;
        let subscription = Subscription::new(target, trust).map_err(Trouble::Watch)?;
        let layout = Layout { json: self.json, colour: !self.json && wants_colour(), fields: self.fields };
        let runtime = runtime().map_err(|error| error.to_string())?;
        let result = runtime.block_on(async {
            let told = end_of_process().map_err(|error| Trouble::Start(error.to_string()))?;
            let out = BufWriter::new(tokio::io::stdout());
            tokio::select! {
                result = watch::run(subscription, layout, self.count, out, |words| eprintln!("tidegate: {words}")) => result.map(drop).map_err(Trouble::Watch),
                () = told => Ok(()),
            }
        });
        // A write to a pipe that nobody reads must not keep the process.
        runtime.shutdown_background();
        result
    }
}

enum Trouble {
    Watch(WatchError),
    Start(String),
}

impl From<String> for Trouble {
    fn from(what: String) -> Trouble {
        Trouble::Start(what)
    }
}

/// Colour is for terminals, and for people who did not say otherwise (<https://no-color.org>).
fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
