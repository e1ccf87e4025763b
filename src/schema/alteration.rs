//! What a version of the schema changed for those who read: worked out with the commit and kept with the schema, so that
//! the live side, whoever resumes and other readers of the log need no former version.

use super::{Dates, Kind, Schema};
use dataflows::document::Shapes;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Classes that are looked into for one change at most.
const LOOKED_INTO: usize = 10_000;
/// Names of a path that is told at most.
const DEPTH: usize = 8;

/// What changed for the objects of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alteration {
    /// The bucket, without `/db/`
    pub bucket: Box<str>,
    /// Its class is gone
    pub gone: bool,
    /// Paths that were renamed or removed; `*` stands for any key of a map, an empty last name for something below that is not told
    pub moved: Vec<Moved>,
    /// Fields that are read as times now and were not, or the other way round
    pub retyped: Vec<Box<str>>,
    /// Whether others than before may ask for its objects or load them
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rights: bool,
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
    let mut retyping = Retyping { old: Dates::new(old), new: Dates::new(new), shapes: Shapes::default() };
    let mut search = Search { old, new, reached: reached(old, new), left: LOOKED_INTO };
    for (bucket, class) in &old.classes {
        if class.embedded {
            continue;
        }
        let mut alteration = Alteration { bucket: bucket.clone(), ..Alteration::default() };
        if new.class(bucket).is_none() {
            alteration.gone = true;
        } else {
            search.collect(bucket, &mut Vec::new(), &mut alteration.moved);
            alteration.retyped = retyping.fields(old, new, bucket);
            alteration.rights = is_for_others(old, new, bucket);
        }
        if alteration.gone || alteration.rights || !alteration.moved.is_empty() || !alteration.retyped.is_empty() {
            alterations.push(alteration);
        }
    }
    // A bucket that gets a class may hold objects already.
    for bucket in new.classes.keys().filter(|bucket| old.class(bucket).is_none()) {
        let mut alteration = Alteration { bucket: bucket.clone(), ..Alteration::default() };
        alteration.retyped = retyping.fields(old, new, bucket);
        alteration.rights = is_for_others(old, new, bucket);
        if alteration.rights || !alteration.retyped.is_empty() {
            alterations.push(alteration);
        }
    }
    alterations
}

fn is_for_others(old: &Schema, new: &Schema, bucket: &str) -> bool {
    let (before, after) = (old.rights_of(bucket), new.rights_of(bucket));
    before.query != after.query || before.load != after.load
}

/// The classes whose objects, or what is embedded in them, a move of this version reaches.
fn reached<'s>(old: &'s Schema, new: &Schema) -> HashSet<&'s str> {
    let mut reached: HashSet<&str> =
        old.classes.keys().map(|name| &**name).filter(|name| new.moves_of(name).any(|one| one.since > old.version)).collect();
    loop {
        let embeds = |bucket: &str| {
            old.fields(bucket).into_iter().any(|field| {
                let class = Kind::parse(&field.kind).and_then(|kind| kind.class());
                class.is_some_and(|name| reached.contains(name) && old.class(name).is_some_and(|class| class.embedded))
            })
        };
        let more: Vec<&str> = old.classes.keys().map(|name| &**name).filter(|name| !reached.contains(name) && embeds(name)).collect();
        if more.is_empty() {
            return reached;
        }
        reached.extend(more);
    }
}

/// Finds the paths that moved, in the names from before.
struct Search<'s> {
    old: &'s Schema,
    new: &'s Schema,
    reached: HashSet<&'s str>,
    /// Classes that may still be looked into: those that embed each other never end
    left: usize,
}

impl Search<'_> {
    fn collect(&mut self, bucket: &str, above: &mut Vec<Box<str>>, moved: &mut Vec<Moved>) {
        let (old, new) = (self.old, self.new);
        if !self.reached.contains(bucket) {
            return;
        }
        if self.left == 0 || above.len() > DEPTH {
            // Something has moved there, under a path that is not told.
            let untold = Moved { path: above.iter().take(1).cloned().chain(["".into()]).collect(), to: None };
            if !moved.contains(&untold) {
                moved.push(untold);
            }
            return;
        }
        self.left -= 1;
        let here: Vec<_> = new.moves_of(bucket).filter(|one| one.since > old.version).collect();
        moved.extend(here.iter().map(|one| Moved { path: above.iter().cloned().chain([one.from.clone()]).collect(), to: one.to.clone() }));
        for field in old.fields(bucket) {
            if here.iter().any(|one| one.from == field.name) {
                continue;
            }
            let Some(kind) = Kind::parse(&field.kind) else { continue };
            let Some(class) = kind.class().filter(|name| old.class(name).is_some_and(|class| class.embedded)) else { continue };
            let depth = above.len();
            above.push(field.name.clone());
            keys(&kind, above);
            self.collect(class, above, moved);
            above.truncate(depth);
        }
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

/// Finds the fields that hold times in only one of two schemas.
struct Retyping<'s> {
    old: Dates<'s>,
    new: Dates<'s>,
    shapes: Shapes,
}

impl Retyping<'_> {
    fn fields(&mut self, old: &Schema, new: &Schema, bucket: &str) -> Vec<Box<str>> {
        let mut differing = self.shapes.differing(&self.old.of(bucket), &self.new.of(bucket));
        let moves: Vec<_> = new.moves_of(bucket).filter(|one| one.since > old.version).collect();
        differing.retain(|name| !moves.iter().any(|one| one.from == *name || one.to.as_ref() == Some(name)));
        differing
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{ClassRequest, Request, change};
    use super::*;
    use dataflows::access::Caller;

    fn lots() -> Schema {
        let classes: Vec<ClassRequest> = serde_json::from_str(
            r#"[{"class":"/db/City","embedded":true,"fields":{"zip":{"name":"zip","type":"/db/Integer"},"in":{"name":"in","type":"/db/City"}}},
                {"class":"/db/Lot","fields":{"a":{"name":"a","type":"/db/String"},"at":{"name":"at","type":"/db/DateTime"},
                    "map":{"name":"map","type":"/db/collection.Map[/db/String,/db/City]"},"list":{"name":"list","type":"/db/collection.List[/db/City]"}}},
                {"class":"/db/Heir","superClass":"/db/Lot","fields":{}},{"class":"/db/Other","fields":{"a":{"name":"a","type":"/db/String"}}}]"#,
        )
        .unwrap();
        change(&Schema::built_in(), &Request::Merge(classes), &Caller::admin()).unwrap()
    }

    fn altered(schema: &Schema, request: Request) -> Vec<Alteration> {
        between(schema, &change(schema, &request, &Caller::admin()).unwrap())
    }

    fn rename(class: &str, from: &str, to: &str) -> Request {
        Request::Rename { class: class.into(), from: from.into(), to: to.into() }
    }

    fn effect(alteration: &Alteration, path: &str) -> &'static str {
        match alteration.effect(&[path.split('.').collect::<Vec<_>>()]) {
            Effect::None => "none",
            Effect::Refreshes => "refreshes",
            Effect::Ends(_) => "ends",
        }
    }

    #[test]
    fn a_rename_concerns_the_class_and_its_heirs() {
        let altered = altered(&lots(), rename("/db/Lot", "a", "x"));
        let buckets: Vec<_> = altered.iter().map(|one| &*one.bucket).collect();
        assert_eq!(buckets, ["Lot", "Heir"]);
        for one in &altered {
            assert_eq!(
                [effect(one, "a"), effect(one, "a.b"), effect(one, "at"), effect(one, "x")],
                ["ends", "ends", "refreshes", "refreshes"]
            );
        }
    }

    #[test]
    fn a_field_of_an_embedded_class_is_gone_wherever_it_stands() {
        let altered = altered(&lots(), rename("/db/City", "zip", "code"));
        let lot = altered.iter().find(|one| &*one.bucket == "Lot").unwrap();
        for (path, expected) in [
            ("list.zip", "ends"),
            ("list.3.zip", "ends"),
            ("list.in.zip", "ends"),
            ("map.home.zip", "ends"),
            ("map.home.in.zip", "ends"),
            ("list", "refreshes"),
            ("zip", "refreshes"),
            ("map.zip", "refreshes"),
        ] {
            assert_eq!(effect(lot, path), expected, "{path}");
        }
    }

    #[test]
    fn who_may_see_objects_is_told_and_is_nothing_to_those_who_look_on() {
        let request = |text: &str| Request::Merge(vec![serde_json::from_str(text).unwrap()]);
        let closed = r#"{"class":"/db/Lot","acl":{"query":{"/db/Role/7":"allow"}},"fields":{}}"#;
        let found = altered(&lots(), request(closed));
        assert!(matches!(&found[..], [one] if &*one.bucket == "Lot" && one.rights && effect(one, "a") == "none"), "{found:?}");
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Alteration>>(&text).unwrap(), found);
        // A bucket without a class is everybody's.
        let found = altered(&lots(), request(&closed.replace("Lot", "New")));
        assert!(matches!(&found[..], [one] if &*one.bucket == "New" && one.rights), "{found:?}");
        assert!(altered(&lots(), request(&closed.replace("query", "insert"))).is_empty());
    }

    #[test]
    fn fields_more_concern_nobody_but_who_names_them_as_times() {
        let schema = lots();
        let more: ClassRequest = serde_json::from_str(
            r#"{"class":"/db/Lot","fields":{"b":{"name":"b","type":"/db/String"},"end":{"name":"end","type":"/db/Date"}}}"#,
        )
        .unwrap();
        let found = altered(&schema, Request::Merge(vec![more]));
        assert_eq!(found.len(), 2);
        assert_eq!([effect(&found[0], "end"), effect(&found[0], "b"), effect(&found[0], "a")], ["refreshes", "none", "none"]);
        assert!(altered(&schema, Request::Merge(vec![ClassRequest::of("/db/New")])).is_empty());
        let gone = altered(&schema, Request::Delete { class: "/db/Other".into() });
        assert!(gone[0].gone && effect(&gone[0], "whatever") == "ends");
    }
}
