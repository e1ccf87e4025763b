//! The baseline: a bare echo over the same websocket stack, axum at one end and tokio-tungstenite at the other.

use super::BenchError;
use super::latency::Latencies;
use axum::extract::ws::{Message as ServerSide, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as ClientSide;

/// A running echo. It ends with the runtime, or when this is dropped.
#[derive(Debug)]
pub struct Echo {
    authority: String,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Echo {
    /// Serves on a loopback port of the system's choice, on the runtime that this is called on.
    pub async fn start() -> Result<Echo, BenchError> {
        let failed = |error: std::io::Error| BenchError::connection("starting the echo", error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let authority = listener.local_addr().map_err(failed)?.to_string();
        let router = axum::Router::new().route("/echo", any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router).await;
        });
        Ok(Echo { authority, serving: Some(serving) })
    }

    /// One that runs elsewhere, at this `host:port`.
    pub fn at(authority: &str) -> Echo {
        Echo { authority: authority.to_owned(), serving: None }
    }

    /// Where it listens, `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Round trips of a text of this size, one after the other, for so long, with a pause after each.
    pub async fn round_trips(&self, bytes: usize, lasting: Duration, pause: Duration) -> Result<Latencies, BenchError> {
        let failed = |error: &dyn std::fmt::Display| BenchError::connection("talking to the echo", error);
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let url = format!("ws://{}/echo", self.authority);
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.map_err(|error| failed(&error))?;
        let (mut latencies, from, text) = (Latencies::default(), Instant::now(), "x".repeat(bytes));
        while from.elapsed() < lasting {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let sent = Instant::now();
            socket.send(ClientSide::text(text.as_str())).await.map_err(|error| failed(&error))?;
            match socket.next().await {
                Some(Ok(ClientSide::Text(back))) if back.as_str() == text => latencies.record(sent.elapsed()),
                _ => return Err(BenchError::Fault("the echo did not come back".to_owned())),
            }
        }
        Ok(latencies)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let ServerSide::Text(text) = message
            && socket.send(ServerSide::Text(text)).await.is_err()
        {
            return;
        }
    }
}
