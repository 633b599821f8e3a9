//! A canary's ladder: climbed by evidence, held on doubt.
//!
//! A rung is left with evidence in proportion to its weight: ln E ("the limit is met") of every gate must have reached
//! `weight of this rung / weight of the last rung` of what promotion needs. The last rung is left with all of it, and that is
//! the promotion. So what a version may put at risk next is what it has answered for, and a small rung, which shows little
//! evidence by its nature, does not keep a good version for days.

use super::Look;
use super::winner::stood;
use crate::assess::VersionAssessment;
use crate::policy;
use crate::spec::Experiment;
use crate::state::Verdict;

/// A candidate does not climb while the evidence against it is this part (on the log scale) of what a roll-back needs.
const DOUBT: f64 = 0.5;
/// Nor while it is believed to keep its limits with less than this probability.
const LIKELY: f64 = 0.5;

/// The weights of the next rung and its number, if every candidate that is in may climb.
pub(super) fn climb(look: &mut Look<'_>, steps: &[u32]) -> Option<(Vec<u32>, usize)> {
    let above = look.next.rung + 1;
    let step = *steps.get(above)?;
    let part = part(steps, look.next.rung);
    let candidates: Vec<&VersionAssessment> =
        look.assessment.versions.iter().filter(|version| !version.baseline && !version.out).collect();
    let tripped = (0..look.next.out.len()).any(|version| look.next.is_tripped(version));
    if tripped || candidates.is_empty() || !candidates.iter().all(|version| ready(look.experiment, version, part)) {
        return None;
    }
    let who: Vec<String> =
        candidates.iter().map(|version| format!("{} gets {:.2}%", version.name, f64::from(step) / 100.0)).collect();
    look.reasons.push(format!("Enough evidence for rung {} of {}: {}.", above + 1, steps.len(), who.join(", ")));
    Some((policy::canary_weights(look.experiment, step, &look.next.out), above))
}

/// The part of a promotion's evidence (on the log scale) that leaving a rung needs.
pub(crate) fn part(steps: &[u32], rung: usize) -> f64 {
    match (steps.get(rung), steps.last()) {
        (Some(here), Some(last)) if *last > 0 => f64::from(*here) / f64::from(*last),
        _ => 1.0,
    }
}

/// Whether a candidate may climb.
fn ready(experiment: &Experiment, version: &VersionAssessment, part: f64) -> bool {
    let mut covered = version.gates.iter().filter(|gate| gate.covered).peekable();
    // Without a gate that evidence covers there is nothing to climb by.
    stood(experiment, version)
        && covered.peek().is_some()
        && covered.all(|gate| gate.verdict == Verdict::Met || gate.log_e_met >= part * gate.met_at)
        && doubt(version).is_none()
}

/// Why a candidate is doubted; `None` if it is not.
pub(super) fn doubt(version: &VersionAssessment) -> Option<String> {
    let against = version.gates.iter().find(|gate| gate.covered && gate.log_e_violated >= DOUBT * gate.violated_at);
    if let Some(gate) = against {
        return Some(format!("what is seen of {} speaks against {} so far", version.name, gate.name));
    }
    if version.log_e_roll_back >= DOUBT * version.roll_back_at {
        return Some(format!("what is seen of {} speaks against its limits so far", version.name));
    }
    let unlikely = version.probability_feasible.filter(|feasible| *feasible < LIKELY);
    unlikely
        .map(|feasible| format!("{} is believed to keep its limits with probability {feasible:.2} only", version.name))
}
