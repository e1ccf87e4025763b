//! Numbers: integers exact, the rest as doubles; compared by value across both, as MongoDB does.

use std::cmp::Ordering;

/// A JSON number. Integers that fit 64 bits are exact, everything else is a double.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// An integer
    Int(i64),
    /// A double; never NaN, JSON has none
    Float(f64),
}

impl Number {
    /// One form for each value: a double that is an integer of 64 bits becomes that integer.
    /// Equal numbers have equal canonical forms, so they can be keys of a hash index.
    #[inline]
    pub fn canonical(self) -> Number {
        match self {
            Number::Float(f) if f.trunc() == f && f >= -(2f64.powi(63)) && f < 2f64.powi(63) => Number::Int(f as i64),
            other => other,
        }
    }

    /// As a double, rounded to the nearest.
    #[inline]
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Float(f) => f,
        }
    }

    /// As an integer, if it is one of 64 bits.
    #[inline]
    pub fn as_i64(self) -> Option<i64> {
        match self.canonical() {
            Number::Int(i) => Some(i),
            Number::Float(_) => None,
        }
    }
}

/// Order by value; exact also where an integer has no double of its own.
#[inline]
pub fn compare_numbers(left: Number, right: Number) -> Ordering {
    match (left, right) {
        (Number::Int(l), Number::Int(r)) => l.cmp(&r),
        (Number::Float(l), Number::Float(r)) => l.partial_cmp(&r).unwrap_or(Ordering::Equal),
        (Number::Int(l), Number::Float(r)) => compare_mixed(l, r),
        (Number::Float(l), Number::Int(r)) => compare_mixed(r, l).reverse(),
    }
}

fn compare_mixed(int: i64, float: f64) -> Ordering {
    // Doubles of 2^63 and beyond are outside of every integer; inside, the integral part is exact as i64.
    if float >= 2f64.powi(63) {
        Ordering::Less
    } else if float < -(2f64.powi(63)) {
        Ordering::Greater
    } else {
        let whole = float.trunc();
        int.cmp(&(whole as i64)).then_with(|| 0f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        compare_numbers(*self, *other) == Ordering::Equal
    }
}
