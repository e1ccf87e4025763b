//! Dotted paths of partial updates: `address.city`, `list.3`.

use super::UpdateError;

/// Components of one path at most.
const DEPTH: usize = 32;
/// Bytes of one path at most.
const LONGEST: usize = 1024;

/// A path, as it was written and taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub(super) text: Box<str>,
    pub(super) components: Vec<Box<str>>,
}

impl Path {
    /// Reads a path; an empty component or one too many is refused.
    pub(super) fn parse(text: &str) -> Result<Path, UpdateError> {
        let components: Vec<Box<str>> = text.split('.').map(Into::into).collect();
        if text.len() > LONGEST || components.len() > DEPTH {
            return Err(UpdateError::Limit(format!("a path has at most {LONGEST} bytes and {DEPTH} components")));
        }
        if components.iter().any(|component| component.is_empty()) {
            return Err(UpdateError::Malformed(format!("{text:?} is not a path: it has a component without a name")));
        }
        Ok(Path { text: text.into(), components })
    }

    /// Whether one of the two is the other, or leads to it: then the order of their operations would decide.
    pub(super) fn touches(&self, other: &Path) -> bool {
        self.components.iter().zip(&other.components).all(|(own, other)| own == other)
    }

    /// The field of the object that it begins with.
    pub(super) fn field(&self) -> &str {
        self.components.first().map_or("", |first| first)
    }

    /// The path to what contains its end, and its last component. The former is empty where the end is a field.
    pub(super) fn split(&self) -> (&[Box<str>], &str) {
        self.components.split_last().map_or((&[], ""), |(last, above)| (above, last))
    }
}

/// A component as a position in a list: digits, no leading zero.
pub(super) fn index(component: &str) -> Option<usize> {
    let canonical = component == "0" || !component.starts_with('0');
    (canonical && component.bytes().all(|byte| byte.is_ascii_digit())).then(|| component.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_touch() {
        let touches = |one: &str, other: &str| Path::parse(one).unwrap().touches(&Path::parse(other).unwrap());
        assert!(touches("a", "a") && touches("a", "a.b") && touches("a.b.c", "a.b"));
        assert!(!touches("a", "ab") && !touches("a.b", "a.c") && !touches("l.1", "l.11"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b"] {
            assert!(matches!(Path::parse(text), Err(UpdateError::Malformed(_))), "{text}");
        }
        assert!(matches!(Path::parse(&"a".repeat(2000)), Err(UpdateError::Limit(_))));
        assert!(matches!(Path::parse(&["a"; 33].join(".")), Err(UpdateError::Limit(_))));
        assert_eq!(
            [index("0"), index("10"), index("01"), index("-1"), index("x"), index("99999999999999999999")],
            [Some(0), Some(10), None, None, None, None]
        );
    }
}
