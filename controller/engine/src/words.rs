//! Numbers as people read them.

/// An e-value given by its natural log: its exact size does not matter once it is huge.
#[must_use]
pub fn e_value(log_e: f64) -> String {
    let e = log_e.exp();
    if e > 10_000.0 {
        "over 10,000".to_owned()
    } else if e >= 100.0 {
        format!("{e:.0}")
    } else if e >= 0.01 {
        trimmed(format!("{e:.2}"))
    } else {
        "under 0.01".to_owned()
    }
}

/// A share as a percentage, at most four significant decimals.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{}%", points(share))
}

/// A share in percentage points.
#[must_use]
pub fn points(share: f64) -> String {
    trimmed(format!("{:.4}", share * 100.0))
}

/// A number without needless decimals.
#[must_use]
pub fn number(value: f64) -> String {
    trimmed(format!("{value:.4}"))
}

/// Microseconds as ms or s.
#[must_use]
pub fn duration_us(microseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
    let ms = microseconds as f64 / 1_000.0;
    if ms >= 1_000.0 { format!("{} s", trimmed(format!("{:.3}", ms / 1_000.0))) } else { format!("{} ms", number(ms)) }
}

/// A weight in basis points as a percentage.
#[must_use]
pub fn weight(basis_points: u32) -> String {
    percent(f64::from(basis_points) / 10_000.0)
}

/// Milliseconds as documents write a duration: in the largest unit that makes it a whole number.
#[must_use]
pub fn duration(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = units.into_iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

/// A count with separators.
#[must_use]
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn trimmed(mut text: String) -> String {
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(percent(0.02), "2%");
        assert_eq!(percent(0.003), "0.3%");
        assert_eq!(number(1.5), "1.5");
        assert_eq!(number(100.0), "100");
        assert_eq!(duration_us(400_000), "400 ms");
        assert_eq!(duration_us(1_500_000), "1.5 s");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(weight(5_025), "50.25%");
        assert_eq!([duration(604_800_000), duration(90_000), duration(1_500)], ["7d", "90s", "1500ms"]);
        assert_eq!(count(12), "12");
        assert_eq!(e_value(20_f64.ln()), "20");
        assert_eq!(e_value(1e9), "over 10,000");
        assert_eq!(e_value(-9.0), "under 0.01");
    }
}
