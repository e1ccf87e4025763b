//! How much memory a standing query takes, estimated: what budgets of subscriptions are in.

use super::Filter;
use super::ast::{Literal, Path, Pattern, Predicate, Shape, Test};

/// What the index has for one key that a query hangs on: node, entry, place and number of the string.
const KEY: usize = 256;

/// What a compiled expression keeps, as a multiple of its one automaton: another one for the way back, and what both remember of
/// the texts they were put to.
const AUTOMATA: usize = 3;

impl Filter {
    /// Bytes that the query takes while it stands: its text, its tree and compiled expressions, and what the index has for it.
    /// An estimate that is the same for equal queries on every machine.
    pub fn weight(&self) -> usize {
        KEY + self.text.len() + predicate(&self.predicate)
    }
}

fn predicate(part: &Predicate) -> usize {
    size_of::<Predicate>()
        + match part {
            Predicate::True | Predicate::False => 0,
            Predicate::And(parts) | Predicate::Or(parts) => parts.iter().map(predicate).sum(),
            Predicate::Not(part) => predicate(part),
            Predicate::Field(at, asked) => path(at) + test(asked),
        }
}

fn path(path: &Path) -> usize {
    // In the tree, and among the paths of the index.
    path.components.iter().map(|component| 2 * (size_of_val(component) + component.name.len())).sum()
}

fn test(test: &Test) -> usize {
    match test {
        Test::Eq(operand) | Test::Compare(_, operand) => KEY + literal(operand),
        Test::In(operands) => operands.iter().map(|operand| KEY + literal(operand)).sum(),
        Test::Regex(pattern) => KEY + pattern.weight(),
        Test::ElemMatch(_, inner) => predicate(inner),
        // Cells of the globe are several.
        Test::GeoWithin(shape) => {
            9 * KEY + if let Shape::Polygon(rings) = shape { rings.iter().map(|ring| size_of_val(&**ring)).sum() } else { 0 }
        }
        Test::Near { .. } => 9 * KEY,
        Test::Exists | Test::Type(_) | Test::Mod { .. } | Test::Size(_) => KEY,
    }
}

fn literal(operand: &Literal) -> usize {
    size_of::<Literal>()
        + match operand {
            // Once more among the strings of the index.
            Literal::String(text) => 2 * text.len(),
            Literal::Array(elements) => elements.iter().map(literal).sum(),
            Literal::Object(fields) => fields.iter().map(|(name, value)| size_of_val(name) + name.len() + literal(value)).sum(),
            Literal::Null | Literal::Bool(_) | Literal::Number(_) | Literal::Date(_) => 0,
        }
}

impl Pattern {
    fn weight(&self) -> usize {
        self.source.len() + AUTOMATA * self.compiled
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::query::{Filter, QueryLimits};
    use serde_json::{Value, json};

    fn weight(query: &Value) -> usize {
        Filter::parse(&query.to_string(), &QueryLimits::default()).unwrap().weight()
    }

    #[test]
    fn a_query_weighs_what_it_keeps() {
        let plain = weight(&json!({ "city": "Rome", "price": { "$gt": 3 } }));
        assert!((500..2_000).contains(&plain), "{plain}");
        // More operands, more bytes.
        let many = weight(&json!({ "n": { "$in": (0..10_000).collect::<Vec<_>>() } }));
        assert!((2_000_000..6_000_000).contains(&many), "{many}");
        let long = weight(&json!({ "t": "x".repeat(100_000) }));
        assert!((200_000..500_000).contains(&long), "{long}");
        // The text says nothing of what an expression is when it is compiled.
        let small = weight(&json!({ "t": { "$regex": "^Berlin [a-z]+" } }));
        assert!((10_000..40_000).contains(&small), "{small}");
        let large = weight(&json!({ "t": { "$regex": "(\\p{L}x){5}" } }));
        assert!(large > 30_000 + small, "{large}");
        let nested = weight(&json!({ "a": { "$elemMatch": { "$not": { "$regex": "(\\p{L}x){5}" } } } }));
        assert!(nested.abs_diff(large) < 1_000, "{nested} {large}");
        let refused = Filter::parse(&json!({ "t": { "$regex": "(\\p{L}x){900}" } }).to_string(), &QueryLimits::default());
        assert_eq!(refused.unwrap_err().code(), "query-regex");
    }
}
