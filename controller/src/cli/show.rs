//! An experiment for people: as a row of a list, in detail, and as one line of a log. Text out of a view, nothing else.

use super::client::View;
use super::output::{NOTHING, Table, count, latency, percent, probability, stretch, weight};
use weir_engine::assess::{Assessment, Estimate, VersionAssessment};
use weir_engine::decide::{Action, Decision};
use weir_engine::spec::{Limit, Strategy};
use weir_engine::state::{Outcome, Phase, Verdict};

/// Several experiments, one a line.
pub(crate) fn list(views: &[View], now: u64) -> String {
    if views.is_empty() {
        return "no experiments; `weir apply -f FILE` creates one\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "SERVICE", "STATE", "WEIGHTS", "EXPOSURES", "AGE"]);
    for view in views {
        table.row(vec![
            view.experiment.name.clone(),
            view.experiment.service.clone(),
            phase(view),
            weights(view),
            view.assessment.as_ref().map_or_else(|| NOTHING.to_owned(), |a| count(a.settled_exposures)),
            stretch(now.saturating_sub(view.state.started_at)),
        ]);
    }
    table.render()
}

/// One experiment in detail.
pub(crate) fn detail(view: &View, now: u64) -> String {
    let experiment = &view.experiment;
    let mut text = format!(
        "{} · service {} · {} · {} · epoch {} · {}\n\n",
        experiment.name,
        experiment.service,
        strategy(&experiment.strategy),
        phase(view),
        view.state.epoch().map_or(0, |epoch| epoch.epoch),
        age(view, now),
    );
    match &view.assessment {
        Some(assessment) => text.push_str(&versions(view, assessment)),
        None => text.push_str("nothing assessed yet\n"),
    }
    if let Some(decision) = &view.decision {
        text.push_str(&last_decision(decision, now));
    }
    for warning in view.assessment.iter().flat_map(|assessment| &assessment.warnings) {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

/// One line that says where an experiment stands, for logs.
pub(crate) fn line(view: &View, now: u64) -> String {
    let mut parts = vec![age(view, now), phase(view), weights(view)];
    if let Some(assessment) = &view.assessment {
        parts.push(format!("{} exposures", count(assessment.settled_exposures)));
    }
    if let Some(decision) = &view.decision {
        parts.push(format!("{}: {}", action(decision.action), decision.reasons.join(" ")));
    }
    parts.join(" · ")
}

/// What must change for [`line`] to be worth another line: where it stands and what is evident, not how much was counted.
pub(crate) fn standing(view: &View) -> String {
    let verdicts: Vec<Vec<Verdict>> = view.assessment.iter().flat_map(|a| &a.versions).map(verdicts).collect();
    format!("{:?} {:?} {:?} {verdicts:?}", view.state.phase, view.state.weights(), view.state.out)
}

fn verdicts(version: &VersionAssessment) -> Vec<Verdict> {
    version.objectives.iter().map(|gate| gate.verdict).collect()
}

fn phase(view: &View) -> String {
    match view.state.phase {
        Phase::Running => "running".to_owned(),
        Phase::Concluded { outcome, version, .. } => {
            let version = view.experiment.version_name(version);
            match outcome {
                Outcome::Promoted => format!("promoted {version}"),
                Outcome::RolledBack => format!("rolled back to {version}"),
                Outcome::Inconclusive => format!("inconclusive, stays on {version}"),
            }
        }
    }
}

fn age(view: &View, now: u64) -> String {
    match view.state.phase {
        Phase::Running => format!("for {}", stretch(now.saturating_sub(view.state.started_at))),
        Phase::Concluded { at, .. } => format!("after {}", stretch(at.saturating_sub(view.state.started_at))),
    }
}

/// Weights in force: all of it on the outcome once concluded.
fn weights(view: &View) -> String {
    if let Phase::Concluded { version, .. } = view.state.phase {
        return format!("{} 100%", view.experiment.version_name(version));
    }
    let names = view.experiment.versions.iter().map(|version| version.name.as_str());
    let shown: Vec<String> =
        names.zip(view.state.weights()).map(|(name, share)| format!("{name} {}", weight(*share))).collect();
    shown.join(", ")
}

fn strategy(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Bandit { floor, max_step } => {
            format!("bandit (floor {}, steps of {} at most)", weight(*floor), weight(*max_step))
        }
        Strategy::Canary { steps } => {
            let steps: Vec<String> = steps.iter().map(|step| weight(*step)).collect();
            format!("canary ({})", steps.join(", "))
        }
        Strategy::Ab { .. } => "a/b".to_owned(),
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Hold => "hold",
        Action::Renew => "renew",
        Action::Shift => "shift",
        Action::RollBack => "roll back",
        Action::Promote => "promote",
        Action::Conclude => "conclude",
    }
}

fn versions(view: &View, assessment: &Assessment) -> String {
    let rewarded = view.experiment.reward.is_some();
    let mut headings = vec!["VERSION", "WEIGHT", "EXPOSURES", "ERRORS", "P50", "P99"];
    if rewarded {
        headings.extend(["REWARD", "BEST*"]);
    }
    headings.push("OBJECTIVES");
    let mut table = Table::new(&headings);
    let concluded = match view.state.phase {
        Phase::Concluded { version, .. } => Some(version),
        Phase::Running => None,
    };
    for (index, version) in assessment.versions.iter().enumerate() {
        let share = concluded.map_or(version.weight, |outcome| if outcome == index { 10_000 } else { 0 });
        let mut row = vec![
            if version.baseline { format!("{} (baseline)", version.name) } else { version.name.clone() },
            weight(share),
            count(version.settled.assigned),
            estimate(version.error_rate),
            version.latency_p50_ms.map_or_else(|| NOTHING.to_owned(), latency),
            version.latency_p99_ms.map_or_else(|| NOTHING.to_owned(), latency),
        ];
        if rewarded {
            row.push(estimate(version.reward_rate));
            row.push(version.probability_best_and_feasible.map_or_else(|| NOTHING.to_owned(), probability));
        }
        row.push(gates(view, version));
        table.row(row);
    }
    let mut text = table.render();
    if rewarded {
        text.push_str("* probability of the best reward among those that keep their objectives: belief, it decides nothing\n");
    }
    let live: u64 = assessment.versions.iter().map(|version| version.live.assigned).sum();
    text.push_str(&format!(
        "\nsettled {} of {} exposures; rates with 95% intervals\n",
        count(assessment.settled_exposures),
        count(live.max(assessment.settled_exposures)),
    ));
    let winner = assessment.winner.as_deref().unwrap_or("none yet");
    text.push_str(&format!("winner by evidence: {winner}\n"));
    text
}

fn estimate(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(
        || NOTHING.to_owned(),
        |e| format!("{} ({} to {})", percent(e.observed), percent(e.low), percent(e.high)),
    )
}

fn gates(view: &View, version: &VersionAssessment) -> String {
    let mut gates: Vec<String> = version
        .objectives
        .iter()
        .map(|gate| {
            let limit = view.experiment.objectives.iter().find(|objective| objective.name == gate.objective);
            let limit = limit.map_or_else(String::new, |objective| match objective.limit {
                Limit::ErrorRate { max } => format!(" ≤ {}", percent(max)),
            });
            let verdict = match gate.verdict {
                Verdict::NotEnoughEvidence => "not enough evidence",
                Verdict::Met => "met",
                Verdict::Violated => "violated",
            };
            format!("{}{limit}: {verdict}", gate.objective)
        })
        .collect();
    if version.out {
        gates.push(if version.baseline { "cannot win".to_owned() } else { "rolled back".to_owned() });
    }
    if gates.is_empty() { NOTHING.to_owned() } else { gates.join("; ") }
}

fn last_decision(decision: &Decision, now: u64) -> String {
    let mut text =
        format!("\nlast decision: {}, {} ago\n", action(decision.action), stretch(now.saturating_sub(decision.at)));
    for reason in &decision.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text
}
