//! What is so: from a scenario's behaviours alone, whether a version breaks a limit of the experiment at a time, and what a request
//! to it costs. Never seen by a policy.

use crate::scenario::{Behaviour, LogNormal, Scenario};
use statrs::distribution::{ContinuousCDF, Normal};
use weir_engine::spec::{Bound, Direction, Limit, RewardKind};

/// At which quantiles of the baseline's latency a latency guardrail is looked at, as the engine does.
const QUANTILES: [f64; 4] = weir_engine::state::LATENCY_QUANTILES;
/// A limit is broken by more than this share of itself: what is exactly at its limit keeps it.
const TOLERANCE: f64 = 1e-9;

/// One version at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Probability that a request ends badly: fails, or does not end by the deadline.
    pub bad_event: f64,
    /// Mean reward of a request.
    pub reward: f64,
    fails: f64,
    answers: Vec<LogNormal>,
    deadline_ms: f64,
}

impl Moment {
    /// A version of a scenario at a time, averaged over its users.
    #[must_use]
    pub fn of(scenario: &Scenario, version: usize, now_ms: u64) -> Self {
        let usual = Behaviour::default();
        let behaviour = scenario.versions.get(version).unwrap_or(&usual);
        let factors = scenario.factors_at(version, now_ms);
        // Kinds of users: the average of what each does, weighted by how many there are of it.
        let kinds = scenario.users.as_ref().map(|users| users.kinds.as_slice()).unwrap_or_default();
        let rest = 1.0 - kinds.iter().map(|kind| kind.share).sum::<f64>();
        let average = |rate: f64, of: fn(&crate::scenario::Kind) -> f64| {
            rest * rate.min(1.0) + kinds.iter().map(|kind| kind.share * (rate * of(kind)).min(1.0)).sum::<f64>()
        };
        let fails = average(behaviour.errors * factors.errors, |kind| kind.errors);
        let slowed = |parts: &[LogNormal]| -> Vec<LogNormal> {
            let all: f64 = parts.iter().map(|part| part.weight).sum();
            let of = |factor: f64, share: f64| {
                parts.iter().map(move |part| LogNormal {
                    weight: share * part.weight / all,
                    median: part.median * factors.latency * factor,
                    ..*part
                })
            };
            of(1.0, rest).chain(kinds.iter().flat_map(|kind| of(kind.latency, kind.share))).collect()
        };
        let answers = slowed(&behaviour.latency);
        #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
        let deadline_ms = scenario.experiment.deadline_ms as f64;
        let converts = average(behaviour.conversion * factors.conversion, |kind| kind.conversion);
        let amount = match (scenario.experiment.reward.as_ref().map(|reward| reward.kind), behaviour.amount) {
            (Some(RewardKind::Real), Some(amount)) => amount.median * (0.5 * amount.sigma * amount.sigma).exp(),
            _ => 1.0,
        };
        let mut moment = Self { bad_event: 0.0, reward: 0.0, fails, answers, deadline_ms };
        moment.bad_event = fails + (1.0 - fails) * longer(&moment.answers, deadline_ms);
        moment.reward = (1.0 - moment.bad_event) * converts * amount;
        moment
    }

    /// Probability that a request takes longer than so many milliseconds; failures and what is overdue are slow.
    #[must_use]
    pub fn slow(&self, milliseconds: f64) -> f64 {
        self.fails + (1.0 - self.fails) * longer(&self.answers, milliseconds.min(self.deadline_ms))
    }

    /// The `q`-quantile of latency, by bisection, in milliseconds.
    fn quantile(&self, q: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.deadline_ms);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.slow(middle) > 1.0 - q { low = middle } else { high = middle }
        }
        high
    }
}

/// Probability that a mixture exceeds so many milliseconds.
fn longer(parts: &[LogNormal], milliseconds: f64) -> f64 {
    let Ok(normal) = Normal::new(0.0, 1.0) else { return 0.0 };
    parts
        .iter()
        .map(|part| {
            let z = (milliseconds.ln() - part.median.ln()) / part.sigma.max(1e-12);
            part.weight * normal.sf(z)
        })
        .sum()
}

/// Which versions break a limit of the experiment at a time, and what each costs per request.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Per version.
    pub breaks: Vec<bool>,
    /// Per version: what a request loses against the best version that keeps the limits; never negative.
    pub regret: Vec<f64>,
}

impl Truth {
    /// The truth of a scenario at a time.
    #[must_use]
    pub fn at(scenario: &Scenario, now_ms: u64) -> Self {
        let experiment = &scenario.experiment;
        let moments: Vec<Moment> =
            (0..experiment.versions.len()).map(|version| Moment::of(scenario, version, now_ms)).collect();
        let breaks: Vec<bool> = (0..moments.len()).map(|version| breaks(scenario, &moments, version)).collect();
        // Without a reward a bad event costs one.
        let value: Vec<f64> = moments
            .iter()
            .map(|moment| match &experiment.reward {
                Some(reward) if reward.direction == Direction::Maximize => moment.reward,
                Some(_) => -moment.reward,
                None => -moment.bad_event,
            })
            .collect();
        let kept = value.iter().zip(&breaks).filter(|(_, breaks)| !**breaks).map(|(value, _)| *value);
        let best = kept.fold(f64::NEG_INFINITY, f64::max);
        // Where nobody keeps the limits, the best of all.
        let best = if best.is_finite() { best } else { value.iter().copied().fold(f64::NEG_INFINITY, f64::max) };
        let regret = value.iter().map(|value| (best - value).max(0.0)).collect();
        Self { breaks, regret }
    }
}

fn breaks(scenario: &Scenario, moments: &[Moment], version: usize) -> bool {
    let experiment = &scenario.experiment;
    let (Some(own), Some(baseline)) = (moments.get(version), moments.get(experiment.baseline)) else { return false };
    let above = |rate: f64, limit: f64| rate > limit * (1.0 + TOLERANCE);
    let objective = experiment.objectives.iter().any(|objective| match objective.limit {
        Limit::ErrorRate { max } => above(own.bad_event, max),
        #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
        Limit::Latency { quantile, max_us } => above(own.slow(max_us as f64 / 1_000.0), 1.0 - quantile),
    });
    let guarded = version != experiment.baseline;
    objective
        || guarded
            && experiment.guardrails.iter().any(|guardrail| match guardrail.bound {
                Bound::ErrorRate { ratio, margin } => above(own.bad_event, ratio * baseline.bad_event + margin),
                Bound::Latency { ratio } => QUANTILES.iter().any(|q| {
                    let at = baseline.quantile(*q);
                    above(own.slow(ratio * at), baseline.slow(at))
                }),
            })
}

/// Which versions are bad: as their author says, or those that break a limit at any time.
#[must_use]
pub fn bad(scenario: &Scenario) -> Vec<bool> {
    let looks: u64 = if scenario.is_constant() { 1 } else { 240 };
    let mut found = vec![false; scenario.versions.len()];
    for look in 0..looks {
        let truth = Truth::at(scenario, scenario.duration_ms * look / looks);
        found.iter_mut().zip(truth.breaks).for_each(|(bad, breaks)| *bad |= breaks);
    }
    found.into_iter().zip(&scenario.versions).map(|(found, version)| version.bad.unwrap_or(found)).collect()
}
