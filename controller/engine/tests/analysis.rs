//! The walk over a file's epochs: the same as production, look by look, whatever the form of the counts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic, also in its helpers"
)]
#![allow(clippy::cast_sign_loss, reason = "shares of counts")]

use proptest::prelude::*;
use weir_core::report::Counts;
use weir_engine::analysis::{Analysis, Answer, CountedEpoch, FoundKind, analyze};
use weir_engine::assess::{Assessment, Assessor, Depth};
use weir_engine::budget::ClaimKind;
use weir_engine::decide::{Action, decide};
use weir_engine::document::{read, read_analysis};
use weir_engine::health::Health;
use weir_engine::metrics::{Metric, MetricName};
use weir_engine::spec::Experiment;
use weir_engine::state::{EpochCounts, FIRST_LATENCY_GRID, Observations, State, Verdict};

/// SplitMix64: enough for simulation, and the same everywhere.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * 2f64.powi(-53)
    }
}

fn document(spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: weir.dev/v1alpha1\nkind: Experiment\nmetadata: {{name: x}}\nspec:\n  service: x\n{spec}")
}

fn experiment(spec: &str) -> Experiment {
    read(&document(spec)).unwrap_or_else(|problems| panic!("{problems:?}")).remove(0)
}

fn analysed(spec: &str, epochs: &str) -> Analysis {
    let text = format!("{}epochs:\n{epochs}", document(spec));
    let read = read_analysis(&text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
    analyze(&read.experiment, read.epochs)
}

/// What filters would have counted of one version: exposures that fail, take as long and earn as given.
fn counts(random: &mut Random, exposures: u64, failing: f64, mean_us: f64, rewarding: f64, users: bool) -> Counts {
    let mut counts = Counts { assigned: exposures, completed: exposures, ..Counts::default() };
    for _ in 0..exposures {
        let bucket = (random.uniform() * 16_384.0) as u16;
        if random.uniform() < failing {
            counts.failed += 1;
            if users {
                counts.failed_buckets.push(bucket);
            }
        } else {
            let latency = -mean_us * (1.0 - random.uniform()).ln();
            counts.latency.record(latency as u64);
            counts.latency_sum += latency * 1e-6;
            counts.latency_sum_squares += latency * latency * 1e-12;
        }
        if random.uniform() < rewarding {
            let amount = 1.0 + 9.0 * random.uniform();
            counts.rewarded += 1;
            counts.reward_sum += amount;
            counts.reward_sum_squares += amount * amount;
            if users {
                counts.rewarded_buckets.push(bucket);
            }
        }
    }
    for list in [&mut counts.failed_buckets, &mut counts.rewarded_buckets] {
        list.sort_unstable();
        list.dedup();
    }
    counts
}

/// Epochs of an A/B test, and what production said at its last look.
fn produced(experiment: &Experiment, looks: u64) -> (Vec<CountedEpoch<Counts>>, Assessment, State) {
    let users = !experiment.requests_are_units();
    let mut random = Random(7);
    let mut state = State::begin(experiment, 0);
    let (mut observations, mut assessor) = (Observations::default(), Assessor::default());
    let (mut epochs, mut last) = (Vec::new(), None);
    for look in 1..=looks {
        let epoch = state.epoch().unwrap().clone();
        let cells: Vec<Counts> = [(0.004, 21_000.0, 0.10), (0.005, 20_000.0, 0.11)]
            .map(|(failing, mean, rewarding)| counts(&mut random, 2_600, failing, mean, rewarding, users))
            .into();
        epochs.push(CountedEpoch { weights: epoch.weights.clone(), compare_at: None, cells: cells.clone() });
        observations.epochs.insert(epoch.epoch, EpochCounts { settled: cells, unsettled: Vec::new() });
        let assessment = assessor.assess(experiment, &state, &observations, Depth::Complete);
        if look < looks {
            let decision = decide(experiment, &state, &assessment, &Health::default(), look * 1_000);
            assert_eq!(decision.action, Action::Renew, "{:?}", decision.reasons);
            state = decision.state;
        }
        last = Some(assessment);
    }
    (epochs, last.unwrap(), state)
}

const AB: &str = "versions: [{name: v1, baseline: true}, {name: v2}]\nstrategy: ab\nminExposures: 1000000\n";

fn agrees_with_production(spec: &str) -> Analysis {
    let experiment = experiment(&format!("{AB}{spec}"));
    let (epochs, assessment, state) = produced(&experiment, 12);
    let analysis = analyze(&experiment, epochs);
    assert_eq!(analysis.assessment, assessment, "the same bits");
    let grids: Vec<Vec<f64>> = analysis.looks.iter().map(|look| look.compared_at_ms.clone()).collect();
    if experiment.guardrails.len() > 1 {
        let ms = |grid: &[u64]| grid.iter().map(|us| *us as f64 / 1_000.0).collect::<Vec<_>>();
        assert_eq!(grids, state.epochs.iter().map(|epoch| ms(&epoch.latency_grid)).collect::<Vec<_>>());
        assert_eq!(grids[0], ms(&FIRST_LATENCY_GRID));
        assert_ne!(grids[1], grids[0], "the second comes from what the first showed");
    }
    analysis
}

#[test]
fn epochs_in_a_file_say_what_production_said_of_them() {
    let limits = "objectives: [{name: errors, errorRate: {max: 2%}}, {name: p99, latency: {quantile: 99%, max: 400ms}}]\n\
                  guardrails: [{name: ratio, errorRate: {ratio: 3}}, {name: slower, latency: {ratio: 1.5}}]\n";
    let analysis = agrees_with_production(&format!("{limits}reward: {{responseHeader: x, direction: maximize}}"));
    assert!(analysis.assessment.versions[1].gates.iter().all(|gate| gate.verdict == Verdict::Met), "{analysis:?}");
    agrees_with_production(&format!("{limits}reward: {{responseHeader: x, kind: real, direction: maximize}}"));
}

#[test]
fn so_they_do_where_users_are_the_unit() {
    let analysis = agrees_with_production(
        "unit: {header: x-user}\nguardrails: [{name: errors, errorRate: {ratio: 4}}]\nreward: {responseHeader: x, direction: maximize}",
    );
    assert_eq!(analysis.assessment.versions[1].gates[0].verdict, Verdict::Met);
}

const TWO: &str = "versions: [{name: v1, baseline: true}, {name: v2}]\n";
const CANARY: &str =
    "versions: [{name: v1, baseline: true}, {name: v2}]\nobjectives: [{name: errors, errorRate: {max: 2%}}]\n";

fn epoch(v1: &str, v2: &str) -> String {
    format!("  - {{weights: {{v1: 1, v2: 1}}, counts: {{v1: {v1}, v2: {v2}}}}}\n")
}

#[test]
fn a_verdict_that_fired_stays_and_a_later_violation_overrides_it() {
    let healthy = epoch("{exposures: 3000, failed: 6}", "{exposures: 3000, failed: 6}");
    let broken = epoch("{exposures: 3000, failed: 6}", "{exposures: 3000, failed: 300}");
    let analysis = analysed(CANARY, &healthy);
    assert_eq!((analysis.answer, analysis.winner.as_deref()), (Answer::Winner, Some("v2")));
    assert_eq!(analysis.alpha_spent.promotion.spent, 0.05);

    let analysis = analysed(CANARY, &(healthy.clone() + &broken));
    assert_eq!((analysis.answer, analysis.winner.as_deref()), (Answer::NoCandidateLeft, None));
    assert!(
        analysis.conclusion.ends_with("(v2 had won after epoch 1, and has broken a limit since.)"),
        "{}",
        analysis.conclusion
    );
    let found: Vec<Vec<FoundKind>> =
        analysis.looks.iter().map(|look| look.found.iter().map(|found| found.kind).collect()).collect();
    assert_eq!(
        found,
        [vec![FoundKind::Met, FoundKind::Met, FoundKind::Winner], vec![FoundKind::Violated, FoundKind::Out]]
    );
    assert_eq!((analysis.alpha_spent.promotion.spent, analysis.alpha_spent.roll_back[1].spent), (0.0, 0.05));

    // Broken first, healthy for long afterwards: out is out.
    let analysis = analysed(CANARY, &(broken + &healthy.repeat(20)));
    assert_eq!(analysis.answer, Answer::NoCandidateLeft);
    let gate = &analysis.assessment.versions[1].gates[0];
    assert_eq!(gate.verdict, Verdict::Violated);
    assert!(gate.why.ends_with("a verdict stays.") || gate.log_e_violated >= gate.violated_at, "{}", gate.why);
}

#[test]
fn a_winner_stays_although_later_counts_alone_would_not_name_one() {
    let spec = &format!("{TWO}reward: {{responseHeader: x, direction: maximize}}");
    let better = epoch("{exposures: 2000, rewarded: 200}", "{exposures: 2000, rewarded: 300}");
    let worse = epoch("{exposures: 6000, rewarded: 690}", "{exposures: 6000, rewarded: 630}");
    let analysis = analysed(spec, &(better + &worse));
    assert_eq!(analysis.assessment.winner, None, "all counts together do not");
    assert_eq!((analysis.answer, analysis.winner.as_deref()), (Answer::Winner, Some("v2")));
    assert!(analysis.conclusion.contains("after epoch 1"), "{}", analysis.conclusion);
    let beaten: Vec<bool> = analysis
        .alpha_spent
        .promotion
        .claims
        .iter()
        .filter(|claim| claim.kind == ClaimKind::Beaten)
        .map(|claim| claim.fired)
        .collect();
    assert_eq!(beaten, [true, false], "v1 was beaten then");
    // Epochs in another order are other looks.
    assert_eq!(
        analysed(spec, &epoch("{exposures: 8000, rewarded: 890}", "{exposures: 8000, rewarded: 930}")).winner,
        None
    );
}

#[test]
fn exposures_that_do_not_follow_the_weights_leave_no_winner() {
    let analysis = analysed(CANARY, &epoch("{exposures: 6000, failed: 6}", "{exposures: 5000, failed: 5}"));
    assert_eq!((analysis.answer, analysis.winner), (Answer::NotEnoughEvidence, None));
    assert!(analysis.alpha_spent.sample_ratio.unwrap().fired);
    assert!(analysis.assessment.warnings.iter().any(|warning| warning.contains("do not follow the weights")));
}

#[test]
fn weights_are_as_exact_as_written() {
    // Finer than the hundredths of a percent in which a running experiment's weights are kept: rounded, it would look as if
    // requests were lost.
    let counts = |weights: &str| {
        let cells = "{v1: {exposures: 9998510, failed: 9000}, v2: {exposures: 1490, failed: 1}}";
        analysed(CANARY, &format!("  - {{weights: {weights}, counts: {cells}}}\n"))
    };
    let exact = counts("{v1: 99.9851%, v2: 0.0149%}");
    assert!(!exact.assessment.sample_ratio.unwrap().broken, "{exact:?}");
    assert_eq!(exact.assessment.versions[1].weight, 1, "in basis points, rounded");
    assert!(counts("{v1: 9999, v2: 1}").assessment.sample_ratio.unwrap().broken);
}

#[test]
fn latencies_to_compare_at_may_be_fixed_beforehand() {
    let spec = &format!("{TWO}guardrails: [{{name: slower, latency: {{ratio: 2}}}}]");
    let cell = "{exposures: 4000, failed: 0, latency: {buckets: [{le: 50ms, count: 3000}, {le: 100ms, count: 600}, {le: +Inf, count: 400}]}}";
    let usual = analysed(spec, &epoch(cell, cell));
    assert_eq!(usual.looks[0].compared_at_ms, FIRST_LATENCY_GRID.map(|us| us as f64 / 1_000.0));
    assert_eq!(usual.answer, Answer::NotEnoughEvidence, "latencies that were not chosen prove no equality");
    let fixed = analysed(spec, &epoch(cell, cell).replace("counts:", "compareAt: [50ms], counts:"));
    assert_eq!(fixed.looks[0].compared_at_ms, [50.0; 4]);
    assert_eq!((fixed.answer, fixed.winner.as_deref()), (Answer::Winner, Some("v2")));
    // Beyond 50 ms: a quarter of v1; beyond 100 ms: a tenth of v2. Edges divide nothing.
    assert!(fixed.notes.is_empty(), "{:?}", fixed.notes);
}

#[test]
fn buckets_that_a_limit_divides_are_named() {
    let spec = &format!("{TWO}objectives: [{{name: p99, latency: {{quantile: 99%, max: 75ms}}}}]");
    let cell = "{exposures: 4000, failed: 0, latency: {buckets: [{le: 50ms, count: 3000}, {le: 100ms, count: 1000}]}}";
    let analysis = analysed(spec, &epoch(cell, cell));
    assert_eq!(
        analysis.notes,
        ["v1", "v2"].map(|version| format!(
            "1,000 exposures of {version} are in buckets that p99 divides, and count against every claim about it: narrower buckets, \
             or an edge at the limit, would tell more."
        ))
    );
}

#[test]
fn users_as_numbers_and_as_lists_say_the_same() {
    let spec = &format!("{TWO}unit: {{header: x-user}}\nguardrails: [{{name: errors, errorRate: {{ratio: 2}}}}]");
    // Keys that fall into different buckets, so that each is a user of its own.
    let mut seen = std::collections::BTreeSet::new();
    let buckets = weir_core::unit::UnitBuckets::new("x");
    let mut keys = (0..)
        .map(|n| format!("u{n}"))
        .filter(|key| seen.insert(buckets.of(weir_core::unit::Digest::of(key.as_bytes()))));
    let mut list = |count: usize| keys.by_ref().take(count).collect::<Vec<_>>().join(", ");
    let lists: String = [(30, 35), (12, 20)]
        .map(|(a, b)| {
            let (a, b) = (list(a), list(b));
            epoch(
                &format!("{{exposures: 900, units: {{bad: [{a}]}}}}"),
                &format!("{{exposures: 900, units: {{bad: [{b}]}}}}"),
            )
        })
        .concat();
    let numbers: String = [(30, 35), (12, 20)]
        .map(|(a, b)| {
            epoch(
                &format!("{{exposures: 900, units: {{bad: {a}}}}}"),
                &format!("{{exposures: 900, units: {{bad: {b}}}}}"),
            )
        })
        .concat();
    let (lists, numbers) = (analysed(spec, &lists), analysed(spec, &numbers));
    let told = |analysis: &Analysis| serde_json::to_string(analysis).unwrap();
    assert_eq!(told(&lists), told(&numbers));
    assert!(numbers.assessment.versions[1].gates[0].log_e_met > 0.5, "{numbers:?}");
}

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

#[test]
fn no_epochs_and_nonsense_from_a_program_are_survived() {
    let experiment = experiment(CANARY);
    let analysis = analyze::<Counts>(&experiment, Vec::new());
    assert_eq!(analysis.answer, Answer::NotEnoughEvidence);
    let epoch = |weights: Vec<u32>, cells| CountedEpoch { weights, compare_at: None, cells };
    let analysis = analyze(
        &experiment,
        vec![
            epoch(vec![], vec![]),
            epoch(vec![0, 0], vec![Counts { assigned: 5, ..Counts::default() }]),
            epoch(vec![1, 1], vec![Counts { assigned: 5, failed: 9, ..Counts::default() }, Counts::default()]),
        ],
    );
    assert_eq!(analysis.assessment.warnings.len(), 2, "{:?}", analysis.assessment.warnings);
}

#[test]
fn what_is_said_survives_json() {
    let analysis = analysed(CANARY, &epoch("{exposures: 3000, failed: 6}", "{exposures: 3000, failed: 9}"));
    let mut back: Analysis = serde_json::from_str(&serde_json::to_string(&analysis).unwrap()).unwrap();
    // What the next look would keep is not told.
    let again = serde_json::to_string(&back).unwrap();
    assert_eq!(again, serde_json::to_string(&analysis).unwrap());
    back.looks.clear();
    assert_ne!(back.looks, analysis.looks);
}

/// A count of any size, mostly small, up to 10¹².
fn any_count() -> impl Strategy<Value = u64> {
    (0..41_u32).prop_flat_map(|bits| 0..=(1_u64 << bits.min(39)).min(1_000_000_000_000))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_counts_make_a_number_that_json_cannot_say(
        cells in proptest::collection::vec((any_count(), any_count(), any_count(), any_count()), 6),
        weights in proptest::collection::vec(1..1_000_u32, 6),
    ) {
        let spec = &format!(
            "{TWO}objectives: [{{name: errors, errorRate: {{max: 1%}}}}, {{name: p99, latency: {{quantile: 99%, max: 100ms}}}}]\n\
             guardrails: [{{name: ratio, errorRate: {{ratio: 2}}}}, {{name: margin, errorRate: {{margin: 1%}}}}, \
             {{name: slower, latency: {{ratio: 2}}}}]\nreward: {{responseHeader: x, direction: maximize}}"
        );
        let cell = |(exposures, failed, rewarded, fast): &(u64, u64, u64, u64)| {
            let (failed, rewarded) = (*failed.min(exposures), *rewarded.min(exposures));
            let fast = (*fast).min(exposures - failed);
            format!(
                "{{exposures: {exposures}, failed: {failed}, rewarded: {rewarded}, latency: {{buckets: [{{le: 50ms, count: {fast}}}]}}}}"
            )
        };
        let epochs: String = cells
            .chunks(2)
            .zip(weights.chunks(2))
            .map(|(cells, weights)| {
                format!(
                    "  - {{weights: {{v1: {}, v2: {}}}, counts: {{v1: {}, v2: {}}}}}\n",
                    weights[0], weights[1], cell(&cells[0]), cell(&cells[1])
                )
            })
            .collect();
        let json = serde_json::to_value(analysed(spec, &epochs)).unwrap();
        // serde_json writes what is not finite as null: these are always numbers.
        for version in json["assessment"]["versions"].as_array().unwrap() {
            prop_assert!(version["logERollBack"].is_f64() && version["logEBeaten"].is_f64(), "{version}");
            for gate in version["gates"].as_array().unwrap() {
                for name in ["logEViolated", "logEMet", "pViolated", "pMet"] {
                    prop_assert!(gate[name].is_f64(), "{gate}");
                }
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|\n|  |- |: |\\{|\\}|\\[|\\]|epochs|counts|v1|exposures|latency|ms|le){0,60}") {
        let _ = read_analysis(&text);
        let wrapped = format!("{}epochs:\n  - weights: {{v1: 1, v2: 1}}\n    counts: {text}\n", document(CANARY));
        let _ = read_analysis(&wrapped);
    }
}
