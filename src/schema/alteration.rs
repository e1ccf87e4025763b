//! What a version of the schema changed for those who read: worked out with the commit and kept with the schema, so that
//! the live side, whoever resumes and other readers of the log need no former version.

use super::{Kind, Schema};
use serde::{Deserialize, Serialize};

/// Alterations that are told one by one at most; beyond that a bucket is altered as a whole.
const TOLD: usize = 10_000;

/// What changed for the objects of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alteration {
    /// The bucket, without `/db/`
    pub bucket: Box<str>,
    /// Its class is gone
    pub gone: bool,
    /// Paths that were renamed or removed; `*` stands for any key of a map
    pub moved: Vec<Moved>,
    /// Fields that are read as times now and were not, or the other way round
    pub retyped: Vec<Box<str>>,
}

/// A path that was renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Names, from the object down
    pub path: Vec<Box<str>>,
    /// The last name now; none: it was removed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Box<str>>,
}

/// What an alteration is to a standing query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing
    None,
    /// Its result has to be read again
    Refreshes,
    /// It asks for something that there is no more
    Ends(String),
}

impl Alteration {
    /// What it is to a query that names these paths.
    pub fn effect<'p, P: AsRef<[&'p str]>>(&self, paths: &[P]) -> Effect {
        if self.gone {
            return Effect::Ends(format!("the class /db/{} is gone", self.bucket));
        }
        // A position in a list is no name.
        let names = |path: &P| -> Vec<&'p str> {
            path.as_ref().iter().copied().filter(|name| name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_digit())).collect()
        };
        let named: Vec<Vec<&str>> = paths.iter().map(names).collect();
        for moved in &self.moved {
            let leads_to = |path: &Vec<&str>| {
                path.len() >= moved.path.len() && path.iter().zip(&moved.path).all(|(name, moved)| **moved == *"*" || **name == **moved)
            };
            if named.iter().any(leads_to) {
                let path = moved.path.join(".");
                let what = moved.to.as_ref().map_or_else(|| "removed".to_owned(), |to| format!("renamed to {to}"));
                return Effect::Ends(format!("the field {path} of /db/{} was {what}; ask anew", self.bucket));
            }
        }
        let retyped = || named.iter().any(|path| path.first().is_some_and(|first| self.retyped.iter().any(|name| **name == **first)));
        if !self.moved.is_empty() || retyped() { Effect::Refreshes } else { Effect::None }
    }
}

/// What `new` changes for the objects that `old` described.
pub fn between(old: &Schema, new: &Schema) -> Vec<Alteration> {
    let mut alterations = Vec::new();
    let mut told = 0;
    for (bucket, class) in &old.classes {
        if class.embedded {
            continue;
        }
        let mut alteration = Alteration { bucket: bucket.clone(), ..Alteration::default() };
        if new.class(bucket).is_none() {
            alteration.gone = true;
        } else {
            collect(old, new, bucket, &mut Vec::new(), &mut alteration.moved, &mut told);
            retyped(old, new, bucket, &mut alteration);
        }
        if alteration.gone || !alteration.moved.is_empty() || !alteration.retyped.is_empty() {
            alterations.push(alteration);
        }
    }
    // A bucket that gets a class may hold objects already.
    for bucket in new.classes.keys().filter(|bucket| old.class(bucket).is_none()) {
        let mut alteration = Alteration { bucket: bucket.clone(), ..Alteration::default() };
        retyped(old, new, bucket, &mut alteration);
        if !alteration.retyped.is_empty() {
            alterations.push(alteration);
        }
    }
    alterations
}

/// Moves of this version that reach the objects of a class, in the names from before.
fn collect(old: &Schema, new: &Schema, bucket: &str, above: &mut Vec<Box<str>>, moved: &mut Vec<Moved>, told: &mut usize) {
    let here: Vec<_> = new.moves_of(bucket).filter(|one| one.since > old.version).collect();
    for one in &here {
        if *told >= TOLD {
            // Still told that something is altered: the object as a whole.
            moved.truncate(1);
            moved.resize(1, Moved { path: Vec::new(), to: None });
            return;
        }
        *told += 1;
        moved.push(Moved { path: above.iter().cloned().chain([one.from.clone()]).collect(), to: one.to.clone() });
    }
    // Classes that embed each other end.
    if above.len() >= 8 {
        return;
    }
    for field in old.fields(bucket) {
        if here.iter().any(|one| one.from == field.name) {
            continue;
        }
        let Some(kind) = Kind::parse(&field.kind) else { continue };
        let Some(class) = kind.class().filter(|name| new.class(name).is_some_and(|class| class.embedded)) else { continue };
        let depth = above.len();
        above.push(field.name.clone());
        keys(&kind, above);
        // A class inside of itself has the same moves again, deeper: one telling is enough for a fresh result.
        if !new.moves.is_empty() && above.len() <= 8 {
            collect(old, new, class, above, moved, told);
        }
        above.truncate(depth);
    }
}

/// The keys of maps between a field and what it holds.
fn keys(kind: &Kind<'_>, path: &mut Vec<Box<str>>) {
    match kind {
        Kind::Map(value) => {
            path.push("*".into());
            keys(value, path);
        }
        Kind::List(element) | Kind::Set(element) => keys(element, path),
        _ => {}
    }
}

fn retyped(old: &Schema, new: &Schema, bucket: &str, alteration: &mut Alteration) {
    let (before, after) = (old.dates(bucket).fields, new.dates(bucket).fields);
    let moves: Vec<_> = new.moves_of(bucket).filter(|one| one.since > old.version).collect();
    let is_moved = |name: &str| moves.iter().any(|one| *one.from == *name || one.to.as_deref() == Some(name));
    let mut differing: Vec<Box<str>> = Vec::new();
    for (one, other) in [(&before, &after), (&after, &before)] {
        for entry in one.iter().filter(|entry| !other.contains(entry) && !is_moved(&entry.0)) {
            if !differing.contains(&entry.0) {
                differing.push(entry.0.clone());
            }
        }
    }
    alteration.retyped = differing;
}
