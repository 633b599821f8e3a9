//! From beliefs to shares of traffic. Floors, steps and lattices are the engine's business.

/// Thompson sampling's shares: each version gets traffic in proportion to its probability of being best.
///
/// `best` need not be normalised (P(best and feasible) sums to less than one). Entries that are negative, infinite or NaN
/// count as zero; when nothing is left, all get the same share. The result sums to one, unless `best` is empty.
///
/// Source: Scott (2015), multi-armed bandits by randomised probability matching; Russo (2020).
#[must_use]
pub fn thompson(best: &[f64]) -> Vec<f64> {
    let usable = |p: &f64| if p.is_finite() && *p > 0.0 { *p } else { 0.0 };
    // Divided by the largest first: a sum of huge entries may overflow, one of tiny entries may lose everything.
    let largest = best.iter().map(usable).fold(0.0, f64::max);
    if largest == 0.0 {
        return vec![1.0 / best.len() as f64; best.len()];
    }
    let scaled: Vec<f64> = best.iter().map(|p| usable(p) / largest).collect();
    let total: f64 = scaled.iter().sum();
    scaled.into_iter().map(|p| p / total).collect()
}

/// Equal shares for `n` versions.
#[must_use]
pub fn uniform(n: usize) -> Vec<f64> {
    vec![1.0 / n as f64; n]
}

/// When everyone but the leader has less than this together, who comes second is asked of beliefs without the leader.
const CONFIDENT: f64 = 1e-4;

/// Top-two Thompson sampling's shares: with probability `beta` the version that seems best, else the one that seems best
/// among the others. ψ_i = α_i·\[β + (1−β)·Σ_{j≠i} α_j/(1−α_j)\], α being P(best and feasible) normalised.
///
/// Explores more than Thompson sampling once a leader is clear, so that the best is known sooner. `beta` is clamped to
/// \[0, 1\], NaN counts as ½. Where the others share less than 10⁻⁴, α_j/(1−α_j) of the leader loses its meaning: the leader gets
/// β, and the others the rest in proportion to their own probabilities, equally when none is left. Entries as for
/// [`thompson`]; the result sums to one, unless `best_and_feasible` is empty.
///
/// Source: Russo (2020), simple Bayesian algorithms for best-arm identification, section 3.3.
#[must_use]
pub fn top_two(best_and_feasible: &[f64], beta: f64) -> Vec<f64> {
    let beta = if beta.is_nan() { 0.5 } else { beta.clamp(0.0, 1.0) };
    let alpha = thompson(best_and_feasible);
    if alpha.len() < 2 {
        return alpha;
    }
    let leader = alpha.iter().enumerate().max_by(|(_, x), (_, y)| x.total_cmp(y)).map_or(0, |(index, _)| index);
    let others =
        |values: &[f64]| -> f64 { values.iter().enumerate().filter(|(i, _)| *i != leader).map(|(_, p)| p).sum() };
    // Summed, not subtracted from one: nothing of a small rest is lost.
    let rest = others(&alpha);
    if rest < CONFIDENT {
        let mut without = best_and_feasible.to_vec();
        if let Some(slot) = without.get_mut(leader) {
            *slot = 0.0;
        }
        let mut second = thompson(&without);
        if rest == 0.0 {
            // `thompson` would give the leader its equal share again.
            second = vec![1.0 / (alpha.len() - 1) as f64; alpha.len()];
        }
        return second
            .into_iter()
            .enumerate()
            .map(|(i, p)| if i == leader { beta } else { (1.0 - beta) * p })
            .collect();
    }
    let odds: Vec<f64> =
        alpha.iter().enumerate().map(|(i, p)| if i == leader { p / rest } else { p / (1.0 - p) }).collect();
    let total: f64 = odds.iter().sum();
    let shares: Vec<f64> =
        alpha.iter().zip(&odds).map(|(p, own)| p * (beta + (1.0 - beta) * (total - own).max(0.0))).collect();
    // They sum to one but for rounding.
    thompson(&shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_proportional_and_sum_to_one() {
        let shares = thompson(&[0.2, 0.6]);
        assert!((shares[0] - 0.25).abs() < 1e-15 && (shares[1] - 0.75).abs() < 1e-15, "{shares:?}");
        assert_eq!(thompson(&[f64::MAX, f64::MAX]), vec![0.5, 0.5]);
        assert_eq!(thompson(&[1e-310, 0.0]), vec![1.0, 0.0]);
    }

    #[test]
    fn nothing_known_is_an_equal_split() {
        assert_eq!(thompson(&[0.0, f64::NAN, -1.0, f64::INFINITY]), vec![0.25; 4]);
        assert!(thompson(&[]).is_empty());
    }

    #[test]
    fn top_two_is_the_leader_and_who_leads_without_it() {
        let alpha = [0.5, 0.3, 0.2];
        // By enumeration: first i with beta, else first j and second i among the others.
        for beta in [0.0, 0.5, 0.8, 1.0] {
            let found = top_two(&alpha, beta);
            for (i, found) in found.iter().enumerate() {
                let second: f64 = (0..3).filter(|j| *j != i).map(|j| alpha[j] * alpha[i] / (1.0 - alpha[j])).sum();
                assert!((found - (beta * alpha[i] + (1.0 - beta) * second)).abs() < 1e-14, "{beta} {i}");
            }
        }
    }

    #[test]
    fn a_certain_leader_still_leaves_the_others_their_part() {
        let shares = top_two(&[1e-9, 1.0 - 4e-9, 3e-9], 0.5);
        assert!((shares[1] - 0.5).abs() < 1e-9 && (shares[0] - 0.125).abs() < 1e-9, "{shares:?}");
        assert_eq!(top_two(&[0.0, 7.0, 0.0], 0.6), vec![0.2, 0.6, 0.2]);
        assert_eq!(top_two(&[0.4], 0.5), vec![1.0]);
        assert!(top_two(&[], 0.5).is_empty());
        assert_eq!(uniform(4), vec![0.25; 4]);
        assert!(uniform(0).is_empty());
    }

    #[test]
    fn shares_are_continuous_where_the_leader_becomes_certain() {
        let at = |rest: f64| top_two(&[0.25 * rest, 1.0 - rest, 0.75 * rest], 0.5);
        for (x, y) in at(1.001e-4).iter().zip(at(0.999e-4)) {
            assert!((x - y).abs() < 2e-4, "{x} {y}");
        }
    }
}
