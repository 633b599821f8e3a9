//! Counts for `weir analyze`: what is read of them, and what a person is told when they are wrong.

use super::told;
use crate::cells::{Edge, FirstUnits, Span};
use crate::counted::{Counted, CountedUnits};
use crate::document::{MAX_ANALYSIS_TEXT, ToAnalyze, read, read_analysis};
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
    for text in [plain, cumulative] {
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
fn units_are_numbers_or_lists() {
    let numbers = good(&file(USERS, "{exposures: 100, units: {bad: 3}}", "{exposures: 100, units: {bad: 0}}"));
    assert_eq!(numbers.epochs[0].cells[0].units, CountedUnits::First(FirstUnits { bad: 3, ..FirstUnits::default() }));
    let lists =
        good(&file(USERS, "{exposures: 100, units: {bad: [ann, bob, ann]}}", "{exposures: 100, units: {bad: []}}"));
    let CountedUnits::Buckets { bad, .. } = &lists.epochs[0].cells[0].units else { panic!("{lists:?}") };
    assert!(bad.len() == 2 && bad.is_sorted(), "{bad:?}");
}

/// Spec, counts of `v2`, and what is said; `v1` has nothing to be ashamed of.
const WRONG: &[(&str, &str, &str)] = &[
    (ERRORS, "{failed: 1}", "the field `exposures` is missing: write how many requests it got, as `exposures: 5000`"),
    (ERRORS, "{exposures: 10, faild: 1}", "unknown field `faild`; did you mean `failed`?"),
    (ERRORS, "{exposures: -1, failed: 1}", "`-1` is not a whole number within 0 to 1000000000000"),
    (ERRORS, "{exposures: 1e6, failed: 1}", "`1e6` is not a whole number within 0 to 1000000000000"),
    (
        ERRORS,
        "{exposures: 10}",
        "the field `failed` is missing: write `failed: 0` if there were none, for `errors` is judged by them",
    ),
    (
        ERRORS,
        "{exposures: 10, failed: 0, rewarded: 3}",
        "the experiment has no reward: write `reward: {direction: maximize}` in the `spec`, or leave this out",
    ),
    (
        ERRORS,
        "{exposures: 10, failed: 0, units: {bad: 1}}",
        "each request is its own unit here: where users are, write `unit: {header: x-user}` in the `spec`; otherwise leave this out",
    ),
    (ERRORS, "12", "expected counts such as `{exposures: 5000, failed: 12}`, found `12`"),
    (ERRORS, "{exposures: 10, failed: 0, latency: [12]}", "`12` has no unit: write `12s`, `12ms` or `12us`"),
    (
        ERRORS,
        "{exposures: 10, failed: 0, latency: [fast]}",
        "`fast` is not a duration: write a number and a unit, as `12.5ms`, `850us` or `1.2s`",
    ),
    (ERRORS, "{exposures: 10, failed: 0, latency: {ms: [-1]}}", "`-1` is not a number such as `8.5`"),
    (
        ERRORS,
        "{exposures: 10, failed: 0, latency: [16s]}",
        "`16s` is beyond the deadline of 15s, by which an exposure is `overdue`: count it there and leave its latency out, or raise \
         `deadline` in the `spec`",
    ),
    (
        ERRORS,
        "{exposures: 10, failed: 0, latency: {buckets: [{le: 20s, count: 5}, {le: +Inf, count: 1}]}}",
        "this bucket of 1 is beyond the deadline of 15s, by which an exposure is `overdue`: count it there and leave its latency out, or \
         raise `deadline` in the `spec`",
    ),
    (
        ERRORS,
        "{exposures: 3, failed: 1, latency: [1ms, 2ms, 3ms]}",
        "3 latencies, but only 2 of 3 exposures were served: leave out those of failed, overdue and aborted ones",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {buckets: [{le: 5ms, count: 40}, {le: 10ms, count: 90}]}}",
        "130 latencies, but only 100 of 100 exposures were served: leave out those of failed, overdue and aborted ones; counts that \
         include all lower buckets, as Prometheus has them, go under `cumulative`",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {cumulative: [{le: 5ms, count: 40}, {le: 10ms, count: 30}]}}",
        "cumulative counts never fall: 30 is less than the 40 before; counts of each bucket alone go under `buckets`",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {buckets: [{le: 10ms, count: 4}, {le: 5ms, count: 3}]}}",
        "edges must rise: this one is not above 10 ms",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {buckets: [{from: 1ms, to: 9ms, count: 4}, {from: 5ms, to: 12ms, count: 3}]}}",
        "buckets must not overlap: the one before ends at 9 ms",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {buckets: [{le: 0.25, count: 4}]}}",
        "`0.25` has no unit: write `0.25s`, `0.25ms` or `0.25us`",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {buckets: [{count: 4}]}}",
        "where does it lie? Write a bucket such as `{le: 10ms, count: 7}` or `{from: 5ms, to: 10ms, count: 7}`",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {buckets: [{le: 10ms, count: 100}], sum: 20s}}",
        "`20s` cannot be the sum: by its buckets it is at least 0.000 s and at most 1.000 s; is it in another unit?",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {ms: [1], s: [1]}}",
        "write one form of raw latencies as `[12ms, 8.5ms]` or `{ms: [12, 8.5]}`, or buckets as `{buckets: [{le: 10ms, count: 7}]}`",
    ),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {ms: [1], sum: 1ms}}",
        "raw values have their own sum: leave it out",
    ),
    (
        REWARD,
        "{exposures: 10}",
        "the field `rewarded` is missing: write how many exposures had a reward, as `rewarded: 40`",
    ),
    (REWARD, "{exposures: 10, rewarded: 11}", "11 rewards of 10 exposures: an exposure has one at most"),
    (
        REWARD,
        "{exposures: 10, rewarded: 1, rewards: [2]}",
        "rewards are yes or no here: count them under `rewarded`, or write `kind: real` in the `spec`'s `reward`",
    ),
    (
        "reward: {kind: real, direction: maximize}",
        "{exposures: 10, rewards: {count: 2, sum: 10, sumOfSquares: 10}}",
        "2 rewards with the sum 10 have squares that sum to at least 50, not 10: square each reward, then add them up",
    ),
    (
        "reward: {kind: real, direction: maximize}",
        "{exposures: 10, rewards: [1, lots]}",
        "`lots` is not a number within ±1e15",
    ),
    (
        "reward: {kind: real, direction: maximize}",
        "{exposures: 1, rewards: [1, 2]}",
        "2 rewards of 1 exposures: an exposure has one at most",
    ),
    (
        USERS,
        "{exposures: 10, failed: 0}",
        "the field `units` is missing: write the units that showed something, as `{bad: 12}` or `{bad: [ann, bob]}`",
    ),
    (USERS, "{exposures: 10, failed: 0, units: {}}", "the field `bad` is missing: write `bad: 0` if there were none"),
    (USERS, "{exposures: 10, failed: 2, units: {bad: 3}}", "3 units, but only 2 bad exposures"),
    (
        USERS,
        "{exposures: 10, failed: 3, units: {bad: 3, rewarded: [a]}}",
        "write numbers of units or lists of them, not both",
    ),
];

#[test]
fn what_is_wrong_with_counts_is_said_with_its_place() {
    for (spec, counts, message) in WRONG {
        let v1 = match *spec {
            REWARD => "{exposures: 10, rewarded: 1}",
            USERS => "{exposures: 10, failed: 1, units: {bad: 1}}",
            spec if spec.contains("real") => "{exposures: 10, rewards: [1]}",
            _ => GOOD,
        };
        let text = file(spec, v1, counts);
        let line = text.lines().position(|line| line.starts_with("      v2:")).expect("v2") + 1;
        let problems = bad(&text);
        let last = problems.last().expect("a problem");
        assert_eq!(problems.len(), 1, "{counts}: {problems:?}");
        assert!(last.starts_with(&format!("{line}:")), "{counts}: {last}");
        assert!(last.contains("epochs[0].counts.v2"), "{counts}: {last}");
        assert!(last.ends_with(&format!(": {message}")), "{counts}\n  {last}\n  {message}");
    }
}

/// What is said of an epoch.
const WRONG_EPOCHS: &[(&str, &str, &str)] = &[
    (ERRORS, "[]", "epochs: a list of 0; 1 to 1000 entries are allowed"),
    (
        ERRORS,
        "[{counts: {v1: G, v2: G}}]",
        "the field `weights` is missing: write the weights that were in force, as `{v1: 50%, v2: 50%}`",
    ),
    (ERRORS, "[{weights: {v1: 1, v2: 1}}]", "the field `counts` is missing: write what was counted of each version"),
    (ERRORS, "[{weights: {v1: 1}, counts: {v1: G, v2: G}}]", "version `v2` has no weight here: write 0 if it had none"),
    (
        ERRORS,
        "[{weights: {v1: 1, v3: 1, v2: 1}, counts: {v1: G, v2: G}}]",
        "weights.v3: there is no version `v3`; did you mean `v1`?",
    ),
    (
        ERRORS,
        "[{weights: {v1: 1, v2: 1}, counts: {v1: G, v2: G, canary: G}}]",
        "counts.canary: there is no version `canary`; known here: `v1`, `v2`",
    ),
    (
        ERRORS,
        "[{weights: {v1: 90%, v2: 5%}, counts: {v1: G, v2: G}}]",
        "the weights sum to 95%: shares must sum to 100%; whole numbers may be anything",
    ),
    (ERRORS, "[{weights: {v1: 50%, v2: 1}, counts: {v1: G, v2: G}}]", "weights are shares or whole numbers, not both"),
    (ERRORS, "[{weights: {v1: 0, v2: 0}, counts: {}}]", "every weight is 0: leave the epoch out"),
    (
        ERRORS,
        "[{weights: {v1: 10000000, v2: 1}, counts: {v1: G, v2: G}}]",
        "a weight below 0.0001% of all is too small",
    ),
    (
        ERRORS,
        "[{weights: {v1: -1, v2: 1}, counts: {v1: G, v2: G}}]",
        "`-1` is not a share: write a percentage such as `2%`, or a fraction below 1 such as `0.02`",
    ),
    (
        ERRORS,
        "[{weights: {v1: 1, v2: 0}, counts: {v1: G, v2: G}}]",
        "100 exposures of a version without weight: give it its weight, or leave out what reached it some other way",
    ),
    (
        ERRORS,
        "[{weights: {v1: 1, v2: 1}, counts: {v1: G}}]",
        "version `v2` has weight but no counts: write `v2: {exposures: 0}` if nothing reached it; if its counts are lost, leave the epoch \
         out, for all versions",
    ),
    (
        ERRORS,
        "[{weights: {v1: 1, v2: 1}, compareAt: [50ms], counts: {v1: G, v2: G}}]",
        "nothing is compared at a latency: write a guardrail such as `{name: slower, latency: {ratio: 1.5}}` in the `spec`, or leave this out",
    ),
    (SLOWER, "[{weights: {v1: 1, v2: 1}, compareAt: [50ms, 20ms], counts: {v1: G, v2: G}}]", "latencies must rise"),
    (
        SLOWER,
        "[{weights: {v1: 1, v2: 1}, compareAt: [50ms, 1m], counts: {v1: G, v2: G}}]",
        "`1m` is beyond the deadline of 15s",
    ),
    (
        SLOWER,
        "[{weights: {v1: 1, v2: 1}, compareAt: [0ms], counts: {v1: G, v2: G}}]",
        "`0ms` is not a whole number of microseconds above 0",
    ),
    (
        "unit: {header: u}\nguardrails: [{name: slower, latency: {ratio: 2}}]",
        "[{weights: {v1: 1, v2: 1}, counts: {v1: U, v2: U}}]",
        "`units.slow` needs to say from which latency on an exposure was slow: write `compareAt: [400ms]`",
    ),
    (
        "unit: {header: u}\nguardrails: [{name: slower, latency: {ratio: 2}}]",
        "[{weights: {v1: 1, v2: 1}, compareAt: [400ms, 1s], counts: {v1: U, v2: U}}]",
        "a list of 2; 1 to 1 entries are allowed",
    ),
];

#[test]
fn what_is_wrong_with_an_epoch_is_said_with_its_place() {
    for (spec, list, message) in WRONG_EPOCHS {
        let list = list.replace('G', GOOD).replace('U', "{exposures: 100, failed: 1, units: {slow: 1}}");
        let problems = bad(&epochs(spec, &format!("  {list}\n")));
        assert_eq!(problems.len(), 1, "{list}: {problems:?}");
        assert!(
            problems[0].contains(": epochs") && problems[0].ends_with(message),
            "{list}\n  {}\n  {message}",
            problems[0]
        );
    }
}

#[test]
fn everything_is_said_at_once_of_the_spec_and_of_the_counts() {
    let text = "\
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: x}
spec:
  versions: [{name: v1, baselin: true}, {name: v2}]
  objectives: [{name: errors, errorRate: {max: 1}}]
epochs:
  - weights: {v1: 1, v3: 1}
    counts: {v1: {exposures: ten}, v2: {exposure: 10}}
";
    let expected = [
        "5:25: spec.versions[0]: unknown field `baselin`; did you mean `baseline`?",
        "6:48: spec.objectives[0].errorRate.max: `1` is neither a percentage nor below 1: write a percentage such as `2%`, or a fraction \
         below 1 such as `0.02`",
        "8:14: epochs[0].weights: version `v2` has no weight here: write 0 if it had none",
        "8:26: epochs[0].weights.v3: there is no version `v3`; did you mean `v1`?",
        "9:30: epochs[0].counts.v1.exposures: `ten` is not a whole number within 0 to 1000000000000",
        "9:41: epochs[0].counts.v2: unknown field `exposure`; did you mean `exposures`?",
    ];
    assert_eq!(bad(text), expected);
}

#[test]
fn what_is_counted_in_one_place_is_counted_in_all() {
    let two = |first: &str, second: &str| {
        let epoch =
            |counts: &str| format!("  - {{weights: {{v1: 1, v2: 1}}, counts: {{v1: {counts}, v2: {counts}}}}}\n");
        epochs(REWARD, &(epoch(first) + &epoch(second)))
    };
    let (with, without) = ("{exposures: 10, rewarded: 1, failed: 0}", "{exposures: 10, rewarded: 1}");
    assert!(read_analysis(&two(with, with)).is_ok() && read_analysis(&two(without, without)).is_ok());
    let problems = bad(&two(with, without));
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].ends_with(
            "epochs[1].counts.v1: `failed` is missing here and given above: count failures in every epoch of every version, or in none"
        ),
        "{problems:?}"
    );
    let units = |units: &str| format!("{{exposures: 10, units: {{bad: {units}}}}}");
    let problems = bad(&file(USERS, &units("3"), &units("[ann]")));
    assert!(
        problems[0]
            .ends_with("units are numbers in one place and lists in another: write one or the other in the whole file"),
        "{problems:?}"
    );
}

#[test]
fn a_file_without_counts_says_what_to_write() {
    let text = file(ERRORS, GOOD, GOOD);
    let without = text.split("epochs:").next().expect("a text");
    assert!(bad(without)[0].starts_with("1:1: there are no counts: write `epochs: ["), "{:?}", bad(without));
    assert!(bad("")[0].starts_with("1:1: there is no experiment here"));
    let twice = format!("{text}---\n{text}");
    assert_eq!(bad(&twice), ["13:1: one file is one experiment: analyse this one by itself"]);
}

#[test]
fn what_is_too_much_is_refused() {
    let problems = bad(&" ".repeat(MAX_ANALYSIS_TEXT + 1));
    assert_eq!(problems, ["1:1: the text has 16777217 bytes; at most 16777216 are read"]);
    let many = |count: usize| format!("{{exposures: 1000000, failed: 0, latency: {{ms: [{}]}}}}", "1,".repeat(count));
    assert!(read_analysis(&file(ERRORS, GOOD, &many(200_000))).is_ok());
    let problems = bad(&file(ERRORS, GOOD, &many(200_001)));
    assert!(problems[0].ends_with("a list of 200001; 0 to 200000 entries are allowed"), "{problems:?}");
    let fields: String = (0..1_002).map(|n| format!("f{n}: 1, ")).collect();
    let problems = bad(&format!("{{{fields}}}"));
    assert!(
        problems.iter().any(|p| p.contains("this mapping has too many fields: at most 1000 are read")),
        "{problems:?}"
    );
    // Wrong values of one list are not all told.
    let wrong = format!("{{exposures: 1000000, failed: 0, latency: {{ms: [{}]}}}}", "x,".repeat(1_000));
    assert!(bad(&file(ERRORS, GOOD, &wrong)).len() < 10);
}
