//! The provider: npm `oidc-provider`, on loopback; and a server whose users it brings.

use crate::support::ports::free_port;
use crate::support::server::{config, start};
use crate::support::{PATIENCE, npm};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use tempfile::TempDir;
use tidegate::config::{Config, OidcOptions};
use tidegate::server::Server;

/// What the provider and the server share.
const SECRET: &str = "a secret of the client";

/// A running provider.
pub struct Provider {
    child: Child,
    input: ChildStdin,
    said: mpsc::Receiver<String>,
    pub issuer: String,
}

impl Provider {
    /// `redirects`: where it may send browsers; `claims`: of each subject.
    pub fn start(redirects: &[String], claims: Value) -> Provider {
        // Tests run side by side.
        static INSTALLING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let installing = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = npm::install("oidc");
        // Where its packages are.
        let script = folder.join("provider.mjs");
        let wanted = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/provider.mjs")).unwrap();
        // Once: another test's provider may be reading it just now.
        if std::fs::read(&script).ok().as_ref() != Some(&wanted) {
            std::fs::write(&script, wanted).unwrap();
        }
        drop(installing);
        let options = json!({"redirects": redirects, "claims": claims, "secret": SECRET}).to_string();
        let mut command = Command::new("node");
        command.arg(script).arg(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("node is not installed");
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, said) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
        let mut provider = Provider { child, input, said, issuer: String::new() };
        provider.issuer = provider.hears("issuer ");
        provider
    }

    /// Signs with another key from now on; the old one is not published any more.
    pub fn rotate(&mut self) {
        writeln!(self.input, "rotate").unwrap();
        self.hears("rotated");
    }

    fn hears(&self, wanted: &str) -> String {
        loop {
            let line = self.said.recv_timeout(PATIENCE).expect("the provider says nothing");
            if let Some(rest) = line.strip_prefix(wanted) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The allowed origin of the app, where nobody listens in most tests.
pub const APP: &str = "http://127.0.0.1:1";

/// Another app, to which the provider may send browsers as well.
pub const SHOP: &str = "shop";

/// A server with one provider, `acme`.
pub struct Rig {
    pub server: Server,
    pub provider: Provider,
    pub url: String,
    _directory: TempDir,
}

pub fn options(issuer: &str, secret_file: &Path) -> OidcOptions {
    let text = format!("name = \"acme\"\nissuer = {issuer:?}\nclient_id = \"shop\"\nclient_secret = \"file:{}\"\n", secret_file.display());
    toml::from_str(&text).unwrap()
}

impl Rig {
    pub async fn start(claims: Value) -> Rig {
        Rig::with(claims, |_| ()).await
    }

    pub async fn with(claims: Value, change: impl FnOnce(&mut Config)) -> Rig {
        let directory = TempDir::new().unwrap();
        let mut config = config(directory.path());
        // What is redirected to must be known before the server listens.
        let port = free_port();
        config.server.listen = format!("127.0.0.1:{port}");
        config.server.public_url = format!("http://127.0.0.1:{port}");
        config.server.origins = vec![APP.into()];
        let redirects = ["v1", SHOP].map(|word| format!("http://127.0.0.1:{port}/{word}/db/User/OAuth/acme"));
        let provider = Provider::start(&redirects, claims);
        let secret = directory.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        config.oidc = vec![options(&provider.issuer, &secret)];
        change(&mut config);
        let server = start(config).await;
        Rig { url: server.url(), server, provider, _directory: directory }
    }

    /// Where a login begins.
    pub fn begin(&self) -> String {
        format!("{}/db/User/OAuth/acme", self.url)
    }

    /// Where a login begins that ends at a page of the app.
    pub fn begin_for(&self, redirect: &str) -> String {
        let state = json!({"redirect": redirect, "loginOption": true}).to_string();
        format!("{}?state={}", self.begin(), percent_encoding::utf8_percent_encode(&state, percent_encoding::NON_ALPHANUMERIC))
    }
}
