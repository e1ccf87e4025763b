//! The SMTP server of the tests: `aiosmtpd`, installed once below the target folder.

use crate::support::PATIENCE;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};

/// A running server.
pub struct Smtpd {
    child: Child,
    pub port: u16,
    said: mpsc::Receiver<String>,
}

fn packages() -> PathBuf {
    // Tests run side by side.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/requirements.txt");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smtpd");
    let (pinned, stamp) = (std::fs::read_to_string(&source).unwrap(), folder.join("installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pinned) {
        return folder;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let install = ["-m", "pip", "install", "--quiet", "--upgrade", "--target"];
    let output = Command::new("python3").args(install).arg(&folder).arg("-r").arg(&source).output().expect("python3 is not installed");
    assert!(output.status.success(), "pip: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(stamp, pinned).unwrap();
    folder
}

impl Smtpd {
    pub fn start(arguments: &[&str]) -> Smtpd {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/smtpd.py");
        let mut command = Command::new("python3");
        command.arg(script).args(arguments).env("PYTHONPATH", packages()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, said) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
        let first: String = said.recv_timeout(PATIENCE).expect("the SMTP server does not start");
        let port = first.strip_prefix("port ").unwrap().parse().unwrap();
        Smtpd { child, port, said }
    }

    /// What it says next.
    pub fn next(&self) -> Value {
        serde_json::from_str(&self.said.recv_timeout(PATIENCE).expect("no mail came")).unwrap()
    }

    /// Whether it has said all that it will say by now.
    pub fn is_silent(&self) -> bool {
        self.said.try_recv().is_err()
    }
}

impl Drop for Smtpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port at which every connection is cut: a server that is down.
pub struct Nobody {
    pub port: u16,
    called: tokio::sync::watch::Receiver<usize>,
}

impl Nobody {
    /// Until the test ends.
    pub fn listen() -> Nobody {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (calls, called) = tokio::sync::watch::channel(0);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                drop(stream);
                if calls.is_closed() {
                    return;
                }
                calls.send_modify(|calls| *calls += 1);
            }
        });
        Nobody { port, called }
    }

    /// Somebody has tried.
    pub async fn called(&self) {
        let mut called = self.called.clone();
        tokio::time::timeout(PATIENCE, called.wait_for(|calls| *calls > 0)).await.expect("nobody calls").unwrap();
    }
}
