//! Two beliefs beside each other: which is greater, by how much, and in what ratio. Integrals that reuse one tabulated
//! distribution function per belief, so that many pairs cost little.

use crate::beta::Beta;
use crate::grid::{Placed, Posterior, thinned};
use crate::quadrature::{NODES, nodes, running_weights};
use crate::special::normal_quantile;
use libm::{exp, expm1, log, sqrt};
use std::sync::OnceLock;

/// Above this a mean may be zero or less, and then a ratio to it means nothing.
const NEAR_ZERO: f64 = 1e-3;
/// Steps of the trapezoidal rule per standard deviation: for a smooth density that falls on both sides its error falls
/// faster than any power of the step, exp(−2π²·(deviation/step)²) for a normal one.
const STEPS: f64 = 2.5;
/// The longest step that the other belief may see, in its standard deviations: the rule's error is then e⁻³¹.
const COARSEST: f64 = 0.8;
/// The same on the scale of log odds, whatever the deviation: an exponential tail's error is exp(−π²/step), 7e-8.
const COARSEST_LOG_ODDS: f64 = 0.6;
/// Probability that need not be resolved.
const NEGLIGIBLE: f64 = 1e-9;

/// A belief with its distribution function tabulated: made once, compared often.
#[derive(Debug, Clone)]
pub struct Profile {
    posterior: Posterior,
    placed: Placed,
    /// (place, density, P(X ≤ here)), ascending. Made when asked for, as is what follows: a comparison needs one belief's table and the
    /// other's nodes.
    table: OnceLock<Vec<[f64; 3]>>,
    /// (value, mass) of equal steps.
    nodes: OnceLock<Vec<(f64, f64)>>,
    /// Mean and variance of the value; of its logarithm, for rates.
    moments: OnceLock<[(f64, f64); 2]>,
    /// The longest step of its own scale, at its mode, that resolves it.
    coarsest: f64,
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
    /// Of a belief.
    #[must_use]
    pub fn new(posterior: Posterior) -> Self {
        let placed = Placed::new(posterior);
        let coarsest = match posterior {
            Posterior::Rate(_) => (COARSEST * placed.deviation()).min(COARSEST_LOG_ODDS),
            Posterior::Mean(student) => COARSEST * student.scale,
        };
        let (table, nodes, moments) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { posterior, placed, table, nodes, moments, coarsest }
    }

    fn table(&self) -> &[[f64; 3]] {
        self.table.get_or_init(|| tabulated(&self.placed, self.posterior))
    }

    fn nodes(&self) -> &[(f64, f64)] {
        self.nodes.get_or_init(|| equal_steps(&self.placed, self.posterior))
    }

    /// Mean and variance of the value; of its logarithm, for rates.
    fn moments(&self) -> [(f64, f64); 2] {
        let moments = |of: fn(f64) -> f64| {
            let mean: f64 = self.nodes().iter().map(|(value, mass)| mass * of(*value)).sum();
            let from_mean = |value: f64| {
                let distance = of(value) - mean;
                distance * distance
            };
            let variance: f64 = self.nodes().iter().map(|(value, mass)| mass * from_mean(*value)).sum();
            (mean, variance)
        };
        *self.moments.get_or_init(|| match self.posterior {
            Posterior::Rate(_) => [moments(|x| x), moments(|x| log(x.max(f64::MIN_POSITIVE)))],
            // Its variance may be infinite, or huge for its tails' sake: only a first guess depends on this one.
            Posterior::Mean(student) => [(student.location, student.scale * student.scale), (0.0, 0.0)],
        })
    }

    /// Mean and variance of the value.
    fn value(&self) -> (f64, f64) {
        self.moments()[0]
    }

    fn log_value(&self) -> (f64, f64) {
        self.moments()[1]
    }

    /// Whether a step from one place to the next is short enough for this belief; steps over next to no probability always are.
    fn resolves(&self, from: (f64, f64), to: (f64, f64)) -> bool {
        let (low, high) = if from.1 <= to.1 { (from.1, to.1) } else { (to.1, from.1) };
        if high < NEGLIGIBLE || low > 1.0 - NEGLIGIBLE {
            return true;
        }
        (to.0 - from.0).abs() <= self.coarsest * self.placed.stretch(from.0, to.0)
    }

    /// (P(X ≤ here), density here) at a place on its scale, by cubic Hermite interpolation: error below 1e-8.
    fn at(&self, t: f64) -> (f64, f64) {
        let table = self.table();
        let after = table.partition_point(|row| row[0] < t);
        let (Some(left), Some(right)) = (after.checked_sub(1).and_then(|at| table.get(at)), table.get(after)) else {
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

/// (place, density, P(X ≤ here)) at the nodes of all panels.
fn tabulated(placed: &Placed, posterior: Posterior) -> Vec<[f64; 3]> {
    let edges = worthwhile(placed, posterior);
    let (nodes, running) = (nodes(), running_weights());
    let mut table = Vec::with_capacity(edges.len() * NODES);
    let mut below = 0.0;
    for (from, to) in edges.iter().zip(edges.iter().skip(1)) {
        let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
        let densities = nodes.map(|(x, _)| placed.density(middle + half * x));
        for ((weights, (x, _)), density) in running.iter().zip(nodes).zip(densities) {
            let part: f64 = weights.iter().zip(densities).map(|(w, f)| w * f).sum();
            table.push([middle + half * x, density, (below + half * part).clamp(0.0, 1.0)]);
        }
        below = (below + half * nodes.iter().zip(densities).map(|((_, w), f)| w * f).sum::<f64>()).min(1.0);
    }
    table
}

/// The edges of panels with anything in them: beyond a rate's seventh panel on either side lies less than 10⁻⁹ of it.
fn worthwhile(placed: &Placed, posterior: Posterior) -> &[f64] {
    let outer = if matches!(posterior, Posterior::Rate(_)) { 2 } else { 0 };
    placed.edges.get(outer..placed.edges.len().saturating_sub(outer)).unwrap_or_default()
}

/// (value, mass) at equal steps over where the density is worth having; the masses sum to one.
///
/// For a mean the steps are equal in s, t being location + scale·κ·sinh(s/κ) with κ = √ν: as long as a normal density's near the
/// location, and growing with the distance where the tail is a power.
fn equal_steps(placed: &Placed, posterior: Posterior) -> Vec<(f64, f64)> {
    // A rate's outermost panels hold less than 10⁻⁷ of it; a mean's may hold more.
    let outer = if matches!(posterior, Posterior::Rate(_)) { 3 } else { 0 };
    let (Some(low), Some(high)) =
        (placed.edges.get(outer), placed.edges.len().checked_sub(outer + 1).and_then(|at| placed.edges.get(at)))
    else {
        return Vec::new();
    };
    let (low, high) = (placed.straightened(*low), placed.straightened(*high));
    let deviation = if matches!(posterior, Posterior::Rate(_)) { placed.deviation() } else { 1.0 };
    let count = libm::ceil((high - low) * STEPS / deviation).clamp(8.0, 2_000.0);
    let step = (high - low) / count;
    #[expect(clippy::cast_sign_loss, reason = "8 to 2,000")]
    let mut nodes: Vec<(f64, f64)> = (0..=count as usize)
        .map(|i| {
            let (t, slope) = placed.bent(low + step * i as f64);
            (placed.value(t).0, placed.density(t) * slope)
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
    /// The same, with e^θ known.
    Scale { factor: f64 },
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
            Self::Scale { factor } => (value * factor, value * factor),
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
            Self::Scale { factor } => (mapped / factor, -mapped / factor),
            Self::Ratio => (mapped / theta, -mapped / (theta * theta)),
            Self::Shift => (mapped - theta, -1.0),
            Self::Within { ratio } => ((mapped - theta) / ratio, -1.0 / ratio),
        }
    }
}

/// (P(B ≤ map(A)), its derivative by θ).
fn probability(b: &Profile, a: &Profile, map: Map, theta: f64) -> (f64, f64) {
    // First over the one whose mapped values stay within what the other may be, so that no end is singular; of two means, over
    // the narrower. A ratio of means can only be mapped one way.
    let over_a = match map {
        Map::LogRatio | Map::Scale { .. } => theta <= 0.0,
        Map::Shift if matches!(a.posterior, Posterior::Rate(_)) => theta >= 0.0,
        Map::Shift => a.value().1 <= b.value().1,
        // Where both have the same values either would do: over B, whose table need not be made then.
        Map::Within { ratio } => ratio <= 1.0 && theta >= 0.0 && (ratio, theta) != (1.0, 0.0),
        Map::Ratio => true,
    };
    let map = if matches!(map, Map::LogRatio) { Map::Scale { factor: exp(theta) } } else { map };
    on_steps(b, a, map, theta, over_a)
        .or_else(|| if matches!(map, Map::Ratio) { None } else { on_steps(b, a, map, theta, !over_a) })
        .unwrap_or_else(|| on_panels(b, a, map, theta))
}

/// The same by the trapezoidal rule over A, or over B; `None` where its steps are too long for the other.
fn on_steps(b: &Profile, a: &Profile, map: Map, theta: f64, over_a: bool) -> Option<(f64, f64)> {
    let (outer, inner) = if over_a { (a, b) } else { (b, a) };
    let (mut sum, mut slope) = (0.0, 0.0);
    let mut last: Option<(f64, f64, f64)> = None;
    for (value, mass) in outer.nodes() {
        let (mapped, by_theta) = if over_a { map.apply(*value, theta) } else { map.invert(*value, theta) };
        let t = inner.placed.at_value(mapped);
        let (below, density) = inner.at(t);
        if let Some((last_t, last_below, last_mass)) = last
            && mass.max(last_mass) > NEGLIGIBLE
            && !inner.resolves((last_t, last_below), (t, below))
        {
            return None;
        }
        last = Some((t, below, *mass));
        sum += mass * below;
        if density > 0.0 {
            slope += mass * density * by_theta / inner.placed.slope_at_value(mapped);
        }
    }
    let sum = sum.clamp(0.0, 1.0);
    Some(if over_a { (sum, slope) } else { (1.0 - sum, -slope) })
}

/// The same by Gauss–Legendre panels, whose edges are those of both: exact also where a distribution function has a kink.
fn on_panels(b: &Profile, a: &Profile, map: Map, theta: f64) -> (f64, f64) {
    let own = worthwhile(&a.placed, a.posterior);
    let (low, high) = (own.first().copied().unwrap_or(0.0), own.last().copied().unwrap_or(0.0));
    let mut others: Vec<f64> = b
        .placed
        .edges
        .iter()
        .map(|edge| a.placed.at_value(map.invert(b.placed.value(*edge).0, theta).0))
        .filter(|edge| *edge > low && *edge < high)
        .collect();
    others.sort_by(f64::total_cmp);
    let mut edges = [own, &others].concat();
    edges.sort_by(f64::total_cmp);
    let edges = thinned(&edges, &[own, &others]);
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
    let (like_a, like_b) = (alike(b, a), alike(a, b));
    let (b, a) = (like_a.as_ref().unwrap_or(b), like_b.as_ref().unwrap_or(a));
    let outside = 0.5 * (1.0 - if mass.is_nan() { 1.0 } else { mass.clamp(0.0, 1.0) });
    Compared {
        greater: 1.0 - probability(b, a, Map::Shift, 0.0).0,
        lift: lift(b, a, outside),
        difference: difference(b, a, outside),
    }
}

/// The central interval of the relative lift (B − A)/A that holds `mass`, for independent `b` and `a`; `None` where A may be zero
/// or less (P(A ≤ 0) > 0.001, for means). `mass` is clamped to \[0, 1\]; NaN counts as 1, for which ends are unbounded. Its ends'
/// probabilities are exact to 1e-6 where no shape is below ½, as counts give them.
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
    within(&Profile::new(b.into()), &Profile::new(a.into()), ratio, margin)
}

/// As [`probability_within`], for profiles of rates that are made once and compared often; 0 for profiles of means.
#[must_use]
pub fn within(b: &Profile, a: &Profile, ratio: f64, margin: f64) -> f64 {
    let rates = matches!((b.posterior, a.posterior), (Posterior::Rate(_), Posterior::Rate(_)));
    if !(rates && ratio > 0.0 && ratio.is_finite() && margin.is_finite()) {
        return 0.0;
    }
    probability(b, a, Map::Within { ratio }, margin).0
}

/// A profile of a mean where only the other is one. No caller mixes them.
fn alike(profile: &Profile, other: &Profile) -> Option<Profile> {
    let like = Posterior::alike(&[profile.posterior, other.posterior]).first().copied()?;
    (like != profile.posterior).then(|| Profile::new(like))
}

fn lift(b: &Profile, a: &Profile, outside: f64) -> Option<(f64, f64)> {
    if let Posterior::Mean(student) = a.posterior {
        if student.cdf(0.0) > NEAR_ZERO {
            return None;
        }
        if outside <= 0.0 {
            return Some((f64::NEG_INFINITY, f64::INFINITY));
        }
        let ratio = b.value().0 / a.value().0;
        let deviation = sqrt(b.value().1 + ratio * ratio * a.value().1) / a.value().0;
        let (low, high) = ends(b, a, Map::Ratio, ratio, deviation, outside);
        return Some((low - 1.0, high - 1.0));
    }
    if outside <= 0.0 {
        return Some((-1.0, f64::INFINITY));
    }
    let deviation = sqrt(b.log_value().1 + a.log_value().1);
    let (low, high) = ends(b, a, Map::LogRatio, b.log_value().0 - a.log_value().0, deviation, outside);
    Some((expm1(low), expm1(high)))
}

fn difference(b: &Profile, a: &Profile, outside: f64) -> (f64, f64) {
    if outside <= 0.0 {
        return match b.posterior {
            Posterior::Rate(_) => (-1.0, 1.0),
            Posterior::Mean(_) => (f64::NEG_INFINITY, f64::INFINITY),
        };
    }
    ends(b, a, Map::Shift, b.value().0 - a.value().0, sqrt(b.value().1 + a.value().1), outside)
}

/// The θ with P(B ≤ map(A)) = `outside`, and the one with 1 − `outside`; `middle` and `deviation` are where to look.
/// All numbers where doubles do not reach.
fn ends(b: &Profile, a: &Profile, map: Map, middle: f64, deviation: f64, outside: f64) -> (f64, f64) {
    if !(middle.is_finite() && deviation.is_finite()) {
        return (f64::NEG_INFINITY, f64::INFINITY);
    }
    let z = normal_quantile(log(outside));
    let end = |p: f64, guess: f64| solve(|theta| probability(b, a, map, theta), p, guess, deviation);
    let (low, high) = (end(outside, middle + z * deviation), end(1.0 - outside, middle - z * deviation));
    // Equal but for rounding where almost no mass is asked for.
    if low.is_nan() || high.is_nan() { (f64::NEG_INFINITY, f64::INFINITY) } else { (low.min(high), high.max(low)) }
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
        let newton = theta - excess * found * (1.0 - found) / slope;
        // After this step the error is about the square of what it is now.
        if excess.abs() < 3e-4 {
            return if newton > low && newton < high { newton } else { theta };
        }
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
