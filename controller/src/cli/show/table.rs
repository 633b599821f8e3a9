//! The versions of an experiment as a table: weights, counts, rates with the ranges in which they most likely lie, verdicts.

use super::super::output::{NOTHING, Table, amount, count, latency, percent, probability, weight};
use weir_engine::assess::{Assessment, VersionAssessment};
use weir_engine::metrics::{Metric, MetricName};
use weir_engine::state::Verdict;

/// The versions, one a line. `in_force` are the weights that filters carry out, if others than those assessed may be; `by_hand`
/// says of each by whom it was rolled back, where that is known.
pub(crate) fn versions(assessment: &Assessment, in_force: Option<&[u32]>, by_hand: &[Option<String>]) -> String {
    // Card J is about rewards.
    let rewarded =
        assessment.versions.iter().any(|version| version.log_e_beaten.or(version.probability_best).is_some());
    let mut headings = vec!["VERSION", "WEIGHT", "EXPOSURES", "ERRORS", "P50", "P99"];
    if rewarded {
        headings.extend(["REWARD", "BEST*"]);
    }
    headings.push("VERDICTS");
    let mut table = Table::new(&headings);
    for (index, version) in assessment.versions.iter().enumerate() {
        let share = in_force.and_then(|weights| weights.get(index)).copied().unwrap_or(version.weight);
        let mut row = vec![
            if version.baseline { format!("{} (baseline)", version.name) } else { version.name.clone() },
            weight(share),
            count(version.settled.assigned),
            rate(version, MetricName::ErrorRate),
            latency_of(version, MetricName::LatencyP50),
            latency_of(version, MetricName::LatencyP99),
        ];
        if rewarded {
            row.push(reward(version));
            let best =
                version.probability_best_and_feasible.filter(|_| !version.out && assessment.settled_exposures > 0);
            row.push(best.map_or_else(|| NOTHING.to_owned(), probability));
        }
        row.push(verdicts_of(version, by_hand.get(index).and_then(Option::as_deref)));
        table.row(row);
    }
    let mut text = table.render();
    if rewarded {
        text.push_str(
            "* probability of the best reward among those that keep their limits: belief, it decides nothing\n",
        );
    }
    text
}

pub(super) fn settled(assessment: &Assessment) -> String {
    let live: u64 = assessment.versions.iter().map(|version| version.live.assigned).sum();
    format!(
        "\nsettled {} of {} exposures; rates with 95% intervals\n",
        count(assessment.settled_exposures),
        count(live.max(assessment.settled_exposures)),
    )
}

/// A rate with the range in which it most likely lies.
fn rate(version: &VersionAssessment, name: MetricName) -> String {
    let Some(metric) = version.metric(name) else { return NOTHING.to_owned() };
    let (low, high) = metric.belief.map_or((None, None), |belief| (belief.low, belief.high));
    match (low, high) {
        (Some(low), Some(high)) => {
            format!("{} ({}–{})", percent(metric.observed), percent(low).trim_end_matches('%'), percent(high))
        }
        _ => percent(metric.observed),
    }
}

/// The reward: a rate, or a mean amount with its range.
fn reward(version: &VersionAssessment) -> String {
    let Some(metric) = version.metric(MetricName::RewardMean) else { return rate(version, MetricName::RewardRate) };
    match metric.belief.and_then(|belief| belief.low.zip(belief.high)) {
        Some((low, high)) => format!("{} ({}–{})", amount(metric.observed), amount(low), amount(high)),
        None => amount(metric.observed),
    }
}

fn latency_of(version: &VersionAssessment, name: MetricName) -> String {
    version.metric(name).map_or_else(|| NOTHING.to_owned(), |metric| or_more(metric, latency(metric.observed)))
}

/// What was observed of a metric; `≥` where it is that or more.
pub(crate) fn or_more(metric: &Metric, shown: String) -> String {
    if metric.observed_or_more { format!("≥ {shown}") } else { shown }
}

fn verdicts_of(version: &VersionAssessment, by_hand: Option<&str>) -> String {
    let mut gates: Vec<String> = version
        .gates
        .iter()
        .map(|gate| {
            let verdict = match gate.verdict {
                _ if !gate.covered => "not covered by evidence",
                Verdict::NotEnoughEvidence => "not enough evidence",
                Verdict::Met => "met",
                Verdict::Violated => "violated",
            };
            format!("{}: {verdict}", gate.name)
        })
        .collect();
    if version.out {
        gates.push(match by_hand {
            _ if version.baseline => "cannot win".to_owned(),
            Some(by) => format!("rolled back by hand: {by}"),
            None => "rolled back".to_owned(),
        });
    }
    if gates.is_empty() { NOTHING.to_owned() } else { gates.join("; ") }
}
