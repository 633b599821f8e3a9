//! What a person is told of wrong counts, and where.

use super::{ERRORS, GOOD, REWARD, SLOWER, USERS, bad, epochs, file};
use crate::document::{MAX_ANALYSIS_TEXT, read_analysis};

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
        "`0.25` has no unit: write `0.25s`, `0.25ms` or `0.25us`, or the unit of all once, as `{unit: s, cumulative: […]}`",
    ),
    (ERRORS, "{exposures: 100, failed: 0, latency: {ms: [1], unit: ms}}", "`ms` is the unit already: leave this out"),
    (
        ERRORS,
        "{exposures: 100, failed: 0, latency: {unit: minutes, buckets: [{le: 1, count: 4}]}}",
        "expected `us`, `ms` or `s`, found `minutes`",
    ),
    (
        ERRORS,
        "{exposures: '5,000', failed: 12}",
        "`5,000` is not a whole number: write it without separators, as `5000`",
    ),
    (
        ERRORS,
        "{exposures: 5,000, failed: 1}",
        "unknown field `000`; if it is part of a number, write that without separators, as `5000`",
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
    (
        REWARD,
        "{exposures: 10, rewarded: 4, repeats: 7}",
        "7 of 10 exposures could have no reward, but 4 had one: leave out of `repeats` whatever could have one",
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
        "{exposures: 10, rewards: {count: 2, sum: 1e300, sumOfSquares: 10}}",
        "`1e300` is not a number within ±1e42",
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
        "`1m` times the ratio of 2 is beyond the deadline of 15s, where nobody is seen to be slower",
    ),
    (
        SLOWER,
        "[{weights: {v1: 1, v2: 1}, compareAt: [0ms], counts: {v1: G, v2: G}}]",
        "`0ms` is not a whole number of microseconds above 0",
    ),
    (
        ERRORS,
        "[{weights: {v1: 1, v2: 1}, expectedRewardRate: 10%, counts: {v1: G, v2: G}}]",
        "nothing is compared around a rate: that is for a reward that is yes or no, where each request is its own unit; leave this out",
    ),
    (
        REWARD,
        "[{weights: {v1: 1, v2: 1}, expectedRewardRate: 10, counts: {v1: {exposures: 0}, v2: {exposures: 0}}}]",
        "`10` is neither a percentage nor below 1: write a percentage such as `2%`, or a fraction below 1 such as `0.02`",
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
fn units_that_are_missing_are_those_that_are_needed() {
    let spec = "unit: {header: u}\nguardrails: [{name: slower, latency: {ratio: 2}}]";
    let list = format!("  - {{weights: {{v1: 1, v2: 1}}, compareAt: [400ms], counts: {{v1: {GOOD}, v2: {GOOD}}}}}\n");
    let problems = bad(&epochs(spec, &list));
    assert!(
        problems[0].ends_with("write the units that showed something, as `{slow: 12}` or `{slow: [ann, bob]}`"),
        "{problems:?}"
    );
    let both = format!("{spec}\nreward: {{direction: maximize}}");
    let problems = bad(&epochs(&both, &list.replace("failed: 1", "failed: 1, rewarded: 1")));
    assert!(
        problems[0].ends_with("as `{slow: 12, rewarded: 12}` or `{slow: [ann, bob], rewarded: [ann, bob]}`"),
        "{problems:?}"
    );
}

#[test]
fn a_misspelt_version_is_the_one_that_is_missing() {
    let list = |counts: &str| format!("  - {{weights: {{v1: 1, v2: 1}}, counts: {{{counts}}}}}\n").replace('G', GOOD);
    let of = |counts: &str| bad(&epochs(ERRORS, &list(counts)));
    // By distance alone `v11` would be `v1`, and `canary` would be nobody.
    for name in ["v11", "canary"] {
        let problems = of(&format!("v1: G, {name}: G"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with(&format!("there is no version `{name}`; did you mean `v2`?")), "{problems:?}");
    }
    assert_eq!(of("v1: G").len(), 1);
    assert_eq!(of("").len(), 2, "each of several is named");
}

#[test]
fn a_misspelt_list_of_epochs_is_said_once() {
    let text = file(ERRORS, GOOD, GOOD).replace("epochs:", "epoch:");
    let problems = bad(&text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].ends_with("unknown field `epoch`; did you mean `epochs`?"), "{problems:?}");
}

#[test]
fn broken_json_is_not_called_yaml_alone() {
    let problems = bad("{\"apiVersion\": \"weir.dev/v1alpha1\", \"spec\": [1, 2}");
    assert!(problems[0].contains(": this is neither valid YAML nor JSON: "), "{problems:?}");
}

#[test]
fn how_many_problems_are_not_told_is_told() {
    let unknown: String = (0..300).map(|n| format!("field{n}: 1\n")).collect();
    let problems = bad(&unknown);
    assert_eq!(problems.len(), crate::document::MAX_PROBLEMS);
    let last = problems.last().expect("a problem");
    // The fields, those that are missing, and there are no counts: all but the 99 that are told.
    let more: usize = last.split("and ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect(last);
    assert!(last.ends_with("more problems from here on") && (201..=210).contains(&more), "{last}");
}

#[test]
fn counts_are_asked_something() {
    let asked = |spec: &str| {
        let problems =
            bad(&epochs(spec, &format!("  - {{weights: {{v1: 1, v2: 1}}, counts: {{v1: {GOOD}, v2: {GOOD}}}}}\n")));
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    };
    let nothing = "5:3: spec: nothing is asked of the counts: write `objectives: [{name: errors, errorRate: {max: 1%}}]`, \
                   `guardrails: [{name: errors, errorRate: {ratio: 2}}]` or `reward: {direction: maximize}`";
    assert_eq!(asked(""), nothing);
    assert_eq!(asked("objectives: []"), nothing);
    let users = asked("unit: {header: u}\nobjectives: [{name: errors, errorRate: {max: 1%}}]");
    assert!(
        users.contains("guardrails without a margin have evidence, and there is nothing else to judge by"),
        "{users}"
    );
    let three = epochs(ERRORS, "  - {weights: {v1: 1, v2: 1, v3: 1}, counts: {v1: G, v2: G, v3: G}}\n")
        .replace('G', GOOD)
        .replace("{name: v2}", "{name: v2}, {name: v3}");
    let problems = bad(&three);
    assert!(problems[0].ends_with(
        "with several candidates only a reward can say which is better: write `reward: {direction: maximize}`"
    ));
    // Whatever moved the weights is over: a strategy asks for nothing.
    let text = epochs(
        &format!("strategy: canary\n{REWARD}"),
        "  - {weights: {v1: 1, v2: 1}, counts: {v1: {exposures: 0}, v2: {exposures: 0}}}\n",
    );
    assert!(read_analysis(&text).is_ok(), "{:?}", read_analysis(&text));
    let bandit = format!("strategy: bandit\nunit: {{header: u}}\n{REWARD}");
    let text = epochs(&bandit, "  - {weights: {v1: 1, v2: 1, v3: 1}, counts: {v1: NONE, v2: NONE, v3: NONE}}\n")
        .replace("NONE", "{exposures: 0}")
        .replace("{name: v2}", "{name: v2}, {name: v3}");
    assert!(read_analysis(&text).is_ok(), "{:?}", read_analysis(&text));
}

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
        "8:26: epochs[0].weights.v3: there is no version `v3`; did you mean `v2`?",
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
    let problems = bad(&file(ERRORS, GOOD, &wrong));
    assert_eq!(problems.len(), 6);
    assert!(
        problems.iter().any(|problem| problem.ends_with(": 995 more of these latencies are wrong")),
        "{problems:?}"
    );
}
