//! The JSON of a query as it stands: fields in order, none twice, within limits.

use super::limits::{QueryError, QueryLimits};
use crate::document::Number;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// A JSON value. Objects keep the order of their fields, which counts in whole-object equality.
#[derive(Debug, Clone)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(super) fn read(text: &str, limits: &QueryLimits) -> Result<Json, QueryError> {
        if text.len() > limits.bytes {
            return Err(QueryError::TooLarge { what: "bytes", limit: limits.bytes });
        }
        let mut budget = Budget {
            nodes: limits.nodes, // A level of the tree takes up to three of the text; operands of $geoWithin some more.
            depth: limits.depth() * 3 + 8,
            exceeded: None,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = Seed(&mut budget).deserialize(&mut deserializer).and_then(|json| deserializer.end().map(|()| json));
        match (read, budget.exceeded) {
            (Ok(json), _) => Ok(json),
            (Err(_), Some(Exceeded::Nodes)) => Err(QueryError::TooLarge { what: "values", limit: limits.nodes }),
            (Err(_), Some(Exceeded::Depth)) => Err(QueryError::TooDeep { limit: limits.depth() }),
            (Err(error), None) => Err(QueryError::syntax("", error.to_string())),
        }
    }

    /// For messages: what stands there, without its content.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }
}

enum Exceeded {
    Nodes,
    Depth,
}

struct Budget {
    nodes: usize,
    depth: usize,
    exceeded: Option<Exceeded>,
}

impl Budget {
    fn node<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.nodes.checked_sub(1) {
            Some(left) => self.nodes = left,
            None => {
                self.exceeded = Some(Exceeded::Nodes);
                return Err(E::custom("too many values"));
            }
        }
        Ok(())
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.depth.checked_sub(1) {
            Some(left) => self.depth = left,
            None => {
                self.exceeded = Some(Exceeded::Depth);
                return Err(E::custom("nested too deep"));
            }
        }
        Ok(())
    }
}

struct Seed<'b>(&'b mut Budget);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.0.node()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(Number::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(i64::try_from(value).map_or(Number::Float(value as f64), Number::Int)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(Number::Float(value).canonical()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let budget = self.0;
        budget.enter()?;
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element_seed(Seed(budget))? {
            elements.push(element);
        }
        budget.depth += 1;
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let budget = self.0;
        budget.enter()?;
        let mut fields: Vec<(String, Json)> = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("the field {name:?} stands twice in one object")));
            }
            let value = map.next_value_seed(Seed(budget))?;
            fields.push((name, value));
        }
        budget.depth += 1;
        Ok(Json::Object(fields))
    }
}
