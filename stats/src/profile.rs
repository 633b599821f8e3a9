//! Two beliefs beside each other: which is greater, by how much, and in what ratio. Integrals that reuse one tabulated
//! distribution function per belief, so that many pairs cost little.

use crate::beta::Beta;
use crate::grid::{Placed, Posterior};
use crate::quadrature::{NODES, nodes, running_weights};
use crate::special::log_normal_cdf;
use libm::{exp, expm1, log, sqrt};

/// Above this a mean may be zero or less, and then a ratio to it means nothing.
const NEAR_ZERO: f64 = 1e-3;
/// Shapes from which on a rate's distribution function is smooth to the accuracy asked for, also at 0 and 1.
const SMOOTH_SHAPE: f64 = 8.0;
/// Steps of the trapezoidal rule per standard deviation: for a smooth density that falls on both sides its error falls
/// faster than any power of the step.
const STEPS: f64 = 4.0;

/// A belief with its distribution function tabulated: made once, compared often.
#[derive(Debug, Clone)]
pub struct Profile {
    posterior: Posterior,
    placed: Placed,
    /// (place, density, P(X ≤ here)), ascending.
    table: Vec<[f64; 3]>,
    /// (value, mass) of equal steps.
    nodes: Vec<(f64, f64)>,
    /// Mean and variance of the value.
    value: (f64, f64),
    /// Mean and variance of its logarithm, for rates.
    log_value: (f64, f64),
    /// Whether the trapezoidal rule serves.
    smooth: bool,
}

/// What is believed of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// P(B > A).
    pub greater: f64,
    /// Central interval of (B − A)/A; `None` where A may be zero or less.
    pub lift: Option<(f64, f64)>,
    /// Central interval of B − A.
    pub difference: (f64, f64),
}

impl Profile {
    /// Tabulates a belief.
    #[must_use]
    pub fn new(posterior: Posterior) -> Self {
        let placed = Placed::new(posterior);
        let (nodes, running) = (nodes(), running_weights());
        let mut table = Vec::with_capacity(placed.edges.len() * NODES);
        let mut below = 0.0;
        for (from, to) in placed.edges.iter().zip(placed.edges.iter().skip(1)) {
            let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
            let densities = nodes.map(|(x, _)| placed.density(middle + half * x));
            for ((weights, (x, _)), density) in running.iter().zip(nodes).zip(densities) {
                let part: f64 = weights.iter().zip(densities).map(|(w, f)| w * f).sum();
                table.push([middle + half * x, density, (below + half * part).clamp(0.0, 1.0)]);
            }
            below = (below + half * nodes.iter().zip(densities).map(|((_, w), f)| w * f).sum::<f64>()).min(1.0);
        }
        let steps = equal_steps(&placed, posterior);
        let moments = |of: fn(f64) -> f64| {
            let mean: f64 = steps.iter().map(|(value, mass)| mass * of(*value)).sum();
            let variance: f64 =
                steps.iter().map(|(value, mass)| mass * (of(*value) - mean) * (of(*value) - mean)).sum();
            (mean, variance)
        };
        let smooth = match posterior {
            Posterior::Rate(beta) => beta.alpha.min(beta.beta) >= SMOOTH_SHAPE,
            Posterior::Mean(_) => true,
        };
        let (value, log_value) = (moments(|x| x), moments(|x| log(x.max(f64::MIN_POSITIVE))));
        Self { posterior, placed, table, value, log_value, nodes: steps, smooth }
    }

    /// (P(X ≤ here), density here) at a place on its scale, by cubic Hermite interpolation: error below 1e-8.
    fn at(&self, t: f64) -> (f64, f64) {
        let after = self.table.partition_point(|row| row[0] < t);
        let (Some(left), Some(right)) = (after.checked_sub(1).and_then(|at| self.table.get(at)), self.table.get(after))
        else {
            return (if after == 0 { 0.0 } else { 1.0 }, 0.0);
        };
        let width = right[0] - left[0];
        let u = (t - left[0]) / width;
        let (v, rise) = (1.0 - u, right[2] - left[2]);
        let (first, second) = (left[1] * width - rise, rise - right[1] * width);
        let below = v * left[2] + u * right[2] + u * v * (v * first + u * second);
        (below.clamp(0.0, 1.0), v * left[1] + u * right[1])
    }
}

/// (value, mass) at equal steps over where the density is above e⁻²⁴ of its peak; the masses sum to one.
fn equal_steps(placed: &Placed, posterior: Posterior) -> Vec<(f64, f64)> {
    let outer = 2;
    let (Some(low), Some(high)) =
        (placed.edges.get(outer), placed.edges.len().checked_sub(outer + 1).and_then(|at| placed.edges.get(at)))
    else {
        return Vec::new();
    };
    let deviation = match posterior {
        Posterior::Rate(beta) => sqrt((beta.alpha + beta.beta) / (beta.alpha * beta.beta)),
        Posterior::Mean(student) => student.scale,
    };
    let count = libm::ceil((high - low) * STEPS / deviation).clamp(8.0, 2_000.0);
    let step = (high - low) / count;
    let mut nodes: Vec<(f64, f64)> = (0..=count as usize)
        .map(|i| {
            let t = low + step * i as f64;
            (placed.value(t).0, placed.density(t))
        })
        .collect();
    let total: f64 = nodes.iter().map(|(_, mass)| mass).sum();
    nodes.iter_mut().for_each(|(_, mass)| *mass /= total);
    nodes
}

/// What B is compared with: a multiple of A, or A and something more.
#[derive(Debug, Clone, Copy)]
enum Map {
    /// e^θ times, for rates.
    LogRatio,
    /// θ times, for means.
    Ratio,
    /// θ more.
    Shift,
    /// ratio·A + θ.
    Within { ratio: f64 },
}

impl Map {
    /// The mapped value, and its derivative by θ.
    fn apply(self, value: f64, theta: f64) -> (f64, f64) {
        match self {
            Self::LogRatio => {
                let mapped = value * exp(theta);
                (mapped, mapped)
            }
            Self::Ratio => (value * theta, value),
            Self::Shift => (value + theta, 1.0),
            Self::Within { ratio } => (ratio * value + theta, 1.0),
        }
    }

    /// The value that is mapped to `mapped`, and its derivative by θ.
    fn invert(self, mapped: f64, theta: f64) -> (f64, f64) {
        match self {
            Self::LogRatio => {
                let value = mapped * exp(-theta);
                (value, -value)
            }
            Self::Ratio => (mapped / theta, -mapped / (theta * theta)),
            Self::Shift => (mapped - theta, -1.0),
            Self::Within { ratio } => ((mapped - theta) / ratio, -1.0 / ratio),
        }
    }
}

/// (P(B ≤ map(A)), its derivative by θ).
fn probability(b: &Profile, a: &Profile, map: Map, theta: f64) -> (f64, f64) {
    let smooth = a.smooth && b.smooth && !matches!(map, Map::Ratio);
    if !smooth {
        return on_panels(b, a, map, theta);
    }
    // Over the narrower of the two the other is smooth at the step's scale.
    let narrower = |of: fn(&Profile) -> f64| of(a) <= of(b);
    let over_a = match map {
        Map::LogRatio => narrower(|profile| profile.log_value.1),
        _ => narrower(|profile| profile.value.1),
    };
    let (outer, inner) = if over_a { (a, b) } else { (b, a) };
    let (mut sum, mut slope) = (0.0, 0.0);
    for (value, mass) in &outer.nodes {
        let (mapped, by_theta) = if over_a { map.apply(*value, theta) } else { map.invert(*value, theta) };
        let t = inner.placed.at_value(mapped);
        let (below, density) = inner.at(t);
        sum += mass * below;
        if density > 0.0 {
            slope += mass * density * by_theta / inner.placed.value(t).1;
        }
    }
    if over_a { (sum.clamp(0.0, 1.0), slope) } else { ((1.0 - sum).clamp(0.0, 1.0), -slope) }
}

/// The same by Gauss–Legendre panels, whose edges are those of both: exact also where a distribution function has a kink.
fn on_panels(b: &Profile, a: &Profile, map: Map, theta: f64) -> (f64, f64) {
    let mut edges = a.placed.edges.clone();
    let (low, high) = (edges.first().copied().unwrap_or(0.0), edges.last().copied().unwrap_or(0.0));
    edges.extend(
        b.placed
            .edges
            .iter()
            .map(|edge| a.placed.at_value(map.invert(b.placed.value(*edge).0, theta).0))
            .filter(|edge| *edge > low && *edge < high),
    );
    edges.sort_by(f64::total_cmp);
    let nodes = nodes();
    let (mut sum, mut slope, mut total) = (0.0, 0.0, 0.0);
    for (from, to) in edges.iter().zip(edges.iter().skip(1)) {
        let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
        for (x, weight) in nodes {
            let at = middle + half * x;
            let mass = half * weight * a.placed.density(at);
            let (mapped, by_theta) = map.apply(a.placed.value(at).0, theta);
            let t = b.placed.at_value(mapped);
            let (below, density) = b.at(t);
            sum += mass * below;
            total += mass;
            if density > 0.0 {
                slope += mass * density * by_theta / b.placed.value(t).1;
            }
        }
    }
    if total > 0.0 { ((sum / total).clamp(0.0, 1.0), slope / total) } else { (0.0, 0.0) }
}

/// What is believed of B beside A: intervals that hold `mass`, as [`lift_interval`] and [`difference_interval`].
#[must_use]
pub fn compare(b: &Profile, a: &Profile, mass: f64) -> Compared {
    let (b, a) = (&alike(b, a), &alike(a, b));
    let outside = 0.5 * (1.0 - if mass.is_nan() { 1.0 } else { mass.clamp(0.0, 1.0) });
    Compared {
        greater: 1.0 - probability(b, a, Map::Shift, 0.0).0,
        lift: lift(b, a, outside),
        difference: difference(b, a, outside),
    }
}

/// The central interval of the relative lift (B − A)/A that holds `mass`, for independent `b` and `a`; `None` where A may be zero
/// or less (P(A ≤ 0) > 0.001, for means). `mass` is clamped to \[0, 1\]; NaN counts as 1, for which ends are unbounded. Its ends'
/// probabilities are exact to 1e-6.
///
/// Belief about an effect's size; says nothing about whether to act.
#[must_use]
pub fn lift_interval(b: Posterior, a: Posterior, mass: f64) -> Option<(f64, f64)> {
    compare(&Profile::new(b), &Profile::new(a), mass).lift
}

/// The central interval of B − A that holds `mass`, otherwise as [`lift_interval`].
#[must_use]
pub fn difference_interval(b: Posterior, a: Posterior, mass: f64) -> (f64, f64) {
    compare(&Profile::new(b), &Profile::new(a), mass).difference
}

/// P(B ≤ ratio·A + margin), for independent rates: belief that a candidate keeps a guardrail. Error below 1e-6. 0 for a ratio
/// that is not positive and finite, or a margin that is not finite.
#[must_use]
pub fn probability_within(b: Beta, a: Beta, ratio: f64, margin: f64) -> f64 {
    if !(ratio > 0.0 && ratio.is_finite() && margin.is_finite()) {
        return 0.0;
    }
    let (b, a) = (Profile::new(b.into()), Profile::new(a.into()));
    probability(&b, &a, Map::Within { ratio }, margin).0
}

/// The profile, as a mean if the other is one. No caller mixes them.
fn alike(profile: &Profile, other: &Profile) -> Profile {
    match Posterior::alike(&[profile.posterior, other.posterior]).first() {
        Some(posterior) if *posterior != profile.posterior => Profile::new(*posterior),
        _ => profile.clone(),
    }
}

fn lift(b: &Profile, a: &Profile, outside: f64) -> Option<(f64, f64)> {
    if let Posterior::Mean(student) = a.posterior {
        if student.cdf(0.0) > NEAR_ZERO {
            return None;
        }
        if outside <= 0.0 {
            return Some((f64::NEG_INFINITY, f64::INFINITY));
        }
        let ratio = b.value.0 / a.value.0;
        let deviation = sqrt(b.value.1 + ratio * ratio * a.value.1) / a.value.0;
        let (low, high) = ends(b, a, Map::Ratio, ratio, deviation, outside);
        return Some((low - 1.0, high - 1.0));
    }
    if outside <= 0.0 {
        return Some((-1.0, f64::INFINITY));
    }
    let deviation = sqrt(b.log_value.1 + a.log_value.1);
    let (low, high) = ends(b, a, Map::LogRatio, b.log_value.0 - a.log_value.0, deviation, outside);
    Some((expm1(low), expm1(high)))
}

fn difference(b: &Profile, a: &Profile, outside: f64) -> (f64, f64) {
    if outside <= 0.0 {
        return match b.posterior {
            Posterior::Rate(_) => (-1.0, 1.0),
            Posterior::Mean(_) => (f64::NEG_INFINITY, f64::INFINITY),
        };
    }
    ends(b, a, Map::Shift, b.value.0 - a.value.0, sqrt(b.value.1 + a.value.1), outside)
}

/// The θ with P(B ≤ map(A)) = `outside`, and the one with 1 − `outside`; `middle` and `deviation` are where to look.
fn ends(b: &Profile, a: &Profile, map: Map, middle: f64, deviation: f64, outside: f64) -> (f64, f64) {
    let z = normal_quantile(outside);
    let end = |p: f64, guess: f64| solve(|theta| probability(b, a, map, theta), p, guess, deviation);
    let (low, high) = (end(outside, middle + z * deviation), end(1.0 - outside, middle - z * deviation));
    // Equal but for rounding where almost no mass is asked for.
    (low.min(high), high.max(low))
}

/// The place where a rising probability is `p`: Newton's method on the log odds, which are nearly straight, inside a bracket.
fn solve(f: impl Fn(f64) -> (f64, f64), p: f64, guess: f64, deviation: f64) -> f64 {
    let log_odds = |p: f64| log(p / (1.0 - p));
    let wanted = log_odds(p);
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut theta = guess;
    for _ in 0..60 {
        let (found, slope) = f(theta);
        if found < p {
            low = theta;
        } else {
            high = theta;
        }
        let excess = log_odds(found.clamp(1e-300, 1.0 - 1e-16)) - wanted;
        if excess.abs() < 1e-8 {
            break;
        }
        let newton = theta - excess * found * (1.0 - found) / slope;
        theta = if newton > low && newton < high {
            // Never further than a few deviations at once: far out the slope says little.
            newton.clamp(theta - 3.0 * deviation, theta + 3.0 * deviation)
        } else if low.is_finite() && high.is_finite() {
            0.5 * (low + high)
        } else if found < p {
            theta + deviation
        } else {
            theta - deviation
        };
        if low.is_finite() && high - low <= 1e-14 * theta.abs() {
            break;
        }
    }
    theta
}

/// The z with Φ(z) = p, for p in (0, ½\], to 1e-9: only a first guess depends on it.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 0.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if log_normal_cdf(middle) < log(p) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
