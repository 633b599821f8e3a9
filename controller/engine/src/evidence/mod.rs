//! What may be acted on: e-processes over settled cells, folded epoch by epoch in order of time. A fold knows counts and
//! weights; what its numbers mean for people is [`crate::gates`]' and [`crate::assess`]'s. `stretch` is an epoch as it is folded,
//! `process` what a gate's evidence is, `first` first events of unit buckets, `amounts` rewards that are no yes or no.

mod amounts;
mod first;
mod process;
mod stretch;

pub(crate) use amounts::RealRewards;
pub(crate) use process::{Method, Said, Uncovered};
pub(crate) use stretch::{SlowCounts, Stretch, slow_counts};

use crate::cells::{Cell, Tally};
use crate::latencies::Latencies;
use crate::spec::{Direction, Experiment, RewardKind};
use crate::state::PairUnits;
use first::{first_rewards, pair_of};
use process::{Process, processes};
use weir_stats::compare;
use weir_stats::kernel::effects;
use weir_stats::process::{Claim, Tilted};
use weir_stats::reward::{Arm, Better, RewardEpoch};
use weir_stats::sample_ratio::SampleRatio;

/// All evidence that is a left fold over epochs.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    /// Per version, its gates.
    gates: Vec<Vec<Process>>,
    /// E(b > k) at k·versions + b, for binary rewards; empty without.
    better: Vec<Comparison>,
    versions: usize,
    shares: Option<Shares>,
    /// The baseline's latencies, where guardrails ask for its quantiles.
    baseline: Latencies,
}

/// Card E, on what is drawn by weight: every exposure where each request is its own unit, else the first of each new unit. Of units that
/// bring their keys it is not known which are new, and one that comes back is drawn once.
#[derive(Debug, Clone)]
struct Shares {
    process: SampleRatio,
    drawn: fn(&Tally) -> u64,
    /// Whether anything was drawn so far, or always is: filters may know no new units.
    tested: bool,
}

impl Shares {
    fn new(experiment: &Experiment) -> Option<Self> {
        let process = SampleRatio::new(experiment.versions.len());
        if experiment.requests_are_units() {
            return Some(Self { process, drawn: |tally| tally.assigned, tested: true });
        }
        experiment.counts_new_units().then_some(Self { process, drawn: |tally| tally.new_units, tested: false })
    }
}

#[derive(Debug, Clone)]
enum Comparison {
    Never,
    Requests(Better),
    Units(Tilted),
}

impl Fold {
    /// Nothing folded yet.
    pub(crate) fn new(experiment: &Experiment) -> Self {
        let versions = experiment.versions.len();
        let requests = experiment.requests_are_units();
        let binary = experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Binary);
        let maximize = experiment.reward.as_ref().is_none_or(|reward| reward.direction == Direction::Maximize);
        let compared = |at: usize| match (at / versions == at % versions, requests) {
            (true, _) => Comparison::Never,
            (false, true) => Comparison::Requests(Better::default()),
            (false, false) => {
                let claim = if maximize { Claim::Violated } else { Claim::Met };
                // Best is claimed of the whole experiment, so without restarts.
                Comparison::Units(match claim {
                    Claim::Violated => Tilted::violated_plain(effects()),
                    Claim::Met => Tilted::new(Claim::Met, effects()),
                })
            }
        };
        Self {
            gates: (0..versions).map(|version| processes(experiment, version)).collect(),
            better: if binary { (0..versions * versions).map(compared).collect() } else { Vec::new() },
            versions,
            shares: Shares::new(experiment),
            baseline: Latencies::default(),
        }
    }

    /// Adds the next epoch.
    pub(crate) fn push<C: Cell>(&mut self, experiment: &Experiment, units: &[PairUnits], stretch: &Stretch<'_, C>) {
        let baseline = experiment.baseline;
        if let Some(cell) = stretch.cell(baseline).filter(|_| !experiment.guardrails.is_empty()) {
            self.baseline.add(cell);
        }
        for (version, gates) in self.gates.iter_mut().enumerate() {
            for process in gates {
                process.push(stretch, baseline, version, pair_of(units, baseline, version).map(|(pair, _)| pair));
            }
        }
        let Some(direction) = experiment.reward.as_ref().map(|reward| reward.direction) else {
            self.push_shares(stretch);
            return;
        };
        for (at, comparison) in self.better.iter_mut().enumerate() {
            let (k, b) = (at / self.versions, at % self.versions);
            match comparison {
                Comparison::Never => {}
                Comparison::Requests(process) => process.push(&reward_epoch(stretch, direction, k, b)),
                Comparison::Units(process) => {
                    let Some(first) = first_rewards(units, k, b, stretch.epoch.epoch) else { continue };
                    let (of_b, all) = match direction {
                        Direction::Maximize => first.for_more(),
                        Direction::Minimize => first.for_fewer(),
                    };
                    if let Some(theta) = compare::owner(1.0, stretch.propensity(k), stretch.propensity(b)) {
                        process.push(of_b, all, theta);
                    }
                }
            }
        }
        self.push_shares(stretch);
    }

    fn push_shares<C: Cell>(&mut self, stretch: &Stretch<'_, C>) {
        if let Some(Shares { process, drawn, tested }) = &mut self.shares {
            let shares: Vec<(f64, u64)> = (0..self.versions)
                .map(|version| (stretch.propensity(version), drawn(&stretch.tally(version))))
                .collect();
            *tested |= shares.iter().any(|(_, drawn)| *drawn > 0);
            process.push(&shares);
        }
    }

    /// The baseline's latencies; none without guardrails.
    pub(crate) fn baseline_latencies(&self) -> &Latencies {
        &self.baseline
    }

    /// Per version, what its gates say.
    pub(crate) fn gates(&self) -> Vec<Vec<Said>> {
        self.gates.iter().map(|gates| gates.iter().map(Process::said).collect()).collect()
    }

    /// ln E(b > k) for a binary reward; `None` without one.
    pub(crate) fn log_e_better(&self, b: usize, k: usize) -> Option<f64> {
        match self.better.get(k * self.versions + b)? {
            Comparison::Never => None,
            Comparison::Requests(process) => Some(process.log_e()),
            Comparison::Units(process) => Some(process.log_e()),
        }
    }

    /// ln of the e-value that exposures do not follow the weights (card E); `None` where that cannot be tested.
    pub(crate) fn log_e_sample_ratio(&self) -> Option<f64> {
        self.shares.as_ref().filter(|shares| shares.tested).map(|shares| shares.process.log_e())
    }
}

fn reward_epoch<C: Cell>(stretch: &Stretch<'_, C>, direction: Direction, a: usize, b: usize) -> RewardEpoch {
    let arm = |version: usize| {
        let tally = stretch.tally(version);
        // Less is better: the event is then the absence of the reward.
        let rewarded = match direction {
            Direction::Maximize => tally.rewarded,
            Direction::Minimize => tally.assigned.saturating_sub(tally.rewarded),
        };
        Arm { propensity: stretch.propensity(version), exposures: tally.assigned, rewarded }
    };
    let centre = match direction {
        Direction::Maximize => stretch.epoch.centre,
        Direction::Minimize => 1.0 - stretch.epoch.centre,
    };
    RewardEpoch { centre, a: arm(a), b: arm(b) }
}

/// ln E for JSON, which knows no infinity: e^±10³⁰⁸ is as certain.
pub(crate) fn finite(log_e: f64) -> f64 {
    if log_e.is_nan() { 0.0 } else { log_e.clamp(f64::MIN, f64::MAX) }
}
