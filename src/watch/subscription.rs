//! One subscription over a websocket that comes back by itself and goes on where it was.

use super::WatchError;
use super::view::{Match, Object};
use crate::client::endpoint::Endpoint;
use crate::client::stream::{self, CONNECT, Stream};
use crate::client::trust::Trust;
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

/// A peer that says nothing for so long is asked whether it is there …
const SILENCE: Duration = Duration::from_secs(20);
/// … and is taken for dead after so many silences in a row.
const SILENCES: u32 = 3;
/// The first pause before a new connection; each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Largest message: an initial result comes in one.
const MESSAGE: usize = 1 << 30;

/// What to subscribe to.
#[derive(Debug, Clone)]
pub struct Target {
    /// `http://host:port`, or `https://…`
    pub url: String,
    /// First segment of the API's paths, below that of the URL; none: the URL's own path, or `v1`
    pub base: Option<String>,
    /// The bucket
    pub bucket: String,
    /// The query's JSON text
    pub query: String,
    /// Whose rights; none is anonymous
    pub token: Option<String>,
    /// Whether the objects that match already are wanted
    pub initial: bool,
}

/// What comes from a subscription.
#[derive(Debug)]
pub enum Heard {
    /// The whole result
    Result {
        /// Its objects
        objects: Vec<Object>,
        /// Whether it is in place of events that were too many; else it is the first answer of a connection
        again: bool,
    },
    /// An event
    Match(Box<Match>),
    /// What follows is what was missed
    Resumed,
    /// The connection is gone; the next call waits for the pause and connects again
    Lost {
        /// Why
        reason: String,
        /// How long it will wait
        pause: Duration,
    },
}

/// The messages of the server. Types that are not known here are for newer clients.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum ServerMessage {
    Result {
        data: Vec<Object>,
        position: Option<String>,
    },
    Match(Match),
    Resumed {
        position: Option<String>,
    },
    Position {
        position: Option<String>,
    },
    Error {
        error: ServerError,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct ServerError {
    message: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

type Socket = WebSocketStream<Stream>;
type Frame = Option<Result<Message, tungstenite::Error>>;

/// A subscription.
#[derive(Debug)]
pub struct Subscription {
    target: Target,
    endpoint: Endpoint,
    trust: Trust,
    socket: Option<Socket>,
    /// A frame that came before it was asked for
    early: Option<Frame>,
    position: Option<String>,
    /// Whether there was ever a connection
    reached: bool,
    /// Whether this connection has brought a result, or word that it goes on
    answered: bool,
    pause: Duration,
    resting: Option<Duration>,
}

impl Subscription {
    /// A subscription that connects when it is first asked for something.
    pub fn new(target: Target, trust: Trust) -> Result<Subscription, WatchError> {
        let server = Endpoint::parse(&target.url)?;
        let base = match &target.base {
            Some(base) => server.below(base),
            None if server.path().is_empty() => server.below("v1"),
            None => server,
        };
        let endpoint = base.below("events");
        Ok(Subscription {
            target,
            endpoint,
            trust,
            socket: None,
            early: None,
            position: None,
            reached: false,
            answered: false,
            pause: FIRST_PAUSE,
            resting: None,
        })
    }

    /// Whether the objects that match already are wanted.
    pub fn wants_initial(&self) -> bool {
        self.target.initial
    }

    /// The next thing. Connects where there is no connection. An error ends it.
    pub async fn next(&mut self) -> Result<Heard, WatchError> {
        loop {
            let Some(socket) = self.socket.as_mut() else {
                if let Some(pause) = self.resting.take() {
                    tokio::time::sleep(pause).await;
                }
                match self.connect().await {
                    Ok(socket) => (self.socket, self.reached) = (Some(socket), true),
                    Err(error) if self.reached => return Ok(self.lost(error.to_string())),
                    Err(error) => return Err(error),
                }
                continue;
            };
            let frame = match self.early.take() {
                Some(frame) => frame,
                None => match patient(socket).await {
                    Some(frame) => frame,
                    None => return Ok(self.lost("the server has gone silent".to_owned())),
                },
            };
            let text = match frame {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(close))) => {
                    let why = close.map(|close| close.reason.to_string()).filter(|reason| !reason.is_empty());
                    return Ok(self.lost(why.unwrap_or_else(|| "the server closed it".to_owned())));
                }
                // Pongs are sent by the library.
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Ok(self.lost(error.to_string())),
                None => return Ok(self.lost("the server closed it".to_owned())),
            };
            let message = match serde_json::from_str(&text) {
                Ok(message) => message,
                Err(error) => return Ok(self.lost(format!("a message cannot be read: {error}"))),
            };
            if let Some(heard) = self.hear(message)? {
                return Ok(heard);
            }
        }
    }

    /// Whether something has come that [`Subscription::next`] would give at once.
    pub async fn has_more(&mut self) -> bool {
        if self.early.is_none()
            && let Some(socket) = self.socket.as_mut()
        {
            self.early = socket.next().now_or_never();
        }
        self.early.is_some()
    }

    fn hear(&mut self, message: ServerMessage) -> Result<Option<Heard>, WatchError> {
        let (heard, position) = match message {
            ServerMessage::Result { data, position } => (Some(Heard::Result { objects: data, again: self.answered }), position),
            ServerMessage::Match(event) => {
                let position = event.position.clone();
                (Some(Heard::Match(Box::new(event))), position)
            }
            ServerMessage::Resumed { position } => (Some(Heard::Resumed), position),
            ServerMessage::Position { position } => (None, position),
            ServerMessage::Unknown => return Ok(None),
            // The server has no time now, or is ending.
            ServerMessage::Error { error } if error.status == 503 => return Ok(Some(self.lost(error.message))),
            ServerMessage::Error { error } => {
                let code = error.code.or(error.reason).unwrap_or_else(|| error.status.to_string());
                return Err(WatchError::Refused { message: error.message, code });
            }
        };
        // Whoever is answered may try soon again next time.
        self.pause = FIRST_PAUSE;
        self.answered = true;
        if position.is_some() {
            self.position = position;
        }
        Ok(heard)
    }

    fn lost(&mut self, reason: String) -> Heard {
        (self.socket, self.early, self.answered) = (None, None, false);
        // Spread, so that the watchers of a server that restarts do not all come at once.
        let pause = self.pause.mul_f64(rand::random_range(0.75..1.25));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.resting = Some(pause);
        Heard::Lost { reason, pause }
    }

    async fn connect(&self) -> Result<Socket, WatchError> {
        let stream = stream::connect(&self.endpoint, &self.trust).await?;
        let unreachable = |reason| WatchError::Unreachable { url: self.endpoint.websocket(), reason };
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
        let asking = tokio_tungstenite::client_async_with_config(self.endpoint.websocket(), stream, Some(config));
        let (mut socket, _) = match tokio::time::timeout(CONNECT, asking).await {
            Ok(connected) => connected.map_err(|error| unreachable(error.to_string()))?,
            Err(_) => return Err(unreachable(format!("no answer within {} s", CONNECT.as_secs()))),
        };
        socket.send(Message::text(self.subscribe().to_string())).await.map_err(|error| unreachable(error.to_string()))?;
        Ok(socket)
    }

    fn subscribe(&self) -> Value {
        let mut message = json!({
            "id": uuid::Uuid::new_v4().to_string(),
            "type": "subscribe",
            "bucket": self.target.bucket,
            "query": self.target.query,
            "initial": self.target.initial,
            "matchTypes": ["all"],
            "operations": ["any"],
            "reconnects": -1,
            "extensions": true,
        });
        if let Some(message) = message.as_object_mut() {
            message.extend(self.target.token.clone().map(|token| ("token".to_owned(), token.into())));
            message.extend(self.position.clone().map(|position| ("position".to_owned(), position.into())));
        }
        message
    }
}

/// The next frame; none if the peer is dead.
async fn patient(socket: &mut Socket) -> Option<Frame> {
    for _ in 0..SILENCES {
        if let Ok(frame) = tokio::time::timeout(SILENCE, socket.next()).await {
            return Some(frame);
        }
        // If this fails, reading will say so.
        let _ = tokio::time::timeout(SILENCE, socket.send(Message::Ping(Vec::new().into()))).await;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target { url: url.into(), base: None, bucket: "Lot".into(), query: "{}".into(), token: None, initial: true }
    }

    #[test]
    fn addresses() {
        let address = |url| Subscription::new(target(url), Trust::default()).unwrap().endpoint.websocket();
        for url in ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "ws://127.0.0.1:8080"] {
            assert_eq!(address(url), "ws://127.0.0.1:8080/v1/events");
        }
        assert_eq!(address("https://host/shop"), "wss://host:443/shop/events");
        let below = Target { base: Some("v1".into()), ..target("http://host/api") };
        assert_eq!(Subscription::new(below, Trust::default()).unwrap().endpoint.websocket(), "ws://host:80/api/v1/events");
        for url in ["127.0.0.1:8080", "ftp://host", "http://"] {
            assert_eq!(Subscription::new(target(url), Trust::default()).unwrap_err().exit_code(), 2, "{url}");
        }
    }

    #[test]
    fn the_position_goes_on_with_what_comes() {
        let mut subscription = Subscription::new(target("http://h"), Trust::default()).unwrap();
        for (text, position) in [
            (r#"{"type":"result","data":[],"position":"a-1","id":"x","date":"d"}"#, "a-1"),
            (r#"{"type":"match","matchType":"add","operation":"insert","data":{"id":"/db/Lot/1"},"position":"a-2"}"#, "a-2"),
            (r#"{"type":"position","position":"a-5"}"#, "a-5"),
            (r#"{"type":"later","x":1}"#, "a-5"),
        ] {
            subscription.hear(serde_json::from_str(text).unwrap()).unwrap();
            assert_eq!(subscription.position.as_deref(), Some(position));
        }
        assert_eq!(subscription.subscribe()["position"], "a-5");
    }

    #[test]
    fn a_refusal_ends_it_and_trouble_does_not() {
        let mut subscription = Subscription::new(target("http://h"), Trust::default()).unwrap();
        let mut hear = |status: u16| {
            let text = json!({"type": "error", "error": {"message": "no", "status": status, "code": "bad-query"}}).to_string();
            subscription.hear(serde_json::from_str(&text).unwrap())
        };
        assert_eq!(hear(400).unwrap_err().to_string(), "no (bad-query)");
        assert!(matches!(hear(503), Ok(Some(Heard::Lost { .. }))));
    }
}
