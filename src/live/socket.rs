//! The websocket: one task for each connection that reads what the client says and sends what its outbox has.

use super::Gateway;
use super::connection::{Connection, End};
use super::outbox::Outgoing;
use super::sse;
use super::subscription::Subscription;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Idle connections are many: what each keeps for reading and writing is small. A larger message grows them.
const READ_BUFFER: usize = 2 << 10;
/// What is put together into one write.
const WRITE_BUFFER: usize = 16 << 10;
/// A longer text goes out in frames of this size: the buffer for writing, which never shrinks, and what is
/// copied when the socket takes only a part, are then bounded, however large a result is.
const PIECE: usize = 64 << 10;
/// What the client has not taken is no longer than this: what is put together, a piece behind it, and answers to pings.
const UNWRITTEN: usize = WRITE_BUFFER + PIECE + (4 << 10);
/// Writes in one turn before the client is listened to again.
const WRITES_A_TURN: usize = 8;
/// How long a client has to take the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// Some clients offer other protocols (`h2c`) with every request, and take the answer without them.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let protocols = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    protocols.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

/// `GET /events`: a websocket if the request asks for one, else Server-Sent Events.
pub(crate) async fn events(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !asks_for_websocket(request.headers()) {
        return sse::events(gateway, request).await;
    }
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("this is no websocket handshake: {error}")).into_response(),
    };
    let Some(connection) = gateway.connect(sse::app(&gateway, &request), sse::remote(request.extensions())) else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], "too many connections; try again later").into_response();
    };
    // From here on the guard ends the connection, also where the upgrade fails.
    let guard = Guard { gateway, connection };
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => serve(guard, upgraded).await,
            Err(error) => tracing::debug!(%error, "a websocket handshake was not finished"),
        }
    });
    response
}

/// Ends the connection when it is dropped.
pub(crate) struct Guard {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) connection: Arc<Connection>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.gateway.disconnect(&self.connection);
    }
}

/// What the task does next.
enum Turn {
    Receive(Message),
    Tick,
    End(End),
}

struct Transport {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    /// Taken from the outbox and not yet given to the socket
    batch: VecDeque<Outgoing<Arc<Subscription>>>,
    /// What is left of a long text, of which the client has the beginning
    rest: Bytes,
    taken: Vec<Outgoing<Arc<Subscription>>>,
    ping: bool,
    /// Given to the socket and perhaps not yet written
    dirty: bool,
    /// The client does not take what is written
    blocked: bool,
    /// Nothing is taken from the client until it has read
    congested: bool,
    /// The last time that the client showed that it lives
    alive: Instant,
    ticks: Interval,
}

async fn serve(guard: Guard, upgraded: Upgraded) {
    let (gateway, connection) = (&guard.gateway, &guard.connection);
    let limit = Some(gateway.options.message_bytes);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(UNWRITTEN)
        .max_message_size(limit)
        .max_frame_size(limit);
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let ping = Duration::from_secs(gateway.options.ping_seconds.max(1));
    let dead = Duration::from_secs(gateway.options.dead_seconds.max(1));
    let period = ping.min(dead);
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut transport = Transport {
        socket,
        batch: VecDeque::new(),
        rest: Bytes::new(),
        taken: Vec::new(),
        ping: false,
        dirty: false,
        blocked: false,
        congested: false,
        alive: Instant::now(),
        ticks,
    };
    let end = loop {
        match poll_fn(|context| transport.poll_turn(gateway, connection, context)).await {
            // In a box, as the task of a connection that says nothing is to be small.
            Turn::Receive(Message::Text(text)) => Box::pin(gateway.receive(connection, &text)).await,
            // Not text, hence no message: the answer says so.
            Turn::Receive(Message::Binary(_)) => Box::pin(gateway.receive(connection, "")).await,
            Turn::Receive(Message::Close(_)) => break End::Gone,
            // Its answer goes out before another one is read.
            Turn::Receive(Message::Ping(_)) => transport.dirty = true,
            Turn::Receive(Message::Pong(_) | Message::Frame(_)) => {}
            Turn::Tick if transport.alive.elapsed() > dead => break End::Gone,
            Turn::Tick => {
                transport.ping = true;
                connection.tell_positions(gateway.log(), gateway.frontier.get());
            }
            Turn::End(end) => break end,
        }
    };
    let code = match end {
        End::GoingAway => CloseCode::Away,
        End::Gone => CloseCode::Normal,
        End::Banned => CloseCode::Policy,
    };
    let farewell = transport.socket.send(Message::Close(Some(CloseFrame { code, reason: Default::default() })));
    // One that is gone already does not take it.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

impl Transport {
    fn poll_turn(&mut self, gateway: &Arc<Gateway>, connection: &Connection, context: &mut Context<'_>) -> Poll<Turn> {
        if let Some(end) = self.poll_send(gateway, connection, context) {
            return Poll::Ready(Turn::End(end));
        }
        // First: a client that says something all the time does not put it off.
        if self.ticks.poll_tick(context).is_ready() {
            return Poll::Ready(Turn::Tick);
        }
        if !self.congested {
            match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    // One that takes nothing lives by reading alone: what it says meanwhile adds up here.
                    if !self.blocked {
                        self.alive = Instant::now();
                    }
                    return Poll::Ready(Turn::Receive(message));
                }
                Poll::Ready(_) => return Poll::Ready(Turn::End(End::Gone)),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Writes until there is nothing left or the client does not take more.
    fn poll_send(&mut self, gateway: &Arc<Gateway>, connection: &Connection, context: &mut Context<'_>) -> Option<End> {
        if self.blocked {
            // Before anything is added to what it has not taken.
            match self.poll_flush(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Some(end),
                Poll::Pending => return self.wait_for_client(gateway, connection, context),
            }
        }
        for _ in 0..WRITES_A_TURN {
            if self.batch.is_empty() && self.rest.is_empty() {
                let work = connection.take(&mut self.taken, WRITE_BUFFER, context);
                if work.end.is_some() {
                    return work.end;
                }
                if work.care {
                    gateway.take_care(connection);
                }
                self.congested = work.congested;
                self.batch.extend(self.taken.drain(..));
                if self.batch.is_empty() && !self.ping && !self.dirty {
                    self.slim();
                    return None;
                }
            }
            while self.ping || !self.rest.is_empty() || !self.batch.is_empty() {
                match Pin::new(&mut self.socket).poll_ready(context) {
                    Poll::Ready(Ok(())) => self.unblocked(),
                    Poll::Ready(Err(_)) => return Some(End::Gone),
                    Poll::Pending => return self.wait_for_client(gateway, connection, context),
                }
                let Some(message) = self.next_message() else { break };
                self.dirty = true;
                if Pin::new(&mut self.socket).start_send(message).is_err() {
                    return Some(End::Gone);
                }
            }
            match self.poll_flush(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Some(end),
                Poll::Pending => return self.wait_for_client(gateway, connection, context),
            }
        }
        // There may be more: come back after others had their turn.
        context.waker().wake_by_ref();
        None
    }

    /// Whether all that was given to the socket is on its way.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let flushed = std::task::ready!(Pin::new(&mut self.socket).poll_flush(context));
        Poll::Ready(match flushed {
            Ok(()) => {
                self.dirty = false;
                self.unblocked();
                Ok(())
            }
            Err(_) => Err(End::Gone),
        })
    }

    /// The client takes nothing: it is listened to only as long as what it says has few answers.
    fn wait_for_client(&mut self, gateway: &Arc<Gateway>, connection: &Connection, context: &Context<'_>) -> Option<End> {
        self.blocked = true;
        let work = connection.blocked(context);
        if work.end.is_none() && work.care {
            gateway.take_care(connection);
        }
        self.congested = work.congested;
        work.end
    }

    /// What is given to the socket next: a ping, a piece of a long text, or a message.
    fn next_message(&mut self) -> Option<Message> {
        if std::mem::take(&mut self.ping) {
            return Some(Message::Ping(Bytes::new()));
        }
        if !self.rest.is_empty() {
            let piece = self.rest.split_to(PIECE.min(self.rest.len()));
            return Some(Message::Frame(Frame::message(piece, OpCode::Data(Data::Continue), self.rest.is_empty())));
        }
        let text = match self.batch.pop_front()? {
            Outgoing::Event(subscription, event) => event.message(&subscription.id, subscription.terms.selection.as_match()),
            Outgoing::Message(message) => message.text.into(),
        };
        if text.len() <= PIECE {
            return Some(Message::Text(text.into()));
        }
        self.rest = Bytes::from(text);
        let piece = self.rest.split_to(PIECE);
        Some(Message::Frame(Frame::message(piece, OpCode::Data(Data::Text), false)))
    }

    /// A write that was refused goes through now: the client has read, so it lives. One that goes through at
    /// once says nothing, the operating system takes it also for a peer that is gone.
    fn unblocked(&mut self) {
        if std::mem::take(&mut self.blocked) {
            self.alive = Instant::now();
        }
    }

    /// Idle: gives back what a burst has taken.
    fn slim(&mut self) {
        if self.batch.capacity() > 16 {
            (self.batch, self.taken) = (VecDeque::new(), Vec::new());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_is_what_is_asked_for_by_that_name() {
        let asks = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::UPGRADE, value.parse().unwrap());
            }
            asks_for_websocket(&headers)
        };
        for values in [&["websocket"][..], &["WebSocket"], &["h2c, Websocket"], &["h2c", "websocket"]] {
            assert!(asks(values), "{values:?}");
        }
        for values in [&[][..], &["h2c"], &["websocket2"], &["TLS/1.0, HTTP/1.1"]] {
            assert!(!asks(values), "{values:?}");
        }
    }
}
