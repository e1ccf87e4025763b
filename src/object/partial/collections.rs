//! `$add`, `$remove`, `$put`: members of sets and lists by value, entries of maps by key.

use super::node::Node;
use super::place::Place;
use super::typing::Typing;
use super::{Operation, Step, UpdateError};
use crate::json::{self, object_entries};
use crate::object::shape;
use crate::schema::{Kind, Schema};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// What the operations here can be about.
#[derive(PartialEq)]
enum Container {
    List,
    Set,
    Map,
    /// JSON without a value
    Nothing,
}

pub(super) fn apply<'t>(step: &'t Step, place: &mut Place<'t>) -> Result<(), UpdateError> {
    let typing = place.typing(step, &step.path)?;
    let container = container(step, place, &typing)?;
    match (step.operation, container) {
        // Where nothing is declared, a set is a list.
        (Operation::Add, Container::Set | Container::Nothing) => add(step, place, &typing),
        (Operation::Add, Container::List) if typing.is_free() => add(step, place, &typing),
        (Operation::Put, Container::Map | Container::Nothing) => put(step, place),
        (Operation::Remove, Container::List | Container::Set) => remove_member(step, place, &typing),
        (Operation::Remove, Container::Map) => remove_entry(step, place),
        (Operation::Remove, Container::Nothing) => Ok(()),
        _ => Err(step.unsupported()),
    }
}

fn container(step: &Step, place: &mut Place<'_>, typing: &Typing<'_>) -> Result<Container, UpdateError> {
    match typing {
        Typing::Declared(Kind::List(_), _) => Ok(Container::List),
        Typing::Declared(Kind::Set(_), _) => Ok(Container::Set),
        Typing::Declared(Kind::Map(_), _) => Ok(Container::Map),
        typing if typing.is_free() => match place.find(step, &step.path.components, false)? {
            None => Ok(Container::Nothing),
            Some(node) if node.is_null() => Ok(Container::Nothing),
            Some(node) if node.is_list() => Ok(Container::List),
            Some(node) if node.is_object() => Ok(Container::Map),
            Some(_) => Err(step.unsupported()),
        },
        _ => Err(step.unsupported()),
    }
}

/// The operand in the form in which members of the collection are stored: members are compared by that.
fn member(step: &Step, schema: &Schema, typing: &Typing<'_>) -> Result<String, UpdateError> {
    match typing {
        Typing::Declared(Kind::List(element) | Kind::Set(element), declared) => {
            Ok(shape::element(schema, element, declared, &step.path.text, &step.operand)?)
        }
        _ => {
            let mut compact = String::new();
            json::push_compact(&mut compact, &step.operand);
            Ok(compact)
        }
    }
}

fn add<'t>(step: &'t Step, place: &mut Place<'t>, typing: &Typing<'_>) -> Result<(), UpdateError> {
    let member = Member::new(member(step, place.schema, typing)?);
    let members = place.make(step)?.elements().ok_or_else(|| step.unsupported())?;
    if !members.iter().any(|known| member.is(known)) {
        members.push(Node::Text(Cow::Owned(member.text)));
    }
    Ok(())
}

fn remove_member(step: &Step, place: &mut Place<'_>, typing: &Typing<'_>) -> Result<(), UpdateError> {
    let member = Member::new(member(step, place.schema, typing)?);
    match place.find(step, &step.path.components, false)? {
        Some(node) if !node.is_null() => {
            node.elements().ok_or_else(|| step.unsupported())?.retain(|known| !member.is(known));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn remove_entry(step: &Step, place: &mut Place<'_>) -> Result<(), UpdateError> {
    let key = match serde_json::from_str::<Value>(&step.operand) {
        Ok(Value::String(key)) => key,
        // Keys are the text form of what the client has as key.
        Ok(Value::Number(_) | Value::Bool(_)) => step.operand.to_string(),
        _ => return Err(step.operand_must_be("a key")),
    };
    match place.find(step, &step.path.components, false)? {
        Some(node) if !node.is_null() => {
            node.entries().ok_or_else(|| step.unsupported())?.retain(|(name, _)| *name != key);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn put<'t>(step: &'t Step, place: &mut Place<'t>) -> Result<(), UpdateError> {
    let given = object_entries(step.operand.as_bytes()).map_err(|_| step.operand_must_be("an object of entries"))?;
    let entries = place.make(step)?.entries().ok_or_else(|| step.unsupported())?;
    // The writer waits for this: a look through all entries for each that is given would cost their product.
    let mut places: HashMap<String, usize> =
        entries.iter().enumerate().rev().map(|(position, (name, _))| (name.clone().into_owned(), position)).collect();
    for (name, value) in given {
        match places.get(&*name).and_then(|position| entries.get_mut(*position)) {
            Some((_, known)) => *known = Node::raw(value),
            None => {
                places.insert(name.clone().into_owned(), entries.len());
                entries.push((name, Node::raw(value)));
            }
        }
    }
    Ok(())
}

/// What members of a collection are compared with: one JSON value by what it says, numbers by their value. It is read
/// once, however many members there are: the writer waits for this.
struct Member {
    text: String,
    /// An integer
    whole: bool,
    /// None: it is no JSON, and equals nothing else
    value: Option<Value>,
}

impl Member {
    fn new(text: String) -> Member {
        Member { whole: is_whole(&text), value: serde_json::from_str(&text).ok(), text }
    }

    fn is(&self, known: &Node<'_>) -> bool {
        let other = known.to_text();
        if self.text == other {
            return true;
        }
        // Integers of any length have one form.
        if sort_of(&self.text) != sort_of(&other) || self.whole && is_whole(&other) {
            return false;
        }
        match (&self.value, serde_json::from_str::<Value>(&other)) {
            (Some(value), Ok(other)) => equal(value, &other),
            _ => false,
        }
    }
}

fn is_whole(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// What its first letter says of a value: only values of one sort can be equal.
fn sort_of(text: &str) -> u8 {
    match text.bytes().next() {
        Some(b'-' | b'0'..=b'9') => b'0',
        Some(other) => other,
        None => 0,
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other)),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => one == other,
    }
}
