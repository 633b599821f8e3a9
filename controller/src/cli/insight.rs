//! What an assessment knows, in depth, for people: every metric with its range, every comparison, every verdict with its reason,
//! and the α spent. Text out of an assessment, nothing else; the short form is `show`'s.

use super::output::{NOTHING, Table, amount, count, e_value, latency, percent, probability};
use super::show::or_more;
use weir_engine::assess::{Assessment, VersionAssessment};
use weir_engine::budget::{AlphaSpent, Claim, ClaimKind};
use weir_engine::metrics::{Comparison, Interval, Metric, MetricName};
use weir_engine::words;

/// Everything beyond the table of versions.
pub(crate) fn insight(assessment: &Assessment, spent: &AlphaSpent) -> String {
    let mut text = verdicts(assessment);
    text.push_str(&measured(assessment));
    text.push_str(&compared(assessment));
    text.push_str(&budgets(spent));
    text
}

/// How each version stands, and why; each of its limits below it.
fn verdicts(assessment: &Assessment) -> String {
    let mut text = String::from("\nHow each stands\n");
    let limited = assessment.versions.iter().any(|version| !version.gates.is_empty());
    for version in &assessment.versions {
        text.push_str(&format!("{}\n", version.why));
        for gate in &version.gates {
            text.push_str(&format!("  {}: {}\n", gate.name, gate.why));
        }
        text.push_str(&believed(version, limited));
    }
    if let Some(none) = assessment.probability_none_feasible.filter(|_| limited) {
        text.push_str(&format!("belief that no version keeps its limits: {}\n", probability(none)));
    }
    text
}

/// What is believed of a version as a whole; belief decides nothing.
fn believed(version: &VersionAssessment, limited: bool) -> String {
    let mut parts = Vec::new();
    if !version.gates.is_empty() && version.settled.assigned > 0 {
        let feasible = version.probability_feasible.map_or_else(|| NOTHING.to_owned(), probability);
        parts.push(format!("keeps its limits {feasible}"));
    }
    for (what, value) in [
        ("beats the baseline", version.probability_beats_baseline),
        // Who is out is not among those who may be best.
        ("is best", version.probability_best.filter(|_| !version.out)),
        (
            "is best of those that keep their limits",
            version.probability_best_and_feasible.filter(|_| limited && !version.out),
        ),
    ] {
        parts.extend(value.map(|value| format!("{what} {}", probability(value))));
    }
    if let Some(loss) = version.expected_loss {
        let binary = version.metric(MetricName::RewardRate).is_some();
        let loss = match binary {
            true if loss > 0.0 && loss < 1e-6 => "<0.0001 pp".to_owned(),
            true => points(loss),
            false if loss > 0.0 && loss < 1e-6 => "<0.000001".to_owned(),
            false => amount(loss),
        };
        parts.push(format!("expected loss {loss} per exposure"));
    }
    if parts.is_empty() { String::new() } else { format!("  belief: {}\n", parts.join(", ")) }
}

/// Every metric of every version.
fn measured(assessment: &Assessment) -> String {
    let mut table = Table::new(&["METRIC", "VERSION", "OBSERVED", "95% BELIEF", "95% AT EVERY LOOK", "OF"]);
    for (name, of) in by_metric(assessment) {
        for (version, metric) in of {
            table.row(vec![
                metric_name(name).to_owned(),
                version.name.clone(),
                or_more(metric, value(name, metric.observed)),
                metric.belief.map_or_else(|| NOTHING.to_owned(), |range| interval(range, |x| value(name, x))),
                metric.sequence.map_or_else(|| NOTHING.to_owned(), |range| interval(range, |x| value(name, x))),
                count(metric.exposures),
            ]);
        }
    }
    let mut text = section("What was measured", &table);
    if assessment.versions.iter().any(has_part_of_its_latencies) {
        text.push_str(
            "p50 and p99 are of the stretches with the weights that had the most exposures: quantiles of different weights are not \
             added up.\n",
        );
    }
    text
}

/// Whether quantiles stand on fewer exposures than the mean of the same latencies.
fn has_part_of_its_latencies(version: &VersionAssessment) -> bool {
    let of = |name| version.metric(name).map(|metric| metric.exposures);
    let mean = of(MetricName::LatencyMean);
    [MetricName::LatencyP50, MetricName::LatencyP99]
        .into_iter()
        .any(|name| of(name).is_some_and(|few| Some(few) < mean))
}

/// Every metric of every pair of versions, once: the baseline last, otherwise in the experiment's order.
fn compared(assessment: &Assessment) -> String {
    let mut table = Table::new(&[
        "METRIC",
        "VERSION",
        "WITH",
        "BETTER",
        "CHANGE",
        "DIFFERENCE",
        "AT EVERY LOOK",
        "E BETTER",
        "E WORSE",
    ]);
    let baseline = assessment.versions.iter().find(|version| version.baseline).map(|version| version.name.as_str());
    for (name, of) in by_metric(assessment) {
        for (at, (version, metric)) in of.iter().enumerate() {
            for comparison in &metric.comparisons {
                let Some(other) = of.iter().position(|(other, _)| other.name == comparison.with) else { continue };
                let once = Some(comparison.with.as_str()) == baseline || (!version.baseline && other < at);
                let back = of.get(other).and_then(|(_, metric)| back(metric, &version.name));
                let row = row(name, version, comparison, back);
                if once && row.iter().skip(3).any(|cell| cell != NOTHING) {
                    table.row(row);
                }
            }
        }
    }
    section("How they compare", &table)
}

fn row(name: MetricName, version: &VersionAssessment, with: &Comparison, back: Option<&Comparison>) -> Vec<String> {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    let at_every_look = with
        .ratio_sequence
        .map(capped)
        .filter(|range| range.high.is_some() || range.low.is_some_and(|low| low > 0.0))
        .map(|range| format!("{} times", interval(range, times)))
        .or_else(|| with.difference_sequence.map(|range| interval(range, |x| signed(x, difference(name, x)))));
    vec![
        metric_name(name).to_owned(),
        version.name.clone(),
        with.with.clone(),
        or_nothing(with.probability_better.map(probability)),
        // A lift of −100% or more is no news.
        or_nothing(
            with.lift
                .map(capped)
                .filter(|range| range.high.is_some() || range.low.is_some_and(|low| low > -1.0))
                .map(|range| interval(range, |x| signed(x, change(x)))),
        ),
        or_nothing(with.difference.map(|range| interval(range, |x| signed(x, difference(name, x))))),
        or_nothing(at_every_look),
        or_nothing(with.log_e_better.map(e_value)),
        or_nothing(back.and_then(|back| back.log_e_better).map(e_value)),
    ]
}

fn back<'a>(metric: &'a Metric, version: &str) -> Option<&'a Comparison> {
    metric.comparisons.iter().find(|comparison| comparison.with == version)
}

/// Every claim that an error budget stands behind.
fn budgets(spent: &AlphaSpent) -> String {
    let mut table = Table::new(&["BUDGET", "CLAIM", "AT α", "E NEEDED", "E", "P", "FIRED"]);
    let mut add = |budget: &str, claim: &Claim| {
        table.row(vec![
            budget.to_owned(),
            claimed(claim),
            words::percent(claim.alpha),
            e_value(claim.fires_at),
            e_value(claim.log_e),
            probability_value(claim.p),
            if claim.fired { "yes".to_owned() } else { NOTHING.to_owned() },
        ]);
    };
    let mut fired = Vec::new();
    for version in &spent.roll_back {
        let budget = format!("{} {}", if version.baseline { "bar" } else { "roll back" }, version.version);
        version.claims.iter().for_each(|claim| add(&budget, claim));
        fired.extend((version.spent > 0.0).then(|| format!("{budget} {}", words::percent(version.spent))));
    }
    let promotion = &spent.promotion;
    promotion.claims.iter().for_each(|claim| add("promotion", claim));
    fired.extend((promotion.spent > 0.0).then(|| format!("promotion {}", words::percent(promotion.spent))));
    if let Some(claim) = &spent.sample_ratio {
        add("sample ratio", claim);
    }
    if table.is_empty() {
        return String::new();
    }
    let fired = if fired.is_empty() { "nothing".to_owned() } else { fired.join(", ") };
    format!(
        "{}spent: {fired}. Looking costs nothing; a budget is spent, whole, by the claim that is acted on.\n",
        section("The α spent", &table)
    )
}

fn claimed(claim: &Claim) -> String {
    let version = claim.version.as_deref().unwrap_or_default();
    let gate = claim.gate.as_deref().unwrap_or_default();
    match claim.kind {
        ClaimKind::Violated => format!("{version} breaks {gate}"),
        ClaimKind::ViolatedTogether => format!("{version} breaks its limits together"),
        ClaimKind::Met => format!("{version} meets {gate}"),
        ClaimKind::Beaten => format!("another is better than {version}"),
        ClaimKind::Better => format!("{version} is better than {}", claim.than.as_deref().unwrap_or_default()),
        ClaimKind::SampleRatio => "exposures do not follow the weights".to_owned(),
    }
}

/// A table under a heading; nothing for a table without rows.
fn section(heading: &str, table: &Table) -> String {
    if table.is_empty() { String::new() } else { format!("\n{heading}\n{}", table.render()) }
}

/// The metrics in their order, each with the versions that have it.
fn by_metric(assessment: &Assessment) -> Vec<(MetricName, Vec<(&VersionAssessment, &Metric)>)> {
    let mut names: Vec<MetricName> =
        assessment.versions.iter().flat_map(|version| &version.metrics).map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    let of = |name: MetricName| {
        assessment.versions.iter().filter_map(|version| Some((version, version.metric(name)?))).collect()
    };
    names.into_iter().map(|name| (name, of(name))).collect()
}

fn metric_name(name: MetricName) -> &'static str {
    match name {
        MetricName::ErrorRate => "errors",
        MetricName::LatencyMean => "mean latency",
        MetricName::LatencyP50 => "p50",
        MetricName::LatencyP99 => "p99",
        MetricName::RewardRate => "reward rate",
        MetricName::RewardMean => "mean reward",
    }
}

fn is_rate(name: MetricName) -> bool {
    matches!(name, MetricName::ErrorRate | MetricName::RewardRate)
}

fn value(name: MetricName, value: f64) -> String {
    match name {
        MetricName::ErrorRate | MetricName::RewardRate => percent(value),
        MetricName::RewardMean => amount(value),
        MetricName::LatencyMean | MetricName::LatencyP50 | MetricName::LatencyP99 => latency(value),
    }
}

/// The size of a difference.
fn difference(name: MetricName, by: f64) -> String {
    if is_rate(name) { points(by) } else { value(name, by.abs()) }
}

/// The size of a difference of rates, in percentage points.
fn points(by: f64) -> String {
    let points = by.abs() * 100.0;
    if points == 0.0 || points >= 0.1 { format!("{points:.2} pp") } else { format!("{points:.4} pp") }
}

/// The size of a relative change.
fn change(by: f64) -> String {
    let by = by.abs();
    if by >= 10.0 { format!("{by:.0}×") } else { percent(by) }
}

fn times(ratio: f64) -> String {
    if ratio >= 100.0 { format!("{ratio:.0}") } else { format!("{ratio:.2}") }
}

fn signed(value: f64, size: String) -> String {
    format!("{}{size}", if value < 0.0 { '−' } else { '+' })
}

/// From so many times on it does not matter how many.
const MANY: f64 = 10_000.0;

/// A range of ratios or relative changes, open where it would be a number that means nothing.
fn capped(range: Interval) -> Interval {
    Interval { low: range.low.map(|low| low.min(MANY)), high: range.high.filter(|high| *high < MANY) }
}

/// A range; an end that is not bounded is said to be open.
fn interval(range: Interval, shown: impl Fn(f64) -> String) -> String {
    match (range.low, range.high) {
        (Some(low), Some(high)) => format!("{} to {}", shown(low), shown(high)),
        (Some(low), None) => format!("{} or more", shown(low)),
        (None, Some(high)) => format!("{} or less", shown(high)),
        (None, None) => NOTHING.to_owned(),
    }
}

/// An anytime-valid p-value.
fn probability_value(p: f64) -> String {
    if p >= 0.001 { format!("{p:.3}") } else { "<0.001".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(low: Option<f64>, high: Option<f64>) -> Interval {
        Interval { low, high }
    }

    #[test]
    fn a_range_says_where_it_is_open() {
        let shown = |low, high| interval(range(low, high), percent);
        assert_eq!(shown(Some(0.001), Some(0.02)), "0.10% to 2.0%");
        assert_eq!(shown(Some(0.001), None), "0.10% or more");
        assert_eq!(shown(None, Some(0.02)), "2.0% or less");
        assert_eq!(shown(None, None), NOTHING);
    }

    #[test]
    fn differences_are_in_the_metrics_own_unit_and_have_a_sign() {
        let shown = |name, by: f64| signed(by, difference(name, by));
        assert_eq!(shown(MetricName::ErrorRate, -0.002), "−0.20 pp");
        assert_eq!(shown(MetricName::RewardRate, 0.000_2), "+0.0200 pp");
        assert_eq!(shown(MetricName::LatencyP99, 12.4), "+12 ms");
        assert_eq!(shown(MetricName::RewardMean, -1.5), "−1.500");
        let huge = capped(range(Some(4.65), Some(398_098_023_702.0)));
        assert_eq!(interval(huge, |x| signed(x, change(x))), "+465.0% or more");
        assert_eq!(interval(capped(range(Some(1e9), Some(1e12))), times), "10000 or more");
        assert_eq!([change(-0.25), change(0.5), change(16.2)], ["25.0%", "50.0%", "16×"]);
    }

    #[test]
    fn that_quantiles_count_fewer_exposures_is_explained_where_they_do_alone() {
        let document = "apiVersion: weir.dev/v1alpha1\nkind: Experiment\nmetadata: {name: x}\nspec:\n  service: x\n  \
                        versions: [{name: v1, baseline: true}, {name: v2}]\n  objectives: [{name: e, errorRate: {max: 1%}}]\n";
        let experiment = weir_engine::document::read(document).expect("a document").remove(0);
        let state = weir_engine::state::State::begin(&experiment, 0);
        let observations: weir_engine::state::Observations = Default::default();
        let mut assessment = weir_engine::assess::assess(&experiment, &state, &observations);
        let metric = |name, exposures| Metric {
            name,
            direction: weir_engine::spec::Direction::Minimize,
            exposures,
            observed: 1.0,
            observed_or_more: false,
            belief: None,
            sequence: None,
            comparisons: Vec::new(),
        };
        for (quantile, explained) in [(100, false), (40, true)] {
            assessment.versions[0].metrics =
                vec![metric(MetricName::LatencyMean, 100), metric(MetricName::LatencyP99, quantile)];
            let text = measured(&assessment);
            assert_eq!(text.contains("the weights that had the most exposures"), explained, "{text}");
        }
    }

    #[test]
    fn a_version_without_anything_measured_has_no_belief_about_its_limits() {
        let document = "apiVersion: weir.dev/v1alpha1\nkind: Experiment\nmetadata: {name: x}\nspec:\n  service: x\n  \
                        versions: [{name: v1, baseline: true}, {name: v2}]\n  objectives: [{name: e, errorRate: {max: 1%}}]\n";
        let experiment = weir_engine::document::read(document).expect("a document").remove(0);
        let state = weir_engine::state::State::begin(&experiment, 0);
        let observations: weir_engine::state::Observations = Default::default();
        let assessment = weir_engine::assess::assess(&experiment, &state, &observations);
        let text = insight(&assessment, &AlphaSpent::of(&assessment, None));
        assert!(text.contains("v2 has no settled exposures") && !text.contains("belief:"), "{text}");
        assert!(!text.contains("What was measured") && text.contains("spent: nothing."), "{text}");
    }
}
