//! The checker itself: it finds an order where there is one, and refuses histories in which something is wrong.

use super::check::check;
use super::object::{Asked, Condition, Operation, Told};

fn operation((called, ended): (u64, u64), asked: Asked, told: Told) -> Operation {
    Operation { asked, told: Some(told), called, ended }
}

fn unanswered((called, ended): (u64, u64), asked: Asked) -> Operation {
    Operation { asked, told: None, called, ended }
}

const LOAD: Asked = Asked::Load;

fn save(value: u64) -> Asked {
    Asked::Save(value, Condition::None)
}

fn save_if(value: u64, version: u64) -> Asked {
    Asked::Save(value, Condition::Version(version))
}

#[test]
fn orders_that_there_are_are_found() {
    let histories = [
        vec![],
        // One after the other.
        vec![
            operation((0, 1), Asked::Insert(7), Told::Is(1, 7)),
            operation((2, 3), save_if(8, 1), Told::Is(2, 8)),
            operation((4, 5), Asked::Delete(Condition::Any), Told::IsNot),
            operation((6, 7), Asked::Insert(9), Told::Is(1, 9)),
        ],
        // At once: the load saw the second write, which was answered last.
        vec![
            operation((0, 9), save(1), Told::Is(1, 1)),
            operation((0, 20), save(2), Told::Is(2, 2)),
            operation((5, 10), LOAD, Told::Is(2, 2)),
        ],
        // Of two that want the same version one gets it.
        vec![
            operation((0, 1), save(1), Told::Is(1, 1)),
            operation((2, 9), save_if(2, 1), Told::OutOfDate),
            operation((3, 8), save_if(3, 1), Told::Is(2, 3)),
        ],
        // Additions in either order.
        vec![
            operation((0, 1), save(1), Told::Is(1, 1)),
            operation((2, 9), Asked::Add(10, Condition::None), Told::Is(3, 31)),
            operation((3, 8), Asked::Add(20, Condition::None), Told::Is(2, 21)),
        ],
        // No answer: it happened, long before anybody saw it.
        vec![operation((0, 1), save(1), Told::Is(1, 1)), unanswered((2, 5), save(2)), operation((6, 7), LOAD, Told::Is(2, 2))],
        // No answer: it did not happen.
        vec![operation((0, 1), save(1), Told::Is(1, 1)), unanswered((2, 5), save(2)), operation((6, 7), LOAD, Told::Is(1, 1))],
        // Twice the same version and value, with a delete in between that nobody was told of.
        vec![
            operation((0, 1), save(1), Told::Is(1, 1)),
            unanswered((2, 5), Asked::Delete(Condition::None)),
            operation((6, 7), Asked::Insert(1), Told::Is(1, 1)),
        ],
    ];
    for history in histories {
        check(&history).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

#[test]
fn histories_with_a_planted_fault_are_refused() {
    let first = operation((0, 1), save(1), Told::Is(1, 1));
    let faults = [
        ("a stale read", vec![first.clone(), operation((2, 3), save(2), Told::Is(2, 2)), operation((4, 5), LOAD, Told::Is(1, 1))]),
        ("a value from nowhere", vec![first.clone(), operation((2, 3), LOAD, Told::Is(1, 5))]),
        (
            "a lost update: both got the same version",
            vec![first.clone(), operation((2, 9), save_if(2, 1), Told::Is(2, 2)), operation((3, 8), save_if(3, 1), Told::Is(2, 3))],
        ),
        ("two inserts", vec![operation((0, 9), Asked::Insert(1), Told::Is(1, 1)), operation((0, 9), Asked::Insert(2), Told::Is(1, 2))]),
        ("a refusal without cause", vec![first.clone(), operation((2, 3), save_if(2, 1), Told::OutOfDate)]),
        ("an acknowledged write is gone", vec![first.clone(), operation((4, 5), LOAD, Told::IsNot)]),
        (
            "an acknowledged delete is taken back",
            vec![first.clone(), operation((2, 3), Asked::Delete(Condition::Any), Told::IsNot), operation((4, 5), LOAD, Told::Is(1, 1))],
        ),
        (
            "an unanswered write comes and goes",
            vec![
                first.clone(),
                unanswered((2, 3), save(2)),
                operation((4, 5), LOAD, Told::Is(2, 2)),
                operation((6, 7), LOAD, Told::Is(1, 1)),
            ],
        ),
        (
            "an unanswered write of a server that is dead happens under the next one",
            vec![
                first.clone(),
                unanswered((2, 3), save(2)),
                operation((4, 5), LOAD, Told::Is(1, 1)),
                operation((6, 7), LOAD, Told::Is(2, 2)),
            ],
        ),
        (
            "two additions, of which one is lost",
            vec![
                first.clone(),
                operation((2, 9), Asked::Add(10, Condition::None), Told::Is(2, 11)),
                operation((3, 8), Asked::Add(20, Condition::None), Told::Is(3, 21)),
            ],
        ),
        ("a version is left out", vec![first.clone(), operation((2, 3), save(2), Told::Is(3, 2))]),
        (
            "two readers see two writes in two orders",
            vec![
                first,
                operation((2, 30), save_if(2, 1), Told::Is(2, 2)),
                operation((3, 4), LOAD, Told::Is(2, 2)),
                operation((5, 6), LOAD, Told::Is(1, 1)),
            ],
        ),
    ];
    for (fault, history) in faults {
        assert!(check(&history).is_err(), "{fault} was not found");
    }
}
