//! What apps and their hosts may be called.

use super::AppError;

/// Longest name of an app, bytes: a label of a host name has no more.
const LONGEST: usize = 63;
/// Longest host name, bytes.
const LONGEST_HOST: usize = 253;

/// A name: one word that can stand in a URL, in a host name and in a metric. It has one spelling, so two apps are never
/// told apart by case alone. `base` stands for whatever app the host name says, and is nobody's name.
pub(super) fn check(name: &str, base: &str) -> Result<(), AppError> {
    let refuse = |reason: &str| Err(AppError::Name { name: name.to_owned(), reason: reason.to_owned() });
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !first || name.len() > LONGEST || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return refuse("a name begins with a small letter and has small letters, digits and '-', at most 63 of them");
    }
    if name == base || is_version(name) {
        return refuse("it is a version of the API, and stands for whatever app the host name says");
    }
    Ok(())
}

/// `v1` and those that may come.
fn is_version(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the store calls the app that is the `generation`th of its name. A point is in no name, so no two share one.
pub(super) fn in_store(name: &str, generation: u32) -> String {
    if generation <= 1 { name.to_owned() } else { format!("{name}.{generation}") }
}

/// A host name in its one spelling: lower case, without port and without the point of the root.
pub(super) fn host(text: &str) -> String {
    let end = if text.starts_with('[') { text.find(']').map(|end| end + 1) } else { text.rfind(':') };
    let name = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A host name that an app may have, in its one spelling.
pub(super) fn checked_host(text: &str) -> Result<String, AppError> {
    let found = host(text);
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
        !label.is_empty() && label.len() <= LONGEST && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    // An address is the machine's, and whoever has none but that must still reach the default app.
    let is_name =
        found.split('.').all(label) && !found.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if found.len() <= LONGEST_HOST && is_name && !text.contains(':') { Ok(found) } else { Err(AppError::Host { host: text.to_owned() }) }
}

/// The origin of pages that belong to an app, in its one spelling.
pub(super) fn checked_origin(text: &str) -> Result<String, AppError> {
    let refuse = || AppError::Origin { origin: text.to_owned() };
    let url = url::Url::parse(text).map_err(|_| refuse())?;
    let bare =
        url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    // Whatever stands in an origin must also be able to stand in a policy.
    let host = url.host_str().is_some_and(|host| !host.is_empty() && !host.contains(['*', ';', ',', '\'']));
    if bare && host && matches!(url.scheme(), "https" | "http") { Ok(url.origin().ascii_serialization()) } else { Err(refuse()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_of_one_spelling() {
        for good in ["a", "acme", "acme-2", "v", "vee1", "app", &"x".repeat(63)] {
            assert!(check(good, "v1").is_ok(), "{good}");
        }
        for bad in ["", "Acme", "2acme", "-a", "a.b", "a/b", "a_b", "_tidegate", "é", "v1", "v27", "db", &"x".repeat(64)] {
            assert!(check(bad, "db").is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_have_one_spelling() {
        for (text, origin) in [
            ("https://shop.example.org", "https://shop.example.org"),
            ("https://Shop.Example.org:443/", "https://shop.example.org"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(checked_origin(text).unwrap(), origin);
        }
        for bad in [
            "",
            "*",
            "null",
            "shop.example.org",
            "https://",
            "https://*.example.org",
            "https://a;b",
            "https://shop.example.org/in",
            "https://shop.example.org?a",
            "https://shop.example.org#a",
            "https://me@shop.example.org",
            "file:///tmp",
            "javascript:alert(1)",
        ] {
            assert!(checked_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_have_one_spelling() {
        for (text, name) in
            [("Acme.Example:8443", "acme.example"), ("acme.example.", "acme.example"), ("[::1]:80", "[::1]"), ("localhost", "localhost")]
        {
            assert_eq!(host(text), name);
        }
        assert_eq!(checked_host("ACME.example.").unwrap(), "acme.example");
        assert_eq!(checked_host("localhost").unwrap(), "localhost");
        for bad in [
            "",
            "a..b",
            "-a.example",
            "a b",
            "a/b",
            "acme.example:80",
            "127.0.0.1",
            "[::1]",
            "é.example",
            &format!("{}.example", "x".repeat(64)),
        ] {
            assert!(checked_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_apps_share_a_name_in_the_store() {
        assert_eq!(in_store("acme", 1), "acme");
        assert_eq!(in_store("acme", 2), "acme.2");
        assert!(check(&in_store("acme", 2), "v1").is_err());
    }
}
