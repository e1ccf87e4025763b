//! Carries the updates of the auction to a server, through the same HTTP API that everybody uses.
//!
//! Updates of one object go through one lane, one after the other; lanes run side by side. A lane knows the
//! version of each of its lots and writes on that condition, so that a visitor who bids in between is not
//! overwritten: the lane looks at what is there and goes on from that.

use super::auction::{LOT, Update, What};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Requests under way at a time. Writes that wait for the disk together are flushed together.
const LANES: usize = 32;
/// Updates that wait in one lane; then the auction waits.
const LANE_QUEUE: usize = 16;
/// A server that has too much to do is asked again so often.
const TRIES: u32 = 20;
/// A request that takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Idle connections are given up before the server does it, which takes 20 seconds.
const IDLE: Duration = Duration::from_secs(10);
/// A connection that fails under a request is replaced so often.
const CONNECTIONS: u32 = 5;

/// Why the demo's data could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The server did not answer
    #[error("the demo's own server does not answer: {0}")]
    Unreachable(#[from] reqwest::Error),
    /// The server said no
    #[error("the demo's own server refused {what} with status {status}: {message}")]
    Refused {
        /// Method and path
        what: String,
        /// The answer's status
        status: StatusCode,
        /// The answer's body
        message: String,
    },
    /// A lane ended early
    #[error("the demo's writer has ended; see the message before this one")]
    Ended,
}

impl WriteError {
    /// Stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            WriteError::Unreachable(_) => "demo-unreachable",
            WriteError::Refused { .. } => "demo-refused",
            WriteError::Ended => "demo-ended",
        }
    }
}

/// A lot that somebody else raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbid {
    /// Its id
    pub id: String,
    /// What it is at
    pub price: u32,
    /// How many bids it has
    pub bids: u32,
}

/// The API with somebody's rights.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    base: Arc<str>,
    token: Arc<str>,
}

impl Api {
    /// Signs in at a server; `base` is such as `http://127.0.0.1:8080/v1`.
    pub async fn sign_in(base: &str, user: &str, password: &str) -> Result<Api, WriteError> {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_idle_timeout(IDLE).build()?;
        let api = Api { client, base: base.into(), token: "".into() };
        let request = api.client.post(format!("{base}/db/User/login")).json(&json!({"username": user, "password": password}));
        let answer = request.send().await?;
        let token = answer.headers().get("baqend-authorization-token").and_then(|token| token.to_str().ok()).map(Arc::from);
        match token {
            Some(token) => Ok(Api { token, ..api }),
            None => Err(refused("POST /db/User/login", answer).await),
        }
    }

    /// Declares classes.
    pub async fn declare(&self, classes: &Value) -> Result<(), WriteError> {
        self.call(Method::POST, "/schema", Some(classes), None).await.map(drop)
    }

    /// One request; again, where the connection failed: every one of them may be made twice. The body of the answer;
    /// none where there is none, where the condition did not hold (412) or nothing is there (404), and where an
    /// insert that is made again finds itself done (409).
    async fn call(&self, method: Method, path: &str, body: Option<&Value>, version: Option<u64>) -> Result<Option<Value>, WriteError> {
        let mut pause = Duration::from_millis(20);
        for attempt in 1.. {
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
            request = request.header("authorization", format!("BAT {}", self.token));
            if let Some(version) = version {
                request = request.header("if-match", format!("\"{version}\""));
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = match request.send().await {
                Err(error) if attempt < CONNECTIONS => {
                    tracing::debug!(%error, "a request of the demo is made again");
                    tokio::time::sleep(pause).await;
                    continue;
                }
                answer => answer?,
            };
            match answer.status() {
                StatusCode::CONFLICT if attempt > 1 => return Ok(None),
                StatusCode::NO_CONTENT | StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED => return Ok(None),
                status if status.is_success() => return Ok(Some(answer.json().await?)),
                // The answer of a server under load; it did nothing yet.
                StatusCode::SERVICE_UNAVAILABLE if attempt < TRIES => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                _ => return Err(refused(&format!("{method} {path}"), answer).await),
            }
        }
        Err(WriteError::Ended)
    }
}

async fn refused(what: &str, answer: reqwest::Response) -> WriteError {
    let status = answer.status();
    WriteError::Refused { what: what.to_owned(), status, message: answer.text().await.unwrap_or_default() }
}

/// What a lane is told.
#[derive(Debug)]
enum Order {
    Write(Update),
    /// Say when everything before this is written
    Tell(oneshot::Sender<()>),
}

/// The lanes.
#[derive(Debug)]
pub struct Writer {
    lanes: Vec<mpsc::Sender<Order>>,
    outbids: mpsc::UnboundedReceiver<Outbid>,
    written: Arc<AtomicU64>,
    tasks: JoinSet<Result<(), WriteError>>,
}

impl Writer {
    /// Opens the lanes; they end with the writer.
    pub fn open(api: &Api) -> Writer {
        let (told, outbids) = mpsc::unbounded_channel();
        let written = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let lanes = (0..LANES).map(|_| {
            let (sender, queue) = mpsc::channel(LANE_QUEUE);
            let lane = Lane { api: api.clone(), lots: HashMap::new(), outbids: told.clone(), written: written.clone() };
            tasks.spawn(lane.run(queue));
            sender
        });
        Writer { lanes: lanes.collect(), outbids, written, tasks }
    }

    /// Hands an update over; waits while its lane is full.
    pub async fn write(&mut self, update: Update) -> Result<(), WriteError> {
        let lane = lane_of(&update.id);
        match self.lanes.get(lane) {
            Some(lane) if lane.send(Order::Write(update)).await.is_ok() => Ok(()),
            _ => Err(self.failure().await),
        }
    }

    /// Waits until everything that was handed over is acknowledged.
    pub async fn settle(&mut self) -> Result<(), WriteError> {
        let mut answers = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            let (sender, answer) = oneshot::channel();
            // A lane that has ended drops the sender, which is heard below.
            let _ = lane.send(Order::Tell(sender)).await;
            answers.push(answer);
        }
        for answer in answers {
            if answer.await.is_err() {
                return Err(self.failure().await);
            }
        }
        Ok(())
    }

    /// Updates that the server has acknowledged.
    pub fn written(&self) -> Arc<AtomicU64> {
        self.written.clone()
    }

    /// What others bid, as far as it was noticed.
    pub fn outbid(&mut self) -> Option<Outbid> {
        self.outbids.try_recv().ok()
    }

    async fn failure(&mut self) -> WriteError {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            _ => WriteError::Ended,
        }
    }
}

/// The same for the same id.
fn lane_of(id: &str) -> usize {
    id.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte))) % LANES
}

struct Lane {
    api: Api,
    /// The lots of this lane as the server has them
    lots: HashMap<String, Map<String, Value>>,
    outbids: mpsc::UnboundedSender<Outbid>,
    written: Arc<AtomicU64>,
}

impl Lane {
    async fn run(mut self, mut queue: mpsc::Receiver<Order>) -> Result<(), WriteError> {
        while let Some(order) = queue.recv().await {
            match order {
                Order::Write(update) => {
                    self.write(update).await?;
                    self.written.fetch_add(1, Ordering::Relaxed);
                }
                // Whoever asked may have gone.
                Order::Tell(whoever) => _ = whoever.send(()),
            }
        }
        Ok(())
    }

    async fn write(&mut self, update: Update) -> Result<(), WriteError> {
        match update.what {
            What::Insert(mut fields) => {
                fields.insert("id".into(), update.id.clone().into());
                let stored = self.api.call(Method::POST, &format!("/db/{}", update.bucket), Some(&Value::Object(fields)), None).await?;
                let stored = match stored {
                    None => self.api.call(Method::GET, &update.id, None, None).await?,
                    stored => stored,
                };
                self.learn(&update.id, stored);
            }
            What::Change(fields) => self.change(&update.id, fields).await?,
            What::Remove => {
                self.lots.remove(&update.id);
                self.api.call(Method::DELETE, &update.id, None, None).await?;
            }
        }
        Ok(())
    }

    /// Writes fields into what is there. A lost race is looked at and tried again; a bid that is no longer the
    /// highest is dropped.
    async fn change(&mut self, id: &str, fields: Map<String, Value>) -> Result<(), WriteError> {
        while let Some(lot) = self.lots.get(id) {
            if !raises(lot, &fields) {
                let number = |name: &str| lot.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
                // Nobody listens any more when the demo ends.
                let _ = self.outbids.send(Outbid { id: id.to_owned(), price: number("price"), bids: number("bids") });
                return Ok(());
            }
            let version = lot.get("version").and_then(Value::as_u64);
            let mut object = lot.clone();
            object.extend(fields.clone());
            let stored = match self.api.call(Method::PUT, id, Some(&Value::Object(object)), version).await? {
                Some(stored) => {
                    self.learn(id, Some(stored));
                    return Ok(());
                }
                None => self.api.call(Method::GET, id, None, None).await?,
            };
            self.learn(id, stored);
        }
        // Somebody else deleted it.
        Ok(())
    }

    fn learn(&mut self, id: &str, stored: Option<Value>) {
        match stored {
            Some(Value::Object(object)) if id.starts_with(&format!("/db/{LOT}/")) => {
                self.lots.insert(id.to_owned(), object);
            }
            _ => {
                self.lots.remove(id);
            }
        }
    }
}

/// Whether the fields still mean what they meant when they were decided: a bid is above what is there.
fn raises(lot: &Map<String, Value>, fields: &Map<String, Value>) -> bool {
    match (lot.get("price").and_then(Value::as_u64), fields.get("price").and_then(Value::as_u64)) {
        (Some(there), Some(bid)) => bid > there,
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bid_has_to_raise() {
        let lot = |value: Value| value.as_object().unwrap().clone();
        let there = lot(json!({"price": 100, "state": "open"}));
        assert!(raises(&there, &lot(json!({"price": 110}))));
        assert!(!raises(&there, &lot(json!({"price": 100}))));
        assert!(raises(&there, &lot(json!({"state": "sold"}))));
    }
}
