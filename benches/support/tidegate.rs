//! A Tidegate server in a process of its own, with embedded defaults.

use super::child::{self, Server};
use ::tidegate::bench::http::{Base, HttpClient};
use ::tidegate::bench::in_process::InProcess;
use ::tidegate::config::Durability;

/// The role of the child.
pub const ROLE: &str = "tidegate";
const DURABILITY: &str = "TIDEGATE_BENCH_DURABILITY";
/// One `section.key=value` a line
const OPTIONS: &str = "TIDEGATE_BENCH_OPTIONS";

/// In the child: serves until the bench ends.
pub fn serve() {
    super::open_files(20_000);
    let system = std::env::var(DURABILITY).is_ok_and(|value| value == "system");
    let options: Vec<String> = std::env::var(OPTIONS).unwrap_or_default().lines().map(str::to_owned).collect();
    let server = InProcess::start_with(if system { Durability::System } else { Durability::Disk }, &options).expect("a server");
    child::ready(&format!("{} {}", server.url(), server.password()));
    child::until_the_end();
}

/// In the bench: starts one.
pub struct Tidegate {
    /// Its process
    pub server: Server,
    /// Where it is
    pub base: Base,
    password: String,
}

impl Tidegate {
    pub fn start(durability: Durability) -> Tidegate {
        Tidegate::start_with(durability, &[])
    }

    /// The same with other options, each as `section.key=value`.
    pub fn start_with(durability: Durability, options: &[String]) -> Tidegate {
        let durability = if durability == Durability::System { "system" } else { "disk" };
        let server = Server::of_role(ROLE, &[(DURABILITY, durability), (OPTIONS, &options.join("\n"))]);
        let (url, password) = server.said.split_once(' ').expect("URL and password");
        let (base, password) = (Base::parse(url, ::tidegate::client::trust::Trust::default()).expect("an URL"), password.to_owned());
        Tidegate { server, base, password }
    }

    /// A token of `root`.
    pub async fn token(&self) -> String {
        let mut client = HttpClient::connect(&self.base, None).await.expect("a connection");
        client.log_in("root", &self.password).await.expect("a login")
    }
}
