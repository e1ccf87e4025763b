//! What fields are called: the source's names, changed where they are ours or where no query could address them.
//!
//! Each rule looks at one name alone and never makes one name of two, so a field has the same name in every record:
//!
//! 1. a name that the server writes ([`METADATA`]), followed by any number of `_`, gets one more `_` (top level only);
//! 2. `.` becomes `%2E`, a `$` at the beginning `%24`, the empty name `%`;
//! 3. a `%` that would then read like one of these becomes `%25`.

use crate::json::push_string;
use crate::schema::name::METADATA;
use std::borrow::Cow;

/// The name of a field at the top level of an object.
pub fn field(source: &str) -> Cow<'_, str> {
    if METADATA.contains(&source.trim_end_matches('_')) {
        return Cow::Owned(format!("{source}_"));
    }
    if fits(source) { Cow::Borrowed(source) } else { Cow::Owned(escape(source)) }
}

/// The name of a field inside of a value. `$date` stays: so instants are written in open objects.
pub fn nested(source: &str) -> Cow<'_, str> {
    if fits(source) || source == "$date" { Cow::Borrowed(source) } else { Cow::Owned(escape(source)) }
}

fn fits(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('$') && !name.bytes().any(|b| matches!(b, b'.' | b'%'))
}

fn escape(name: &str) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for (at, char) in name.char_indices() {
        let rest = &name[at..];
        match char {
            '.' => escaped.push_str("%2E"),
            '$' if at == 0 => escaped.push_str("%24"),
            '%' if name == "%" || ["%2E", "%24", "%25"].iter().any(|escape| rest.starts_with(escape)) => escaped.push_str("%25"),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Well-formed JSON with the names in its objects changed where that is needed; none where it nests deeper than `depth`.
pub(super) fn within(json: &str, depth: usize) -> Option<Cow<'_, str>> {
    if !json.starts_with(['{', '[']) {
        return Some(Cow::Borrowed(json));
    }
    let bytes = json.as_bytes();
    let (mut at, mut open) = (0, 0);
    // What is done: the text up to `copied` is in `changed`.
    let (mut changed, mut copied) = (String::new(), 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                open += 1;
                if open > depth {
                    return None;
                }
                at += 1;
            }
            b'}' | b']' => {
                open = open.saturating_sub(1);
                at += 1;
            }
            b'"' => {
                let end = string_end(bytes, at);
                // A string is a name where a colon follows.
                let next = bytes[end..].iter().find(|b| !b.is_ascii_whitespace());
                if next == Some(&b':')
                    && let Some(name) = changed_name(&json[at..end])
                {
                    changed.push_str(&json[copied..at]);
                    push_string(&mut changed, &name);
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Some(Cow::Borrowed(json));
    }
    changed.push_str(&json[copied..]);
    Some(Cow::Owned(changed))
}

/// The name that a name, as JSON with its quotes, becomes; none where it stays.
fn changed_name(quoted: &str) -> Option<String> {
    let plain = quoted.get(1..quoted.len().saturating_sub(1))?;
    let decoded: String;
    let name = if plain.contains('\\') {
        decoded = serde_json::from_str(quoted).ok()?;
        &decoded
    } else {
        plain
    };
    match nested(name) {
        Cow::Borrowed(_) => None,
        Cow::Owned(name) => Some(name),
    }
}

/// Where the string that begins at `start` ends, its closing quote included.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_ours_get_an_underscore_and_so_do_those_that_look_so() {
        for (source, ours) in [
            ("id", "id_"),
            ("id_", "id__"),
            ("createdAt", "createdAt_"),
            ("acl__", "acl___"),
            ("created_at", "created_at"),
            ("ID", "ID"),
            ("_id", "_id"),
            ("identity", "identity"),
        ] {
            assert_eq!(field(source), ours);
        }
        assert_eq!(nested("id"), "id");
    }

    #[test]
    fn names_that_no_query_reaches_are_escaped() {
        for (source, ours) in [
            ("a.b", "a%2Eb"),
            ("$set", "%24set"),
            ("a$", "a$"),
            ("", "%"),
            ("%", "%25"),
            ("100%", "100%"),
            ("%2E", "%252E"),
            ("%2", "%2"),
            ("%.", "%%2E"),
        ] {
            assert_eq!(field(source), ours, "{source}");
            assert_eq!(nested(source), ours, "{source}");
        }
        assert_eq!((field("$date"), nested("$date")), ("%24date".into(), "$date".into()));
    }

    #[test]
    fn names_inside_of_values_are_changed_and_texts_are_not() {
        let within = |json| within(json, 4).unwrap();
        assert_eq!(within(r#"{"a": [{"$b": "$c.d", "e.f": "g"}]}"#), r#"{"a": [{"%24b": "$c.d", "e%2Ef": "g"}]}"#);
        assert_eq!(within(r#"{"\u0024b" : 1, "x\"y": "\\"}"#), r#"{"%24b" : 1, "x\"y": "\\"}"#);
        assert_eq!(within(r#"["a.b", "$c"]"#), r#"["a.b", "$c"]"#);
        assert_eq!(within(r#""{\"$a\":1}""#), r#""{\"$a\":1}""#);
        assert_eq!(super::within("[[[[[1]]]]]", 4), None);
        assert!(super::within("[[[[1],[2]]]]", 4).is_some());
    }

    /// The source's name again.
    fn unescape(name: &str) -> String {
        if name == "%" {
            return String::new();
        }
        let name = match name.strip_suffix('_') {
            Some(source) if METADATA.contains(&source.trim_end_matches('_')) => source,
            _ => name,
        };
        // The last one: what it brings is not read again.
        name.replace("%2E", ".").replace("%24", "$").replace("%25", "%")
    }

    proptest! {
        #[test]
        fn no_two_names_become_one(name in "[.$%245E_aid]{0,6}|\\PC{0,8}|(id|version|acl)_{0,3}") {
            let ours = field(&name).into_owned();
            prop_assert_eq!(unescape(&ours), name);
            prop_assert!(!ours.is_empty() && !ours.starts_with('$') && !ours.contains('.') && !METADATA.contains(&&*ours));
        }

        #[test]
        fn changing_names_changes_names_only(text in "\\PC{0,8}", name in "[.$a\"\\\\]{0,4}") {
            let json = serde_json::json!({ "k": [{ name.clone(): text }, 1.5, null] });
            let changed: serde_json::Value = serde_json::from_str(&within(&serde_json::to_string_pretty(&json).unwrap(), 9).unwrap()).unwrap();
            prop_assert_eq!(&changed["k"][0][&*nested(&name)], &json["k"][0][&name]);
            prop_assert_eq!(&changed["k"][1], &json["k"][1]);
        }
    }
}
