//! Our reconstruction of iter8's published analytics (2020): Beta posteriors of each version's error rate, looked at every 30 s for at
//! most a hundred looks; traffic by sampling from the posteriors, moved by at most two points a look; a version is a winner when it is
//! the best of the feasible with posterior probability 0.99 — at whichever look. Without a reward the feasible are all alike, and the
//! last-listed is taken. At the end the traffic goes to the winner, or without one to the baseline.

use super::{Policy, View, begin_with, candidate, ended, hold, promote, roll_back, shift};
use crate::random::{Random, seeded};
use rand_distr::{Beta, Distribution};
use weir_engine::decide::Decision;
use weir_engine::policy::equal_weights;
use weir_engine::spec::{Bound, Experiment, Limit, TOTAL_WEIGHT};
use weir_engine::state::State;

const INTERVAL_MS: u64 = 30_000;
const LOOKS: u32 = 100;
const SAMPLES: u32 = 1_000;
const BAR: f64 = 0.99;
/// Most that one look moves a weight, in basis points.
const MOST_MOVED: i64 = 200;

/// See the module.
#[derive(Debug)]
pub struct Iter8Like {
    random: Random,
    looks: u32,
}

impl Iter8Like {
    /// With samples of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: seeded(seed ^ 0x17e8), looks: 0 }
    }

    /// The share of samples in which each version is the last-listed that is feasible.
    fn preferred(&mut self, experiment: &Experiment, view: &View<'_>) -> Option<Vec<f64>> {
        #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
        let posterior = |(n, k): (u64, u64)| Beta::new(1.0 + k as f64, 1.0 + (n - k) as f64).ok();
        let count = experiment.versions.len();
        let posteriors: Option<Vec<_>> = (0..count).map(|version| posterior(ended(view.seen, version))).collect();
        let posteriors = posteriors?;
        let mut wins = vec![0_u32; count];
        for _ in 0..SAMPLES {
            let rates: Vec<f64> = posteriors.iter().map(|posterior| posterior.sample(&mut self.random)).collect();
            let baseline = rates.get(experiment.baseline).copied().unwrap_or(0.0);
            let feasible = |version: usize, rate: f64| {
                version == experiment.baseline
                    || (experiment.guardrails.iter().all(|guardrail| match guardrail.bound {
                        Bound::ErrorRate { ratio, margin } => rate <= ratio * baseline + margin,
                        Bound::Latency { .. } => true,
                    }) && experiment.objectives.iter().all(|objective| match objective.limit {
                        Limit::ErrorRate { max } => rate <= max,
                        Limit::Latency { .. } => true,
                    }))
            };
            let last = rates.iter().enumerate().rev().find(|(version, rate)| feasible(*version, **rate));
            if let Some(won) = last.and_then(|(version, _)| wins.get_mut(version)) {
                *won += 1;
            }
        }
        Some(wins.into_iter().map(|won| f64::from(won) / f64::from(SAMPLES)).collect())
    }
}

impl Policy for Iter8Like {
    fn name(&self) -> String {
        "iter8-like".to_owned()
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
        let Some(preferred) = self.preferred(experiment, view) else { return hold(state, view.now) };
        let canary = candidate(experiment);
        let share = preferred.get(canary).copied().unwrap_or(0.0);
        if share >= BAR {
            let reason = format!("look {}: feasible with probability {share:.3}", self.looks);
            return promote(state, canary, view.now, reason);
        }
        if share <= 1.0 - BAR {
            let reason = format!("look {}: feasible with probability {share:.3}", self.looks);
            return roll_back(experiment, state, view.now, reason);
        }
        if self.looks >= LOOKS {
            return roll_back(experiment, state, view.now, format!("no winner after {LOOKS} looks"));
        }
        let now = i64::from(state.weights().get(canary).copied().unwrap_or(0));
        #[expect(clippy::cast_possible_truncation, reason = "within 0 to TOTAL_WEIGHT")]
        let wanted = (share * f64::from(TOTAL_WEIGHT)) as i64;
        let next = u32::try_from(wanted.clamp(now - MOST_MOVED, now + MOST_MOVED).max(0)).unwrap_or(0);
        let of = |version: usize| match version {
            version if version == canary => next,
            version if version == experiment.baseline => TOTAL_WEIGHT - next,
            _ => 0,
        };
        shift(state, (0..experiment.versions.len()).map(of).collect(), view.now, format!("sampled {share:.2}"))
    }
}
