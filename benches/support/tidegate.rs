//! A Tidegate server in a process of its own, with embedded defaults.

use super::child::{self, Server};
use ::tidegate::bench::http::{Base, HttpClient};
use ::tidegate::bench::in_process::InProcess;
use ::tidegate::config::Durability;

/// The role of the child.
pub const ROLE: &str = "tidegate";
const DURABILITY: &str = "TIDEGATE_BENCH_DURABILITY";

/// In the child: serves until the bench ends.
pub fn serve() {
    super::open_files(20_000);
    let system = std::env::var(DURABILITY).is_ok_and(|value| value == "system");
    let server = InProcess::start(if system { Durability::System } else { Durability::Disk }).expect("a server");
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
        let server = Server::of_role(ROLE, &[(DURABILITY, if durability == Durability::System { "system" } else { "disk" })]);
        let (url, password) = server.said.split_once(' ').expect("URL and password");
        let (base, password) = (Base::parse(url).expect("an URL"), password.to_owned());
        Tidegate { server, base, password }
    }

    /// A token of `root`.
    pub async fn token(&self) -> String {
        let mut client = HttpClient::connect(&self.base, None).await.expect("a connection");
        client.log_in("root", &self.password).await.expect("a login")
    }
}
