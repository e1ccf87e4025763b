//! A websocket client of the protocol that keeps all it was told, by subscription and as raw frames.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tidegate::changelog::Position;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

/// What the server said about a subscription. Positions are commit numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Result { position: u64, fresh: bool, data: Vec<Value> },
    Event { position: u64, match_type: String, operation: String, data: Value },
    Position { position: u64 },
    Resumed { position: u64 },
    Error { status: u64, code: String, message: String },
}

impl Told {
    /// The commit that it says is reached.
    pub fn position(&self) -> Option<u64> {
        match self {
            Told::Result { position, .. } | Told::Event { position, .. } | Told::Position { position } => Some(*position),
            Told::Resumed { .. } | Told::Error { .. } => None,
        }
    }

    /// Of a frame that is about a subscription.
    pub fn read(frame: &Value) -> Told {
        let position = || {
            let text = frame["position"].as_str().unwrap_or_else(|| panic!("no position in {frame}"));
            text.parse::<Position>().unwrap().commit()
        };
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text is missing in {frame}")).to_owned();
        assert!(frame["date"].is_string(), "no date in {frame}");
        match frame["type"].as_str() {
            Some("result") => Told::Result {
                position: position(),
                fresh: frame["fresh"] == true,
                data: frame["data"].as_array().unwrap_or_else(|| panic!("no data in {frame}")).clone(),
            },
            Some("match") => Told::Event {
                position: position(),
                match_type: text(&frame["matchType"]),
                operation: text(&frame["operation"]),
                data: frame["data"].clone(),
            },
            Some("position") => Told::Position { position: position() },
            Some("resumed") => Told::Resumed { position: position() },
            Some("error") => {
                let error = &frame["error"];
                Told::Error {
                    status: error["status"].as_u64().unwrap_or(0),
                    code: error["code"].as_str().unwrap_or_default().to_owned(),
                    message: text(&error["message"]),
                }
            }
            _ => panic!("the SDK knows no such message: {frame}"),
        }
    }
}

/// What a subscription asks for beside bucket and query.
#[derive(Debug, Clone)]
pub struct Terms {
    pub token: Option<String>,
    pub initial: bool,
    pub match_types: Vec<String>,
    pub operations: Vec<String>,
    pub reconnects: i64,
    pub position: Option<String>,
    pub extensions: bool,
}

impl Default for Terms {
    /// What a result stream of the SDK sends.
    fn default() -> Terms {
        let list = |text: &str| vec![text.to_owned()];
        Terms {
            token: None,
            initial: true,
            match_types: list("all"),
            operations: list("any"),
            reconnects: -1,
            position: None,
            extensions: false,
        }
    }
}

impl Terms {
    /// With messages beyond the SDK's: `position`, `resumed`.
    pub fn extended() -> Terms {
        Terms { extensions: true, ..Terms::default() }
    }

    pub fn of(token: Option<&str>) -> Terms {
        Terms { token: token.map(str::to_owned), ..Terms::default() }
    }
}

/// One connection.
#[derive(Clone)]
pub struct Socket {
    inner: Arc<Inner>,
}

struct Inner {
    out: mpsc::UnboundedSender<Message>,
    inboxes: Mutex<HashMap<String, Arc<Inbox>>>,
    /// What is about no subscription
    rest: Arc<Inbox>,
    closed: watch::Receiver<bool>,
    reader: tokio::task::AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Inbox {
    told: Mutex<Vec<Told>>,
    /// The frames as they came, and the log that their positions are of
    frames: Mutex<Vec<String>>,
    last: Mutex<Option<String>>,
    count: watch::Sender<usize>,
}

impl Inbox {
    fn new() -> Arc<Inbox> {
        Arc::new(Inbox { told: Mutex::default(), frames: Mutex::default(), last: Mutex::default(), count: watch::Sender::new(0) })
    }

    fn put(&self, text: &str, frame: &Value) {
        self.frames.lock().unwrap().push(text.to_owned());
        if let Some(position) = frame["position"].as_str() {
            *self.last.lock().unwrap() = Some(position.to_owned());
        }
        let mut told = self.told.lock().unwrap();
        told.push(Told::read(frame));
        self.count.send_replace(told.len());
    }
}

/// A subscription, from its beginning to its end.
#[derive(Clone)]
pub struct Subscription {
    pub id: String,
    pub bucket: String,
    pub query: String,
    inbox: Arc<Inbox>,
    socket: Socket,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Socket {
    /// `base` is that of the API, `http://…/v1`.
    pub async fn connect(base: &str) -> Socket {
        Socket::try_connect(base).await.unwrap_or_else(|error| panic!("no websocket at {base}: {error}"))
    }

    pub async fn try_connect(base: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let url = format!("{}/events", base.replacen("http", "ws", 1));
        let (stream, _) = tokio_tungstenite::connect_async_with_config(url, None, true).await?;
        let (mut write, mut read) = stream.split();
        let (out, mut outgoing) = mpsc::unbounded_channel();
        let (close, closed) = watch::channel(false);
        tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                if write.send(message).await.is_err() {
                    break;
                }
            }
        });
        let (inner_send, inner_receive) = tokio::sync::oneshot::channel::<std::sync::Weak<Inner>>();
        let reader = tokio::spawn(async move {
            let Ok(inner) = inner_receive.await else { return };
            while let Some(Ok(message)) = read.next().await {
                let Message::Text(text) = message else { continue };
                let Some(inner) = inner.upgrade() else { return };
                let frame: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the frame {text}"));
                let id = frame["id"].as_str().unwrap_or_default();
                let inbox = inner.inboxes.lock().unwrap().get(id).cloned();
                inbox.unwrap_or_else(|| inner.rest.clone()).put(&text, &frame);
            }
            close.send_replace(true);
        });
        let inner = Inner { out, inboxes: Mutex::default(), rest: Inbox::new(), closed, reader: reader.abort_handle() };
        let inner = Arc::new(inner);
        let _ = inner_send.send(Arc::downgrade(&inner));
        Ok(Socket { inner })
    }

    /// Subscribes; does not wait for anything.
    pub fn subscribe(&self, bucket: &str, query: &str, terms: &Terms) -> Subscription {
        let id = format!("s{}", NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let mut message = json!({
            "id": id, "type": "subscribe", "bucket": bucket, "query": query, "initial": terms.initial,
            "matchTypes": terms.match_types, "operations": terms.operations, "reconnects": terms.reconnects,
        });
        if let Some(token) = &terms.token {
            message["token"] = json!(token);
        }
        if let Some(position) = &terms.position {
            message["position"] = json!(position);
        }
        if terms.extensions {
            message["extensions"] = json!(true);
        }
        let inbox = Inbox::new();
        self.inner.inboxes.lock().unwrap().insert(id.clone(), inbox.clone());
        self.send(message.to_string());
        Subscription { id, bucket: bucket.to_owned(), query: query.to_owned(), inbox, socket: self.clone() }
    }

    /// Sends any text.
    pub fn send(&self, text: impl Into<String>) {
        let _ = self.inner.out.send(Message::Text(text.into().into()));
    }

    /// Sends any message.
    pub fn send_message(&self, message: Message) {
        let _ = self.inner.out.send(message);
    }

    /// What was said about no subscription that is known here.
    pub fn others(&self) -> Vec<Told> {
        self.inner.rest.told.lock().unwrap().clone()
    }

    /// Waits until something was said about no subscription.
    pub async fn other(&self) -> Told {
        let mut count = self.inner.rest.count.subscribe();
        tokio::time::timeout(super::PATIENCE, count.wait_for(|count| *count > 0)).await.expect("nothing was said").unwrap();
        self.others()[0].clone()
    }

    /// Waits until the other side has closed.
    pub async fn closed(&self) {
        let mut closed = self.inner.closed.clone();
        let _ = tokio::time::timeout(super::PATIENCE, closed.wait_for(|closed| *closed)).await.expect("the connection stays open");
    }

    /// Drops the connection as a network does: without a good-bye. When this returns, nothing more is read:
    /// the reader may still be in the middle of what had arrived, and what it puts down after the last position
    /// was asked for would look as if it had been told twice.
    pub async fn cut(&self) {
        self.inner.reader.abort();
        let mut closed = self.inner.closed.clone();
        // Its sender goes with the reader.
        let _ = closed.wait_for(|closed| *closed).await;
        let _ = self.inner.out.send(Message::Close(None));
    }
}

impl Subscription {
    /// All that was said so far.
    pub fn told(&self) -> Vec<Told> {
        self.inbox.told.lock().unwrap().clone()
    }

    /// All frames so far, as they came.
    pub fn frames(&self) -> Vec<String> {
        self.inbox.frames.lock().unwrap().clone()
    }

    /// The last position that was said, as text: what a client comes back with.
    pub fn last_position(&self) -> Option<String> {
        self.inbox.last.lock().unwrap().clone()
    }

    /// Number of messages so far.
    pub fn count(&self) -> usize {
        *self.inbox.count.borrow()
    }

    pub fn unsubscribe(&self) {
        self.socket.send(json!({"id": self.id, "type": "unsubscribe"}).to_string());
    }

    /// What was said last.
    pub fn last(&self) -> Option<Told> {
        self.inbox.told.lock().unwrap().last().cloned()
    }

    /// Waits until what was said is enough, and gives all of it.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        self.wait(what, enough).await;
        self.told()
    }

    /// Waits until what was said is enough.
    pub async fn wait(&self, what: &str, enough: impl Fn(&[Told]) -> bool) {
        let mut count = self.inbox.count.subscribe();
        let waited = tokio::time::timeout(super::PATIENCE, async {
            loop {
                count.borrow_and_update();
                if enough(&self.inbox.told.lock().unwrap()) {
                    return;
                }
                if count.changed().await.is_err() {
                    panic!("the subscription is gone");
                }
            }
        })
        .await;
        if waited.is_err() {
            let told = self.told();
            let last = told.iter().rev().take(3).collect::<Vec<_>>();
            panic!("waited in vain for {what} of {} on {}; {} messages, the last ones {last:?}", self.query, self.bucket, told.len());
        }
    }

    /// Waits for the result or for an error.
    pub async fn answered(&self) -> Vec<Told> {
        self.until("the result", |told| {
            told.iter().any(|told| matches!(told, Told::Result { .. } | Told::Resumed { .. } | Told::Error { .. }))
        })
        .await
    }

    /// Waits for the commit by the subscription's own messages, or its end by an error.
    pub async fn reached(&self, commit: u64) -> Vec<Told> {
        self.until(&format!("position {commit}"), |told| {
            told.last().is_some_and(|last| matches!(last, Told::Error { .. }))
                || told.iter().rev().find_map(Told::position).is_some_and(|position| position >= commit)
        })
        .await
    }
}
