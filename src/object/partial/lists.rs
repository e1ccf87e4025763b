//! `$push`, `$unshift`, `$pop`, `$shift`, `$replace`: lists, by position.

use super::node::Node;
use super::path::index;
use super::place::Place;
use super::typing::Typing;
use super::{Operation, Step, UpdateError};
use crate::schema::Kind;
use std::borrow::Cow;

pub(super) fn apply<'t>(step: &'t Step, place: &mut Place<'t>) -> Result<(), UpdateError> {
    let value = || Node::Text(Cow::Borrowed(&*step.operand));
    if step.operation == Operation::Replace {
        let (list, position) = step.path.split();
        let position = index(position).filter(|_| !list.is_empty()).ok_or_else(|| step.unsupported())?;
        must_be_list(step, place, &place.typing_of(step, list)?, list)?;
        return place.put_element(step, list, position, value());
    }
    must_be_list(step, place, &place.typing(step, &step.path)?, &step.path.components)?;
    let grows = matches!(step.operation, Operation::Push | Operation::Unshift);
    let Some(node) = place.find(step, &step.path.components, grows)? else { return Ok(()) };
    // Of no list nothing can be taken, and it stays none.
    if node.is_null() && !grows {
        return Ok(());
    }
    let elements = node.elements().ok_or_else(|| step.unsupported())?;
    match step.operation {
        Operation::Push => elements.push(value()),
        Operation::Unshift => elements.insert(0, value()),
        Operation::Pop => {
            elements.pop();
        }
        _ if elements.is_empty() => {}
        _ => {
            elements.remove(0);
        }
    }
    Ok(())
}

/// Sets have no positions. Where nothing is declared, the value that is there decides.
fn must_be_list(step: &Step, place: &mut Place<'_>, typing: &Typing<'_>, path: &[Box<str>]) -> Result<(), UpdateError> {
    let fits = match typing {
        Typing::Declared(Kind::List(_), _) => true,
        typing if typing.is_free() => place.find(step, path, false)?.is_none_or(|node| node.is_list() || node.is_null()),
        _ => false,
    };
    if fits { Ok(()) } else { Err(step.unsupported()) }
}
