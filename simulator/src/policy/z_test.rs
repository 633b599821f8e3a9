//! A test that is looked at too often, as many dashboards invite to: a fixed even split, every minute a two-proportion z-test (pooled,
//! two-sided) on the errors so far, and where latency is guarded one of the mean latencies, the baseline's times the ratio; p < 0.05
//! and worse rolls back; whoever survives sixty looks is promoted.

use super::{Cadence, Policy, View, begin_with, candidate, ended, hold, promote, roll_back};
use statrs::distribution::{ContinuousCDF, Normal};
use weir_core::report::Counts;
use weir_engine::decide::Decision;
use weir_engine::policy::equal_weights;
use weir_engine::spec::{Bound, Experiment};
use weir_engine::state::State;

const INTERVAL_MS: u64 = 60_000;
const LOOKS: u32 = 60;
const LEVEL: f64 = 0.05;

/// See the module.
#[derive(Debug)]
pub struct PeekingZTest {
    cadence: Cadence,
}

impl Default for PeekingZTest {
    fn default() -> Self {
        Self { cadence: Cadence::every(INTERVAL_MS) }
    }
}

impl Policy for PeekingZTest {
    fn name(&self) -> String {
        "peeking z-test".to_owned()
    }

    fn sees_outcomes_as_they_end(&self) -> bool {
        true
    }

    fn begin(&mut self, experiment: &Experiment) -> State {
        begin_with(experiment, equal_weights(experiment.versions.len(), experiment.baseline))
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        let Some(look) = self.cadence.look(view.now) else { return hold(state, view.now) };
        let canary = candidate(experiment);
        let p = p_worse(ended(view.seen, canary), ended(view.seen, experiment.baseline));
        if let Some(p) = p.filter(|p| *p < LEVEL) {
            return roll_back(experiment, state, view.now, format!("look {look}: p = {p:.3} of errors"));
        }
        let slower = |ratio: f64| p_slower(view.seen.get(canary)?, view.seen.get(experiment.baseline)?, ratio);
        let ratios = experiment.guardrails.iter().filter_map(|guardrail| match guardrail.bound {
            Bound::Latency { ratio } => Some(ratio),
            Bound::ErrorRate { .. } => None,
        });
        if let Some(p) = ratios.filter_map(slower).find(|p| *p < LEVEL) {
            return roll_back(experiment, state, view.now, format!("look {look}: p = {p:.3} of latency"));
        }
        if look >= LOOKS {
            return promote(state, canary, view.now, format!("{LOOKS} looks without p < {LEVEL}"));
        }
        hold(state, view.now)
    }
}

/// Two-sided p of equal error rates, where b's is the higher; `None`: it is not, or there is nothing to compare.
fn p_worse(b: (u64, u64), a: (u64, u64)) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
    let [n_b, k_b, n_a, k_a] = [b.0, b.1, a.0, a.1].map(|count| count as f64);
    let (p_b, p_a, pooled) = (k_b / n_b, k_a / n_a, (k_a + k_b) / (n_a + n_b));
    let z = (p_b - p_a) / (pooled * (1.0 - pooled) * (1.0 / n_a + 1.0 / n_b)).sqrt();
    let normal = Normal::new(0.0, 1.0).ok()?;
    (z > 0.0).then(|| 2.0 * normal.sf(z))
}

/// Two-sided p of a mean latency that is `ratio` times the other, where b's is the higher; `None`: it is not, or there is nothing to
/// compare.
fn p_slower(b: &Counts, a: &Counts, ratio: f64) -> Option<f64> {
    let moments = |counts: &Counts| {
        let served = counts.completed.saturating_sub(counts.failed);
        #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
        let n = served as f64;
        let mean = counts.latency_sum / n;
        let variance = (counts.latency_sum_squares - n * mean * mean).max(0.0) / (n - 1.0);
        (served > 1).then_some((mean, variance / n))
    };
    let ((of_b, error_b), (of_a, error_a)) = (moments(b)?, moments(a)?);
    let z = (of_b - ratio * of_a) / (error_b + ratio * ratio * error_a).sqrt();
    let normal = Normal::new(0.0, 1.0).ok()?;
    (z > 0.0).then(|| 2.0 * normal.sf(z))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_p_value_is_that_of_statsmodels() {
        // statsmodels 0.15.0: proportions_ztest([15, 5], [1000, 1000]) → p = 0.024618761380815223.
        let p = p_worse((1_000, 15), (1_000, 5)).unwrap();
        assert!((p - 0.024_618_761_380_815).abs() < 1e-8, "{p}");
        assert_eq!(p_worse((1_000, 5), (1_000, 15)), None);
        assert_eq!(p_worse((0, 0), (10, 0)), None);
    }

    #[test]
    fn the_p_value_of_mean_latencies_is_welchs() {
        // A hundred of each with variance 1: z = (2 - 1.5 * 1) / sqrt(0.01 + 2.25 * 0.01).
        let of = |mean: f64| Counts {
            completed: 100,
            latency_sum: 100.0 * mean,
            latency_sum_squares: 100.0 * mean * mean + 99.0,
            ..Counts::default()
        };
        // scipy 1.17.1: 2 * norm.sf(0.5 / sqrt(0.0325)) = 0.005545667315244056
        let p = p_slower(&of(2.0), &of(1.0), 1.5).unwrap();
        assert!((p - 0.005_545_667_3).abs() < 1e-9, "{p}");
        assert_eq!(p_slower(&of(1.0), &of(1.0), 1.5), None);
        assert_eq!(p_slower(&Counts::default(), &of(1.0), 1.5), None);
    }
}
