//! Sockets: accepting with a cap, one task a connection, limits on slow peers, a graceful end.

use super::tls::Tls;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A head of a request that does not arrive within this is given up; so long a connection may rest between requests.
/// As long as is usual: one that closes early meets the next request of a client half way.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long answers under way have when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// Longest head of a request, bytes: the URL of a query may be long.
const HEAD_BYTES: usize = 64 * 1024;

/// What a listener needs.
pub struct Listener {
    /// The bound socket
    pub socket: TcpListener,
    /// Certificate and key; none: plain
    pub tls: Option<Arc<Tls>>,
    /// Who answers
    pub router: Router,
    /// Connections at a time; more wait at the door
    pub connections: usize,
    /// Of these peers the address in `X-Forwarded-For` is believed
    pub trusted_proxies: Arc<[IpAddr]>,
    /// Counts those that are open
    pub open: Arc<AtomicU64>,
}

impl Listener {
    /// Accepts until `ended`, then finishes the answers under way.
    pub async fn run(self, ended: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.connections.clamp(1, Semaphore::MAX_PERMITS)));
        let graceful = GracefulShutdown::new();
        let server = server();
        loop {
            let place = tokio::select! {
                place = places.clone().acquire_owned() => place,
                () = ended.cancelled() => break,
            };
            let Ok(place) = place else { break };
            let (stream, peer) = tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file handles, most likely: those that end give some back.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
                () = ended.cancelled() => break,
            };
            // An answer and an event are small and must go out at once.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY is refused");
            }
            let open = self.open.clone();
            open.fetch_add(1, Ordering::Relaxed);
            let door = Door { peer, router: self.router.clone(), trusted: self.trusted_proxies.clone(), watcher: graceful.watcher() };
            let (tls, server, ended) = (self.tls.clone(), server.clone(), ended.clone());
            tokio::spawn(async move {
                match tls {
                    None => door.serve(&server, stream).await,
                    // The place is held meanwhile, so the cap holds for handshakes too, and they are bounded in time.
                    Some(tls) => tokio::select! {
                        accepted = tls.accept(stream) => match accepted {
                            Ok(Some(stream)) => door.serve(&server, stream).await,
                            Ok(None) => tracing::debug!(%peer, "no TLS was spoken"),
                            Err(error) => tracing::debug!(%peer, %error, "no TLS was agreed upon"),
                        },
                        () = ended.cancelled() => {}
                    },
                }
                open.fetch_sub(1, Ordering::Relaxed);
                drop(place);
            });
        }
        drop(self.socket);
        if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
        }
    }
}

/// What becomes of one connection.
struct Door {
    peer: SocketAddr,
    router: Router,
    trusted: Arc<[IpAddr]>,
    watcher: Watcher,
}

impl Door {
    /// Answers until the peer, an error or the end of the server ends it.
    async fn serve(self, server: &Builder<TokioExecutor>, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Door { peer, router, trusted, watcher } = self;
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            // Every request knows where it comes from.
            let mut request = request.map(axum::body::Body::new);
            let from = origin(peer, request.headers(), &trusted);
            request.extensions_mut().insert(ConnectInfo(from));
            router.clone().oneshot(request)
        });
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    server
}

/// Where a request comes from: the peer, or what a trusted proxy says of it. Each proxy adds the address that it
/// saw at the end of the list, so the last one that is no trusted proxy is the client; what stands before it
/// anybody could have written.
fn origin(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> SocketAddr {
    let is_trusted = |address: &IpAddr| trusted.contains(&address.to_canonical());
    if !is_trusted(&peer.ip()) {
        return peer;
    }
    let mut client = peer;
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = SocketAddr::new(address, 0);
        if !is_trusted(&address) {
            break;
        }
    }
    client
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let from = |peer: &str, forwarded: &[&str]| {
            let headers = forwarded.iter().map(|line| (axum::http::HeaderName::from_static("x-forwarded-for"), line.parse().unwrap()));
            origin(SocketAddr::new(peer.parse().unwrap(), 7), &headers.collect(), &trusted).ip().to_string()
        };
        assert_eq!(from("1.1.1.1", &["2.2.2.2"]), "1.1.1.1");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["6.6.6.6, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(from("::ffff:10.0.0.1", &["6.6.6.6, 2.2.2.2, 10.0.0.2"]), "2.2.2.2");
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "2.2.2.2", "10.0.0.2"]), "2.2.2.2");
        assert_eq!(from("10.0.0.1", &["6.6.6.6, garbage"]), "10.0.0.1");
    }
}
