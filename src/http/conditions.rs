//! Conditional requests: `If-Match`, `If-None-Match`, and ETags that are versions in quotes.

use crate::object::decide::Expected;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

/// The ETag of a version.
pub fn etag(version: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{version}\"")).ok()
}

/// What a write expects to find.
pub fn expected(headers: &HeaderMap) -> Expected {
    match tags(headers, header::IF_MATCH) {
        Some(Tags::Any) => Expected::Something,
        Some(Tags::Versions(versions)) => Expected::Versions(versions),
        None => match tags(headers, header::IF_NONE_MATCH) {
            Some(Tags::Any) => Expected::Nothing,
            _ => Expected::Anything,
        },
    }
}

/// Whether the caller has this version already.
pub fn is_known(headers: &HeaderMap, version: u64) -> bool {
    match tags(headers, header::IF_NONE_MATCH) {
        Some(Tags::Any) => true,
        Some(Tags::Versions(versions)) => versions.contains(&version),
        None => false,
    }
}

enum Tags {
    Any,
    Versions(SmallVec<[u64; 1]>),
}

/// The versions that a header names; what no version can be is left out, and then matches nothing.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<Tags> {
    let mut versions = SmallVec::new();
    let mut any = false;
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    for tag in values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
        let tag = tag.trim();
        any |= tag == "*";
        let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        // Older clients append a marker of compression, `--gzip`.
        let version = tag.split("--").next().unwrap_or(tag);
        if version.bytes().all(|b| b.is_ascii_digit()) {
            versions.extend(version.parse::<u64>());
        }
    }
    Some(if any { Tags::Any } else { Tags::Versions(versions) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn conditions_of_writes() {
        let condition = |value: &str| expected(&headers(&[(header::IF_MATCH, value)]));
        assert_eq!(condition("\"3\""), Expected::Versions(smallvec![3]));
        assert_eq!(condition("\"3--gzip\""), Expected::Versions(smallvec![3]));
        assert_eq!(condition("3"), Expected::Versions(smallvec![3]));
        assert_eq!(condition("\"3\", W/\"4\""), Expected::Versions(smallvec![3, 4]));
        assert_eq!(condition("*"), Expected::Something);
        // A condition that cannot be read is one that nothing meets, not none at all.
        for value in ["", "\"x\"", "\"-1\"", "\"+1\"", "\"99999999999999999999\""] {
            assert_eq!(condition(value), Expected::Versions(smallvec![]), "{value}");
        }
        assert_eq!(expected(&headers(&[(header::IF_NONE_MATCH, "*")])), Expected::Nothing);
        assert_eq!(expected(&headers(&[])), Expected::Anything);
    }

    #[test]
    fn conditions_of_reads() {
        let known = |value: &str| is_known(&headers(&[(header::IF_NONE_MATCH, value)]), 3);
        assert!(known("\"3\"") && known("\"3--gzip\"") && known("\"2\", \"3\"") && known("*"));
        assert!(!known("\"4\"") && !known("x") && !is_known(&headers(&[]), 3));
    }
}
