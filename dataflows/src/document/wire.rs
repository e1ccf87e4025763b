//! Documents between processes: the text, and which nodes are instants by declaration. Everything else
//! is parsed again, so hashes stay within their process and nothing that was sent is trusted.

use super::{DateFields, Document, DocumentLimits, Tag};
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dates = self.nodes.iter().enumerate().filter(|(_, node)| node.tag == Tag::Date);
        let dates: Vec<(u32, i64)> = dates.map(|(at, node)| (at as u32, node.high as i64)).collect();
        (&self.text, dates).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        let (text, dates): (Bytes, Vec<(u32, i64)>) = Deserialize::deserialize(deserializer)?;
        let limits = DocumentLimits { bytes: usize::MAX, depth: usize::MAX };
        let mut document = Document::parse(text, &DateFields::default(), limits).map_err(D::Error::custom)?;
        for (at, instant) in dates {
            match document.nodes.get_mut(at as usize) {
                Some(node) if matches!(node.tag, Tag::Text | Tag::Side | Tag::Date) => {
                    (node.tag, node.low, node.high) = (Tag::Date, 0, instant as u64);
                }
                _ => return Err(D::Error::custom("an instant stands where no string was")),
            }
        }
        Ok(document)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{DateField, Value};
    use super::*;

    #[test]
    fn declared_and_undeclared_instants_survive_the_wire() {
        let dates = DateFields::new(vec![("at".into(), DateField::Date)]);
        let text = Bytes::from_static(br#"{"n\u0061me":"x","at":"1970-01-02","list":[{"$date":5}]}"#);
        let document = Document::parse(text, &dates, DocumentLimits::default()).unwrap();
        let wire = serde_json::to_vec(&document).unwrap();
        let back: Document = serde_json::from_slice(&wire).unwrap();
        assert!(matches!(back.root().get("at"), Some(Value::Date(86_400_000))));
        assert!(matches!(back.root().get("name"), Some(Value::String("x"))));
        assert!(matches!(back.root().get("list"), Some(Value::Array(list)) if matches!(list.get(0), Some(Value::Date(5)))));
        assert_eq!(back.text(), document.text());
    }
}
