//! How the stored text of an object is read while fields of its class are being renamed or removed
//! ([`crate::schema::moves`]).
//!
//! A stored object is in its former form as long as it has an entry under a former name: what is written after the change never
//! has one, since a former name is not given to another field before every object is rewritten. So reading an object in
//! its present form through the lens gives that form again.

use crate::json::{self, object_entries};
use crate::schema::{Kind, Schema};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Nesting that is looked into; what is stored is not deeper.
const DEPTH: usize = 64;

/// The lens of one class.
#[derive(Debug, Clone)]
pub struct Lens {
    class: Box<str>,
    table: Arc<Table>,
}

/// Every class whose objects, or what is embedded in them, may still have a former form.
#[derive(Debug, Default)]
struct Table {
    classes: HashMap<Box<str>, Moves>,
    /// What a text must contain to be in a former form: the names, as JSON
    names: Vec<String>,
}

#[derive(Debug, Default)]
struct Moves {
    /// (former name, name now)
    moved: Vec<(Box<str>, Option<Box<str>>)>,
    /// Fields that hold values of embedded classes
    inner: Vec<(Box<str>, Inner)>,
}

#[derive(Debug)]
enum Inner {
    Class(Box<str>),
    Elements(Box<Inner>),
    Entries(Box<Inner>),
}

impl Lens {
    /// The lenses of a schema, by bucket. Empty where nothing moves.
    pub fn all(schema: &Schema) -> HashMap<Box<str>, Lens> {
        if schema.moves.is_empty() {
            return HashMap::new();
        }
        let table = Arc::new(Table::of(schema));
        let stored = table.classes.keys().filter(|class| schema.class(class).is_some_and(|class| !class.embedded));
        stored.map(|class| (class.clone(), Lens { class: class.clone(), table: Arc::clone(&table) })).collect()
    }

    /// An object in its present form; none if the text is that already, or no object.
    pub fn read(&self, json: &str) -> Option<String> {
        // An escape may spell a name in another way.
        if !json.contains('\\') && !self.table.names.iter().any(|name| json.contains(name.as_str())) {
            return None;
        }
        match self.table.object(&self.class, json, DEPTH)? {
            Cow::Owned(text) => Some(text),
            Cow::Borrowed(_) => None,
        }
    }
}

impl Table {
    fn of(schema: &Schema) -> Table {
        let mut table = Table::default();
        for bucket in schema.classes.keys() {
            let moved: Vec<_> = schema.moves_of(bucket).map(|one| (one.from.clone(), one.to.clone())).collect();
            if !moved.is_empty() {
                table.classes.insert(bucket.clone(), Moves { moved, inner: Vec::new() });
            }
        }
        // Who embeds such a class has such objects, and so on.
        loop {
            let before = table.classes.len();
            for bucket in schema.classes.keys().filter(|bucket| !table.classes.contains_key(*bucket)).collect::<Vec<_>>() {
                if schema.fields(bucket).into_iter().any(|field| table.inner(schema, &field.kind).is_some()) {
                    table.classes.insert(bucket.clone(), Moves::default());
                }
            }
            if table.classes.len() == before {
                break;
            }
        }
        for bucket in table.classes.keys().cloned().collect::<Vec<_>>() {
            let fields = schema.fields(&bucket);
            let inner = fields.into_iter().filter_map(|field| Some((field.name.clone(), table.inner(schema, &field.kind)?))).collect();
            if let Some(moves) = table.classes.get_mut(&bucket) {
                moves.inner = inner;
            }
        }
        let mut names: Vec<String> = schema.moves.iter().filter_map(|one| serde_json::to_string(&one.from).ok()).collect();
        names.sort_unstable();
        names.dedup();
        table.names = names;
        table
    }

    /// How a type leads to an embedded class that is in the table.
    fn inner(&self, schema: &Schema, kind: &str) -> Option<Inner> {
        fn of(table: &Table, schema: &Schema, kind: &Kind<'_>) -> Option<Inner> {
            match kind {
                Kind::Class(class) => {
                    let known = table.classes.contains_key(*class) && schema.class(class).is_some_and(|class| class.embedded);
                    known.then(|| Inner::Class((*class).into()))
                }
                Kind::List(element) | Kind::Set(element) => of(table, schema, element).map(|inner| Inner::Elements(Box::new(inner))),
                Kind::Map(value) => of(table, schema, value).map(|inner| Inner::Entries(Box::new(inner))),
                _ => None,
            }
        }
        of(self, schema, &Kind::parse(kind)?)
    }

    /// None: not an object, which stays as it is.
    fn object<'j>(&self, class: &str, json: &'j str, depth: usize) -> Option<Cow<'j, str>> {
        let moves = self.classes.get(class).filter(|_| depth > 0)?;
        let entries = object_entries(json.as_bytes()).ok()?;
        let former = |name: &str| moves.moved.iter().find(|(from, _)| **from == *name);
        // Under its new name stands nothing of that field as long as it has its former name.
        let stale: Vec<&str> = entries.iter().filter_map(|(name, _)| former(name)?.1.as_deref()).collect();
        let mut changed = false;
        let mut text = String::with_capacity(json.len());
        text.push('{');
        for (name, value) in &entries {
            let name = match former(name) {
                Some((_, to)) => {
                    changed = true;
                    match to {
                        Some(to) => to,
                        None => continue,
                    }
                }
                None if stale.contains(&&**name) => {
                    changed = true;
                    continue;
                }
                None => &**name,
            };
            if text.len() > 1 {
                text.push(',');
            }
            json::push_string(&mut text, name);
            text.push(':');
            let inner = moves.inner.iter().find(|(field, _)| **field == *name).map(|(_, inner)| inner);
            match inner.and_then(|inner| self.value(inner, value.get(), depth - 1)) {
                Some(value) => {
                    changed = true;
                    text.push_str(&value);
                }
                None => text.push_str(value.get()),
            }
        }
        text.push('}');
        Some(if changed { Cow::Owned(text) } else { Cow::Borrowed(json) })
    }

    /// None: as it is.
    fn value(&self, inner: &Inner, json: &str, depth: usize) -> Option<String> {
        match inner {
            Inner::Class(class) => match self.object(class, json, depth)? {
                Cow::Owned(text) => Some(text),
                Cow::Borrowed(_) => None,
            },
            Inner::Elements(element) => {
                let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
                let read: Vec<_> = elements.iter().map(|value| self.value(element, value.get(), depth)).collect();
                if read.iter().all(Option::is_none) {
                    return None;
                }
                let texts: Vec<&str> =
                    elements.iter().zip(&read).map(|(value, read)| read.as_deref().unwrap_or_else(|| value.get())).collect();
                Some(format!("[{}]", texts.join(",")))
            }
            Inner::Entries(value) => {
                let entries = object_entries(json.as_bytes()).ok()?;
                let mut changed = false;
                let mut text = String::from("{");
                for (name, entry) in &entries {
                    if text.len() > 1 {
                        text.push(',');
                    }
                    json::push_string(&mut text, name);
                    text.push(':');
                    let read = self.value(value, entry.get(), depth);
                    changed |= read.is_some();
                    text.push_str(read.as_deref().unwrap_or_else(|| entry.get()));
                }
                text.push('}');
                changed.then_some(text)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schema::{ClassRequest, Request, change};
    use dataflows::access::Caller;

    fn after(schema: &Schema, request: Request) -> Schema {
        let mut changed = change(schema, &request, &Caller::admin()).unwrap();
        changed.version += 1;
        changed
    }

    fn rename(schema: &Schema, class: &str, from: &str, to: &str) -> Schema {
        after(schema, Request::Rename { class: class.into(), from: from.into(), to: to.into() })
    }

    fn lots() -> Schema {
        let classes: Vec<ClassRequest> = serde_json::from_str(
            r#"[{"class":"/db/City","embedded":true,"fields":{"zip":{"name":"zip","type":"/db/Integer"},"near":{"name":"near","type":"/db/collection.List[/db/City]"}}},
                {"class":"/db/Lot","fields":{"a":{"name":"a","type":"/db/String"},"b":{"name":"b","type":"/db/String"},"city":{"name":"city","type":"/db/City"},
                    "map":{"name":"map","type":"/db/collection.Map[/db/String,/db/City]"}}},
                {"class":"/db/Auction","superClass":"/db/Lot","fields":{"c":{"name":"c","type":"/db/String"}}},
                {"class":"/db/Other","fields":{"a":{"name":"a","type":"/db/String"}}}]"#,
        )
        .unwrap();
        after(&Schema::built_in(), Request::Merge(classes))
    }

    #[test]
    fn a_renamed_field_is_read_under_its_new_name_also_by_heirs() {
        let schema = rename(&lots(), "/db/Lot", "a", "x");
        let lenses = Lens::all(&schema);
        let read = |bucket: &str, json: &str| lenses.get(bucket).and_then(|lens| lens.read(json));
        for bucket in ["Lot", "Auction"] {
            assert_eq!(read(bucket, r#"{"id":"1","a":1.50,"b":"a"}"#).as_deref(), Some(r#"{"id":"1","x":1.50,"b":"a"}"#));
            // In its present form it stays so, whatever its values say.
            assert_eq!(read(bucket, r#"{"id":"1","x":"a","b":{"a":1}}"#), None);
            assert_eq!(read(bucket, r#"{"\u0061":1}"#).as_deref(), Some(r#"{"x":1}"#));
            // What nobody declared under the new name is not the field.
            assert_eq!(read(bucket, r#"{"x":2,"a":1}"#).as_deref(), Some(r#"{"x":1}"#));
        }
        assert!(!lenses.contains_key("Other"));
    }

    #[test]
    fn fields_of_embedded_classes_wherever_they_stand() {
        let schema = rename(&lots(), "/db/City", "zip", "code");
        let lens = &Lens::all(&schema)["Auction"];
        assert_eq!(
            lens.read(r#"{"city":{"zip":1,"near":[null,{"zip":2}]},"map":{"zip":{"zip":3},"n":null},"zip":4}"#).as_deref(),
            Some(r#"{"city":{"code":1,"near":[null,{"code":2}]},"map":{"zip":{"code":3},"n":null},"zip":4}"#)
        );
    }

    #[test]
    fn a_removed_field_is_not_read_any_more() {
        let lot: ClassRequest = serde_json::from_str(r#"{"class":"/db/Lot","fields":{"b":{"name":"b","type":"/db/String"}}}"#).unwrap();
        let schema = after(&lots(), Request::Replace { classes: vec![lot], whole: false });
        assert_eq!(Lens::all(&schema)["Auction"].read(r#"{"a":1,"b":2,"city":{"zip":1},"c":3}"#).as_deref(), Some(r#"{"b":2,"c":3}"#));
        assert_eq!(schema.moves.len(), 3);
    }
}
