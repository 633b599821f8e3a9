//! What a changed document means for an experiment that is there already: which weights stay, which move at once, and which wait for
//! approval. Nothing here looks at evidence, so nothing here raises a canary's weight. Whether evidence allows a change at all is the
//! controller's business.

use super::{Action, Decision, Look, breaking, moves, standing_weights};
use crate::command::Refusal;
use crate::spec::{Approvals, Experiment, Rule, Strategy};
use crate::state::{Epoch, Phase, Proposal, State, Step};
use crate::words::{count, duration, weight};

/// What an edit does. `now` in Unix milliseconds.
///
/// A pending experiment begins anew; of one that is paused the weights stay. Otherwise, by strategy:
/// - a canary keeps the highest new rung whose weight is not above that of its old one, and climbs from there by evidence;
/// - an A/B test gets its new weights in a new epoch, or, where the old or the new document asks for approval of steps, or an earlier
///   edit still waits for it, proposes them: at once, or when the breaker holds nobody any more;
/// - a bandit keeps its weights, and its next move heeds the new bounds.
///
/// # Errors
/// [`Refusal::Steep`] where every new step of a canary is above its weight.
pub fn edited(was: &Experiment, wanted: &Experiment, state: &State, now: u64) -> Result<Decision, Refusal> {
    let mut reasons = vec![format!("{} was changed: {}.", wanted.name, changes(was, wanted).join("; "))];
    if state.phase == Phase::Pending {
        let state = State { phase: Phase::Pending, ..State::begin(wanted, now) };
        return Ok(Decision { at: now, action: Action::Hold, reasons, state });
    }
    let mut next = state.clone();
    next.awaited = None;
    let mut weights = state.weights().to_vec();
    match (&was.strategy, &wanted.strategy) {
        (Strategy::Canary { steps: before }, Strategy::Canary { steps }) if before != steps => {
            let here = before.get(state.rung).copied().unwrap_or(0);
            let Some(rung) = steps.iter().rposition(|step| *step <= here) else {
                let first = steps.first().copied().unwrap_or(0);
                return Err(Refusal::Steep { first: weight(first), here: weight(here) });
            };
            next.rung = rung;
            reasons.push(format!("It stands on rung {} of {} now.", rung + 1, steps.len()));
            if state.is_running() {
                weights = standing_weights(wanted, &next);
            }
        }
        (Strategy::Ab { weights: before }, Strategy::Ab { weights: split }) if before != split => {
            let in_force = state.split.as_ref().unwrap_or(before);
            let asks = was.approvals.step || wanted.approvals.step || state.split.is_some();
            next.split = Some(in_force.clone()).filter(|in_force| asks && in_force != split);
            if state.is_running() {
                weights = standing_weights(wanted, &next);
                let proposed = breaking::lowered(wanted, &next, split);
                if next.split.is_some() && next.trips.iter().any(|trip| trip.open) {
                    reasons.push("The new weights are proposed for approval when the breaker holds nobody.".to_owned());
                } else if next.split.is_some() && proposed != weights {
                    reasons.push(format!("It waits for approval: {}.", moves(wanted, &weights, &proposed)));
                    let step = Step::Weights { weights: proposed, rung: next.rung };
                    next.awaited = Some(Proposal { since: now, step });
                }
            }
        }
        _ => {}
    }
    let action = if weights != state.weights() {
        reasons.push(format!("Traffic moves: {}.", moves(wanted, state.weights(), &weights)));
        Action::Shift
    } else {
        reasons.push("Weights stay.".to_owned());
        if next.awaited.is_some() { Action::Ask } else { Action::Renew }
    };
    if let Some(last) = state.epoch() {
        // What the epoch in force takes as known is known still: centre and latencies stay.
        let began_at = now.max(last.began_at);
        next.epochs.push(Epoch { epoch: last.epoch.saturating_add(1), began_at, weights, ..last.clone() });
    }
    Ok(Decision { at: now, action, reasons, state: next })
}

impl Look<'_> {
    /// An A/B test's weights after an edit that waits for approval. That it waits is forgotten only where nothing is left to approve:
    /// weights in force may be those of the document because a version is held or out, and say nothing about the split.
    pub(super) fn split(&mut self, weights: &[u32]) -> Option<(Vec<u32>, usize)> {
        let in_force = self.next.split.as_ref()?;
        if in_force.as_slice() == weights {
            self.next.split = None;
            return None;
        }
        if self.next.trips.iter().any(|trip| trip.open) {
            return None;
        }
        let wanted = breaking::lowered(self.experiment, &self.next, weights);
        if wanted.as_slice() == self.next.weights() {
            return None;
        }
        let moves = moves(self.experiment, self.next.weights(), &wanted);
        self.reasons.push(format!("The document has other weights than those in force: {moves}."));
        Some((wanted, self.next.rung))
    }
}

/// What differs between two documents, in words: a field each, as it was and as it is.
#[must_use]
pub fn changes(was: &Experiment, is: &Experiment) -> Vec<String> {
    let mut changed = Vec::new();
    let mut field = |name: &str, was: String, is: String| {
        if was != is {
            changed.push(format!("{name} {was} → {is}"));
        }
    };
    match (&was.strategy, &is.strategy) {
        (Strategy::Canary { steps: before }, Strategy::Canary { steps }) => {
            field("steps", listed(before), listed(steps));
        }
        (Strategy::Ab { weights: before }, Strategy::Ab { weights }) => {
            field("weights", split_in_words(was, before), split_in_words(is, weights));
        }
        (
            Strategy::Bandit { rule: old_rule, floor: old_floor, max_step: old_step, half_life_ms: old_half_life },
            Strategy::Bandit { rule, floor, max_step, half_life_ms },
        ) => {
            field("rule", rule_in_words(*old_rule), rule_in_words(*rule));
            field("floor", weight(*old_floor), weight(*floor));
            field("maxStep", weight(*old_step), weight(*max_step));
            let life = |ms: Option<u64>| ms.map_or_else(|| "never".to_owned(), duration);
            field("halfLife", life(*old_half_life), life(*half_life_ms));
        }
        (before, after) => field("strategy", strategy_in_words(before), strategy_in_words(after)),
    }
    field("minExposures", count(was.min_exposures), count(is.min_exposures));
    field("maxDuration", duration(was.max_duration_ms), duration(is.max_duration_ms));
    field("onTimeout", timeout_in_words(was), timeout_in_words(is));
    field("approvals", approvals_in_words(was.approvals), approvals_in_words(is.approvals));
    field("priority", was.priority.to_string(), is.priority.to_string());
    let header = |experiment: &Experiment| experiment.override_header.clone().unwrap_or_else(|| "none".to_owned());
    field("override", header(was), header(is));
    // Only what is pending may change in these: that they did is enough.
    let others = [
        ("service", was.service == is.service),
        ("match", was.matching == is.matching),
        ("unit", was.unit == is.unit),
        ("versions", was.versions == is.versions && was.baseline == is.baseline),
        ("objectives", was.objectives == is.objectives),
        ("guardrails", was.guardrails == is.guardrails),
        ("reward", was.reward == is.reward),
        ("alpha", was.alpha == is.alpha),
        ("deadline", was.deadline_ms == is.deadline_ms),
        ("bin", was.bin_ms == is.bin_ms),
        ("measure", was.measure == is.measure),
        ("failure", was.failure == is.failure),
    ];
    changed.extend(others.into_iter().filter(|(_, same)| !same).map(|(name, _)| format!("{name} is another")));
    changed
}

fn listed(steps: &[u32]) -> String {
    let steps: Vec<String> = steps.iter().map(|step| weight(*step)).collect();
    format!("[{}]", steps.join(", "))
}

fn split_in_words(experiment: &Experiment, weights: &[u32]) -> String {
    let shares = experiment.versions.iter().zip(weights);
    let shares: Vec<String> = shares.map(|(version, share)| format!("{}: {}", version.name, weight(*share))).collect();
    format!("{{{}}}", shares.join(", "))
}

fn rule_in_words(rule: Rule) -> String {
    match rule {
        Rule::Thompson => "thompson",
        Rule::TopTwo => "topTwo",
        Rule::Uniform => "uniform",
    }
    .to_owned()
}

fn strategy_in_words(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Bandit { .. } => "bandit",
        Strategy::Canary { .. } => "canary",
        Strategy::Ab { .. } => "ab",
    }
    .to_owned()
}

fn timeout_in_words(experiment: &Experiment) -> String {
    match experiment.on_timeout {
        crate::spec::OnTimeout::RollBack => "rollBack",
        crate::spec::OnTimeout::Pause => "pause",
    }
    .to_owned()
}

fn approvals_in_words(approvals: Approvals) -> String {
    let Approvals { start, step, promotion } = approvals;
    let wanted: Vec<&str> = [("start", start), ("step", step), ("promotion", promotion)]
        .into_iter()
        .filter_map(|(name, wanted)| wanted.then_some(name))
        .collect();
    if wanted.is_empty() { "none".to_owned() } else { wanted.join(" and ") }
}
