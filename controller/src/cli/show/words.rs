//! Parts of an experiment in words: where it stands, since when, its weights, strategy and limits, and what a decision did.

use super::super::client::View;
use super::super::output::{stretch, weight};
use weir_engine::command::Command;
use weir_engine::decide::Action;
use weir_engine::gates;
use weir_engine::journal::Order;
use weir_engine::spec::{Experiment, Rule, Strategy};
use weir_engine::state::{Cause, Outcome, Phase, Step};

/// What may wait for approval, in words.
pub(crate) fn step(experiment: &Experiment, step: &Step) -> String {
    match step {
        Step::Weights { weights, .. } => {
            let names = experiment.versions.iter().map(|version| version.name.as_str());
            let shares: Vec<String> =
                names.zip(weights).map(|(name, share)| format!("{name} {}", weight(*share))).collect();
            shares.join(", ")
        }
        Step::Promotion { version } => format!("the promotion of {}", experiment.version_name(*version)),
    }
}

/// Where it stands, and by whom where a person ended it.
pub(crate) fn phase(view: &View) -> String {
    let stands = stands(view);
    match ended_by(view) {
        Some((how, order)) => format!("{stands}, {how} {}", order.by),
        None => stands,
    }
}

/// The same for a column: that a person ended it, not who.
pub(super) fn short(view: &View) -> String {
    let stands = stands(view);
    match ended_by(view) {
        Some((_, Order { command: Command::Approve, .. })) => format!("{stands}, approved"),
        Some(_) => format!("{stands}, by hand"),
        None => stands,
    }
}

/// The order that concluded it, if that was one: approved is what evidence had found, by hand is what it had not.
fn ended_by(view: &View) -> Option<(&'static str, &Order)> {
    let Phase::Concluded { at, .. } = view.state.phase else { return None };
    let (_, order) = ordered(view).filter(|(decided, _)| *decided == at)?;
    Some((if order.command == Command::Approve { "approved by" } else { "by hand:" }, order))
}

fn stands(view: &View) -> String {
    match view.state.phase {
        Phase::Pending => "pending".to_owned(),
        Phase::Running => "running".to_owned(),
        Phase::Paused { cause: Cause::Asked, .. } => "paused".to_owned(),
        Phase::Paused { cause: Cause::Weights, .. } => "paused, weights by hand".to_owned(),
        Phase::Paused { cause: Cause::Timeout, .. } => "paused, out of time".to_owned(),
        Phase::Concluded { outcome, version, .. } => {
            let version = view.experiment.version_name(version);
            match outcome {
                Outcome::Promoted => format!("promoted {version}"),
                Outcome::RolledBack => format!("rolled back to {version}"),
                Outcome::Stopped => format!("stopped, stays on {version}"),
                Outcome::Inconclusive => format!("inconclusive, stays on {version}"),
            }
        }
    }
}

/// The last change that a person asked for, if that was the last, and when.
fn ordered(view: &View) -> Option<(u64, &Order)> {
    let told = view.last_change.as_ref().or(view.decision.as_ref())?;
    told.ordered.as_ref().map(|order| (told.decision.at, order))
}

/// By whom each version was rolled back, where the last change was that.
pub(super) fn by_hand(view: &View) -> Vec<Option<String>> {
    let ordered = ordered(view).map(|(_, order)| order);
    (0..view.experiment.versions.len())
        .map(|version| match ordered {
            Some(Order { command: Command::RollBack { version: of }, by, .. }) if of.is_none_or(|of| of == version) => {
                Some(by.to_string())
            }
            _ => None,
        })
        .collect()
}

pub(super) fn age(view: &View, now: u64) -> String {
    match view.state.phase {
        Phase::Pending | Phase::Running | Phase::Paused { .. } => {
            format!("for {}", stretch(now.saturating_sub(view.state.started_at)))
        }
        Phase::Concluded { at, .. } => format!("after {}", stretch(at.saturating_sub(view.state.started_at))),
    }
}

/// Weights in force: all of it on the outcome once concluded.
pub(super) fn weights(view: &View) -> String {
    let whole = match view.state.phase {
        Phase::Concluded { version, .. } => Some(version),
        Phase::Pending => Some(view.experiment.baseline),
        Phase::Running | Phase::Paused { .. } => None,
    };
    if let Some(version) = whole {
        return format!("{} 100%", view.experiment.version_name(version));
    }
    let names = view.experiment.versions.iter().map(|version| version.name.as_str());
    let shown: Vec<String> =
        names.zip(view.state.weights()).map(|(name, share)| format!("{name} {}", weight(*share))).collect();
    shown.join(", ")
}

pub(super) fn strategy(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Bandit { rule, floor, max_step, .. } => {
            let rule = match rule {
                Rule::Thompson => "",
                Rule::TopTwo => "top-two, ",
                Rule::Uniform => "uniform, ",
            };
            format!("bandit ({rule}floor {}, steps of {} at most)", weight(*floor), weight(*max_step))
        }
        Strategy::Canary { steps } => {
            let steps: Vec<String> = steps.iter().map(|step| weight(*step)).collect();
            format!("canary ({})", steps.join(", "))
        }
        Strategy::Ab { .. } => "a/b".to_owned(),
    }
}

/// A line with the objectives and guardrails; empty without any.
pub(crate) fn limits(goals: &Experiment) -> String {
    let objectives =
        goals.objectives.iter().map(|objective| (&objective.name, gates::objective_in_words(&objective.limit)));
    let guardrails =
        goals.guardrails.iter().map(|guardrail| (&guardrail.name, gates::guardrail_in_words(goals, &guardrail.bound)));
    let limits: Vec<String> = objectives.chain(guardrails).map(|(name, limit)| format!("{name}: {limit}")).collect();
    if limits.is_empty() { String::new() } else { format!("{}\n", limits.join(" · ")) }
}

pub(crate) fn action(action: Action) -> &'static str {
    match action {
        Action::Hold => "hold",
        Action::Renew => "renew",
        Action::Shift => "shift",
        Action::RollBack => "roll back",
        Action::Promote => "promote",
        Action::Conclude => "conclude",
        Action::Start => "start",
        Action::Pause => "pause",
        Action::Resume => "resume",
        Action::Ask => "ask",
        Action::Trip => "trip",
        Action::Release => "release",
    }
}
