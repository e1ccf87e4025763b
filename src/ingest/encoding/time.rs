//! Numbers and texts of time -> the texts of `object::time`.
//!
//! What no calendar reaches becomes its end, as there. So do PostgreSQL's infinities: Debezium writes the numbers of its
//! JDBC driver, beyond every calendar, or the words `infinity` and `-infinity`.

use super::Unit;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};
use std::borrow::Cow;

const DAY: i128 = 86_400_000_000_000;

/// What a column of days holds for `infinity` and `-infinity`: the driver's last and first day went round the ends of 32 bits
/// and lie beside each other, -5877611-06-21 and -06-22; or in the year 5877611, where the sign is lost on the way.
const DAYS_INFINITY: [i64; 2] = [-2_147_472_692, 2_146_033_979];
const DAYS_NEGATIVE_INFINITY: [i64; 2] = [-2_147_472_691, 2_146_033_980];

impl Unit {
    fn nanoseconds(self) -> i128 {
        match self {
            Unit::Seconds => 1_000_000_000,
            Unit::Millis => 1_000_000,
            Unit::Micros => 1_000,
            Unit::Nanos => 1,
        }
    }
}

/// Days since 1970, as JSON, to `YYYY-MM-DD`. None where it is no whole number.
pub(super) fn day(raw: &str) -> Option<String> {
    let days: i64 = unquoted(raw).parse().ok()?;
    let late = DAYS_INFINITY.contains(&days) || (days > 0 && !DAYS_NEGATIVE_INFINITY.contains(&days));
    let end = if late { Date::MAX } else { Date::MIN };
    let day = Span::new().try_days(days).ok().and_then(|span| Date::constant(1970, 1, 1).checked_add(span).ok());
    Some(day.unwrap_or(end).to_string())
}

/// A time since 1970, as JSON, to an instant. None where it is no number.
pub(super) fn instant(raw: &str, unit: Unit) -> Option<String> {
    let nanoseconds = nanoseconds(raw, unit)?;
    // For columns of nanoseconds the infinities are the ends of 64 bits, which are inside of the calendar.
    let infinite = unit == Unit::Nanos && (nanoseconds == i128::from(i64::MAX) || nanoseconds == i128::from(i64::MIN));
    let end = if nanoseconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let instant = Timestamp::from_nanosecond(nanoseconds).ok().filter(|_| !infinite);
    Some(instant.unwrap_or(end).to_string())
}

/// A time since midnight, as JSON, to `HH:MM:SS[.f]Z`; without `Z` where no day has that time. None where it is no number.
pub(super) fn time_of_day(raw: &str, unit: Unit) -> Option<String> {
    let nanoseconds = nanoseconds(raw, unit)?;
    let (seconds, fraction) = (nanoseconds.unsigned_abs() / 1_000_000_000, nanoseconds.unsigned_abs() % 1_000_000_000);
    let mut text = String::with_capacity(20);
    if nanoseconds < 0 {
        text.push('-');
    }
    text.push_str(&format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if fraction > 0 {
        text.push('.');
        text.push_str(format!("{fraction:09}").trim_end_matches('0'));
    }
    if (0..DAY).contains(&nanoseconds) {
        text.push('Z');
    }
    Some(text)
}

/// The text of an instant, told in UTC. None where it is none.
pub(super) fn iso_instant(text: &str) -> Option<String> {
    let text = &*signed_year(text);
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.to_string());
    }
    // Without an offset it is UTC; with one it gets here from the calendar's last two days, which no instant reaches. A zone's
    // name would be passed over.
    let local = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !local.contains('[')
        && let Ok(civil) = local.parse::<DateTime>()
    {
        let end = if civil.year() < 0 { Timestamp::MIN } else { Timestamp::MAX };
        return Some(TimeZone::UTC.to_timestamp(civil).unwrap_or(end).to_string());
    }
    Some(match beyond(text)? {
        std::cmp::Ordering::Less => Timestamp::MIN.to_string(),
        _ => Timestamp::MAX.to_string(),
    })
}

/// The text of a day, an offset dropped. None where it is none.
pub(super) fn iso_day(text: &str) -> Option<String> {
    let text = &*signed_year(text);
    let plain = text.strip_suffix('Z').unwrap_or_else(|| match text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) {
        // `+01:00` behind the day.
        Some((day, offset)) if day.len() >= 10 && offset.starts_with(['+', '-']) && offset.as_bytes()[3] == b':' => day,
        _ => text,
    });
    if let Ok(day) = plain.parse::<Date>() {
        return Some(day.to_string());
    }
    Some(match beyond(text)? {
        std::cmp::Ordering::Less => Date::MIN.to_string(),
        _ => Date::MAX.to_string(),
    })
}

/// The text of a time of day, told in UTC: `HH:MM:SS[.f]Z`. None where it is none.
pub(super) fn iso_time(text: &str) -> Option<String> {
    let sign = text.rfind(['+', '-', 'Z']).unwrap_or(text.len());
    let (local, offset) = text.split_at_checked(sign)?;
    // A day with an offset reads as a time of day, too.
    let local: Time = Some(local).filter(|local| !local.contains('-'))?.parse().ok()?;
    let offset = match offset {
        "" | "Z" => Offset::UTC,
        offset => Offset::from_seconds(offset_seconds(offset)?).ok()?,
    };
    // The day does not matter; the hours go round.
    let utc = offset.to_timestamp(Date::constant(1970, 1, 2).to_datetime(local)).ok()?;
    Some(format!("{}Z", utc.to_zoned(TimeZone::UTC).time()))
}

/// A year before the year 0 as the calendar here reads it, with six digits. Java writes four, as long as they are enough.
fn signed_year(text: &str) -> Cow<'_, str> {
    let four = text.strip_prefix('-').filter(|rest| rest.as_bytes().get(4) == Some(&b'-'));
    match four {
        Some(rest) if rest.bytes().take(4).all(|b| b.is_ascii_digit()) => Cow::Owned(format!("-00{rest}")),
        _ => Cow::Borrowed(text),
    }
}

/// `+01`, `+01:00`, `+0100` or `+01:00:00` in seconds.
fn offset_seconds(offset: &str) -> Option<i32> {
    let (sign, digits) = offset.split_at_checked(1)?;
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<i32>().ok());
    let seconds = part(0)? * 3600 + part(2)? * 60 + part(4)?;
    Some(if sign == "-" { -seconds } else { seconds })
}

/// On which side of the calendar a text lies that means a time beyond it: an infinity, or a year of five digits and more.
fn beyond(text: &str) -> Option<std::cmp::Ordering> {
    match text {
        "infinity" => return Some(std::cmp::Ordering::Greater),
        "-infinity" => return Some(std::cmp::Ordering::Less),
        _ => {}
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let year = rest.split('-').next()?;
    if !(5..=10).contains(&year.len()) || !year.bytes().all(|b| b.is_ascii_digit()) || rest.len() < year.len() + 6 {
        return None;
    }
    // One that the calendar has was no date for another reason.
    if year.trim_start_matches('0').len() <= 4 {
        return None;
    }
    match sign {
        "+" => Some(std::cmp::Ordering::Greater),
        "-" => Some(std::cmp::Ordering::Less),
        _ => None,
    }
}

/// A number in a unit, as JSON, perhaps with a fraction, in nanoseconds; digits beyond those are dropped.
fn nanoseconds(raw: &str, unit: Unit) -> Option<i128> {
    let text = unquoted(raw);
    if let Ok(whole) = text.parse::<i64>() {
        return Some(i128::from(whole) * unit.nanoseconds());
    }
    let (whole, fraction) = text.split_once('.')?;
    let digits = fraction.get(..fraction.len().min(9))?;
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = i128::from(digits.parse::<i64>().ok()?) * unit.nanoseconds() / 10i128.pow(digits.len() as u32);
    let nanoseconds = i128::from(whole.parse::<i64>().ok()?) * unit.nanoseconds();
    Some(if whole.starts_with('-') { nanoseconds - part } else { nanoseconds + part })
}

/// Numbers are taken from texts as well: some producers write 64 bits so.
fn unquoted(raw: &str) -> &str {
    raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn instants_of_every_unit_have_the_form_of_the_store() {
        for (raw, unit, text) in [
            ("0", Unit::Millis, "1970-01-01T00:00:00Z"),
            ("1700000000123", Unit::Millis, "2023-11-14T22:13:20.123Z"),
            ("1700000000120000", Unit::Micros, "2023-11-14T22:13:20.12Z"),
            ("-1", Unit::Nanos, "1969-12-31T23:59:59.999999999Z"),
            ("1700000000", Unit::Seconds, "2023-11-14T22:13:20Z"),
            ("1700000000.5", Unit::Seconds, "2023-11-14T22:13:20.5Z"),
            ("-0.25", Unit::Seconds, "1969-12-31T23:59:59.75Z"),
            ("\"1700000000123\"", Unit::Millis, "2023-11-14T22:13:20.123Z"),
        ] {
            assert_eq!(instant(raw, unit).as_deref(), Some(text), "{raw}");
        }
        for raw in ["\"x\"", "1e9", "true", "1.", "1.x", "{}"] {
            assert_eq!(instant(raw, Unit::Millis), None, "{raw}");
        }
    }

    #[test]
    fn infinities_are_the_ends_of_the_calendar() {
        let (first, last) = (Timestamp::MIN.to_string(), Timestamp::MAX.to_string());
        for (unit, negative, positive) in [
            (Unit::Micros, "-9223372036832400000", "9223372036825200000"),
            (Unit::Millis, "-9223372036832400", "9223372036825200"),
            (Unit::Nanos, "-9223372036854775808", "9223372036854775807"),
        ] {
            assert_eq!(instant(negative, unit).unwrap(), first);
            assert_eq!(instant(positive, unit).unwrap(), last);
        }
        assert_eq!((iso_instant("-infinity").unwrap(), iso_instant("infinity").unwrap()), (first, last));
        assert_eq!(iso_instant("9999-12-31T23:59:59.999Z").unwrap(), Timestamp::MAX.to_string());
        assert_eq!(iso_instant("9999-12-31T23:59:59+02:00").unwrap(), Timestamp::MAX.to_string());
        assert_eq!(instant("253402300799000", Unit::Millis).unwrap(), Timestamp::MAX.to_string());
        assert_eq!(iso_instant("+294247-01-10T04:00:25.2Z").unwrap(), Timestamp::MAX.to_string());
        for (days, text) in
            [("-2147472692", "9999-12-31"), ("2146033979", "9999-12-31"), ("-2147472691", "-009999-01-01"), ("2146033980", "-009999-01-01")]
        {
            assert_eq!(day(days).unwrap(), text);
        }
        assert_eq!((day("9999999").unwrap(), day("-9999999").unwrap()), ("9999-12-31".into(), "-009999-01-01".into()));
        assert_eq!((iso_day("infinity").unwrap(), iso_day("-5877611-06-22Z").unwrap()), ("9999-12-31".into(), "-009999-01-01".into()));
    }

    #[test]
    fn times_of_day_and_what_no_day_has() {
        for (raw, unit, text) in [
            ("0", Unit::Millis, "00:00:00Z"),
            ("11045120", Unit::Millis, "03:04:05.12Z"),
            ("86399999999", Unit::Micros, "23:59:59.999999Z"),
            ("86400000000", Unit::Micros, "24:00:00"),
            ("-43200000000000", Unit::Nanos, "-12:00:00"),
            ("3020399000000", Unit::Micros, "838:59:59"),
        ] {
            assert_eq!(time_of_day(raw, unit).as_deref(), Some(text), "{raw}");
        }
    }

    #[test]
    fn years_before_the_year_0_have_four_digits_or_six() {
        for text in ["-0043-03-15T00:00:00Z", "-0043-03-15T01:00:00+01:00", "-0043-03-15T00:00:00", "-000043-03-15T00:00:00Z"] {
            assert_eq!(iso_instant(text).as_deref(), Some("-000043-03-15T00:00:00Z"), "{text}");
        }
        for text in ["-0043-03-15", "-0043-03-15Z", "-0043-03-15+01:00", "-0043-03-15T10:00:00Z", "-000043-03-15"] {
            assert_eq!(iso_day(text).as_deref(), Some("-000043-03-15"), "{text}");
        }
        assert_eq!((iso_day("0000-02-29").as_deref(), iso_day("-9999-01-01").as_deref()), (Some("0000-02-29"), Some("-009999-01-01")));
        assert_eq!(iso_instant("-9999-01-01T00:00:00Z").unwrap(), Timestamp::MIN.to_string());
        assert_eq!(iso_instant("-10000-01-01T00:00:00Z").unwrap(), Timestamp::MIN.to_string());
        for text in ["-0043-13-15T00:00:00Z", "-0043-", "-004-03-15", "-00\u{e9}3-03-15"] {
            assert_eq!((iso_instant(text), iso_day(text), iso_time(text)), (None, None, None), "{text}");
        }
    }

    #[test]
    fn texts_are_told_in_utc() {
        assert_eq!(iso_instant("2020-01-02T03:04:05.500+01:00").unwrap(), "2020-01-02T02:04:05.5Z");
        assert_eq!(iso_instant("2020-01-02T03:04:05.000000Z").unwrap(), "2020-01-02T03:04:05Z");
        assert_eq!(iso_instant("2020-01-02T03:04:05").unwrap(), "2020-01-02T03:04:05Z");
        assert_eq!(iso_instant("2020-01-02 03:04:05+00").unwrap(), "2020-01-02T03:04:05Z");
        assert_eq!(iso_time("10:15:30Z").unwrap(), "10:15:30Z");
        assert_eq!(iso_time("01:15:30.120+02:00").unwrap(), "23:15:30.12Z");
        assert_eq!(iso_time("23:15-0130").unwrap(), "00:45:00Z");
        assert_eq!(iso_day("2023-11-21Z").unwrap(), "2023-11-21");
        assert_eq!(iso_day("2023-11-21+01:00").unwrap(), "2023-11-21");
        assert_eq!(iso_day("2023-11-21T23:00:00").unwrap(), "2023-11-21");
        assert_eq!(iso_instant("2020-01-02T03:04:05[Europe/Berlin]"), None);
        for text in ["", "tomorrow", "é", "Z", "+", "+12345", "-99999-", "2020-13-01", "aaaaaaaaaaéé:éé"] {
            assert_eq!((iso_instant(text), iso_day(text), iso_time(text)), (None, None, None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn days_agree_with_the_calendar(days in -4_371_587i64..=2_932_896) {
            let text = day(&days.to_string()).unwrap();
            let since = text.parse::<Date>().unwrap().since((jiff::Unit::Day, Date::constant(1970, 1, 1))).unwrap();
            prop_assert_eq!(i64::from(since.get_days()), days);
        }

        #[test]
        fn instants_agree_with_the_calendar(number in any::<i64>(), unit in prop_oneof![Just(Unit::Millis), Just(Unit::Micros), Just(Unit::Nanos)]) {
            let nanoseconds = i128::from(number) * unit.nanoseconds();
            let read: Timestamp = instant(&number.to_string(), unit).unwrap().parse().unwrap();
            let bounded = nanoseconds.clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
            prop_assert_eq!(read.as_nanosecond(), bounded);
        }

        #[test]
        fn times_agree_with_the_clock(nanoseconds in 0..86_400_000_000_000i64) {
            let text = time_of_day(&nanoseconds.to_string(), Unit::Nanos).unwrap();
            let time: Time = text.strip_suffix('Z').unwrap().parse().unwrap();
            prop_assert_eq!(time.duration_since(Time::midnight()).as_nanos(), i128::from(nanoseconds));
            prop_assert_eq!(iso_time(&text), Some(text));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}|[-+:.TZ0-9]{0,30}") {
            let _ = (iso_instant(&text), iso_day(&text), iso_time(&text));
            let _ = (day(&text), instant(&text, Unit::Seconds), time_of_day(&text, Unit::Nanos));
        }
    }
}
