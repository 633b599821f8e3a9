//! A fixed even split for an hour, decided at its end by the point estimates: whoever keeps the guardrails on errors as observed is
//! promoted.

use super::{Policy, View, begin_with, candidate, ended, hold, promote, roll_back};
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
        #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
        let rate = |(n, k): (u64, u64)| if n == 0 { 0.0 } else { k as f64 / n as f64 };
        let (b, a) = (rate(ended(view.seen, canary)), rate(ended(view.seen, experiment.baseline)));
        let kept = experiment.guardrails.iter().all(|guardrail| match guardrail.bound {
            Bound::ErrorRate { ratio, margin } => b <= ratio * a + margin,
            Bound::Latency { .. } => true,
        }) && experiment.objectives.iter().all(|objective| match objective.limit {
            Limit::ErrorRate { max } => b <= max,
            Limit::Latency { .. } => true,
        });
        let reason = format!("errors {:.2}% against {:.2}%", 100.0 * b, 100.0 * a);
        if kept { promote(state, canary, view.now, reason) } else { roll_back(experiment, state, view.now, reason) }
    }
}
