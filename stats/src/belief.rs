//! What we think the numbers are: posteriors and probabilities of being best. Steers traffic and informs people; never
//! decides anything.
//!
//! Probabilities are integrals over the log-odds scale by Gauss–Legendre panels whose edges come from all densities
//! involved, however concentrated; they agree with high-precision references to 1e-8.

use crate::beta::{Beta, Curve, Side};
use crate::kernel::is_propensity;
use crate::quadrature::{NODES, nodes, running_weights};
use libm::{exp, expm1, log, log1p};
use serde::{Deserialize, Serialize};

/// Settled counts of one version under one propensity (one epoch, or epochs with identical weights pooled).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stratum {
    /// Probability with which the version was assigned; (0, 1].
    pub propensity: f64,
    /// Settled exposures.
    pub exposures: u64,
    /// Exposures with the event (an error, a reward); counted as `exposures` where it is larger.
    pub events: u64,
}

/// A version's rate, standardised to the experiment's own traffic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standardised {
    /// p̂ = Σ(k/w)/Σ(n/w); `None` without exposures.
    pub rate: Option<f64>,
    /// Kish's effective number of exposures, (Σn/w)²/Σ(n/w²); at most the number of exposures.
    pub effective_exposures: f64,
    /// Beta(½ + n_eff·p̂, ½ + n_eff·(1 − p̂)). Approximate: n_eff stands for a sample of that size.
    pub posterior: Beta,
}

/// Standardises a version's rate over strata of different propensity, and gives its posterior.
///
/// Give it only strata in which **all** compared versions had weight, or the versions answer for different traffic. The
/// prior Beta(½, ½) is applied once, not per stratum. Strata without exposures or with a propensity outside \[10⁻⁹, 1\]
/// are skipped.
///
/// Source: inverse propensity weighting as in Waudby-Smith et al. (2024); effective size after Kish (1965); Jeffreys'
/// prior.
#[must_use]
pub fn standardised(strata: &[Stratum]) -> Standardised {
    let (mut events, mut exposures, mut squares) = (0.0, 0.0, 0.0);
    for stratum in strata {
        let w = stratum.propensity;
        if stratum.exposures == 0 || !is_propensity(w) {
            continue;
        }
        let n = stratum.exposures as f64;
        events += stratum.events.min(stratum.exposures) as f64 / w;
        exposures += n / w;
        squares += n / w / w;
    }
    let usable = exposures > 0.0;
    let (rate, effective) =
        if usable { ((events / exposures).min(1.0), exposures * exposures / squares) } else { (0.0, 0.0) };
    let alpha = Beta::JEFFREYS.alpha + effective * rate;
    let beta = Beta::JEFFREYS.beta + effective * (1.0 - rate);
    Standardised {
        rate: usable.then_some(rate),
        effective_exposures: effective,
        posterior: Beta::new(alpha, beta).unwrap_or(Beta::JEFFREYS),
    }
}

/// What is believed of one version when the best is sought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contender {
    /// Belief about its reward rate.
    pub reward: Beta,
    /// φ: probability that it keeps its objectives, taken as independent of the reward; clamped to \[0, 1\], NaN counts as 0.
    pub feasible: f64,
}

/// Probabilities of being best, in the order of the contenders.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Best {
    /// P(the version is feasible, and no other feasible version is better).
    pub best_and_feasible: Vec<f64>,
    /// P(no version is feasible) = Π(1 − φ). With `best_and_feasible` it sums to one.
    pub none_feasible: f64,
    /// P(the version is best, objectives or not); sums to one.
    pub best: Vec<f64>,
}

/// P(best and feasible) of every contender: ∫ f_b φ_b Π_{k≠b}(1 − φ_k + φ_k F_k).
///
/// "Best" is the largest reward with `maximize`, else the smallest. Error below 1e-8. The order of the contenders changes
/// nothing, not a bit. Meant for up to 16 contenders (then some milliseconds); the time grows with the cube of their
/// number.
///
/// Source: Scott (2015) and Russo (2020) for the probability of being best; feasibility as an independent event.
#[must_use]
pub fn best_and_feasible(contenders: &[Contender], maximize: bool) -> Best {
    // A canonical order makes sums and products come out the same for every order of the input.
    let mut order: Vec<(usize, Contender)> = contenders
        .iter()
        .map(|c| Contender {
            reward: if maximize { c.reward } else { c.reward.complement() },
            feasible: if c.feasible.is_nan() { 0.0 } else { c.feasible.clamp(0.0, 1.0) },
        })
        .enumerate()
        .collect();
    order.sort_by(|(_, x), (_, y)| {
        let by_shape = x.reward.alpha.total_cmp(&y.reward.alpha).then(x.reward.beta.total_cmp(&y.reward.beta));
        by_shape.then(x.feasible.total_cmp(&y.feasible))
    });
    let grid = Grid::new(&order.iter().map(|(_, c)| c.reward).collect::<Vec<_>>());

    let mut sums = vec![(0.0, 0.0); order.len()];
    grid.for_each_node(|node| {
        for (index, (sum, at)) in sums.iter_mut().zip(node.curves).enumerate() {
            if at.density == 0.0 {
                continue;
            }
            let (mut all, mut feasible) = (1.0, 1.0);
            for (other, (at_other, (_, contender))) in node.curves.iter().zip(&order).enumerate() {
                if other != index {
                    all *= at_other.below;
                    feasible *= 1.0 - contender.feasible + contender.feasible * at_other.below;
                }
            }
            sum.0 += node.weight * at.density * all;
            sum.1 += node.weight * at.density * feasible;
        }
    });

    let mut out = Best {
        best_and_feasible: vec![0.0; order.len()],
        none_feasible: order.iter().map(|(_, c)| 1.0 - c.feasible).product(),
        best: vec![0.0; order.len()],
    };
    for ((position, contender), (all, feasible)) in order.iter().zip(sums) {
        if let Some(slot) = out.best.get_mut(*position) {
            *slot = all.clamp(0.0, 1.0);
        }
        if let Some(slot) = out.best_and_feasible.get_mut(*position) {
            *slot = (contender.feasible * feasible).clamp(0.0, 1.0);
        }
    }
    out
}

/// P(B > A) for independent `b` and `a`. Error below 1e-8.
///
/// Source: as [`best_and_feasible`], for two.
#[must_use]
pub fn probability_greater(b: Beta, a: Beta) -> f64 {
    let grid = Grid::new(&[b, a]);
    let mut sum = 0.0;
    grid.for_each_node(|node| {
        if let [b, a] = node.curves {
            sum += node.weight * b.density * a.below;
        }
    });
    sum.clamp(0.0, 1.0)
}

/// What is lost on average, in reward per exposure, by settling for each version: E\[best of all − this one\], feasible or
/// not. The largest reward is best with `maximize`, else the smallest. Error below 1e-7.
///
/// Source: Russo (2020), simple regret under the posterior.
#[must_use]
pub fn expected_loss(rewards: &[Beta], maximize: bool) -> Vec<f64> {
    let oriented: Vec<Beta> = rewards.iter().map(|r| if maximize { *r } else { r.complement() }).collect();
    let mut losses = vec![0.0; oriented.len()];
    // E[max − X_b] = ∫ (F_b − ΠF) dx, whose integrand is never negative: nothing cancels.
    Grid::new(&oriented).for_each_node(|node| {
        let all: f64 = node.curves.iter().map(|at| at.below).product();
        for (loss, at) in losses.iter_mut().zip(node.curves) {
            *loss += node.weight * node.value_slope * (at.below - all).max(0.0);
        }
    });
    losses
}

/// The central interval of the relative lift (B − A)/A that holds `mass`, for independent `b` and `a`; −1 to +∞ for a mass
/// of one. `mass` is clamped to \[0, 1\]; NaN counts as 1. Its ends' probabilities are exact to 1e-6.
///
/// Belief about an effect's size; says nothing about whether to act.
#[must_use]
pub fn lift_interval(b: Beta, a: Beta, mass: f64) -> (f64, f64) {
    let mass = if mass.is_nan() { 1.0 } else { mass.clamp(0.0, 1.0) };
    let outside = 0.5 * (1.0 - mass);
    if outside <= 0.0 {
        return (-1.0, f64::INFINITY);
    }
    // A/B mirrors B/A: both ends are lower ends, of small probabilities kept exact.
    let low = lower_log_ratio(b, a, outside);
    let high = -lower_log_ratio(a, b, outside);
    (expm1(low.min(high)), expm1(high.max(low)))
}

/// The logarithm of the r with P(B ≤ r·A) = `p`, for p in (0, ½].
fn lower_log_ratio(b: Beta, a: Beta, p: f64) -> f64 {
    // Half of p in either of two tails bounds the quantile from below; all but the half from above.
    let bound = |q: f64| (log(b.quantile(q)) - log(a.upper_quantile(q))).max(-700.0);
    let (mut low, mut high) = (bound(0.5 * p), bound(1.0 - 0.5 * p).min(700.0));
    // Regula falsi on the logarithm, in its Illinois variant: never leaves the bracket, and does not stick to one end.
    let excess = |log_ratio: f64| log(probability_within_ratio(b, a, exp(log_ratio)).max(1e-300)) - log(p);
    let (mut at_low, mut at_high) = (excess(low), excess(high));
    for _ in 0..60 {
        if high - low <= 1e-12 * (1.0 + high.abs()) || at_low >= 0.0 || at_high <= 0.0 {
            break;
        }
        let secant = (low * at_high - high * at_low) / (at_high - at_low);
        let middle = if secant > low && secant < high { secant } else { 0.5 * (low + high) };
        let at_middle = excess(middle);
        if at_middle.abs() < 1e-11 {
            return middle;
        }
        if at_middle < 0.0 {
            (low, at_low) = (middle, at_middle);
            at_high *= 0.5;
        } else {
            (high, at_high) = (middle, at_middle);
            at_low *= 0.5;
        }
    }
    0.5 * (low + high)
}

/// P(B ≤ r·A). Integrates over the one whose scaled value stays below one, so that no end is singular.
fn probability_within_ratio(b: Beta, a: Beta, ratio: f64) -> f64 {
    if ratio <= 1.0 { probability_below_scaled(b, a, ratio) } else { 1.0 - probability_below_scaled(a, b, 1.0 / ratio) }
}

/// P(inner ≤ scale·outer), for a scale in \[0, 1\].
fn probability_below_scaled(inner: Beta, outer: Beta, scale: f64) -> f64 {
    let (inner, outer) = (Placed::new(inner), Placed::new(outer));
    // The outer log odds at which scale·outer reaches an edge of the inner.
    let reached = |t: f64| {
        let value = 1.0 / (1.0 + exp(-t));
        (value < scale).then(|| log(value / (scale - value)))
    };
    let mut edges: Vec<f64> = outer.edges.clone();
    edges.extend(inner.edges.iter().filter_map(|edge| reached(*edge)).filter(|edge| edge.is_finite()));
    edges.sort_by(f64::total_cmp);
    let (nodes, running) = (nodes(), running_weights());
    let (mut below, mut total) = (0.0, 0.0);
    for (from, to) in edges.iter().zip(edges.iter().skip(1)) {
        let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
        let mut densities = [0.0; NODES];
        for (density, (x, _)) in densities.iter_mut().zip(nodes) {
            let t = middle + half * x;
            // ln x and 1 − x of the outer value, and the log odds of scale·x, whose derivative is (1 − x)/(1 − scale·x).
            let (log_value, rest) = (-log1p(exp(-t)), 1.0 / (1.0 + exp(t)));
            let scaled = scale * exp(log_value);
            let at = log(scale) + log_value - log1p(-scaled);
            *density = inner.density(at) * rest / (1.0 - scaled);
        }
        for (weights, (x, weight)) in running.iter().zip(nodes) {
            let part: f64 = weights.iter().zip(densities).map(|(w, f)| w * f).sum();
            total += half * weight * outer.density(middle + half * x) * (below + half * part).clamp(0.0, 1.0);
        }
        let part: f64 = nodes.iter().zip(densities).map(|((_, w), f)| w * f).sum();
        below = (below + half * part).min(1.0);
    }
    total.clamp(0.0, 1.0)
}

/// One curve at one node.
#[derive(Debug, Clone, Copy, Default)]
struct AtNode {
    density: f64,
    /// P(X ≤ here).
    below: f64,
}

/// One node of the shared grid.
struct Node<'a> {
    weight: f64,
    /// dx/dt = x(1 − x) at the node.
    value_slope: f64,
    curves: &'a [AtNode],
}

/// A curve with its panels' edges on the log-odds scale, ascending.
struct Placed {
    curve: Curve,
    edges: Vec<f64>,
}

impl Placed {
    fn new(beta: Beta) -> Self {
        let curve = Curve::new(beta);
        let mut edges = vec![curve.mode];
        for side in [Side::Below, Side::Above] {
            edges.extend(curve.edges(0.0, side).map(|u| curve.mode + u));
        }
        edges.sort_by(f64::total_cmp);
        Self { curve, edges }
    }

    fn density(&self, t: f64) -> f64 {
        exp(self.curve.log_density(t - self.curve.mode))
    }

    /// Whether a panel touches the curve's support; beyond it the density is below e⁻⁴⁰ of its peak.
    fn touches(&self, from: f64, to: f64) -> bool {
        self.edges.first().is_some_and(|low| to > *low) && self.edges.last().is_some_and(|high| from < *high)
    }
}

/// Panels on the log-odds scale, fine enough for every curve wherever it matters.
struct Grid {
    curves: Vec<Placed>,
    edges: Vec<f64>,
}

impl Grid {
    fn new(betas: &[Beta]) -> Self {
        let curves: Vec<Placed> = betas.iter().map(|beta| Placed::new(*beta)).collect();
        let mut edges: Vec<f64> = curves.iter().flat_map(|placed| placed.edges.iter().copied()).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        Self { curves, edges }
    }

    /// Visits all nodes in ascending order.
    fn for_each_node(&self, mut visit: impl FnMut(&Node<'_>)) {
        let (nodes, running) = (nodes(), running_weights());
        let mut below = vec![0.0; self.curves.len()];
        // Node by node, all curves.
        let mut table = vec![vec![AtNode::default(); self.curves.len()]; NODES];
        for (from, to) in self.edges.iter().zip(self.edges.iter().skip(1)) {
            let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
            for (index, (placed, below)) in self.curves.iter().zip(&mut below).enumerate() {
                let mut densities = [0.0; NODES];
                let inside = placed.touches(*from, *to);
                if inside {
                    for (density, (x, _)) in densities.iter_mut().zip(nodes) {
                        *density = placed.density(middle + half * x);
                    }
                }
                for ((row, density), weights) in table.iter_mut().zip(densities).zip(&running) {
                    let part: f64 = if inside { weights.iter().zip(densities).map(|(w, f)| w * f).sum() } else { 0.0 };
                    if let Some(at) = row.get_mut(index) {
                        *at = AtNode { density, below: (*below + half * part).clamp(0.0, 1.0) };
                    }
                }
                let part: f64 = nodes.iter().zip(densities).map(|((_, w), f)| w * f).sum();
                *below = (*below + half * part).min(1.0);
            }
            for (row, (x, w)) in table.iter().zip(nodes) {
                let value = 1.0 / (1.0 + exp(-(middle + half * x)));
                visit(&Node { weight: half * w, value_slope: value * (1.0 - value), curves: row });
            }
        }
    }
}
