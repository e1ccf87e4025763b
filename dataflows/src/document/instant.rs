//! Instants as clients write them.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::{Pieces, PiecesOffset};

/// The milliseconds since 1970 of an instant as clients write it: `2020-01-02T03:04:05.678Z` (or with an offset; one without
/// either is UTC), a date alone (midnight UTC), or a time of day alone (on 1970-01-01). What is finer than a millisecond is cut
/// off. Every moment of the years -9999 to 9999, more than [`Timestamp`] has.
///
/// The form decides what a text is: the readers of dates and times alone take whatever contains one.
pub(crate) fn parse_instant(text: &str) -> Option<i64> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        let cut = i64::from(timestamp.subsec_nanosecond() % 1_000_000 < 0);
        return Some(timestamp.as_millisecond() - cut);
    }
    if !begins_with_date(text) {
        return is_time(text).then(|| since_midnight(text)).flatten();
    }
    let pieces = Pieces::parse(text).ok()?;
    let offset = match (pieces.offset(), pieces.time_zone_annotation()) {
        (Some(PiecesOffset::Numeric(offset)), _) => i64::from(offset.offset().seconds()),
        (Some(_), _) | (None, None) => 0,
        // The time of a zone, whose offset is not ours to know.
        (None, Some(_)) => return None,
    };
    Some(milliseconds(pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()))) - offset * 1_000)
}

/// Of a moment in UTC.
fn milliseconds(moment: DateTime) -> i64 {
    let since = moment.duration_since(jiff::civil::date(1970, 1, 1).to_datetime(Time::midnight()));
    since.as_secs() * 1_000 + i64::from(since.subsec_nanos().div_euclid(1_000_000))
}

/// `YYYY-MM-DD`, or with a sign and six digits of the year, alone or before a time.
fn begins_with_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (signed, digits) = match bytes.first() {
        Some(b'+' | b'-') => (1, 6),
        _ => (0, 4),
    };
    let Some(date) = bytes.get(signed..signed + digits + 6) else { return false };
    let in_form =
        date.iter().enumerate().all(|(at, byte)| if at == digits || at == digits + 3 { *byte == b'-' } else { byte.is_ascii_digit() });
    in_form && bytes.get(signed + digits + 6).is_none_or(|next| matches!(next, b'T' | b't' | b' '))
}

/// `HH:MM`, `HH:MM:SS` or with a fraction, a `Z` behind it or not.
fn is_time(text: &str) -> bool {
    let time = text.strip_suffix('Z').unwrap_or(text).as_bytes();
    time.len() >= 5 && time[2] == b':' && time.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
}

fn since_midnight(text: &str) -> Option<i64> {
    let time = text.strip_suffix('Z').unwrap_or(text).parse::<Time>().ok()?;
    i64::try_from(time.duration_since(Time::midnight()).as_millis()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn the_form_says_what_a_text_is() {
        for (text, expected) in [
            ("1970-01-02", Some(DAY)),
            ("1970-01-02T00:00:01.5Z", Some(DAY + 1_500)),
            ("1970-01-02T01:00:00+01:00", Some(DAY)),
            ("1970-01-02T01:00:00+01:00[Europe/Berlin]", Some(DAY)),
            // Without an offset it is UTC, as a date alone.
            ("1970-01-02T12:00", Some(DAY + DAY / 2)),
            ("1970-01-02 12:00:00", Some(DAY + DAY / 2)),
            ("12:00", Some(DAY / 2)),
            ("12:00:00.25Z", Some(DAY / 2 + 250)),
            // The last days of the calendar, and the first.
            ("9999-12-31", Some(253_402_214_400_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("9999-12-31T23:59:59.999", Some(253_402_300_799_999)),
            ("9999-12-31T22:00:00.999-02:00", Some(253_402_300_800_999)),
            ("-009999-01-01", Some(-377_705_116_800_000)),
            ("-009999-01-01T00:00:00Z", Some(-377_705_116_800_000)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200_000)),
            ("1969-12-31T23:59:59.9999Z", Some(-1)),
            ("1970-01-02T12:00[Europe/Berlin]", None),
            ("1970-13-02", None),
            ("1970-02-30T12:00:00Z", None),
            ("1970-01-02T25:00:00Z", None),
            ("1970-01-02T", None),
            ("1970-01-02Tomorrow", None),
            ("19700102", None),
            ("25:00", None),
            ("12:00:00+01:00", None),
            ("T12:00", None),
            ("120000", None),
            ("12", None),
            ("", None),
            ("tomorrow", None),
        ] {
            assert_eq!(parse_instant(text), expected, "{text:?}");
        }
    }

    /// Days from 1970-01-01, by counting leap years.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before = |year: i64| 365 * year + (year + 3).div_euclid(4) - (year + 99).div_euclid(100) + (year + 399).div_euclid(400);
        let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        before(year) - before(1970) + months[month as usize - 1] + i64::from(month > 2 && leap(year)) + day - 1
    }

    proptest! {
        #[test]
        fn is_what_counting_gives(
            (year, month, day) in (prop_oneof![-9999i64..=9999, Just(9999), Just(-9999), 1960i64..=2040], 1i64..=12, 1i64..=28),
            last in any::<bool>(),
            (hour, minute, second, millisecond) in (0i64..24, 0i64..60, 0i64..60, 0i64..1000),
            offset in prop_oneof![Just(None), Just(Some(0i64)), (-1439i64..=1439).prop_map(Some)],
        ) {
            let (month, day) = if last { (12, 31) } else { (month, day) };
            let date = if year < 0 { format!("-{:06}-{month:02}-{day:02}", -year) } else { format!("{year:04}-{month:02}-{day:02}") };
            let midnight = days(year, month, day) * DAY;
            prop_assert_eq!(parse_instant(&date), Some(midnight), "{}", date);
            let of_day = ((hour * 60 + minute) * 60 + second) * 1_000 + millisecond;
            let time = format!("{hour:02}:{minute:02}:{second:02}.{millisecond:03}");
            prop_assert_eq!(parse_instant(&time), Some(of_day), "{}", time);
            let suffix = match offset {
                None => String::new(),
                Some(0) => "Z".to_owned(),
                Some(offset) => format!("{}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 60, offset.abs() % 60),
            };
            let text = format!("{date}T{time}{suffix}");
            prop_assert_eq!(parse_instant(&text), Some(midnight + of_day - offset.unwrap_or(0) * 60_000), "{}", text);
        }

        #[test]
        fn no_text_is_too_odd(text in "[-+0-9T:.Z \\[\\]a]{0,30}") {
            let _ = parse_instant(&text);
        }
    }
}
