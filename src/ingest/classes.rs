//! The classes of ingested buckets: closed unless the mapping says otherwise, written by nobody else.

use super::apply::Target;
use super::meaning::{Moment, Moments};
use crate::config::{IngestOptions, IngestRead};
use crate::schema::built_in::OBJECT;
use crate::schema::{Class, Field, Schema};
use crate::store::{Refusal, SchemaChange, Store, StoreError};
use dataflows::access::{ClassRights, LOGGED_IN_ROLE, Rights, Rule};
use indexmap::IndexMap;
use std::sync::Arc;

/// What a mapping lets whom do. With an owner the objects' own lists decide, and being logged in is the door to them.
pub(crate) fn rights(options: &IngestOptions) -> ClassRights {
    readable(match (&options.owner, options.read) {
        (Some(_), _) => Rights([(LOGGED_IN_ROLE.into(), Rule::Allow)].into()),
        (None, IngestRead::Public) => Rights::default(),
        (None, IngestRead::Admin) => Rights::admin_only(),
    })
}

/// Administrators alone.
pub(crate) fn closed() -> ClassRights {
    readable(Rights::admin_only())
}

/// Read by these, written by nobody.
fn readable(read: Rights) -> ClassRights {
    ClassRights {
        load: read.clone(),
        query: read,
        insert: Rights::admin_only(),
        update: Rights::admin_only(),
        delete: Rights::admin_only(),
        schema_subclass: Rights::admin_only(),
        schema_add: Rights::admin_only(),
        schema_replace: Rights::admin_only(),
    }
}

/// Makes the bucket's class as it should be: these rights (none: as they are), and these fields hold moments. Writes
/// nothing where nothing changes.
pub(crate) async fn ensure(store: &dyn Store, target: &Target, rights: Option<&ClassRights>, moments: &Moments) -> Result<(), StoreError> {
    let known = store.schema(&target.app);
    if ensured(&known, &target.bucket, rights, moments).is_none() {
        return Ok(());
    }
    let (bucket, rights, moments) = (Arc::clone(&target.bucket), rights.cloned(), moments.clone());
    let change: SchemaChange = Arc::new(move |schema: &Schema| {
        let schema = ensured(schema, &bucket, rights.as_ref(), &moments).unwrap_or_else(|| schema.clone());
        Ok::<_, Refusal>(schema)
    });
    store.commit_schema(Arc::clone(&target.app), change).await.map(drop)
}

/// None where the schema is so already.
fn ensured(schema: &Schema, bucket: &str, rights: Option<&ClassRights>, moments: &Moments) -> Option<Schema> {
    let mut class = match schema.class(bucket) {
        Some(class) => (**class).clone(),
        None => Class {
            class: format!("/db/{bucket}").into(),
            super_class: Some(OBJECT.into()),
            embedded: false,
            metadata: IndexMap::new(),
            validation_code: None,
            acl: ClassRights::default(),
            fields: IndexMap::new(),
        },
    };
    if let Some(rights) = rights {
        class.acl = rights.clone();
    }
    for (name, moment) in moments {
        // What an administrator declared otherwise stays: the text is the same.
        let order = i64::try_from(class.fields.len()).unwrap_or(i64::MAX);
        class.fields.entry((**name).into()).or_insert_with(|| Field {
            name: (**name).into(),
            kind: kind(*moment).into(),
            order,
            metadata: IndexMap::new(),
            flags: Vec::new(),
        });
    }
    if schema.class(bucket).is_some_and(|known| **known == class) {
        return None;
    }
    let mut changed = schema.clone();
    changed.classes.insert(bucket.into(), Arc::new(class));
    Some(changed)
}

/// The type of a field that holds such moments.
fn kind(moment: Moment) -> &'static str {
    match moment {
        Moment::DateTime => "/db/DateTime",
        Moment::Date => "/db/Date",
        Moment::Time => "/db/Time",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use dataflows::access::Caller;

    #[test]
    fn closed_unless_it_says_otherwise() {
        let (admin, user, nobody) = (Caller::admin(), Caller::new(["/db/User/x", LOGGED_IN_ROLE]), Caller::anonymous());
        let may = |change: fn(&mut IngestOptions)| {
            let mut options = IngestOptions::new("t", "B");
            change(&mut options);
            let rights = rights(&options);
            assert!([&rights.insert, &rights.update, &rights.delete, &rights.schema_add].iter().all(|right| !right.permits(&user)));
            [&admin, &user, &nobody].map(|caller| rights.load.permits(caller) && rights.query.permits(caller))
        };
        assert_eq!(may(|_| ()), [true, false, false]);
        assert_eq!(may(|options| options.read = IngestRead::Public), [true, true, true]);
        assert_eq!(may(|options| options.owner = Some("who".into())), [true, true, false]);
    }

    #[test]
    fn a_class_is_made_brought_in_line_and_then_left_alone() {
        let moments = Moments::from([("at".into(), Moment::DateTime), ("day".into(), Moment::Date)]);
        let closed = rights(&IngestOptions::new("t", "B"));
        let made = ensured(&Schema::built_in(), "B", Some(&closed), &Moments::new()).unwrap();
        assert_eq!(made.rights_of("B"), &closed);
        let dated = ensured(&made, "B", None, &moments).unwrap();
        let kinds = ["at", "day"].map(|name| dated.class("B").unwrap().fields[name].kind.to_string());
        assert_eq!(kinds, ["/db/DateTime", "/db/Date"]);
        assert!(ensured(&dated, "B", Some(&closed), &moments).is_none());
        let open = rights(&IngestOptions { read: IngestRead::Public, ..IngestOptions::new("t", "B") });
        let opened = ensured(&dated, "B", Some(&open), &Moments::new()).unwrap();
        assert_eq!(opened.rights_of("B"), &open);
        assert_eq!(opened.class("B").unwrap().fields, dated.class("B").unwrap().fields);
    }
}
