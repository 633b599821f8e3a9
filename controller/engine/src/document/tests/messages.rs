//! Every message that a person may see about a field, and where it points.

use super::{LEAST, Strategy, one, problems, rewarded, told, with};

/// One bad field each: what is appended to the `spec` of [`LEAST`] (which ends in line 13), and all that is said.
const BAD: &[(&str, &str)] = &[
    ("strategy: bandits", "14:13: spec.strategy: unknown strategy `bandits`; did you mean `bandit`?"),
    (
        "strategy: {}",
        "14:13: spec.strategy: write exactly one of `bandit`, `canary` or `ab`, or one of them with its details as in `{bandit: {floor: 5%}}`",
    ),
    (
        "strategy: {canary: {}, ab: {}}",
        "14:13: spec.strategy: write exactly one of `bandit`, `canary` or `ab`, or one of them with its details as in `{bandit: {floor: 5%}}`",
    ),
    ("strategy: {ladder: {}}", "14:14: spec.strategy: unknown field `ladder`; known here: `bandit`, `canary`, `ab`"),
    (
        "strategy: ab",
        "14:13: spec.strategy: an A/B test compares rewards, and there is none: write `reward: {responseHeader: …, direction: maximize}`",
    ),
    (
        "strategy: {canary: {steps: [5%, 5%]}}",
        "14:35: spec.strategy.canary.steps[1]: steps must rise: this one is not above 5%",
    ),
    (
        "strategy: {canary: {steps: [50%, 100%]}}",
        "14:36: spec.strategy.canary.steps[1]: `100%` is too much: every candidate gets it, and the baseline keeps at least 1%; write at most 99%",
    ),
    ("strategy: {canary: {steps: []}}", "14:30: spec.strategy.canary.steps: a list of 0; 1 to 20 entries are allowed"),
    (
        "strategy: {canary: {steps: [1]}}",
        "14:31: spec.strategy.canary.steps[0]: `1` is neither a percentage nor below 1: write a percentage such as `2%`, or a fraction below 1 such as `0.02`",
    ),
    (
        "strategy: {canary: {steps: [0.001%]}}",
        "14:31: spec.strategy.canary.steps[0]: `0.001%` is not within 0.01% to 100%",
    ),
    (
        "strategy: {canary: {steps: [1.005%]}}",
        "14:31: spec.strategy.canary.steps[0]: `1.005%` is finer than the smallest step, 0.01%",
    ),
    (
        "reward: {responseHeader: x-r, direction: maximize}\nstrategy: {bandit: {rule: greedy}}",
        "15:29: spec.strategy.bandit.rule: expected `thompson`, `topTwo` or `uniform`, found `greedy`",
    ),
    (
        "reward: {responseHeader: x-r, direction: maximize}\nstrategy: {bandit: {halfLife: 1s}}",
        "15:33: spec.strategy.bandit.halfLife: `1s` is not within 1m to 90d",
    ),
    (
        "reward: {responseHeader: x-r, direction: maximize}\nstrategy: {bandit: {halflife: 6h}}",
        "15:23: spec.strategy.bandit: unknown field `halflife`; did you mean `halfLife`?",
    ),
    ("alpha: 0", "14:10: spec.alpha: `0` must be more than 0% and at most 50%"),
    ("alpha: {rollback: 0.1}", "14:11: spec.alpha: unknown field `rollback`; did you mean `rollBack`?"),
    (
        "alpha: [0.1]",
        "14:10: spec.alpha: expected a probability of error such as `0.05`, or `{rollBack: 0.05, promotion: 0.01}`, found a list",
    ),
    ("deadline: 2h", "14:13: spec.deadline: `2h` is not within 1ms to 1h"),
    (
        "deadline:\nbin: 1s",
        "14:3: spec.deadline: there is no value: write a duration such as `250ms` or `15s`, or leave the field out",
    ),
    ("bin: 99ms", "14:8: spec.bin: `99ms` is not within 100ms to 1h"),
    ("maxDuration: 30s", "14:16: spec.maxDuration: `30s` is not within 1m to 90d"),
    (
        "maxDuration: 1m\nbin: 1h",
        "14:16: spec.maxDuration: `maxDuration` ends before the first bin settles: make it longer than `deadline` and `bin` together",
    ),
    ("onTimeout: rollback", "14:14: spec.onTimeout: expected `rollBack` or `pause`, found `rollback`"),
    ("approvals: true", "14:14: spec.approvals: expected `{promotion: true}`, found `true`"),
    ("approvals: {steps: true}", "14:15: spec.approvals: unknown field `steps`; did you mean `step`?"),
    ("approvals: {promotion: yes}", "14:26: spec.approvals.promotion: expected `true` or `false`, found `yes`"),
    ("priority: 1001", "14:13: spec.priority: `1001` is not a whole number within -1000 to 1000"),
    ("priority: 1.5", "14:13: spec.priority: `1.5` is not a whole number within -1000 to 1000"),
    ("minExposures: 0", "14:17: spec.minExposures: `0` is not a whole number within 1 to 1000000000"),
    ("minExposures: 1e3", "14:17: spec.minExposures: `1e3` is not a whole number within 1 to 1000000000"),
    ("measure: body", "14:12: spec.measure: expected `end` or `headers`, found `body`"),
    (
        "failure: {codes: [5xx]}",
        "14:21: spec.failure.codes[0]: `5xx` is not a status code or a range within 100 to 599, as `429` or `500-599`",
    ),
    (
        "failure: {codes: [599-500]}",
        "14:21: spec.failure.codes[0]: `599-500` is not a status code or a range within 100 to 599, as `429` or `500-599`",
    ),
    ("failure: {grpc: [0]}", "14:20: spec.failure.grpc[0]: `0` is not a whole number within 1 to 16"),
    ("override: x-test", "14:13: spec.override: expected `{header: x-weir-override}`, found `x-test`"),
    (
        "override: {header: X-Weir-Version}",
        "14:13: spec.override: `x-weir-version` routes requests to versions; a client cannot send it: use another header",
    ),
    (
        "unit: {header: x-weir-version}\nguardrails: [{name: more, errorRate: {ratio: 2}}]",
        "14:9: spec.unit: `x-weir-version` routes requests to versions; a client cannot send it: use another header",
    ),
    (
        "match: {headers: [{name: x-weir-version}]}",
        "14:28: spec.match.headers[0].name: `x-weir-version` routes requests to versions; a client cannot send it: use another header",
    ),
    ("unit: user", "14:9: spec.unit: `user` is not a unit: write `request`, `{header: x-user}` or `{cookie: uid}`"),
    ("unit: {header: a, cookie: b}", "14:9: spec.unit: write one of `request`, `{header: x-user}` or `{cookie: uid}`"),
    (
        "unit: {header: host}",
        "14:18: spec.unit.header: `host` is not the name of a header that may be used: write letters, digits, `-`, `_` or `.`, and none that carries the request itself (as `host` does)",
    ),
    ("unit: {cookie: a=b}", "14:18: spec.unit.cookie: `a=b` is not the name of a cookie"),
    ("match: {host: [a]}", "14:11: spec.match: unknown field `host`; did you mean `hosts`?"),
    (
        "match: {hosts: ['https://a']}",
        "14:19: spec.match.hosts[0]: `https://a` is not a host: write `shop.example`, `*.shop.example` or `*`, without a port or a scheme",
    ),
    ("match: {hosts: a}", "14:18: spec.match.hosts: expected a list of hosts, found `a`"),
    (
        "match: {paths: [/cart]}",
        "14:19: spec.match.paths[0]: expected `{prefix: /cart}` or `{exact: /cart}`, found `/cart`",
    ),
    (
        "match: {paths: [{prefix: cart}]}",
        "14:28: spec.match.paths[0].prefix: `cart` is not a path: begin with `/`, and leave the query out",
    ),
    ("match: {paths: [{}]}", "14:19: spec.match.paths[0]: write one of `{prefix: /cart}` or `{exact: /cart}`"),
    (
        "match: {headers: [{exact: a}]}",
        "14:21: spec.match.headers[0]: the field `name` is missing: write the name of a request header",
    ),
    ("match: {share: 0%}", "14:18: spec.match.share: `0%` is not within 0.0001% to 100%"),
    ("match: {share: 0.00015%}", "14:18: spec.match.share: `0.00015%` is finer than the smallest step, 0.0001%"),
    (
        "reward: {responseHeader: x-r}",
        "14:11: spec.reward: the field `direction` is missing: write which way is better: `maximize` or `minimize`",
    ),
    (
        "reward: {responseHeader: x-r, direction: maximise}",
        "14:44: spec.reward.direction: unknown direction `maximise`; did you mean `maximize`?",
    ),
    (
        "reward: {header: x-r, direction: minimize}",
        "14:11: spec.reward: the field `responseHeader` is missing: write the response header that carries it\n14:12: spec.reward: unknown field `header`; known here: `responseHeader`, `api`, `request`, `kind`, `direction`",
    ),
    ("bin: 1s\nbin: 2s", "15:3: the field `bin` is already there, in line 14: keep one of them"),
    (
        "bin: &b 1s\ndeadline: *b",
        "14:8: anchors (`&name`) and aliases (`*name`) are not read: write the value out\n15:13: anchors (`&name`) and aliases (`*name`) are not read: write the value out",
    ),
    ("bin: !!str 1s", "14:8: tags (`!name`) are not read: leave the tag out"),
    ("? [a]\n: b", "14:5: the name of a field must be plain text"),
    ("guardrail: []", "14:3: spec: unknown field `guardrail`; did you mean `guardrails`?"),
    (
        "limits: []",
        "14:3: spec: unknown field `limits`; known here: `service`, `match`, `unit`, `versions`, `strategy`, `objectives`, `guardrails`, `reward`, `alpha`, `deadline`, `bin`, `minExposures`, `maxDuration`, `onTimeout`, `approvals`, `priority`, `measure`, `failure`, `override`",
    ),
    (
        "guardrails: [{name: more, errorRate: {ratio: 1}}]",
        "14:40: spec.guardrails[0].errorRate: it leaves no room above the baseline, so that an equal version could never be shown to keep it: write `ratio` above 1, as `{ratio: 1.5}`, or a `margin`",
    ),
    (
        "guardrails: [{name: more, errorRate: {}}]",
        "14:40: spec.guardrails[0].errorRate: it leaves no room above the baseline, so that an equal version could never be shown to keep it: write `ratio` above 1, as `{ratio: 1.5}`, or a `margin`",
    ),
    (
        "guardrails: [{name: more, errorRate: {ratio: 0.5}}]",
        "14:48: spec.guardrails[0].errorRate.ratio: `0.5` is not a number within 1 to 100",
    ),
    (
        "guardrails: [{name: more, errorRate: {ratio: 1e2}}]",
        "14:48: spec.guardrails[0].errorRate.ratio: `1e2` is not a number within 1 to 100",
    ),
    (
        "guardrails: [{name: more, errorRate: {margin: 0%}}]",
        "14:49: spec.guardrails[0].errorRate.margin: `0%` must be more than 0% and less than 100%",
    ),
    (
        "guardrails: [{name: slower, latency: {ratio: 1.0}}]",
        "14:48: spec.guardrails[0].latency.ratio: it leaves no room above the baseline, so that an equal version could never be shown to keep it: write more than 1, as `ratio: 1.2`",
    ),
    (
        "guardrails: [{name: slower, latency: {quantile: 99%}}]",
        "14:40: spec.guardrails[0].latency: the field `ratio` is missing: write how many times the baseline's latency it allows, as `ratio: 1.2`\n14:41: spec.guardrails[0].latency: unknown field `quantile`; known here: `ratio`",
    ),
    (
        "guardrails: [{name: more}]",
        "14:16: spec.guardrails[0]: it limits nothing: write `errorRate: {margin: 0.3%}`, `errorRate: {ratio: 1.5}` or `latency: {ratio: 1.2}`",
    ),
    (
        "guardrails: [{name: both, errorRate: {ratio: 2}, latency: {ratio: 2}}]",
        "14:61: spec.guardrails[0].latency: one guardrail limits one thing: write a second one, with a name of its own, for the latency",
    ),
    (
        "guardrails: [{name: errors, errorRate: {ratio: 2}}]",
        "14:23: spec.guardrails[0].name: an objective or guardrail named `errors` is already above",
    ),
    (
        "reward: {responseHeader: x-r, kind: reel, direction: maximize}",
        "14:39: spec.reward.kind: expected `binary` or `real`, found `reel`",
    ),
    (
        "unit: {cookie: uid}",
        "14:9: spec.unit: where users are the unit only guardrails without a margin have evidence, and a canary needs some to climb by: write `guardrails: [{name: errors, errorRate: {ratio: 2}}]`",
    ),
];

#[test]
fn what_is_misspelt_is_not_called_missing_as_well() {
    let text = LEAST.replace("baseline", "baseLine").replace("objectives", "objective").replace("service", "Service");
    let expected = "\
6:3: spec: unknown field `Service`; did you mean `service`?
9:7: spec.versions[0]: unknown field `baseLine`; did you mean `baseline`?
11:3: spec: unknown field `objective`; did you mean `objectives`?
";
    assert_eq!(told(&problems(&text)), expected);
}

#[test]
fn each_bad_field_gets_its_message() {
    for (lines, expected) in BAD {
        assert_eq!(told(&problems(&with(lines))).trim_end(), *expected, "{lines}");
    }
}

/// Replacements in [`LEAST`], and all that is then said.
const BROKEN: &[(&str, &str, &str)] = &[
    ("kind: Experiment\n", "", "1:1: the field `kind` is missing: write `kind: Experiment`"),
    ("kind: Experiment", "kind: Gateway", "2:7: kind: `Gateway` is not known here: write `Experiment`"),
    (
        "  name: small\n",
        "  labels: {}\n",
        "4:3: metadata: the field `name` is missing: write the experiment's name, as `name: checkout`",
    ),
    (
        "name: small",
        "name: -small",
        "4:9: metadata.name: `-small` is not a name of 1 to 63 lower-case letters, digits and dashes that begins and ends with a letter or a digit",
    ),
    (
        "service: small",
        "service: 'a b'",
        "6:12: spec.service: `a b` is not a name of 1 to 128 visible ASCII characters without blanks",
    ),
    (
        "      baseline: true\n",
        "",
        "8:5: spec.versions: no version is the baseline: add `baseline: true` to the one that serves today",
    ),
    (
        "- name: v2",
        "- {name: v2, baseline: true}",
        "10:28: spec.versions[1].baseline: `spec.versions[0]` is the baseline already: keep one",
    ),
    ("    - name: v2\n", "", "8:5: spec.versions: a list of 1; 2 to 16 entries are allowed"),
    (
        "- name: v2",
        "- name: v2\n      headers: {X-Weir-Version: v1}",
        "11:16: spec.versions[1].headers: these routing headers are also those of `v1`: requests could not be told apart",
    ),
    (
        "- name: v2",
        "- name: v2\n      headers: {}",
        "11:16: spec.versions[1].headers: only the baseline may go without a routing header: leave `headers` out for the usual one",
    ),
    (
        "- name: v2",
        "- name: v2\n      headers: {x-a: 1, X-A: 2}",
        "11:30: spec.versions[1].headers.X-A: the header `x-a` is already there in another case",
    ),
    (
        "- name: v2",
        "- name: v2\n      headers: {x-a: \"a\\tb\"}",
        "11:22: spec.versions[1].headers.x-a: `a\u{fffd}b` must be 1 to 1024 printable ASCII characters",
    ),
    ("- name: v2", "- v2", "10:7: spec.versions[1]: expected a version such as `{name: v2}`, found `v2`"),
    (
        "- name: v2",
        "- name: v2\n    - name: v3",
        "6:3: spec: with several candidates only a reward can say which is better: write `reward: {responseHeader: …, direction: maximize}`",
    ),
    (
        "  objectives:\n    - name: errors\n      errorRate: {max: 1%}\n",
        "",
        "6:3: spec: a canary climbs while it keeps its objectives and guardrails, and there is none: write `objectives: [{name: errors, errorRate: {max: 1%}}]`",
    ),
    (
        "errorRate: {max: 1%}",
        "latency: {quantile: 99%, max: 20s}",
        "13:37: spec.objectives[0].latency.max: 20s is beyond the deadline of 15s, after which an exposure is an error: raise `deadline`, or limit `errorRate`",
    ),
    (
        "    - name: errors\n      errorRate: {max: 1%}\n",
        "    - name: errors\n      errorRate: {max: 5}\n    - {name: p99, latency: {quantile: 99%, max: 20s}}\n",
        "13:24: spec.objectives[0].errorRate.max: `5` is neither a percentage nor below 1: write a percentage such as `2%`, or a fraction below 1 such as `0.02`\n14:49: spec.objectives[1].latency.max: 20s is beyond the deadline of 15s, after which an exposure is an error: raise `deadline`, or limit `errorRate`",
    ),
    (
        "errorRate: {max: 1%}",
        "latency: {quantile: 100%}",
        "13:16: spec.objectives[0].latency: the field `max` is missing: write the longest latency it allows, as `max: 400ms`\n13:27: spec.objectives[0].latency.quantile: `100%` must be more than 0% and less than 100%",
    ),
    ("max: 1%", "max: 100%", "13:24: spec.objectives[0].errorRate.max: `100%` must be more than 0% and less than 100%"),
    ("errorRate: {max: 1%}", "errorRate: 1%", "13:18: spec.objectives[0].errorRate: expected `{max: 2%}`, found `1%`"),
    (
        "      errorRate: {max: 1%}\n",
        "    - name: errors\n      errorRate: {max: 1%}\n",
        "12:7: spec.objectives[0]: it limits nothing: write `errorRate: {max: 2%}` or `latency: {quantile: 99%, max: 400ms}`\n13:13: spec.objectives[1].name: an objective or guardrail named `errors` is already above",
    ),
    ("spec:\n  service: small", "spec:\n service: small", "7:11: this is not valid YAML: "),
];

#[test]
fn each_broken_document_gets_its_message() {
    for (from, to, expected) in BROKEN {
        assert!(LEAST.contains(from), "{from}");
        let told = told(&problems(&LEAST.replace(from, to)));
        // What the YAML parser says is its own.
        let same = if expected.ends_with("YAML: ") { told.starts_with(expected) } else { told.trim_end() == *expected };
        assert!(same, "{from:?} → {to:?}\nexpected {expected}\nfound    {told}");
    }
}

#[test]
fn a_bandit_of_three_versions_is_not_for_users() {
    let three = |lines: &str| {
        with(&format!("{REWARD}unit: {{header: x-user}}\n{lines}")).replace("- name: v2", "- name: v2\n    - name: v3")
    };
    let found = told(&problems(&three("strategy: bandit")));
    let expected = "17:13: spec.strategy: where users are the unit, a bandit of three or more versions would move users between them so \
                    that no evidence is left: write `strategy: ab`, compare two versions, or let each request be its own unit";
    assert_eq!(found.trim_end(), expected);
    assert_eq!(one(&three("")).strategy, Strategy::Ab { weights: vec![3_334, 3_333, 3_333] });
    assert!(matches!(one(&with(&format!("{REWARD}unit: {{header: x-user}}"))).strategy, Strategy::Bandit { .. }));
}

const REWARD: &str = "reward: {responseHeader: x-reward, direction: maximize}\n";

#[test]
fn weights_of_a_fixed_split_name_every_version_and_sum_to_the_whole() {
    for (weights, expected) in [
        ("{v1: 50%, v2: 40%}", "15:28: spec.strategy.ab.weights: the weights sum to 90%: they must sum to 100%"),
        ("{v1: 100%}", "15:28: spec.strategy.ab.weights: version `v2` has no weight: give it one"),
        (
            "{v1: 50%, v2: 25%, v22: 25%}",
            "15:28: spec.strategy.ab.weights: there is no version `v22`; did you mean `v2`?",
        ),
        ("{v1: 100%, v2: 0%}", "15:43: spec.strategy.ab.weights.v2: `0%` is not within 0.01% to 100%"),
    ] {
        let found = problems(&rewarded(&format!("strategy: {{ab: {{weights: {weights}}}}}")));
        assert!(told(&found).starts_with(expected), "{weights}\nexpected {expected}\nfound    {}", told(&found));
    }
}
