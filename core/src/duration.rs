//! Durations as people write them: `250ms`, `15s`, `2m`, `1h`.

use serde::{Deserializer, Serializer};

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write a whole number and a unit, as in `250ms`, `15s`, `2m`, `1h` or `7d`")]
pub struct InvalidDuration(String);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Milliseconds of a duration such as `250ms` or `15s`.
///
/// # Errors
/// When the text is not a whole number followed by `ms`, `s`, `m`, `h` or `d`, or exceeds `u64` milliseconds.
pub fn parse_milliseconds(text: &str) -> Result<u64, InvalidDuration> {
    let invalid = || InvalidDuration(text.chars().take(40).collect());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(invalid)?;
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    scale.and_then(|scale| number.checked_mul(scale)).ok_or_else(invalid)
}

/// A duration in the largest unit that holds it exactly.
#[must_use]
pub fn format_milliseconds(milliseconds: u64) -> String {
    for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds > 0 && milliseconds.is_multiple_of(scale) {
            return format!("{}{unit}", milliseconds / scale);
        }
    }
    format!("{milliseconds}ms")
}

/// Serde: a field of milliseconds, written as a duration. For `#[serde(with = "…")]`.
pub mod text {
    use super::{Deserializer, Serializer, format_milliseconds, parse_milliseconds};

    /// Milliseconds from a duration text.
    ///
    /// # Errors
    /// When the text is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_str(Text)
    }

    /// Refuses while the reader is at the text, so that the error names its place.
    struct Text;

    impl serde::de::Visitor<'_> for Text {
        type Value = u64;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
            parse_milliseconds(text).map_err(E::custom)
        }
    }

    /// The duration text of milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(milliseconds: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_milliseconds(*milliseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_people_write_them() {
        for (text, milliseconds) in
            [("250ms", 250), ("15s", 15_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000), ("0ms", 0)]
        {
            assert_eq!(parse_milliseconds(text), Ok(milliseconds));
            assert_eq!(format_milliseconds(milliseconds), text);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "s", "15", "1.5s", "-1s", "15 s", "9us", "99999999999999999999s", "99999999999999999d", "1é"]
        {
            assert!(parse_milliseconds(text).is_err(), "{text}");
        }
    }
}
