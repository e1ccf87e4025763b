//! Which fields of a class hold times, as the parser of documents wants it.

use super::{Class, Kind, Schema};
use dataflows::document::{DateField, DateFields};
use std::collections::HashMap;
use std::sync::Arc;

/// Objects within each other down to which times are known: classes may embed themselves.
const DEPTH: usize = 8;

/// Works it out for any number of classes of one schema. Each class is looked at once for each depth, however many embed or inherit
/// it, and what it has is shared: neither time nor memory grows with the number of ways between classes.
pub(crate) struct Dates<'s> {
    schema: &'s Schema,
    /// By name and how much deeper to look. None: no times
    known: HashMap<(&'s str, usize), Option<Arc<DateFields>>>,
}

impl<'s> Dates<'s> {
    pub(crate) fn new(schema: &'s Schema) -> Dates<'s> {
        Dates { schema, known: HashMap::new() }
    }

    /// As [`Schema::dates`].
    pub(crate) fn of(&mut self, bucket: &str) -> DateFields {
        let fields = vec![("createdAt".into(), DateField::Date), ("updatedAt".into(), DateField::Date)];
        DateFields { fields, inherited: self.class(bucket, DEPTH) }
    }

    fn class(&mut self, bucket: &str, depth: usize) -> Option<Arc<DateFields>> {
        let schema = self.schema;
        let (bucket, class) = schema.classes.get_key_value(bucket).filter(|_| depth > 0)?;
        if let Some(known) = self.known.get(&(&**bucket, depth)) {
            return known.clone();
        }
        // This ends a circle of classes that inherit each other, should there be one.
        self.known.insert((bucket, depth), None);
        let found = self.declared(class, depth);
        self.known.insert((bucket, depth), found.clone());
        found
    }

    fn declared(&mut self, class: &'s Class, depth: usize) -> Option<Arc<DateFields>> {
        let parent = class.super_class.as_deref().and_then(|parent| parent.strip_prefix("/db/"));
        let inherited = parent.and_then(|parent| self.class(parent, depth));
        let mut fields = Vec::new();
        for field in class.fields.values() {
            if let Some(date) = Kind::parse(&field.kind).and_then(|kind| self.field(&kind, depth)) {
                fields.push((field.name.clone(), date));
            }
        }
        if fields.is_empty() { inherited } else { Some(Arc::new(DateFields { fields, inherited })) }
    }

    fn field(&mut self, kind: &Kind<'_>, depth: usize) -> Option<DateField> {
        match kind {
            Kind::DateTime | Kind::Date | Kind::Time => Some(DateField::Date),
            Kind::List(element) | Kind::Set(element) => Some(DateField::List(self.field(element, depth)?.into())),
            Kind::Map(value) => Some(DateField::Map(self.field(value, depth)?.into())),
            Kind::Class(name) => {
                self.schema.class(name).filter(|class| class.embedded)?;
                self.class(name, depth - 1).map(DateField::Embedded)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{ClassRequest, Request, alteration, change};
    use super::*;
    use dataflows::access::Caller;
    use dataflows::document::{Document, DocumentLimits};
    use dataflows::query::{Filter, QueryLimits};
    use serde_json::{Value, json};

    fn schema(classes: &Value) -> Schema {
        let classes: Vec<ClassRequest> = serde_json::from_value(classes.clone()).unwrap();
        change(&Schema::built_in(), &Request::Merge(classes), &Caller::admin()).unwrap()
    }

    fn class(name: &str, embedded: bool, above: Option<&str>, fields: &[(&str, &str)]) -> Value {
        let fields: serde_json::Map<_, _> =
            fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "name": name, "type": format!("/db/{kind}") }))).collect();
        let mut class = json!({ "class": format!("/db/{name}"), "embedded": embedded, "fields": fields });
        if let Some(above) = above {
            class["superClass"] = json!(format!("/db/{above}"));
        }
        class
    }

    #[test]
    fn times_are_found_wherever_they_are_declared() {
        let schema = schema(&json!([
            class("Visit", true, None, &[("at", "DateTime")]),
            class("LongVisit", true, Some("Visit"), &[("until", "Time")]),
            class("Shop", false, None, &[("day", "Date"), ("opens", "collection.Map[/db/String,/db/DateTime]")]),
            class(
                "Shed",
                false,
                Some("Shop"),
                &[
                    ("visits", "collection.Map[/db/String,/db/LongVisit]"),
                    ("rounds", "collection.List[/db/collection.Set[/db/DateTime]]"),
                    ("name", "String"),
                ]
            ),
        ]));
        let text = json!({
            "createdAt": "2020-01-01T00:00:00Z", "day": "2020-01-01", "opens": { "mon": "2020-01-01T00:00:00Z" }, "name": "2020-01-01",
            "visits": { "a": { "at": "2020-01-01T00:00:00Z", "until": "12:00:00Z" } }, "rounds": [["2020-01-01T00:00:00Z"]],
        });
        let parse = |bucket: &str| Document::parse(text.to_string().into(), &schema.dates(bucket), DocumentLimits::default()).unwrap();
        let matches = |document: &Document, path: &str, time: &str| {
            Filter::parse(&json!({ path: { "$date": time } }).to_string(), &QueryLimits::default()).unwrap().matches(document)
        };
        let (shed, open) = (parse("Shed"), parse("Nothing"));
        for (path, time) in [
            ("createdAt", "2020-01-01T00:00:00Z"),
            ("day", "2020-01-01T00:00:00Z"),
            ("opens.mon", "2020-01-01T01:00:00+01:00"),
            ("visits.a.at", "2020-01-01T00:00:00.000Z"),
            ("visits.a.until", "12:00Z"),
            ("rounds.0", "2020-01-01"),
        ] {
            assert!(matches(&shed, path, time) || path == "rounds.0", "{path}");
            assert!(!matches(&open, path, time) || path == "createdAt", "{path}");
        }
        let rounds = json!({ "rounds": { "$elemMatch": { "$elemMatch": { "$gte": { "$date": "2020-01-01" } } } } });
        assert!(Filter::parse(&rounds.to_string(), &QueryLimits::default()).unwrap().matches(&shed));
        assert!(!matches(&shed, "name", "2020-01-01"));
    }

    /// Written out, each of these would be larger than any memory, or take years.
    #[test]
    fn classes_that_embed_each_other_are_worked_out_at_once() {
        let to_node: Vec<(String, String)> = (0..30).map(|n| (format!("f{n}"), "Node".to_owned())).collect();
        let mut fields: Vec<(&str, &str)> = to_node.iter().map(|(name, kind)| (&**name, &**kind)).collect();
        fields.push(("at", "DateTime"));
        let holder = class("Holder", false, None, &[("node", "Node"), ("many", "collection.Map[/db/String,/db/Node]")]);
        let before = schema(&json!([class("Node", true, None, &fields), holder]));
        let dates = before.dates("Holder");
        assert!(dates == before.dates("Holder"));
        fields.push(("until", "DateTime"));
        let classes: Vec<ClassRequest> = serde_json::from_value(json!([class("Node", true, None, &fields)])).unwrap();
        let after = change(&before, &Request::Merge(classes), &Caller::admin()).unwrap();
        let altered = alteration::between(&before, &after);
        let holder = altered.iter().find(|altered| &*altered.bucket == "Holder").unwrap();
        assert_eq!(holder.retyped, [Box::from("many"), Box::from("node")]);
        let deep = |levels: usize, name: &str| {
            (0..levels).fold(format!("{{\"{name}\":\"2020-01-01\"}}"), |inner, _| format!("{{\"f7\":{inner}}}"))
        };
        let query = |levels: usize, name: &str| format!("{{\"node.{}{name}\":{{\"$date\":\"2020-01-01\"}}}}", "f7.".repeat(levels));
        for (levels, name, known) in [(0, "at", true), (6, "at", true), (6, "until", false), (7, "at", false)] {
            let text = format!("{{\"node\":{}}}", deep(levels, name));
            let document = Document::parse(text.into(), &dates, DocumentLimits::default()).unwrap();
            let filter = Filter::parse(&query(levels, name), &QueryLimits::default()).unwrap();
            assert_eq!(filter.matches(&document), known, "{levels} {name}");
        }
    }

    /// Many classes, all embedding each other and inheriting one.
    #[test]
    fn a_large_schema_shares_what_its_classes_have_in_common() {
        let names: Vec<String> = (0..300).map(|n| format!("C{n}")).collect();
        let fields: Vec<(String, String)> = (0..300).map(|n| (format!("t{n}"), "DateTime".to_owned())).collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, kind)| (&**name, &**kind)).collect();
        let mut classes = vec![class("Above", true, None, &fields)];
        classes.extend(names.iter().enumerate().map(|(n, name)| {
            let next: Vec<(String, &str)> = (0..10).map(|k| (format!("n{k}"), &*names[(n * 7 + k * 131 + 1) % names.len()])).collect();
            let next: Vec<(&str, &str)> = next.iter().map(|(name, kind)| (&**name, *kind)).collect();
            class(name, true, Some("Above"), &next)
        }));
        let schema = schema(&json!(classes));
        let mut dates = Dates::new(&schema);
        let all: Vec<DateFields> = names.iter().map(|name| dates.of(name)).collect();
        assert!(dates.known.len() <= (names.len() + 2) * DEPTH);
        let above = all.iter().map(|dates| dates.inherited.clone().unwrap().inherited.clone().unwrap());
        assert!(above.clone().zip(above.skip(1)).all(|(one, other)| Arc::ptr_eq(&one, &other)));
    }
}
