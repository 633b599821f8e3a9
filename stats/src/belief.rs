//! What we think the numbers are: posteriors and probabilities of being best. Steers traffic and informs people; never
//! decides anything.
//!
//! Probabilities are integrals over the log-odds scale (for means: over the values) by Gauss–Legendre panels whose edges come
//! from all densities involved, however concentrated; they agree with high-precision references to 1e-8 (1e-7 for means).

use crate::beta::Beta;
use crate::grid::Grid;
use crate::kernel::is_propensity;
use serde::{Deserialize, Serialize};

pub use crate::grid::Posterior;
pub use crate::profile::{Compared, Profile, compare, difference_interval, lift_interval, probability_within};

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
    faded(strata.iter().map(|stratum| (*stratum, 1.0)))
}

/// The same of strata that have faded: an exposure of a stratum counts as so much of one, within (0, 1]. For beliefs that follow a
/// drift; evidence never fades. Strata whose part is outside are skipped.
///
/// Source: exponential forgetting, as in the power prior (Ibrahim & Chen, 2000).
#[must_use]
pub fn faded(strata: impl IntoIterator<Item = (Stratum, f64)>) -> Standardised {
    let (mut events, mut exposures, mut squares) = (0.0, 0.0, 0.0);
    for (stratum, part) in strata {
        let w = stratum.propensity;
        if stratum.exposures == 0 || !is_propensity(w) || !is_part(part) {
            continue;
        }
        let n = stratum.exposures as f64 * part;
        events += stratum.events.min(stratum.exposures) as f64 * part / w;
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

/// Whether an exposure may count as so much of one.
pub(crate) fn is_part(part: f64) -> bool {
    part > 0.0 && part <= 1.0
}

/// What is believed of one version when the best is sought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contender {
    /// Belief about its reward: all of them rates, or all means.
    pub reward: Posterior,
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
    /// As [`expected_loss`], from the same nodes.
    pub expected_loss: Vec<f64>,
}

/// P(best and feasible) of every contender: ∫ f_b φ_b Π_{k≠b}(1 − φ_k + φ_k F_k).
///
/// "Best" is the largest reward with `maximize`, else the smallest. Error below 1e-8, for means 1e-7. The order of the contenders changes
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
            reward: if maximize { c.reward } else { c.reward.mirrored() },
            feasible: if c.feasible.is_nan() { 0.0 } else { c.feasible.clamp(0.0, 1.0) },
        })
        .enumerate()
        .collect();
    order.sort_by(|(_, x), (_, y)| x.reward.order(&y.reward).then(x.feasible.total_cmp(&y.feasible)));
    let grid = Grid::new(&order.iter().map(|(_, c)| c.reward).collect::<Vec<_>>());

    let mut sums = vec![(0.0, 0.0, 0.0); order.len()];
    grid.for_each_node(|node| {
        let all_below: f64 = node.curves.iter().map(|at| at.below).product();
        for (index, (sum, at)) in sums.iter_mut().zip(node.curves).enumerate() {
            sum.2 += node.weight * node.value_slope * (at.below - all_below).max(0.0);
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
        expected_loss: vec![0.0; order.len()],
    };
    for ((position, contender), (all, feasible, loss)) in order.iter().zip(sums) {
        if let Some(slot) = out.expected_loss.get_mut(*position) {
            *slot = loss;
        }
        if let Some(slot) = out.best.get_mut(*position) {
            *slot = all.clamp(0.0, 1.0);
        }
        if let Some(slot) = out.best_and_feasible.get_mut(*position) {
            *slot = (contender.feasible * feasible).clamp(0.0, 1.0);
        }
    }
    out
}

/// P(B > A) for independent `b` and `a`. Error below 1e-8, for means 1e-6.
///
/// Source: as [`best_and_feasible`], for two.
#[must_use]
pub fn probability_greater(b: Posterior, a: Posterior) -> f64 {
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
/// not. The largest reward is best with `maximize`, else the smallest. Error below 1e-7 for rates; for means below 1e-5 of the
/// largest scale from two degrees of freedom on, and below that only a bound from below: a mean's tails may then be too heavy for a
/// loss to be finite. [`best_and_feasible`] gives the same with its probabilities.
///
/// Source: Russo (2020), simple regret under the posterior.
#[must_use]
pub fn expected_loss(rewards: &[Posterior], maximize: bool) -> Vec<f64> {
    let oriented: Vec<Posterior> = rewards.iter().map(|r| if maximize { *r } else { r.mirrored() }).collect();
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
