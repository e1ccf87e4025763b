//! A server to talk to: in this process, or the real binary as a child.

use super::http::Http;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tidegate::config::{Config, Durability};
use tidegate::server::{Server, Setup};

/// The password of `root` in every test.
pub const PASSWORD: &str = "correct horse battery";

/// A configuration for a server on ports and in a directory of its own.
pub fn config(directory: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".into();
    config.server.admin_listen = "127.0.0.1:0".into();
    config.store.data = directory.join("data");
    config.store.durability = Durability::System;
    config
}

/// A server in this process.
pub async fn start(config: Config) -> Server {
    Server::start(Setup { config, root_password: Some(PASSWORD.into()), ..Setup::default() }).await.unwrap()
}

/// The binary as a child, killed when it is dropped.
pub struct Process {
    child: Child,
    /// Of the API, `http://…/v1`
    pub url: String,
    /// Of metrics and administration
    pub admin: String,
}

/// `tidegate serve` on a data directory, with the environment of a test.
pub fn serve(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().env("TIDEGATE_ADMIN_PASSWORD", PASSWORD).arg("serve").arg("--data").arg(data);
    command.args(["--listen", "127.0.0.1:0", "--set", "server.admin_listen=127.0.0.1:0"]);
    // Subscriptions to which nothing comes are told how far they are so often.
    command.args(["--set", "live.ping_seconds=1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Process {
    /// Starts the command and waits until it says where it listens.
    pub fn start(mut command: Command) -> Process {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, said) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
        let deadline = Instant::now() + super::PATIENCE;
        let (mut url, mut admin) = (None, None);
        while url.is_none() || admin.is_none() {
            let Ok(line) = said.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                let _ = child.kill();
                panic!("the server did not say where it listens: {:?}", child.wait());
            };
            let after = |text: &str| line.split_once(text).map(|(_, rest)| rest.trim().to_owned());
            url = url.or_else(|| after("listens on "));
            admin = admin.or_else(|| after("administration on "));
        }
        Process { child, url: url.unwrap(), admin: admin.unwrap() }
    }

    pub fn http(&self) -> Http {
        Http::new(&self.url)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As a crash: nothing is finished.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As an operator: SIGTERM, and the status it ends with.
    pub fn terminate(mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(told.success());
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that resident memory has ever been, bytes.
    pub fn most_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// The value of a metric, labels included in the name; none if it is not there.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{}/metrics", self.admin)).send().await.unwrap();
        let text = text.text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    }
}

impl Process {
    /// Waits until a metric is as it should be: it is what somebody sees who asks.
    pub async fn until(&self, name: &str, right: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + super::PATIENCE;
        loop {
            let value = self.metric(name).await.unwrap_or_else(|| panic!("there is no metric {name}"));
            if right(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} stays at {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command that is meant to fail: its status and what it said on stderr.
pub fn fails(mut command: Command) -> (ExitStatus, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let (send, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.read_to_string(&mut text);
        let _ = send.send(text);
    });
    let text = said.recv_timeout(super::PATIENCE);
    let _ = child.kill();
    (child.wait().unwrap(), text.expect("the command does not end"))
}
