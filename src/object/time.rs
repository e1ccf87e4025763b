//! Instants as text: `YYYY-MM-DDTHH:MM:SS[.fff]Z`, without trailing zeros of the fraction (as the SDK compares it).

use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::{SignedDuration, Timestamp};

/// The text of an instant, milliseconds since 1970. What no calendar reaches becomes its end.
pub fn instant(milliseconds: i64) -> String {
    if let Ok(timestamp) = Timestamp::from_millisecond(milliseconds) {
        return timestamp.to_string();
    }
    // The calendar has some hours more than timestamps have, at both ends.
    let epoch = jiff::civil::date(1970, 1, 1).to_datetime(Time::midnight());
    match epoch.checked_add(SignedDuration::from_millis(milliseconds)) {
        Ok(moment) => format!("{moment}Z"),
        Err(_) => if milliseconds < 0 { Timestamp::MIN } else { Timestamp::MAX }.to_string(),
    }
}

/// The moment in UTC of an instant with its offset. None where the text is no instant.
fn moment(text: &str) -> Option<DateTime> {
    let pieces = Pieces::parse(text).ok()?;
    let moment = pieces.date().to_datetime(pieces.time()?);
    match pieces.offset()? {
        PiecesOffset::Numeric(offset) => moment.checked_sub(SignedDuration::from_secs(offset.offset().seconds().into())).ok(),
        _ => Some(moment),
    }
}

/// The client's text of an instant, kept in its form: only trailing zeros of the fraction go. One with
/// an offset is told in UTC. None where it is no instant.
pub fn echo_instant(text: &str) -> Option<String> {
    let moment = moment(text)?;
    Some(if text.ends_with('Z') { trim_fraction(text) } else { format!("{moment}Z") })
}

/// The client's text of a day, `YYYY-MM-DD`; of an instant its day. None where it is neither.
pub fn echo_date(text: &str) -> Option<String> {
    if text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok_and(|date| date.to_string() == text) {
        return Some(text.to_owned());
    }
    Some(moment(text)?.date().to_string())
}

/// The client's text of a time of day, `HH:MM:SS[.f]Z`; of an instant its time of day. None where it is neither.
pub fn echo_time(text: &str) -> Option<String> {
    let time = text.strip_suffix('Z').unwrap_or(text);
    let in_form = time.as_bytes().get(2) == Some(&b':') && time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
    if in_form && time.parse::<Time>().is_ok() {
        return Some(trim_fraction(&format!("{time}Z")));
    }
    Some(format!("{}Z", moment(text)?.time()))
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
        assert_eq!(instant(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(instant(-377_705_116_800_000), "-009999-01-01T00:00:00Z");
        assert_eq!(instant(253_402_300_800_000), Timestamp::MAX.to_string());
        assert_eq!(instant(i64::MAX), Timestamp::MAX.to_string());
        assert_eq!(instant(i64::MIN), Timestamp::MIN.to_string());
    }

    #[test]
    fn the_client_finds_its_own_form_again() {
        assert_eq!(echo_instant("2020-01-02T03:04:05.500Z").as_deref(), Some("2020-01-02T03:04:05.5Z"));
        assert_eq!(echo_instant("2020-01-02T03:04:05.000Z").as_deref(), Some("2020-01-02T03:04:05Z"));
        assert_eq!(echo_instant("0000-01-01T00:00:00Z").as_deref(), Some("0000-01-01T00:00:00Z"));
        assert_eq!(echo_instant("2020-01-02T03:04:05+01:00").as_deref(), Some("2020-01-02T02:04:05Z"));
        assert_eq!(echo_instant("tomorrow"), None);
        assert_eq!(echo_instant("2020-01-02"), None);
        assert_eq!(echo_instant("2020-01-02T03:04:05"), None);
        assert_eq!(echo_instant("2020-02-30T03:04:05Z"), None);
        assert_eq!(echo_date("2020-01-02").as_deref(), Some("2020-01-02"));
        assert_eq!(echo_date("2020-01-02T03:04:05Z").as_deref(), Some("2020-01-02"));
        assert_eq!(echo_date("2020-13-02"), None);
        assert_eq!(echo_time("03:04:05.120Z").as_deref(), Some("03:04:05.12Z"));
        assert_eq!(echo_time("03:04:05Z").as_deref(), Some("03:04:05Z"));
        assert_eq!(echo_time("25:00:00Z"), None);
        assert_eq!(echo_time("03:04:05+01:00"), None);
        assert_eq!(echo_time("030405"), None);
    }

    #[test]
    fn the_last_hours_of_the_calendar_are_instants() {
        assert_eq!(echo_instant("9999-12-31T23:59:59.990Z").as_deref(), Some("9999-12-31T23:59:59.99Z"));
        assert_eq!(echo_instant("9999-12-31T23:59:59+02:00").as_deref(), Some("9999-12-31T21:59:59Z"));
        assert_eq!(echo_instant("9999-12-31T23:59:59-00:01"), None);
        assert_eq!(echo_instant("-009999-01-01T00:00:00Z").as_deref(), Some("-009999-01-01T00:00:00Z"));
        assert_eq!(echo_date("9999-12-31").as_deref(), Some("9999-12-31"));
        assert_eq!(echo_date("9999-12-31T23:59:59Z").as_deref(), Some("9999-12-31"));
        assert_eq!(echo_time("9999-12-31T23:59:59.5Z").as_deref(), Some("23:59:59.5Z"));
    }
}
