//! How sources write values in JSON, and what they are read as.
//!
//! The encoding of a field is said by the record's schema block ([`super::connect`]) or by the mapping's `types`. What is
//! said nowhere is [`Encoding::Plain`].

mod decimal;
mod geometry;
mod time;
mod unavailable;

pub(super) use unavailable::is_unavailable;

use super::meaning::{BadRecord, Moment};
use super::names;
use crate::json::{object_entries, push_string};
use dataflows::document::DocumentLimits;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a number of time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// How a value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is
    Plain,
    /// Days since 1970
    Date,
    /// Since midnight
    Time(Unit),
    /// Since 1970, UTC
    Timestamp(Unit),
    /// A day as text, perhaps with an offset
    IsoDate,
    /// A time of day as text, with an offset
    IsoTime,
    /// An instant as text, with an offset; without one UTC
    IsoTimestamp,
    /// An integer in two's complement (big-endian, base64) that counts units of 10^-scale; or a number
    Decimal(i32),
    /// A number as text; or a number
    DecimalText,
    /// `{"scale": …, "value": …}`, the value as in [`Encoding::Decimal`]
    VariableDecimal,
    /// JSON in a text
    Json,
    /// Words with commas between
    Set,
    /// A UUID in any usual spelling
    Uuid,
    /// `{"x": …, "y": …}`
    Point,
    /// `{"wkb": …, "srid": …}`
    Geometry,
    /// An array of the same
    List(Box<Encoding>),
    /// An object of the same
    Map(Box<Encoding>),
    /// An object of different ones
    Struct(Box<[(Box<str>, Encoding)]>),
}

/// The names that a mapping's `types` knows, beside `decimal:SCALE` and `list:TYPE`.
pub(super) const NAMES: [&str; 19] = [
    "plain",
    "date",
    "time-millis",
    "time-micros",
    "time-nanos",
    "timestamp-seconds",
    "timestamp-millis",
    "timestamp-micros",
    "timestamp-nanos",
    "iso-date",
    "iso-time",
    "iso-timestamp",
    "decimal",
    "variable-decimal",
    "json",
    "set",
    "uuid",
    "point",
    "geometry",
];

/// Deepest nesting of a value: the object around it is the first level.
const DEPTH: usize = 63;

impl Encoding {
    /// The encoding that a mapping's `types` calls so.
    pub(super) fn named(name: &str) -> Option<Encoding> {
        if let Some(scale) = name.strip_prefix("decimal:") {
            return scale.parse().ok().filter(|scale| decimal::SCALES.contains(scale)).map(Encoding::Decimal);
        }
        if let Some(element) = name.strip_prefix("list:") {
            // No list of lists: nothing writes one, and names stay short.
            return Encoding::named(element).filter(|element| !matches!(element, Encoding::List(_))).map(|e| Encoding::List(Box::new(e)));
        }
        Some(match name {
            "plain" => Encoding::Plain,
            "date" => Encoding::Date,
            "time-millis" => Encoding::Time(Unit::Millis),
            "time-micros" => Encoding::Time(Unit::Micros),
            "time-nanos" => Encoding::Time(Unit::Nanos),
            "timestamp-seconds" => Encoding::Timestamp(Unit::Seconds),
            "timestamp-millis" => Encoding::Timestamp(Unit::Millis),
            "timestamp-micros" => Encoding::Timestamp(Unit::Micros),
            "timestamp-nanos" => Encoding::Timestamp(Unit::Nanos),
            "iso-date" => Encoding::IsoDate,
            "iso-time" => Encoding::IsoTime,
            "iso-timestamp" => Encoding::IsoTimestamp,
            "decimal" => Encoding::DecimalText,
            "variable-decimal" => Encoding::VariableDecimal,
            "json" => Encoding::Json,
            "set" => Encoding::Set,
            "uuid" => Encoding::Uuid,
            "point" => Encoding::Point,
            "geometry" => Encoding::Geometry,
            _ => return None,
        })
    }

    /// What its values are for the schema; none where they are no moments.
    pub(super) fn moment(&self) -> Option<Moment> {
        match self {
            Encoding::Timestamp(_) | Encoding::IsoTimestamp => Some(Moment::DateTime),
            Encoding::Date | Encoding::IsoDate => Some(Moment::Date),
            Encoding::Time(_) | Encoding::IsoTime => Some(Moment::Time),
            _ => None,
        }
    }

    /// What a value should have been, for messages.
    fn expected(&self) -> &'static str {
        match self {
            Encoding::Plain => "JSON",
            Encoding::Date => "days since 1970",
            Encoding::Time(_) => "a time since midnight",
            Encoding::Timestamp(_) => "a time since 1970",
            Encoding::IsoDate => "an ISO 8601 date",
            Encoding::IsoTime => "an ISO 8601 time of day",
            Encoding::IsoTimestamp => "an ISO 8601 instant",
            Encoding::Decimal(_) => "a decimal in base64",
            Encoding::DecimalText => "a decimal",
            Encoding::VariableDecimal => "a decimal with its scale",
            Encoding::Json => "JSON in a text",
            Encoding::Set => "a text of words",
            Encoding::Uuid => "a UUID",
            Encoding::Point => "a point",
            Encoding::Geometry => "a geometry",
            Encoding::List(_) => "an array",
            Encoding::Map(_) | Encoding::Struct(_) => "an object",
        }
    }

    /// Reads a value, well-formed JSON, into at most about `most` bytes: short texts can stand for long ones, and many of them
    /// for more than there is memory.
    pub(super) fn decode(&self, json: &RawValue, most: usize) -> Result<Box<RawValue>, Unreadable> {
        let raw = json.get();
        if let Encoding::Plain = self {
            return match names::within(raw, DEPTH) {
                Some(Cow::Borrowed(_)) => Ok(json.to_owned()),
                Some(Cow::Owned(changed)) => checked(changed),
                None => Err(too_deep()),
            };
        }
        let mut text = String::with_capacity(raw.len().min(most) + 16);
        self.write(raw, &mut text, most)?;
        checked(text)
    }

    /// Appends what a value is read as; an error as soon as all that was written is more than `most`. What is neither array
    /// nor object is beyond that by its own length at most: a few times what it is read from, or as long as the longest decimal.
    fn write(&self, raw: &str, out: &mut String, most: usize) -> Result<(), Unreadable> {
        self.append(raw, out, most)?;
        if out.len() > most { Err(Unreadable::Large { bytes: out.len() }) } else { Ok(()) }
    }

    /// Recursion ends with the schema's.
    fn append(&self, raw: &str, out: &mut String, most: usize) -> Result<(), Unreadable> {
        let fault = |reason: &str| Unreadable::Value { expected: self.expected(), reason: format!("{reason}: {}", shortened(raw)) };
        if raw == "null" {
            out.push_str("null");
            return Ok(());
        }
        match self {
            Encoding::Plain => out.push_str(&names::within(raw, DEPTH).ok_or_else(too_deep)?),
            Encoding::Date => quote(out, &time::day(raw).ok_or_else(|| fault("it is no whole number"))?),
            Encoding::Time(unit) => quote(out, &time::time_of_day(raw, *unit).ok_or_else(|| fault("it is no number"))?),
            Encoding::Timestamp(unit) => quote(out, &time::instant(raw, *unit).ok_or_else(|| fault("it is no number"))?),
            Encoding::IsoDate | Encoding::IsoTime | Encoding::IsoTimestamp => {
                let text = text(raw).ok_or_else(|| fault("it is no text"))?;
                let read = match self {
                    Encoding::IsoDate => time::iso_day(&text),
                    Encoding::IsoTime => time::iso_time(&text),
                    _ => time::iso_instant(&text),
                };
                push_string(out, &read.ok_or_else(|| fault("it is none"))?);
            }
            Encoding::Decimal(_) | Encoding::DecimalText if is_number(raw) => out.push_str(raw),
            Encoding::Decimal(scale) => {
                let text = text(raw).ok_or_else(|| fault("it is neither text nor number"))?;
                out.push_str(&decimal::from_base64(&text, *scale).map_err(|reason| fault(&reason))?);
            }
            Encoding::DecimalText => {
                let text = text(raw).ok_or_else(|| fault("it is neither text nor number"))?;
                match (decimal::from_text(&text), decimal::special(&text)) {
                    (Some(number), _) => out.push_str(&number),
                    (None, Some(word)) => quote(out, word),
                    (None, None) => return Err(fault("it is none")),
                }
            }
            Encoding::VariableDecimal if is_number(raw) => out.push_str(raw),
            Encoding::VariableDecimal => {
                let (scale, value) = decimal::parts(raw).ok_or_else(|| fault("it has no scale and value"))?;
                out.push_str(&decimal::from_base64(&value, scale).map_err(|reason| fault(&reason))?);
            }
            Encoding::Json => match text(raw) {
                Some(text) => {
                    let json: &RawValue = serde_json::from_str(&text).map_err(|error| fault(&error.to_string()))?;
                    out.push_str(&names::within(json.get(), DEPTH).ok_or_else(too_deep)?);
                }
                None => out.push_str(&names::within(raw, DEPTH).ok_or_else(too_deep)?),
            },
            Encoding::Set => {
                let words = text(raw).ok_or_else(|| fault("it is no text"))?;
                sequence(out, "[]", words.split(',').filter(|word| !word.is_empty()), |out, word| {
                    push_string(out, word);
                    Ok(())
                })?;
            }
            Encoding::Uuid => {
                let uuid = text(raw).and_then(|text| uuid::Uuid::parse_str(&text).ok()).ok_or_else(|| fault("it is none"))?;
                quote(out, &uuid.to_string());
            }
            Encoding::Point | Encoding::Geometry => match geometry::point(raw) {
                Some(point) => out.push_str(&point),
                // Another shape than a point; queries know only points.
                None => out.push_str(&names::within(raw, DEPTH).ok_or_else(too_deep)?),
            },
            Encoding::List(element) => {
                let elements: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| fault("it is none"))?;
                sequence(out, "[]", elements, |out, item| element.write(item.get(), out, most))?;
            }
            Encoding::Map(element) => {
                // Connect writes maps with other keys than texts as arrays of pairs.
                if raw.starts_with('[') {
                    let pairs: Vec<(&RawValue, &RawValue)> = serde_json::from_str(raw).map_err(|_| fault("it is none"))?;
                    return sequence(out, "[]", pairs, |out, (key, item)| {
                        out.push('[');
                        Encoding::Plain.write(key.get(), out, most)?;
                        out.push(',');
                        element.write(item.get(), out, most)?;
                        out.push(']');
                        Ok(())
                    });
                }
                let entries = object_entries(raw.as_bytes()).map_err(|_| fault("it is none"))?;
                sequence(out, "{}", entries, |out, (name, item)| {
                    push_string(out, &names::nested(&name));
                    out.push(':');
                    element.write(item.get(), out, most)
                })?;
            }
            Encoding::Struct(fields) => {
                let entries = object_entries(raw.as_bytes()).map_err(|_| fault("it is none"))?;
                sequence(out, "{}", entries, |out, (name, item)| {
                    push_string(out, &names::nested(&name));
                    out.push(':');
                    let field = fields.iter().find(|(field, _)| **field == *name);
                    field.map_or(&Encoding::Plain, |(_, encoding)| encoding).write(item.get(), out, most)
                })?;
            }
        }
        Ok(())
    }
}

/// Why a value is not what its encoding says.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is something else
    Value { expected: &'static str, reason: String },
    /// It is longer than it may be; so long at least
    Large { bytes: usize },
}

impl Unreadable {
    /// What it makes of a record: of this field, or `large` of so many bytes.
    pub(super) fn of(self, field: &str, large: impl FnOnce(usize) -> BadRecord) -> BadRecord {
        match self {
            Unreadable::Value { expected, reason } => BadRecord::Value { field: field.to_owned(), expected: expected.to_owned(), reason },
            Unreadable::Large { bytes } => large(bytes),
        }
    }
}

fn too_deep() -> Unreadable {
    let depth = DocumentLimits::default().depth;
    Unreadable::Value { expected: "JSON", reason: format!("it nests deeper than {depth} levels") }
}

/// What was written is JSON by construction; asked all the same, since it goes where nothing else asks.
fn checked(text: String) -> Result<Box<RawValue>, Unreadable> {
    RawValue::from_string(text).map_err(|error| Unreadable::Value { expected: "JSON", reason: error.to_string() })
}

fn shortened(raw: &str) -> String {
    raw.chars().take(60).collect()
}

/// The text of a JSON string; none where it is something else.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

/// Appends a text that needs no escapes.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

fn sequence<T>(
    out: &mut String,
    brackets: &str,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let (open, close) = brackets.split_at(1);
    out.push_str(open);
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write(out, item)?;
    }
    out.push_str(close);
    Ok(())
}
