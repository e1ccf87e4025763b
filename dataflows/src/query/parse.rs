//! JSON text to tree. What is not supported is refused with its path and its operator.

use super::ast::{Comparison, Elements, Literal, Path, Pattern, Predicate, Test, TypeSet};
use super::json::Json;
use super::limits::{QueryError, QueryLimits};
use super::{order, parse_geo};
use crate::document::{Number, parse_instant};

/// Parses a query as it is written: the tree is not brought to its normal form. Operands of `$in` are sorted.
pub fn parse(text: &str, limits: &QueryLimits) -> Result<Predicate, QueryError> {
    let json = Json::read(text, limits)?;
    Parser { limits, regexes: 0 }.conditions("", &json, limits.depth())
}

struct Parser<'l> {
    limits: &'l QueryLimits,
    regexes: usize,
}

type Fields = [(String, Json)];

impl Parser<'_> {
    /// An object of conditions on fields: a query, a branch of `$or`, an `$elemMatch` on objects.
    fn conditions(&mut self, trail: &str, json: &Json, depth: usize) -> Result<Predicate, QueryError> {
        let Json::Object(fields) = json else {
            return Err(QueryError::syntax(trail, format!("expected an object of conditions, found {}", json.kind())));
        };
        let depth = self.beside(fields.len(), depth)?;
        let mut parts = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            match name.as_str() {
                "$and" | "$or" | "$nor" => parts.push(self.logical(trail, name, value, depth, Parser::conditions)?),
                "$comment" => {}
                operator if operator.starts_with('$') => {
                    let reason = "where fields are named only $and, $or, $nor and $comment may stand beside them";
                    return Err(QueryError::operator(trail, operator, reason));
                }
                field => {
                    let trail = if trail.is_empty() { field.to_owned() } else { format!("{trail}.{field}") };
                    let path = path(field)?;
                    match operators(value) {
                        Some(operators) => self.operators(&trail, &path, operators, depth, &mut parts)?,
                        None => parts.push(Predicate::Field(path, Test::Eq(self.literal(&trail, value, depth)?))),
                    }
                }
            }
        }
        Ok(all(parts))
    }

    fn logical(
        &mut self,
        trail: &str,
        operator: &str,
        operand: &Json,
        depth: usize,
        branch: fn(&mut Self, &str, &Json, usize) -> Result<Predicate, QueryError>,
    ) -> Result<Predicate, QueryError> {
        let branches = match operand {
            Json::Array(branches) if !branches.is_empty() => branches,
            _ => return Err(QueryError::syntax(trail, format!("{operator} takes a non-empty array of objects"))),
        };
        // `$nor` becomes a conjunction of negations.
        let depth = self.deeper(if operator == "$nor" { self.deeper(depth)? } else { depth })?;
        let parts = branches.iter().map(|json| branch(self, trail, json, depth)).collect::<Result<Vec<_>, _>>()?;
        Ok(match operator {
            "$and" => Predicate::And(parts),
            "$or" => Predicate::Or(parts),
            _ => Predicate::Not(Box::new(Predicate::Or(parts))),
        })
    }

    /// An object of operators on an element as it is. Beside MongoDB's operators it takes `$and`, `$or` and `$nor` of such
    /// objects, without which the normal form of a negated conjunction could not be written down.
    fn element(&mut self, trail: &str, json: &Json, depth: usize) -> Result<Predicate, QueryError> {
        let Json::Object(fields) = json else {
            return Err(QueryError::syntax(trail, format!("expected an object of operators, found {}", json.kind())));
        };
        let mut parts = Vec::with_capacity(fields.len());
        self.operators(trail, &Path::default(), fields, depth, &mut parts)?;
        Ok(all(parts))
    }

    /// The operators of one field, all of which must hold.
    fn operators(&mut self, trail: &str, path: &Path, fields: &Fields, depth: usize, parts: &mut Vec<Predicate>) -> Result<(), QueryError> {
        let depth = self.beside(fields.len(), depth)?;
        let beside = |name: &str| fields.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        for (operator, operand) in fields {
            let mut push = |test| parts.push(Predicate::Field(path.clone(), test));
            match operator.as_str() {
                "$eq" => push(Test::Eq(self.literal(trail, operand, depth)?)),
                "$ne" => {
                    let test = Test::Eq(self.literal(trail, operand, depth)?);
                    parts.push(not(Predicate::Field(path.clone(), test)));
                }
                "$lt" => push(Test::Compare(Comparison::Less, self.literal(trail, operand, depth)?)),
                "$lte" => push(Test::Compare(Comparison::LessOrEqual, self.literal(trail, operand, depth)?)),
                "$gt" => push(Test::Compare(Comparison::Greater, self.literal(trail, operand, depth)?)),
                "$gte" => push(Test::Compare(Comparison::GreaterOrEqual, self.literal(trail, operand, depth)?)),
                "$in" => push(Test::In(self.literals(trail, operator, operand, depth)?)),
                "$nin" => {
                    let test = Test::In(self.literals(trail, operator, operand, depth)?);
                    parts.push(not(Predicate::Field(path.clone(), test)));
                }
                "$exists" => {
                    let exists = Predicate::Field(path.clone(), Test::Exists);
                    parts.push(if truth(trail, operator, operand)? { exists } else { not(exists) });
                }
                "$size" => push(Test::Size(size(trail, operand)?)),
                "$type" => push(Test::Type(types(trail, operand)?)),
                "$mod" => push(modulo(trail, operand)?),
                "$regex" => push(Test::Regex(self.regex(trail, operand, beside("$options"))?)),
                "$options" if beside("$regex").is_some() => {}
                "$options" => return Err(QueryError::operator(trail, operator, "it belongs beside a $regex")),
                "$elemMatch" => push(self.elem_match(trail, operand, depth)?),
                "$all" => self.all(trail, path, operand, depth, parts)?,
                "$not" => {
                    let Some(inner) = operators(operand) else {
                        return Err(QueryError::syntax(trail, "$not takes an object of operators; for a value use $ne"));
                    };
                    let depth = self.deeper(depth)?;
                    let mut negated = Vec::with_capacity(inner.len());
                    self.operators(trail, path, inner, depth, &mut negated)?;
                    parts.push(not(all(negated)));
                }
                "$geoWithin" => push(Test::GeoWithin(parse_geo::shape(trail, operand)?)),
                "$nearSphere" => push(parse_geo::near(trail, operand, beside("$maxDistance"))?),
                "$maxDistance" if beside("$nearSphere").is_some() => {}
                "$maxDistance" => return Err(QueryError::operator(trail, operator, "it belongs beside or inside a $nearSphere")),
                "$and" | "$or" | "$nor" if path.components.is_empty() => {
                    parts.push(self.logical(trail, operator, operand, depth, Parser::element)?);
                }
                "$and" | "$or" | "$nor" => {
                    return Err(QueryError::operator(trail, operator, "it stands outside of fields: {\"$or\": [{field: …}, …]}"));
                }
                name if name.starts_with('$') => return Err(QueryError::operator(trail, name, unknown(name))),
                name => {
                    return Err(QueryError::syntax(trail, format!("the field {name:?} stands among operators; a value has none of them")));
                }
            }
        }
        Ok(())
    }

    fn elem_match(&mut self, trail: &str, operand: &Json, depth: usize) -> Result<Test, QueryError> {
        if !matches!(operand, Json::Object(_)) {
            return Err(QueryError::syntax(trail, format!("$elemMatch takes an object, found {}", operand.kind())));
        }
        let depth = self.deeper(depth)?;
        Ok(if on_values(operand) {
            Test::ElemMatch(Elements::Values, Box::new(self.element(trail, operand, depth)?))
        } else {
            Test::ElemMatch(Elements::Objects, Box::new(self.conditions(trail, operand, depth)?))
        })
    }

    fn all(&mut self, trail: &str, path: &Path, operand: &Json, depth: usize, parts: &mut Vec<Predicate>) -> Result<(), QueryError> {
        let Json::Array(elements) = operand else {
            return Err(QueryError::syntax(trail, format!("$all takes an array, found {}", operand.kind())));
        };
        let depth = self.beside(elements.len(), depth)?;
        let nested = |json: &Json| match json {
            Json::Object(fields) => fields.first().is_some_and(|(name, _)| name == "$elemMatch"),
            _ => false,
        };
        if elements.is_empty() {
            parts.push(Predicate::False);
        } else if elements.iter().any(nested) {
            for element in elements {
                match element {
                    Json::Object(fields) if fields.len() == 1 && nested(element) => {
                        parts.push(Predicate::Field(path.clone(), self.elem_match(trail, &fields[0].1, depth)?));
                    }
                    _ => return Err(QueryError::syntax(trail, "if one element of $all is an $elemMatch, all must be")),
                }
            }
        } else {
            for element in elements {
                parts.push(Predicate::Field(path.clone(), Test::Eq(self.literal(trail, element, depth)?)));
            }
        }
        Ok(())
    }

    fn regex(&mut self, trail: &str, source: &Json, options: Option<&Json>) -> Result<Pattern, QueryError> {
        let Json::String(source) = source else {
            return Err(QueryError::syntax(trail, format!("$regex takes a string, found {}", source.kind())));
        };
        let options = match options {
            None => "",
            Some(Json::String(options)) => options,
            Some(other) => return Err(QueryError::syntax(trail, format!("$options takes a string, found {}", other.kind()))),
        };
        self.regexes += 1;
        if self.regexes > self.limits.regexes {
            return Err(QueryError::TooLarge { what: "regular expressions", limit: self.limits.regexes });
        }
        Pattern::new(source, options, self.limits).map_err(|reason| QueryError::Regex { path: trail.into(), reason: reason.into() })
    }

    fn literals(&mut self, trail: &str, operator: &str, operand: &Json, depth: usize) -> Result<Vec<Literal>, QueryError> {
        let Json::Array(elements) = operand else {
            return Err(QueryError::syntax(trail, format!("{operator} takes an array, found {}", operand.kind())));
        };
        let mut literals = elements.iter().map(|element| self.literal(trail, element, depth)).collect::<Result<Vec<_>, _>>()?;
        literals.sort_by(order::compare_literals);
        literals.dedup();
        Ok(literals)
    }

    fn literal(&self, trail: &str, json: &Json, depth: usize) -> Result<Literal, QueryError> {
        Ok(match json {
            Json::Null => Literal::Null,
            Json::Bool(value) => Literal::Bool(*value),
            Json::Number(value) => Literal::Number(value.canonical()),
            Json::String(value) => Literal::String(value.as_str().into()),
            Json::Array(elements) => {
                let depth = self.deeper(depth)?;
                Literal::Array(elements.iter().map(|element| self.literal(trail, element, depth)).collect::<Result<_, _>>()?)
            }
            Json::Object(fields) => {
                if let [(name, instant)] = fields.as_slice()
                    && name == "$date"
                {
                    return date(trail, instant);
                }
                let depth = self.deeper(depth)?;
                if let Some((name, _)) = fields.iter().find(|(name, _)| name.starts_with('$')) {
                    return Err(QueryError::operator(trail, name, "a value stands here, and no name in a value begins with a dollar"));
                }
                let field = |(name, value): &(String, Json)| Ok((name.as_str().into(), self.literal(trail, value, depth)?));
                Literal::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
            }
        })
    }

    /// The depth of conditions that stand side by side: more than one are a conjunction.
    fn beside(&self, conditions: usize, depth: usize) -> Result<usize, QueryError> {
        if conditions > 1 { self.deeper(depth) } else { Ok(depth) }
    }

    /// Depth is that of the tree, not of the text, so that the normal form of a query is never deeper than the query.
    fn deeper(&self, depth: usize) -> Result<usize, QueryError> {
        depth.checked_sub(1).ok_or(QueryError::TooDeep { limit: self.limits.depth() })
    }
}

/// A numeric component can be read as a name and as a position, so each may double the ways through a document that was made for it.
const POSITIONS: usize = 8;

fn path(dotted: &str) -> Result<Path, QueryError> {
    let path = Path::new(dotted);
    if path.components.iter().filter(|component| component.position.is_some()).count() > POSITIONS {
        return Err(QueryError::TooLarge { what: "positions in one path", limit: POSITIONS });
    }
    Ok(path)
}

/// The fields of an object of operators; `None` for a value, which `{"$date": …}` is, too.
fn operators(json: &Json) -> Option<&Fields> {
    match json {
        Json::Object(fields) if fields.first().is_some_and(|(name, _)| name.starts_with('$')) => {
            let date = fields.len() == 1 && fields[0].0 == "$date";
            (!date).then_some(fields.as_slice())
        }
        _ => None,
    }
}

/// Whether an `$elemMatch` is about the elements as they are: its first name that is not `$and`, `$or` or `$nor` is an operator.
fn on_values(json: &Json) -> bool {
    fn first(json: &Json) -> Option<bool> {
        let Json::Object(fields) = json else { return None };
        fields.iter().find_map(|(name, value)| match (name.as_str(), value) {
            ("$comment", _) => None,
            ("$and" | "$or" | "$nor", Json::Array(branches)) => branches.iter().find_map(first),
            _ => Some(name.starts_with('$')),
        })
    }
    first(json).unwrap_or(false)
}

fn all(mut parts: Vec<Predicate>) -> Predicate {
    match (parts.len(), parts.pop()) {
        (_, None) => Predicate::True,
        (1, Some(part)) => part,
        (_, Some(part)) => {
            parts.push(part);
            Predicate::And(parts)
        }
    }
}

fn not(predicate: Predicate) -> Predicate {
    Predicate::Not(Box::new(predicate))
}

fn date(trail: &str, instant: &Json) -> Result<Literal, QueryError> {
    let milliseconds = match instant {
        Json::String(text) => parse_instant(text),
        Json::Number(number) => number.as_i64(),
        _ => None,
    };
    milliseconds.map(Literal::Date).ok_or_else(|| {
        QueryError::syntax(trail, "$date takes an instant like \"2020-01-02T03:04:05.678Z\" or whole milliseconds since 1970")
    })
}

fn truth(trail: &str, operator: &str, operand: &Json) -> Result<bool, QueryError> {
    match operand {
        Json::Bool(value) => Ok(*value),
        Json::Number(number) => Ok(*number != Number::Int(0)),
        other => Err(QueryError::syntax(trail, format!("{operator} takes true or false, found {}", other.kind()))),
    }
}

fn size(trail: &str, operand: &Json) -> Result<u64, QueryError> {
    let size = if let Json::Number(number) = operand { number.as_i64() } else { None };
    size.and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| QueryError::syntax(trail, "$size takes a whole number that is not negative"))
}

fn modulo(trail: &str, operand: &Json) -> Result<Test, QueryError> {
    let whole = |json: &Json| match json {
        Json::Number(Number::Int(int)) => Some(*int),
        Json::Number(Number::Float(float)) => Number::Float(float.trunc()).as_i64(),
        _ => None,
    };
    let Json::Array(operands) = operand else {
        return Err(QueryError::syntax(trail, "$mod takes an array [divisor, remainder]"));
    };
    match operands.as_slice() {
        [divisor, remainder] => match (whole(divisor), whole(remainder)) {
            (Some(0), _) => Err(QueryError::syntax(trail, "the divisor of $mod must not be zero")),
            (Some(divisor), Some(remainder)) => Ok(Test::Mod { divisor, remainder }),
            _ => Err(QueryError::syntax(trail, "divisor and remainder of $mod must be numbers of at most 64 bits")),
        },
        _ => Err(QueryError::syntax(trail, "$mod takes an array [divisor, remainder]")),
    }
}

fn types(trail: &str, operand: &Json) -> Result<TypeSet, QueryError> {
    let one = |json: &Json| -> Option<TypeSet> {
        Some(match json {
            Json::String(alias) => match alias.as_str() {
                "double" => TypeSet::DOUBLE,
                "string" => TypeSet::STRING,
                "object" => TypeSet::OBJECT,
                "array" => TypeSet::ARRAY,
                "bool" => TypeSet::BOOL,
                "date" => TypeSet::DATE,
                "null" => TypeSet::NULL,
                "int" => TypeSet::INT,
                "long" => TypeSet::LONG,
                "number" => TypeSet::NUMBER,
                _ => return None,
            },
            Json::Number(code) => match code.as_i64()? {
                1 => TypeSet::DOUBLE,
                2 => TypeSet::STRING,
                3 => TypeSet::OBJECT,
                4 => TypeSet::ARRAY,
                8 => TypeSet::BOOL,
                9 => TypeSet::DATE,
                10 => TypeSet::NULL,
                16 => TypeSet::INT,
                18 => TypeSet::LONG,
                _ => return None,
            },
            _ => return None,
        })
    };
    let types = match operand {
        Json::Array(types) if types.is_empty() => None,
        Json::Array(types) => types.iter().try_fold(TypeSet(0), |set, json| Some(set.union(one(json)?))),
        json => one(json),
    };
    types.ok_or_else(|| {
        QueryError::syntax(trail, "$type takes double, string, object, array, bool, date, null, int, long, number or their numbers 1, 2, 3, 4, 8, 9, 10, 16, 18, or an array of these")
    })
}

/// What to say about an operator that is none of ours.
fn unknown(operator: &str) -> &'static str {
    match operator {
        "$near" => "use $nearSphere with a $geometry and $maxDistance",
        "$date" => "a date has no other operators beside it; write {\"$gt\": {\"$date\": …}}",
        "$where" | "$expr" | "$jsonSchema" => "queries run no code; server code can filter results",
        "$text" | "$search" => "there is no text index; use $regex",
        _ => {
            "known are $eq $ne $gt $gte $lt $lte $in $nin $exists $all $size $mod $regex $options $elemMatch $type $not $geoWithin $nearSphere $maxDistance"
        }
    }
}
