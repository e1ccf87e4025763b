//! The same stream as Server-Sent Events: `GET <base>/events?bucket=…&q=…`.
//!
//! One stream, one subscription. `event:` is the message's type, `id:` its position, `data:` the message as on
//! the websocket. A client that comes back with `Last-Event-ID` gets what it missed.

use super::Gateway;
use super::messages::{self, Refused, Subscribe, bucket_name};
use super::outbox::Outgoing;
use super::socket::Guard;
use super::subscription::Subscription;
use crate::apps::App;
use crate::auth::Session;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use serde::Deserialize;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// The one subscription's id on every message.
const ID: &str = "events";
/// What is put together into one write.
const CHUNK: usize = 16 << 10;

/// What stands in the URL.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    bucket: Option<Box<str>>,
    q: Option<Box<str>>,
    /// `false`: the result is empty
    initial: Option<bool>,
    /// Separated by commas
    match_types: Option<Box<str>>,
    operations: Option<Box<str>>,
    /// As `Last-Event-ID`, for a client that begins a new stream itself
    position: Option<Box<str>>,
    ticket: Option<Box<str>>,
    sort: Option<Box<str>>,
    limit: Option<Box<str>>,
    offset: Option<Box<str>>,
}

/// The address that a request came from; none known is an address of its own.
pub(crate) fn remote(extensions: &axum::http::Extensions) -> IpAddr {
    extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

/// `GET /events` without an upgrade.
pub(crate) async fn events(gateway: Arc<Gateway>, request: Request) -> Response {
    // The request itself cannot be kept while others are waited for.
    let asked = ask(gateway, &request);
    drop(request);
    let opened = match asked {
        Ok(asked) => open(asked).await,
        Err(refused) => Err(refused),
    };
    match opened {
        Ok(stream) => {
            let headers = [
                (header::CONTENT_TYPE, "text/event-stream"),
                (header::CACHE_CONTROL, "no-store"),
                // Proxies that collect answers would keep events back.
                (header::HeaderName::from_static("x-accel-buffering"), "no"),
            ];
            (headers, Body::new(stream)).into_response()
        }
        Err(refused) => answer_of(&refused),
    }
}

/// `POST /events/ticket`.
pub(crate) async fn ticket(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let app = app(&gateway, &request).name.clone();
    let session = bearer(request.headers()).and_then(|token| gateway.authenticate.session(&app, token));
    let Some(session) = session else {
        return answer_of(&Refused::new(466, "login-required", "log in to get a ticket; an anonymous event stream needs none"));
    };
    match gateway.tickets.issue(app, session) {
        Some(ticket) => {
            let seconds = gateway.options.ticket_seconds;
            let body = serde_json::json!({ "ticket": ticket, "seconds": seconds });
            ([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
        }
        None => answer_of(&Refused::new(503, "too-many-tickets", "too many tickets are out; try again in a minute")),
    }
}

/// The app that a request was found to be for; the default one where nothing looked.
pub(crate) fn app(gateway: &Gateway, request: &Request) -> Arc<App> {
    request.extensions().get::<Arc<App>>().unwrap_or_else(|| gateway.apps.default_app()).clone()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("BAT ")
}

fn answer_of(refused: &Refused) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // As every error of the API: the reason is the code.
    let body = serde_json::json!({
        "className": refused.reason().replace(' ', ""), "message": refused.message, "reason": refused.code, "status": refused.status,
    });
    (status, axum::Json(body)).into_response()
}

/// A stream that is asked for, and its place among the connections.
struct Asked {
    guard: Guard,
    subscribe: Subscribe,
    session: Session,
}

fn ask(gateway: Arc<Gateway>, request: &Request) -> Result<Asked, Refused> {
    let bad = |what: String| Refused::new(400, "malformed-message", what);
    let Query(parameters) = Query::<Parameters>::try_from_uri(request.uri()).map_err(|error| bad(error.body_text()))?;
    let app = app(&gateway, request);
    let address = remote(request.extensions());
    let session = match (&parameters.ticket, bearer(request.headers())) {
        // A ticket that is nobody's is not taken for an anonymous caller: the client has to know.
        (Some(ticket), _) => {
            gateway.tickets.redeem(&app.name, ticket).and_then(|session| gateway.authenticate.again(&app.name, &session)).ok_or_else(
                || {
                    Refused::new(
                        466,
                        "ticket-invalid",
                        "the ticket is unknown, used or older than its lifetime; get a new one for each event stream",
                    )
                },
            )?
        }
        (None, Some(token)) => gateway.authenticate.session(&app.name, token).unwrap_or_else(|| Session::anonymous(address)),
        (None, None) => Session::anonymous(address),
    };
    let subscribe = subscribe(parameters, request.headers()).map_err(bad)?;
    let connection =
        gateway.connect(app, address).ok_or_else(|| Refused::new(503, "too-many-connections", "too many connections; try again later"))?;
    Ok(Asked { guard: Guard { gateway, connection }, subscribe, session })
}

async fn open(asked: Asked) -> Result<EventStream, Refused> {
    let Asked { guard, subscribe, session } = asked;
    let Guard { gateway, connection } = &guard;
    gateway.try_subscribe(connection, subscribe, &session).await?;
    let options = &gateway.options;
    let ping = Duration::from_secs(options.ping_seconds.max(1));
    let dead = Duration::from_secs(options.dead_seconds.max(options.ping_seconds * 2).max(1));
    let mut ticks = tokio::time::interval_at(Instant::now() + ping, ping);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::spawn(watch(Arc::downgrade(gateway), Arc::downgrade(connection), dead));
    Ok(EventStream { guard, taken: Vec::new(), ticks, begun: false })
}

/// Lets go of a stream that is not asked for its next piece any more: the peer does not read, or is gone.
async fn watch(gateway: std::sync::Weak<Gateway>, connection: std::sync::Weak<super::connection::Connection>, dead: Duration) {
    loop {
        tokio::time::sleep(dead).await;
        let (Some(gateway), Some(connection)) = (gateway.upgrade(), connection.upgrade()) else { return };
        if connection.has_ended() {
            return;
        }
        if connection.idle_for() > dead {
            gateway.disconnect(&connection);
            return;
        }
    }
}

fn subscribe(parameters: Parameters, headers: &HeaderMap) -> Result<Subscribe, String> {
    let bucket = parameters.bucket.ok_or("an event stream needs a bucket: ?bucket=Message")?;
    let list = |text: Option<Box<str>>| -> Vec<Box<str>> {
        text.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty()).map(Into::into).collect()
    };
    let last = headers.get("last-event-id").and_then(|position| position.to_str().ok()).filter(|position| !position.is_empty());
    let selection = messages::selection(Some(&list(parameters.match_types)), Some(&list(parameters.operations)))?;
    Ok(Subscribe {
        id: ID.into(),
        token: None,
        bucket: bucket_name(&bucket).ok_or("a bucket is a name such as Message, without slashes")?.into(),
        query: parameters.q.filter(|query| !query.trim_ascii().is_empty()).unwrap_or_else(|| "{}".into()),
        window: parameters.sort.is_some() || parameters.limit.is_some() || parameters.offset.is_some(),
        initial: parameters.initial.unwrap_or(true),
        selection,
        reconnects: true,
        position: last.map(Into::into).or(parameters.position),
        extensions: true,
    })
}

/// The body: what the connection's outbox has, as it comes.
struct EventStream {
    guard: Guard,
    taken: Vec<Outgoing<Arc<Subscription>>>,
    ticks: Interval,
    begun: bool,
}

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let Guard { gateway, connection } = &this.guard;
        let mut text = String::new();
        if !std::mem::replace(&mut this.begun, true) {
            // How long an EventSource waits before it comes back, milliseconds.
            text.push_str("retry: 2000\n\n");
        }
        if this.ticks.poll_tick(context).is_ready() {
            // Until ready again, so that the next tick wakes this task.
            while this.ticks.poll_tick(context).is_ready() {}
            connection.tell_positions(gateway.log(), gateway.frontier.get());
            text.push_str(":\n\n");
        }
        let work = connection.take(&mut this.taken, CHUNK, context);
        if work.care {
            gateway.take_care(connection);
        }
        for outgoing in this.taken.drain(..) {
            match outgoing {
                Outgoing::Event(subscription, event) => {
                    let as_match = subscription.terms.selection.as_match();
                    write(&mut text, "match", Some(&event.position().to_string()), &event.message(&subscription.id, as_match));
                }
                Outgoing::Message(message) => write(&mut text, message.kind, message.position.as_deref(), &message.text),
            }
        }
        if !text.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(text.into()))));
        }
        // Where there is no subscription any more it has ended with an error, which was sent.
        if work.end.is_some() || work.vacant { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// One event. A line end in the data begins another `data:` line, which the client joins again.
fn write(text: &mut String, kind: &str, position: Option<&str>, data: &str) {
    for (name, value) in [("event", Some(kind)), ("id", position)] {
        if let Some(value) = value {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push('\n');
        }
    }
    for line in data.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_in_an_object_stay_within_its_event() {
        let mut text = String::new();
        write(&mut text, "match", Some("1-2"), "{\n \"a\":1}");
        assert_eq!(text, "event: match\nid: 1-2\ndata: {\ndata:  \"a\":1}\n\n");
    }
}
