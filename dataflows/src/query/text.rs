//! The JSON text of a tree in normal form. Parsed again it gives the same tree, so equal texts are equal queries.

use super::ast::{Comparison, Elements, Literal, Path, Point, Predicate, Shape, Test, TypeSet};
use crate::document::Number;
use std::fmt::Write;

/// Writes a tree that is in normal form (other trees come out as queries that mean the same).
pub fn text(predicate: &Predicate) -> String {
    let mut out = String::new();
    conditions(&mut out, predicate);
    out
}

/// An object of conditions on fields.
fn conditions(out: &mut String, predicate: &Predicate) {
    match predicate {
        Predicate::True => out.push_str("{}"),
        Predicate::False => out.push_str(r#"{"$nor":[{}]}"#),
        Predicate::And(parts) => list(out, r#"{"$and":["#, parts, conditions, "]}"),
        Predicate::Or(parts) => list(out, r#"{"$or":["#, parts, conditions, "]}"),
        Predicate::Field(path, Test::Eq(operand)) => at(out, path, |out| literal(out, operand)),
        Predicate::Field(path, test) => at(out, path, |out| operator(out, test)),
        Predicate::Not(part) => match &**part {
            Predicate::Field(path, test) => at(out, path, |out| negated(out, test)),
            other => {
                out.push_str(r#"{"$nor":["#);
                conditions(out, other);
                out.push_str("]}");
            }
        },
    }
}

fn at(out: &mut String, path: &Path, condition: impl FnOnce(&mut String)) {
    out.push('{');
    string(out, &path.to_string());
    out.push(':');
    condition(out);
    out.push('}');
}

/// An object of operators on an element as it is.
fn element(out: &mut String, predicate: &Predicate) {
    match predicate {
        Predicate::True => out.push_str(r#"{"$nin":[]}"#),
        Predicate::False => out.push_str(r#"{"$in":[]}"#),
        Predicate::And(parts) => list(out, r#"{"$and":["#, parts, element, "]}"),
        Predicate::Or(parts) => list(out, r#"{"$or":["#, parts, element, "]}"),
        Predicate::Field(_, test) => operator(out, test),
        Predicate::Not(part) => match &**part {
            Predicate::Field(_, test) => negated(out, test),
            other => {
                out.push_str(r#"{"$nor":["#);
                element(out, other);
                out.push_str("]}");
            }
        },
    }
}

fn negated(out: &mut String, test: &Test) {
    match test {
        Test::Eq(operand) => {
            out.push_str(r#"{"$ne":"#);
            literal(out, operand);
            out.push('}');
        }
        Test::In(operands) => list(out, r#"{"$nin":["#, operands, literal, "]}"),
        Test::Exists => out.push_str(r#"{"$exists":false}"#),
        test => {
            out.push_str(r#"{"$not":"#);
            operator(out, test);
            out.push('}');
        }
    }
}

/// An object of one operator (with what belongs to it).
fn operator(out: &mut String, test: &Test) {
    match test {
        Test::Eq(operand) => {
            out.push_str(r#"{"$eq":"#);
            literal(out, operand);
        }
        Test::In(operands) => list(out, r#"{"$in":["#, operands, literal, "]"),
        Test::Compare(comparison, operand) => {
            out.push_str(match comparison {
                Comparison::Less => r#"{"$lt":"#,
                Comparison::LessOrEqual => r#"{"$lte":"#,
                Comparison::Greater => r#"{"$gt":"#,
                Comparison::GreaterOrEqual => r#"{"$gte":"#,
            });
            literal(out, operand);
        }
        Test::Exists => out.push_str(r#"{"$exists":true"#),
        Test::Type(types) => {
            let names = [
                (TypeSet::DOUBLE, "double"),
                (TypeSet::STRING, "string"),
                (TypeSet::OBJECT, "object"),
                (TypeSet::ARRAY, "array"),
                (TypeSet::BOOL, "bool"),
                (TypeSet::DATE, "date"),
                (TypeSet::NULL, "null"),
                (TypeSet::INT, "int"),
                (TypeSet::LONG, "long"),
            ];
            let named: Vec<&str> = names.iter().filter(|(one, _)| types.0 & one.0 != 0).map(|(_, name)| *name).collect();
            list(out, r#"{"$type":["#, &named, |out, name| string(out, name), "]");
        }
        Test::Regex(pattern) => {
            out.push_str(r#"{"$regex":"#);
            string(out, &pattern.source);
            if !pattern.options.is_empty() {
                out.push_str(r#","$options":"#);
                string(out, &pattern.options);
            }
        }
        Test::Mod { divisor, remainder } => put(out, format_args!(r#"{{"$mod":[{divisor},{remainder}]"#)),
        Test::Size(size) => put(out, format_args!(r#"{{"$size":{size}"#)),
        Test::ElemMatch(elements, inner) => {
            out.push_str(r#"{"$elemMatch":"#);
            match elements {
                Elements::Objects => conditions(out, inner),
                Elements::Values => element(out, inner),
            }
        }
        Test::GeoWithin(shape) => {
            out.push_str(r#"{"$geoWithin":"#);
            match shape {
                Shape::Polygon(rings) => {
                    out.push_str(r#"{"$geometry":{"type":"Polygon","coordinates":"#);
                    list(out, "[", rings, |out, ring| list(out, "[", ring, point, "]"), "]}}");
                }
                Shape::Box(lower, upper) => list(out, r#"{"$box":["#, &[*lower, *upper], point, "]}"),
                Shape::CenterSphere(centre, radius) => {
                    out.push_str(r#"{"$centerSphere":["#);
                    point(out, centre);
                    out.push(',');
                    float(out, *radius);
                    out.push_str("]}");
                }
            }
        }
        Test::Near { centre, max_distance } => {
            out.push_str(r#"{"$nearSphere":{"$geometry":{"type":"Point","coordinates":"#);
            point(out, centre);
            out.push('}');
            if max_distance.is_finite() {
                out.push_str(r#","$maxDistance":"#);
                float(out, *max_distance);
            }
            out.push('}');
        }
    }
    out.push('}');
}

fn literal(out: &mut String, value: &Literal) {
    match value {
        Literal::Null => out.push_str("null"),
        Literal::Bool(value) => put(out, format_args!("{value}")),
        Literal::Number(value) => number(out, *value),
        Literal::String(value) => string(out, value),
        Literal::Date(value) => put(out, format_args!(r#"{{"$date":{value}}}"#)),
        Literal::Array(elements) => list(out, "[", elements, literal, "]"),
        Literal::Object(fields) => {
            let field = |out: &mut String, (name, value): &(Box<str>, Literal)| {
                string(out, name);
                out.push(':');
                literal(out, value);
            };
            list(out, "{", fields, field, "}");
        }
    }
}

fn point(out: &mut String, point: &Point) {
    out.push('[');
    float(out, point.longitude);
    out.push(',');
    float(out, point.latitude);
    out.push(']');
}

fn float(out: &mut String, value: f64) {
    number(out, Number::Float(value));
}

fn number(out: &mut String, value: Number) {
    match value.canonical() {
        Number::Int(value) => put(out, format_args!("{value}")),
        Number::Float(value) => put(out, format_args!("{}", serde_json::Value::from(value))),
    }
}

fn string(out: &mut String, text: &str) {
    put(out, format_args!("{}", serde_json::Value::from(text)));
}

/// Writing to a string cannot fail.
fn put(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
}

fn list<T>(out: &mut String, open: &str, items: &[T], item: impl Fn(&mut String, &T), close: &str) {
    out.push_str(open);
    for (position, one) in items.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        item(out, one);
    }
    out.push_str(close);
}
