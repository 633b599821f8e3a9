//! What iter8 got wrong, as tests of an analysis: units, order, missing data, and a baseline that could not win.

use super::{CANARY, Random, TWO, analysed, epoch};
use weir_engine::analysis::{Analysis, Answer};
use weir_engine::metrics::{Metric, MetricName};
use weir_engine::state::Verdict;

/// iter8's belief about a latency mean scaled with the metric's range: an A/A test in milliseconds declared a false winner in all
/// runs, and the same data in seconds did not.
#[test]
fn regression_iter8_the_same_data_in_milliseconds_and_in_seconds_give_identical_answers() {
    let spec = &format!(
        "{TWO}objectives: [{{name: p90, latency: {{quantile: 90%, max: 100ms}}}}]\nreward: {{responseHeader: x, kind: real, direction: maximize}}"
    );
    let mut random = Random(3);
    let raw: [Vec<u64>; 2] =
        [0, 1].map(|_| (0..400).map(|_| (-30_000.0 * (1.0 - random.uniform()).ln()) as u64).collect());
    let amounts: [Vec<u64>; 2] = [0, 1].map(|_| (0..150).map(|_| 1 + (random.uniform() * 500.0) as u64).collect());
    let list =
        |values: &[u64], write: &dyn Fn(u64) -> String| values.iter().map(|v| write(*v)).collect::<Vec<_>>().join(", ");
    let with = |unit: &str, latency: &dyn Fn(u64) -> String, amount: &dyn Fn(u64) -> String| {
        let cell = |at: usize| {
            format!(
                "{{exposures: 400, failed: 0, latency: {{{unit}: [{}]}}, rewards: [{}]}}",
                list(&raw[at], latency),
                list(&amounts[at], amount)
            )
        };
        analysed(spec, &epoch(&cell(0), &cell(1)).repeat(2))
    };
    let cents = |amount: u64| amount.to_string();
    let ms = with("ms", &|us| format!("{}.{:03}", us / 1_000, us % 1_000), &cents);
    let s = with("s", &|us| format!("{}.{:06}", us / 1_000_000, us % 1_000_000), &cents);
    let us = with("us", &|us| us.to_string(), &cents);
    assert_eq!(ms, s, "the same bits");
    assert_eq!(ms, us, "the same bits");
    assert_eq!(ms.winner, None, "both are the same version");
    let mean = |analysis: &Analysis| analysis.assessment.versions[1].metric(MetricName::LatencyMean).cloned().unwrap();
    assert!(mean(&ms).belief.is_some() && mean(&ms).comparisons[0].probability_better.is_some());

    // Amounts have a unit of their own: in euros instead of cents every probability and e-value stays.
    let euros = with("ms", &|us| format!("{}.{:03}", us / 1_000, us % 1_000), &|cents| {
        format!("{}.{:02}", cents / 100, cents % 100)
    });
    for (a, b) in ms.assessment.versions.iter().zip(&euros.assessment.versions) {
        let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-7 * (1.0 + a.abs()),
            (a, b) => a == b,
        };
        assert!(close(a.log_e_beaten, b.log_e_beaten), "{:?} {:?}", a.log_e_beaten, b.log_e_beaten);
        assert!(
            close(a.probability_best, b.probability_best)
                && close(a.probability_beats_baseline, b.probability_beats_baseline)
        );
    }
}

/// Without a reward iter8 preferred the version that was listed last, whatever the data.
#[test]
fn regression_iter8_the_order_of_versions_does_not_matter() {
    let limits = "objectives: [{name: errors, errorRate: {max: 2%}}]\nguardrails: [{name: margin, errorRate: {margin: 3%}}]\n\
                  reward: {responseHeader: x, direction: maximize}";
    let counts = [
        ("v1", ["{exposures: 1079, failed: 4, rewarded: 105}", "{exposures: 563, failed: 0, rewarded: 58}"]),
        ("v2", ["{exposures: 962, failed: 6, rewarded: 129}", "{exposures: 1256, failed: 8, rewarded: 153}"]),
        ("v3", ["{exposures: 959, failed: 58, rewarded: 165}", "{exposures: 1181, failed: 61, rewarded: 191}"]),
    ];
    let ordered = |order: [usize; 3]| {
        let versions: Vec<String> = order
            .map(|at| format!("{{name: {}{}}}", counts[at].0, if at == 0 { ", baseline: true" } else { "" }))
            .into();
        let epochs: String = [["34", "33", "33"], ["20", "40", "40"]]
            .iter()
            .enumerate()
            .map(|(number, weights)| {
                let weights: Vec<String> = order.map(|at| format!("{}: {}", counts[at].0, weights[at])).into();
                let cells: Vec<String> = order.map(|at| format!("{}: {}", counts[at].0, counts[at].1[number])).into();
                format!("  - {{weights: {{{}}}, counts: {{{}}}}}\n", weights.join(", "), cells.join(", "))
            })
            .collect();
        analysed(&format!("versions: [{}]\n{limits}", versions.join(", ")), &epochs)
    };
    let reference = ordered([0, 1, 2]);
    assert_eq!(reference.winner.as_deref(), Some("v2"));
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let other = ordered(order);
        assert_eq!((other.winner.as_deref(), other.answer), (Some("v2"), Answer::Winner));
        for version in &reference.assessment.versions {
            let same = other.assessment.versions.iter().find(|other| other.name == version.name).unwrap();
            assert_eq!(version.why, same.why);
            let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{order:?} {a} {b}");
            for (gate, other) in version.gates.iter().zip(&same.gates) {
                assert_eq!((&gate.name, gate.verdict), (&other.name, other.verdict));
                close(gate.log_e_violated, other.log_e_violated);
                close(gate.log_e_met, other.log_e_met);
            }
            close(version.log_e_beaten.unwrap(), same.log_e_beaten.unwrap());
            close(version.probability_best_and_feasible.unwrap(), same.probability_best_and_feasible.unwrap());
            for metric in &version.metrics {
                close(metric.observed, same.metric(metric.name).unwrap().observed);
            }
        }
    }
}

fn metric(analysis: &Analysis, version: usize, name: MetricName) -> Option<&Metric> {
    analysis.assessment.versions[version].metric(name)
}

/// In iter8 a missing metric became the number zero, the best of all.
#[test]
fn regression_iter8_missing_data_is_not_zero() {
    // Latency of one version alone: the other is not fast, it is unknown.
    let spec = &format!("{TWO}objectives: [{{name: p99, latency: {{quantile: 99%, max: 100ms}}}}]");
    let known = "{exposures: 2000, failed: 0, latency: {buckets: [{le: 50ms, count: 2000}]}}";
    let analysis = analysed(spec, &epoch(known, "{exposures: 2000, failed: 0}"));
    let gate = |version: usize| analysis.assessment.versions[version].gates[0].clone();
    assert_eq!((gate(0).verdict, gate(1).verdict), (Verdict::Met, Verdict::NotEnoughEvidence));
    assert!(gate(1).log_e_violated < 0.0, "nor is it slow: {:?}", gate(1));
    assert_eq!(metric(&analysis, 1, MetricName::LatencyP50), None);
    assert_eq!(
        analysis.notes,
        ["How long 2,000 of the exposures of v2 took is not known: they count against every claim about p99."]
    );

    // No failures were counted: there is no error rate, not even one of zero.
    let spec = &format!("{TWO}reward: {{responseHeader: x, direction: maximize}}");
    let cell = "{exposures: 2000, rewarded: 200}";
    let analysis = analysed(spec, &epoch(cell, cell));
    assert_eq!(metric(&analysis, 1, MetricName::ErrorRate), None);
    assert!(metric(&analysis, 1, MetricName::RewardRate).is_some());
    assert!(analysis.notes[0].starts_with("Failures were not counted"), "{:?}", analysis.notes);

    // A version without weight has no failures to count: what is known of it from other epochs stays known.
    let spec = "versions: [{name: v1, baseline: true}, {name: v2}, {name: v3}]\nobjectives: [{name: errors, errorRate: {max: 2%}}]\n\
                reward: {responseHeader: x, direction: maximize}";
    let cell = |failed: u32| format!("{{exposures: 1000, failed: {failed}, rewarded: 100}}");
    let (fine, bad) = (cell(4), cell(60));
    let analysis = analysed(
        spec,
        &format!(
            "  - {{weights: {{v1: 1, v2: 1, v3: 1}}, counts: {{v1: {fine}, v2: {fine}, v3: {bad}}}}}\n  \
             - {{weights: {{v1: 1, v2: 1, v3: 0}}, counts: {{v1: {fine}, v2: {fine}}}}}\n"
        ),
    );
    let feasible: Vec<f64> =
        analysis.assessment.versions.iter().map(|version| version.probability_feasible.unwrap()).collect();
    assert!(feasible[0] > 0.99 && feasible[1] > 0.99 && feasible[2] < 0.01, "{feasible:?}");
    assert!(analysis.notes.iter().all(|note| !note.contains("ailures")), "{:?}", analysis.notes);

    // A sum of latencies that nobody gave is no mean of zero.
    let analysis = analysed(CANARY, &epoch(known, known));
    assert_eq!(metric(&analysis, 1, MetricName::LatencyMean), None);
    assert!(metric(&analysis, 1, MetricName::LatencyP99).is_some());

    // A version that nothing reached is neither good nor bad.
    let analysis = analysed(CANARY, &epoch("{exposures: 0}", "{exposures: 0}"));
    assert_eq!(analysis.answer, Answer::NotEnoughEvidence);
    assert!(analysis.assessment.versions.iter().all(|version| version.metrics.is_empty()), "{analysis:?}");
}

/// With relative thresholds iter8's baseline could never win.
#[test]
fn regression_iter8_the_baseline_can_win() {
    let spec = &format!(
        "{TWO}guardrails: [{{name: errors, errorRate: {{ratio: 2}}}}]\nreward: {{responseHeader: x, direction: maximize}}"
    );
    let analysis = analysed(
        spec,
        &epoch("{exposures: 5000, failed: 5, rewarded: 700}", "{exposures: 5000, failed: 5, rewarded: 500}"),
    );
    assert_eq!((analysis.answer, analysis.winner.as_deref()), (Answer::Winner, Some("v1")));
}
