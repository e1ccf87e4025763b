//! Servers in processes of their own, so that what they use can be told from what the clients use.
//!
//! The bench starts itself again with a role. The child says on its first line where it listens, and ends when
//! its standard input does: with the bench, however that ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROLE: &str = "TIDEGATE_BENCH_ROLE";

/// A server in a process of its own.
pub struct Server {
    process: Child,
    /// Whether it ends when its standard input does
    ours: bool,
    /// What it said on its first line
    pub said: String,
}

/// The role that this process was started for; none for the bench itself.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

impl Server {
    /// Starts this program again in a role.
    pub fn of_role(role: &str, variables: &[(&str, &str)]) -> Server {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.env(ROLE, role).envs(variables.iter().copied());
        let mut server = Server::start(&mut command);
        server.ours = true;
        server
    }

    /// Starts a program and waits for its first line.
    pub fn start(command: &mut Command) -> Server {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut said = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("piped"));
        output.read_line(&mut said).expect("the server's first line");
        assert!(!said.trim().is_empty(), "the server ended before it said where it listens");
        // What else it says is read and dropped, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Server { process, ours: false, said: said.trim().to_owned() }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Processor time that it has used so far, seconds.
    pub fn cpu(&self) -> f64 {
        ::tidegate::bench::process::cpu_time(self.id()).map_or(f64::NAN, |time| time.as_secs_f64())
    }

    /// Its resident memory, bytes.
    pub fn resident(&self) -> f64 {
        ::tidegate::bench::process::resident(self.id()).map_or(f64::NAN, |bytes| bytes as f64)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Those of ours end by themselves, and take their data with them; others are told.
        let limit = Instant::now() + Duration::from_secs(10);
        while self.ours && Instant::now() < limit {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In the child: says where it listens.
pub fn ready(said: &str) {
    println!("{said}");
    std::io::stdout().flush().expect("somebody listens");
}

/// In the child: returns when the bench has ended.
pub fn until_the_end() {
    let _ = std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink());
}
