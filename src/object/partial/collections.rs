//! `$add`, `$remove`, `$put`: members of sets and lists by value, entries of maps by key.

use super::node::Node;
use super::place::{Place, entry};
use super::typing::Typing;
use super::{Operation, Step, UpdateError};
use crate::json::{self, object_entries};
use crate::object::shape;
use crate::schema::{Kind, Schema};
use serde_json::Value;
use std::borrow::Cow;

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
    let member = member(step, place.schema, typing)?;
    let members = place.make(step)?.elements().ok_or_else(|| step.unsupported())?;
    if !members.iter().any(|known| same(&known.to_text(), &member)) {
        members.push(Node::Text(Cow::Owned(member)));
    }
    Ok(())
}

fn remove_member(step: &Step, place: &mut Place<'_>, typing: &Typing<'_>) -> Result<(), UpdateError> {
    let member = member(step, place.schema, typing)?;
    match place.find(step, &step.path.components, false)? {
        Some(node) if !node.is_null() => {
            node.elements().ok_or_else(|| step.unsupported())?.retain(|known| !same(&known.to_text(), &member));
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
    for (name, value) in given {
        if let Some(known) = entry(entries, &name, true) {
            *known = Node::raw(value);
        }
    }
    Ok(())
}

/// Whether two JSON texts are one value: texts and structure by what they say, numbers by their value.
fn same(one: &str, other: &str) -> bool {
    let whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if one == other {
        return true;
    }
    if whole(one) && whole(other) {
        // Integers of any length have one form.
        return false;
    }
    match (serde_json::from_str::<Value>(one), serde_json::from_str::<Value>(other)) {
        (Ok(one), Ok(other)) => equal(&one, &other),
        _ => false,
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
