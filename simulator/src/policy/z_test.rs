//! A test that is looked at too often, as many dashboards invite to: a fixed even split, every minute a two-proportion z-test (pooled,
//! two-sided) on the errors so far; p < 0.05 and worse rolls back; whoever survives sixty looks is promoted.

use super::{Policy, View, begin_with, candidate, ended, hold, promote, roll_back};
use statrs::distribution::{ContinuousCDF, Normal};
use weir_engine::decide::Decision;
use weir_engine::policy::equal_weights;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

const INTERVAL_MS: u64 = 60_000;
const LOOKS: u32 = 60;
const LEVEL: f64 = 0.05;

/// See the module.
#[derive(Debug, Default)]
pub struct PeekingZTest {
    looks: u32,
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
        if view.now < u64::from(self.looks + 1) * INTERVAL_MS {
            return hold(state, view.now);
        }
        self.looks += 1;
        let canary = candidate(experiment);
        let p = p_worse(ended(view.seen, canary), ended(view.seen, experiment.baseline));
        if p.is_some_and(|p| p < LEVEL) {
            let reason = format!("look {}: p = {:.3}", self.looks, p.unwrap_or(1.0));
            return roll_back(experiment, state, view.now, reason);
        }
        if self.looks >= LOOKS {
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
}
