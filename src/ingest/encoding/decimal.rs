//! Decimals as sources write them -> the exact text of a JSON number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Scales that a database can have; more would make long texts of short values.
pub(super) const SCALES: RangeInclusive<i32> = -1_000..=16_383;

/// Most bytes of an integer, about 9 800 digits; the time to write it out grows with the square.
const LONGEST: usize = 4_096;

/// An integer in two's complement, big-endian, as base64, that counts units of 10^-scale.
pub(super) fn from_base64(text: &str, scale: i32) -> Result<String, String> {
    if !SCALES.contains(&scale) {
        return Err(format!("its scale {scale} is not between {} and {}", SCALES.start(), SCALES.end()));
    }
    let bytes = STANDARD.decode(text).map_err(|error| format!("it is no base64 ({error})"))?;
    match bytes.len() {
        0 => Err("it is empty".to_owned()),
        length if length > LONGEST => Err(format!("it has more than {LONGEST} bytes")),
        _ => {
            let (negative, digits) = integer(&bytes);
            Ok(number(negative, &digits, scale))
        }
    }
}

/// A decimal in plain or scientific notation to a JSON number with the same digits. None where it is none.
pub(super) fn from_text(text: &str) -> Option<String> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut number = String::with_capacity(text.len() + 2);
    if negative {
        number.push('-');
    }
    // JSON has no leading zeros, and no number begins or ends with the point.
    let whole = whole.trim_start_matches('0');
    number.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        number.push('.');
        number.push_str(fraction);
    }
    if rest.len() > mantissa.len() {
        let (sign, power) = exponent.split_at_checked(exponent.len() - exponent.trim_start_matches(['+', '-']).len())?;
        if sign.len() > 1 || power.is_empty() || power.len() > 5 || !digits(power) {
            return None;
        }
        number.push('e');
        number.push_str(sign.trim_start_matches('+'));
        number.push_str(power);
    }
    Some(number)
}

/// What is no number, as Connect writes it of floats: JSON has no number for it. Debezium writes the Java names of decimals that
/// are none.
pub(super) fn special(text: &str) -> Option<&'static str> {
    match text {
        "NaN" | "NAN" => Some("NaN"),
        "Infinity" | "POSITIVE_INFINITY" => Some("Infinity"),
        "-Infinity" | "NEGATIVE_INFINITY" => Some("-Infinity"),
        _ => None,
    }
}

/// Scale and value of a decimal that carries its own scale.
pub(super) fn parts(raw: &str) -> Option<(i32, Cow<'_, str>)> {
    #[derive(serde::Deserialize)]
    struct Parts<'p> {
        scale: i32,
        #[serde(borrow)]
        value: Cow<'p, str>,
    }
    // A struct would be read from an array as well.
    let object = Some(raw).filter(|raw| raw.starts_with('{'))?;
    serde_json::from_str(object).ok().map(|Parts { scale, value }| (scale, value))
}

/// Sign and digits, without leading zeros, of an integer in two's complement.
fn integer(bytes: &[u8]) -> (bool, String) {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    if bytes.len() <= 16 {
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        return (negative, i128::from_be_bytes(wide).unsigned_abs().to_string());
    }
    // The magnitude in limbs of 32 bits, the lowest first.
    let mut limbs: Vec<u32> = bytes
        .rchunks(4)
        .map(|chunk| {
            let mut limb = [if negative { 0xff } else { 0 }; 4];
            limb[4 - chunk.len()..].copy_from_slice(chunk);
            u32::from_be_bytes(limb)
        })
        .collect();
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            let (sum, over) = (!*limb).overflowing_add(u32::from(carry));
            (*limb, carry) = (sum, over);
        }
        if carry {
            limbs.push(1);
        }
    }
    // Nine digits at a time, the lowest first.
    let mut groups = Vec::new();
    while limbs.iter().any(|limb| *limb != 0) {
        let mut remainder = 0u64;
        for limb in limbs.iter_mut().rev() {
            let value = remainder << 32 | u64::from(*limb);
            *limb = (value / 1_000_000_000) as u32;
            remainder = value % 1_000_000_000;
        }
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        groups.push(remainder);
    }
    let mut digits = groups.pop().unwrap_or_default().to_string();
    for group in groups.into_iter().rev() {
        digits.push_str(&format!("{group:09}"));
    }
    (negative, digits)
}

/// The number `digits` * 10^-scale.
fn number(negative: bool, digits: &str, scale: i32) -> String {
    let mut number = String::with_capacity(digits.len() + 4);
    if negative {
        number.push('-');
    }
    let places = scale.unsigned_abs() as usize;
    if scale < 0 && digits != "0" {
        number.push_str(digits);
        number.extend(std::iter::repeat_n('0', places));
    } else if scale <= 0 {
        number.push_str(digits);
    } else if let Some(point) = digits.len().checked_sub(places).filter(|point| *point > 0) {
        number.push_str(&digits[..point]);
        number.push('.');
        number.push_str(&digits[point..]);
    } else {
        number.push_str("0.");
        number.extend(std::iter::repeat_n('0', places - digits.len()));
        number.push_str(digits);
    }
    number
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_of_an_integer_becomes_an_exact_number() {
        for (bytes, scale, number) in [
            (&[0u8][..], 0, "0"),
            (&[0], 2, "0.00"),
            (&[0], -2, "0"),
            (&[0x30, 0x39], 2, "123.45"),
            (&[0xcf, 0xc7], 2, "-123.45"),
            (&[0xff], 4, "-0.0001"),
            (&[7], -3, "7000"),
            (&[0x80], 0, "-128"),
            (&[0x00, 0x80], 0, "128"),
            (&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 18, "9.223372036854775807"),
        ] {
            assert_eq!(from_base64(&STANDARD.encode(bytes), scale).unwrap(), number);
        }
        let million = from_base64(&STANDARD.encode([&[1u8][..], &[0; 17]].concat()), 0).unwrap();
        // 2^136
        assert_eq!(million, "87112285931760246646623899502532662132736");
        assert!(from_base64("", 0).is_err() && from_base64("x", 0).is_err());
        assert!(from_base64("AA==", 20_000).is_err() && from_base64(&STANDARD.encode([1; 5000]), 0).is_err());
    }

    #[test]
    fn texts_become_numbers_of_json() {
        for (text, number) in [
            ("1.50", Some("1.50")),
            ("-0012", Some("-12")),
            ("+.5", Some("0.5")),
            ("7.", Some("7")),
            ("1E+3", Some("1e3")),
            ("1.5e-7", Some("1.5e-7")),
            ("123456789012345678901234567890.5", Some("123456789012345678901234567890.5")),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("1e+-3", None),
            ("0x1", None),
            ("NaN", None),
            ("1,5", None),
        ] {
            assert_eq!(from_text(text).as_deref(), number, "{text}");
        }
    }

    /// Two's complement of decimal digits, by schoolbook multiplication by ten of the bytes.
    fn encode(negative: bool, digits: &str) -> Vec<u8> {
        let mut bytes = vec![0u8];
        for digit in digits.bytes() {
            let mut carry = u16::from(digit - b'0');
            for byte in bytes.iter_mut().rev() {
                let value = u16::from(*byte) * 10 + carry;
                *byte = value as u8;
                carry = value >> 8;
            }
            if carry > 0 {
                bytes.insert(0, carry as u8);
            }
        }
        if bytes[0] & 0x80 != 0 {
            bytes.insert(0, 0);
        }
        if negative {
            for byte in &mut bytes {
                *byte = !*byte;
            }
            for byte in bytes.iter_mut().rev() {
                let (sum, over) = byte.overflowing_add(1);
                *byte = sum;
                if !over {
                    break;
                }
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn every_integer_survives(negative in any::<bool>(), digits in "[1-9][0-9]{0,120}", scale in 0i32..60) {
            let read = from_base64(&STANDARD.encode(encode(negative, &digits)), scale).unwrap();
            // The digits again, without the point and the zeros before them.
            let (sign, rest) = read.strip_prefix('-').map_or((false, &*read), |rest| (true, rest));
            prop_assert_eq!(sign, negative);
            let places = rest.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            prop_assert_eq!(places, scale as usize);
            let plain = rest.replace('.', "");
            prop_assert_eq!(plain.trim_start_matches('0'), digits);
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&read).is_ok());
        }

        #[test]
        fn whatever_is_read_from_text_is_a_number_of_the_same_value(text in "[-+]?[0-9]{0,8}[.]?[0-9]{0,8}([eE][-+]?[0-9]{1,2})?") {
            let expected = text.parse::<f64>().ok();
            let read = from_text(&text).map(|number| serde_json::from_str::<f64>(&number).unwrap());
            prop_assert_eq!(read, expected);
        }
    }
}
