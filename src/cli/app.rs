//! `tidegate app`: the apps of a running server.

use super::Failure;
use super::administration::Asking;
use crate::apps::limits::OwnLimits;
use hyper::Method;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Look after the apps of a running server: each has its own data, classes, users, keys and limits.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    TIDEGATE_ADMIN_PASSWORD=… tidegate app create acme\n  \
    tidegate app create acme --host acme.example --limit requests_per_second=500\n  \
    tidegate app list\n  \
    tidegate app delete acme --yes\n\n\
    TIDEGATE_ADMIN_PASSWORD is that of root in the default app, who administrates the server.")]
pub struct App {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Create(Create),
    Change(Change),
    List(List),
    Delete(Delete),
}

/// Make an app; it answers at once, at <origin>/NAME and at its own hosts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate app create acme\n  \
    tidegate app create acme --host acme.example --host www.acme.example --limit scans=4\n  \
    tidegate app create acme --origin https://shop.acme.example\n\n\
    Limits: requests_per_second, requests, waiting, writes, scans, hashings, connections, subscriptions,\n\
    subscription_bytes, stored_bytes; section [limits] of the configuration explains them. The password of the app's root\n\
    is generated and shown once, unless one is given.")]
struct Create {
    /// A word that can stand in a URL: small letters, digits and '-'
    name: String,
    /// A host name of its own, at which nothing else answers; may be given several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// An origin of its pages, from which browsers may come and at which logins at providers may end; without one,
    /// browsers may come from those of server.origins and no such login is possible; may be given several times
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// A limit of its own; may be given several times
    #[arg(long = "limit", value_name = "NAME=NUMBER", value_parser = limit)]
    limits: Vec<(String, String)>,
    /// Password of the app's own administrator `root`; better given in the environment, where `ps` does not show it
    #[arg(long, value_name = "PW", env = "TIDEGATE_APP_PASSWORD", hide_env_values = true)]
    root_password: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

/// Give an app other hosts, origins or limits, at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    tidegate app change acme --host acme.example\n  \
    tidegate app change acme --limit scans=8 --limit writes=64\n  \
    tidegate app change acme --no-hosts --no-limits\n\n\
    What is given takes the place of all the hosts, all the origins, or all the limits, that the app had of its own; what is\n\
    not given stays.")]
struct Change {
    /// Its name
    name: String,
    /// A host name of its own; may be given several times
    #[arg(long = "host", value_name = "HOST", conflicts_with = "no_hosts")]
    hosts: Vec<String>,
    /// No host names of its own any more
    #[arg(long)]
    no_hosts: bool,
    /// An origin of its pages; may be given several times
    #[arg(long = "origin", value_name = "ORIGIN", conflicts_with = "no_origins")]
    origins: Vec<String>,
    /// No origins of its own any more
    #[arg(long)]
    no_origins: bool,
    /// A limit of its own; may be given several times
    #[arg(long = "limit", value_name = "NAME=NUMBER", value_parser = limit, conflicts_with = "no_limits")]
    limits: Vec<(String, String)>,
    /// No limits of its own any more
    #[arg(long)]
    no_limits: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Show the apps, their hosts and what they use.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate app list\n  tidegate app list --json | jq '.apps[] | {name, usage}'")]
struct List {
    #[command(flatten)]
    asking: Asking,
}

/// Delete an app with all that it has. There is no way back but a backup.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate app delete acme --yes\n\n\
    It does not answer any more from then on; its objects go in the time that it takes, also over a restart.")]
struct Delete {
    /// Its name
    name: String,
    /// That this is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asking: Asking,
}

fn limit(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a limit is given as NAME=NUMBER, such as scans=4")?;
    OwnLimits::default().set(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn own(limits: &[(String, String)]) -> Result<OwnLimits, Failure> {
    let mut own = OwnLimits::default();
    limits.iter().try_for_each(|(name, value)| own.set(name, value))?;
    Ok(own)
}

impl App {
    /// Runs the command.
    pub fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create(command) => command.run(),
            Action::Change(command) => command.run(),
            Action::List(command) => command.run(),
            Action::Delete(command) => command.run(),
        }
    }
}

impl Create {
    fn run(self) -> Result<(), Failure> {
        let asked = json!({"name": self.name, "hosts": self.hosts, "origins": self.origins, "limits": own(&self.limits)?, "rootPassword": self.root_password});
        let (app, server) = self.asking.ask(Method::POST, "/apps", Some(&asked))?;
        if self.asking.json {
            println!("{app}");
            return Ok(());
        }
        println!("the app {} answers: clients connect to <origin>/{}", self.name, self.name);
        for host in texts(&app, "hosts") {
            println!("  and at its own host {host} to <origin>/{}", server.base);
        }
        if let Some(password) = app.get("rootPassword").and_then(Value::as_str) {
            println!("password of its administrator root (shown this once): {password}");
        }
        Ok(())
    }
}

impl Change {
    fn run(self) -> Result<(), Failure> {
        let mut asked = serde_json::Map::new();
        if self.no_hosts || !self.hosts.is_empty() {
            asked.insert("hosts".into(), json!(self.hosts));
        }
        if self.no_origins || !self.origins.is_empty() {
            asked.insert("origins".into(), json!(self.origins));
        }
        if self.no_limits || !self.limits.is_empty() {
            asked.insert("limits".into(), json!(own(&self.limits)?));
        }
        if asked.is_empty() {
            return Err("nothing is to change: give --host, --no-hosts, --origin, --no-origins, --limit or --no-limits".into());
        }
        let (app, _) = self.asking.ask(Method::PUT, &path(&self.name), Some(&asked.into()))?;
        if self.asking.json {
            println!("{app}");
        } else {
            print!("{}", shown(&app));
        }
        Ok(())
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let (apps, _) = self.asking.ask(Method::GET, "/apps", None)?;
        if self.asking.json {
            println!("{apps}");
        } else {
            apps.get("apps").and_then(Value::as_array).into_iter().flatten().for_each(|app| print!("{}", shown(app)));
        }
        Ok(())
    }
}

impl Delete {
    fn run(self) -> Result<(), Failure> {
        if !self.yes {
            return Err(format!("this deletes {} with all its objects and users; add --yes if that is meant", self.name).into());
        }
        let (answer, _) = self.asking.ask(Method::DELETE, &path(&self.name), None)?;
        if self.asking.json {
            println!("{answer}");
        } else {
            println!("the app {} does not answer any more; what it had is being removed", self.name);
        }
        Ok(())
    }
}

/// Whatever the name is, it is one segment.
fn path(name: &str) -> String {
    format!("/apps/{}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC))
}

fn texts<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v str> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// An app for people.
fn shown(app: &Value) -> String {
    let text = |name: &str| app.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut out = format!("{}  {}", text("name"), text("state"));
    for host in texts(app, "hosts") {
        // Writing to a String cannot fail.
        let _ = write!(out, "  {host}");
    }
    out.push('\n');
    let origins: Vec<&str> = texts(app, "origins").collect();
    if !origins.is_empty() {
        let _ = writeln!(out, "  pages at {}", origins.join(", "));
    }
    if let Some(usage) = app.get("usage") {
        let number = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let _ = writeln!(
            out,
            "  requests {} ({} refused, {} waiting)  connections {}  subscriptions {}",
            number("admitted"),
            number("refused"),
            number("waiting"),
            number("connections"),
            number("subscriptions")
        );
    }
    if let Some(stored) = app.get("stored") {
        let number = |name: &str| stored.get(name).and_then(Value::as_u64).unwrap_or(0);
        let _ = writeln!(out, "  {} objects of {} bytes", number("objects"), number("bytes"));
    }
    let own = app.get("limits").and_then(Value::as_object).filter(|own| !own.is_empty());
    if let Some(own) = own {
        let own: Vec<String> = own.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let _ = writeln!(out, "  limits of its own: {}", own.join(", "));
    }
    out
}
