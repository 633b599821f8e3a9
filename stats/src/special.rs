//! Elementary functions where the textbook formula cancels, and sums kept as logarithms.
//! Nothing here knows about distributions.

use libm::{erfc, exp, expm1, lgamma, log, log1p, sqrt};

/// ½·ln(2π).
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// ln(eᵃ + eᵇ) without overflow. −∞ stands for an empty sum.
pub(crate) fn log_add_exp(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY || high == f64::INFINITY { high } else { high + log1p(exp(low - high)) }
}

/// ln Σ exp(xᵢ) without overflow; −∞ for an empty sum.
pub(crate) fn log_sum_exp(terms: &[f64]) -> f64 {
    let high = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !high.is_finite() {
        return high;
    }
    high + log(terms.iter().map(|term| exp(term - high)).sum())
}

/// log1p(p·expm1(u)) − p·u: the cumulant generating function of a centred Bernoulli(p) variable at `u`, never negative.
///
/// For `p` in (0, ½]; relative error below 1e-14 for every finite `u`, also where both terms nearly cancel.
pub(crate) fn centred_cumulant(p: f64, u: f64) -> f64 {
    if u.abs() < 0.5 {
        // Both differences are of second order in `u`, and their sum is at least half of the larger one.
        let beyond = expm1_minus(u);
        log1p_minus(p * (u + beyond)) + p * beyond
    } else if u > 30.0 {
        // expm1(u) may overflow: take `u` out of the logarithm.
        (1.0 - p) * u + log(p + (1.0 - p) * exp(-u))
    } else {
        log1p(p * expm1(u)) - p * u
    }
}

/// Σ coefficients·xᵏ, even and odd powers apart: two short chains of additions instead of a long one.
fn polynomial<const N: usize>(coefficients: &[f64; N], x: f64) -> f64 {
    let square = x * x;
    let (pairs, last) = coefficients.as_chunks::<2>();
    let highest = last.first().copied().unwrap_or(0.0);
    let (even, odd) =
        pairs.iter().rev().fold((highest, 0.0), |(even, odd), [a, b]| (a + square * even, b + square * odd));
    even + x * odd
}

/// 1/(2k + 3).
const ODD_RECIPROCALS: [f64; 11] = [
    1.0 / 3.0,
    1.0 / 5.0,
    1.0 / 7.0,
    1.0 / 9.0,
    1.0 / 11.0,
    1.0 / 13.0,
    1.0 / 15.0,
    1.0 / 17.0,
    1.0 / 19.0,
    1.0 / 21.0,
    1.0 / 23.0,
];

/// 1/(k + 2)!.
const FACTORIALS: [f64; 15] = [
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
    1.0 / 87_178_291_200.0,
    1.0 / 1_307_674_368_000.0,
    1.0 / 20_922_789_888_000.0,
];

/// log1p(x) − x for |x| ≤ 0.35: with y = x/(2+x), ln(1+x) = 2·atanh(y) and 2y − x = −x·y. The first term left out is 2e-18 of the sum.
fn log1p_minus(x: f64) -> f64 {
    let y = x / (2.0 + x);
    let square = y * y;
    2.0 * y * square * polynomial(&ODD_RECIPROCALS, square) - x * y
}

/// expm1(u) − u for |u| ≤ ½, by its power series. The first term left out is 5e-20 of the sum.
fn expm1_minus(u: f64) -> f64 {
    u * u * polynomial(&FACTORIALS, u)
}

/// What Stirling's formula misses: lnΓ(z) − [(z − ½)·ln z − z + ½·ln 2π], for z > 0.
///
/// Absolute error below 1e-15 for z ≥ 10 (asymptotic series, first omitted term 3e-17) and below 1e-14 under that.
/// The series: NIST Digital Library of Mathematical Functions, 5.11.1.
pub(crate) fn stirling_error(z: f64) -> f64 {
    if z < 10.0 {
        return lgamma(z) - ((z - 0.5) * log(z) - z + HALF_LN_TWO_PI);
    }
    let r = 1.0 / (z * z);
    let series = 1.0 / 1188.0 - r * (691.0 / 360_360.0 - r / 156.0);
    let series = 1.0 / 1260.0 - r * (1.0 / 1680.0 - r * series);
    (1.0 / 12.0 - r * (1.0 / 360.0 - r * series)) / z
}

/// ln Φ(x), the standard normal distribution. Relative error below 1e-12 for x ≥ −30; below that the asymptotic series.
pub(crate) fn log_normal_cdf(x: f64) -> f64 {
    if x > -30.0 {
        return log(0.5 * erfc(-x * core::f64::consts::FRAC_1_SQRT_2));
    }
    log_mills(x) - 0.5 * x * x
}

/// ½x² + ln Φ(x), which for a very negative x is the small difference of two large numbers. −∞ at −∞.
pub(crate) fn log_scaled_normal_cdf(x: f64) -> f64 {
    if x > -30.0 { 0.5 * x * x + log_normal_cdf(x) } else { log_mills(x) }
}

/// ½x² + ln Φ(x) for x ≤ −30, by Mills' ratio: Φ(x) ≈ φ(x)/|x|·(1 − 1/x² + 3/x⁴ − 15/x⁶ + 105/x⁸). Error below 2e-12.
fn log_mills(x: f64) -> f64 {
    let r = 1.0 / (x * x);
    log1p(-r * (1.0 - r * (3.0 - r * (15.0 - r * 105.0)))) - HALF_LN_TWO_PI - log(-x)
}

/// The z with Φ(z) = p, for ln p ≤ ln ½, within ±40 and to 1e-9: first guesses depend on it, results never.
pub(crate) fn normal_quantile(log_p: f64) -> f64 {
    if log_p.is_nan() || log_p >= -core::f64::consts::LN_2 {
        return 0.0;
    }
    if log_normal_cdf(-40.0) >= log_p {
        return -40.0;
    }
    // Newton's method on ln Φ, which is concave: from where −½z² alone would reach it, at or below the root, it climbs to it.
    let mut z = (-sqrt(-2.0 * log_p)).max(-40.0);
    for _ in 0..30 {
        let log_cdf = log_normal_cdf(z);
        let step = (log_p - log_cdf) * exp(log_cdf + 0.5 * z * z + HALF_LN_TWO_PI);
        z += step;
        if step.abs() < 1e-10 {
            break;
        }
    }
    z.clamp(-40.0, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_and_the_direct_formula_agree_where_they_meet() {
        for p in [1e-9, 0.01, 0.3, 0.5] {
            for u in [-0.499_999, 0.499_999] {
                let direct = log1p(p * expm1(u)) - p * u;
                let ratio = centred_cumulant(p, u) / direct;
                // The direct formula itself loses digits for small p: its terms are p·u.
                assert!((ratio - 1.0).abs() < 1e-14, "p={p} u={u} ratio={ratio}");
            }
            let (below, above) = (centred_cumulant(p, 29.999_999_999), centred_cumulant(p, 30.000_000_001));
            assert!((above / below - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn near_zero_the_cumulant_is_half_the_variance() {
        let (p, u) = (0.02, 1e-9);
        let ratio = centred_cumulant(p, u) / (0.5 * p * (1.0 - p) * u * u);
        assert!((ratio - 1.0).abs() < 1e-8, "{ratio}");
        assert_eq!(centred_cumulant(p, 0.0), 0.0);
    }

    #[test]
    fn stirling_error_meets_itself_at_ten_and_matches_known_factorials() {
        let step = stirling_error(9.999_999_999_999) - stirling_error(10.0);
        assert!(step.abs() < 1e-14, "{step}");
        // Γ(½) = √π.
        let half = stirling_error(0.5) - (0.5 * log(core::f64::consts::PI) + 0.5 - HALF_LN_TWO_PI);
        assert!(half.abs() < 1e-15, "{half}");
    }

    #[test]
    fn the_normal_distributions_logarithm_matches_known_values_and_itself() {
        // scipy 1.17.1: norm.logcdf.
        for (x, expected) in
            [(0.0, -core::f64::consts::LN_2), (-10.0, -53.231_285_150_512_48), (3.0, -0.001_350_809_964_748_192_5)]
        {
            assert!((log_normal_cdf(x) / expected - 1.0).abs() < 1e-12, "{x}");
        }
        let step = log_normal_cdf(-29.999_999_999) - log_normal_cdf(-30.000_000_001);
        assert!((step - 30.0 * 2e-9).abs() < 1e-6, "{step}");
        let step = log_scaled_normal_cdf(-29.999_999_999) - log_scaled_normal_cdf(-30.000_000_001);
        assert!(step.abs() < 1e-9, "{step}");
        assert!((log_scaled_normal_cdf(-1e200) + log(1e200) + HALF_LN_TWO_PI).abs() < 1e-9);
        assert!(log_normal_cdf(f64::NEG_INFINITY) < -1e300 || log_normal_cdf(-1e200).is_infinite());
    }

    #[test]
    fn the_normal_quantile_turns_the_distribution_over() {
        for step in 0..=390 {
            let z = -0.1 * f64::from(step);
            assert!(
                (normal_quantile(log_normal_cdf(z)) - z).abs() < 1e-9,
                "{z}: {}",
                normal_quantile(log_normal_cdf(z))
            );
        }
        assert_eq!(
            (normal_quantile(-1e9), normal_quantile(f64::NEG_INFINITY), normal_quantile(-0.1)),
            (-40.0, -40.0, 0.0)
        );
    }

    #[test]
    fn sums_of_exponentials_do_not_overflow() {
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        assert_eq!(log_sum_exp(&[1e12, f64::NEG_INFINITY]), 1e12);
        assert_eq!(log_add_exp(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(log_add_exp(-1e12, 1e12), 1e12);
        assert!((log_sum_exp(&[0.0, 0.0, 0.0]) - log(3.0)).abs() < 1e-15);
    }
}
