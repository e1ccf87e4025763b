//! Which declared fields hold times, and where two declarations differ in that.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Which declared fields hold times, so that their strings are read as instants.
///
/// A `$date` operand never matches a string of an undeclared field, and a declared one is compared as
/// an instant (docs/query.md); so the parser must know which fields are declared as times.
///
/// Classes embed and inherit each other in any number of ways, so what several have in common is shared: written out, the
/// declarations of a small schema can be larger than any memory.
#[derive(Clone, Default, Eq)]
pub struct DateFields {
    /// (name, what stands there), in no particular order; looked up by name at the object's top level.
    pub fields: Vec<(Box<str>, DateField)>,
    /// Those of the class above. Of two fields with one name the one in `fields` counts.
    pub inherited: Option<Arc<DateFields>>,
}

/// What a declared field holds, as far as times are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DateField {
    /// `DateTime`, `Date` or `Time`: the string is an instant.
    Date,
    /// A list or set: each element is this.
    List(Arc<DateField>),
    /// A map: each value is this, whatever its key.
    Map(Arc<DateField>),
    /// An embedded object with declared fields of its own.
    Embedded(Arc<DateFields>),
}

impl DateFields {
    /// These fields and no others.
    pub fn new(fields: Vec<(Box<str>, DateField)>) -> DateFields {
        DateFields { fields, inherited: None }
    }

    /// What is declared under a name.
    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<&DateField> {
        let mut next = Some(self);
        while let Some(here) = next {
            if let Some((_, field)) = here.fields.iter().find(|(declared, _)| declared.as_bytes() == name) {
                return Some(field);
            }
            next = here.inherited.as_deref();
        }
        None
    }

    /// By name, inherited ones included.
    fn by_name(&self) -> BTreeMap<&str, &DateField> {
        let mut all = BTreeMap::new();
        let mut next = Some(self);
        while let Some(here) = next {
            for (name, field) in &here.fields {
                all.entry(&**name).or_insert(field);
            }
            next = here.inherited.as_deref();
        }
        all
    }
}

/// Of one class the names only: classes that embed themselves have no end.
impl fmt::Debug for DateFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name().keys()).finish()
    }
}

/// See [`Shapes`] for what is the same.
impl PartialEq for DateFields {
    fn eq(&self, other: &DateFields) -> bool {
        Shapes::default().differing(self, other).is_empty()
    }
}

/// Compares declarations. What they share is looked at once, also over many comparisons.
///
/// Fields are the same if times are declared at the same places below them. Embedded classes that inherit the same fields from
/// different classes may count as different.
#[derive(Default)]
pub struct Shapes {
    numbers: HashMap<Shape, u32>,
    /// By address, and kept, so that the address stays theirs
    known: HashMap<*const DateFields, (Arc<DateFields>, u32)>,
}

/// A declaration, the parts of which are numbers of shapes.
#[derive(PartialEq, Eq, Hash)]
enum Shape {
    Date,
    List(u32),
    Map(u32),
    /// Own fields by name, and those of the class above
    Fields(Vec<(Box<str>, u32)>, Option<u32>),
}

impl Shapes {
    /// The names of fields that hold times in only one of two declarations, or in other places. Sorted.
    pub fn differing(&mut self, one: &DateFields, other: &DateFields) -> Vec<Box<str>> {
        if self.fields(one) == self.fields(other) {
            return Vec::new();
        }
        let (one, other) = (one.by_name(), other.by_name());
        let mut differing: Vec<Box<str>> = other.keys().filter(|name| !one.contains_key(*name)).map(|name| (*name).into()).collect();
        for (name, field) in one {
            let there = other.get(name).map(|field| self.field(field));
            if there != Some(self.field(field)) {
                differing.push(name.into());
            }
        }
        differing.sort_unstable();
        differing
    }

    fn number(&mut self, shape: Shape) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(shape).or_insert(next)
    }

    fn field(&mut self, field: &DateField) -> u32 {
        let shape = match field {
            DateField::Date => Shape::Date,
            DateField::List(element) => Shape::List(self.field(element)),
            DateField::Map(value) => Shape::Map(self.field(value)),
            DateField::Embedded(fields) => return self.shared(fields),
        };
        self.number(shape)
    }

    fn fields(&mut self, fields: &DateFields) -> u32 {
        let mut own: Vec<_> = fields.fields.iter().map(|(name, field)| (name.clone(), self.field(field))).collect();
        own.sort_unstable();
        let inherited = fields.inherited.as_ref().map(|inherited| self.shared(inherited));
        self.number(Shape::Fields(own, inherited))
    }

    fn shared(&mut self, fields: &Arc<DateFields>) -> u32 {
        let address = Arc::as_ptr(fields);
        if let Some((_, number)) = self.known.get(&address) {
            return *number;
        }
        let number = self.fields(fields);
        self.known.insert(address, (Arc::clone(fields), number));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, field: DateField) -> DateFields {
        DateFields::new(vec![(name.into(), field)])
    }

    #[test]
    fn names_the_fields_that_differ() {
        let date = || DateField::Date;
        let list = |field| DateField::List(Arc::new(field));
        let embedded = |fields| DateField::Embedded(Arc::new(fields));
        let one = DateFields {
            fields: vec![
                ("same".into(), list(date())),
                ("turned".into(), list(date())),
                ("gone".into(), date()),
                ("deep".into(), embedded(field("x", date()))),
            ],
            inherited: Some(Arc::new(field("above", date()))),
        };
        let other = DateFields::new(vec![
            ("above".into(), date()),
            ("came".into(), date()),
            ("same".into(), list(date())),
            ("turned".into(), DateField::Map(Arc::new(date()))),
            ("deep".into(), embedded(field("y", date()))),
        ]);
        let names = ["came", "deep", "gone", "turned"].map(Box::from);
        assert_eq!(Shapes::default().differing(&one, &other), names);
        assert_eq!(Shapes::default().differing(&other, &one), names);
        assert!(Shapes::default().differing(&one, &one.clone()).is_empty());
        assert!(one == one.clone() && one != other);
    }

    /// As trees they would have 30 to the power of 20 parts.
    #[test]
    fn what_is_shared_is_looked_at_once() {
        let tower = |top: &str| {
            let mut below = Arc::new(field(top, DateField::Date));
            for _ in 0..20 {
                let fields = (0..30).map(|n| (format!("f{n}").into(), DateField::Embedded(Arc::clone(&below)))).collect();
                below = Arc::new(DateFields::new(fields));
            }
            below
        };
        let (one, same, other) = (tower("a"), tower("a"), tower("b"));
        assert!(one == same);
        assert_eq!(Shapes::default().differing(&one, &other).len(), 30);
        assert!(format!("{one:?}").len() < 1_000);
    }
}
