//! The evidence of one gate of one version: which e-processes it is, what an epoch adds to them, what they say.

use super::finite;
use super::first::{counts_in, first_events};
use super::stretch::Stretch;
use crate::cells::{Cell, Threshold};
use crate::spec::{Bound, Experiment, Limit};
use crate::state::{FIRST_LATENCY_GRID, LATENCY_QUANTILES, PairUnits};
use weir_stats::compare::{self, PairEpoch};
use weir_stats::kernel::tilts;
use weir_stats::margin::{Margin, MarginEpoch};
use weir_stats::process::{Claim, Shared, Tilted};
use weir_stats::units::FirstEvents;

/// Shares of slow exposures are compared as they are: the room that a latency guardrail gives is in its thresholds.
const EQUAL: f64 = 1.0;

/// The processes of one gate of one version.
#[derive(Debug, Clone)]
pub(super) enum Process {
    /// Card D on bad events.
    Errors { limit: f64, broken: Tilted, met: Tilted },
    /// Card D on slow exposures.
    Slow { limit: f64, threshold: Threshold, broken: Tilted, met: Tilted },
    /// Card A on bad events.
    Ratio { ratio: f64, violated: Tilted, met: Tilted },
    /// Card B.
    Margin { violated: Box<Margin>, met: Box<Margin> },
    /// Card C: card A on slow exposures, once per latency of the grid.
    Dominance { ratio: f64, deadline_us: f64, violated: Vec<Tilted>, met: Vec<Tilted> },
    /// Card F on bad events.
    FirstBad { ratio: f64, violated: Tilted, met: Tilted },
    /// Card F on slow exposures; the ratio is in the thresholds that the filters were given.
    FirstSlow { violated: Tilted, met: Tilted },
    /// No evidence is valid.
    Uncovered(Uncovered),
}

/// Why there is no evidence on a gate where users are the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Uncovered {
    /// It is an objective.
    Objective,
    /// It is a guardrail with a margin.
    Margin,
    /// It is not the first guardrail on latency.
    SecondLatency,
}

/// The method by which a gate is judged: a card of the project's method cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Absolute,
    Ratio,
    Margin,
    Dominance,
    FirstEvents,
}

/// What a gate's processes say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) covered: Result<Method, Uncovered>,
    pub(crate) log_e_violated: f64,
    pub(crate) log_e_met: f64,
}

/// The processes of a version's gates: the objectives, then, for a candidate, the guardrails.
pub(super) fn processes(experiment: &Experiment, version: usize) -> Vec<Process> {
    let requests = experiment.requests_are_units();
    let broken = || Tilted::new(Claim::Violated, tilts());
    let met = || Tilted::new(Claim::Met, tilts());
    // Without restarts: buckets of the version that fails more are used up sooner, so that late first events are mostly the other's,
    // and a restart that sees only these would blame it. A closed bucket could not show a late fault anyway.
    let first = || Tilted::violated_plain(tilts());
    let objectives = experiment.objectives.iter().map(|objective| match objective.limit {
        _ if !requests => Process::Uncovered(Uncovered::Objective),
        Limit::ErrorRate { max } => Process::Errors { limit: max, broken: broken(), met: met() },
        Limit::Latency { quantile, max_us } => {
            Process::Slow { limit: 1.0 - quantile, threshold: Threshold::Above(max_us), broken: broken(), met: met() }
        }
    });
    let mut latency_seen = false;
    let guardrails = experiment.guardrails.iter().filter(|_| version != experiment.baseline).map(|guardrail| {
        match guardrail.bound {
            Bound::ErrorRate { ratio, margin } if margin > 0.0 => {
                if !requests {
                    return Process::Uncovered(Uncovered::Margin);
                }
                match (Margin::new(Claim::Violated, ratio, margin), Margin::new(Claim::Met, ratio, margin)) {
                    (Some(violated), Some(met)) => Process::Margin { violated: Box::new(violated), met: Box::new(met) },
                    // A document cannot say this; an analysis of somebody's own struct could.
                    _ => Process::Uncovered(Uncovered::Margin),
                }
            }
            Bound::ErrorRate { ratio, .. } if requests => Process::Ratio { ratio, violated: broken(), met: met() },
            Bound::ErrorRate { ratio, .. } => Process::FirstBad { ratio, violated: first(), met: met() },
            Bound::Latency { ratio } if requests => {
                let each = LATENCY_QUANTILES;
                #[expect(clippy::cast_precision_loss, reason = "at most an hour of milliseconds")]
                let deadline_us = experiment.deadline_ms as f64 * 1_000.0;
                Process::Dominance {
                    ratio,
                    deadline_us,
                    violated: each.iter().map(|_| broken()).collect(),
                    met: each.iter().map(|_| met()).collect(),
                }
            }
            Bound::Latency { .. } => {
                if std::mem::replace(&mut latency_seen, true) {
                    return Process::Uncovered(Uncovered::SecondLatency);
                }
                Process::FirstSlow { violated: first(), met: met() }
            }
        }
    });
    objectives.chain(guardrails).collect()
}

impl Process {
    pub(super) fn push<C: Cell>(
        &mut self,
        stretch: &Stretch<'_, C>,
        baseline: usize,
        version: usize,
        units: Option<&PairUnits>,
    ) {
        let tally = stretch.tally(version);
        let epoch = stretch.epoch;
        let theta = |ratio: f64| compare::owner(ratio, stretch.propensity(baseline), stretch.propensity(version));
        let pair = |baseline_events: u64, candidate_events: u64| PairEpoch {
            baseline_propensity: stretch.propensity(baseline),
            candidate_propensity: stretch.propensity(version),
            baseline_events,
            candidate_events,
        };
        // Latencies that were not chosen for this service may lie where versions cannot differ: they prove no equality.
        let chosen = epoch.latency_grid != FIRST_LATENCY_GRID;
        match self {
            Self::Errors { limit, broken, met } => {
                broken.push(tally.bad(), tally.assigned, *limit);
                met.push(tally.bad(), tally.assigned, *limit);
            }
            Self::Slow { limit, threshold, broken, met } => {
                let (certain, possible) = stretch.slow(version, *threshold);
                broken.push(certain, tally.assigned, *limit);
                met.push(possible, tally.assigned, *limit);
            }
            Self::Ratio { ratio, violated, met } => {
                let events = pair(stretch.tally(baseline).bad(), tally.bad());
                compare::push(violated, &events, *ratio);
                compare::push(met, &events, *ratio);
            }
            Self::Margin { violated, met } => {
                let of_baseline = stretch.tally(baseline);
                let counts = MarginEpoch {
                    baseline_propensity: stretch.propensity(baseline),
                    candidate_propensity: stretch.propensity(version),
                    exposures: of_baseline.assigned.saturating_add(tally.assigned),
                    baseline_bad: of_baseline.bad(),
                    candidate_bad: tally.bad(),
                };
                violated.push(&counts);
                met.push(&counts);
            }
            Self::Dominance { ratio, deadline_us, violated, met } => {
                // Epochs in which the pair cannot be compared are skipped, by their weights alone.
                let Some(shared) = theta(EQUAL).map(|theta| Shared::new(tilts(), theta)) else { return };
                for ((violated, met), limit) in violated.iter_mut().zip(met).zip(&epoch.latency_grid) {
                    #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
                    let limit = *limit as f64;
                    // Beyond the deadline it is not seen who is slower: what is overdue may be within the limit.
                    if limit * *ratio > *deadline_us {
                        continue;
                    }
                    let of_baseline = stretch.slow(baseline, stretch.compared_at(limit));
                    let of_candidate = stretch.slow(version, stretch.compared_at(limit * *ratio));
                    // A bucket never helps a claim: what is in doubt counts against it.
                    violated.push_shared(of_candidate.0, of_candidate.0.saturating_add(of_baseline.1), &shared);
                    if chosen {
                        met.push_shared(of_candidate.1, of_candidate.1.saturating_add(of_baseline.0), &shared);
                    }
                }
            }
            Self::FirstBad { ratio, violated, met } => {
                let Some(pair) = units.filter(|pair| counts_in(pair, epoch.epoch)) else { return };
                if let Some(theta) = theta(*ratio) {
                    push_first(violated, met, first_events(pair.bad.as_ref(), epoch.epoch), theta);
                }
            }
            Self::FirstSlow { violated, met } => {
                let Some(pair) = units.filter(|pair| counts_in(pair, epoch.epoch)) else { return };
                let first = first_events(pair.slow.as_ref(), epoch.epoch);
                if let Some(theta) = theta(1.0) {
                    let ((more, all), (fewer, _)) = (first.for_more(), first.for_fewer());
                    violated.push(more, all, theta);
                    if chosen {
                        met.push(fewer, all, theta);
                    }
                }
            }
            Self::Uncovered(_) => {}
        }
    }

    pub(super) fn said(&self) -> Said {
        let said = |method, log_e_violated: f64, log_e_met: f64| Said {
            covered: Ok(method),
            log_e_violated: finite(log_e_violated),
            log_e_met: finite(log_e_met),
        };
        match self {
            Self::Errors { broken, met, .. } | Self::Slow { broken, met, .. } => {
                said(Method::Absolute, broken.log_e(), met.log_e())
            }
            Self::Ratio { violated, met, .. } => said(Method::Ratio, violated.log_e(), met.log_e()),
            Self::Margin { violated, met } => said(Method::Margin, violated.log_e(), met.log_e()),
            Self::Dominance { violated, met, .. } => said(
                Method::Dominance,
                crate::gates::log_mean(violated.iter().map(Tilted::log_e)),
                // Slower at *any* latency is the hypothesis to refute: each at which there was a comparison must be refuted.
                met.iter().filter(|met| met.epochs() > 0).map(Tilted::log_e).reduce(f64::min).unwrap_or(0.0),
            ),
            Self::FirstBad { violated, met, .. } | Self::FirstSlow { violated, met, .. } => {
                said(Method::FirstEvents, violated.log_e(), met.log_e())
            }
            Self::Uncovered(why) => Said { covered: Err(*why), log_e_violated: 0.0, log_e_met: 0.0 },
        }
    }
}

fn push_first(violated: &mut Tilted, met: &mut Tilted, first: FirstEvents, theta: f64) {
    let ((more, all), (fewer, _)) = (first.for_more(), first.for_fewer());
    violated.push(more, all, theta);
    met.push(fewer, all, theta);
}
