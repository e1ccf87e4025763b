//! The websocket: one task for each connection that reads what the client says and sends what its outbox has.

use super::Gateway;
use super::connection::{Connection, End, Work};
use super::outbox::Outgoing;
use super::sse;
use super::subscription::Subscription;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Sink, Stream};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Idle connections are many: what each keeps for reading and writing is small. A larger message grows them.
const READ_BUFFER: usize = 2 << 10;
/// What is put together into one write.
const WRITE_BUFFER: usize = 16 << 10;
/// Writes in one turn before the client is listened to again.
const WRITES_A_TURN: usize = 8;
/// How long a client has to take the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// `GET /events`: a websocket if the request asks for an upgrade, else Server-Sent Events.
pub(crate) async fn events(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if !request.headers().contains_key(header::UPGRADE) {
        return sse::events(gateway, &request);
    }
    let (mut parts, _) = request.into_parts();
    let address = sse::remote(&parts.extensions);
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let Some(connection) = gateway.connect(address) else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], "too many connections; try again later").into_response();
    };
    // From here on the guard ends the connection, also where the upgrade fails.
    let guard = Guard { gateway: gateway.clone(), connection };
    let bytes = gateway.options.message_bytes;
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .on_upgrade(move |socket| serve(guard, socket))
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
    socket: WebSocket,
    /// Taken from the outbox and not yet given to the socket
    batch: VecDeque<Outgoing<Arc<Subscription>>>,
    taken: Vec<Outgoing<Arc<Subscription>>>,
    ping: bool,
    /// Given to the socket and perhaps not yet written
    dirty: bool,
    /// The client does not take what is written
    blocked: bool,
    /// The last time that the client showed that it lives
    alive: Instant,
    ticks: Interval,
}

async fn serve(guard: Guard, socket: WebSocket) {
    let (gateway, connection) = (&guard.gateway, &guard.connection);
    let ping = Duration::from_secs(gateway.options.ping_seconds.max(1));
    let dead = Duration::from_secs(gateway.options.dead_seconds.max(1));
    let period = ping.min(dead);
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut transport = Transport {
        socket,
        batch: VecDeque::new(),
        taken: Vec::new(),
        ping: false,
        dirty: false,
        blocked: false,
        alive: Instant::now(),
        ticks,
    };
    let end = loop {
        match poll_fn(|context| transport.poll_turn(gateway, connection, context)).await {
            Turn::Receive(Message::Text(text)) => gateway.receive(connection, &text),
            // Not text, hence no message: the answer says so.
            Turn::Receive(Message::Binary(_)) => gateway.receive(connection, ""),
            Turn::Receive(Message::Close(_)) => break End::Gone,
            Turn::Receive(Message::Ping(_) | Message::Pong(_)) => {}
            Turn::Tick if transport.alive.elapsed() > dead => break End::Gone,
            Turn::Tick => {
                transport.ping = true;
                connection.tell_positions(gateway.log(), gateway.frontier.get());
            }
            Turn::End(end) => break end,
        }
    };
    let code = if end == End::GoingAway { 1001 } else { 1000 };
    let farewell = async {
        let _ = transport.socket.send(Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

impl Transport {
    fn poll_turn(&mut self, gateway: &Arc<Gateway>, connection: &Connection, context: &mut Context<'_>) -> Poll<Turn> {
        if let Some(end) = self.poll_send(gateway, connection, context) {
            return Poll::Ready(Turn::End(end));
        }
        // Whoever does not read the answers to what he sends is not listened to any more.
        if !connection.is_congested() {
            match Pin::new(&mut self.socket).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    self.alive = Instant::now();
                    return Poll::Ready(Turn::Receive(message));
                }
                Poll::Ready(_) => return Poll::Ready(Turn::End(End::Gone)),
                Poll::Pending => {}
            }
        }
        self.ticks.poll_tick(context).map(|_| Turn::Tick)
    }

    /// Writes until there is nothing left or the client does not take more.
    fn poll_send(&mut self, gateway: &Arc<Gateway>, connection: &Connection, context: &mut Context<'_>) -> Option<End> {
        for _ in 0..WRITES_A_TURN {
            if self.batch.is_empty() {
                match connection.take(&mut self.taken, WRITE_BUFFER, context) {
                    Work::End(end) => return Some(end),
                    Work::Send | Work::Idle => self.batch.extend(self.taken.drain(..)),
                }
                gateway.take_care(connection);
                if self.batch.is_empty() && !self.ping && !self.dirty {
                    self.rest();
                    return None;
                }
            }
            while self.ping || !self.batch.is_empty() {
                match Pin::new(&mut self.socket).poll_ready(context) {
                    Poll::Ready(Ok(())) => self.unblocked(),
                    Poll::Ready(Err(_)) => return Some(End::Gone),
                    Poll::Pending => {
                        self.blocked = true;
                        return None;
                    }
                }
                let message = if std::mem::take(&mut self.ping) {
                    Message::Ping(Default::default())
                } else {
                    match self.batch.pop_front() {
                        Some(Outgoing::Event(subscription, event)) => {
                            Message::Text(event.message(&subscription.id, subscription.terms.selection.as_match()).into())
                        }
                        Some(Outgoing::Message(message)) => Message::Text(String::from(message.text).into()),
                        None => break,
                    }
                };
                self.dirty = true;
                if Pin::new(&mut self.socket).start_send(message).is_err() {
                    return Some(End::Gone);
                }
            }
            match Pin::new(&mut self.socket).poll_flush(context) {
                Poll::Ready(Ok(())) => {
                    self.dirty = false;
                    self.unblocked();
                }
                Poll::Ready(Err(_)) => return Some(End::Gone),
                Poll::Pending => {
                    self.blocked = true;
                    return None;
                }
            }
        }
        // There may be more: come back after others had their turn.
        context.waker().wake_by_ref();
        None
    }

    /// A write that was refused goes through now: the client has read, so it lives. One that goes through at
    /// once says nothing, the operating system takes it also for a peer that is gone.
    fn unblocked(&mut self) {
        if std::mem::take(&mut self.blocked) {
            self.alive = Instant::now();
        }
    }

    /// Idle: gives back what a burst has taken.
    fn rest(&mut self) {
        if self.batch.capacity() > 16 {
            (self.batch, self.taken) = (VecDeque::new(), Vec::new());
        }
    }
}
