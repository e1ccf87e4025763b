//! The messages of the wire (docs/protocol.md).
//!
//! Strict about the types of what it knows, tolerant of fields that it does not know: newer clients may
//! say more. Nothing here looks into the query itself.

use crate::changelog::Position;
use dataflows::change::Operation;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;

use super::event::Kind;

/// Longest id of a subscription, bytes. The SDK sends 36.
pub const ID_BYTES: usize = 256;

/// Longest message of a refusal, bytes.
const MESSAGE_BYTES: usize = 1024;
/// Longest piece of what a client said that is repeated to it, bytes.
const ECHO_BYTES: usize = 64;

/// The beginning of a text that is longer than so many bytes.
fn short(text: &str, bytes: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= bytes { text.to_owned() } else { format!("{}{CUT}", &text[..text.floor_char_boundary(bytes - CUT.len())]) }
}

/// What a client says.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// Starts a subscription
    Subscribe(Box<Subscribe>),
    /// Ends one
    Unsubscribe {
        /// Which
        id: Box<str>,
    },
}

/// A subscription as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// The client's name for it; on every message about it
    pub id: Box<str>,
    /// Whose rights; none is anonymous
    pub token: Option<Box<str>>,
    /// The bucket, without `/db/`
    pub bucket: Box<str>,
    /// The query's JSON text
    pub query: Box<str>,
    /// Whether it asks for a window: `sort`, `limit` or `offset` is given
    pub window: bool,
    /// Whether `result` carries the objects (else it is empty)
    pub initial: bool,
    /// Which events
    pub selection: EventSelection,
    /// Whether the client comes back after trouble: not 0
    pub reconnects: bool,
    /// Where it left off
    pub position: Option<Box<str>>,
    /// Whether it knows message types beyond the SDK's
    pub extensions: bool,
}

/// Which events a subscription wants. Matched by operation or by kind, never both narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSelection {
    kinds: u8,
    operations: u8,
    as_match: bool,
}

const ALL_KINDS: u8 = 0b111;
const ANY_OPERATION: u8 = 0b1111;
const NO_OPERATION: u8 = 0b1000;

impl EventSelection {
    /// All events, under their own names.
    pub const ALL: EventSelection = EventSelection { kinds: ALL_KINDS, operations: ANY_OPERATION, as_match: false };

    /// Whether an event is wanted.
    pub fn wants(self, kind: Kind, operation: Operation) -> bool {
        self.kinds & kind_bit(kind) != 0 && self.operations & operation_bit(operation) != 0
    }

    /// Whether `add` and `change` are both told as `match`.
    pub fn as_match(self) -> bool {
        self.as_match
    }

    /// Whether every event is wanted, so that events of one object may be put together without a lie.
    pub fn is_complete(self) -> bool {
        self.kinds == ALL_KINDS && self.operations == ANY_OPERATION
    }
}

fn kind_bit(kind: Kind) -> u8 {
    match kind {
        Kind::Add => 1,
        Kind::Change => 2,
        Kind::Remove => 4,
    }
}

fn operation_bit(operation: Operation) -> u8 {
    match operation {
        Operation::Insert => 1,
        Operation::Update => 2,
        Operation::Delete => 4,
    }
}

/// Why something is refused; becomes an `error` message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// As in docs/errors.md
    pub status: u16,
    /// Stable, kebab-case, see docs/protocol.md
    pub code: Box<str>,
    /// What to do
    pub message: Box<str>,
}

impl Refused {
    /// A refusal.
    pub fn new(status: u16, code: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Refused {
        let mut message: Box<str> = message.into();
        // It may repeat what the client said.
        if message.len() > MESSAGE_BYTES {
            message = short(&message, MESSAGE_BYTES).into();
        }
        Refused { status, code: code.into(), message }
    }

    /// What the status stands for, as the SDK's `error.reason`.
    pub fn reason(&self) -> &'static str {
        match self.status {
            400 => "Bad Request",
            404 => "Not Found",
            429 => "Too Many Requests",
            460 => "Bad Credentials",
            466 => "Permission Denied",
            467 => "Query Disposed",
            468 => "Query Not Supported",
            469 => "Schema Incompatible",
            471 => "Syntax Error",
            503 => "Service Unavailable",
            _ => "Internal Error",
        }
    }
}

/// A frame that is no message, and whose it seems to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The id, where one can be read
    pub id: Option<Box<str>>,
    /// What is wrong
    pub refused: Refused,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(default)]
    token: Option<Box<str>>,
    #[serde(default)]
    bucket: Option<Box<str>>,
    #[serde(default)]
    query: Option<Box<str>>,
    #[serde(borrow, default)]
    sort: Option<&'a RawValue>,
    #[serde(borrow, default)]
    limit: Option<&'a RawValue>,
    #[serde(borrow, default)]
    offset: Option<&'a RawValue>,
    #[serde(default)]
    initial: Option<bool>,
    #[serde(default)]
    match_types: Option<Vec<Box<str>>>,
    #[serde(default)]
    operations: Option<Vec<Box<str>>>,
    #[serde(default)]
    reconnects: Option<i64>,
    #[serde(default)]
    position: Option<Box<str>>,
    #[serde(default)]
    extensions: Option<bool>,
}

/// Reads a frame. Pure; any text gives a message or says what is wrong with it.
pub fn parse(text: &str) -> Result<ClientMessage, Malformed> {
    let malformed = |id: Option<Box<str>>, what: String| Malformed { id, refused: Refused::new(400, "malformed-message", what) };
    let head: Head<'_> = serde_json::from_str(text)
        .map_err(|error| malformed(None, format!("the message is not a JSON object with id and type: {error}")))?;
    let string = |raw: Option<&RawValue>| raw.and_then(|raw| serde_json::from_str::<Box<str>>(raw.get()).ok());
    let id = string(head.id).filter(|id| !id.is_empty() && id.len() <= ID_BYTES);
    let Some(id) = id else {
        return Err(malformed(None, format!("a message needs an id: a string of 1 to {ID_BYTES} bytes")));
    };
    match string(head.kind).as_deref() {
        Some("unsubscribe") => Ok(ClientMessage::Unsubscribe { id }),
        Some("subscribe") => {
            let body: Body<'_> = match serde_json::from_str(text) {
                Ok(body) => body,
                Err(error) => return Err(malformed(Some(id), format!("the subscribe message cannot be read: {error}"))),
            };
            subscribe(id.clone(), body)
                .map_err(|what| malformed(Some(id), what))
                .map(|subscribe| ClientMessage::Subscribe(Box::new(subscribe)))
        }
        _ => Err(malformed(Some(id), "the type of a message is \"subscribe\" or \"unsubscribe\"".to_owned())),
    }
}

fn subscribe(id: Box<str>, body: Body<'_>) -> Result<Subscribe, String> {
    let bucket = body.bucket.ok_or("a subscription needs a bucket")?;
    Ok(Subscribe {
        id,
        token: body.token,
        bucket: bucket_name(&bucket).ok_or("a bucket is a name such as Message, without slashes")?.into(),
        query: body.query.filter(|query| !query.trim_ascii().is_empty()).unwrap_or_else(|| "{}".into()),
        window: body.sort.is_some() || body.limit.is_some() || body.offset.is_some(),
        initial: body.initial.unwrap_or(true),
        selection: selection(body.match_types.as_deref(), body.operations.as_deref())?,
        reconnects: body.reconnects.unwrap_or(-1) != 0,
        // Whoever gives a position knows what it is, and so what may come back.
        extensions: body.extensions.unwrap_or(false) || body.position.is_some(),
        position: body.position,
    })
}

/// A bucket's name without `/db/`; none if it is no name.
pub fn bucket_name(bucket: &str) -> Option<&str> {
    let name = bucket.strip_prefix("/db/").unwrap_or(bucket);
    (!name.is_empty() && name.len() <= 256 && !name.contains('/')).then_some(name)
}

/// Reads `matchTypes` and `operations`; absent or empty is everything.
pub fn selection(match_types: Option<&[Box<str>]>, operations: Option<&[Box<str>]>) -> Result<EventSelection, String> {
    let mut selection = EventSelection { kinds: 0, operations: 0, as_match: false };
    for match_type in match_types.unwrap_or_default() {
        selection.kinds |= match &**match_type {
            "all" => ALL_KINDS,
            "add" => kind_bit(Kind::Add),
            "change" => kind_bit(Kind::Change),
            // Only sorted queries have it.
            "changeIndex" => 0,
            "remove" => kind_bit(Kind::Remove),
            "match" => {
                selection.as_match = true;
                kind_bit(Kind::Add) | kind_bit(Kind::Change)
            }
            other => {
                let other = short(other, ECHO_BYTES);
                return Err(format!("{other:?} is no match type; there are all, match, add, change, changeIndex and remove"));
            }
        };
    }
    for operation in operations.unwrap_or_default() {
        selection.operations |= match &**operation {
            "any" => ANY_OPERATION,
            "insert" => operation_bit(Operation::Insert),
            "update" => operation_bit(Operation::Update),
            "delete" => operation_bit(Operation::Delete),
            "none" => NO_OPERATION,
            other => {
                let other = short(other, ECHO_BYTES);
                return Err(format!("{other:?} is no operation; there are any, insert, update, delete and none"));
            }
        };
    }
    if match_types.unwrap_or_default().is_empty() {
        selection.kinds = ALL_KINDS;
    }
    if operations.unwrap_or_default().is_empty() {
        selection.operations = ANY_OPERATION;
    }
    if (selection.kinds != ALL_KINDS || selection.as_match) && selection.operations != ANY_OPERATION {
        return Err("narrow either matchTypes or operations, not both".to_owned());
    }
    Ok(selection)
}

/// A message of the server that is not an event, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMessage {
    /// Its type
    pub kind: &'static str,
    /// Everything at or below has been sent to the subscription with this
    pub position: Option<Box<str>>,
    /// The JSON text
    pub text: Box<str>,
}

/// A string as JSON.
pub fn quoted(text: &str) -> Box<str> {
    // Writing a string to memory cannot fail.
    serde_json::to_string(text).unwrap_or_default().into()
}

/// An instant as the SDK reads it.
pub fn date(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

/// Now, milliseconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// `result`. `id` is quoted; `fresh` says that it replaces what was sent before.
pub fn result<'a>(id: &str, position: &Position, fresh: bool, objects: impl Iterator<Item = &'a [u8]> + Clone) -> ServerMessage {
    let position = position.to_string();
    let size: usize = objects.clone().map(|object| object.len() + 1).sum();
    let mut text = String::with_capacity(size + id.len() + position.len() + 128);
    let fresh = if fresh { r#""fresh":true,"# } else { "" };
    let _ = write!(text, r#"{{"id":{id},"type":"result","date":"{}","position":"{position}",{fresh}"data":["#, date(now()));
    let start = text.len();
    for object in objects {
        // The store holds texts that were parsed as JSON, hence UTF-8.
        let Ok(object) = std::str::from_utf8(object) else { continue };
        if text.len() > start {
            text.push(',');
        }
        text.push_str(object);
    }
    text.push_str("]}");
    ServerMessage { kind: "result", position: Some(position.into()), text: text.into() }
}

/// `error`, which ends the subscription. Without an id it is about the frame alone.
pub fn error(id: Option<&str>, refused: &Refused) -> ServerMessage {
    let mut text = String::from("{");
    if let Some(id) = id {
        let _ = write!(text, r#""id":{id},"#);
    }
    let (message, code, reason) = (quoted(&refused.message), quoted(&refused.code), refused.reason());
    let _ = write!(
        text,
        r#""type":"error","date":"{}","error":{{"message":{message},"status":{},"reason":"{reason}","code":{code}}}}}"#,
        date(now()),
        refused.status
    );
    ServerMessage { kind: "error", position: None, text: text.into() }
}

/// `resumed`: what follows is what was missed since the position; for clients with extensions only.
pub fn resumed(id: &str, from: &Position) -> ServerMessage {
    positioned("resumed", id, from)
}

/// `position`: nothing new up to here; for clients with extensions only.
pub fn position(id: &str, reached: &Position) -> ServerMessage {
    positioned("position", id, reached)
}

fn positioned(kind: &'static str, id: &str, position: &Position) -> ServerMessage {
    let text = format!(r#"{{"id":{id},"type":"{kind}","date":"{}","position":"{position}"}}"#, date(now()));
    ServerMessage { kind, position: Some(position.to_string().into()), text: text.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::changelog::LogId;
    use proptest::prelude::*;
    use serde_json::json;

    fn subscribed(text: &str) -> Subscribe {
        match parse(text).unwrap() {
            ClientMessage::Subscribe(subscribe) => *subscribe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_the_sdk_sends() {
        let text = r#"{"id":"1f","type":"subscribe","token":"t","bucket":"Message","query":"{\"a\":1}","initial":true,
            "matchTypes":["all"],"operations":["any"],"reconnects":-1,"later":{"x":[1]}}"#;
        let subscribe = subscribed(text);
        assert_eq!((&*subscribe.id, &*subscribe.bucket, &*subscribe.query), ("1f", "Message", r#"{"a":1}"#));
        assert!(subscribe.initial && subscribe.reconnects && !subscribe.window && !subscribe.extensions);
        assert_eq!(subscribe.selection, EventSelection::ALL);
        assert_eq!(parse(r#"{"type":"unsubscribe","id":"1f"}"#).unwrap(), ClientMessage::Unsubscribe { id: "1f".into() });
    }

    #[test]
    fn a_malformed_message_keeps_its_id() {
        for (text, id) in [
            ("", None),
            ("[]", None),
            ("{}", None),
            (r#"{"id":7,"type":"subscribe"}"#, None),
            (r#"{"id":"a"}"#, Some("a")),
            (r#"{"id":"a","type":"other"}"#, Some("a")),
            (r#"{"id":"a","type":"subscribe"}"#, Some("a")),
            (r#"{"id":"a","type":"subscribe","bucket":"A","query":{}}"#, Some("a")),
            (r#"{"id":"a","type":"subscribe","bucket":"A/B"}"#, Some("a")),
            (r#"{"id":"a","type":"subscribe","bucket":"A","matchTypes":["sometimes"]}"#, Some("a")),
            (r#"{"id":"a","type":"subscribe","bucket":"A","matchTypes":["add"],"operations":["insert"]}"#, Some("a")),
        ] {
            assert_eq!(parse(text).unwrap_err().id.as_deref(), id, "{text}");
        }
    }

    #[test]
    fn what_a_client_said_is_not_repeated_at_length() {
        let long = "ü\"".repeat(300_000);
        for field in [("matchTypes", json!([long])), ("operations", json!([long])), ("initial", json!(long)), ("bucket", json!([long]))] {
            let mut message = json!({"id": "a", "type": "subscribe", "bucket": "A"});
            message[field.0] = field.1;
            let refused = parse(&message.to_string()).unwrap_err().refused;
            assert!(error(Some("\"a\""), &refused).text.len() < 4 * MESSAGE_BYTES, "{:.300}", refused.message);
        }
        let refused = parse(r#"{"id":"a","type":"subscribe","bucket":"A","matchTypes":["sometimes"]}"#).unwrap_err().refused;
        assert!(refused.message.starts_with("\"sometimes\" is no match type"), "{}", refused.message);
    }

    #[test]
    fn every_status_that_is_sent_has_a_name() {
        for status in [400, 404, 429, 460, 466, 468, 469, 471, 503] {
            assert_ne!(Refused::new(status, "x", "x").reason(), "Internal Error", "{status}");
        }
        assert_eq!(Refused::new(404, "app-deleted", "x").reason(), "Not Found");
        assert_eq!(Refused::new(469, "schema-changed", "x").reason(), "Schema Incompatible");
    }

    #[test]
    fn a_window_is_noticed() {
        for field in [r#""sort":"{}""#, r#""limit":5"#, r#""offset":0"#] {
            assert!(subscribed(&format!(r#"{{"id":"a","type":"subscribe","bucket":"A",{field}}}"#)).window);
        }
    }

    #[test]
    fn match_stands_for_add_and_change() {
        let selection = selection(Some(&["match".into()]), None).unwrap();
        assert!(selection.as_match() && !selection.is_complete());
        assert!(selection.wants(Kind::Add, Operation::Insert) && selection.wants(Kind::Change, Operation::Update));
        assert!(!selection.wants(Kind::Remove, Operation::Delete));
    }

    #[test]
    fn what_is_sent_is_json() {
        let position = Position::single(LogId(1), 7);
        let objects: [&[u8]; 2] = [br#"{"id":"/db/A/1"}"#, b"{}"];
        for message in [
            result("\"i\"", &position, true, objects.iter().copied()),
            error(Some("\"i\""), &Refused::new(468, "window-unsupported", "no \"windows\"")),
            error(None, &Refused::new(400, "malformed-message", "x")),
            resumed("\"i\"", &position),
        ] {
            let value: serde_json::Value = serde_json::from_str(&message.text).unwrap();
            assert_eq!(value["type"], message.kind);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn any_field_values_are_read_or_refused(
            field in prop::sample::select(vec!["id", "type", "token", "bucket", "query", "initial", "matchTypes", "operations", "reconnects", "position"]),
            value in prop::sample::select(vec!["null", "1", "-1.5", "1e400", "\"\"", "\"a\"", "[]", "[\"all\"]", "[1]", "{}", "true"]),
        ) {
            let _ = parse(&format!(r#"{{"{field}":{value},"id":"a","type":"subscribe","bucket":"B"}}"#));
            let _ = parse(&format!(r#"{{"id":"a","type":"subscribe","bucket":"B","{field}":{value}}}"#));
        }
    }
}
