//! Is there one order of the operations, each at some moment between its call and its answer, in which every answer is
//! right? The search of Wing and Gong (1993) with Lowe's memory of the states that led nowhere (2017).

use super::object::{Asked, State, Told, step};
use std::collections::HashSet;

/// One operation on the object, as its client saw it. Times are of one clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub asked: Asked,
    /// None: no answer came, and it happened or did not
    pub told: Option<Told>,
    /// Just before it was sent
    pub called: u64,
    /// Just after the answer, or when the server was dead for sure
    pub ended: u64,
}

/// There is no such order.
#[derive(Debug)]
pub struct Violation {
    /// The longest order in which all answers are right
    pub order: Vec<Operation>,
    /// The state after it
    pub state: State,
    /// What could come next, and is wrong there
    pub stuck: Vec<Operation>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = self.order.len().saturating_sub(12);
        writeln!(f, "no order explains all answers. The longest has {} operations; its end:", self.order.len())?;
        self.order[last..].iter().try_for_each(|operation| writeln!(f, "  {operation:?}"))?;
        writeln!(f, "which leave {:?}; none of these can come next:", self.state)?;
        self.stuck.iter().try_for_each(|operation| writeln!(f, "  {operation:?}"))
    }
}

/// Which operations have had their moment.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Box<[u64]>);

impl Done {
    fn none(count: usize) -> Done {
        Done(vec![0; count.div_ceil(64)].into())
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & 1 << (at % 64) != 0
    }

    fn flip(&mut self, at: usize) {
        self.0[at / 64] ^= 1 << (at % 64);
    }
}

/// A step of the order: what it was, the state before it, and what else could come at its place.
struct Choice {
    at: usize,
    before: State,
    others: Vec<usize>,
}

/// Looks for an order, from an object that is not there.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut done = Done::none(history.len());
    let mut tried: HashSet<(Done, State)> = HashSet::new();
    let mut order: Vec<Choice> = Vec::new();
    let mut state: State = None;
    let mut deepest: (Vec<usize>, State) = (Vec::new(), None);
    let mut candidates = possible(history, &done, &order);
    loop {
        if history.iter().enumerate().all(|(at, operation)| done.has(at) || operation.told.is_none()) {
            return Ok(());
        }
        match advance(history, state, &mut candidates, &mut done, &mut tried) {
            Some((at, after)) => {
                order.push(Choice { at, before: state, others: std::mem::take(&mut candidates) });
                state = after;
                if order.len() > deepest.0.len() {
                    deepest = (order.iter().map(|choice| choice.at).collect(), state);
                }
                candidates = possible(history, &done, &order);
            }
            None => match order.pop() {
                Some(choice) => {
                    done.flip(choice.at);
                    (state, candidates) = (choice.before, choice.others);
                }
                None => return Err(violation(history, &deepest.0, deepest.1)),
            },
        }
    }
}

/// The first of the candidates whose answer is right and that leads to where nobody was yet; those before it are out.
fn advance(
    history: &[Operation],
    state: State,
    candidates: &mut Vec<usize>,
    done: &mut Done,
    tried: &mut HashSet<(Done, State)>,
) -> Option<(usize, State)> {
    while let Some(at) = candidates.pop() {
        let (after, right) = step(state, history[at].asked);
        if history[at].told.is_some_and(|told| told != right) {
            continue;
        }
        done.flip(at);
        if tried.insert((done.clone(), after)) {
            return Some((at, after));
        }
        done.flip(at);
    }
    None
}

/// What may come next: whatever was called before the first answer of those that are still to come. Best last: answers
/// say more than what was never answered.
fn possible(history: &[Operation], done: &Done, order: &[Choice]) -> Vec<usize> {
    let open = || history.iter().enumerate().filter(|(at, _)| !done.has(*at));
    let first_end = open().filter(|(_, operation)| operation.told.is_some()).map(|(_, operation)| operation.ended).min();
    // What was never answered has not happened after the server was dead.
    let now = order.iter().map(|choice| history[choice.at].called).max().unwrap_or(0);
    let may =
        |operation: &Operation| first_end.is_none_or(|end| operation.called <= end) && (operation.told.is_some() || now <= operation.ended);
    let mut possible: Vec<usize> = open().filter(|(_, operation)| may(operation)).map(|(at, _)| at).collect();
    possible.sort_by_key(|at| (history[*at].told.is_some(), std::cmp::Reverse(history[*at].ended)));
    possible
}

fn violation(history: &[Operation], order: &[usize], state: State) -> Violation {
    let mut done = Done::none(history.len());
    order.iter().for_each(|at| done.flip(*at));
    let choices: Vec<_> = order.iter().map(|at| Choice { at: *at, before: None, others: Vec::new() }).collect();
    let stuck = possible(history, &done, &choices);
    let all = |places: &[usize]| places.iter().map(|at| history[*at].clone()).collect();
    Violation { order: all(order), state, stuck: all(&stuck) }
}
