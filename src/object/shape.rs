//! The shape that a class gives its objects: declared fields only, each with its type (docs/schema.md).
//!
//! Fields that are not declared are dropped, declared ones that are missing become null, inherited ones
//! belong to it. A value of another type is refused by the path of its field.

use crate::json::{self, object_entries};
use crate::object::{id, time};
use crate::schema::{Kind, Schema};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// Why an object does not get its class's shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitValue {
    /// A value does not have the type of its field
    #[error("the field {path} is declared as {declared}; {found} is not one")]
    Type {
        /// The field, dotted
        path: String,
        /// The type it is declared with
        declared: String,
        /// The value, shortened
        found: String,
    },
    /// What is declared and was not given is more than an object may grow by
    #[error("at {path} the fields that are declared and not given make the object longer by more than {} MiB; store fewer embedded values in it", ADDED >> 20)]
    Grows {
        /// The field, dotted
        path: String,
    },
}

/// Deepest nesting of embedded values.
const DEPTH: usize = 32;

/// Bytes of `"field":null` that shaping adds to an object at most. An object of any allowed length may come as many times longer:
/// a list of a million `{}` has ten fields each. What is stored at last is bounded by `store.object_bytes`, which is judged behind this.
const ADDED: usize = 8 << 20;

/// The fields of an object of a class as a part of the canonical text: `,"name":value` each.
pub fn fields(schema: &Schema, bucket: &str, given: &[(Cow<'_, str>, &RawValue)]) -> Result<String, UnfitValue> {
    let mut shaping = Shaping { schema, text: String::new(), path: Vec::new(), added: 0 };
    shaping.declared(bucket, given, DEPTH, true)?;
    Ok(shaping.text)
}

/// One element of a collection that stands at a path, in the form in which it is stored. `declared` is the collection's type.
pub fn element(schema: &Schema, kind: &Kind<'_>, declared: &str, path: &str, value: &str) -> Result<String, UnfitValue> {
    let mut shaping = Shaping { schema, text: String::new(), path: vec![path.to_owned()], added: 0 };
    shaping.value(kind.clone(), declared, value, DEPTH)?;
    Ok(shaping.text)
}

struct Shaping<'s> {
    schema: &'s Schema,
    text: String,
    path: Vec<String>,
    /// See [`ADDED`]
    added: usize,
}

impl Shaping<'_> {
    /// Every declared field of a class; `leading`: a comma stands before the first one, too.
    fn declared(&mut self, bucket: &str, given: &[(Cow<'_, str>, &RawValue)], depth: usize, leading: bool) -> Result<(), UnfitValue> {
        let mut comma = leading;
        // This runs on the store's writer, too: a wide object must not cost the square of its width.
        let by_name: Option<HashMap<&str, &RawValue>> =
            (given.len() > 16).then(|| given.iter().map(|(name, value)| (&**name, *value)).collect());
        for field in self.schema.fields(bucket) {
            if comma {
                self.text.push(',');
            }
            comma = true;
            json::push_string(&mut self.text, &field.name);
            self.text.push(':');
            let found = match &by_name {
                Some(by_name) => by_name.get(&*field.name).copied(),
                None => given.iter().find(|(name, _)| **name == *field.name).map(|(_, value)| *value),
            };
            if found.is_none() {
                self.added += field.name.len() + r#""":null,"#.len();
                if self.added > ADDED {
                    return Err(UnfitValue::Grows { path: self.path.join(".") });
                }
            }
            let value = found.map_or("null", RawValue::get);
            self.path.push(field.name.to_string());
            self.value(Kind::parse(&field.kind).unwrap_or(Kind::Json), &field.kind, value, depth)?;
            self.path.pop();
        }
        Ok(())
    }

    fn value(&mut self, kind: Kind<'_>, declared: &str, value: &str, depth: usize) -> Result<(), UnfitValue> {
        if value == "null" {
            self.text.push_str(value);
            return Ok(());
        }
        if depth == 0 {
            return Err(self.unfit(declared, value));
        }
        let first = value.bytes().next().unwrap_or(0);
        let number = first == b'-' || first.is_ascii_digit();
        match kind {
            Kind::Json => json::push_compact(&mut self.text, value),
            Kind::Boolean if first == b't' || first == b'f' => self.text.push_str(value),
            Kind::Double if number => self.text.push_str(value),
            Kind::Integer if number => match integer(value) {
                Some(integer) => self.text.push_str(&integer),
                None => return Err(self.unfit(declared, value)),
            },
            Kind::String | Kind::File if first == b'"' => self.text.push_str(value),
            Kind::Date => self.echo(declared, value, time::echo_date)?,
            Kind::DateTime => self.echo(declared, value, time::echo_instant)?,
            Kind::Time => self.echo(declared, value, time::echo_time)?,
            Kind::Class(class) if self.schema.class(class).is_some_and(|class| class.embedded) => {
                let entries = object_entries(value.as_bytes()).map_err(|_| self.unfit(declared, value))?;
                self.text.push('{');
                self.declared(class, &entries, depth - 1, false)?;
                self.text.push('}');
            }
            Kind::Class(_) => self.echo(declared, value, |text| id::whole(text).ok().map(|(id, _)| id.to_string()))?,
            Kind::GeoPoint => {
                let point = geo_point(value).ok_or_else(|| self.unfit(declared, value))?;
                self.text.push_str(&point);
            }
            Kind::List(element) | Kind::Set(element) => {
                let elements: Vec<&RawValue> = serde_json::from_str(value).map_err(|_| self.unfit(declared, value))?;
                self.text.push('[');
                for (position, item) in elements.into_iter().enumerate() {
                    if position > 0 {
                        self.text.push(',');
                    }
                    self.path.push(position.to_string());
                    self.value((*element).clone(), declared, item.get(), depth - 1)?;
                    self.path.pop();
                }
                self.text.push(']');
            }
            Kind::Map(element) => {
                let entries = object_entries(value.as_bytes()).map_err(|_| self.unfit(declared, value))?;
                self.text.push('{');
                // An entry without a value is no entry.
                for (position, (name, item)) in entries.into_iter().filter(|(_, item)| item.get() != "null").enumerate() {
                    if position > 0 {
                        self.text.push(',');
                    }
                    json::push_string(&mut self.text, &name);
                    self.text.push(':');
                    self.path.push(name.into_owned());
                    self.value((*element).clone(), declared, item.get(), depth - 1)?;
                    self.path.pop();
                }
                self.text.push('}');
            }
            _ => return Err(self.unfit(declared, value)),
        }
        Ok(())
    }

    fn echo(&mut self, declared: &str, value: &str, form: impl Fn(&str) -> Option<String>) -> Result<(), UnfitValue> {
        let echoed = serde_json::from_str::<Cow<'_, str>>(value).ok().and_then(|text| form(&text));
        let echoed = echoed.ok_or_else(|| self.unfit(declared, value))?;
        json::push_string(&mut self.text, &echoed);
        Ok(())
    }

    fn unfit(&self, declared: &str, value: &str) -> UnfitValue {
        UnfitValue::Type { path: self.path.join("."), declared: declared.to_owned(), found: value.chars().take(80).collect() }
    }
}

/// An integer as it is; a number with an exponent or a fraction of nothing as an integer.
fn integer(value: &str) -> Option<String> {
    if value.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return Some(value.to_owned());
    }
    // 2^53: beyond it doubles skip integers, and the client's value is not known.
    value.parse::<f64>().ok().filter(|f| f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_992.0).map(|f| format!("{f:.0}"))
}

fn geo_point(value: &str) -> Option<String> {
    let entries = object_entries(value.as_bytes()).ok()?;
    let coordinate = |name: &str, bound: f64| {
        let (_, text) = entries.iter().find(|(entry, _)| entry == name)?;
        let degrees: f64 = serde_json::from_str(text.get()).ok()?;
        (degrees.abs() <= bound).then(|| text.get())
    };
    Some(format!(r#"{{"latitude":{},"longitude":{}}}"#, coordinate("latitude", 90.0)?, coordinate("longitude", 180.0)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schema::Class;

    fn schema(classes: &[&str]) -> Schema {
        let mut schema = Schema::built_in();
        for class in classes {
            let class: Class = serde_json::from_str(class).unwrap();
            schema.classes.insert(class.class.strip_prefix("/db/").unwrap().into(), class.into());
        }
        schema
    }

    fn shaped(schema: &Schema, bucket: &str, object: &str) -> Result<String, UnfitValue> {
        fields(schema, bucket, &object_entries(object.as_bytes()).unwrap())
    }

    fn lot() -> Schema {
        schema(&[
            r#"{"class":"/db/Base","superClass":"/db/Object","fields":{"name":{"name":"name","type":"/db/String","order":0}}}"#,
            r#"{"class":"/db/City","embedded":true,"fields":{"zip":{"name":"zip","type":"/db/Integer","order":0}}}"#,
            r#"{"class":"/db/Lot","superClass":"/db/Base","fields":{
                "bids":{"name":"bids","type":"/db/collection.List[/db/Double]","order":2},
                "at":{"name":"at","type":"/db/DateTime","order":1},
                "city":{"name":"city","type":"/db/City","order":3},
                "tags":{"name":"tags","type":"/db/collection.Map[/db/String,/db/String]","order":4},
                "owner":{"name":"owner","type":"/db/User","order":5},
                "where":{"name":"where","type":"/db/GeoPoint","order":6}}}"#,
        ])
    }

    #[test]
    fn declared_fields_only_inherited_first_missing_ones_null() {
        assert_eq!(
            shaped(
                &lot(),
                "Lot",
                r#"{"other":1,"bids":[1,null,2.5],"name":"x","city":{"zip":2e4,"street":"y"},"tags":{"a":null,"b":"c"}}"#
            )
            .unwrap(),
            r#","name":"x","at":null,"bids":[1,null,2.5],"city":{"zip":20000},"tags":{"b":"c"},"owner":null,"where":null"#
        );
    }

    #[test]
    fn times_and_references_have_one_form() {
        let text =
            shaped(&lot(), "Lot", r#"{"at":"2020-01-01T00:00:00.500Z","owner":"/db/User/%61","where":{"longitude":1,"latitude":2.0}}"#)
                .unwrap();
        assert!(text.contains(r#""at":"2020-01-01T00:00:00.5Z""#) && text.contains(r#""owner":"/db/User/a""#), "{text}");
        assert!(text.contains(r#""where":{"latitude":2.0,"longitude":1}"#), "{text}");
    }

    #[test]
    fn other_types_are_refused_with_the_path() {
        for (object, path) in [
            (r#"{"name":1}"#, "name"),
            (r#"{"bids":[1,"2"]}"#, "bids.1"),
            (r#"{"bids":{}}"#, "bids"),
            (r#"{"at":"soon"}"#, "at"),
            (r#"{"at":17}"#, "at"),
            (r#"{"city":{"zip":1.5}}"#, "city.zip"),
            (r#"{"tags":{"a":1}}"#, "tags.a"),
            (r#"{"owner":{"id":"/db/User/a"}}"#, "owner"),
            (r#"{"where":{"latitude":91,"longitude":0}}"#, "where"),
        ] {
            let refused = shaped(&lot(), "Lot", object).unwrap_err();
            assert!(matches!(&refused, UnfitValue::Type { path: found, .. } if found == path), "{object}: {refused}");
        }
    }

    #[test]
    fn what_is_declared_and_not_given_is_bounded() {
        let schema = schema(&[
            r#"{"class":"/db/City","embedded":true,"fields":{
                "zip":{"name":"zip","type":"/db/Integer","order":0},"name":{"name":"name","type":"/db/String","order":1}}}"#,
            r#"{"class":"/db/Road","fields":{"cities":{"name":"cities","type":"/db/collection.List[/db/City]","order":0}}}"#,
        ]);
        let of = |count: usize| shaped(&schema, "Road", &format!(r#"{{"cities":[{}{{}}]}}"#, "{},".repeat(count - 1)));
        assert_eq!(of(2).unwrap(), r#","cities":[{"zip":null,"name":null},{"zip":null,"name":null}]"#);
        assert!(of(100_000).is_ok());
        let refused = of(1_400_000).unwrap_err();
        assert!(matches!(&refused, UnfitValue::Grows { path } if path.starts_with("cities.")), "{refused}");
    }

    #[test]
    fn classes_that_embed_themselves_end() {
        let schema = schema(&[
            r#"{"class":"/db/Node","embedded":true,"fields":{"next":{"name":"next","type":"/db/Node","order":0}}}"#,
            r#"{"class":"/db/Tree","superClass":"/db/Tree","fields":{"root":{"name":"root","type":"/db/Node","order":0}}}"#,
        ]);
        assert_eq!(shaped(&schema, "Tree", r#"{"root":{"next":{}}}"#).unwrap(), r#","root":{"next":{"next":null}}"#);
        let deep = format!(r#"{{"root":{}{{}}{}}}"#, r#"{"next":"#.repeat(60), "}".repeat(60));
        assert!(shaped(&schema, "Tree", &deep).is_err());
    }
}
