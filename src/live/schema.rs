//! Changes of an app's classes while queries stand on them.
//!
//! A subscription whose objects have lost or renamed a field, or whose query names a field that is read as a time now and was
//! not, gets its result afresh. One whose query names what there is no more ends with an error: it would wait for
//! something that cannot come. All others notice nothing.

use super::Gateway;
use super::lock;
use super::messages::Refused;
use super::standing::Standing;
use crate::changelog::Record;
use crate::changelog::record::Payload;
use crate::schema::Alteration;
use crate::schema::alteration::Effect;
use dataflows::query::ast::{Predicate, Test};

impl Gateway {
    /// A record of the control stream. What was committed before it may still be on its way to subscribers; they drop it, because
    /// the result that they get is read later. Whoever has a result that was read after it already has what he needs.
    pub(crate) fn schema_changed(&self, record: &Record) {
        let Payload::Schema(schema) = &record.payload else { return };
        if schema.altered.is_empty() {
            return;
        }
        let altered = |bucket: &str| schema.altered.iter().find(|alteration| *alteration.bucket == *bucket);
        for standing in self.registry.of_app(&record.app, |bucket| altered(bucket).is_some()) {
            let Some(alteration) = altered(&standing.bucket) else { continue };
            match effect(&standing, alteration) {
                Effect::None => {}
                Effect::Refreshes => {
                    let reason = format!("the class /db/{} has changed; subscribe again", standing.bucket);
                    let refused = Refused::new(469, "schema-changed", reason);
                    each(&standing, |subscription| subscription.connection.renew(subscription.slot, record.commit, &refused));
                }
                Effect::Ends(reason) => {
                    let refused = Refused::new(469, "schema-changed", reason);
                    each(&standing, |subscription| self.end(subscription, &refused));
                }
            }
        }
    }
}

/// Whether with a record what a standing query had is out of date, or the objects of its bucket became others' to see.
pub(super) fn turns(standing: &Standing, record: &Record) -> bool {
    let Payload::Schema(schema) = &record.payload else { return false };
    let turns = |one: &Alteration| *one.bucket == *standing.bucket && (one.rights || effect(standing, one) != Effect::None);
    *record.app == *standing.app && schema.altered.iter().any(turns)
}

fn each(standing: &Standing, act: impl Fn(&super::subscription::Subscription)) {
    let members = lock(&standing.members).look();
    members.iter().flat_map(|chunk| chunk.iter()).flatten().for_each(|subscription| act(subscription));
}

fn effect(standing: &Standing, alteration: &Alteration) -> Effect {
    let mut paths = Vec::new();
    named(&standing.filter.predicate, &[], &mut paths);
    alteration.effect(&paths)
}

/// The paths that a query names, from the object down.
fn named<'p>(predicate: &'p Predicate, above: &[&'p str], paths: &mut Vec<Vec<&'p str>>) {
    match predicate {
        Predicate::True | Predicate::False => {}
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().for_each(|part| named(part, above, paths)),
        Predicate::Not(part) => named(part, above, paths),
        Predicate::Field(path, test) => {
            let path: Vec<&str> = above.iter().copied().chain(path.components.iter().map(|component| &*component.name)).collect();
            if let Test::ElemMatch(_, element) = test {
                named(element, &path, paths);
            }
            paths.push(path);
        }
    }
}
