//! Decimal numbers of any length, as other programs write them: scaled to whole numbers exactly, then rounded once. Knows durations;
//! no field.

/// Digits that matter: beyond them nothing changes after rounding.
const SIGNIFICANT: usize = 30;

/// Units of durations, each as `factor · 10^power` nanoseconds; the longest names first.
const UNITS: [(&str, u32, i32); 7] =
    [("us", 1, 3), ("µs", 1, 3), ("μs", 1, 3), ("ms", 1, 6), ("s", 1, 9), ("m", 6, 10), ("h", 36, 11)];

/// `text · 10^power` as a whole number, halves up. `None` if the text is no plain decimal (digits, perhaps with a point and an
/// exponent) or the result does not fit.
pub(super) fn scaled(text: &str, power: i32) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(part) || mantissa.ends_with('.') {
        return None;
    }
    let mut value = 0_u128;
    let mut scale = i32::from(exponent) + power;
    let (mut kept, mut after_point) = (0, false);
    for byte in whole.bytes().chain([b'.']).chain(part.bytes()) {
        if byte == b'.' {
            after_point = true;
        } else if kept < SIGNIFICANT {
            value = value * 10 + u128::from(byte - b'0');
            kept += usize::from(value > 0);
            scale -= i32::from(after_point);
        } else {
            scale += i32::from(!after_point);
        }
    }
    let ten = |power: i32| u32::try_from(power).ok().and_then(|power| 10_u128.checked_pow(power));
    if value == 0 {
        return Some(0);
    }
    let result = if scale >= 0 {
        value.checked_mul(ten(scale)?)?
    } else {
        // A divisor that does not fit leaves nothing.
        ten(scale.saturating_neg()).map_or(0, |divisor| (value + divisor / 2) / divisor)
    };
    u64::try_from(result).ok()
}

/// Nanoseconds of a duration: a decimal number with a unit, as `12.5ms`, `850us` or `1.2s`; `0` needs none.
///
/// # Errors
/// What is wrong and what to write, as the rest of a sentence that begins with the text.
pub(super) fn nanoseconds(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let found = UNITS.iter().find_map(|(unit, factor, power)| Some((text.strip_suffix(unit)?, *factor, *power)));
    let Some((number, factor, power)) = found else {
        return Err(if scaled(text, 0).is_some() {
            format!("has no unit: write `{0}s`, `{0}ms` or `{0}us`", text.chars().take(20).collect::<String>())
        } else {
            NOT_A_DURATION.to_owned()
        });
    };
    let value = scaled(number, power).ok_or(NOT_A_DURATION)?;
    value.checked_mul(u64::from(factor)).ok_or_else(|| "is too long".to_owned())
}

/// Seconds of a duration that may be longer than any request: a sum of many. Not negative, finite.
///
/// # Errors
/// As [`nanoseconds`].
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64, f64); 7] = [
        ("us", 1.0, 1e6),
        ("µs", 1.0, 1e6),
        ("μs", 1.0, 1e6),
        ("ms", 1.0, 1e3),
        ("s", 1.0, 1.0),
        ("m", 60.0, 1.0),
        ("h", 3_600.0, 1.0),
    ];
    let found = UNITS.iter().find_map(|(unit, times, by)| Some((number(text.strip_suffix(unit)?)?, *times, *by)));
    match found {
        Some((number, times, by)) if number >= 0.0 && (number * times).is_finite() => Ok(number * times / by),
        // It says what is wrong with it.
        _ => nanoseconds(text).and(Err(NOT_A_DURATION.to_owned())),
    }
}

const NOT_A_DURATION: &str = "is not a duration: write a number and a unit, as `12.5ms`, `850us` or `1.2s`";

/// A number as people and programs write it, with a sign perhaps; finite.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    text.parse::<f64>().ok().filter(|number| digit && text.bytes().all(plain) && number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_scaled_exactly_and_rounded_once() {
        for (text, power, expected) in [
            ("12.5", 6, 12_500_000),
            ("0.0125", 9, 12_500_000),
            ("1.25e-2", 9, 12_500_000),
            ("125E-4", 9, 12_500_000),
            ("0.1234567890123456789", 9, 123_456_789),
            ("0.9999999995", 9, 1_000_000_000),
            ("1e-300", 9, 0),
            ("0", 9, 0),
            ("0.00", 0, 0),
            ("2.5", 0, 3),
            ("00012", 0, 12),
            ("0.000000000000000000000000000000000000123", 39, 123),
        ] {
            assert_eq!(scaled(text, power), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal_or_does_not_fit_is_none() {
        for text in ["", ".", ".5", "5.", "-1", "+1", "1,5", "0x1", "1e", "e5", "1e99999", "inf", "NaN", "1 "] {
            assert_eq!(scaled(text, 9), None, "{text}");
        }
        assert_eq!(scaled("99999999999999999999", 9), None);
        assert_eq!(scaled(&"9".repeat(200), 0), None);
    }

    #[test]
    fn the_same_duration_in_any_unit_is_the_same_number() {
        for text in ["90000000us", "90000000µs", "90000ms", "90s", "1.5m", "0.025h", "9e1s"] {
            assert_eq!(nanoseconds(text), Ok(90_000_000_000), "{text}");
        }
        assert_eq!(nanoseconds("12.345678ms"), nanoseconds("0.012345678s"));
        assert_eq!(nanoseconds("0"), Ok(0));
    }

    #[test]
    fn a_duration_needs_a_unit() {
        assert_eq!(nanoseconds("0.25"), Err("has no unit: write `0.25s`, `0.25ms` or `0.25us`".to_owned()));
        for text in ["", "s", "ms", "-1s", "12 ms", "1d", "fast"] {
            assert_eq!(nanoseconds(text), Err(NOT_A_DURATION.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_sum_of_durations_may_be_longer_than_any_of_them() {
        for text in ["1e12s", "1e15ms", "1e18us"] {
            assert_eq!(seconds(text), Ok(1e12), "{text}");
        }
        assert_eq!(seconds("1.5m"), Ok(90.0));
        assert_eq!(seconds("812.5s"), seconds("812500ms"));
        assert!(seconds("812.5").unwrap_err().starts_with("has no unit"));
        for text in ["-1s", "s", "fast", "infs"] {
            assert_eq!(seconds(text), Err(NOT_A_DURATION.to_owned()), "{text}");
        }
    }

    #[test]
    fn numbers_have_a_sign_perhaps_and_are_finite() {
        assert_eq!(number("-1.5e2"), Some(-150.0));
        assert_eq!(number("12"), Some(12.0));
        for text in ["", "inf", "NaN", "1e999", "0x10", "e", "+", "1_000", "infinity"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
