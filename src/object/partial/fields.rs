//! `$set`, `$rename`, `$currentDate`: whole values.

use super::node::Node;
use super::path::Path;
use super::place::Place;
use super::typing::Typing;
use super::{Operation, Step, UpdateError};
use crate::json;
use crate::object::time;
use crate::schema::Kind;
use std::borrow::Cow;

pub(super) fn apply<'t>(step: &'t Step, place: &mut Place<'t>, now: i64) -> Result<(), UpdateError> {
    match step.operation {
        Operation::Rename => rename(step, place),
        Operation::CurrentDate => current_date(step, place, now),
        _ => set(step, place),
    }
}

fn set<'t>(step: &'t Step, place: &mut Place<'t>) -> Result<(), UpdateError> {
    // An embedded object is changed field by field; taken away it can be.
    if place.typing(step, &step.path)?.is_embedded(place.schema) && *step.operand != *"null" {
        return Err(UpdateError::EmbeddedWhole);
    }
    *place.make(step)? = Node::Text(Cow::Borrowed(&step.operand));
    Ok(())
}

/// Where a `$rename` moves the value to.
pub(super) fn rename_target(step: &Step) -> Result<Path, UpdateError> {
    let target: String = serde_json::from_str(&step.operand).map_err(|_| step.operand_must_be("the new path, a text"))?;
    let target = Path::parse(&target)?;
    if super::METADATA.contains(&target.field()) {
        return Err(UpdateError::Metadata(target.text.to_string()));
    }
    Ok(target)
}

/// Moves a value; where there is none, nothing happens. The new field's type decides whether it fits there.
fn rename<'t>(step: &'t Step, place: &mut Place<'t>) -> Result<(), UpdateError> {
    let target = rename_target(step)?;
    place.typing(step, &step.path)?;
    place.typing(step, &target)?;
    if let Some(value) = place.take(step, &step.path)? {
        *place.find(step, &target.components, true)?.ok_or_else(|| step.unsupported())? = value;
    }
    Ok(())
}

/// The time of the commit, in the form of the field. In an open field an instant as `{"$date"}` stays one, all else becomes text.
fn current_date<'t>(step: &'t Step, place: &mut Place<'t>, now: i64) -> Result<(), UpdateError> {
    let instant = time::instant(now);
    let typing = place.typing(step, &step.path)?;
    let (told, tagged) = match &typing {
        Typing::Declared(Kind::DateTime, _) => (Some(instant), false),
        Typing::Declared(Kind::Date, _) => (time::echo_date(&instant), false),
        Typing::Declared(Kind::Time, _) => (time::echo_time(&instant), false),
        typing if typing.is_free() => {
            let there = place.find(step, &step.path.components, false)?;
            let tagged = there.as_ref().is_some_and(|node| node.text().is_some_and(|text| text.starts_with(r#"{"$date""#)));
            let fits = there.is_none_or(|node| tagged || node.is_null() || node.text().is_some_and(|text| text.starts_with('"')));
            (fits.then_some(instant), tagged)
        }
        _ => (None, false),
    };
    let told = told.ok_or_else(|| step.unsupported())?;
    let mut json = String::new();
    json::push_string(&mut json, &told);
    *place.make(step)? = Node::Text(Cow::Owned(if tagged { format!(r#"{{"$date":{json}}}"#) } else { json }));
    Ok(())
}
