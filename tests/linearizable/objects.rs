//! Several objects as their clients may think of them: written one at a time, or some of them in a batch as one; read one at a
//! time, or all of them at one moment. The sequential meaning of every operation: a batch is its writes one after the
//! other, and where one of them is refused there was none.

use super::check::{self, Model};
use super::object;

pub const OBJECTS: usize = 4;

/// All objects.
pub type State = [object::State; OBJECTS];

/// What a client did.
pub type Operation = check::Operation<Asked>;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Of one object
    One(usize, object::Asked),
    /// All objects, by a query
    Look,
    /// Writes of different objects
    Batch(Vec<(usize, object::Asked)>),
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Of one object
    One(object::Told),
    /// This is there
    Saw(State),
    /// What each write of the batch has made
    Done(Vec<object::Told>),
    /// None was done because of the one at this place
    Refused(usize, object::Told),
}

impl Model for Asked {
    type State = State;
    type Told = Told;

    fn step(&self, state: &State) -> (State, Told) {
        let mut after = *state;
        let mut write = |at: usize, asked: object::Asked| {
            let told;
            (after[at], told) = asked.step(&after[at]);
            told
        };
        match self {
            Asked::Look => (*state, Told::Saw(*state)),
            Asked::One(at, asked) => {
                let told = write(*at, *asked);
                (after, Told::One(told))
            }
            Asked::Batch(writes) => {
                let mut all = Vec::with_capacity(writes.len());
                for (place, (at, asked)) in writes.iter().enumerate() {
                    match write(*at, *asked) {
                        told if is_refusal(*asked, told) => return (*state, Told::Refused(place, told)),
                        told => all.push(told),
                    }
                }
                (after, Told::Done(all))
            }
        }
    }

    fn only_looked(&self, told: &Told) -> bool {
        match (self, told) {
            (Asked::Look, _) | (_, Told::Refused(..)) => true,
            (Asked::One(_, asked), Told::One(told)) => asked.only_looked(told),
            _ => false,
        }
    }
}

/// What is not there is deleted already, but nothing can be added to it.
fn is_refusal(asked: object::Asked, told: object::Told) -> bool {
    match told {
        object::Told::Exists | object::Told::OutOfDate => true,
        object::Told::IsNot => matches!(asked, object::Asked::Add(..)),
        object::Told::Is(..) => false,
    }
}
