//! The whole engine on counts from anywhere: epochs in order of time, with a look after each, as production would have taken it.
//!
//! A pure function of the experiment and the counts. Like production it chooses what an epoch is judged by (its centre, the
//! latencies at which versions are compared) from the epochs before it, keeps what fired, closes unit buckets and freezes
//! variances look by look. Unlike production it moves no weights: those are in the data.

use crate::assess::{Assessment, Assessor, Depth, SAMPLE_RATIO_ADVICE};
use crate::budget::{AlphaSpent, Highest};
use crate::cells::{Cell, Slow, Threshold, slow, unknown};
use crate::decide::{begin_epoch, broken, fire};
use crate::evidence::Stretch;
use crate::metrics::{Metric, MetricName};
use crate::spec::{Bound, Experiment, Limit, RewardKind};
use crate::state::{
    Epoch, EpochCounts, FIRST_CENTRE, FIRST_LATENCY_GRID, LATENCY_QUANTILES, Observations, State, Verdict,
};
use crate::words;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One epoch, as somebody counted it.
#[derive(Debug, Clone, PartialEq)]
pub struct CountedEpoch<C> {
    /// Per version, relative, none below a billionth of their sum unless it is zero.
    pub weights: Vec<u32>,
    /// Latencies in microseconds at which candidates are compared with the baseline, ascending, if somebody fixed them before the
    /// epoch began; otherwise they come from the epochs before. Beyond the fourth they are ignored.
    pub compare_at: Option<Vec<u64>>,
    /// The rate within (0, 1) around which rewards that are yes or no are compared, if somebody expected one before the epoch began;
    /// otherwise it comes from the epochs before. A bad guess costs evidence, never validity (card G).
    pub expected_reward_rate: Option<f64>,
    /// Per version, what has settled.
    pub cells: Vec<C>,
}

/// What an experiment's counts say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// The experiment's name.
    pub experiment: String,
    /// Which of the three answers.
    pub answer: Answer,
    /// The best of the feasible, by the first look that had the evidence, unless it broke a limit later.
    pub winner: Option<String>,
    /// The answer in a sentence.
    pub conclusion: String,
    /// Per epoch, the look after it.
    pub looks: Vec<Look>,
    /// What was spent of every error budget.
    pub alpha_spent: AlphaSpent,
    /// What is not known, and what that means.
    pub notes: Vec<String>,
    /// The last look, in full. Who is out by its evidence is out in it.
    pub assessment: Assessment,
}

/// The answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// One version is the best of the feasible.
    Winner,
    /// Every candidate broke a limit.
    NoCandidateLeft,
    /// Neither.
    NotEnoughEvidence,
}

/// The look after one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// After which epoch: 1, 2, 3, …
    pub epoch: u32,
    /// Per version, the propensity in this epoch.
    pub propensities: Vec<f64>,
    /// Settled exposures of this epoch, all versions.
    pub exposures: u64,
    /// Milliseconds at which candidates were compared with the baseline in this epoch; none without a guardrail on latency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared_at_ms: Vec<f64>,
    /// What it was the first look to find.
    pub found: Vec<Found>,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// What.
    pub kind: FoundKind,
    /// Of which version; `None` if of the experiment.
    pub version: Option<String>,
    /// Which limit; `None` if it is not about one.
    pub gate: Option<String>,
    /// A sentence for people.
    pub why: String,
}

/// What a look can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FoundKind {
    /// A limit is kept.
    Met,
    /// A limit is broken.
    Violated,
    /// A version is out: from here on it cannot win, and its reward beats nobody.
    Out,
    /// Exposures do not follow the weights.
    SampleRatioBroken,
    /// There is a winner.
    Winner,
}

/// Analyses an experiment's epochs, in order of time. Versions that `weights` or `cells` do not mention have none.
#[must_use]
pub fn analyze<C: Cell>(experiment: &Experiment, epochs: Vec<CountedEpoch<C>>) -> Analysis {
    let mut walk = Walk {
        experiment,
        state: State::begin(experiment, 0),
        observations: Observations { epochs: std::collections::BTreeMap::new() },
        assessor: Assessor::of_whole_epochs(),
        last: None,
        winner: None,
        highest: Highest::default(),
        looks: Vec::with_capacity(epochs.len()),
    };
    epochs.into_iter().for_each(|epoch| walk.look(epoch));
    walk.end()
}

/// Where the walk over the epochs stands.
struct Walk<'a, C> {
    experiment: &'a Experiment,
    state: State,
    observations: Observations<C>,
    assessor: Assessor,
    last: Option<Assessment>,
    /// The first winner, and after which epoch.
    winner: Option<(String, u32)>,
    highest: Highest,
    looks: Vec<Look>,
}

impl<C: Cell> Walk<'_, C> {
    /// Adds an epoch, and looks.
    fn look(&mut self, epoch: CountedEpoch<C>) {
        self.begin(epoch.weights, epoch.compare_at, epoch.expected_reward_rate);
        let Some(number) = self.state.epoch().map(|epoch| epoch.epoch) else { return };
        let exposures = epoch.cells.iter().fold(0, |sum: u64, cell| cell.tally().assigned.saturating_add(sum));
        self.observations.epochs.insert(number, EpochCounts { settled: epoch.cells, unsettled: Vec::new() });
        let mut found = Vec::new();
        let assessment = loop {
            let mut assessment = self.assess(Depth::Evidence);
            self.highest.look(&assessment);
            if !self.remember(&mut assessment, &mut found) {
                break assessment;
            }
            // Who is out changes who is compared: look again at the same counts, as production does.
        };
        if let (None, Some(winner)) = (&self.winner, &assessment.winner) {
            let why = assessment.conclusion.clone();
            found.push(Found { kind: FoundKind::Winner, version: Some(winner.clone()), gate: None, why });
            self.winner = Some((winner.clone(), number));
        }
        let versions = 0..self.experiment.versions.len();
        let latencies = self.experiment.guardrails.iter().any(|g| matches!(g.bound, Bound::Latency { .. }));
        let grid = self.state.epoch().filter(|_| latencies).map(|epoch| epoch.latency_grid.as_slice());
        #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
        self.looks.push(Look {
            epoch: number,
            propensities: versions.map(|v| self.state.epoch().map_or(0.0, |epoch| epoch.propensity(v))).collect(),
            exposures,
            compared_at_ms: grid.unwrap_or_default().iter().map(|us| *us as f64 / 1_000.0).collect(),
            found,
        });
        self.last = Some(assessment);
    }

    /// The state's closed buckets are lent for it: [`Walk::remember`] brings them back.
    fn assess(&mut self, depth: Depth) -> Assessment {
        let units = std::mem::take(&mut self.state.units);
        self.assessor.assess_with(self.experiment, &self.state, units, &self.observations, depth)
    }

    fn begin(&mut self, weights: Vec<u32>, compare_at: Option<Vec<u64>>, expected: Option<f64>) {
        match &self.last {
            Some(assessment) => begin_epoch(&mut self.state, weights, assessment, 0),
            // The experiment's own first epoch, with the weights that it had.
            None => self.state.epochs.iter_mut().for_each(|epoch| epoch.weights.clone_from(&weights)),
        }
        let Some(epoch) = self.state.epochs.last_mut() else { return };
        if let Some(mut grid) = compare_at
            && let Some(highest) = grid.last().copied()
        {
            // Fewer than four: the highest once more, which adds nothing.
            grid.resize(LATENCY_QUANTILES.len(), highest);
            epoch.latency_grid = grid;
        }
        if let Some(rate) = expected.filter(|rate| *rate > 0.0 && *rate < 1.0) {
            epoch.centre = rate;
        }
    }

    /// Keeps what this look adds. Whether a version is out that was not before.
    fn remember(&mut self, assessment: &mut Assessment, found: &mut Vec<Found>) -> bool {
        let (latched, was_broken) = (self.state.latched.clone(), self.state.sample_ratio_broken);
        let next = &mut self.state;
        fire(next, assessment);
        if let Some(carry) = &mut assessment.carry {
            next.units = std::mem::take(&mut carry.units);
            next.frozen.clone_from(&carry.frozen);
        }
        for (index, version) in assessment.versions.iter().enumerate() {
            for (gate, (before, after)) in version.gates.iter().zip(latched.iter().zip(&next.latched)) {
                let (before, after) = (before.get(index), after.get(index));
                let (kind, what, log_e, at) = match after.filter(|_| before != after) {
                    Some(Verdict::Met) => (FoundKind::Met, "meets", gate.log_e_met, gate.met_at),
                    Some(Verdict::Violated) => (FoundKind::Violated, "breaks", gate.log_e_violated, gate.violated_at),
                    _ => continue,
                };
                found.push(Found {
                    kind,
                    version: Some(version.name.clone()),
                    gate: Some(gate.name.clone()),
                    why: format!(
                        "{} {what} {}: e-value {}, {} needed.",
                        version.name,
                        gate.name,
                        words::e_value(log_e),
                        words::e_value(at)
                    ),
                });
            }
        }
        if next.sample_ratio_broken && !was_broken {
            let why = "Exposures do not follow the weights.".to_owned();
            found.push(Found { kind: FoundKind::SampleRatioBroken, version: None, gate: None, why });
        }
        let mut more_out = false;
        for (version, out) in assessment.versions.iter().zip(&mut next.out) {
            let Some(what) = broken(version).filter(|_| !*out) else { continue };
            (*out, more_out) = (true, true);
            let why = format!("{} is out from here on, for it breaks {what}.", version.name);
            found.push(Found { kind: FoundKind::Out, version: Some(version.name.clone()), gate: None, why });
        }
        more_out
    }

    fn end(mut self) -> Analysis {
        let mut assessment = self.assess(Depth::Complete);
        for warning in &mut assessment.warnings {
            // Nothing runs here that could be applied anew.
            *warning = warning.replace(
                SAMPLE_RATIO_ADVICE,
                "so nobody wins; find the cause, and count anew or leave out what it touched",
            );
        }
        let kept = |name: &str| {
            let out = assessment.versions.iter().any(|version| version.name == name && version.out);
            !out && !self.state.sample_ratio_broken
        };
        let (winner, conclusion) = match &self.winner {
            Some((earlier, _)) if kept(earlier) && assessment.winner.as_ref() == Some(earlier) => {
                (Some(earlier.clone()), assessment.conclusion.clone())
            }
            Some((earlier, epoch)) if kept(earlier) => {
                let conclusion = format!(
                    "{earlier} wins: the evidence was there after epoch {epoch}, and what came later does not take it back."
                );
                (Some(earlier.clone()), conclusion)
            }
            Some((earlier, epoch)) => {
                let since = if self.state.sample_ratio_broken {
                    "but exposures were found not to follow the weights".to_owned()
                } else {
                    "and has broken a limit since".to_owned()
                };
                let conclusion = format!("{} ({earlier} had won after epoch {epoch}, {since}.)", assessment.conclusion);
                (assessment.winner.clone(), conclusion)
            }
            None => (assessment.winner.clone(), assessment.conclusion.clone()),
        };
        let left = assessment.versions.iter().any(|version| !version.baseline && !version.out);
        let answer = match winner {
            Some(_) => Answer::Winner,
            None if !left => Answer::NoCandidateLeft,
            None => Answer::NotEnoughEvidence,
        };
        Analysis {
            experiment: self.experiment.name.clone(),
            answer,
            alpha_spent: AlphaSpent::of(&assessment, winner.as_deref()).after(&self.highest),
            winner,
            conclusion,
            looks: self.looks,
            notes: notes(self.experiment, &self.state, &self.observations, &assessment),
            assessment,
        }
    }
}

/// What is not known, and what that means.
fn notes<C: Cell>(
    experiment: &Experiment,
    state: &State,
    observations: &Observations<C>,
    assessment: &Assessment,
) -> Vec<String> {
    let stretches: Vec<Stretch<'_, C>> = state
        .epochs
        .iter()
        .map(|epoch| Stretch { epoch, counts: observations.epochs.get(&epoch.epoch), slow: Arc::default() })
        .collect();
    let cells = |version: usize| stretches.iter().filter_map(move |stretch| Some((stretch, stretch.cell(version)?)));
    let mut notes = Vec::new();
    let versions = || experiment.versions.iter().enumerate();
    let all = || versions().flat_map(|(index, _)| cells(index));
    if all().any(|(_, cell)| !cell.counts_failures()) {
        let of_errors = experiment.guardrails.iter().any(|g| matches!(g.bound, Bound::ErrorRate { .. }))
            || experiment.objectives.iter().any(|o| matches!(o.limit, Limit::ErrorRate { .. }));
        let belief = if of_errors { ", and belief says nothing of limits on errors" } else { "" };
        notes.push(format!("Failures were not counted: no error rate is known{belief}."));
    }
    let limited = latency_limits(experiment).next().is_some();
    if limited && all().all(|(_, cell)| cell.latencies().next().is_none()) {
        notes.push("No latency is known: belief says nothing of limits on latency.".to_owned());
    }
    notes.extend(moved(&stretches, assessment));
    // Where users are the unit no count of requests is evidence.
    let requests = experiment.requests_are_units();
    if requests
        && let Some(first) = stretches.first()
        && first.exposures().saturating_mul(2) > assessment.settled_exposures
    {
        let latencies = all().any(|(_, cell)| cell.latencies().next().is_some());
        notes.extend(first_epoch(experiment, first.epoch, assessment, latencies));
    }
    for (limit, version) in versions().flat_map(|version| latency_limits(experiment).map(move |limit| (limit, version)))
    {
        let (index, version) = version;
        let mut doubt = Doubt::default();
        cells(index).for_each(|(stretch, cell)| doubt.add(experiment, &limit, index, stretch, cell));
        notes.extend(doubt.note(&version.name, limit.name(), requests));
    }
    notes
}

/// Where what was observed lies outside of its own 95% belief, because weights moved.
fn moved<C: Cell>(stretches: &[Stretch<'_, C>], assessment: &Assessment) -> Option<String> {
    let mut weights = stretches.iter().filter(|stretch| stretch.exposures() > 0).map(|stretch| &stretch.epoch.weights);
    let first = weights.next()?;
    if weights.all(|other| other == first) {
        return None;
    }
    let outside = |metric: &Metric| {
        let quantile = matches!(metric.name, MetricName::LatencyP50 | MetricName::LatencyP99);
        let belief = metric.belief.unwrap_or_default();
        let (below, above) =
            (belief.low.map(|low| metric.observed < low), belief.high.map(|high| metric.observed > high));
        !quantile && (below == Some(true) || above == Some(true))
    };
    let versions = assessment.versions.iter().filter(|version| version.metrics.iter().any(outside));
    let names: Vec<&str> = versions.map(|version| version.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Weights moved: what is observed of {} adds up all its exposures, while belief weighs each epoch by all versions' traffic, \
             for only that compares like with like; so the one may lie outside of the other.",
            names.join(", ")
        )
    })
}

/// What the first epoch cannot tell as well as later ones, where most of what was counted is in it.
fn first_epoch(experiment: &Experiment, epoch: &Epoch, assessment: &Assessment, latencies: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let binary = experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Binary);
    let open = assessment.versions.iter().filter(|version| version.may_be_best).count() > 1;
    if binary && open && epoch.centre == FIRST_CENTRE {
        notes.push(format!(
            "Most is in the first epoch, which compares rewards around {}, for nothing was known before it, while {} were seen: \
             shorter epochs, or an `expectedRewardRate`, would tell more.",
            words::percent(FIRST_CENTRE),
            words::percent((assessment.pooled_reward_rate * 1_000.0).round() / 1_000.0)
        ));
    }
    let undecided = |name: &str| {
        let gates = assessment.versions.iter().flat_map(|version| &version.gates);
        gates.filter(|gate| gate.name == name).any(|gate| gate.verdict == Verdict::NotEnoughEvidence)
    };
    // Without a latency no choice of latencies would tell anything.
    if latencies && epoch.latency_grid == FIRST_LATENCY_GRID {
        let latency = experiment.guardrails.iter().filter(|guardrail| matches!(guardrail.bound, Bound::Latency { .. }));
        notes.extend(latency.filter(|guardrail| undecided(&guardrail.name)).map(|guardrail| {
            format!(
                "Most is in the first epoch, which cannot show that {} is met, for the baseline's latencies were not known before it: \
                 shorter epochs, or `compareAt`, would tell more.",
                guardrail.name
            )
        }));
    }
    notes
}

/// An objective or a guardrail on latency.
#[derive(Clone, Copy)]
enum LatencyLimit<'a> {
    Objective { name: &'a str, max_us: u64 },
    Guardrail { name: &'a str, ratio: f64 },
}

impl LatencyLimit<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Objective { name, .. } | Self::Guardrail { name, .. } => name,
        }
    }
}

fn latency_limits(experiment: &Experiment) -> impl Iterator<Item = LatencyLimit<'_>> {
    let objectives = experiment.objectives.iter().filter_map(|objective| match objective.limit {
        Limit::Latency { max_us, .. } => Some(LatencyLimit::Objective { name: &objective.name, max_us }),
        Limit::ErrorRate { .. } => None,
    });
    let guardrails = experiment.guardrails.iter().filter_map(|guardrail| match guardrail.bound {
        Bound::Latency { ratio } => Some(LatencyLimit::Guardrail { name: &guardrail.name, ratio }),
        Bound::ErrorRate { .. } => None,
    });
    objectives.chain(guardrails)
}

/// Exposures of which a limit cannot tell whether they are slow.
#[derive(Default)]
struct Doubt {
    /// Whose latency is not known.
    unknown: u64,
    /// Whose bucket the limit divides, at the worst of several latencies.
    divided: u64,
    /// That may be slow, there.
    possible: u64,
}

/// Buckets that a limit divides are worth a word from this share of the possibly slow on.
const NOTEWORTHY: u64 = 4;

impl Doubt {
    fn add<C: Cell>(
        &mut self,
        experiment: &Experiment,
        limit: &LatencyLimit<'_>,
        version: usize,
        stretch: &Stretch<'_, C>,
        cell: &C,
    ) {
        let unknown = unknown(cell);
        self.unknown = self.unknown.saturating_add(unknown);
        let thresholds: Vec<Threshold> = match limit {
            LatencyLimit::Objective { max_us, .. } => vec![Threshold::Above(*max_us)],
            LatencyLimit::Guardrail { ratio, .. } => {
                let ratio = if version == experiment.baseline { 1.0 } else { *ratio };
                #[expect(clippy::cast_precision_loss, reason = "at most an hour of microseconds")]
                stretch.epoch.latency_grid.iter().map(|limit| stretch.compared_at(*limit as f64 * ratio)).collect()
            }
        };
        let each = thresholds.into_iter().map(|threshold| {
            let Slow { certain, possible } = slow(cell, threshold);
            (possible.saturating_sub(certain).saturating_sub(unknown), possible.saturating_sub(unknown))
        });
        if let Some((divided, possible)) = each.max() {
            self.divided = self.divided.saturating_add(divided);
            self.possible = self.possible.saturating_add(possible);
        }
    }

    /// `evidence`: whether there is any from these counts.
    fn note(&self, version: &str, limit: &str, evidence: bool) -> Option<String> {
        let count = words::count;
        if self.unknown > 0 {
            return evidence.then(|| format!(
                "How long {} of the exposures of {version} took is not known: they count against every claim about {limit}.",
                count(self.unknown)
            ));
        }
        (self.divided > 0 && self.divided.saturating_mul(NOTEWORTHY) >= self.possible).then(|| {
            let against = if evidence { "they count against every claim about it, and " } else { "" };
            format!(
                "{} exposures of {version} are in buckets that {limit} divides: {against}belief takes half of them as slow, and may be far \
                 off; narrower buckets, or an edge at the limit, would tell more.",
                count(self.divided)
            )
        })
    }
}
