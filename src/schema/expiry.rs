//! Which field of a class says when its objects end.
//!
//! A class names the field in its metadata: `"metadata": {"expires": "until"}`. Subclasses inherit that.

use super::{Schema, built_in};

/// The key of a class's metadata that names the field.
pub const EXPIRES: &str = "expires";

/// The type that the field must have.
pub(super) const KIND: &str = "/db/DateTime";

impl Schema {
    /// The field that says when objects of this bucket end; none where nothing does. An empty name is none.
    pub fn expires(&self, bucket: &str) -> Option<&str> {
        let mut class = self.class(bucket)?;
        // The bound ends a circle of classes that inherit each other.
        for _ in 0..32 {
            if let Some(field) = class.metadata.get(EXPIRES) {
                return Some(&**field).filter(|field| !field.is_empty());
            }
            let parent = class.super_class.as_deref().filter(|parent| *parent != built_in::OBJECT)?;
            class = self.class(parent.strip_prefix("/db/")?)?;
        }
        None
    }

    /// Every bucket whose objects end, with the field that says when.
    pub fn expiring(&self) -> impl Iterator<Item = (&str, &str)> {
        let buckets = self.classes.iter().filter(|(_, class)| !class.embedded).map(|(bucket, _)| &**bucket);
        buckets.filter_map(|bucket| Some((bucket, self.expires(bucket)?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::schema::{ClassRequest, merge};
    use dataflows::access::Caller;

    fn requests(text: &str) -> Vec<ClassRequest> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_class_names_the_field_and_its_subclasses_inherit_it() {
        let classes = r#"[{"class":"/db/Lease","metadata":{"expires":"until"},"fields":{"until":{"name":"until","type":"/db/DateTime"}}},
            {"class":"/db/Sub","superClass":"/db/Lease"},
            {"class":"/db/Kept","superClass":"/db/Lease","metadata":{"expires":""}}]"#;
        let schema = merge(&Schema::built_in(), &requests(classes), &Caller::admin()).unwrap();
        let mut expiring: Vec<_> = schema.expiring().collect();
        expiring.sort_unstable();
        assert_eq!(expiring, [("Lease", "until"), ("Sub", "until")]);
    }

    #[test]
    fn the_field_must_be_there_and_hold_a_time() {
        for fields in ["", r#""until":{"name":"until","type":"/db/String"}"#] {
            let class = format!(r#"[{{"class":"/db/Lease","metadata":{{"expires":"until"}},"fields":{{{fields}}}}}]"#);
            let refused = merge(&Schema::built_in(), &requests(&class), &Caller::admin()).unwrap_err();
            assert!(refused.to_string().contains("until"), "{refused}");
        }
    }

    #[test]
    fn who_may_add_fields_may_not_by_that_let_objects_end() {
        let class = r#"[{"class":"/db/Lease","acl":{"schemaAdd":{"/db/User/a":"allow","/db/User/b":"allow"},"schemaReplace":{"/db/User/b":"allow"}},"fields":{"until":{"name":"until","type":"/db/DateTime"}}}]"#;
        let schema = merge(&Schema::built_in(), &requests(class), &Caller::admin()).unwrap();
        let expires = requests(r#"[{"class":"/db/Lease","metadata":{"expires":"until"}}]"#);
        assert!(merge(&schema, &expires, &Caller::new(["/db/User/a"])).is_err());
        assert!(merge(&schema, &expires, &Caller::new(["/db/User/b"])).is_ok());
        let other = requests(r#"[{"class":"/db/Lease","metadata":{"colour":"blue"}}]"#);
        assert!(merge(&schema, &other, &Caller::new(["/db/User/a"])).is_ok());
    }
}
