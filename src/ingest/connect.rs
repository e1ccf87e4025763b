//! Records of Kafka Connect's JSON converter: `{"schema": …, "payload": …}`, and what the schema says of the payload.
//!
//! Whether a key or a value has a schema block is decided by its shape, each time. A block is compiled once and known again
//! by its text: compared, not parsed.

use super::columns::{Columns, Types};
use super::encoding::{Encoding, Unit};
use super::meaning::BadRecord;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A compiled schema block.
#[derive(Debug)]
pub(super) struct Block {
    /// As it stood in the record
    text: Box<str>,
    /// How the payload itself is written
    pub(super) encoding: Encoding,
    /// The payload's fields, where it is a struct
    pub(super) row: Option<Columns>,
    /// The fields of `after`, where the payload is an envelope
    pub(super) after: Option<Columns>,
}

/// A key or a value, taken out of its schema block.
#[derive(Debug)]
pub(super) struct Payload<'t> {
    /// None: it came without one
    pub(super) block: Option<Arc<Block>>,
    /// JSON; well-formed only where it was not found by the block's text
    pub(super) text: &'t str,
}

/// Most blocks that are kept, and most bytes of all their texts. A topic has one or two, and a few more while its table
/// changes; past the bounds all are forgotten.
const MOST_BLOCKS: usize = 64;
const MOST_BYTES: usize = 4 << 20;

/// The blocks that were compiled, the latest last.
#[derive(Debug, Default)]
pub(super) struct Blocks(RwLock<Arc<Vec<Arc<Block>>>>);

const BEFORE_SCHEMA: &str = r#"{"schema":"#;
const BEFORE_PAYLOAD: &str = r#","payload":"#;

impl Blocks {
    /// By the text of a known block, as Connect writes it: schema first, without blanks. None where nothing is found so.
    ///
    /// A schema is a JSON value, so a text that begins with it cannot have another one there. That nothing stands behind the
    /// payload is found when that is parsed.
    pub(super) fn known<'t>(&self, text: &'t str) -> Option<Payload<'t>> {
        let rest = text.strip_prefix(BEFORE_SCHEMA)?;
        self.all().iter().rev().find_map(|block| {
            let payload = rest.strip_prefix(&*block.text)?.strip_prefix(BEFORE_PAYLOAD)?;
            Some(Payload { block: Some(block.clone()), text: payload.trim_end().strip_suffix('}')? })
        })
    }

    /// By the shape of the text: an object of `schema` and `payload` alone, and the schema is one (or null). All else came
    /// without a block.
    pub(super) fn of_shape<'t>(&self, text: &'t str, types: &Types) -> Result<Payload<'t>, BadRecord> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wrapped<'t> {
            #[serde(borrow)]
            schema: &'t RawValue,
            #[serde(borrow)]
            payload: &'t RawValue,
        }
        let bare = Ok(Payload { block: None, text });
        // Most of what has no block is dismissed by its first name.
        let first = text.strip_prefix('{').map(str::trim_start);
        if !first.is_some_and(|rest| rest.starts_with("\"schema\"") || rest.starts_with("\"payload\"")) {
            return bare;
        }
        let Ok(Wrapped { schema, payload }) = serde_json::from_str(text) else { return bare };
        if schema.get() == "null" {
            return Ok(Payload { block: None, text: payload.get() });
        }
        if let Some(block) = self.all().iter().find(|block| *block.text == *schema.get()) {
            return Ok(Payload { block: Some(block.clone()), text: payload.get() });
        }
        let Ok(parsed) = serde_json::from_str::<Schema<'_>>(schema.get()) else { return bare };
        let block = Arc::new(Block::compile(schema.get(), &parsed, types)?);
        self.keep(block.clone());
        Ok(Payload { block: Some(block), text: payload.get() })
    }

    fn all(&self) -> Arc<Vec<Arc<Block>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, block: Arc<Block>) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = kept.iter().map(|block| block.text.len()).sum::<usize>() + block.text.len();
        let mut blocks = if kept.len() >= MOST_BLOCKS || bytes > MOST_BYTES { Vec::new() } else { kept.to_vec() };
        if block.text.len() <= MOST_BYTES {
            blocks.push(block);
        }
        *kept = Arc::new(blocks);
    }
}

/// A schema as Connect writes it; what does not matter here is left out.
#[derive(Debug, Deserialize)]
struct Schema<'s> {
    #[serde(borrow, rename = "type")]
    base: Cow<'s, str>,
    /// The semantic type
    #[serde(borrow, default)]
    name: Option<Cow<'s, str>>,
    #[serde(borrow, default)]
    parameters: Option<HashMap<Cow<'s, str>, Cow<'s, str>>>,
    #[serde(borrow, default)]
    fields: Option<Vec<Schema<'s>>>,
    #[serde(borrow, default)]
    items: Option<Box<Schema<'s>>>,
    #[serde(borrow, default)]
    values: Option<Box<Schema<'s>>>,
    /// Its name in the struct around it
    #[serde(borrow, default)]
    field: Option<Cow<'s, str>>,
}

impl Block {
    fn compile(text: &str, schema: &Schema<'_>, types: &Types) -> Result<Block, BadRecord> {
        let after = schema.fields.iter().flatten().find(|field| field.field.as_deref() == Some("after"));
        Ok(Block {
            text: text.into(),
            encoding: schema.encoding("")?,
            row: schema.columns(types)?,
            after: after.map(|after| after.columns(types)).transpose()?.flatten(),
        })
    }
}

impl Schema<'_> {
    /// The columns of a struct; what the mapping says of a field goes before.
    fn columns(&self, types: &Types) -> Result<Option<Columns>, BadRecord> {
        let Some(fields) = &self.fields else { return Ok(None) };
        let mut columns = Columns::default();
        for field in fields {
            let source = field.field.as_deref().unwrap_or_default();
            let encoding = match types.get(source) {
                Some(encoding) => encoding.clone(),
                None => field.encoding(source)?,
            };
            columns.add(source, encoding);
        }
        Ok(Some(columns))
    }

    fn encoding(&self, field: &str) -> Result<Encoding, BadRecord> {
        if let Some(encoding) = self.semantic() {
            return Ok(encoding);
        }
        let nested = |schema: &Option<Box<Schema<'_>>>| match schema {
            Some(schema) => schema.encoding(field),
            None => Ok(Encoding::Plain),
        };
        Ok(match &*self.base {
            "struct" => {
                let fields = self.fields.iter().flatten().map(|inner| {
                    let name = inner.field.as_deref().unwrap_or_default();
                    Ok((name.into(), inner.encoding(field)?))
                });
                let fields = fields.collect::<Result<Vec<(Box<str>, Encoding)>, BadRecord>>()?;
                let plain = fields.iter().all(|(_, encoding)| *encoding == Encoding::Plain);
                if plain { Encoding::Plain } else { Encoding::Struct(fields.into()) }
            }
            "array" => match nested(&self.items)? {
                Encoding::Plain => Encoding::Plain,
                element => Encoding::List(Box::new(element)),
            },
            "map" => match nested(&self.values)? {
                Encoding::Plain => Encoding::Plain,
                element => Encoding::Map(Box::new(element)),
            },
            "int8" | "int16" | "int32" | "int64" | "float" | "double" | "float32" | "float64" | "boolean" | "string" | "bytes" => {
                Encoding::Plain
            }
            base => return Err(BadRecord::Type { field: field.to_owned(), found: base.chars().take(80).collect() }),
        })
    }

    /// What the semantic type says. One that is not known here, or has another base type than it should, says nothing.
    fn semantic(&self) -> Option<Encoding> {
        let name = self.name.as_deref()?;
        let short = name.strip_prefix("io.debezium.").or_else(|| name.strip_prefix("org.apache.kafka.connect."))?;
        Some(match (short, &*self.base) {
            ("time.Date" | "data.Date", "int32" | "int64") => Encoding::Date,
            ("time.Timestamp" | "data.Timestamp", "int64") => Encoding::Timestamp(Unit::Millis),
            ("time.MicroTimestamp", "int64") => Encoding::Timestamp(Unit::Micros),
            ("time.NanoTimestamp", "int64") => Encoding::Timestamp(Unit::Nanos),
            ("time.Time" | "data.Time", "int32" | "int64") => Encoding::Time(Unit::Millis),
            ("time.MicroTime", "int64") => Encoding::Time(Unit::Micros),
            ("time.NanoTime", "int64") => Encoding::Time(Unit::Nanos),
            ("time.ZonedTimestamp" | "time.IsoTimestamp", "string") => Encoding::IsoTimestamp,
            ("time.ZonedTime" | "time.IsoTime", "string") => Encoding::IsoTime,
            ("time.IsoDate", "string") => Encoding::IsoDate,
            ("data.Decimal", "bytes") => {
                Encoding::Decimal(self.parameters.as_ref().and_then(|parameters| parameters.get("scale")?.parse().ok()).unwrap_or(0))
            }
            ("data.VariableScaleDecimal", "struct") => Encoding::VariableDecimal,
            ("data.Json", "string") => Encoding::Json,
            ("data.EnumSet", "string") => Encoding::Set,
            ("data.geometry.Point", "struct") => Encoding::Point,
            ("data.geometry.Geometry" | "data.geometry.Geography", "struct") => Encoding::Geometry,
            _ => return None,
        })
    }
}
