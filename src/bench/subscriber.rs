//! A reader's connection: a websocket with many subscriptions, and what came over it.

use super::BenchError;
use super::http::Base;
use crate::client::stream::Stream;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long anything is waited for before the run is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection.
#[derive(Debug)]
pub struct Subscriber {
    socket: WebSocketStream<Stream>,
}

/// What the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The initial result of the subscription with this number, and how many objects it has
    Result {
        /// The subscription
        subscription: usize,
        /// Its objects
        objects: usize,
    },
    /// An event
    Event {
        /// The subscription
        subscription: usize,
        /// The number of the write that it is about
        mark: u64,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default, borrow)]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Marked {
    mark: u64,
}

impl Subscriber {
    /// Connects.
    pub async fn connect(base: &Base) -> Result<Subscriber, BenchError> {
        let stream = base.connect().await?;
        let connected = tokio_tungstenite::client_async(base.events(), stream).await;
        let (socket, _) = connected.map_err(|error| BenchError::connection("opening a websocket", error))?;
        Ok(Subscriber { socket })
    }

    /// Asks for a subscription; its result comes through [`Subscriber::hear`]. Nothing is sent before [`Subscriber::flush`].
    pub async fn subscribe(&mut self, number: usize, bucket: &str, query: &str) -> Result<(), BenchError> {
        let message = serde_json::json!({
            "id": number.to_string(), "type": "subscribe", "bucket": bucket, "query": query,
            "initial": true, "matchTypes": ["all"], "operations": ["any"], "reconnects": -1,
        });
        let fed = self.socket.feed(Message::text(message.to_string())).await;
        fed.map_err(|error| BenchError::connection("subscribing", error))
    }

    /// Ends a subscription.
    pub async fn unsubscribe(&mut self, number: usize) -> Result<(), BenchError> {
        let message = format!(r#"{{"id":"{number}","type":"unsubscribe"}}"#);
        self.socket.feed(Message::text(message)).await.map_err(|error| BenchError::connection("unsubscribing", error))
    }

    /// Sends what was asked for.
    pub async fn flush(&mut self) -> Result<(), BenchError> {
        self.socket.flush().await.map_err(|error| BenchError::connection("subscribing", error))
    }

    /// The next thing that the server says, and when it came. An `error` of the server ends the run.
    pub async fn hear(&mut self) -> Result<(Heard, Instant), BenchError> {
        loop {
            let message = match self.socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(BenchError::connection("listening", error)),
                None => return Err(BenchError::connection("listening", "the server closed the websocket")),
            };
            let Message::Text(text) = message else { continue };
            let at = Instant::now();
            if let Some(heard) = read(&text)? {
                return Ok((heard, at));
            }
        }
    }

    /// Reads until so many subscriptions have their result.
    pub async fn results(&mut self, mut missing: usize) -> Result<usize, BenchError> {
        let mut sum = 0;
        while missing > 0 {
            let heard = tokio::time::timeout(PATIENCE, self.hear()).await;
            let slow = |_| BenchError::Slow { what: "an initial result".to_owned(), seconds: PATIENCE.as_secs() };
            if let (Heard::Result { objects, .. }, _) = heard.map_err(slow)?? {
                missing -= 1;
                sum += objects;
            }
        }
        Ok(sum)
    }

    /// The bare stream, for who reads frames himself. What came and was not heard yet may be lost.
    pub fn into_stream(self) -> Stream {
        self.socket.into_inner()
    }

    /// Says good-bye.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}

fn read(text: &str) -> Result<Option<Heard>, BenchError> {
    let garbled =
        |reason: String| BenchError::Fault(format!("a message cannot be read ({reason}): {}", text.chars().take(300).collect::<String>()));
    let wire: Wire<'_> = serde_json::from_str(text).map_err(|error| garbled(error.to_string()))?;
    let subscription = || wire.id.and_then(|id| id.parse().ok()).ok_or_else(|| garbled("it is of no subscription of ours".to_owned()));
    let data = || wire.data.map(RawValue::get).ok_or_else(|| garbled("it has no data".to_owned()));
    match wire.kind {
        "result" => {
            let objects: Vec<&RawValue> = serde_json::from_str(data()?).map_err(|error| garbled(error.to_string()))?;
            Ok(Some(Heard::Result { subscription: subscription()?, objects: objects.len() }))
        }
        "match" => match serde_json::from_str::<Marked>(data()?) {
            Ok(Marked { mark }) => Ok(Some(Heard::Event { subscription: subscription()?, mark })),
            // A `remove` by a delete has the id alone: the bench's own objects going at the end.
            Err(_) => Ok(None),
        },
        "error" => Err(BenchError::Refused { what: "a subscription".to_owned(), answer: text.chars().take(300).collect() }),
        _ => Ok(None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let event = r#"{"id":"7","type":"match","date":"","matchType":"add","operation":"insert","data":{"id":"/db/a/1","mark":12}}"#;
        assert_eq!(read(event).unwrap(), Some(Heard::Event { subscription: 7, mark: 12 }));
        let result = r#"{"id":"7","type":"result","date":"","data":[{},{}]}"#;
        assert_eq!(read(result).unwrap(), Some(Heard::Result { subscription: 7, objects: 2 }));
        let deleted = r#"{"id":"7","type":"match","matchType":"remove","operation":"delete","data":{"id":"/db/a/1"}}"#;
        assert_eq!(read(deleted).unwrap(), None);
        assert_eq!(read(r#"{"type":"error","error":{"message":"no"}}"#).unwrap_err().code(), "bench-refused");
        assert_eq!(read("{").unwrap_err().code(), "bench-fault");
    }
}
