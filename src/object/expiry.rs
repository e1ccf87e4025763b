//! When an object ends, and the decision to delete it then; which field says so stands in the schema.

use crate::store::{Decision, Refusal, Stamp};
use dataflows::change::Image;
use dataflows::document::Value;

/// When an object ends, milliseconds since 1970; none: never.
pub fn time(image: &Image, field: &str) -> Option<i64> {
    match image.document.root().get(field) {
        Some(Value::Date(time)) => Some(time),
        _ => None,
    }
}

/// Deletes the object if its time has passed, by what stands there inside of the transaction.
pub fn delete(field: &str, before: Option<&Image>, stamp: &Stamp<'_>) -> Result<Decision, Refusal> {
    let passed = before.and_then(|image| time(image, field)).is_some_and(|time| time <= stamp.now);
    Ok(if passed { Decision::Delete } else { Decision::Nothing })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::document::{DateField, DateFields, DocumentLimits};

    #[test]
    fn what_stands_there_decides() {
        let dates = DateFields::new(vec![("until".into(), DateField::Date)]);
        let image = |until: &str| {
            let text = format!(r#"{{"id":"/db/Lease/1","version":1,"until":{until}}}"#);
            Image::parse(text.into(), &dates, DocumentLimits::default()).unwrap()
        };
        let deletes = |image: Option<&Image>, now| matches!(delete("until", image, &Stamp::of_server(1, 2, now)), Ok(Decision::Delete));
        let ends = image(r#""1970-01-01T00:00:05Z""#);
        assert!(!deletes(Some(&ends), 4_999));
        assert!(deletes(Some(&ends), 5_000));
        assert!(!deletes(Some(&image("null")), 5_000) && !deletes(None, 5_000));
    }
}
