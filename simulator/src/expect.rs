//! Compares what happened with what a scenario says must.

use crate::run::{Ending, Run};
use crate::scenario::{Expect, Got, Scenario};
use weir_core::duration::format_milliseconds;
use weir_engine::decide::Action;
use weir_engine::words::percent;

/// What is not as it was expected, in sentences; none: all is.
#[must_use]
pub fn broken(scenario: &Scenario, run: &Run) -> Vec<String> {
    let Some(expect) = &scenario.expect else { return Vec::new() };
    let Expect { outcome, version, rolled_back, by_ms, not_before_ms, holds, says, does, asks, got, share: _ } = expect;
    let name = |version: usize| scenario.experiment.version_name(version);
    let mut broken = Vec::new();
    if let Some(outcome) = outcome.filter(|outcome| *outcome != run.ending) {
        broken.push(format!("it ended {}, not {}", word(run.ending), word(outcome)));
    }
    if let Some(version) = version.filter(|version| *version != run.version) {
        broken.push(format!("{} has the traffic, not {}", name(run.version), name(version)));
    }
    if let Some(expected) = rolled_back {
        for (index, version) in run.versions.iter().enumerate() {
            match (expected.contains(&index), version.rolled_back_at_ms) {
                (true, None) => broken.push(format!("{} was not rolled back", version.name)),
                (false, Some(at)) => {
                    broken.push(format!("{} was rolled back after {}", version.name, format_milliseconds(at)));
                }
                _ => {}
            }
        }
    }
    let at = format_milliseconds(run.ended_at_ms);
    if let Some(by) = by_ms.filter(|by| run.ending == Ending::Undecided || run.ended_at_ms > *by) {
        broken.push(format!("it had not concluded by {} (but at {at})", format_milliseconds(by)));
    }
    if let Some(before) = not_before_ms.filter(|before| run.ended_at_ms < *before) {
        broken.push(format!("it concluded at {at}, before {}", format_milliseconds(before)));
    }
    for (from, until) in holds {
        let moved = run
            .decisions
            .iter()
            .find(|decision| decision.action.moves_traffic() && (*from..*until).contains(&decision.at_ms));
        if let Some(moved) = moved {
            let at = format_milliseconds(moved.at_ms);
            broken.push(format!("weights moved at {at}: {}", moved.reasons.join(" ")));
        }
    }
    for words in says {
        let said = |reasons: &Vec<String>| reasons.iter().any(|reason| reason.contains(words.as_str()));
        if !run.decisions.iter().any(|decision| said(&decision.reasons)) {
            broken.push(format!("nobody said \"{words}\""));
        }
    }
    for action in does {
        if !run.decisions.iter().any(|decision| decision.action == *action) {
            broken.push(format!("it never did {action:?}"));
        }
    }
    broken.extend(unasked(run, asks));
    got.iter().for_each(|got| broken.extend(lacks(run, got)));
    broken
}

/// What was done of these without anybody having been asked since the last time.
fn unasked(run: &Run, asks: &[Action]) -> Option<String> {
    let mut asked = false;
    for decision in &run.decisions {
        if decision.action == Action::Ask {
            asked = true;
        } else if asks.contains(&decision.action) && !std::mem::take(&mut asked) {
            let at = format_milliseconds(decision.at_ms);
            return Some(format!(
                "nobody was asked before {:?} at {at}: {}",
                decision.action,
                decision.reasons.join(" ")
            ));
        }
    }
    None
}

/// What a version got that it should not have, or did not.
fn lacks(run: &Run, got: &Got) -> Vec<String> {
    let Some(version) = run.versions.get(got.version) else { return Vec::new() };
    #[expect(clippy::cast_precision_loss, reason = "requests of a run")]
    let share = version.requests as f64 / run.requests.max(1) as f64;
    let mut lacks = Vec::new();
    if !(got.least..=got.most).contains(&share) {
        let [share, least, most] = [share, got.least, got.most].map(percent);
        lacks.push(format!("{} got {share} of the requests, not {least} to {most}", version.name));
    }
    if version.requests > got.requests {
        lacks.push(format!("{} got {} requests, more than {}", version.name, version.requests, got.requests));
    }
    if version.settled.assigned < got.settled {
        let settled = version.settled.assigned;
        lacks.push(format!("of {} only {settled} exposures have settled, not {}", version.name, got.settled));
    }
    lacks
}

/// An ending as scenarios name it.
#[must_use]
pub fn word(ending: Ending) -> &'static str {
    Ending::WORDS.iter().find(|(_, known)| *known == ending).map_or("", |(word, _)| word)
}
