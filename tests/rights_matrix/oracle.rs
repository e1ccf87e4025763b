//! How it must be: docs/schema.md, "Who may what", in few lines. Nothing of the server is in use here, neither its judge nor its types;
//! people and roles have nicknames that only the test's world turns into ids.

/// `(nickname, allow)`: one map of rules. Without any `allow` it is public but for those denied.
pub type List = &'static [(&'static str, bool)];

/// The lists of which classes and objects are made.
pub const LISTS: [List; 7] = [
    &[],
    &[("user", true)],
    &[("role", true)],
    &[("logged in", true)],
    &[("user", false)],
    &[("role", false), ("member", true)],
    &[("admin", false)],
];

/// Who asks, with what he is known by. The impostor's token claims the role, whose members do not include him any more; the
/// member's token says nothing of it. The tokens of who was deactivated or deleted are nobody's, though both are still in the role's list.
pub const CALLERS: [(&str, &[&str]); 7] = [
    ("anonymous", &[]),
    ("inactive", &[]),
    ("deleted", &[]),
    ("user", &["user", "logged in"]),
    ("member", &["member", "role", "logged in"]),
    ("impostor", &["impostor", "logged in"]),
    ("root", &["root", "admin", "logged in"]),
];

/// Whether a list lets somebody pass.
pub fn passes(list: List, known_by: &[&str]) -> bool {
    let hits = |rule: bool| list.iter().any(|(who, allow)| *allow == rule && known_by.contains(who));
    known_by.contains(&"admin") || (!hits(false) && (hits(true) || list.iter().all(|(_, allow)| !allow)))
}

/// Rights of a class.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    pub load: List,
    pub query: List,
    pub insert: List,
    pub update: List,
    pub delete: List,
}

impl Class {
    /// The `turn`th of seven: each right takes each list once, and no two rights of a class have the same, so judging by
    /// the wrong right shows.
    pub fn rotated(turn: usize) -> Class {
        let list = |right: usize| LISTS[(turn + right) % LISTS.len()];
        Class { load: list(0), query: list(1), insert: list(2), update: list(3), delete: list(4) }
    }
}

/// Access list of an object.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    pub read: List,
    pub write: List,
}

impl Class {
    /// Whether somebody may subscribe: whoever may ask the query once (docs/query.md).
    pub fn subscribes(&self, known_by: &[&str]) -> bool {
        passes(self.query, known_by)
    }
}

/// All that seven lists give.
pub fn accesses() -> Vec<Access> {
    LISTS.iter().flat_map(|read| LISTS.iter().map(move |write| Access { read, write })).collect()
}

/// `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    None,
    Any,
    Current,
    Other,
    Absent,
}

/// What is asked about an object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Load,
    Insert,
    Save(Condition),
    /// A partial update
    Change(Condition),
    /// The same, of one field by its own path
    ChangeField,
    Delete(Condition),
}

pub const REQUESTS: [Request; 15] = [
    Request::Load,
    Request::Insert,
    Request::Save(Condition::None),
    Request::Save(Condition::Any),
    Request::Save(Condition::Current),
    Request::Save(Condition::Other),
    Request::Save(Condition::Absent),
    Request::Change(Condition::None),
    Request::Change(Condition::Current),
    Request::Change(Condition::Other),
    Request::ChangeField,
    Request::Delete(Condition::Other),
    Request::Delete(Condition::None),
    Request::Delete(Condition::Any),
    Request::Delete(Condition::Current),
];

/// What is answered, and whether the object is another afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 466, for want of one of these rights of the class
    ClassDenied(Vec<&'static str>),
    /// Any other refusal
    Refused(u16),
    /// The object as it is, 200
    Seen,
    /// The object as it is now, 200
    Written,
    /// 204, and it is gone
    Gone,
    /// 204, and nothing happened: to him it was not there
    Nothing,
}

/// The answer to a request about an object that is there.
pub fn answer(request: Request, class: &Class, access: &Access, known_by: &[&str]) -> Answer {
    use Condition as If;
    let (insert, update) = (("insert", class.insert), ("update", class.update));
    let needed = match request {
        Request::Load => vec![("load", class.load)],
        Request::Insert | Request::Save(If::Absent) => vec![insert],
        Request::Save(If::None) => vec![insert, update],
        Request::Save(_) | Request::Change(_) | Request::ChangeField => vec![update],
        Request::Delete(_) => vec![("delete", class.delete)],
    };
    let missing: Vec<_> = needed.into_iter().filter(|(_, list)| !passes(list, known_by)).map(|(right, _)| right).collect();
    if !missing.is_empty() {
        return Answer::ClassDenied(missing);
    }
    let (read, write) = (passes(access.read, known_by), passes(access.write, known_by));
    match (request, read) {
        // The id is taken, whoever has it.
        (Request::Insert, _) => Answer::Refused(409),
        (Request::Load, true) => Answer::Seen,
        (Request::Load, false) => Answer::Refused(404),
        // A condition that is not met comes first; to who may not read, nothing is there.
        (Request::Save(If::Absent), true) => Answer::Refused(412),
        (Request::Save(If::Absent), false) => Answer::Refused(466),
        (Request::Save(If::Other) | Request::Change(If::Other) | Request::Delete(If::Other), _) => Answer::Refused(412),
        (Request::Save(If::Any | If::Current) | Request::Change(If::Any | If::Current) | Request::Delete(If::Any | If::Current), false) => {
            Answer::Refused(412)
        }
        (Request::Delete(If::None), false) => Answer::Nothing,
        (Request::Change(If::None) | Request::ChangeField, false) => Answer::Refused(404),
        (Request::Save(If::None), false) => Answer::Refused(466),
        (_, true) if !write => Answer::Refused(466),
        (Request::Save(_) | Request::Change(_) | Request::ChangeField, true) => Answer::Written,
        (Request::Delete(_), true) => Answer::Gone,
        (Request::Change(If::Absent) | Request::Delete(If::Absent), false) => unreachable!("nobody asks that"),
    }
}
