//! An object as its clients may think of it: a version and a value, or nothing. The sequential meaning of every operation
//! (docs/api.md, "Objects"); versions begin at 1 after each insert.

use super::check::{self, Model};

/// What a client did with one object.
pub type Operation = check::Operation<Asked>;

/// The version and the value.
pub type State = Option<(u64, u64)>;

/// `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    None,
    Any,
    Version(u64),
    Absent,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By its id, or by a query
    Load,
    Insert(u64),
    Save(u64, Condition),
    /// A partial update: so much is added to the value
    Add(u64, Condition),
    Delete(Condition),
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is this now
    Is(u64, u64),
    /// It is not there (any more)
    IsNot,
    /// There is one already
    Exists,
    /// The condition is not met
    OutOfDate,
}

impl Condition {
    fn is_met(self, state: State) -> bool {
        match self {
            Condition::None => true,
            Condition::Any => state.is_some(),
            Condition::Version(version) => state.is_some_and(|(now, _)| now == version),
            Condition::Absent => state.is_none(),
        }
    }
}

impl Model for Asked {
    type State = State;
    type Told = Told;

    fn step(&self, state: &State) -> (State, Told) {
        step(*state, *self)
    }

    fn only_looked(&self, told: &Told) -> bool {
        matches!((self, told), (Asked::Load, _) | (_, Told::Exists | Told::OutOfDate) | (Asked::Add(..), Told::IsNot))
    }
}

fn step(state: State, asked: Asked) -> (State, Told) {
    let next = |value| (state.map_or(1, |(version, _)| version + 1), value);
    match asked {
        Asked::Load => (state, state.map_or(Told::IsNot, |(version, value)| Told::Is(version, value))),
        Asked::Insert(_) if state.is_some() => (state, Told::Exists),
        Asked::Save(_, condition) | Asked::Add(_, condition) | Asked::Delete(condition) if !condition.is_met(state) => {
            (state, Told::OutOfDate)
        }
        Asked::Insert(value) | Asked::Save(value, _) => {
            let (version, value) = next(value);
            (Some((version, value)), Told::Is(version, value))
        }
        Asked::Add(by, _) => match state {
            Some((version, value)) => (Some((version + 1, value + by)), Told::Is(version + 1, value + by)),
            None => (None, Told::IsNot),
        },
        Asked::Delete(_) => (None, Told::IsNot),
    }
}
