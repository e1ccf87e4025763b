//! The servers that are compared, each as something that sockets connect to and that a text is published through.

use super::support::child::Server;
use super::support::tidegate::Tidegate;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use hyper::Method;
use std::process::Command;
use tempfile::TempDir;
use tidegate::bench::BenchError;
use tidegate::bench::http::{Base, HttpClient};
use tidegate::bench::subscriber::Subscriber;
use tidegate::bench::workload::Workload;
use tidegate::client::trust::Trust;
use tidegate::config::Durability;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::either::Either;

const BUN: &str = "bun@1.4.5";
const BUCKET: &str = "Lots";
const WORKLOAD: Workload = Workload { queries: 1, objects: 1 };
/// Sockets that connect at a time.
const OPENING: usize = 64;

/// One of the servers.
pub(crate) enum Publisher {
    BareLoop { server: Server, sockets: String, control: Option<BufReader<TcpStream>>, address: String },
    Tidegate { server: Box<Tidegate>, writer: HttpClient, mark: u64 },
    UWebSockets { server: Server, base: Base, writer: Option<HttpClient>, _directory: TempDir },
}

impl Publisher {
    pub(crate) fn bare_loop() -> Publisher {
        let server = Server::of_role("bare-loop", &[]);
        let (sockets, control) = server.said.split_once(' ').expect("two addresses");
        let (sockets, address) = (sockets.to_owned(), control.to_owned());
        Publisher::BareLoop { server, sockets, control: None, address }
    }

    /// Writes are acknowledged when the system has them: it is the deliveries that are measured, not the disk.
    pub(crate) async fn tidegate() -> Publisher {
        let server = Box::new(Tidegate::start(Durability::System));
        let token = server.token().await;
        let writer = HttpClient::connect(&server.base, Some(token)).await.expect("a connection");
        let mut tidegate = Publisher::Tidegate { server, writer, mark: 0 };
        tidegate.publish("").await;
        tidegate
    }

    /// Installs Bun and starts its server.
    pub(crate) fn uwebsockets() -> Publisher {
        let directory = tempfile::tempdir().expect("a directory");
        let install = ["install", "--no-audit", "--no-fund", "--prefix", directory.path().to_str().expect("a path"), BUN];
        let done = Command::new("npm").args(install).stdout(std::process::Stdio::null()).status().expect("npm runs");
        assert!(done.success(), "npm could not install {BUN}");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fan_out/uwebsockets.js");
        let server = Server::start(Command::new(directory.path().join("node_modules/.bin/bun")).args(["run", script]));
        let base = Base::parse(&server.said, Trust::default()).expect("an URL");
        Publisher::UWebSockets { server, base, writer: None, _directory: directory }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Publisher::BareLoop { .. } => "bare loop",
            Publisher::Tidegate { .. } => "tidegate",
            Publisher::UWebSockets { .. } => "uWebSockets",
        }
    }

    /// Seconds of processor time that the server has used.
    pub(crate) fn cpu(&self) -> f64 {
        match self {
            Publisher::BareLoop { server, .. } | Publisher::UWebSockets { server, .. } => server.cpu(),
            Publisher::Tidegate { server, .. } => server.server.cpu(),
        }
    }

    /// So many sockets, each subscribed.
    pub(crate) async fn connect(&mut self, subscribers: usize) -> Vec<TcpStream> {
        let mut sockets = Vec::with_capacity(subscribers);
        while sockets.len() < subscribers {
            let opening = (0..OPENING.min(subscribers - sockets.len())).map(|_| self.open());
            sockets.extend(try_join_all(opening).await.expect("sockets"));
        }
        if let Publisher::BareLoop { .. } = self {
            while self.ask("count").await != subscribers.to_string() {
                tokio::task::yield_now().await;
            }
        }
        sockets
    }

    async fn open(&self) -> Result<TcpStream, BenchError> {
        match self {
            Publisher::Tidegate { server, .. } => {
                let mut subscriber = Subscriber::connect(&server.base).await?;
                subscriber.subscribe(0, BUCKET, &WORKLOAD.query(0)).await?;
                subscriber.flush().await?;
                subscriber.results(1).await?;
                // Nothing is under way to it now, so nothing that was read already is lost.
                match subscriber.into_stream() {
                    Either::Left(stream) => Ok(stream),
                    Either::Right(_) => Err(BenchError::Fault("the server of a bench speaks no TLS".to_owned())),
                }
            }
            Publisher::BareLoop { sockets, .. } => bare_socket(sockets, "/").await,
            Publisher::UWebSockets { base, .. } => bare_socket(&base.authority(), "/").await,
        }
    }

    /// Publishes a text of the server's own making (Tidegate: a write) or this one.
    pub(crate) async fn publish(&mut self, text: &str) {
        match self {
            Publisher::Tidegate { writer, mark, .. } => {
                *mark += 1;
                let body = WORKLOAD.object(BUCKET, 0, 0, *mark);
                writer.expect(Method::PUT, &format!("/db/{BUCKET}/0"), Some(body)).await.expect("a write");
            }
            Publisher::BareLoop { .. } => {
                let control = self.control().await;
                control.write_all(format!("{text}\n").as_bytes()).await.expect("the loop listens");
            }
            Publisher::UWebSockets { base, writer, .. } => {
                let writer = match writer {
                    Some(writer) => writer,
                    None => writer.insert(HttpClient::connect(base, None).await.expect("a connection")),
                };
                writer.expect(Method::POST, "/", Some(text.to_owned())).await.expect("published");
            }
        }
    }

    /// The text that a subscriber gets, for the others to publish.
    pub(crate) async fn sample(&mut self) -> String {
        let Publisher::Tidegate { server, .. } = self else { panic!("the others publish what they are given") };
        let (mut socket, _) = tokio_tungstenite::connect_async(server.base.events()).await.expect("a websocket");
        let subscribe = serde_json::json!({
            "id": "0", "type": "subscribe", "bucket": BUCKET, "query": WORKLOAD.query(0),
            "initial": true, "matchTypes": ["all"], "operations": ["any"], "reconnects": -1,
        });
        futures_util::SinkExt::send(&mut socket, subscribe.to_string().into()).await.expect("sent");
        let result = socket.next().await.expect("a result").expect("a result").into_text().expect("text");
        assert!(result.contains(r#""type":"result""#), "{result}");
        self.publish("").await;
        let event = socket.next().await.expect("an event").expect("an event").into_text().expect("text");
        assert!(event.contains(r#""matchType":"change""#), "{event}");
        event.to_string()
    }

    /// The sockets are closed: the next turn begins with none.
    pub(crate) async fn disconnected(&mut self) {
        if let Publisher::BareLoop { .. } = self {
            self.control().await.write_all(b"drop\n").await.expect("the loop listens");
            assert_eq!(self.ask("count").await, "0");
        }
    }

    async fn ask(&mut self, what: &str) -> String {
        let control = self.control().await;
        control.write_all(format!("{what}\n").as_bytes()).await.expect("the loop listens");
        let mut line = String::new();
        control.read_line(&mut line).await.expect("the loop answers");
        line.trim().to_owned()
    }

    async fn control(&mut self) -> &mut BufReader<TcpStream> {
        let Publisher::BareLoop { control, address, .. } = self else { panic!("only the loop has one") };
        if control.is_none() {
            let stream = TcpStream::connect(&**address).await.expect("the loop listens");
            stream.set_nodelay(true).expect("a socket");
            *control = Some(BufReader::new(stream));
        }
        control.as_mut().expect("just made")
    }
}

async fn bare_socket(authority: &str, path: &str) -> Result<TcpStream, BenchError> {
    let refused = |reason: String| BenchError::Connection { doing: "opening a websocket", reason };
    let stream = TcpStream::connect(authority).await.map_err(|error| refused(error.to_string()))?;
    let opened = tokio_tungstenite::client_async(format!("ws://{authority}{path}"), stream).await;
    opened.map(|(socket, _)| socket.into_inner()).map_err(|error| refused(error.to_string()))
}
