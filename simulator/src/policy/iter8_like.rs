//! Our reconstruction of iter8 as it was released in 2020 (version 1.0: analytics and controller), for experiments without a reward:
//!
//! - A look every 30 s, a hundred of them, on all counts since the beginning. It never ends early.
//! - Beliefs: Beta(0.1 + failed, 0.1 + others) for the error rate; for the **mean** latency (the only latency among its own metrics) a
//!   normal distribution in milliseconds whose variance is *range of the values seen so far* / (1 + requests).
//! - A version keeps its limits with the product of the probabilities of keeping each. Limits are absolute or relative to the
//!   baseline. With a relative limit the baseline itself is never found to keep it, and so never wins.
//! - Without a reward a version counts for more than those listed before it, and the baseline for least: the winner is the
//!   last-listed that keeps its limits, if that has probability above 0.99 at the last look. Nobody so sure: traffic goes to the baseline.
//! - Traffic in proportion to the probabilities of winning, 5% of it evenly; a candidate gains two points a look at most, from none.
//!
//! It is kinder than the original where an experiment has what iter8 had no word for: a margin on errors, and errors relative to the
//! baseline, are absolute limits at what the baseline shows at the look; a limit on a quantile is one on the mean.

use super::{Cadence, Policy, View, begin_with, canary_weights, candidate, error_rate, give_up, hold, mean_ms};
use super::{promote, roll_back, shift};
use crate::random::{Random, happens, seeded};
use statrs::distribution::{Beta, ContinuousCDF, Normal};
use weir_core::report::Counts;
use weir_engine::decide::Decision;
use weir_engine::spec::{Bound, Experiment, Limit, TOTAL_WEIGHT};
use weir_engine::state::State;

const INTERVAL_MS: u64 = 30_000;
const LOOKS: u32 = 100;
/// The original draws so many samples: what is rarer than one of them never happens.
const SAMPLES: f64 = 10_000.0;
const BAR: f64 = 0.99;
/// Of the traffic, spread evenly.
const EXPLORED: f64 = 0.05;
/// Most that one look adds to a weight, in basis points.
const MOST_GAINED: u32 = 200;
const PRIOR: f64 = 0.1;

/// See the module.
#[derive(Debug)]
pub struct Iter8Like {
    cadence: Cadence,
    /// Stands for the samples where a limit on latency is relative; `None`: it is absolute.
    relative: Option<Random>,
    /// The lowest and highest mean latency seen at any look, in milliseconds.
    range: Option<(f64, f64)>,
}

/// What is believed of a version's mean latency, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Mean {
    mean: f64,
    variance: f64,
}

impl Iter8Like {
    /// Limits are absolute: at what the baseline shows, as if its team had known.
    #[must_use]
    pub fn absolute() -> Self {
        Self { cadence: Cadence::every(INTERVAL_MS), relative: None, range: None }
    }

    /// The limit on latency is relative to the baseline.
    #[must_use]
    pub fn relative(seed: u64) -> Self {
        Self { relative: Some(seeded(seed ^ 0x17e8)), ..Self::absolute() }
    }

    /// Beliefs about mean latencies, after the range has grown by what is seen now.
    fn latencies(&mut self, seen: &[Counts]) -> Vec<Option<Mean>> {
        let means: Vec<Option<f64>> = seen.iter().map(mean_ms).collect();
        for mean in means.iter().flatten() {
            let (low, high) = self.range.unwrap_or((*mean, *mean));
            self.range = Some((low.min(*mean), high.max(*mean)));
        }
        let width = self.range.map_or(0.0, |(low, high)| high - low);
        #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
        let belief = |mean: f64, counts: &Counts| Mean { mean, variance: width / (1.0 + counts.completed as f64) };
        means.into_iter().zip(seen).map(|(mean, counts)| mean.map(|mean| belief(mean, counts))).collect()
    }

    /// The probability that each version keeps its limits; none where anything is unknown.
    fn keeps(&mut self, experiment: &Experiment, seen: &[Counts]) -> Vec<f64> {
        let latencies = self.latencies(seen);
        let baseline_errors = seen.get(experiment.baseline).and_then(error_rate);
        let baseline_latency = latencies.get(experiment.baseline).copied().flatten();
        let relative = self.relative.is_some();
        let keeps = |version: usize| -> Option<f64> {
            let counts = seen.get(version)?;
            let latency = latencies.get(version).copied().flatten();
            let mut keeps = 1.0;
            for objective in &experiment.objectives {
                keeps *= match objective.limit {
                    Limit::ErrorRate { max } => errors_within(counts, max)?,
                    #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
                    Limit::Latency { max_us, .. } => below(latency?, 0.0, Mean::exactly(max_us as f64 / 1_000.0)),
                };
            }
            for guardrail in &experiment.guardrails {
                keeps *= match guardrail.bound {
                    Bound::ErrorRate { ratio, margin } => errors_within(counts, ratio * baseline_errors? + margin)?,
                    Bound::Latency { .. } if relative && version == experiment.baseline => 0.0,
                    Bound::Latency { ratio } if relative => below(latency?, ratio, baseline_latency?),
                    Bound::Latency { ratio } => below(latency?, 0.0, Mean::exactly(ratio * baseline_latency?.mean)),
                };
            }
            Some(keeps)
        };
        (0..experiment.versions.len()).map(|version| keeps(version).unwrap_or(0.0)).collect()
    }

    /// The probability of winning, of a canary and of the baseline, from those of keeping the limits.
    fn wins(&mut self, canary: f64, baseline: f64) -> (f64, f64) {
        let (mut canary, baseline) = (canary, (1.0 - canary) * baseline);
        if let Some(random) = &mut self.relative {
            // Whether one sample at least has it: alone, it then wins for certain.
            let p = 1.0 - libm::pow(1.0 - canary, SAMPLES);
            canary = if happens(random, p) { canary } else { 0.0 };
        }
        let all = canary + baseline;
        if all <= 0.0 { (0.0, 0.0) } else { (canary / all, baseline / all) }
    }
}

impl Mean {
    const fn exactly(mean: f64) -> Self {
        Self { mean, variance: 0.0 }
    }
}

/// P(error rate ≤ limit); `None` of nothing.
fn errors_within(counts: &Counts, limit: f64) -> Option<f64> {
    if counts.completed == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "requests of an hour")]
    let (failed, others) = (counts.failed as f64, (counts.completed - counts.failed) as f64);
    Beta::new(PRIOR + failed, PRIOR + others).ok().map(|belief| belief.cdf(limit.clamp(0.0, 1.0)))
}

/// P(X ≤ ratio · Y) of independent normal variables; with a ratio of 0, P(X ≤ Y's mean).
fn below(x: Mean, ratio: f64, y: Mean) -> f64 {
    let (limit, more) = if ratio > 0.0 { (ratio * y.mean, ratio * ratio * y.variance) } else { (y.mean, 0.0) };
    let deviation = (x.variance + more).sqrt();
    if deviation <= 0.0 {
        return if x.mean <= limit { 1.0 } else { 0.0 };
    }
    Normal::new(x.mean - limit, deviation).map_or(0.0, |difference| difference.cdf(0.0))
}

impl Policy for Iter8Like {
    fn name(&self) -> String {
        format!("iter8-like ({} latency limit)", if self.relative.is_some() { "relative" } else { "absolute" })
    }

    fn sees_outcomes_as_they_end(&self) -> bool {
        true
    }

    fn begin(&mut self, experiment: &Experiment) -> State {
        begin_with(experiment, canary_weights(experiment, 0))
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        let Some(look) = self.cadence.look(view.now) else { return hold(state, view.now) };
        let canary = candidate(experiment);
        let keeps = self.keeps(experiment, view.seen);
        let of = |version: usize| keeps.get(version).copied().unwrap_or(0.0);
        let (keeps_canary, keeps_baseline) = (of(canary), of(experiment.baseline));
        if look >= LOOKS {
            let (of_canary, of_baseline) = self.wins(keeps_canary, keeps_baseline);
            return match () {
                () if of_canary > BAR => {
                    promote(state, canary, view.now, format!("it wins with probability {of_canary:.3}"))
                }
                () if of_baseline > BAR => {
                    let reason = format!("the baseline wins with probability {of_baseline:.3}");
                    roll_back(experiment, state, view.now, reason)
                }
                () => give_up(experiment, state, view.now, format!("no winner after {LOOKS} looks")),
            };
        }
        let now = state.weights().get(canary).copied().unwrap_or(0);
        let wanted = f64::from(TOTAL_WEIGHT) * (EXPLORED / 2.0 + (1.0 - EXPLORED) * keeps_canary);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to TOTAL_WEIGHT")]
        let next = (wanted as u32).min(now + MOST_GAINED).min(TOTAL_WEIGHT);
        let reason = format!("it keeps its limits with probability {keeps_canary:.2}");
        shift(state, canary_weights(experiment, next), view.now, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beliefs_are_those_of_scipy() {
        let counts = Counts { completed: 1_000, failed: 5, ..Counts::default() };
        // scipy 1.17.1: beta.cdf(0.008, 5.1, 995.1) = 0.893332…
        let p = errors_within(&counts, 0.008).unwrap();
        assert!((p - 0.893_332_528_927).abs() < 1e-9, "{p}");
        assert_eq!(errors_within(&Counts::default(), 0.5), None);
        // scipy 1.17.1: norm.cdf(0, 95 - 1.5 * 60, sqrt(9 + 1.5 ** 2 * 4)) = 0.1193…
        let p = below(Mean { mean: 95.0, variance: 9.0 }, 1.5, Mean { mean: 60.0, variance: 4.0 });
        assert!((p - 0.119_296_414_658).abs() < 1e-9, "{p}");
    }

    #[test]
    fn with_a_relative_limit_the_baseline_never_wins_and_one_sample_makes_a_winner() {
        let mut policy = Iter8Like::relative(1);
        assert_eq!(policy.wins(0.01, 0.0), (1.0, 0.0));
        assert_eq!(policy.wins(0.0, 0.0), (0.0, 0.0));
        let (canary, baseline) = Iter8Like::absolute().wins(0.01, 0.9);
        assert!((canary - 0.01 / 0.901).abs() < 1e-12 && (canary + baseline - 1.0).abs() < 1e-12);
    }
}
