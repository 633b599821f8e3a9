//! The Beta distribution, from α = 0.1 to 10¹⁵. Knows nothing of how its parameters came about.
//!
//! Everything is computed on the log-odds scale t = ln(x/(1−x)). There the density is smooth and log-concave for *all*
//! parameters, falls off at least exponentially, and equals the tilted binomial kernel: with u = t − ln(α/β), n = α+β,
//!
//! ln g(u) = ½·ln(αβ/(2πn)) + S(n) − S(α) − S(β) − n·\[log1p((α/n)·expm1(u)) − (α/n)·u\], S being Stirling's error.
//!
//! No term cancels, so that a posterior of 10¹² exposures costs no digits. Tails are integrated outwards by
//! Gauss–Legendre panels whose edges follow the fall of the density.

use crate::quadrature::integrate;
use crate::special::{centred_cumulant, normal_quantile, stirling_error};
use libm::{exp, expm1, log, log1p, sqrt};
use serde::{Deserialize, Serialize};

const SMALLEST: f64 = 0.1;
const LARGEST: f64 = 1e15;

/// Edges of panels lie where the logarithm of the density has fallen by ½k², k = 0…9: one standard deviation each for a
/// normal density, and never more than 8.5 e-folds for an exponential tail. What lies beyond is below e⁻⁴⁰.
pub(crate) const PANELS: usize = 9;

/// Beyond the mode lies more than this on either side, whatever the shapes.
const LEAST_TAIL: f64 = 0.1;

/// ln 2π.
const LN_TWO_PI: f64 = 1.837_877_066_409_345_5;

/// A Beta distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Beta {
    /// First shape parameter: with a prior of ½, events + ½.
    pub alpha: f64,
    /// Second shape parameter: with a prior of ½, non-events + ½.
    pub beta: f64,
}

impl Beta {
    /// Jeffreys' prior for a probability, Beta(½, ½).
    pub const JEFFREYS: Self = Self { alpha: 0.5, beta: 0.5 };

    /// A distribution with the given shape parameters, each within \[0.1, 10¹⁵\]; `None` otherwise.
    #[must_use]
    pub fn new(alpha: f64, beta: f64) -> Option<Self> {
        let valid = |shape: f64| (SMALLEST..=LARGEST).contains(&shape);
        (valid(alpha) && valid(beta)).then_some(Self { alpha, beta })
    }

    /// α/(α+β).
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }

    /// Density at `x`; zero outside \[0, 1\] and for NaN, infinite at a pole. Relative error below 1e-11 for shapes up to
    /// 10⁶; beyond, as far as `x` itself determines it.
    #[must_use]
    pub fn pdf(&self, x: f64) -> f64 {
        let at_end = |shape: f64, other: f64| match shape.partial_cmp(&1.0) {
            Some(core::cmp::Ordering::Less) => f64::INFINITY,
            Some(core::cmp::Ordering::Equal) => other,
            _ => 0.0,
        };
        if x == 0.0 {
            at_end(self.alpha, self.beta)
        } else if x == 1.0 {
            at_end(self.beta, self.alpha)
        } else if x > 0.0 && x < 1.0 {
            let curve = Curve::new(*self);
            exp(curve.log_density(curve.offset_of(x)) - log(x) - log1p(-x))
        } else {
            0.0
        }
    }

    /// P(X ≤ x): the regularised incomplete beta function. `x` is clamped to \[0, 1\]; NaN gives 0.
    ///
    /// Error below 1e-11 relative to the smaller tail for shapes up to 10⁶; up to 10¹² as much as a shift by 1e-7 standard
    /// deviations makes.
    #[must_use]
    pub fn cdf(&self, x: f64) -> f64 {
        if x.is_nan() || x <= 0.0 {
            return 0.0;
        }
        if x >= 1.0 {
            return 1.0;
        }
        Curve::new(*self).mass_below(x)
    }

    /// The x with P(X ≤ x) = `p`. `p` is clamped to \[0, 1\]; NaN counts as 0. Relative error as of [`Beta::cdf`], in units
    /// of the standard deviation.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        if p.is_nan() || p <= 0.0 {
            return 0.0;
        }
        if p >= 1.0 {
            return 1.0;
        }
        let curve = Curve::new(*self);
        curve.value_at(curve.offset_with_mass(Side::Below, p))
    }

    /// P(X > x), without the rounding of 1 − P(X ≤ x). `x` in (0, 1).
    pub(crate) fn upper_cdf(&self, x: f64) -> f64 {
        let curve = Curve::new(*self);
        curve.mass_beyond(curve.offset_of(x), Side::Above)
    }

    /// The central interval that holds `mass`: as much probability below it as above it. `mass` is clamped to \[0, 1\]; NaN
    /// counts as 1.
    #[must_use]
    pub fn interval(&self, mass: f64) -> (f64, f64) {
        let mass = if mass.is_nan() { 1.0 } else { mass.clamp(0.0, 1.0) };
        let outside = 0.5 * (1.0 - mass);
        if outside <= 0.0 {
            return (0.0, 1.0);
        }
        let curve = Curve::new(*self);
        let end = |side| curve.value_at(curve.offset_with_mass(side, outside));
        let (low, high) = (end(Side::Below), end(Side::Above));
        // Equal but for rounding where almost no mass is asked for.
        (low.min(high), high.max(low))
    }

    /// The distribution of 1 − X.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self { alpha: self.beta, beta: self.alpha }
    }
}

/// A direction on the log-odds scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Below,
    Above,
}

impl Side {
    fn sign(self) -> f64 {
        match self {
            Self::Below => -1.0,
            Self::Above => 1.0,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Below => Self::Above,
            Self::Above => Self::Below,
        }
    }
}

/// A Beta density on the log-odds scale, as a function of the offset u from its mode ln(α/β).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    alpha: f64,
    beta: f64,
    total: f64,
    /// The smaller of the mean and its complement: the formulas are accurate for it.
    share: f64,
    /// −1 where that was the complement.
    orientation: f64,
    log_peak: f64,
    /// Log odds of the mode.
    pub(crate) mode: f64,
}

impl Curve {
    pub(crate) fn new(beta: Beta) -> Self {
        // A deserialised value may be anything: keep every function total.
        let sane = |shape: f64| {
            if shape.is_nan() { 0.5 } else { shape.clamp(SMALLEST, LARGEST) }
        };
        let (alpha, beta) = (sane(beta.alpha), sane(beta.beta));
        let total = alpha + beta;
        let log_scale = 0.5 * (log(alpha) + log(beta) - log(total) - LN_TWO_PI);
        Self {
            alpha,
            beta,
            total,
            share: alpha.min(beta) / total,
            orientation: if alpha <= beta { 1.0 } else { -1.0 },
            log_peak: log_scale + (stirling_error(total) - stirling_error(alpha) - stirling_error(beta)),
            mode: log(alpha) - log(beta),
        }
    }

    /// How far the logarithm of the density has fallen at offset `u`; convex, zero at the mode.
    fn fall(&self, u: f64) -> f64 {
        self.total * centred_cumulant(self.share, self.orientation * u)
    }

    /// Standard deviation of the normal density with the same curvature at the mode.
    pub(crate) fn deviation(&self) -> f64 {
        sqrt(self.total / self.alpha / self.beta)
    }

    /// Absolute value of the derivative of `fall`.
    fn steepness(&self, u: f64) -> f64 {
        let v = self.orientation * u;
        let (p, q) = (self.share, 1.0 - self.share);
        let ratio = if v > 0.0 {
            let e = exp(-v);
            -expm1(-v) / (p + q * e)
        } else {
            let z = expm1(v);
            z / (1.0 + p * z)
        };
        (self.total * p * q * ratio).abs()
    }

    pub(crate) fn log_density(&self, u: f64) -> f64 {
        self.log_peak - self.fall(u)
    }

    /// The offset at which the density has fallen by `more` (in logarithm) beyond what it has at `from`, within 1% of
    /// `more` and never nearer. `from` lies on the given side of the mode, or on it.
    fn offset_after_fall(&self, from: f64, side: Side, more: f64) -> f64 {
        let target = self.fall(from) + more;
        let slope = self.steepness(from);
        // Convexity: following the tangent ends beyond the target. At the mode the tangent is flat: use the curvature.
        let deviation = sqrt(2.0 * more * self.total / (self.alpha * self.beta));
        let mut step = if slope > 0.0 { (more / slope).min(deviation.max(f64::MIN_POSITIVE)) } else { deviation };
        for _ in 0..100 {
            if self.fall(from + side.sign() * step) >= target {
                break;
            }
            step *= 2.0;
        }
        // Newton's method from outside of a convex function's root stays outside.
        for _ in 0..50 {
            let u = from + side.sign() * step;
            let excess = self.fall(u) - target;
            let slope = self.steepness(u);
            if excess <= 0.01 * more || slope <= 0.0 {
                break;
            }
            step = (step - excess / slope).max(0.0);
        }
        from + side.sign() * step
    }

    /// Offsets at which the density has fallen by ½k² since `from`, k = 1…9, going outwards.
    pub(crate) fn edges(&self, from: f64, side: Side) -> [f64; PANELS] {
        let mut edges = [from; PANELS];
        let (mut at, mut level) = (from, 0.0);
        for (k, edge) in (1_u32..).zip(edges.iter_mut()) {
            let next_level = 0.5 * f64::from(k * k);
            at = self.offset_after_fall(at, side, next_level - level);
            level = next_level;
            *edge = at;
        }
        edges
    }

    /// ln P(offset beyond `u` on the given side); `u` lies on that side of the mode, or on it.
    fn log_tail(&self, u: f64, side: Side) -> f64 {
        let base = self.fall(u);
        let mut sum = 0.0;
        let mut from = u;
        for to in self.edges(u, side) {
            sum += integrate(from, to, |v| exp(base - self.fall(v))).abs();
            from = to;
        }
        // ln 0 = −∞ is right where a tail is too thin for its own abscissa.
        (self.log_peak - base + log(sum)).min(0.0)
    }

    /// Offset of a value in (0, 1).
    fn offset_of(&self, x: f64) -> f64 {
        let relative = (x * self.total - self.alpha) / ((1.0 - x) * self.alpha);
        if relative.abs() < 0.5 { log1p(relative) } else { log(x) - log1p(-x) - self.mode }
    }

    /// The value in \[0, 1\] at an offset: from the smaller of mean and complement, as the other has lost digits.
    fn value_at(&self, u: f64) -> f64 {
        let v = self.orientation * u;
        let odds = self.share / (1.0 - self.share) * exp(v);
        let value =
            if v > 30.0 { 1.0 / (1.0 + 1.0 / odds) } else { self.share * exp(v) / (1.0 + self.share * expm1(v)) };
        let value = value.clamp(0.0, 1.0);
        if self.orientation > 0.0 { value } else { 1.0 - value }
    }

    fn mass_below(&self, x: f64) -> f64 {
        self.mass_beyond(self.offset_of(x), Side::Below)
    }

    /// P(offset beyond `u` on the given side), from the tail that `u` lies in.
    pub(crate) fn mass_beyond(&self, u: f64, side: Side) -> f64 {
        let tail = if u < 0.0 { Side::Below } else { Side::Above };
        let log_mass = self.log_tail(u, tail);
        if tail == side { exp(log_mass) } else { -expm1(log_mass) }
    }

    /// The offset beyond which, on the given side, lies probability `mass` in (0, 1).
    pub(crate) fn offset_with_mass(&self, side: Side, mass: f64) -> f64 {
        if mass < LEAST_TAIL || log(mass) < self.log_tail(0.0, side) {
            self.solve_tail(side, log(mass))
        } else {
            self.solve_tail(side.other(), log1p(-mass))
        }
    }

    /// The offset on the given side of the mode beyond which lies probability exp(`log_mass`).
    ///
    /// The tail's logarithm is concave: Newton's method overshoots once at most and then comes back monotonically.
    fn solve_tail(&self, side: Side, log_mass: f64) -> f64 {
        // Where a normal density would have fallen as far.
        let z = normal_quantile(log_mass);
        let mut u = if z < 0.0 { self.offset_after_fall(0.0, side, 0.5 * z * z) } else { 0.0 };
        for _ in 0..60 {
            let log_tail = self.log_tail(u, side);
            let excess = log_tail - log_mass;
            let rate = exp(self.log_density(u) - log_tail);
            if !(rate > 0.0 && rate.is_finite() && excess.is_finite()) {
                break;
            }
            let step = excess / rate;
            let next = u + side.sign() * step;
            // Rounding may carry it over the mode, where the other side's tail is meant.
            let next = if next * side.sign() < 0.0 { 0.0 } else { next };
            // After this step the error is about the square of what it is now, and the tail itself is known no better.
            let done = (next - u).abs() <= 1e-14 * u.abs() || excess.abs() < 1e-7;
            u = next;
            if done {
                break;
            }
        }
        u
    }
}
