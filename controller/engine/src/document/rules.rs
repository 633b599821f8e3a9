//! Rules between the fields of an experiment: what must be there so that anything can ever be decided.

use super::place::Fields;
use super::strategy::Kind;
use super::{Problem, Purpose, goals};
use crate::spec::Bound;

/// Whether there are objectives or guardrails. A field that is there but wrong has been complained about already.
fn is_limited(fields: &Fields<'_>) -> bool {
    let full = |name| fields.mentions(name) && !fields.get(name).is_some_and(|place| place.is_empty_list());
    ["objectives", "guardrails"].into_iter().any(full)
}

/// What each strategy needs.
pub(super) fn require_something_to_decide_by(
    fields: &Fields<'_>,
    kind: Option<Kind>,
    versions: usize,
    problems: &mut Vec<Problem>,
) {
    const WRITE_REWARD: &str = "write `reward: {responseHeader: …, direction: maximize}`";
    let rewarded = fields.mentions("reward");
    let limited = is_limited(fields);
    let place = fields.get("strategy").unwrap_or_else(|| fields.place().clone());
    match kind {
        Some(Kind::Bandit) if !rewarded => {
            place.problem(problems, format!("a bandit follows a reward, and there is none: {WRITE_REWARD}"));
        }
        Some(Kind::Ab) if !rewarded => {
            place.problem(problems, format!("an A/B test compares rewards, and there is none: {WRITE_REWARD}"));
        }
        Some(Kind::Canary) => {
            if !limited {
                let message = "a canary climbs while it keeps its objectives and guardrails, and there is none: \
                               write `objectives: [{name: errors, errorRate: {max: 1%}}]`";
                place.problem(problems, message);
            }
            if versions > 2 && !rewarded {
                let message = format!("with several candidates only a reward can say which is better: {WRITE_REWARD}");
                place.problem(problems, message);
            }
        }
        _ => {}
    }
}

/// What counts need: weights have moved already, so no strategy asks for anything.
pub(super) fn require_a_question(fields: &Fields<'_>, versions: usize, problems: &mut Vec<Problem>) {
    if fields.mentions("reward") {
        return;
    }
    if !is_limited(fields) {
        let message = "nothing is asked of the counts: write `objectives: [{name: errors, errorRate: {max: 1%}}]`, \
                       `guardrails: [{name: errors, errorRate: {ratio: 2}}]` or `reward: {direction: maximize}`";
        fields.place().problem(problems, message);
    } else if versions > 2 {
        let message =
            "with several candidates only a reward can say which is better: write `reward: {direction: maximize}`";
        fields.place().problem(problems, message);
    }
}

/// Where users are the unit only some guardrails have evidence, and there is nothing else to decide by.
pub(super) fn require_evidence_about_users(
    fields: &Fields<'_>,
    limits: &goals::Limits,
    purpose: Purpose,
    problems: &mut Vec<Problem>,
) {
    let covered = |bound: &Bound| match bound {
        Bound::ErrorRate { margin, .. } => *margin <= 0.0,
        Bound::Latency { .. } => true,
    };
    let limited = !limits.objectives.is_empty() || !limits.guardrails.is_empty();
    if limited && !limits.guardrails.iter().any(|guardrail| covered(&guardrail.bound)) {
        let place = fields.get("unit").unwrap_or_else(|| fields.place().clone());
        let why = match purpose {
            Purpose::Run => "a canary needs some to climb by",
            Purpose::Analyze => "there is nothing else to judge by",
        };
        let message = format!(
            "where users are the unit only guardrails without a margin have evidence, and {why}: \
             write `guardrails: [{{name: errors, errorRate: {{ratio: 2}}}}]`"
        );
        place.problem(problems, message);
    }
}
