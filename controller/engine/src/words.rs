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

/// An e-value beside the one that is needed, both given by their natural logs: with as many decimals as tell them apart, so that no
/// rounding says that it is reached.
#[must_use]
pub fn e_value_of(log_e: f64, needed: f64) -> (String, String) {
    let shown = (e_value(log_e), e_value(needed));
    if shown.0 != shown.1 || log_e >= needed {
        return shown;
    }
    (2..=6)
        .map(|decimals| (format!("{:.decimals$}", log_e.exp()), format!("{:.decimals$}", needed.exp())))
        .find(|(found, needed)| found != needed)
        .map_or(shown, |(found, needed)| (trimmed(found), trimmed(needed)))
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
        let beside = |e: f64, needed: f64| e_value_of(e.ln(), needed.ln());
        assert_eq!(beside(1.0603, 1.0649), ("1.06".to_owned(), "1.065".to_owned()), "as far as they differ");
        assert_eq!(beside(3.0, 20.0), ("3".to_owned(), "20".to_owned()));
    }
}
