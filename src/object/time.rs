//! Instants as text: `YYYY-MM-DDTHH:MM:SS[.fff]Z`, without trailing zeros of the fraction (as the SDK compares it).

use jiff::Timestamp;

/// The text of an instant, milliseconds since 1970. What no calendar reaches becomes its end.
pub fn instant(milliseconds: i64) -> String {
    let end = if milliseconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(milliseconds).unwrap_or(end).to_string()
}

/// The client's text of an instant, kept in its form: only trailing zeros of the fraction go. One with
/// an offset is told in UTC. None where it is no instant.
pub fn echo_instant(text: &str) -> Option<String> {
    let timestamp: Timestamp = text.parse().ok()?;
    Some(if text.ends_with('Z') { trim_fraction(text) } else { timestamp.to_string() })
}

/// The client's text of a day, `YYYY-MM-DD`; of an instant its day. None where it is neither.
pub fn echo_date(text: &str) -> Option<String> {
    if text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() {
        return Some(text.to_owned());
    }
    let timestamp: Timestamp = text.parse().ok()?;
    Some(timestamp.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

/// The client's text of a time of day, `HH:MM:SS[.f]Z`; of an instant its time of day. None where it is neither.
pub fn echo_time(text: &str) -> Option<String> {
    let time = text.strip_suffix('Z').unwrap_or(text);
    if time.len() >= 5 && !time.contains('-') && time.parse::<jiff::civil::Time>().is_ok() {
        return Some(trim_fraction(&format!("{time}Z")));
    }
    let timestamp: Timestamp = text.parse().ok()?;
    Some(format!("{}Z", timestamp.to_zoned(jiff::tz::TimeZone::UTC).time()))
}

/// `….500Z` to `….5Z`, `….000Z` to `…Z`; members of sets are compared as text, so one instant has one form.
fn trim_fraction(text: &str) -> String {
    let Some((whole, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_once('.')) else { return text.to_owned() };
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}Z"),
        fraction => format!("{whole}.{fraction}Z"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_have_no_trailing_zeros() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (500, "1970-01-01T00:00:00.5Z"),
            (120, "1970-01-01T00:00:00.12Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(instant(milliseconds), text);
        }
        assert!(instant(i64::MAX).starts_with("9999-12-3"));
    }

    #[test]
    fn the_client_finds_its_own_form_again() {
        assert_eq!(echo_instant("2020-01-02T03:04:05.500Z").as_deref(), Some("2020-01-02T03:04:05.5Z"));
        assert_eq!(echo_instant("2020-01-02T03:04:05.000Z").as_deref(), Some("2020-01-02T03:04:05Z"));
        assert_eq!(echo_instant("0000-01-01T00:00:00Z").as_deref(), Some("0000-01-01T00:00:00Z"));
        assert_eq!(echo_instant("2020-01-02T03:04:05+01:00").as_deref(), Some("2020-01-02T02:04:05Z"));
        assert_eq!(echo_instant("tomorrow"), None);
        assert_eq!(echo_date("2020-01-02").as_deref(), Some("2020-01-02"));
        assert_eq!(echo_date("2020-01-02T03:04:05Z").as_deref(), Some("2020-01-02"));
        assert_eq!(echo_date("2020-13-02"), None);
        assert_eq!(echo_time("03:04:05.120Z").as_deref(), Some("03:04:05.12Z"));
        assert_eq!(echo_time("03:04:05Z").as_deref(), Some("03:04:05Z"));
        assert_eq!(echo_time("25:00:00Z"), None);
    }
}
