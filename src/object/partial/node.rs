//! An object under change: JSON text that is taken apart only along the paths that are changed.
//!
//! What nothing looks into stays the text that it was, so no number loses a digit.

use crate::json::{self, object_entries};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Node<'t> {
    /// As it is written
    Text(Cow<'t, str>),
    /// Taken apart, in its order
    Object(Vec<(Cow<'t, str>, Node<'t>)>),
    /// Taken apart
    List(Vec<Node<'t>>),
}

impl<'t> Node<'t> {
    pub(super) const NULL: Node<'static> = Node::Text(Cow::Borrowed("null"));

    pub(super) fn raw(value: &'t RawValue) -> Node<'t> {
        Node::Text(Cow::Borrowed(value.get()))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Node::Text(text) if text == "null")
    }

    /// Its text where it was not taken apart: a scalar always has one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_object(&self) -> bool {
        match self {
            Node::Text(text) => text.starts_with('{'),
            Node::Object(_) => true,
            Node::List(_) => false,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        match self {
            Node::Text(text) => text.starts_with('['),
            Node::List(_) => true,
            Node::Object(_) => false,
        }
    }

    /// Its entries; null becomes an object without any. None: it is something else.
    pub(super) fn entries(&mut self) -> Option<&mut Vec<(Cow<'t, str>, Node<'t>)>> {
        if let Node::Text(text) = self {
            *self = Node::Object(if text == "null" { Vec::new() } else { entries(text)? });
        }
        match self {
            Node::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// Its elements; null becomes a list without any. None: it is something else.
    pub(super) fn elements(&mut self) -> Option<&mut Vec<Node<'t>>> {
        if let Node::Text(text) = self {
            *self = Node::List(if text == "null" { Vec::new() } else { elements(text)? });
        }
        match self {
            Node::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// Appends its text, without blanks.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Node::Text(json) => json::push_compact(out, json),
            Node::Object(entries) => {
                out.push('{');
                for (position, (name, value)) in entries.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    json::push_string(out, name);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Node::List(elements) => {
                out.push('[');
                for (position, value) in elements.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
        }
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }
}

fn entries<'t>(json: &Cow<'t, str>) -> Option<Vec<(Cow<'t, str>, Node<'t>)>> {
    match json {
        Cow::Borrowed(json) => {
            let entries = object_entries(json.as_bytes()).ok()?;
            Some(entries.into_iter().map(|(name, value)| (name, Node::raw(value))).collect())
        }
        Cow::Owned(json) => {
            let entries = object_entries(json.as_bytes()).ok()?;
            Some(entries.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), owned(value))).collect())
        }
    }
}

fn elements<'t>(json: &Cow<'t, str>) -> Option<Vec<Node<'t>>> {
    match json {
        Cow::Borrowed(json) => Some(serde_json::from_str::<Vec<&RawValue>>(json).ok()?.into_iter().map(Node::raw).collect()),
        Cow::Owned(json) => Some(serde_json::from_str::<Vec<&RawValue>>(json).ok()?.into_iter().map(owned).collect()),
    }
}

fn owned(value: &RawValue) -> Node<'static> {
    Node::Text(Cow::Owned(value.get().to_owned()))
}
