//! What an assessment says in sentences: warnings, how each version stands, who has won or what is missing.

use super::{SAMPLE_RATIO_ADVICE, SampleRatio, VersionAssessment};
use crate::cells::Tally;
use crate::gates::{self, Gate};
use crate::spec::{Experiment, RewardKind, Strategy};
use crate::state::{PairUnits, State, Verdict};
use crate::words;

pub(super) fn warn(
    experiment: &Experiment,
    state: &State,
    tallies: &[Tally],
    units: &[PairUnits],
    sample_ratio: Option<SampleRatio>,
    warnings: &mut Vec<String>,
) {
    // Nothing is asked any more about a candidate that is out.
    let gone = |version: usize| version != experiment.baseline && state.is_out(version);
    for (pair, until) in units.iter().filter_map(|pair| Some((pair, pair.until?))) {
        if gone(pair.a) || gone(pair.b) {
            continue;
        }
        let hint = match experiment.strategy {
            Strategy::Ab { .. } => "set no weights by hand",
            Strategy::Canary { .. } | Strategy::Bandit { .. } => "keep the ratio of weights (strategy ab)",
        };
        warnings.push(format!(
            "evidence about {} and {} stands still since epoch {until}: users of another version joined the two in other shares than \
             their weights, so that those left without an event are no longer alike; {hint} where users are the unit",
            experiment.version_name(pair.a),
            experiment.version_name(pair.b)
        ));
    }
    if !experiment.requests_are_units() {
        let shares = if experiment.counts_new_units() {
            "is tested on those who were given a cookie"
        } else {
            "cannot be tested"
        };
        warnings.push(format!(
            "users are the unit here: requests of one user are alike, so evidence counts the first event per unit bucket; \
             beliefs count requests and look surer than they are; whether users follow the weights {shares}"
        ));
        if experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Real) {
            warnings.push(
                "users are the unit and rewards are amounts: no evidence is valid for that, so nobody is found best; \
                 count conversions (kind: binary) to have a winner"
                    .to_owned(),
            );
        }
    }
    if sample_ratio.is_some_and(|test| test.broken) {
        let new = experiment.counts_new_units();
        let shares: Vec<String> = experiment
            .versions
            .iter()
            .zip(tallies)
            .map(|(version, tally)| (&version.name, if new { tally.new_units } else { tally.assigned }))
            .map(|(name, drawn)| format!("{name} {}", words::count(drawn)))
            .collect();
        let who = if new { "users who were given a cookie" } else { "exposures" };
        warnings.push(format!(
            "{who} do not follow the weights ({}): something loses or moves requests of some versions, so no comparison \
             can be trusted; {SAMPLE_RATIO_ADVICE}",
            shares.join(", ")
        ));
    }
    if experiment.reward.as_ref().is_some_and(|reward| reward.kind == RewardKind::Real) {
        warnings
            .push("rewards are amounts: evidence about them is asymptotic, exact only as exposures grow".to_owned());
    }
}

pub(super) fn standing(experiment: &Experiment, version: &VersionAssessment) -> String {
    let name = &version.name;
    let violated: Vec<&str> =
        version.gates.iter().filter(|gate| gate.verdict == Verdict::Violated).map(|gate| gate.name.as_str()).collect();
    if !violated.is_empty() {
        return format!("{name} breaks {}.", violated.join(", "));
    }
    if version.out {
        return format!("{name} is out: it was rolled back; its decisions say when and why.");
    }
    if version.settled.assigned == 0 {
        return format!("{name} has no settled exposures: nothing is known of it.");
    }
    let mut parts = Vec::new();
    let covered: Vec<&Gate> = version.gates.iter().filter(|gate| gate.covered).collect();
    let met = covered.iter().filter(|gate| gate.verdict == Verdict::Met).count();
    if !covered.is_empty() {
        parts.push(if met == covered.len() {
            "meets every limit that evidence covers".to_owned()
        } else {
            format!("meets {met} of {} limits, and breaks none as far as evidence tells", covered.len())
        });
    }
    if let Some(log_e) = version.log_e_beaten {
        parts.push(if version.may_be_best {
            format!(
                "may still be the best (e-value {} of {} that it is not)",
                words::e_value(log_e),
                words::e_value(gates::beaten_at(experiment))
            )
        } else {
            format!("is not the best (e-value {})", words::e_value(log_e))
        });
    }
    if parts.is_empty() { format!("{name} runs.") } else { format!("{name} {}.", parts.join("; ")) }
}

pub(super) fn conclusion(
    experiment: &Experiment,
    versions: &[VersionAssessment],
    winner: Option<usize>,
    broken: bool,
) -> String {
    if let Some(version) = winner.and_then(|winner| versions.get(winner)) {
        let kept = if version.meets_every_gate() { ", and it meets every limit that evidence covers" } else { "" };
        // Only a baseline may win so: it runs already.
        let open = match version.unmet().as_slice() {
            [] => String::new(),
            unmet => {
                format!(" {} has not shown that it meets {}; a baseline need not.", version.name, unmet.join(", "))
            }
        };
        let alone = versions.iter().all(|other| other.out || other.name == version.name);
        let why = if experiment.reward.is_some() && alone {
            format!("no other version is in{kept}")
        } else if experiment.reward.is_some() {
            format!("it has beaten every other version that is in{kept}")
        } else {
            "it meets every limit that evidence covers, and nothing else was asked of the candidate".to_owned()
        };
        let error = match experiment.reward.as_ref().map(|reward| reward.kind) {
            None => "with error at most",
            Some(RewardKind::Binary) => "each with error at most",
            Some(RewardKind::Real) => "each, as exposures grow, with error at most",
        };
        let alpha = words::percent(experiment.alpha.promotion);
        return format!("{} wins: {why}; {error} {alpha} over all looks.{open}", version.name);
    }
    if versions.iter().all(|version| version.out || version.baseline) {
        return format!(
            "No candidate is left: each is rolled back, so {} stays.",
            experiment.version_name(experiment.baseline)
        );
    }
    let mut missing = Vec::new();
    if broken {
        missing.push("exposures do not follow the weights, so that nothing can be compared".to_owned());
    }
    let few: Vec<&str> = versions
        .iter()
        .filter(|version| !version.out && version.settled.assigned < experiment.min_exposures)
        .map(|version| version.name.as_str())
        .collect();
    if !few.is_empty() {
        missing.push(format!(
            "{} {} fewer than {} settled exposures",
            few.join(", "),
            if few.len() == 1 { "has" } else { "have" },
            words::count(experiment.min_exposures)
        ));
    }
    let open: Vec<&VersionAssessment> = versions.iter().filter(|version| version.may_be_best).collect();
    if experiment.reward.is_some() && open.len() > 1 {
        let names: Vec<&str> = open.iter().map(|version| version.name.as_str()).collect();
        missing.push(format!("any of {} may still be the best", names.join(", ")));
    }
    for version in open.iter().filter(|version| !version.baseline) {
        let unmet = version.unmet();
        if !unmet.is_empty() {
            missing.push(format!("{} has not shown yet that it meets {}", version.name, unmet.join(", ")));
        }
    }
    if missing.is_empty() {
        missing.push(match open.first() {
            Some(version) => format!("{} has not beaten every other version by itself yet", version.name),
            None => "no version is left that could win".to_owned(),
        });
    }
    format!("Not enough evidence: {}.", missing.join("; "))
}
