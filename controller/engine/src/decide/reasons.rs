//! Why, in sentences for people.

use super::ladder;
use super::winner::stood;
use crate::assess::{Assessment, VersionAssessment};
use crate::spec::{Experiment, Rule, Strategy};
use crate::state::{Cause, State, Verdict};
use crate::words::{count, e_value, e_value_of, weight};

/// Which of its limits a version breaks, by name, on the evidence of this look or an earlier one; `None` if none.
pub(crate) fn broken(version: &VersionAssessment) -> Option<String> {
    let fired: Vec<&str> =
        version.gates.iter().filter(|gate| gate.verdict == Verdict::Violated).map(|gate| gate.name.as_str()).collect();
    let together = version.log_e_roll_back >= version.roll_back_at;
    (!fired.is_empty() || together)
        .then(|| if fired.is_empty() { "its limits together".to_owned() } else { fired.join(", ") })
}

/// Marks who is out from now on, and says why.
pub(super) fn fallen(next: &mut State, assessment: &Assessment) -> Vec<String> {
    let mut reasons = Vec::new();
    for (version, out) in assessment.versions.iter().zip(&mut next.out) {
        let Some(what) = broken(version).filter(|_| !*out) else { continue };
        *out = true;
        let baseline = assessment.versions.iter().find(|other| other.baseline).map_or("", |other| other.name.as_str());
        let observed = version.seen.as_ref().map(|seen| format!(" ({})", seen.in_words(baseline))).unwrap_or_default();
        let consequence = if version.baseline {
            "it is the baseline, so it keeps its traffic but cannot win"
        } else {
            "it gets no more traffic"
        };
        // One limit's own evidence, or that of all together, each beside what it needs.
        let fired = version.gates.iter().find(|gate| gate.verdict == Verdict::Violated);
        let (found, needed) = fired
            .filter(|gate| gate.log_e_violated >= gate.violated_at)
            .map_or((version.log_e_roll_back, version.roll_back_at), |gate| (gate.log_e_violated, gate.violated_at));
        reasons.push(format!(
            "{} breaks {what}{observed}: e-value {}, {} needed; {consequence}.",
            version.name,
            e_value(found),
            e_value(needed),
        ));
    }
    reasons
}

/// Why a version is promoted.
pub(super) fn promotion(experiment: &Experiment, assessment: &Assessment, winner: usize) -> String {
    let name = experiment.version_name(winner);
    let unmet = assessment.versions.get(winner).map(VersionAssessment::unmet).unwrap_or_default();
    let kept = if winner == experiment.baseline && unmet.is_empty() {
        "it is the baseline".to_owned()
    } else if winner == experiment.baseline {
        format!("it is the baseline, and has not shown that it meets {} (a baseline need not)", unmet.join(", "))
    } else if assessment.versions.get(winner).is_some_and(VersionAssessment::meets_every_gate) {
        "it meets every limit".to_owned()
    } else {
        "no limit was set that evidence covers".to_owned()
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

/// That and why it is paused, and what may still act.
pub(super) fn paused(experiment: &Experiment, cause: Cause) -> String {
    let why = match cause {
        Cause::Asked => "Paused by hand: weights stay until it is resumed.",
        Cause::Weights => "The weights were set by hand: they stay until it is resumed.",
        Cause::Timeout => "Its weights stay until a person decides: resume it, promote a version, or stop it.",
    };
    format!("{why} {} is counted on; only evidence of a violation still moves traffic.", experiment.name)
}

/// That exposures do not follow the weights, and whom the breaker holds.
pub(super) fn incomparable(experiment: &Experiment, state: &State) -> String {
    let mut said = "Exposures do not follow the weights: weights stay until the cause is found.".to_owned();
    for trip in state.trips.iter().filter(|trip| trip.open) {
        let name = experiment.version_name(trip.version);
        said.push_str(&format!(" The breaker holds {name}, for counts that settle cannot clear it now."));
    }
    said
}

/// What a verdict or a promotion still waits for.
pub(super) fn missing(experiment: &Experiment, state: &State, assessment: &Assessment) -> Vec<String> {
    if assessment.settled_exposures == 0 {
        return vec!["Nothing has settled yet: no data means hold.".to_owned()];
    }
    let ladder = match &experiment.strategy {
        Strategy::Canary { steps } => Some(ladder::part(steps, state.rung)),
        Strategy::Bandit { .. } | Strategy::Ab { .. } => None,
    };
    let mut reasons = Vec::new();
    for (index, version) in assessment.versions.iter().enumerate().filter(|(_, version)| !version.out) {
        if state.is_tripped(index) {
            reasons.push(format!("The breaker holds {} until what it doubted has settled.", version.name));
            continue;
        }
        if version.settled.assigned < experiment.min_exposures {
            reasons.push(format!(
                "{} has {} of the {} settled exposures it needs.",
                version.name,
                count(version.settled.assigned),
                count(experiment.min_exposures)
            ));
        } else if ladder.is_some() && !version.baseline && !stood(experiment, version) {
            reasons.push(format!(
                "{} has {} of the {} settled exposures it needs on this rung.",
                version.name,
                count(version.settled_at_these_weights),
                count(experiment.min_exposures)
            ));
        }
        if version.baseline {
            continue;
        }
        for gate in version.gates.iter().filter(|gate| gate.covered && gate.verdict == Verdict::NotEnoughEvidence) {
            let (part, what) =
                ladder.filter(|part| *part < 1.0).map_or((1.0, "needed"), |part| (part, "needed to climb"));
            let (found, needed) = e_value_of(gate.log_e_met, part * gate.met_at);
            reasons.push(format!(
                "{}: not enough evidence on {} yet (e-value {found} that it is met, {needed} {what}).",
                version.name, gate.name
            ));
        }
        if let (Some(_), Some(doubt)) = (ladder, ladder::doubt(version)) {
            reasons.push(format!("It does not climb while {doubt}."));
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

/// Whose weight changes, from what to what.
pub(crate) fn moves(experiment: &Experiment, from: &[u32], to: &[u32]) -> String {
    let versions = experiment.versions.iter().zip(from).zip(to).filter(|((_, from), to)| from != to);
    let moves: Vec<String> =
        versions.map(|((version, from), to)| format!("{} {} → {}", version.name, weight(*from), weight(*to))).collect();
    moves.join(", ")
}

/// Who leads, as a bandit sees it; nothing where it asks nobody's belief.
pub(super) fn leader(experiment: &Experiment, assessment: &Assessment, rule: Rule) -> Option<String> {
    if rule == Rule::Uniform {
        return None;
    }
    let leader = assessment
        .versions
        .iter()
        .max_by(|a, b| {
            let p = |version: &VersionAssessment| version.probability_best_and_feasible.unwrap_or(0.0);
            p(a).total_cmp(&p(b)).then_with(|| a.baseline.cmp(&b.baseline))
        })
        .map_or_else(
            || experiment.version_name(experiment.baseline).to_owned(),
            |version| {
                format!(
                    "{} is best and feasible with probability {:.2}",
                    version.name,
                    version.probability_best_and_feasible.unwrap_or(0.0)
                )
            },
        );
    Some(format!("Belief: {leader}."))
}

/// Where traffic goes by a bandit's rule.
pub(super) fn follows(experiment: &Experiment, assessment: &Assessment, rule: Rule, weights: &[u32]) -> String {
    let moves: Vec<String> = assessment
        .versions
        .iter()
        .zip(weights)
        .filter(|(version, weight)| version.weight != **weight)
        .map(|(version, weight)| {
            format!("{} {:.0}% → {:.0}%", version.name, f64::from(version.weight) / 100.0, f64::from(*weight) / 100.0)
        })
        .collect();
    let moves = moves.join(", ");
    if rule == Rule::Uniform {
        return format!("Equal shares for all that are in: {moves}.");
    }
    leader(experiment, assessment, rule)
        .into_iter()
        .chain([format!("Traffic follows: {moves}.")])
        .collect::<Vec<_>>()
        .join(" ")
}
