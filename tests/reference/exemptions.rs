//! Where a reference deviates from what MongoDB documents.

#![allow(unreachable_pub)]

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    Mingo,
    Monty,
}

/// A document, a query, and whether we say that it is found.
pub struct Case {
    pub query: Value,
    pub document: Value,
    pub query_text: String,
    pub document_text: String,
    pub ours: bool,
}

/// A class of differences.
pub struct Exemption {
    pub reference: Reference,
    /// What the reference does, and the documented rule
    pub class: &'static str,
    /// Whether the case can be one of the class
    pub applies: fn(&Case) -> bool,
}

pub const EXEMPTIONS: &[Exemption] = &[
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: no option x ($regex: x ignores white space)",
        applies: |case| {
            operator(case, &|name, operand| name == "$options" && operand.as_str().is_some_and(|options| options.contains('x')))
        },
    },
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: one type for all numbers ($type: int, long and double are three)",
        applies: |case| operator(case, &|name, operand| name == "$type" && list(operand).iter().any(is_number_type)),
    },
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: $type looks at no elements ($type: an array has the types of its elements, too)",
        applies: |case| operator(case, &|name, _| name == "$type") && any(&case.document, &Value::is_array),
    },
    Exemption { reference: Reference::Mingo, class: NULL_BOUNDS, applies: null_bound },
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: $gt and its like on objects and arrays by own rules (BSON comparison order: field by field, element by element)",
        applies: |case| operator(case, &|name, operand| is_bound(name) && (operand.is_object() && !is_date(operand) || operand.is_array())),
    },
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: opens arrays within arrays (query an array: a path goes through one level)",
        applies: nested_arrays,
    },
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: a path into an array whose elements lack it yields an empty array or null (query for null: elements that are no objects have no fields)",
        applies: |case| dotted(&case.query) && any(&case.document, &Value::is_array),
    },
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: arrays as operands of $in and $nin ($in: an array is compared as a whole)",
        applies: |case| operator(case, &|name, operand| (name == "$in" || name == "$nin") && list(operand).iter().any(Value::is_array)),
    },
    Exemption {
        reference: Reference::Mingo,
        class: "mingo: $all on a field that is no array ($all: equal to $and of its elements)",
        applies: |case| operator(case, &|name, _| name == "$all"),
    },
    Exemption { reference: Reference::Mingo, class: REMAINDERS, applies: |case| operator(case, &|name, _| name == "$mod") },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: fails on an empty object as operand",
        applies: |case| any(&case.query, &|value| value.as_object().is_some_and(serde_json::Map::is_empty)),
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: fails on $all with an empty array ($all: matches nothing)",
        applies: |case| operator(case, &|name, operand| name == "$all" && list(operand).is_empty()),
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: $all with null does not find missing fields ($all: equal to $and of its elements)",
        applies: |case| operator(case, &|name, operand| name == "$all" && list(operand).contains(&Value::Null)),
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: $elemMatch misjudges elements that are no objects ($elemMatch: one element for all conditions, those on fields only for objects)",
        applies: |case| {
            let mixed = |value: &Value| value.as_array().is_some_and(|elements| elements.iter().any(|element| !element.is_object()));
            operator(case, &|name, _| name == "$elemMatch") && any(&case.document, &mixed)
        },
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: $all takes false for 0 and true for 1 ($all: equal to $and of its elements)",
        applies: |case| {
            operator(case, &|name, operand| name == "$all" && list(operand).iter().any(|value| matches!(value.as_i64(), Some(0 | 1))))
        },
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: refuses $not with $regex ($not: allowed since 4.0.7)",
        applies: |case| operator(case, &|name, operand| name == "$not" && operand.get("$regex").is_some()),
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: $all with $elemMatch refused or found in missing fields ($all: equal to $and of the $elemMatch)",
        applies: |case| {
            operator(case, &|name, operand| name == "$all" && list(operand).iter().any(|element| element.get("$elemMatch").is_some()))
        },
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: an integer is an int whatever its size ($type: beyond 32 bits it is a long)",
        applies: |case| operator(case, &|name, operand| name == "$type" && list(operand).iter().any(is_number_type)),
    },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: $not with $type within $elemMatch passes over objects ($not: selects what does not match)",
        applies: |case| {
            let negated_type = |value: &Value| value.get("$not").is_some_and(|inner| any(inner, &|value| value.get("$type").is_some()));
            operator(case, &|name, operand| name == "$elemMatch" && any(operand, &negated_type))
        },
    },
    Exemption { reference: Reference::Monty, class: NULL_BOUNDS, applies: null_bound },
    Exemption {
        reference: Reference::Monty,
        class: "montydb: Python's remainder for negative numbers and fractions ($mod: cut towards zero, sign of the dividend)",
        applies: |case| operator(case, &|name, _| name == "$mod"),
    },
];

const NULL_BOUNDS: &str = "both: $gte and $lte null do not find missing fields (query for null: null equals missing)";
const REMAINDERS: &str = "mingo: $mod does not cut fractions, and takes null and booleans for numbers ($mod: cut towards zero)";

fn nested_arrays(case: &Case) -> bool {
    any(&case.document, &|value| value.as_array().is_some_and(|elements| elements.iter().any(Value::is_array)))
}

fn null_bound(case: &Case) -> bool {
    operator(case, &|name, operand| is_bound(name) && operand.is_null())
}

fn is_bound(name: &str) -> bool {
    matches!(name, "$gt" | "$gte" | "$lt" | "$lte")
}

fn is_date(value: &Value) -> bool {
    value.get("$date").is_some()
}

fn is_number_type(value: &Value) -> bool {
    matches!(value.as_str(), Some("int" | "long" | "double" | "number")) || matches!(value.as_i64(), Some(1 | 16 | 18))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// Whether it holds for a value or for one within it.
fn any(value: &Value, holds: &dyn Fn(&Value) -> bool) -> bool {
    holds(value)
        || match value {
            Value::Array(elements) => elements.iter().any(|element| any(element, holds)),
            Value::Object(fields) => fields.values().any(|field| any(field, holds)),
            _ => false,
        }
}

/// Whether the query has such an operator with such an operand.
fn operator(case: &Case, holds: &dyn Fn(&str, &Value) -> bool) -> bool {
    any(&case.query, &|value| value.as_object().is_some_and(|fields| fields.iter().any(|(name, operand)| holds(name, operand))))
}

/// Whether the query has a path of several parts.
fn dotted(query: &Value) -> bool {
    any(query, &|value| value.as_object().is_some_and(|fields| fields.keys().any(|name| name.contains('.'))))
}
