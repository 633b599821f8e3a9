//! An experiment for people: as a row of a list, in detail, and as one line of a log. Text out of a view, nothing else; `words` has
//! its parts in words, `table` its versions.

mod table;
#[cfg(test)]
pub(crate) mod tests;
mod words;

pub(crate) use table::{or_more, versions};
pub(crate) use words::{action, limits, phase, step};

use super::client::View;
use super::output::{NOTHING, Table, count, stretch};
use crate::ledger::Told;
use table::settled;
use weir_engine::assess::VersionAssessment;
use weir_engine::outlook::promotion_waits;
use weir_engine::state::{Phase, State, Verdict};
use words::{age, by_hand, strategy, weights};

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
            words::short(view),
            weights(view),
            view.assessment.as_ref().map_or_else(|| NOTHING.to_owned(), |a| count(a.settled_exposures)),
            stretch(now.saturating_sub(view.state.started_at)),
        ]);
    }
    let mut text = table.render();
    let asks = |view: &View| {
        let warned = view.health_warnings.iter().map(|warning| format!("warning: {warning}"));
        waiting(view, now).into_iter().chain(warned).collect::<Vec<_>>()
    };
    let said: Vec<String> = views
        .iter()
        .flat_map(|view| asks(view).into_iter().map(|said| format!("{}: {said}\n", view.experiment.name)))
        .collect();
    if !said.is_empty() {
        text.push('\n');
        text.extend(said);
    }
    text
}

/// One experiment in detail.
pub(crate) fn detail(view: &View, now: u64) -> String {
    let experiment = &view.experiment;
    let mut text = format!(
        "{} · service {} · {} · {} · epoch {} · {}\n{}\n",
        experiment.name,
        experiment.service,
        strategy(&experiment.strategy),
        phase(view),
        view.state.epoch().map_or(0, |epoch| epoch.epoch),
        age(view, now),
        limits(experiment),
    );
    match &view.assessment {
        // Whatever could be said of it would be the priors'.
        _ if view.state.phase == Phase::Pending => {
            let baseline = experiment.version_name(experiment.baseline);
            text.push_str(&format!("nothing is counted before it is started: all traffic goes to {baseline}\n"));
        }
        Some(assessment) => {
            text.push_str(&versions(assessment, Some(&view.state.weights_in_force(experiment)), &by_hand(view)));
            text.push_str(&settled(assessment));
            text.push_str(&format!("{}\n", assessment.conclusion));
            if let Some(waits) = promotion_waits(experiment, &view.state, assessment) {
                text.push_str(&format!("{waits}\n"));
            }
        }
        None => text.push_str("nothing assessed yet\n"),
    }
    if let Some(decision) = &view.decision {
        text.push_str(&told("decision", decision, now));
        if let Some(change) = view.last_change.as_ref().filter(|change| change.decision.at != decision.decision.at) {
            text.push_str(&told("change", change, now));
        }
    }
    for waits in waiting(view, now) {
        text.push_str(&format!("{waits}\n"));
    }
    let assessed = view.assessment.iter().flat_map(|assessment| &assessment.warnings);
    for warning in view.health_warnings.iter().chain(assessed) {
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
    if let Some(Told { decision, ordered }) = &view.decision {
        let by = ordered.as_ref().map(|order| format!(" by {}", order.by)).unwrap_or_default();
        parts.push(format!("{}{by}: {}", action(decision.action), decision.reasons.join(" ")));
    }
    parts.extend(waiting(view, now));
    parts.extend(view.health_warnings.iter().map(|warning| format!("warning: {warning}")));
    parts.join(" · ")
}

/// What is shown with keys beside it: where something waits for a person, the key stands in place of the command.
pub(crate) fn with_keys(detail: &str, name: &str) -> String {
    let keys =
        [(format!("weir start {name} --reason '…'"), "press s"), (format!("; weir approve {name} "), "; press a")];
    let keyed = |line: &str| {
        let found = keys.iter().filter(|_| line.starts_with("waits")).find_map(|(command, key)| {
            let (before, _) = line.split_once(command.as_str())?;
            Some(format!("{before}{key}"))
        });
        found.unwrap_or_else(|| line.to_owned()) + "\n"
    };
    detail.lines().map(keyed).collect()
}

/// What waits for a person, and whom the breaker holds.
fn waiting(view: &View, now: u64) -> Vec<String> {
    let (experiment, state) = (&view.experiment, &view.state);
    let name = &experiment.name;
    let mut waits = Vec::new();
    if state.phase == Phase::Pending {
        waits.push(format!("waits to be started: weir start {name} --reason '…'"));
    }
    if let Some(awaited) = &state.awaited {
        let (since, step) = (awaited.since, step(experiment, &awaited.step));
        let age = stretch(now.saturating_sub(since));
        waits.push(format!(
            "waits for approval since {age}: {step}; weir approve {name} --awaited-since {since} --reason '…'"
        ));
    }
    for (index, version) in experiment.versions.iter().enumerate() {
        if state.is_tripped(index) && !state.is_out(index) {
            waits.push(format!("the breaker holds {} until what it doubted has settled", version.name));
        }
    }
    waits
}

/// What must change for [`line()`] to be worth another line: where it stands and what is evident, not how much was counted.
pub(crate) fn standing(view: &View) -> String {
    let verdicts: Vec<Vec<Verdict>> = view.assessment.iter().flat_map(|a| &a.versions).map(verdicts).collect();
    let State { phase, out, awaited, trips, .. } = &view.state;
    // Ages and counts are left out of what is wrong: that anything is, is the news.
    let warned = view.health_warnings.len();
    format!("{phase:?} {:?} {out:?} {awaited:?} {trips:?} {warned} {verdicts:?}", view.state.weights())
}

fn verdicts(version: &VersionAssessment) -> Vec<Verdict> {
    version.gates.iter().map(|gate| gate.verdict).collect()
}

fn told(what: &str, told: &Told, now: u64) -> String {
    let Told { decision, ordered } = told;
    let ago = stretch(now.saturating_sub(decision.at));
    let by = ordered.as_ref().map(|order| format!(", by {}: “{}”", order.by, order.reason)).unwrap_or_default();
    let mut text = format!("\nlast {what}: {}, {ago} ago{by}\n", action(decision.action));
    for reason in &decision.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text
}
