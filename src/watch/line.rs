//! One event, one line: for people (aligned, coloured on a terminal) or for machines (JSON). Pure.
//!
//! What people read is freed of control characters first: a value comes from whoever wrote the object, and
//! must not be able to move the cursor of whoever watches.

use super::view::{Event, Kind, Object};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Fields that every object has and that people rarely look for.
const META: [&str; 5] = ["id", "version", "acl", "createdAt", "updatedAt"];
/// Fields of a line where none are chosen.
const FIELDS: usize = 8;
/// Longest value, characters.
const VALUE: usize = 48;
/// The column of ids grows up to this, characters.
const ID: usize = 24;

/// How lines are to look.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// JSON, one object a line
    pub json: bool,
    /// Whether to use colour
    pub colour: bool,
    /// Dotted paths of the fields to show; empty for a choice that fits the event
    pub fields: Vec<String>,
}

/// The line for machines.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<&'a str>,
    operation: &'a str,
    id: &'a str,
    data: Object,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<&'a str>,
}

/// Makes lines of events; remembers how wide ids are.
#[derive(Debug)]
pub struct Form {
    layout: Layout,
    id_width: usize,
}

impl Form {
    /// A form.
    pub fn new(layout: Layout) -> Form {
        Form { layout, id_width: 0 }
    }

    /// The line, with its end.
    pub fn line(&mut self, event: &Event) -> String {
        if self.layout.json { self.json(event) } else { self.text(event) }
    }

    fn json(&self, event: &Event) -> String {
        let chosen = |path: &String| (path.clone(), at(&event.data, path).cloned().unwrap_or(Value::Null));
        let data = match self.layout.fields.as_slice() {
            [] => event.data.clone(),
            fields => fields.iter().map(chosen).collect(),
        };
        let kind = match event.kind {
            Kind::Initial => "initial",
            Kind::Add => "add",
            Kind::Change => "change",
            Kind::Remove => "remove",
        };
        let (operation, id, date, position) = (&event.operation, event.id(), event.date.as_deref(), event.position.as_deref());
        let line = Line { event: kind, date, operation, id, data, position };
        // Writing to memory what was read as JSON cannot fail.
        serde_json::to_string(&line).unwrap_or_else(|error| json!({"event": "error", "error": error.to_string()}).to_string()) + "\n"
    }

    fn text(&mut self, event: &Event) -> String {
        let (mark, colour) = match event.kind {
            Kind::Initial => ('=', "2"),
            Kind::Add => ('+', "32"),
            Kind::Change => ('~', "33"),
            Kind::Remove => ('-', "31"),
        };
        let id = clean(&key(event.id()));
        self.id_width = self.id_width.max(id.chars().count().min(ID));
        // 2026-01-02T03:04:05.678Z: the time of the day, in UTC as everything that the server says.
        let time = event.date.as_deref().map(time_of_day).unwrap_or_default();
        let (on, dim, off) = if self.layout.colour { (format!("\x1b[{colour}m"), "\x1b[2m", "\x1b[0m") } else { (String::new(), "", "") };
        let mut line = format!("{dim}{time:12}{off} {on}{mark} {id:width$}{off} ", width = self.id_width);
        let _ = writeln!(line, " {}", self.words(event).trim_end());
        line
    }

    fn words(&self, event: &Event) -> String {
        let chosen = self.layout.fields.as_slice();
        match (event.kind, &event.before) {
            (Kind::Remove, _) if event.operation == "delete" => "deleted".to_owned(),
            // A reader who may not see the image gets the id alone.
            (Kind::Remove, _) if event.data.len() <= 1 => "no longer in the result".to_owned(),
            (Kind::Remove, Some(before)) => format!("no longer matches: {}", differences(before, &event.data, chosen)),
            (Kind::Remove, None) => format!("no longer matches: {}", values(&event.data, chosen)),
            (Kind::Change, Some(before)) => {
                let changed = differences(before, &event.data, chosen);
                if changed.is_empty() { "(other fields)".to_owned() } else { changed }
            }
            _ => values(&event.data, chosen),
        }
    }
}

/// `name=value` of the chosen fields, or of the first few that say something.
fn values(object: &Object, chosen: &[String]) -> String {
    let part = |name: &str, value: &Value| format!("{}={}", clean(name), short(value));
    let parts: Vec<String> = if chosen.is_empty() {
        let telling = object.iter().filter(|(name, value)| !META.contains(&name.as_str()) && !value.is_null());
        telling.take(FIELDS).map(|(name, value)| part(name, value)).collect()
    } else {
        chosen.iter().map(|path| part(path, at(object, path).unwrap_or(&Value::Null))).collect()
    };
    parts.join("  ")
}

/// `name before → after` of what differs; of chosen fields also those that do not.
fn differences(before: &Object, after: &Object, chosen: &[String]) -> String {
    let part = |name: &str, was: Option<&Value>, is: Option<&Value>| {
        let (was, is) = (was.unwrap_or(&Value::Null), is.unwrap_or(&Value::Null));
        if was == is { format!("{}={}", clean(name), short(is)) } else { format!("{} {} → {}", clean(name), short(was), short(is)) }
    };
    let parts: Vec<String> = if chosen.is_empty() {
        let gone = before.keys().filter(|name| !after.contains_key(*name));
        let names = after.keys().chain(gone).filter(|name| !META.contains(&name.as_str()));
        names.filter(|name| before.get(*name) != after.get(*name)).map(|name| part(name, before.get(name), after.get(name))).collect()
    } else {
        chosen.iter().map(|path| part(path, at(before, path), at(after, path))).collect()
    };
    parts.join("  ")
}

/// The value at a dotted path; numbers are places in arrays.
fn at<'a>(object: &'a Object, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('.');
    let first = object.get(steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.chars().all(|c| c.is_alphanumeric() || "-_.:/@+".contains(c)) && !text.is_empty() => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    };
    let text = clean(&text);
    if text.chars().count() <= VALUE {
        return text;
    }
    text.chars().take(VALUE - 1).chain(['…']).collect()
}

/// Without anything that could steer a terminal or reorder a line.
fn clean(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.chars().any(steers) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { clean.extend(c.escape_unicode()) } else { clean.push(c) }
    }
    clean
}

/// The part of an id that people know an object by.
fn key(id: &str) -> String {
    let key = id.rsplit('/').next().unwrap_or(id);
    percent_encoding::percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |key| key.into_owned())
}

/// `03:04:05.678` of an instant as the server writes it, with or without a fraction.
fn time_of_day(date: &str) -> String {
    let Ok(at) = date.parse::<jiff::Timestamp>() else { return String::new() };
    let (second, millisecond) = (at.as_second().rem_euclid(86_400), at.subsec_millisecond().rem_euclid(1_000));
    format!("{:02}:{:02}:{:02}.{millisecond:03}", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone().into_iter().collect()
    }

    fn event(kind: Kind, operation: &str, before: Option<Value>, data: Value) -> Event {
        Event {
            kind,
            operation: operation.into(),
            date: Some("2026-01-02T03:04:05.07Z".into()),
            position: Some("00000000000000ab-7".into()),
            before: before.map(object),
            data: object(data),
        }
    }

    fn lines(layout: Layout) -> Vec<String> {
        let mut form = Form::new(layout);
        let lot = |price: u32, state: &str| json!({"id": "/db/Lot/L%201", "version": price, "title": "A vase", "state": state, "price": price, "by": null});
        [
            event(Kind::Add, "insert", None, lot(5, "open")),
            event(Kind::Change, "update", Some(lot(5, "open")), lot(6, "open")),
            event(Kind::Change, "update", Some(lot(6, "open")), lot(6, "open")),
            event(Kind::Remove, "update", Some(lot(6, "open")), lot(6, "sold")),
            event(Kind::Remove, "delete", Some(lot(6, "open")), json!({"id": "/db/Lot/L%201"})),
        ]
        .iter()
        .map(|event| form.line(event))
        .collect()
    }

    #[test]
    fn lines_for_people() {
        assert_eq!(
            lines(Layout::default()),
            [
                "03:04:05.070 + L 1  price=5  state=open  title=\"A vase\"\n",
                "03:04:05.070 ~ L 1  price 5 → 6\n",
                "03:04:05.070 ~ L 1  (other fields)\n",
                "03:04:05.070 - L 1  no longer matches: state open → sold\n",
                "03:04:05.070 - L 1  deleted\n",
            ]
        );
        let chosen = Layout { fields: vec!["price".into(), "state".into()], ..Layout::default() };
        assert_eq!(lines(chosen)[1], "03:04:05.070 ~ L 1  price 5 → 6  state=open\n");
        let coloured = Layout { colour: true, ..Layout::default() };
        assert_eq!(lines(coloured)[4], "\x1b[2m03:04:05.070\x1b[0m \x1b[31m- L 1\x1b[0m  deleted\n");
    }

    #[test]
    fn lines_for_machines() {
        let json = Layout { json: true, fields: vec!["price".into()], ..Layout::default() };
        let line: Value = serde_json::from_str(&lines(json)[1]).unwrap();
        assert_eq!(
            line,
            json!({"event": "change", "operation": "update", "id": "/db/Lot/L%201", "data": {"price": 6},
                "date": "2026-01-02T03:04:05.07Z", "position": "00000000000000ab-7"})
        );
    }

    #[test]
    fn a_value_cannot_steer_the_terminal() {
        let data = json!({"id": "/db/Lot/%1b%5b2J", "a\u{9b}": "\u{1b}]0;x\u{7}", "b": "a\u{202e}b\nc"});
        let line = Form::new(Layout::default()).line(&event(Kind::Add, "insert", None, data));
        assert!(line.trim_end_matches('\n').chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
    }

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        let data = object(json!({"a": {"b": [1, {"c": 2}]}}));
        assert_eq!(at(&data, "a.b.1.c"), Some(&json!(2)));
        assert_eq!((at(&data, "a.b.x"), at(&data, "a.c"), at(&data, "")), (None, None, None));
    }
}
