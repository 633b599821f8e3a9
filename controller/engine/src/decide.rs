//! What to do: evidence decides, policy moves the rest, doubt holds.

use crate::assess::{Assessment, VersionAssessment};
use crate::health::Health;
use crate::policy;
use crate::spec::{Experiment, Strategy};
use crate::state::{Cause, Epoch, Outcome, Phase, State, Step, Verdict};
use crate::words::e_value;
use serde::{Deserialize, Serialize};

/// A new epoch begins after this many settled exposures in the current one …
const EPOCH_EXPOSURES: u64 = 5_000;
/// … or this share of all settled exposures, if that is more: an experiment has thousands of epochs at most, not millions.
const EPOCH_PART: u64 = 100;
/// … or this many milliseconds, if anything settled in them.
const EPOCH_MS: u64 = 3_600_000;
/// A bandit moves weights when this many exposures have settled in the epoch …
const SHIFT_EXPOSURES: u64 = 200;
/// … or this share of all settled exposures, if that is more.
const SHIFT_PART: u64 = 50;

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Unix milliseconds.
    pub at: u64,
    /// What is done.
    pub action: Action,
    /// Why, in sentences for people.
    pub reasons: Vec<String>,
    /// The state from here on.
    pub state: State,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Nothing changes.
    Hold,
    /// Weights stay; a new epoch begins, so that evidence can start afresh and centres follow the data.
    Renew,
    /// Weights move.
    Shift,
    /// At least one version goes to zero on evidence; the experiment concludes if none is left.
    RollBack,
    /// The experiment concludes with a winner.
    Promote,
    /// The experiment concludes without one.
    Conclude,
    /// The experiment begins.
    Start,
    /// The experiment pauses: weights stay.
    Pause,
    /// It goes on.
    Resume,
    /// A person must approve before it goes on; until then weights stay.
    Ask,
    /// The breaker pauses a version on counts that have not settled.
    Trip,
    /// The breaker lets a version go again.
    Release,
}

impl Action {
    /// Whether the plan changes.
    #[must_use]
    pub fn changes_the_plan(self) -> bool {
        !matches!(self, Self::Hold | Self::Ask | Self::Pause)
    }

    /// Whether it moves traffic, or begins, pauses, resumes or ends the experiment: what people want to remember.
    #[must_use]
    pub fn moves_traffic(self) -> bool {
        !matches!(self, Self::Hold | Self::Renew | Self::Ask)
    }
}

/// Decides. `now` in Unix milliseconds. The order is the order of what matters: what is broken goes first, then what is
/// decided, then time, then weights.
#[must_use]
pub fn decide(experiment: &Experiment, state: &State, assessment: &Assessment, health: &Health, now: u64) -> Decision {
    let _ = health;
    if !state.is_running() {
        let reasons = vec!["Nothing moves by itself: it is pending, paused or concluded.".to_owned()];
        return Decision { at: now, action: Action::Hold, reasons, state: state.clone() };
    }
    let mut next = remember(state, assessment);
    let mut reasons = roll_back(&mut next, assessment);
    let rolled_back = !reasons.is_empty();
    let action = if next.out.iter().enumerate().all(|(version, out)| *out || version == experiment.baseline) {
        reasons.push(format!("No candidate is left: all traffic goes to {}.", name(experiment, experiment.baseline)));
        conclude(&mut next, Outcome::RolledBack, experiment.baseline, now);
        Action::RollBack
    } else if rolled_back {
        let weights = match &experiment.strategy {
            Strategy::Canary { steps } => {
                policy::canary_weights(experiment, steps.get(next.rung).copied().unwrap_or(0), &next.out)
            }
            Strategy::Bandit { .. } | Strategy::Ab { .. } => {
                policy::without_out(state.weights(), &next.out, experiment.baseline)
            }
        };
        begin_epoch(&mut next, weights, assessment, now);
        Action::RollBack
    } else if let Some(winner) = winner(experiment, state, assessment) {
        reasons.push(promotion_reason(experiment, assessment, winner));
        conclude(&mut next, Outcome::Promoted, winner, now);
        Action::Promote
    } else if state.ran(now) >= experiment.max_duration_ms {
        reasons.push(format!(
            "The longest duration has passed without enough evidence: all traffic goes back to {}.",
            name(experiment, experiment.baseline)
        ));
        conclude(&mut next, Outcome::Inconclusive, experiment.baseline, now);
        Action::Conclude
    } else {
        shift(experiment, &mut next, assessment, now, &mut reasons)
    };
    Decision { at: now, action, reasons, state: next }
}

/// What the next look needs to know of this one: what fired stays fired, what closed stays closed. Every look that anybody acts on
/// must be remembered.
#[must_use]
pub fn remember(state: &State, assessment: &Assessment) -> State {
    let mut next = state.clone();
    for (version, assessed) in assessment.versions.iter().enumerate() {
        for (row, gate) in next.latched.iter_mut().zip(&assessed.gates) {
            if let Some(verdict) = row.get_mut(version) {
                *verdict = gate.verdict.max(*verdict);
            }
        }
    }
    next.sample_ratio_broken |= assessment.sample_ratio.is_some_and(|test| test.broken);
    if let Some(carry) = &assessment.carry {
        next.units.clone_from(&carry.units);
        next.frozen.clone_from(&carry.frozen);
    }
    next
}

/// Marks who is out from now on, and says why.
fn roll_back(next: &mut State, assessment: &Assessment) -> Vec<String> {
    let mut reasons = Vec::new();
    for (version, out) in assessment.versions.iter().zip(&mut next.out) {
        let fired: Vec<&str> = version
            .gates
            .iter()
            .filter(|gate| gate.verdict == Verdict::Violated)
            .map(|gate| gate.name.as_str())
            .collect();
        let together = version.log_e_roll_back >= version.roll_back_at;
        if *out || (fired.is_empty() && !together) {
            continue;
        }
        *out = true;
        let what = if fired.is_empty() { "its limits together".to_owned() } else { fired.join(", ") };
        let observed = match version.settled.assigned {
            0 => String::new(),
            assigned => {
                #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
                let percent = 100.0 * version.settled.bad() as f64 / assigned as f64;
                format!(" ({percent:.2}% of {assigned} settled exposures were bad)")
            }
        };
        let consequence = if version.baseline {
            "it is the baseline, so it keeps its traffic but cannot win"
        } else {
            "it gets no more traffic"
        };
        reasons.push(format!(
            "{} breaks {what}{observed}: e-value {}, {} needed; {consequence}.",
            version.name,
            e_value(version.gates.iter().map(|gate| gate.log_e_violated).fold(version.log_e_roll_back, f64::max)),
            e_value(version.roll_back_at),
        ));
    }
    reasons
}

/// The evident winner; a canary must also have climbed its ladder and stood its least exposures on the last rung.
fn winner(experiment: &Experiment, state: &State, assessment: &Assessment) -> Option<usize> {
    let winner = assessment.winner.as_deref()?;
    let index = experiment.versions.iter().position(|version| version.name == winner)?;
    match &experiment.strategy {
        Strategy::Canary { steps } if index != experiment.baseline => {
            let climbed = state.rung + 1 >= steps.len();
            assessment.versions.get(index).filter(|version| climbed && stood(experiment, version)).map(|_| index)
        }
        _ => Some(index),
    }
}

/// Whether a canary has its least exposures on this rung.
fn stood(experiment: &Experiment, version: &VersionAssessment) -> bool {
    version.settled_at_these_weights >= experiment.min_exposures
}

fn promotion_reason(experiment: &Experiment, assessment: &Assessment, winner: usize) -> String {
    let name = name(experiment, winner);
    let kept = if winner == experiment.baseline {
        "it is the baseline"
    } else if assessment.versions.get(winner).is_some_and(VersionAssessment::meets_every_gate) {
        "it meets every limit"
    } else {
        "no limit was set that evidence covers"
    };
    if experiment.reward.is_none() {
        return format!(
            "{name} has proved itself: {kept}, at every look so far with error at most {}.",
            assessment.alpha.promotion
        );
    }
    let beaten: Vec<String> = assessment
        .versions
        .iter()
        .enumerate()
        .filter(|(version, _)| *version != winner)
        .map(|(_, version)| {
            if version.out {
                format!("{} is out", version.name)
            } else {
                format!("{} is beaten (e-value {})", version.name, e_value(version.log_e_beaten.unwrap_or(0.0)))
            }
        })
        .collect();
    format!(
        "{name} is the best of the feasible: {kept}, {}; {} needed at alpha {}.",
        beaten.join(", "),
        e_value((1.0 / assessment.alpha.promotion).ln()),
        assessment.alpha.promotion
    )
}

fn shift(
    experiment: &Experiment,
    next: &mut State,
    assessment: &Assessment,
    now: u64,
    reasons: &mut Vec<String>,
) -> Action {
    let settled_here = assessment.settled_in_epoch;
    let total = assessment.settled_exposures;
    if next.sample_ratio_broken {
        reasons.push("Exposures do not follow the weights: weights stay until the cause is found.".to_owned());
    }
    let wanted = match &experiment.strategy {
        _ if next.sample_ratio_broken => None,
        Strategy::Ab { .. } => None,
        Strategy::Bandit { floor, max_step, .. } => (settled_here >= SHIFT_EXPOSURES.max(total / SHIFT_PART))
            .then(|| bandit_weights(experiment, next, assessment, *floor, *max_step)),
        Strategy::Canary { steps } => climb(experiment, next, assessment, steps, reasons),
    };
    if let Some(weights) = wanted.filter(|weights| weights.as_slice() != next.weights()) {
        if reasons.is_empty() {
            reasons.push(leader_sentence(experiment, assessment, &weights));
        }
        begin_epoch(next, weights, assessment, now);
        return Action::Shift;
    }
    reasons.extend(missing(experiment, assessment));
    if is_due(next, assessment, now) {
        let weights = next.weights().to_vec();
        begin_epoch(next, weights, assessment, now);
        return Action::Renew;
    }
    Action::Hold
}

/// Whether an epoch has lasted long enough that the next begins although weights stay: after 5,000 settled exposures (or 1% of
/// all, if that is more), or an hour with any.
#[must_use]
pub fn is_due(state: &State, assessment: &Assessment, now: u64) -> bool {
    let (here, total) = (assessment.settled_in_epoch, assessment.settled_exposures);
    let age = now.saturating_sub(state.epoch().map_or(now, |epoch| epoch.began_at));
    here >= EPOCH_EXPOSURES.max(total / EPOCH_PART) || (age >= EPOCH_MS && here > 0)
}

fn bandit_weights(
    experiment: &Experiment,
    next: &State,
    assessment: &Assessment,
    floor: u32,
    max_step: u32,
) -> Vec<u32> {
    let open: Vec<bool> =
        next.out.iter().enumerate().map(|(version, out)| !*out || version == experiment.baseline).collect();
    let target: Vec<f64> = assessment
        .versions
        .iter()
        .map(|version| {
            // Where nobody may keep its objectives, the baseline is what was there before.
            let nobody = if version.baseline { assessment.probability_none_feasible.unwrap_or(0.0) } else { 0.0 };
            version.probability_best_and_feasible.unwrap_or(0.0) + nobody
        })
        .collect();
    policy::step_towards(next.weights(), &target, &open, floor, max_step, experiment.baseline)
}

/// A canary climbs from rung i of n when every candidate that is in has (i+1)/n of the evidence (on the log scale) that a
/// promotion needs, and its least exposures on this rung: the more evidence, the more traffic.
fn climb(
    experiment: &Experiment,
    next: &mut State,
    assessment: &Assessment,
    steps: &[u32],
    reasons: &mut Vec<String>,
) -> Option<Vec<u32>> {
    let above = next.rung + 1;
    let step = *steps.get(above)?;
    #[expect(clippy::cast_precision_loss, reason = "a short ladder")]
    let part = above as f64 / steps.len() as f64;
    let ready = |version: &VersionAssessment| {
        let mut covered = version.gates.iter().filter(|gate| gate.covered).peekable();
        // Without a gate that evidence covers there is nothing to climb by.
        stood(experiment, version)
            && covered.peek().is_some()
            && covered.all(|gate| gate.verdict == Verdict::Met || gate.log_e_met >= part * gate.met_at)
    };
    let candidates = || assessment.versions.iter().filter(|version| !version.baseline && !version.out);
    if !candidates().all(ready) {
        return None;
    }
    next.rung = above;
    reasons.push(format!(
        "Enough evidence for rung {} of {}: {}.",
        above + 1,
        steps.len(),
        candidates()
            .map(|version| format!("{} gets {:.2}%", version.name, f64::from(step) / 100.0))
            .collect::<Vec<_>>()
            .join(", ")
    ));
    Some(policy::canary_weights(experiment, step, &next.out))
}

/// What a verdict or a promotion still waits for, in sentences.
fn missing(experiment: &Experiment, assessment: &Assessment) -> Vec<String> {
    if assessment.settled_exposures == 0 {
        return vec!["Nothing has settled yet: no data means hold.".to_owned()];
    }
    let on_a_ladder = matches!(experiment.strategy, Strategy::Canary { .. });
    let mut reasons = Vec::new();
    for version in assessment.versions.iter().filter(|version| !version.out) {
        if version.settled.assigned < experiment.min_exposures {
            reasons.push(format!(
                "{} has {} of the {} settled exposures it needs.",
                version.name, version.settled.assigned, experiment.min_exposures
            ));
        } else if on_a_ladder && !version.baseline && !stood(experiment, version) {
            reasons.push(format!(
                "{} has {} of the {} settled exposures it needs on this rung.",
                version.name, version.settled_at_these_weights, experiment.min_exposures
            ));
        }
        for gate in version.gates.iter().filter(|gate| gate.covered && !version.baseline) {
            if gate.verdict == Verdict::NotEnoughEvidence {
                reasons.push(format!(
                    "{}: not enough evidence on {} yet (e-value {} that it is met, {} needed).",
                    version.name,
                    gate.name,
                    e_value(gate.log_e_met),
                    e_value(gate.met_at)
                ));
            }
        }
    }
    let open: Vec<&str> =
        assessment.versions.iter().filter(|version| version.may_be_best).map(|version| version.name.as_str()).collect();
    if experiment.reward.is_some() && open.len() > 1 {
        reasons.push(format!("Any of {} may still be the best.", open.join(", ")));
    }
    if reasons.is_empty() {
        reasons.push("Nothing has changed.".to_owned());
    }
    reasons
}

fn leader_sentence(experiment: &Experiment, assessment: &Assessment, weights: &[u32]) -> String {
    let moves: Vec<String> = assessment
        .versions
        .iter()
        .zip(weights)
        .filter(|(version, weight)| version.weight != **weight)
        .map(|(version, weight)| {
            format!("{} {:.0}% → {:.0}%", version.name, f64::from(version.weight) / 100.0, f64::from(*weight) / 100.0)
        })
        .collect();
    let leader = assessment
        .versions
        .iter()
        .max_by(|a, b| {
            let p = |version: &VersionAssessment| version.probability_best_and_feasible.unwrap_or(0.0);
            p(a).total_cmp(&p(b)).then_with(|| a.baseline.cmp(&b.baseline))
        })
        .map_or_else(
            || name(experiment, experiment.baseline).to_owned(),
            |version| {
                format!(
                    "{} is best and feasible with probability {:.2}",
                    version.name,
                    version.probability_best_and_feasible.unwrap_or(0.0)
                )
            },
        );
    format!("Belief: {leader}. Traffic follows: {}.", moves.join(", "))
}

/// Begins an epoch with these weights (per version, summing to [`crate::spec::TOTAL_WEIGHT`]), its centre and its latencies taken
/// from what had settled before it. Weights may depend on anything that was known by then.
pub fn begin_epoch(next: &mut State, weights: Vec<u32>, assessment: &Assessment, now: u64) {
    let Some(last) = next.epoch() else { return };
    let latency_grid =
        assessment.carry.as_ref().map_or_else(|| last.latency_grid.clone(), |carry| carry.latency_grid.clone());
    let epoch = last.epoch.saturating_add(1);
    next.epochs.push(Epoch { epoch, began_at: now, weights, centre: assessment.pooled_reward_rate, latency_grid });
}

/// Pauses; the time it has run is kept.
pub(crate) fn pause(next: &mut State, cause: Cause, now: u64) {
    next.ran_ms = next.ran(now);
    next.phase = Phase::Paused { since: now, cause };
    next.awaited = None;
}

/// The weights that the strategy has now, by itself.
pub(crate) fn standing_weights(experiment: &Experiment, next: &State) -> Vec<u32> {
    match &experiment.strategy {
        Strategy::Canary { steps } => {
            policy::canary_weights(experiment, steps.get(next.rung).copied().unwrap_or(0), &next.out)
        }
        Strategy::Ab { weights } => policy::without_out(weights, &next.out, experiment.baseline),
        Strategy::Bandit { .. } => next.weights().to_vec(),
    }
}

/// Why what waits for approval is no longer warranted; `None` if it still is.
pub(crate) fn no_longer(
    _experiment: &Experiment,
    _state: &State,
    _assessment: &Assessment,
    _step: &Step,
) -> Option<String> {
    None
}

/// Whether no candidate is in any more.
pub(crate) fn nobody_is_left(experiment: &Experiment, state: &State) -> bool {
    state.out.iter().enumerate().all(|(version, out)| *out || version == experiment.baseline)
}

pub(crate) fn conclude(next: &mut State, outcome: Outcome, version: usize, now: u64) {
    next.ran_ms = next.ran(now);
    next.awaited = None;
    next.phase = Phase::Concluded { outcome, version, at: now };
}

fn name(experiment: &Experiment, version: usize) -> &str {
    experiment.version_name(version)
}
