//! Reading a document: values, objects and arrays as borrowed views of the tape.

use super::{Document, Number, Tag, name_hash};
use crate::prefetch;

/// A value in a document.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, integers exact
    Number(Number),
    /// A string
    String(&'a str),
    /// An instant, milliseconds since 1970-01-01T00:00:00Z
    Date(i64),
    /// An array
    Array(Array<'a>),
    /// An embedded object
    Object(Object<'a>),
}

/// An object in a document: fields in the order of the text.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    pub(crate) document: &'a Document,
    pub(crate) at: u32,
}

/// An array in a document.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    pub(crate) document: &'a Document,
    pub(crate) at: u32,
}

/// One field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// [`name_hash`] of the name
    pub hash: u32,
    /// The field's name, unescaped
    pub name: &'a str,
    /// The field's value
    pub value: Value<'a>,
}

impl Document {
    /// Asks for the memory of the first fields of a document that will be walked soon.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch::bytes(&self.nodes, 512);
        prefetch::bytes(&self.text, 512);
    }

    #[inline]
    fn slice(&self, side: bool, offset: usize, length: usize) -> &str {
        if side {
            self.side.get(offset..offset + length).unwrap_or_default()
        } else {
            let bytes = self.text.get(offset..offset + length).unwrap_or_default();
            // The deserializer lent this slice as a checked `&str`, and the text has not changed since.
            debug_assert!(std::str::from_utf8(bytes).is_ok());
            #[allow(unsafe_code)]
            unsafe {
                std::str::from_utf8_unchecked(bytes)
            }
        }
    }

    #[inline]
    pub(crate) fn value_at(&self, at: u32) -> Value<'_> {
        let node = &self.nodes[at as usize];
        match node.tag {
            Tag::Null | Tag::Name => Value::Null,
            Tag::False => Value::Bool(false),
            Tag::True => Value::Bool(true),
            Tag::Int => Value::Number(Number::Int(node.high as i64)),
            Tag::Float => Value::Number(Number::Float(f64::from_bits(node.high))),
            Tag::Date => Value::Date(node.high as i64),
            Tag::Text => Value::String(self.slice(false, node.high as usize, node.low as usize)),
            Tag::Side => Value::String(self.slice(true, node.high as usize, node.low as usize)),
            Tag::Array => Value::Array(Array { document: self, at }),
            Tag::Object => Value::Object(Object { document: self, at }),
        }
    }

    #[inline]
    pub(crate) fn name_at(&self, at: u32) -> (u32, &str) {
        let node = &self.nodes[at as usize];
        let (offset, rest) = ((node.high >> 32) as usize, node.high as u32);
        (node.low, self.slice(rest & 1 == 1, offset, (rest >> 1) as usize))
    }

    /// Whether the name at `at` is that of another document at `there`.
    #[inline]
    pub(crate) fn same_name(&self, at: u32, other: &Document, there: u32) -> bool {
        let (name, other_name) = (&self.nodes[at as usize], &other.nodes[there as usize]);
        name.low == other_name.low && name.tag == other_name.tag && self.name_at(at).1 == other.name_at(there).1
    }

    /// Whether the value at `at` is written like that of another document at `there`. Equal values may be written
    /// differently; then it is not.
    #[inline]
    pub(crate) fn same_value(&self, at: u32, other: &Document, there: u32) -> bool {
        let length = self.skip(at) - at;
        let same = |(at, there): (u32, u32)| {
            let (node, other_node) = (&self.nodes[at as usize], &other.nodes[there as usize]);
            node.tag == other_node.tag
                && node.low == other_node.low
                && match node.tag {
                    Tag::Null | Tag::False | Tag::True => true,
                    Tag::Int | Tag::Float | Tag::Date => node.high == other_node.high,
                    Tag::Text | Tag::Side => {
                        let side = node.tag == Tag::Side;
                        let length = node.low as usize;
                        self.slice(side, node.high as usize, length) == other.slice(side, other_node.high as usize, length)
                    }
                    Tag::Name => self.name_at(at).1 == other.name_at(there).1,
                    // As long as each other, and of as many parts: `low`.
                    Tag::Array | Tag::Object => true,
                }
        };
        other.skip(there) - there == length && (at..at + length).zip(there..there + length).all(same)
    }

    /// The node behind the value at `at`.
    #[inline]
    pub(crate) fn skip(&self, at: u32) -> u32 {
        let node = &self.nodes[at as usize];
        match node.tag {
            Tag::Array | Tag::Object => node.high as u32,
            _ => at + 1,
        }
    }
}

impl<'a> Object<'a> {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.document.nodes[self.at as usize].low as usize
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The fields in the order of the text.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let document = self.document;
        let end = document.skip(self.at);
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (hash, name) = document.name_at(at);
            let value = document.value_at(at + 1);
            at = document.skip(at + 1);
            Some(Entry { hash, name, value })
        })
    }

    /// The value of a field whose name's hash is known.
    #[inline]
    pub fn get_hashed(&self, hash: u32, name: &str) -> Option<Value<'a>> {
        let document = self.document;
        let end = document.skip(self.at) as usize;
        let fields = document.nodes.get(..end)?;
        let mut at = self.at as usize + 1;
        while let Some([field, value, ..]) = fields.get(at..) {
            if field.low == hash && document.name_at(at as u32).1 == name {
                return Some(document.value_at(at as u32 + 1));
            }
            at = match value.tag {
                Tag::Array | Tag::Object => value.high as usize,
                _ => at + 2,
            };
        }
        None
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.get_hashed(name_hash(name), name)
    }
}

impl<'a> Array<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.document.nodes[self.at as usize].low as usize
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let document = self.document;
        let end = document.skip(self.at);
        let mut at = self.at + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let value = document.value_at(at);
            at = document.skip(at);
            Some(value)
        })
    }

    /// The element at a position.
    pub fn get(&self, position: usize) -> Option<Value<'a>> {
        self.iter().nth(position)
    }
}

impl std::fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|entry| (entry.name, entry.value))).finish()
    }
}

impl std::fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
