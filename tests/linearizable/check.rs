//! Is there one order of the operations, each at some moment between its call and its answer, in which every answer is
//! right? The search of Wing and Gong (1993) with Lowe's memory of the states that led nowhere (2017).

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What can be asked, and what it means where it is alone.
pub trait Model: Clone + Debug {
    /// What is there; at first its default
    type State: Clone + Debug + Default + Eq + Hash;
    type Told: Clone + Debug + Eq;

    /// What it leaves, and what is said about it.
    fn step(&self, state: &Self::State) -> (Self::State, Self::Told);

    /// Whether it changed nothing, whatever was there, if this was said about it.
    fn only_looked(&self, told: &Self::Told) -> bool;
}

/// One operation, as its client saw it. Times are of one clock.
#[derive(Debug, Clone)]
pub struct Operation<A: Model> {
    pub asked: A,
    /// None: no answer came, and it happened or did not
    pub told: Option<A::Told>,
    /// Just before it was sent
    pub called: u64,
    /// Just after the answer, or when the server was dead for sure
    pub ended: u64,
}

/// There is no such order.
#[derive(Debug)]
pub struct Violation<A: Model> {
    /// The longest order in which all answers are right
    pub order: Vec<Operation<A>>,
    /// The state after it
    pub state: A::State,
    /// What could come next, and is wrong there
    pub stuck: Vec<Operation<A>>,
}

impl<A: Model> std::fmt::Display for Violation<A> {
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

    /// All before it have had theirs.
    fn first_open(&self) -> usize {
        self.0.iter().position(|word| *word != u64::MAX).map_or(self.0.len() * 64, |at| at * 64 + self.0[at].trailing_ones() as usize)
    }
}

/// A step of the order: what it was, the state and the time before it, and what else could come at its place.
struct Choice<S> {
    at: usize,
    before: S,
    since: u64,
    others: Vec<usize>,
}

/// Looks for an order, from where nothing is there, and gives the places of the operations in it. The history stands in
/// the order of the calls.
pub fn check<A: Model>(history: &[Operation<A>]) -> Result<Vec<usize>, Violation<A>> {
    assert!(history.is_sorted_by_key(|operation| operation.called));
    let mut done = Done::none(history.len());
    let mut tried: HashSet<(Done, A::State)> = HashSet::new();
    let mut order: Vec<Choice<A::State>> = Vec::new();
    let mut state = A::State::default();
    // The latest call of those that are done, and how many answers are not explained yet.
    let (mut now, mut left) = (0, history.iter().filter(|operation| operation.told.is_some()).count());
    let mut deepest: (Vec<usize>, A::State, u64) = (Vec::new(), state.clone(), now);
    let mut candidates = next(history, &done, now, &state);
    while left > 0 {
        match advance(history, &state, &mut candidates, &mut done, &mut tried) {
            Some((at, after)) => {
                let before = std::mem::replace(&mut state, after);
                order.push(Choice { at, before, since: now, others: std::mem::take(&mut candidates) });
                now = now.max(history[at].called);
                left -= usize::from(history[at].told.is_some());
                if order.len() > deepest.0.len() {
                    deepest = (order.iter().map(|choice| choice.at).collect(), state.clone(), now);
                }
                candidates = next(history, &done, now, &state);
            }
            None => match order.pop() {
                Some(choice) => {
                    done.flip(choice.at);
                    left += usize::from(history[choice.at].told.is_some());
                    (state, now, candidates) = (choice.before, choice.since, choice.others);
                }
                None => return Err(violation(history, deepest)),
            },
        }
    }
    Ok(order.into_iter().map(|choice| choice.at).collect())
}

/// The first of the candidates whose answer is right and that leads to where nobody was yet; those before it are out.
fn advance<A: Model>(
    history: &[Operation<A>],
    state: &A::State,
    candidates: &mut Vec<usize>,
    done: &mut Done,
    tried: &mut HashSet<(Done, A::State)>,
) -> Option<(usize, A::State)> {
    while let Some(at) = candidates.pop() {
        let (after, right) = history[at].asked.step(state);
        if history[at].told.as_ref().is_some_and(|told| *told != right) {
            continue;
        }
        done.flip(at);
        if tried.insert((done.clone(), after.clone())) {
            return Some((at, after));
        }
        done.flip(at);
    }
    None
}

/// What may come next: whatever was called before the first answer of those that are still to come. Best last: answers
/// say more than what was never answered.
fn possible<A: Model>(history: &[Operation<A>], done: &Done, now: u64) -> Vec<usize> {
    let mut first_end = u64::MAX;
    let mut possible = Vec::new();
    for (at, operation) in history.iter().enumerate().skip(done.first_open()) {
        if operation.called > first_end {
            break;
        }
        // What was never answered has not happened after the server was dead.
        if done.has(at) || (operation.told.is_none() && now > operation.ended) {
            continue;
        }
        if operation.told.is_some() {
            first_end = first_end.min(operation.ended);
        }
        possible.push(at);
    }
    possible.retain(|at| history[*at].called <= first_end);
    possible.sort_by_key(|at| (history[*at].told.is_some(), std::cmp::Reverse(history[*at].ended)));
    possible
}

/// What has to be tried next. What only looked, and saw what is right now, can just as well come now as later; unless it says
/// that the server is dead by now, under which something may have happened that was never answered.
fn next<A: Model>(history: &[Operation<A>], done: &Done, now: u64, state: &A::State) -> Vec<usize> {
    let possible = possible(history, done, now);
    let unanswered = possible.iter().map(|at| &history[*at]).filter(|operation| operation.told.is_none());
    let alive = unanswered.map(|operation| operation.ended).min().unwrap_or(u64::MAX);
    let is_free = |at: &&usize| {
        let operation = &history[**at];
        let Some(told) = operation.told.as_ref().filter(|_| operation.called <= alive) else { return false };
        operation.asked.only_looked(told) && operation.asked.step(state).1 == *told
    };
    match possible.iter().find(is_free) {
        Some(free) => vec![*free],
        None => possible,
    }
}

fn violation<A: Model>(history: &[Operation<A>], (order, state, now): (Vec<usize>, A::State, u64)) -> Violation<A> {
    let mut done = Done::none(history.len());
    order.iter().for_each(|at| done.flip(*at));
    let stuck = possible(history, &done, now);
    let all = |places: &[usize]| places.iter().map(|at| history[*at].clone()).collect();
    Violation { order: all(&order), state, stuck: all(&stuck) }
}
