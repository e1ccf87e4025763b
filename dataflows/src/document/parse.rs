//! JSON text to a document, in one pass.

use super::instant::parse_instant;
use super::{DateField, DateFields, Document, Node, Tag, name_hash};
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;
use std::fmt;

/// What a document may be at most.
#[derive(Debug, Clone, Copy)]
pub struct DocumentLimits {
    /// Bytes of JSON text; never above 1 GiB, positions in the tape have 32 bits
    pub bytes: usize,
    /// Arrays and objects within each other, the outermost counted
    pub depth: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        DocumentLimits { bytes: 1 << 20, depth: 64 }
    }
}

/// Why a text is not a document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not JSON, not an object, nested too deep, or a name twice in one object; says where
    #[error("the object cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Larger than the limit
    #[error("the object has {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// What it has
        bytes: usize,
        /// What it may have
        limit: usize,
    },
}

impl Document {
    /// Parses an object. `dates` says which declared fields hold times.
    pub fn parse(text: Bytes, dates: &DateFields, limits: DocumentLimits) -> Result<Document, DocumentError> {
        let limit = limits.bytes.min(1 << 30);
        if text.len() > limit {
            return Err(DocumentError::TooLarge { bytes: text.len(), limit });
        }
        let mut tape = Tape {
            start: text.as_ptr() as usize,
            length: text.len(),
            side: String::new(),
            nodes: Vec::with_capacity(text.len() / 12 + 4),
            depth: limits.depth.min(100),
        };
        let mut deserializer = serde_json::Deserializer::from_slice(&text);
        Object { tape: &mut tape, declared: Fields::Named(dates) }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        let (side, nodes) = (tape.side.into_boxed_str(), tape.nodes.into_boxed_slice());
        Ok(Document { text, side, nodes })
    }
}

struct Tape {
    start: usize,
    length: usize,
    side: String,
    nodes: Vec<Node>,
    depth: usize,
}

impl Tape {
    fn push(&mut self, tag: Tag, low: u32, high: u64) {
        self.nodes.push(Node { tag, low, high });
    }

    /// Where a borrowed string lies in the text.
    fn borrowed(&self, string: &str) -> u64 {
        let offset = (string.as_ptr() as usize).wrapping_sub(self.start);
        debug_assert!(offset + string.len() <= self.length);
        offset as u64
    }

    fn aside(&mut self, string: &str) -> u64 {
        let offset = self.side.len();
        self.side.push_str(string);
        offset as u64
    }

    fn name(&mut self, string: &str, offset: u64, side: bool) {
        self.push(Tag::Name, name_hash(string), offset << 32 | (string.len() as u64) << 1 | u64::from(side));
    }

    fn name_text(&self, at: usize) -> &[u8] {
        let node = &self.nodes[at];
        let (offset, rest) = ((node.high >> 32) as usize, node.high as u32);
        let length = (rest >> 1) as usize;
        if rest & 1 == 1 {
            self.side.as_bytes().get(offset..offset + length).unwrap_or_default()
        } else {
            // The text outlives the parse; the slice was borrowed from it by the deserializer.
            #[allow(unsafe_code)]
            unsafe {
                std::slice::from_raw_parts((self.start + offset) as *const u8, length)
            }
        }
    }

    fn enter(&mut self) -> Result<(), &'static str> {
        self.depth = self.depth.checked_sub(1).ok_or("it is nested too deep")?;
        Ok(())
    }
}

/// What is declared of an object's fields, as far as times are concerned.
#[derive(Clone, Copy)]
enum Fields<'t> {
    Undeclared,
    /// By their names
    Named(&'t DateFields),
    /// Of a map: all of them the same
    Each(&'t DateField),
}

struct Any<'t> {
    tape: &'t mut Tape,
    declared: Option<&'t DateField>,
}

struct Object<'t> {
    tape: &'t mut Tape,
    declared: Fields<'t>,
}

struct Name<'t>(&'t mut Tape);

/// The names of one object so far: a short list, with a set of their hashes beside it once it is long,
/// so that an object of very many fields costs no more than linear time.
#[derive(Default)]
struct Names {
    seen: SmallVec<[(u32, u32); 32]>,
    hashes: Option<std::collections::HashSet<u32>>,
}

impl Names {
    /// Notes the name at a position of the tape; whether it was there before.
    fn repeats(&mut self, tape: &Tape, position: usize) -> bool {
        let hash = tape.nodes[position].low;
        if self.seen.len() == 64 {
            self.hashes = Some(self.seen.iter().map(|(hash, _)| *hash).collect());
        }
        let possible = self.hashes.as_mut().is_none_or(|hashes| !hashes.insert(hash));
        let text = || tape.name_text(position);
        let repeated = possible && self.seen.iter().any(|&(other, at)| other == hash && tape.name_text(at as usize) == text());
        self.seen.push((hash, position as u32));
        repeated
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Any<'_> {
    fn string(self, string: &str, borrowed: bool) {
        if let Some(DateField::Date) = self.declared
            && let Some(instant) = parse_instant(string)
        {
            return self.tape.push(Tag::Date, 0, instant as u64);
        }
        let length = string.len() as u32;
        if borrowed {
            let offset = self.tape.borrowed(string);
            self.tape.push(Tag::Text, length, offset);
        } else {
            let offset = self.tape.aside(string);
            self.tape.push(Tag::Side, length, offset);
        }
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.tape.push(Tag::Null, 0, 0);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.tape.push(if value { Tag::True } else { Tag::False }, 0, 0);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.tape.push(Tag::Int, 0, value as u64);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.tape.push(Tag::Int, 0, value as u64),
            Err(_) => self.tape.push(Tag::Float, 0, (value as f64).to_bits()),
        }
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.tape.push(Tag::Float, 0, value.to_bits());
        Ok(())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.string(value, true);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.string(value, false);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Any { tape, declared } = self;
        tape.enter().map_err(A::Error::custom)?;
        let at = tape.nodes.len();
        tape.push(Tag::Array, 0, 0);
        let element = match declared {
            Some(DateField::List(element)) => Some(&**element),
            _ => None,
        };
        let mut count = 0u32;
        while sequence.next_element_seed(Any { tape, declared: element })?.is_some() {
            count += 1;
        }
        tape.nodes[at].low = count;
        tape.nodes[at].high = tape.nodes.len() as u64;
        tape.depth += 1;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let declared = match self.declared {
            Some(DateField::Embedded(dates)) => Fields::Named(dates),
            Some(DateField::Map(value)) => Fields::Each(value),
            _ => Fields::Undeclared,
        };
        let at = self.tape.nodes.len();
        Object { tape: self.tape, declared }.visit_map(map)?;
        instant_object(self.tape, at);
        Ok(())
    }
}

/// `{"$date": "…"}` in an undeclared place is an instant, too.
fn instant_object(tape: &mut Tape, at: usize) {
    if tape.nodes[at].low != 1 || tape.name_text(at + 1) != b"$date" {
        return;
    }
    let value = tape.nodes[at + 2];
    let instant = match value.tag {
        // In a map of times the text was read as one already.
        Tag::Int | Tag::Date => Some(value.high as i64),
        Tag::Text => {
            // Same layout as a name in the text, so that one accessor serves.
            let text = Node { tag: Tag::Name, low: 0, high: value.high << 32 | u64::from(value.low) << 1 };
            tape.nodes[at + 2] = text;
            let parsed = std::str::from_utf8(tape.name_text(at + 2)).ok().and_then(parse_instant);
            tape.nodes[at + 2] = value;
            parsed
        }
        _ => None,
    };
    if let Some(instant) = instant {
        tape.nodes.truncate(at);
        tape.push(Tag::Date, 0, instant as u64);
    }
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Object { tape, declared } = self;
        tape.enter().map_err(A::Error::custom)?;
        let at = tape.nodes.len();
        tape.push(Tag::Object, 0, 0);
        let mut names = Names::default();
        while map.next_key_seed(Name(tape))?.is_some() {
            let name = tape.nodes.len() - 1;
            if names.repeats(tape, name) {
                let name = String::from_utf8_lossy(tape.name_text(name)).into_owned();
                return Err(A::Error::custom(format_args!("the field {name:?} stands twice in one object")));
            }
            let declared = match declared {
                Fields::Undeclared => None,
                Fields::Named(dates) => dates.get(tape.name_text(name)),
                Fields::Each(value) => Some(value),
            };
            map.next_value_seed(Any { tape, declared })?;
        }
        tape.nodes[at].low = names.seen.len() as u32;
        tape.nodes[at].high = tape.nodes.len() as u64;
        tape.depth += 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        let offset = self.0.borrowed(value);
        self.0.name(value, offset, false);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let offset = self.0.aside(value);
        self.0.name(value, offset, true);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::Value;
    use super::*;
    use std::sync::Arc;

    fn parse(text: &str) -> Result<Document, DocumentError> {
        Document::parse(Bytes::copy_from_slice(text.as_bytes()), &DateFields::default(), DocumentLimits::default())
    }

    #[test]
    fn reads_back_what_was_written() {
        let document = parse(r#"{"a":1,"b":[true,null,{"c":"x\n\"y"}],"d\n":-2.5}"#).unwrap();
        let root = document.root();
        assert_eq!(root.len(), 3);
        assert!(matches!(root.get("a"), Some(Value::Number(n)) if n.as_i64() == Some(1)));
        let Some(Value::Array(list)) = root.get("b") else { panic!("no list") };
        assert_eq!(list.len(), 3);
        let Some(Value::Object(inner)) = list.get(2) else { panic!("no object") };
        assert!(matches!(inner.get("c"), Some(Value::String("x\n\"y"))));
        assert!(matches!(root.get("d\n"), Some(Value::Number(n)) if n.as_f64() == -2.5));
        assert!(root.get("e").is_none());
    }

    #[test]
    fn instants_come_from_declared_fields_and_from_date_objects() {
        let days = DateField::List(DateField::Date.into());
        let dates = DateFields::new(vec![("at".into(), DateField::Date), ("days".into(), days)]);
        let text = r#"{"at":"1970-01-01T00:00:01.5Z","days":["1970-01-02"],"open":{"$date":"1970-01-01T00:00:00Z"},"name":"1970-01-02"}"#;
        let document = Document::parse(Bytes::from_static(text.as_bytes()), &dates, DocumentLimits::default()).unwrap();
        let root = document.root();
        assert!(matches!(root.get("at"), Some(Value::Date(1500))));
        assert!(matches!(root.get("days"), Some(Value::Array(days)) if matches!(days.get(0), Some(Value::Date(86_400_000)))));
        assert!(matches!(root.get("open"), Some(Value::Date(0))));
        assert!(matches!(root.get("name"), Some(Value::String("1970-01-02"))));
    }

    #[test]
    fn maps_lists_and_embedded_objects_hold_times_within_each_other() {
        let list = |inner| DateField::List(Arc::new(inner));
        let map = |inner| DateField::Map(Arc::new(inner));
        let visit = DateField::Embedded(Arc::new(DateFields {
            fields: vec![("at".into(), DateField::Date)],
            inherited: Some(Arc::new(DateFields::new(vec![("until".into(), DateField::Date)]))),
        }));
        let dates = DateFields::new(vec![
            ("opens".into(), map(DateField::Date)),
            ("visits".into(), map(visit.clone())),
            ("rounds".into(), list(map(list(visit)))),
        ]);
        let text = r#"{"opens":{"mon":"1970-01-02","tue":null,"wed":7},"visits":{"1":{"at":"1970-01-02","until":"1970-01-03","mon":"1970-01-02"},"2":"1970-01-02"},
            "rounds":[{"x":[{"until":"1970-01-03"}]}]}"#;
        let document = Document::parse(Bytes::from_static(text.as_bytes()), &dates, DocumentLimits::default()).unwrap();
        let all = |path: &str| {
            let mut found = Vec::new();
            crate::query::ast::Path::new(path).visit(document.root(), crate::query::Leaf::Open, |value| found.push(format!("{value:?}")));
            found.join(" ")
        };
        assert_eq!(all("opens.mon"), "Some(Date(86400000))");
        assert_eq!(all("opens.tue"), "Some(Null)");
        assert_eq!(all("opens.wed"), "Some(Number(Int(7)))");
        assert_eq!(all("visits.1.at"), "Some(Date(86400000))");
        assert_eq!(all("visits.1.until"), "Some(Date(172800000))");
        assert_eq!(all("visits.1.mon"), "Some(String(\"1970-01-02\"))");
        assert_eq!(all("visits.2"), "Some(String(\"1970-01-02\"))");
        assert_eq!(all("rounds.x.until"), "Some(Date(172800000))");
        // One map of times has this one key; it goes through the wire as it is.
        let text = Bytes::from_static(br#"{"opens":{"$date":"1970-01-02"},"visits":{}}"#);
        let document = Document::parse(text, &dates, DocumentLimits::default()).unwrap();
        let back: Document = serde_json::from_slice(&serde_json::to_vec(&document).unwrap()).unwrap();
        assert!(matches!(back.root().get("opens"), Some(Value::Date(86_400_000))));
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        for text in ["", "[]", "1", "{} {}", r#"{"a":1,"a":2}"#, "{\"a\":\"\u{1}\"}", r#"{"a":1e999}"#] {
            assert!(parse(text).is_err(), "{text} was accepted");
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(65), "}".repeat(65));
        assert!(parse(&deep).is_err());
        assert!(parse(&deep.replacen(r#"{"a":"#, "", 1).replacen('}', "", 1)).is_ok());
        assert!(Document::parse(Bytes::from_static(b"\xff{}"), &DateFields::default(), DocumentLimits::default()).is_err());
    }
}
