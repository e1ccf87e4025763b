//! The checker on several objects: batches as a whole are in order, and a part of one is not.

use super::check::check;
use super::object::{self, Asked::Add, Condition};
use super::objects::{Asked, Operation, State, Told};

fn operation((called, ended): (u64, u64), asked: Asked, told: Told) -> Operation {
    Operation { asked, told: Some(told), called, ended }
}

fn unanswered((called, ended): (u64, u64), asked: Asked) -> Operation {
    Operation { asked, told: None, called, ended }
}

fn save(value: u64) -> object::Asked {
    object::Asked::Save(value, Condition::None)
}

fn save_if(value: u64, version: u64) -> object::Asked {
    object::Asked::Save(value, Condition::Version(version))
}

fn batch<const N: usize>(writes: [(usize, object::Asked); N]) -> Asked {
    Asked::Batch(writes.into())
}

fn done<const N: usize>(made: [(u64, u64); N]) -> Told {
    Told::Done(made.into_iter().map(|(version, value)| object::Told::Is(version, value)).collect())
}

fn look(times: (u64, u64), first: object::State, second: object::State) -> Operation {
    let mut saw = State::default();
    (saw[0], saw[1]) = (first, second);
    operation(times, Asked::Look, Told::Saw(saw))
}

fn load(times: (u64, u64), at: usize, version: u64, value: u64) -> Operation {
    operation(times, Asked::One(at, object::Asked::Load), Told::One(object::Told::Is(version, value)))
}

/// Both objects are there.
fn first() -> Operation {
    operation((0, 1), batch([(0, save(1)), (1, save(2))]), done([(1, 1), (1, 2)]))
}

#[test]
fn orders_that_there_are_are_found() {
    let histories = [
        vec![first(), look((2, 3), Some((1, 1)), Some((1, 2)))],
        // Two batches at once, and readers before, between and behind them.
        vec![
            first(),
            operation((2, 30), batch([(0, save(3)), (1, save(4))]), done([(3, 3), (3, 4)])),
            operation((2, 30), batch([(1, save(6)), (0, save(5))]), done([(2, 6), (2, 5)])),
            look((3, 4), Some((1, 1)), Some((1, 2))),
            look((5, 6), Some((2, 5)), Some((2, 6))),
            load((7, 8), 0, 2, 5),
            load((9, 10), 1, 3, 4),
            load((11, 12), 0, 3, 3),
        ],
        // One that is refused leaves nothing; who came first decides.
        vec![
            first(),
            operation((2, 9), batch([(0, save(3)), (1, save_if(4, 1))]), Told::Refused(1, object::Told::OutOfDate)),
            operation((2, 9), Asked::One(1, save_if(5, 1)), Told::One(object::Told::Is(2, 5))),
            look((10, 11), Some((1, 1)), Some((2, 5))),
        ],
        // No answer: all of it, seen late; or none of it.
        vec![first(), unanswered((2, 9), batch([(0, save(3)), (1, save(4))])), look((10, 11), Some((2, 3)), Some((2, 4)))],
        vec![first(), unanswered((2, 9), batch([(0, save(3)), (1, save(4))])), look((10, 11), Some((1, 1)), Some((1, 2)))],
        // It was never answered, and only who looks at the other object can tell.
        vec![
            first(),
            unanswered((2, 9), batch([(1, save(3)), (2, save(4))])),
            load((10, 11), 0, 1, 1),
            load((12, 13), 1, 2, 3),
            load((14, 15), 2, 1, 4),
        ],
    ];
    for history in histories {
        check(&history).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

#[test]
fn histories_with_a_planted_fault_are_refused() {
    let second = |times| operation(times, batch([(0, save(3)), (1, save(4))]), done([(2, 3), (2, 4)]));
    let faults = [
        ("a query saw half of a batch", vec![first(), second((2, 9)), look((3, 8), Some((2, 3)), Some((1, 2)))]),
        ("a query saw the other half", vec![first(), second((2, 9)), look((3, 8), Some((1, 1)), Some((2, 4)))]),
        ("one version was told, the other not yet", vec![first(), second((2, 30)), load((3, 4), 0, 2, 3), load((5, 6), 1, 1, 2)]),
        (
            "two readers saw two batches in two orders",
            vec![
                first(),
                operation((2, 30), batch([(0, save(3)), (2, save(4))]), done([(2, 3), (1, 4)])),
                operation((2, 30), batch([(1, save(5)), (3, save(6))]), done([(2, 5), (1, 6)])),
                look_at((3, 4), [Some((2, 3)), Some((1, 2)), Some((1, 4)), None]),
                look_at((3, 4), [Some((1, 1)), Some((2, 5)), None, Some((1, 6))]),
            ],
        ),
        (
            "a batch that was refused wrote what came before the refusal",
            vec![
                first(),
                operation((2, 3), batch([(0, save(3)), (1, save_if(4, 7))]), Told::Refused(1, object::Told::OutOfDate)),
                look((4, 5), Some((2, 3)), Some((1, 2))),
            ],
        ),
        (
            "a batch was refused without cause",
            vec![first(), operation((2, 3), batch([(0, save(3)), (1, save_if(4, 1))]), Told::Refused(1, object::Told::OutOfDate))],
        ),
        (
            "a batch was refused for another of its writes",
            vec![first(), operation((2, 3), batch([(0, save_if(3, 7)), (1, save(4))]), Told::Refused(1, object::Told::OutOfDate))],
        ),
        (
            "two batches were written over the same version",
            vec![
                first(),
                operation((2, 9), batch([(0, save_if(3, 1)), (2, save(4))]), done([(2, 3), (1, 4)])),
                operation((2, 9), batch([(0, save_if(5, 1)), (3, save(6))]), done([(2, 5), (1, 6)])),
            ],
        ),
        (
            "two batches were written into each other",
            vec![
                first(),
                operation((2, 9), batch([(0, save(3)), (1, save(4))]), done([(2, 3), (3, 4)])),
                operation((2, 9), batch([(0, save(5)), (1, save(6))]), done([(3, 5), (2, 6)])),
            ],
        ),
        (
            "an addition in a batch was lost",
            vec![
                first(),
                operation((2, 9), batch([(0, Add(10, Condition::None)), (1, save(4))]), done([(2, 11), (2, 4)])),
                operation((3, 9), Asked::One(0, Add(20, Condition::None)), Told::One(object::Told::Is(3, 21))),
            ],
        ),
        ("half of an acknowledged batch is gone", vec![first(), second((2, 3)), look((4, 5), Some((2, 3)), Some((1, 2)))]),
        (
            "half of a batch is left of a server that was killed",
            vec![first(), unanswered((2, 3), batch([(0, save(3)), (1, save(4))])), look((4, 5), Some((1, 1)), Some((2, 4)))],
        ),
        (
            "one half was there after the server was dead, the other came under the next one",
            vec![first(), unanswered((2, 3), batch([(0, save(3)), (1, save(4))])), load((4, 5), 1, 1, 2), load((6, 7), 0, 2, 3)],
        ),
    ];
    for (fault, history) in faults {
        assert!(check(&history).is_err(), "{fault}: not found");
    }
}

fn look_at(times: (u64, u64), saw: State) -> Operation {
    operation(times, Asked::Look, Told::Saw(saw))
}
