//! Roots of monotone functions on a bracket. Knows no statistics.

/// Evaluations at most: more than 60 halvings find nothing new in a double.
const STEPS: u32 = 60;

/// The root of a falling function: the highest t in \[low, high\] up to which `f` is not negative. `None` if it is negative at
/// `low` already; `high` if it never becomes negative.
pub(crate) fn highest_below(low: f64, high: f64, f: impl Fn(f64) -> f64) -> Option<f64> {
    root(low, high, f)
}

/// The root of a rising function: the lowest t in \[low, high\] from which on `f` is not negative. `None` if it is negative at
/// `high` still.
pub(crate) fn lowest_above(low: f64, high: f64, f: impl Fn(f64) -> f64) -> Option<f64> {
    root(-high, -low, |t| f(-t)).map(|t| -t)
}

/// A bracket's other end: from `start` towards `end` in growing steps, until `f` is not negative; `end` if it never is.
pub(crate) fn reached(start: f64, end: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut at, mut step) = (start, if end > start { 0.25 } else { -0.25 });
    while (end - at) * step > 0.0 && f(at) < 0.0 {
        at = if (end - at).abs() <= step.abs() { end } else { at + step };
        step *= 2.0;
    }
    at
}

/// Regula falsi in its Illinois variant, which never leaves the bracket, with a halving whenever it makes little headway.
fn root(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> Option<f64> {
    let (mut at_low, mut at_high) = (f(low), f(high));
    if at_low.is_nan() || at_low < 0.0 {
        return None;
    }
    if at_high >= 0.0 {
        return Some(high);
    }
    let (mut halve, mut raised) = (false, None);
    for _ in 0..STEPS {
        let width = high - low;
        if width <= 1e-10 * (1.0 + low.abs()) {
            break;
        }
        let secant = (low * at_high - high * at_low) / (at_high - at_low);
        let middle = if !halve && secant > low && secant < high { secant } else { 0.5 * (low + high) };
        let at_middle = f(middle);
        // An end that stays for a second time counts half, or it would stay for ever.
        let rises = at_middle >= 0.0;
        let again = raised == Some(rises);
        if rises {
            (low, at_low) = (middle, at_middle);
            at_high *= if again { 0.5 } else { 1.0 };
        } else {
            (high, at_high) = (middle, at_middle);
            at_low *= if again { 0.5 } else { 1.0 };
        }
        raised = Some(rises);
        if at_middle.abs() < 1e-10 {
            return Some(middle);
        }
        halve = high - low > 0.7 * width;
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_falling_and_rising_functions_are_found() {
        let root = highest_below(-10.0, 10.0, |t| 3.0 - t).unwrap();
        assert!((root - 3.0).abs() < 1e-9);
        let root = lowest_above(-10.0, 10.0, |t| t * t * t - 8.0).unwrap();
        assert!((root - 2.0).abs() < 1e-9);
    }

    #[test]
    fn few_steps_find_a_root_far_from_the_middle_of_its_bracket() {
        let asked = std::cell::Cell::new(0);
        let root = highest_below(3.0, 36.0, |t| {
            asked.set(asked.get() + 1);
            500.0 * libm::log1p(0.6 * libm::exp(-t)) - 7.0
        });
        let exact = libm::log(0.6 / libm::expm1(7.0 / 500.0));
        assert!((root.unwrap() - exact).abs() < 1e-11, "{root:?} {exact}");
        assert!(asked.get() < 25, "{} steps", asked.get());
    }

    #[test]
    fn brackets_without_a_root_say_so() {
        assert_eq!(highest_below(0.0, 1.0, |_| -1.0), None);
        assert_eq!(highest_below(0.0, 1.0, |_| 1.0), Some(1.0));
        assert_eq!(lowest_above(0.0, 1.0, |_| -1.0), None);
        assert_eq!(highest_below(0.0, 1.0, |_| f64::NAN), None);
    }
}
