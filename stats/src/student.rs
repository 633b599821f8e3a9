//! Student's t distribution as the posterior of a mean, from a count, a sum and a sum of squares. Knows no unit and compares
//! nothing.
//!
//! With T standard, u = ln T² is the log odds of a Beta(½, ν/2) variable measured from its mode: the same curve, integrated
//! in the same way, gives both tails, and nothing cancels however many degrees of freedom there are.

use crate::belief::is_part;
use crate::beta::{Beta, Curve, Side};
use crate::kernel::is_propensity;
use crate::special::stirling_error;
use libm::{exp, log, log1p, sqrt};
use serde::{Deserialize, Serialize};

/// Fewer degrees of freedom than a Cauchy distribution's are not represented.
const FEWEST_DEGREES: f64 = 1.0;
const MOST_DEGREES: f64 = 1e15;
/// Locations and scales beyond this could overflow when they are compared.
const LARGEST: f64 = 1e150;
/// With two, the posterior would be Cauchy's distribution, which has no mean.
const FEWEST_EXPOSURES: f64 = 3.0;
/// Below this share of the squares, what remains of them around the mean is what rounding left there.
const ROUNDING: f64 = 1e-10;
/// ½·ln 2π.
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_7;

/// A located and scaled Student t distribution, in the unit of what was summed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Student {
    /// Its median, and its mean where it has one.
    pub location: f64,
    /// Positive. The standard deviation is this times √(ν/(ν−2)).
    pub scale: f64,
    /// ν, degrees of freedom; at least one. Its mean exists above one, its variance above two.
    pub degrees: f64,
}

impl Student {
    /// A distribution with |location| ≤ 10¹⁵⁰, scale within \[10⁻¹⁵⁰, 10¹⁵⁰\] and degrees within \[1, 10¹⁵\]; `None` otherwise.
    #[must_use]
    pub fn new(location: f64, scale: f64, degrees: f64) -> Option<Self> {
        let valid = location.abs() <= LARGEST
            && (1.0 / LARGEST..=LARGEST).contains(&scale)
            && (FEWEST_DEGREES..=MOST_DEGREES).contains(&degrees);
        valid.then_some(Self { location, scale, degrees })
    }

    /// A deserialised value may be anything: the nearest that every function can work with.
    pub(crate) fn sane(self) -> Self {
        let or = |x: f64, otherwise: f64| if x.is_nan() { otherwise } else { x };
        Self {
            location: or(self.location, 0.0).clamp(-LARGEST, LARGEST),
            scale: or(self.scale, 1.0).clamp(1.0 / LARGEST, LARGEST),
            degrees: or(self.degrees, FEWEST_DEGREES).clamp(FEWEST_DEGREES, MOST_DEGREES),
        }
    }

    /// Density at `x`, per unit; zero for NaN. Relative error below 1e-12.
    #[must_use]
    pub fn pdf(&self, x: f64) -> f64 {
        let sane = self.sane();
        let z = (x - sane.location) / sane.scale;
        if z.is_nan() { 0.0 } else { exp(Standard::new(sane.degrees).log_density(z)) / sane.scale }
    }

    /// P(X ≤ x). NaN gives 0. Error below 1e-9 relative to the smaller tail.
    #[must_use]
    pub fn cdf(&self, x: f64) -> f64 {
        let sane = self.sane();
        sane.standard_cdf((x - sane.location) / sane.scale)
    }

    fn standard_cdf(self, z: f64) -> f64 {
        if z.is_nan() {
            return 0.0;
        }
        if z == 0.0 || z.is_infinite() {
            return if z == 0.0 { 0.5 } else { f64::from(z > 0.0) };
        }
        let curve = squared(self.degrees);
        let outside = 0.5 * curve.mass_beyond(2.0 * log(z.abs()), Side::Above);
        if z < 0.0 { outside } else { 1.0 - outside }
    }

    /// The x with P(X ≤ x) = `p`; −∞ for 0 and +∞ for 1. `p` is clamped to \[0, 1\]; NaN counts as 0. Error below 1e-9 scales
    /// or 1e-9 relative.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        if p.is_nan() || p <= 0.0 {
            return f64::NEG_INFINITY;
        }
        if p >= 1.0 {
            return f64::INFINITY;
        }
        let sane = self.sane();
        // 1 − p is exact for p in [½, 1].
        if p <= 0.5 { sane.location - sane.reach(p) } else { sane.location + sane.reach(1.0 - p) }
    }

    /// The central interval that holds `mass`, all numbers for a mass of one. `mass` is clamped to \[0, 1\]; NaN counts as 1.
    #[must_use]
    pub fn interval(&self, mass: f64) -> (f64, f64) {
        let mass = if mass.is_nan() { 1.0 } else { mass.clamp(0.0, 1.0) };
        let outside = 0.5 * (1.0 - mass);
        if outside <= 0.0 {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        let sane = self.sane();
        let reach = sane.reach(outside);
        (sane.location - reach, sane.location + reach)
    }

    /// The distance from the location beyond which lies probability `p` in (0, ½\] on one side.
    fn reach(self, p: f64) -> f64 {
        if p >= 0.5 {
            return 0.0;
        }
        self.scale * exp(0.5 * squared(self.degrees).offset_with_mass(Side::Above, 2.0 * p))
    }

    /// The distribution of −X.
    #[must_use]
    pub fn negated(&self) -> Self {
        Self { location: -self.location, ..*self }
    }
}

/// The curve of ln T².
fn squared(degrees: f64) -> Curve {
    Curve::new(Beta { alpha: 0.5, beta: 0.5 * degrees })
}

/// The standard density's constants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standard {
    degrees: f64,
    log_peak: f64,
}

impl Standard {
    pub(crate) fn new(degrees: f64) -> Self {
        // ln Γ(a+½) − ln Γ(a) − ½·ln(2πa), a = ν/2, by what Stirling's formula says of both.
        let a = 0.5 * degrees;
        let log_peak = a * log1p(0.5 / a) - 0.5 + (stirling_error(a + 0.5) - stirling_error(a)) - HALF_LN_TWO_PI;
        Self { degrees, log_peak }
    }

    pub(crate) fn log_density(&self, z: f64) -> f64 {
        // Divided first: z² may overflow.
        let ratio = z / sqrt(self.degrees);
        if ratio.abs() > 1e100 {
            return f64::NEG_INFINITY;
        }
        self.log_peak - 0.5 * (self.degrees + 1.0) * log1p(ratio * ratio)
    }
}

/// Settled rewards, or whatever else has a mean, of one version under one propensity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeanStratum {
    /// Probability with which the version was assigned; (0, 1].
    pub propensity: f64,
    /// How many values were summed.
    pub exposures: u64,
    /// Σy.
    pub sum: f64,
    /// Σy².
    pub sum_squares: f64,
}

/// A version's mean, standardised to the experiment's own traffic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandardisedMean {
    /// m = Σ(S/w)/Σ(n/w); `None` without exposures, or where the sums are not finite.
    pub mean: Option<f64>,
    /// Kish's effective number of exposures, (Σn/w)²/Σ(n/w²); at most the number of exposures.
    pub effective_exposures: f64,
    /// Student(m, s/√n_eff, n_eff − 1). `None` below three effective exposures, of which the posterior mean would not exist or
    /// its expected loss be infinite, and where nothing varies: a standard deviation
    /// below 10⁻⁵ of the root mean square cannot be told from rounding. Approximate: n_eff stands for a sample of that size, and
    /// the mean of skewed values is as normal as their number makes it.
    pub posterior: Option<Student>,
}

/// Standardises a version's mean over strata of different propensity, and gives its posterior.
///
/// s² = n_eff/(n_eff−1)·Σ((Q − 2mS + m²n)/w)/Σ(n/w), with S the sum and Q the sum of squares; for one stratum the usual sample
/// variance. Whatever the unit, the posterior is the same in it. Give it only strata in which **all** compared versions had weight.
/// Strata without exposures or with a propensity outside \[10⁻⁹, 1\] are skipped.
///
/// Source: Jeffreys' prior σ⁻¹ for a normal mean and deviation (Gelman et al., Bayesian Data Analysis, 3.2); inverse propensity
/// weighting as in Waudby-Smith et al. (2024); effective size after Kish (1965).
#[must_use]
pub fn standardised_mean(strata: &[MeanStratum]) -> StandardisedMean {
    faded_mean(strata, |_| 1.0)
}

/// The same of strata that have faded: an exposure of the stratum at an index counts as `part(index)` of one, within (0, 1]. For
/// beliefs that follow a drift. Strata whose part is outside are skipped.
///
/// Source: exponential forgetting, as in the power prior (Ibrahim & Chen, 2000).
#[must_use]
pub fn faded_mean(strata: &[MeanStratum], part: impl Fn(usize) -> f64) -> StandardisedMean {
    let usable = || {
        let parts = strata.iter().enumerate().map(|(at, stratum)| (stratum, part(at)));
        parts.filter(|(stratum, part)| stratum.exposures > 0 && is_propensity(stratum.propensity) && is_part(*part))
    };
    let (mut sum, mut squares, mut exposures, mut weights) = (0.0, 0.0, 0.0, 0.0);
    for (stratum, part) in usable() {
        let (n, w) = (stratum.exposures as f64 * part, stratum.propensity);
        sum += stratum.sum * part / w;
        squares += stratum.sum_squares * part / w;
        exposures += n / w;
        weights += n / w / w;
    }
    if exposures <= 0.0 {
        return StandardisedMean { mean: None, effective_exposures: 0.0, posterior: None };
    }
    let effective = exposures * exposures / weights;
    let mean = sum / exposures;
    if !mean.is_finite() {
        return StandardisedMean { mean: None, effective_exposures: effective, posterior: None };
    }
    let around: f64 = usable()
        .map(|(stratum, part)| {
            let n = stratum.exposures as f64;
            (stratum.sum_squares - 2.0 * mean * stratum.sum + mean * mean * n) * part / stratum.propensity
        })
        .sum();
    // Three exposures of one stratum are three, however the division rounds.
    let enough = effective >= FEWEST_EXPOSURES - 1e-9;
    let varies = around.is_finite() && around > ROUNDING * squares;
    let degrees = (effective - 1.0).max(FEWEST_EXPOSURES - 1.0);
    let posterior =
        if enough && varies { Student::new(mean, sqrt(around / exposures / degrees), degrees) } else { None };
    StandardisedMean { mean: Some(mean), effective_exposures: effective, posterior }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn student(location: f64, scale: f64, degrees: f64) -> Student {
        Student::new(location, scale, degrees).unwrap()
    }

    #[test]
    fn one_degree_is_cauchys_distribution() {
        let d = student(2.0, 3.0, 1.0);
        for z in [-1e6, -3.0, -0.2, 0.0, 1e-9, 0.7, 50.0_f64] {
            let exact = if z < -1.0 { (-1.0 / z).atan() } else { core::f64::consts::FRAC_PI_2 + z.atan() };
            let exact = exact * core::f64::consts::FRAC_1_PI;
            assert!((d.cdf(2.0 + 3.0 * z) / exact - 1.0).abs() < 1e-9, "{z}");
        }
        assert!((d.quantile(0.75) - 5.0).abs() < 1e-12);
        assert!((d.pdf(2.0) - core::f64::consts::FRAC_1_PI / 3.0).abs() < 1e-15);
    }

    #[test]
    fn one_stratum_is_the_textbooks_sample() {
        // 1, 2, 3, 6: mean 3, sample variance 14/3.
        let found = standardised_mean(&[MeanStratum { propensity: 0.3, exposures: 4, sum: 12.0, sum_squares: 50.0 }]);
        let posterior = found.posterior.unwrap();
        assert!((posterior.location - 3.0).abs() < 1e-14 && (posterior.degrees - 3.0).abs() < 1e-12);
        assert!((posterior.scale - sqrt(14.0 / 12.0)).abs() < 1e-14, "{posterior:?}");
    }

    #[test]
    fn standardising_a_mean_undoes_a_shift_of_weights_during_drift() {
        let stratum = |propensity, exposures: u64, mean: f64| {
            let n = exposures as f64;
            MeanStratum { propensity, exposures, sum: n * mean, sum_squares: n * (mean * mean + 1.0) }
        };
        let found = standardised_mean(&[stratum(0.9, 9000, 20.0), stratum(0.1, 1000, 10.0)]);
        assert!((found.mean.unwrap() - 15.0).abs() < 1e-12);
        assert!((found.effective_exposures - 4e8 / (9000.0 / 0.81 + 1e5)).abs() < 1e-6);
        // Deviation within a half is 1 and between the halves 5.
        let posterior = found.posterior.unwrap();
        assert!((posterior.scale * sqrt(posterior.degrees) - sqrt(26.0)).abs() < 1e-9);
    }

    #[test]
    fn too_little_or_nothing_that_varies_gives_no_posterior() {
        let stratum = |exposures, sum, sum_squares| MeanStratum { propensity: 0.5, exposures, sum, sum_squares };
        assert_eq!(standardised_mean(&[]).mean, None);
        assert_eq!(standardised_mean(&[stratum(1, 3.0, 9.0)]).posterior, None);
        assert_eq!(standardised_mean(&[stratum(1, 3.0, 9.0)]).mean, Some(3.0));
        assert_eq!(standardised_mean(&[stratum(2, 3.0, 5.0)]).posterior, None);
        assert!(standardised_mean(&[stratum(3, 6.0, 14.0)]).posterior.is_some());
        assert_eq!(standardised_mean(&[stratum(1000, 0.0, 0.0)]).posterior, None);
        let summed = (0..100_000).fold(0.0, |sum, _| sum + 0.1);
        let squared = (0..100_000).fold(0.0, |sum, _| sum + 0.1 * 0.1);
        assert_eq!(standardised_mean(&[stratum(100_000, summed, squared)]).posterior, None);
        assert_eq!(standardised_mean(&[stratum(9, f64::NAN, 1.0)]).mean, None);
        assert_eq!(standardised_mean(&[stratum(9, 1.0, f64::INFINITY)]).posterior, None);
        // One exposure at a rare propensity outweighs a thousand: their effective number is next to one.
        let rare = MeanStratum { propensity: 1e-6, exposures: 1, sum: 1.0, sum_squares: 1.0 };
        assert_eq!(standardised_mean(&[rare, stratum(1000, 500.0, 500.0)]).posterior, None);
    }
}
