//! What Debezium writes where the database did not send a value: large values that an update did not touch
//! (PostgreSQL's TOAST, LOBs of others).

/// The default of the connector's `unavailable.value.placeholder`.
const PLACEHOLDER: &str = "__debezium_unavailable_value";

/// The same for columns of bytes: in base64 and, as `binary.handling.mode` can be, in hexadecimal digits.
const BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
const HEX: &str = "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565";

/// The same as a UUID: version 3 of its bytes, without a name space.
const UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

/// Whether a value, as JSON, stands for one that was not sent: alone, in an array, in a map (or the text of one) from it to
/// itself, or, for arrays of integers, as an array of its bytes.
pub(in crate::ingest) fn is_unavailable(raw: &str) -> bool {
    match raw.as_bytes() {
        [b'"', rest @ ..] => match rest.first() {
            Some(b'_' | b'X' | b'5') => is_placeholder(raw),
            Some(b'{') => raw.len() < 100 && super::text(raw).is_some_and(|text| is_map(&text)),
            _ => false,
        },
        [b'[', ..] => is_array(raw),
        [b'{', ..] => is_map(raw),
        _ => false,
    }
}

fn is_placeholder(raw: &str) -> bool {
    let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    text.is_some_and(|text| text == PLACEHOLDER || text == BASE64 || text == HEX)
}

fn is_array(raw: &str) -> bool {
    // Longer than the longest form, its bytes with blanks between; most arrays are dismissed by their first element.
    if raw.len() > 300 {
        return false;
    }
    let Some(inner) = raw.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) else { return false };
    let inner = inner.trim();
    if inner.starts_with('"') {
        return is_placeholder(inner) || inner.trim_matches('"') == UUID;
    }
    if !inner.starts_with("95") {
        return false;
    }
    let mut bytes = PLACEHOLDER.bytes();
    inner.split(',').all(|item| item.trim().parse::<u8>().is_ok_and(|byte| bytes.next() == Some(byte))) && bytes.next().is_none()
}

fn is_map(raw: &str) -> bool {
    let Some(inner) = raw.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else { return false };
    inner.split_once(':').is_some_and(|(name, value)| {
        let quoted = |text: &str| text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(PLACEHOLDER);
        quoted(name) && quoted(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    #[test]
    fn the_forms_are_those_of_the_placeholder() {
        assert_eq!(base64::engine::general_purpose::STANDARD.encode(PLACEHOLDER), BASE64);
        assert_eq!(PLACEHOLDER.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(), HEX);
    }

    #[test]
    fn it_is_found_wherever_debezium_puts_it() {
        let integers = format!("{:?}", PLACEHOLDER.as_bytes());
        for raw in [
            format!("\"{PLACEHOLDER}\""),
            format!("\"{BASE64}\""),
            format!("\"{HEX}\""),
            format!("[\"{PLACEHOLDER}\"]"),
            format!("[ \"{BASE64}\" ]"),
            format!("[\"{UUID}\"]"),
            integers.replace(' ', ""),
            integers,
            format!("{{\"{PLACEHOLDER}\":\"{PLACEHOLDER}\"}}"),
            format!("\"{{\\\"{PLACEHOLDER}\\\":\\\"{PLACEHOLDER}\\\"}}\""),
        ] {
            assert!(is_unavailable(&raw), "{raw}");
        }
        for raw in [
            "null",
            "95",
            "[]",
            "{}",
            "\"\"",
            "\"__debezium_unavailable_value2\"",
            "[95,95]",
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101,1]",
            "[\"__debezium_unavailable_value\",\"x\"]",
            "{\"__debezium_unavailable_value\":1}",
            "\"{}\"",
        ] {
            assert!(!is_unavailable(raw), "{raw}");
        }
    }
}
