//! Counts for `weir analyze`: what is read of them; `messages` has what a person is told when they are wrong.

mod messages;

use super::told;
use crate::cells::{Edge, FirstUnits, Span};
use crate::counted::{Counted, CountedUnits};
use crate::document::{ToAnalyze, read, read_analysis};
use crate::spec::RewardKind;

/// Two versions with this in the `spec`, and these lines as counts of `v1` and `v2` in one epoch.
fn file(spec: &str, v1: &str, v2: &str) -> String {
    epochs(spec, &format!("  - weights: {{v1: 1, v2: 1}}\n    counts:\n      v1: {v1}\n      v2: {v2}\n"))
}

fn epochs(spec: &str, epochs: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Experiment\nmetadata: {{name: x}}\nspec:\n  versions: [{{name: v1, baseline: true}}, \
         {{name: v2}}]\n{spec}epochs:\n{epochs}"
    )
}

const ERRORS: &str = "objectives: [{name: errors, errorRate: {max: 1%}}]";
const REWARD: &str = "reward: {direction: maximize}";
const SLOWER: &str = "guardrails: [{name: slower, latency: {ratio: 2}}]";
const USERS: &str = "unit: {header: x-user}\nguardrails: [{name: errors, errorRate: {ratio: 2}}]";
const GOOD: &str = "{exposures: 100, failed: 1}";

fn good(text: &str) -> ToAnalyze {
    read_analysis(text).unwrap_or_else(|problems| panic!("{text}\n{}", told(&problems)))
}

fn bad(text: &str) -> Vec<String> {
    let problems = read_analysis(text).expect_err(text);
    problems.iter().map(ToString::to_string).collect()
}

/// What was read of `v2`.
fn second(spec: &str, counts: &str) -> Counted {
    let v1 = if spec.contains("reward") { "{exposures: 0}" } else { GOOD };
    good(&file(spec, v1, counts)).epochs.remove(0).cells.remove(1)
}

#[test]
fn the_least_file_says_exposures_and_failures() {
    let read = good(&file(ERRORS, "{exposures: 5000, failed: 12}", "{exposures: 4990, failed: 31}"));
    assert_eq!((read.experiment.name.as_str(), read.experiment.service.as_str()), ("x", "x"));
    let epoch = &read.epochs[0];
    assert_eq!((epoch.weights.as_slice(), &epoch.compare_at), ([1, 1].as_slice(), &None));
    let tally = epoch.cells[1].tally;
    assert_eq!((tally.assigned, tally.completed, tally.failed, tally.overdue), (4_990, 4_990, 31, 0));
    assert!(epoch.cells[1].failures);
}

#[test]
fn a_file_that_runs_can_be_analysed_and_one_with_counts_cannot_run() {
    let text = file(&format!("service: shop\n{REWARD}"), "{exposures: 0}", "{exposures: 0}");
    let read_back = good(&text.replace("{direction", "{responseHeader: x-sold, kind: real, direction"));
    assert_eq!(read_back.experiment.service, "shop");
    assert_eq!(read_back.experiment.reward.map(|reward| reward.kind), Some(RewardKind::Real));
    let problems: Vec<String> = read(&text).expect_err("a header is missing").iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "7:11: spec.reward: the field `responseHeader` is missing: write the response header that carries it",
            "9:3: epochs: counts are for `weir analyze` alone: leave `epochs` out of an experiment that is to run",
        ]
    );
}

#[test]
fn weights_are_relative_and_as_exact_as_they_are_written() {
    let weights = |text: &str| {
        let text = epochs(ERRORS, &format!("  - {{weights: {text}, counts: {{v1: {GOOD}, v2: {GOOD}}}}}\n"));
        good(&text).epochs.remove(0).weights
    };
    assert_eq!(weights("{v1: 50%, v2: 50%}"), [1, 1]);
    assert_eq!(weights("{v2: 200, v1: 100}"), [1, 2]);
    assert_eq!(weights("{v1: 99.99%, v2: 0.01%}"), [9_999, 1]);
    assert_eq!(weights("{v1: 0.7, v2: 0.3}"), [7, 3]);
    assert_eq!(weights("{v1: 3333, v2: 6667}"), [3_333, 6_667]);
    let text = epochs(ERRORS, &format!("  - {{weights: {{v1: 100%, v2: 0}}, counts: {{v1: {GOOD}}}}}\n"));
    let epoch = good(&text).epochs.remove(0);
    assert_eq!((epoch.weights.as_slice(), epoch.cells[1].tally.assigned), ([1, 0].as_slice(), 0));
}

#[test]
fn each_exposure_ends_one_way() {
    let tally = second(ERRORS, "{exposures: 100, failed: 3, overdue: 4, aborted: 5}").tally;
    assert_eq!((tally.completed, tally.bad(), tally.served(), tally.aborted), (91, 7, 88, 5));
    assert_eq!(
        bad(&file(ERRORS, GOOD, "{exposures: 10, failed: 3, overdue: 4, aborted: 5}")),
        [
            "11:11: epochs[0].counts.v2: 12 failed, overdue or aborted, but only 10 exposures: each exposure ends one way, so \
          count it once"
        ]
    );
}

fn span(lower: u64, upper: u64, holds: Edge, count: u64) -> Span {
    Span { lower, upper, holds, count }
}

#[test]
fn buckets_have_any_edges_and_cumulative_ones_are_the_same() {
    let expected = [
        span(0, 5_000, Edge::Upper, 40),
        span(5_000, 250_000, Edge::Upper, 50),
        span(500_000, u64::MAX, Edge::Upper, 5),
    ];
    let plain = "{exposures: 100, failed: 1, latency: {buckets: [{le: 5ms, count: 40}, {le: 0.25s, count: 50}, \
                 {le: 500ms, count: 0}, {le: +Inf, count: 5}], sum: 20s}}";
    let cumulative = "{exposures: 100, failed: 1, latency: {cumulative: [{le: 5ms, count: 40}, {le: 250000us, count: 90}, \
                      {le: 500ms, count: 90}, {le: .inf, count: 95}], sum: 20000ms}}";
    let unit = "{exposures: 100, failed: 1, latency: {unit: s, cumulative: [{le: 0.005, count: 40}, {le: 0.25, count: 90}, \
                {le: 500ms, count: 90}, {le: +Inf, count: 95}], sum: 20}}";
    for text in [plain, cumulative, unit] {
        let counted = second(ERRORS, text);
        assert_eq!(counted.latencies, expected);
        assert_eq!((counted.latency.count, counted.latency.sum), (95, 20.0));
        assert!(counted.latency.squares.is_nan(), "they are not known");
    }
    let counted = second(
        ERRORS,
        "{exposures: 100, failed: 1, latency: {buckets: [{from: 1ms, to: 2ms, count: 3}, {from: 4ms, to: 8ms, count: 2}, {from: 8ms, count: 1}]}}",
    );
    let lower =
        [span(1_000, 2_000, Edge::Lower, 3), span(4_000, 8_000, Edge::Lower, 2), span(8_000, u64::MAX, Edge::Lower, 1)];
    assert_eq!(counted.latencies, lower);
    assert_eq!(counted.latency.count, 0, "without a sum the mean is unknown, not zero");
}

#[test]
fn raw_latencies_are_exact_in_any_unit_and_order() {
    let forms = [
        "[12ms, 12.5ms, 1.2s, 12ms, 0.0004ms]",
        "[1200ms, 0.0125s, 12000us, 0.012s, 0.4us]",
        "{ms: [12, 12.5, 1200, 12, 4e-4]}",
        "{s: [1.2, 0.012, 0.0125, 12e-3, 0.0000004]}",
        "{us: [12000, 12500, 1200000, 12000, 0.4]}",
    ];
    let read = forms.map(|form| second(ERRORS, &format!("{{exposures: 100, failed: 1, latency: {form}}}")));
    assert!(read.windows(2).all(|pair| pair[0] == pair[1]), "{read:?}");
    let points = [
        span(0, 1, Edge::Lower, 1),
        span(12_000, 12_000, Edge::Lower, 2),
        span(12_500, 12_500, Edge::Lower, 1),
        span(1_200_000, 1_200_000, Edge::Lower, 1),
    ];
    assert_eq!(read[0].latencies, points);
    assert_eq!((read[0].latency.count, read[0].latency.sum), (5, 1.236_500_4));
}

#[test]
fn amounts_are_a_list_or_their_sums() {
    let spec = "reward: {kind: real, direction: maximize}";
    let listed = second(spec, "{exposures: 100, rewards: [3, 0, 12.5, -1.5]}");
    let summed = second(spec, "{exposures: 100, rewards: {count: 3, sum: 14, sumOfSquares: 167.5}}");
    assert_eq!((listed.tally.rewarded, listed.reward.sum, listed.reward.squares), (3, 14.0, 167.5));
    assert_eq!((summed.tally, summed.reward.sum, summed.reward.squares), (listed.tally, 14.0, 167.5));
    assert_eq!(second(spec, "{exposures: 100, rewards: [-1.5, 12.5, 3, 0]}").reward, listed.reward);
}

#[test]
fn exposures_that_could_have_no_reward_are_told_apart_and_are_none_unless_written() {
    let spec = "reward: {direction: maximize}";
    let tally = second(spec, "{exposures: 100, rewarded: 12, repeats: 40}").tally;
    assert_eq!((tally.assigned, tally.repeats, tally.opportunities()), (100, 40, 60));
    assert_eq!(second(spec, "{exposures: 100, rewarded: 12}").tally.opportunities(), 100);
}

#[test]
fn units_are_numbers_or_lists() {
    let numbers = good(&file(USERS, "{exposures: 100, units: {bad: 3}}", "{exposures: 100, units: {bad: 0}}"));
    assert_eq!(numbers.epochs[0].cells[0].units, CountedUnits::First(FirstUnits { bad: 3, ..FirstUnits::default() }));
    let lists =
        good(&file(USERS, "{exposures: 100, units: {bad: [ann, bob, ann]}}", "{exposures: 100, units: {bad: []}}"));
    let CountedUnits::Buckets { bad, .. } = &lists.epochs[0].cells[0].units else { panic!("{lists:?}") };
    assert!(bad.len() == 2 && bad.is_sorted(), "{bad:?}");
}
