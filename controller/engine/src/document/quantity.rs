//! Shares as people write them: `2%`, `0.02`. Exact decimal arithmetic, so that `0.01%` is a hundredth of a percent.

/// The whole, in the unit of this module.
pub const WHOLE: u64 = 1_000_000_000;
/// One percent.
pub const PERCENT: u64 = WHOLE / 100;
/// One basis point: 0.01%.
pub const BASIS_POINT: u64 = WHOLE / 10_000;
/// One part per million: 0.0001%.
pub const PART_PER_MILLION: u64 = WHOLE / 1_000_000;

const HINT: &str = "write a percentage such as `2%`, or a fraction below 1 such as `0.02`";

/// Billionths of a percentage (`2%`) or of a fraction below 1 (`0.02`).
///
/// A number of 1 or more without a percent sign is refused: `1` could mean 1% or everything.
///
/// # Errors
/// What is wrong and what to write, as the rest of a sentence that begins with the text.
pub fn billionths(text: &str) -> Result<u64, String> {
    let not_a_share = || format!("is not a share: {HINT}");
    let (number, percent) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (text, false),
    };
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| not_a_share())?),
        None => (number, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = whole.chars().chain(part.chars()).collect();
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_a_share());
    }
    let scale =
        i64::from(exponent) + if percent { 7 } else { 9 } - i64::try_from(part.len()).map_err(|_| not_a_share())?;
    let digits: u64 = digits.parse().map_err(|_| "has too many digits".to_owned())?;
    let value = shift(digits, scale)?;
    if !percent && value >= WHOLE {
        return Err(format!("is neither a percentage nor below 1: {HINT}"));
    }
    Ok(value)
}

/// `digits · 10^scale`, exactly.
fn shift(digits: u64, scale: i64) -> Result<u64, String> {
    if digits == 0 {
        return Ok(0);
    }
    let ten = |power: i64| u32::try_from(power).ok().and_then(|power| 10_u64.checked_pow(power));
    if scale >= 0 {
        ten(scale).and_then(|ten| digits.checked_mul(ten)).ok_or_else(|| "is too large".to_owned())
    } else {
        match ten(-scale) {
            Some(ten) if digits.is_multiple_of(ten) => Ok(digits / ten),
            _ => Err("is finer than one part in a billion: round it".to_owned()),
        }
    }
}

/// A share as a percentage, with as many digits as it needs.
pub fn percentage(billionths: u64) -> String {
    let (whole, part) = (billionths / PERCENT, billionths % PERCENT);
    if part == 0 {
        return format!("{whole}%");
    }
    let digits = format!("{part:07}");
    format!("{whole}.{}%", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_exactly() {
        for (text, expected) in [
            ("100%", WHOLE),
            ("2%", 20_000_000),
            ("0.02", 20_000_000),
            ("0.01%", BASIS_POINT),
            ("0.0001%", PART_PER_MILLION),
            ("33.33%", 333_300_000),
            ("5 %", 50_000_000),
            ("5e-3", 5_000_000),
            ("1e1%", 100_000_000),
            ("0", 0),
            ("0.0000000000000000%", 0),
            ("150%", 1_500_000_000),
        ] {
            assert_eq!(billionths(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_share_is_refused() {
        for text in [
            "",
            "%",
            "-1%",
            "+1%",
            "1",
            "1.0",
            "5",
            ".5",
            "a",
            "1,5%",
            "1e",
            "1e-99",
            "1e99%",
            "99999999999999999999%",
            "0.0000000001",
            "½",
        ] {
            assert!(billionths(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_percentage_shows_the_digits_it_needs() {
        assert_eq!(percentage(WHOLE), "100%");
        assert_eq!(percentage(BASIS_POINT), "0.01%");
        assert_eq!(percentage(333_300_000), "33.33%");
        assert_eq!(percentage(1), "0.0000001%");
    }
}
