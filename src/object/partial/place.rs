//! Finding the value at a path, or making room for it.

use super::node::Node;
use super::path::{Path, index};
use super::typing::Typing;
use super::{Step, UpdateError};
use crate::schema::name::METADATA;
use crate::schema::{Kind, Schema};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Elements that all operations of a request add to lists at most, to reach a position behind the end.
const PADDING: usize = 100_000;

/// An object under change.
pub(super) struct Place<'t> {
    pub(super) schema: &'t Schema,
    bucket: &'t str,
    root: Vec<(Cow<'t, str>, Node<'t>)>,
    padding: usize,
}

impl<'t> Place<'t> {
    pub(super) fn new(schema: &'t Schema, bucket: &'t str, entries: Vec<(Cow<'t, str>, &'t RawValue)>) -> Place<'t> {
        let fields = entries.into_iter().filter(|(name, _)| !METADATA.contains(&&**name));
        Place { schema, bucket, root: fields.map(|(name, value)| (name, Node::raw(value))).collect(), padding: PADDING }
    }

    pub(super) fn into_text(self) -> String {
        Node::Object(self.root).to_text()
    }

    /// What is declared for the value at a path.
    pub(super) fn typing(&self, step: &Step, path: &Path) -> Result<Typing<'t>, UpdateError> {
        self.typing_of(step, &path.components)
    }

    /// As [`Place::typing`], for what contains it.
    pub(super) fn typing_of(&self, step: &Step, components: &[Box<str>]) -> Result<Typing<'t>, UpdateError> {
        let undeclared = |depth: usize| UpdateError::Undeclared(components[..=depth].join("."));
        let Some((first, rest)) = components.split_first() else { return Ok(Typing::Free) };
        let mut typing = Typing::of_field(self.schema, self.bucket, first).ok_or_else(|| undeclared(0))?;
        for (depth, component) in rest.iter().enumerate() {
            let embedded = typing.is_embedded(self.schema);
            typing =
                typing.below(self.schema, component).ok_or_else(|| if embedded { undeclared(depth + 1) } else { step.unsupported() })?;
        }
        Ok(typing)
    }

    /// The value at a path; where nothing is there, null is put there if `create` says so.
    pub(super) fn find(&mut self, step: &Step, components: &[Box<str>], create: bool) -> Result<Option<&mut Node<'t>>, UpdateError> {
        let Some((first, rest)) = components.split_first() else { return Err(step.unsupported()) };
        let mut typing = Typing::of_field(self.schema, self.bucket, first).ok_or_else(|| UpdateError::Undeclared(first.to_string()))?;
        let Some(mut node) = entry(&mut self.root, first, create) else { return Ok(None) };
        for component in rest {
            if node.is_null() && !create {
                return Ok(None);
            }
            let below = typing.below(self.schema, component).ok_or_else(|| step.unsupported())?;
            let listed = match &typing {
                Typing::Declared(Kind::List(_), _) => true,
                typing => typing.is_free() && node.is_list(),
            };
            node = if listed {
                let position = index(component).ok_or_else(|| step.unsupported())?;
                let elements = node.elements().ok_or_else(|| step.unsupported())?;
                if position >= elements.len() {
                    if !create {
                        return Ok(None);
                    }
                    pad(elements, position, &mut self.padding)?;
                }
                elements.get_mut(position).ok_or_else(|| step.unsupported())?
            } else {
                let entries = node.entries().ok_or_else(|| step.unsupported())?;
                match entry(entries, component, create) {
                    Some(node) => node,
                    None => return Ok(None),
                }
            };
            typing = below;
        }
        Ok(Some(node))
    }

    /// As [`Place::find`], making room.
    pub(super) fn make(&mut self, step: &Step) -> Result<&mut Node<'t>, UpdateError> {
        self.find(step, &step.path.components, true)?.ok_or_else(|| step.unsupported())
    }

    /// Puts an element at a position of the list at a path, with nulls before it where the list is shorter.
    pub(super) fn put_element(&mut self, step: &Step, list: &[Box<str>], position: usize, value: Node<'t>) -> Result<(), UpdateError> {
        let mut padding = self.padding;
        let elements = self.find(step, list, true)?.and_then(Node::elements).ok_or_else(|| step.unsupported())?;
        pad(elements, position, &mut padding)?;
        if let Some(element) = elements.get_mut(position) {
            *element = value;
        }
        self.padding = padding;
        Ok(())
    }

    /// Takes the value at a path out of the object that contains it. None: there is none, or null.
    pub(super) fn take(&mut self, step: &Step, path: &Path) -> Result<Option<Node<'t>>, UpdateError> {
        let (above, name) = path.split();
        let entries = if above.is_empty() {
            &mut self.root
        } else {
            match self.find(step, above, false)? {
                Some(parent) if parent.is_object() => parent.entries().ok_or_else(|| step.unsupported())?,
                Some(parent) if !parent.is_null() => return Err(step.unsupported()),
                _ => return Ok(None),
            }
        };
        let Some(position) = entries.iter().position(|(entry, _)| entry == name) else { return Ok(None) };
        let (_, value) = entries.remove(position);
        Ok(Some(value).filter(|value| !value.is_null()))
    }
}

/// Makes a list long enough for a position.
fn pad(elements: &mut Vec<Node<'_>>, position: usize, padding: &mut usize) -> Result<(), UpdateError> {
    let missing = position.saturating_add(1).saturating_sub(elements.len());
    *padding =
        padding.checked_sub(missing).ok_or_else(|| UpdateError::Limit(format!("lists grow by at most {PADDING} elements in a request")))?;
    elements.extend(std::iter::repeat_n(Node::NULL, missing));
    Ok(())
}

/// The entry of a name; a new one is null.
fn entry<'n, 't>(entries: &'n mut Vec<(Cow<'t, str>, Node<'t>)>, name: &str, create: bool) -> Option<&'n mut Node<'t>> {
    match entries.iter().position(|(entry, _)| entry == name) {
        Some(position) => entries.get_mut(position).map(|(_, value)| value),
        None if create => {
            entries.push((Cow::Owned(name.to_owned()), Node::NULL));
            entries.last_mut().map(|(_, value)| value)
        }
        None => None,
    }
}
