//! A fixed even split for an hour, decided at its end by the point estimates: whoever keeps the limits as observed, on errors and on
//! the mean latency, is promoted.

use super::{Policy, View, begin_with, candidate, error_rate, hold, mean_ms, promote, roll_back};
use weir_core::report::Counts;
use weir_engine::decide::Decision;
use weir_engine::policy::equal_weights;
use weir_engine::spec::{Bound, Experiment, Limit};
use weir_engine::state::State;

const DURATION_MS: u64 = 3_600_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Uniform;

impl Policy for Uniform {
    fn name(&self) -> String {
        "uniform, point estimate".to_owned()
    }

    fn sees_outcomes_as_they_end(&self) -> bool {
        true
    }

    fn begin(&mut self, experiment: &Experiment) -> State {
        begin_with(experiment, equal_weights(experiment.versions.len(), experiment.baseline))
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        if view.now < DURATION_MS {
            return hold(state, view.now);
        }
        let canary = candidate(experiment);
        let of = |of: fn(&Counts) -> Option<f64>, version: usize| view.seen.get(version).and_then(of).unwrap_or(0.0);
        let (b, a) = (of(error_rate, canary), of(error_rate, experiment.baseline));
        let (slow_b, slow_a) = (of(mean_ms, canary), of(mean_ms, experiment.baseline));
        let kept = experiment.guardrails.iter().all(|guardrail| match guardrail.bound {
            Bound::ErrorRate { ratio, margin } => b <= ratio * a + margin,
            Bound::Latency { ratio } => slow_b <= ratio * slow_a,
        }) && experiment.objectives.iter().all(|objective| match objective.limit {
            Limit::ErrorRate { max } => b <= max,
            #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
            Limit::Latency { max_us, .. } => slow_b <= max_us as f64 / 1_000.0,
        });
        let reason =
            format!("errors {:.2}% against {:.2}%, mean {slow_b:.0} ms against {slow_a:.0} ms", 100.0 * b, 100.0 * a);
        if kept { promote(state, canary, view.now, reason) } else { roll_back(experiment, state, view.now, reason) }
    }
}
