//! What was seen of a version that breaks a limit: counts for people, of those exposures that speak against it. The verdict is
//! evidence's; a version may have been healthy for hours before, and what it was on average says nothing then.

use crate::cells::{Cell, Threshold};
use crate::evidence::Stretch;
use crate::gates::Gate;
use crate::spec::{Bound, Experiment, Limit};
use crate::state::{LATENCY_QUANTILES, Verdict};
use crate::words::{count, duration_us};
use serde::{Deserialize, Serialize};

/// More exposures are told as long as they speak against the version nearly as clearly as the clearest, to this part.
const NEARLY: f64 = 0.6;

/// Counts that show what a verdict says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// What they are counted for: `bad`, or `slow`.
    pub what: SeenWhat,
    /// So many of its settled exposures were.
    pub events: u64,
    /// Of so many.
    pub exposures: u64,
    /// Whether these are the latest, and there were others before.
    pub latest: bool,
    /// The same of the baseline in the same time, where the limit is relative to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<(u64, u64)>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum SeenWhat {
    /// Failures, and what did not end by the deadline.
    Bad,
    /// Longer than so many microseconds, or failed: an objective.
    SlowerThan {
        /// Microseconds.
        us: u64,
    },
    /// Slow as the baseline's latencies have it, or failed: a guardrail.
    Slow,
}

impl Seen {
    /// `12.40% of the latest 4,990 settled exposures were bad; of v1 0.31% of 5,012`.
    pub(crate) fn in_words(&self, baseline: &str) -> String {
        let latest = if self.latest { "the latest " } else { "" };
        let were = match self.what {
            SeenWhat::Bad => "were bad".to_owned(),
            SeenWhat::SlowerThan { us } => format!("took longer than {} or failed", duration_us(us)),
            SeenWhat::Slow => "were slow or failed".to_owned(),
        };
        let beside = self.baseline.map(|(events, exposures)| {
            format!("; of {baseline} {} of {}", percent(events, exposures), count(exposures))
        });
        format!(
            "{} of {latest}{} settled exposures {were}{}",
            percent(self.events, self.exposures),
            count(self.exposures),
            beside.unwrap_or_default()
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn percent(events: u64, exposures: u64) -> String {
    if exposures == 0 { "0%".to_owned() } else { format!("{:.2}%", 100.0 * events as f64 / exposures as f64) }
}

/// Counts of one epoch, or of several.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    events: u64,
    exposures: u64,
    /// Of the baseline.
    beside: (u64, u64),
}

impl Part {
    fn add(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.exposures = self.exposures.saturating_add(other.exposures);
        self.beside.0 = self.beside.0.saturating_add(other.beside.0);
        self.beside.1 = self.beside.1.saturating_add(other.beside.1);
    }

    /// How clearly there are more events than `allowed` of the exposures: the likelihood ratio of a Poisson count. For choosing
    /// what to tell alone.
    #[expect(clippy::cast_precision_loss, reason = "for choosing what to tell")]
    fn excess(&self, allowed: impl Fn(f64) -> f64) -> f64 {
        let of_baseline = (self.beside.0 as f64 + 0.5) / (self.beside.1 as f64 + 1.0);
        let (events, expected) = (self.events as f64, self.exposures as f64 * allowed(of_baseline));
        if events <= expected || expected <= 0.0 {
            0.0
        } else {
            events * (events / expected).ln() - (events - expected)
        }
    }
}

/// What was seen of the limit that a version breaks, or of the one that most speaks against it where it breaks them together;
/// `None` where no counts of exposures say so (users are the unit, and the limit is on latency).
pub(super) fn seen<C: Cell>(
    experiment: &Experiment,
    stretches: &[Stretch<'_, C>],
    version: usize,
    gates: &[Gate],
) -> Option<Seen> {
    let covered = || gates.iter().enumerate().filter(|(_, gate)| gate.covered);
    let (at, _) = covered().find(|(_, gate)| gate.verdict == Verdict::Violated).or_else(|| {
        covered()
            .max_by(|(_, a), (_, b)| (a.log_e_violated - a.violated_at).total_cmp(&(b.log_e_violated - b.violated_at)))
    })?;
    let objectives = experiment.objectives.len();
    match (experiment.objectives.get(at), experiment.guardrails.get(at.saturating_sub(objectives))) {
        (Some(objective), _) => match objective.limit {
            Limit::ErrorRate { max } => {
                told(SeenWhat::Bad, false, |_| max, stretches, |stretch| Some(part(stretch, version, None, &bad)))
            }
            Limit::Latency { quantile, max_us } => {
                let slow = |stretch: &Stretch<'_, C>, version: usize, _: bool| {
                    stretch.slow(version, Threshold::Above(max_us)).0
                };
                let of = |stretch: &Stretch<'_, C>| Some(part(stretch, version, None, &slow));
                told(SeenWhat::SlowerThan { us: max_us }, false, |_| 1.0 - quantile, stretches, of)
            }
        },
        (None, Some(guardrail)) => {
            let baseline = experiment.baseline;
            let compared =
                |stretch: &Stretch<'_, C>| stretch.propensity(baseline) > 0.0 && stretch.propensity(version) > 0.0;
            match guardrail.bound {
                Bound::ErrorRate { ratio, margin } => {
                    let of = |stretch: &Stretch<'_, C>| {
                        compared(stretch).then(|| part(stretch, version, Some(baseline), &bad))
                    };
                    told(SeenWhat::Bad, true, |rate| ratio * rate + margin, stretches, of)
                }
                Bound::Latency { .. } if !experiment.requests_are_units() => None,
                Bound::Latency { ratio } => (0..LATENCY_QUANTILES.len())
                    .filter_map(|q| {
                        let slow = |stretch: &Stretch<'_, C>, version: usize, baseline: bool| {
                            let limit = stretch.epoch.latency_grid.get(q).copied().unwrap_or(u64::MAX);
                            #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
                            let limit = limit as f64 * if baseline { 1.0 } else { ratio };
                            stretch.slow(version, stretch.compared_at(limit)).0
                        };
                        let of = |stretch: &Stretch<'_, C>| {
                            compared(stretch).then(|| part(stretch, version, Some(baseline), &slow))
                        };
                        best(|rate| rate, stretches, of)
                    })
                    .max_by(|(_, _, a), (_, _, b)| a.total_cmp(b))
                    .map(|(part, latest, _)| made(SeenWhat::Slow, true, &part, latest)),
            }
        }
        (None, None) => None,
    }
}

/// Events of a version in a stretch, and of the baseline beside it; `events` is told whether it is asked about the baseline.
fn part<'a, 'b, C: Cell>(
    stretch: &'a Stretch<'b, C>,
    version: usize,
    baseline: Option<usize>,
    events: &dyn Fn(&'a Stretch<'b, C>, usize, bool) -> u64,
) -> Part {
    Part {
        events: events(stretch, version, false),
        exposures: stretch.tally(version).assigned,
        beside: baseline.map_or((0, 0), |at| (events(stretch, at, true), stretch.tally(at).assigned)),
    }
}

fn bad<C: Cell>(stretch: &Stretch<'_, C>, version: usize, _: bool) -> u64 {
    stretch.tally(version).bad()
}

fn told<'a, 'b, C: Cell>(
    what: SeenWhat,
    compared: bool,
    allowed: impl Fn(f64) -> f64,
    stretches: &'a [Stretch<'b, C>],
    of: impl Fn(&'a Stretch<'b, C>) -> Option<Part>,
) -> Option<Seen> {
    best(allowed, stretches, of).map(|(part, latest, _)| made(what, compared, &part, latest))
}

fn made(what: SeenWhat, compared: bool, part: &Part, latest: bool) -> Seen {
    let Part { events, exposures, beside } = *part;
    Seen { what, events, exposures, latest, baseline: compared.then_some(beside) }
}

/// The longest of the latest stretches that speak nearly as clearly against the version as the clearest do, whether others were before,
/// and how clearly. Whatever speaks against it has more events than are allowed.
fn best<'a, 'b, C: Cell>(
    allowed: impl Fn(f64) -> f64,
    stretches: &'a [Stretch<'b, C>],
    of: impl Fn(&'a Stretch<'b, C>) -> Option<Part>,
) -> Option<(Part, bool, f64)> {
    let mut sum = Part::default();
    let latest: Vec<(Part, f64)> = stretches
        .iter()
        .rev()
        .filter_map(|stretch| {
            sum.add(&of(stretch)?);
            Some((sum, sum.excess(&allowed)))
        })
        .collect();
    let most = latest.iter().map(|(_, excess)| *excess).fold(0.0, f64::max);
    let (part, excess) = latest.into_iter().rev().find(|(_, excess)| *excess >= NEARLY * most)?;
    (part.exposures > 0).then_some((part, part.exposures < sum.exposures, excess))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_as_what_they_are_and_beside_whom() {
        let seen =
            Seen { what: SeenWhat::Bad, events: 619, exposures: 4_990, latest: true, baseline: Some((15, 5_012)) };
        let words = "12.40% of the latest 4,990 settled exposures were bad; of v1 0.30% of 5,012";
        assert_eq!(seen.in_words("v1"), words);
        let what = SeenWhat::SlowerThan { us: 400_000 };
        let seen = Seen { what, events: 72, exposures: 167, latest: false, baseline: None };
        assert_eq!(seen.in_words("v1"), "43.11% of 167 settled exposures took longer than 400 ms or failed");
    }
}
