//! A real PostgreSQL in a directory of its own, on loopback, ready for logical decoding.

use super::kafka::{signal, spawn};
use super::ports::free_port;
use rustix::process::Signal;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// The server; stopped when it is dropped.
pub struct Postgres {
    pub port: u16,
    directory: TempDir,
    child: Child,
}

/// Who runs the server: it refuses to be run by root.
const USER: &str = "postgres";

/// Debian keeps the programs of each version apart, and off the path.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut versions: Vec<PathBuf> = versions.unwrap_or_default();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let found = versions.iter().rev().map(|version| version.join("bin").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from(name))
}

/// As a user that PostgreSQL accepts; ends with this process.
fn unprivileged(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    // It cleans up when it is told to quit, not when it is killed.
    command.args(["--pdeathsig", "QUIT"]).arg(program(name)).stdin(Stdio::null());
    command
}

impl Postgres {
    /// Returns when it answers.
    pub fn start() -> Postgres {
        let directory = TempDir::with_prefix("tidegate-postgres-").unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if rustix::process::geteuid().is_root() {
            for path in [directory.path(), &data] {
                assert!(Command::new("chown").arg(format!("{USER}:{USER}")).arg(path).status().unwrap().success());
            }
        }
        let mut initdb = unprivileged("initdb");
        initdb.args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync", "-D"]).arg(&data);
        let output = initdb.current_dir(directory.path()).output().expect("PostgreSQL is not installed");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));

        let port = free_port();
        let log = std::fs::File::create(directory.path().join("postgres.log")).unwrap();
        let mut command = unprivileged("postgres");
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k", ""]);
        for setting in ["listen_addresses=127.0.0.1", "wal_level=logical", "max_wal_senders=8", "max_replication_slots=8", "fsync=off"] {
            command.args(["-c", setting]);
        }
        command.current_dir(directory.path()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut postgres = Postgres { port, directory, child: spawn(command) };
        postgres.wait();
        postgres
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + super::PATIENCE;
        while self.run("SELECT 1").is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("PostgreSQL ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "PostgreSQL does not answer: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Where a test may lay things beside it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("postgres.log")).unwrap_or_default()
    }

    /// Statements, each in a transaction of its own unless they say otherwise; the rows as text, a line each.
    pub fn sql(&self, statements: &str) -> String {
        self.run(statements).unwrap_or_else(|error| panic!("{error} in {}", &statements[..statements.len().min(2_000)]))
    }

    /// The rows of a query, each a JSON object.
    pub fn rows(&self, query: &str) -> Vec<serde_json::Value> {
        let text = self.sql(&format!("SELECT to_jsonb(row) FROM ({query}) AS row"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn run(&self, statements: &str) -> Result<String, String> {
        let mut command = Command::new(program("psql"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-d", "postgres", "-qAtX", "-v", "ON_ERROR_STOP=1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql is not installed");
        let (mut pipe, text) = (child.stdin.take().unwrap(), statements.to_owned());
        let writer = std::thread::spawn(move || pipe.write_all(text.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        signal(&self.child, Signal::QUIT);
        let _ = self.child.wait();
    }
}
