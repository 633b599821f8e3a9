//! What must hold of an assessment and a decision whatever comes in: arbitrary experiments, states and counts, those that
//! contradict each other too. Nothing panics, nothing is NaN or infinite, nothing depends on names, order or memory.
#![cfg(not(target_arch = "wasm32"))] // The golden numbers show that Wasm computes the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    reason = "a failing helper fails its test; what is cast is positive"
)]

mod support;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;
use support::{Raw, experiment, reward};
use weir_core::plan::Unit;
use weir_core::report::{Counts, UNIT_BUCKETS};
use weir_engine::assess::{Assessment, Assessor, Depth, assess};
use weir_engine::cells::{Moments, Tally};
use weir_engine::decide::{Action, decide};
use weir_engine::health::Health;
use weir_engine::spec::{
    Alpha, Bound, Direction, Experiment, Guardrail, Limit, Objective, RewardKind, Rule, Strategy as Weights,
    TOTAL_WEIGHT,
};
use weir_engine::state::{Epoch, EpochCounts, Frozen, Observations, Outcome, Phase, State, Verdict};

const HUGE: u64 = 1_000_000_000_000;

/// Counts of every size up to 10¹², small ones often.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..50_u64, 0..5_000_u64, 0..=HUGE, Just(HUGE)]
}

/// Any double at all, ordinary ones often.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..=1.0, 8 => -1e6..1e6, 2 => Just(0.0), 1 => Just(1e-300), 1 => any::<f64>()]
}

/// `versions` weights that sum to the whole, some of them zero.
fn weights(versions: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![Just(0), Just(1), 1..100_u32], versions).prop_map(|parts| {
        let sum: u32 = parts.iter().sum::<u32>().max(1);
        let mut weights: Vec<u32> = parts.iter().map(|part| part * TOTAL_WEIGHT / sum).collect();
        weights[0] += TOTAL_WEIGHT - weights.iter().sum::<u32>();
        weights
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    let share = || prop_oneof![0.0001..0.9999, Just(0.01)];
    prop_oneof![
        share().prop_map(|max| Limit::ErrorRate { max }),
        (share(), 1..3_600_000_000_u64).prop_map(|(quantile, max_us)| Limit::Latency { quantile, max_us }),
    ]
}

fn bound() -> impl Strategy<Value = Bound> {
    prop_oneof![
        (1.0..=100.0, prop_oneof![Just(0.0), 0.0..0.99]).prop_map(|(ratio, margin)| Bound::ErrorRate { ratio, margin }),
        (1.001..=100.0).prop_map(|ratio| Bound::Latency { ratio }),
    ]
}

/// What a document may say.
fn any_experiment() -> impl Strategy<Value = Experiment> {
    let rewards = prop::option::of((
        prop_oneof![Just(RewardKind::Binary), Just(RewardKind::Real)],
        prop_oneof![Just(Direction::Maximize), Just(Direction::Minimize)],
    ));
    let unit = prop_oneof![2 => Just(Unit::Request), 1 => Just(Unit::Cookie("uid".into()))];
    (2..6_usize)
        .prop_flat_map(move |versions| {
            let strategy = prop_oneof![
                weights(versions).prop_map(|weights| Weights::Ab { weights }),
                (0..2_000_u32, 1..10_000_u32).prop_map(|(floor, max_step)| Weights::Bandit {
                    rule: Rule::Thompson,
                    floor,
                    max_step,
                    half_life_ms: None
                }),
                prop::collection::vec(1..2_000_u32, 1..5).prop_map(|mut steps| {
                    steps.sort_unstable();
                    Weights::Canary { steps }
                }),
            ];
            (
                (Just(versions), 0..versions, strategy, unit.clone()),
                prop::collection::vec(limit(), 0..4),
                prop::collection::vec(bound(), 0..4),
                rewards.clone(),
                (0.0001..=0.5, 0.0001..=0.5),
                count(),
            )
        })
        .prop_map(|((versions, baseline, strategy, unit), limits, bounds, rewards, alpha, min_exposures)| Experiment {
            baseline,
            strategy,
            unit,
            objectives: limits
                .into_iter()
                .enumerate()
                .map(|(at, limit)| Objective { name: format!("objective {at}"), limit })
                .collect(),
            guardrails: bounds
                .into_iter()
                .enumerate()
                .map(|(at, bound)| Guardrail { name: format!("guardrail {at}"), bound })
                .collect(),
            reward: rewards.and_then(|(kind, direction)| reward(kind, direction)),
            alpha: Alpha { roll_back: alpha.0, promotion: alpha.1 },
            min_exposures,
            ..experiment(versions)
        })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![8 => Just(Verdict::NotEnoughEvidence), 1 => Just(Verdict::Met), 1 => Just(Verdict::Violated)]
}

fn epochs(versions: usize) -> impl Strategy<Value = Vec<Epoch>> {
    let centre = prop_oneof![8 => 0.001..0.999, 1 => any_number()];
    let grid = prop_oneof![
        Just(vec![50_000, 250_000, 1_000_000, 5_000_000]),
        prop::collection::vec(prop_oneof![1..3_600_000_000_u64, any::<u64>()], 0..6),
    ];
    prop::collection::vec((weights(versions), centre, grid), 1..12).prop_map(|epochs| {
        let numbered = epochs.into_iter().zip(1..);
        numbered
            .map(|((weights, centre, latency_grid), epoch)| Epoch {
                epoch,
                began_at: u64::from(epoch) * 1_000,
                weights,
                centre,
                latency_grid,
            })
            .collect()
    })
}

/// A state that the experiment may be in, and some that it may not.
fn state(experiment: &Experiment) -> impl Strategy<Value = State> + use<> {
    let begun = State::begin(experiment, 0);
    let versions = experiment.versions.len();
    let gates = experiment.objectives.len() + experiment.guardrails.len();
    let frozen = prop::collection::vec((0..versions, 0..versions, any_number()), 0..3);
    (
        epochs(versions),
        prop::collection::vec(prop::bool::weighted(0.1), versions),
        prop::collection::vec(prop::collection::vec(verdict(), versions), gates),
        frozen,
        0..6_usize,
        prop::bool::weighted(0.1),
    )
        .prop_map(move |(epochs, out, latched, frozen, rung, sample_ratio_broken)| State {
            epochs,
            out,
            latched,
            frozen: frozen.into_iter().map(|(a, b, variance)| Frozen { a, b, variance }).collect(),
            rung,
            sample_ratio_broken,
            ..begun.clone()
        })
}

fn buckets() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::btree_set(0..UNIT_BUCKETS, 0..8).prop_map(|set| set.into_iter().collect())
}

/// A cell that a report could hold, or one that contradicts itself.
fn counts() -> impl Strategy<Value = Counts> {
    let consistent = (count(), 0.0..=1.0, 0.0..=1.0, 0.0..=1.0).prop_map(|(assigned, ended, failed, rewarded)| {
        let part = |of: u64, share: f64| ((of as f64 * share) as u64).min(of);
        let completed = part(assigned, ended);
        (assigned, completed, part(completed, failed), part(assigned - completed, 0.5), part(assigned, rewarded))
    });
    let wild = (count(), count(), count(), count(), count());
    let histogram = prop::collection::vec((any::<u16>(), count()), 0..6).boxed();
    (
        prop_oneof![6 => consistent, 1 => wild],
        histogram.clone(),
        histogram,
        (any_number(), any_number(), any_number(), any_number()),
        (buckets(), buckets(), buckets()),
    )
        .prop_map(|((assigned, completed, failed, aborted, rewarded), latencies, ages, sums, sets)| {
            let mut counts = Counts {
                assigned,
                completed,
                failed,
                aborted,
                rewarded,
                latency_sum: sums.0,
                latency_sum_squares: sums.1,
                reward_sum: sums.2,
                reward_sum_squares: sums.3,
                failed_buckets: sets.0,
                slow_buckets: sets.1,
                rewarded_buckets: sets.2,
                ..Counts::default()
            };
            latencies.into_iter().for_each(|(bucket, count)| counts.latency.add(bucket, count));
            ages.into_iter().for_each(|(bucket, count)| counts.abort_age.add(bucket, count));
            counts
        })
}

fn observations<C: std::fmt::Debug + Clone>(
    versions: usize,
    cell: impl Strategy<Value = C> + Clone,
) -> impl Strategy<Value = Observations<C>> {
    // Too few cells and too many; epochs that the state does not know.
    let cells = move || prop::collection::vec(cell.clone(), 0..=versions + 1);
    let epoch = (cells(), cells()).prop_map(|(settled, unsettled)| EpochCounts { settled, unsettled });
    prop::collection::btree_map(1..14_u32, epoch, 0..10).prop_map(|epochs| Observations { epochs })
}

fn anything() -> impl Strategy<Value = (Experiment, State, Observations)> {
    any_experiment().prop_flat_map(|experiment| {
        let versions = experiment.versions.len();
        let cells = counts().boxed();
        (Just(experiment.clone()), state(&experiment), observations(versions, cells))
    })
}

/// Consistent counts of an A/B/n test, moderate, with every version in: what relabelling and monotonicity are promised of.
fn ordinary() -> impl Strategy<Value = (Experiment, State, Observations<Raw>)> {
    let cell = prop::collection::vec((prop::bool::weighted(0.1), 1_000..900_000_u64, 0..3_u8), 0..200)
        .prop_map(|shows| Raw::of(shows.into_iter().map(|(failed, us, reward)| (failed, us, f64::from(reward)))));
    any_experiment().prop_flat_map(move |experiment| {
        let versions = experiment.versions.len();
        let sizes = 1..4_u32;
        let cells = prop::collection::vec(prop::collection::vec(cell.clone(), versions), 1..4);
        (Just(experiment.clone()), epochs(versions), cells, sizes).prop_map(|(experiment, mut epochs, cells, _)| {
            epochs.truncate(cells.len());
            for epoch in &mut epochs {
                epoch.centre = epoch.centre.clamp(0.05, 0.95);
                let equal = TOTAL_WEIGHT / u32::try_from(epoch.weights.len()).unwrap();
                epoch.weights.fill(equal);
                epoch.weights[0] += TOTAL_WEIGHT - epoch.weights.iter().sum::<u32>();
            }
            let state = State { epochs, ..State::begin(&experiment, 0) };
            let settled = cells
                .into_iter()
                .zip(1..)
                .map(|(settled, epoch)| (epoch, EpochCounts { settled, unsettled: Vec::new() }));
            (experiment, state, Observations { epochs: settled.collect::<BTreeMap<_, _>>() })
        })
    })
}

/// The same cases on every run; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` explore further.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let chosen = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if chosen("PROPTEST_CASES") { default.cases } else { 48 },
        rng_seed: if chosen("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(7) },
        failure_persistence: None,
        ..default
    }
}

/// Whatever it says is a number that JSON can hold, and probabilities are probabilities.
fn check_sane(assessment: &Assessment) -> Result<(), TestCaseError> {
    // NaN and the infinities become null there, and null is no number.
    let stored = serde_json::to_string(assessment).unwrap();
    let again: Result<Assessment, _> = serde_json::from_str(&stored);
    prop_assert!(again.is_ok(), "{:?} of {stored}", again.err());
    prop_assert_eq!(serde_json::to_string(&again.unwrap()).unwrap(), stored.clone(), "what is stored is what was said");
    let within = |p: Option<f64>| p.is_none_or(|p| (0.0..=1.0).contains(&p));
    prop_assert!(within(assessment.probability_none_feasible) && within(Some(assessment.coverage)), "{stored}");
    prop_assert!(assessment.pooled_reward_rate > 0.0 && assessment.pooled_reward_rate < 1.0, "{stored}");
    for version in &assessment.versions {
        for p in [
            version.probability_feasible,
            version.probability_best,
            version.probability_best_and_feasible,
            version.probability_beats_baseline,
        ] {
            prop_assert!(within(p), "{stored}");
        }
        prop_assert!(version.expected_loss.is_none_or(|loss| loss >= 0.0 && loss.is_finite()), "{stored}");
        prop_assert!(
            version.log_e_roll_back.is_finite() && version.log_e_beaten.is_none_or(f64::is_finite),
            "{stored}"
        );
        for gate in &version.gates {
            prop_assert!(gate.log_e_met.is_finite() && gate.log_e_violated.is_finite(), "{stored}");
            prop_assert!(within(Some(gate.p_met)) && within(Some(gate.p_violated)), "{stored}");
        }
        for metric in &version.metrics {
            prop_assert!(metric.observed.is_finite() && metric.exposures > 0, "{stored}");
            for interval in [metric.belief, metric.sequence].into_iter().flatten() {
                prop_assert!(interval.low.zip(interval.high).is_none_or(|(low, high)| low <= high), "{metric:?}");
            }
            for comparison in &metric.comparisons {
                prop_assert!(within(comparison.probability_better), "{comparison:?}");
                let intervals =
                    [comparison.lift, comparison.difference, comparison.ratio_sequence, comparison.difference_sequence];
                for interval in intervals.into_iter().flatten() {
                    prop_assert!(
                        interval.low.zip(interval.high).is_none_or(|(low, high)| low <= high),
                        "{comparison:?}"
                    );
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_assessment_of_anything_is_numbers_and_a_decision_on_it_is_a_plan((experiment, state, observations) in anything(), now in 0..100_000_000_u64) {
        let assessment = assess(&experiment, &state, &observations);
        check_sane(&assessment)?;
        let mut assessor = Assessor::default();
        let quick = assessor.assess(&experiment, &state, &observations, Depth::Decision);
        prop_assert_eq!(&quick.winner, &assessment.winner);

        let decision = decide(&experiment, &state, &assessment, &Health::default(), now);
        prop_assert!(!decision.reasons.is_empty());
        let next = &decision.state;
        prop_assert!(next.epochs.len() <= state.epochs.len() + 1);
        if decision.action.moves_traffic() && next.is_running() {
            prop_assert_eq!(next.weights().iter().sum::<u32>(), TOTAL_WEIGHT, "{:?}", next.weights());
            for (version, out) in next.out.iter().enumerate() {
                prop_assert!(!out || version == experiment.baseline || next.weights()[version] == 0, "out, and has traffic");
            }
        }
        for (before, after) in state.out.iter().zip(&next.out) {
            prop_assert!(!before || *after, "who is out stays out");
        }
        for (before, after) in state.latched.iter().flatten().zip(next.latched.iter().flatten()) {
            prop_assert!(after >= before, "what has fired stays fired");
        }
        if let Phase::Concluded { outcome, version, .. } = next.phase {
            prop_assert!(outcome != Outcome::Promoted || !next.is_out(version), "who is out is not promoted");
            prop_assert!(outcome == Outcome::Promoted || version == experiment.baseline);
            prop_assert!(outcome != Outcome::Promoted || !next.sample_ratio_broken);
        }
        // Deciding again from there does not fail either, and a concluded experiment stays as it is.
        let again = decide(&experiment, next, &assess(&experiment, next, &observations), &Health::default(), now);
        prop_assert!(next.is_running() || (again.action == Action::Hold && again.state == *next));
        prop_assert_eq!(serde_json::from_str::<State>(&serde_json::to_string(next).unwrap()).unwrap(), next.clone());
    }

    #[test]
    fn what_an_assessor_remembers_changes_not_a_bit((experiment, state, observations) in anything(), steps in 1..5_usize) {
        // Epoch by epoch, as they come; the last look sees everything.
        let mut assessor = Assessor::default();
        let last = state.epochs.len();
        for shown in (1..=last).step_by(steps).chain([last, last]) {
            let part = State { epochs: state.epochs[..shown].to_vec(), ..state.clone() };
            let remembered = assessor.assess(&experiment, &part, &observations, Depth::Complete);
            // Text, so that an amount that is no number equals itself.
            prop_assert_eq!(format!("{:?}", remembered), format!("{:?}", assess(&experiment, &part, &observations)));
        }
    }

    #[test]
    fn other_places_for_the_versions_change_no_verdict((experiment, state, observations) in ordinary(), turn in 0..6_usize) {
        let turn = turn % experiment.versions.len();
        let first = assess(&experiment, &state, &observations);
        let (mut experiment, mut state, mut observations) = (experiment, state, observations);
        let count = experiment.versions.len();
        experiment.versions.rotate_left(turn);
        experiment.baseline = (experiment.baseline + count - turn) % count;
        if let Weights::Ab { weights } = &mut experiment.strategy {
            weights.rotate_left(turn);
        }
        state.epochs.iter_mut().for_each(|epoch| epoch.weights.rotate_left(turn));
        state.units = State::begin(&experiment, 0).units;
        observations.epochs.values_mut().for_each(|epoch| epoch.settled.rotate_left(turn));
        let mut other = assess(&experiment, &state, &observations);
        other.versions.rotate_right(turn);
        if experiment.reward.is_some() || count == 2 {
            prop_assert_eq!(&first.winner, &other.winner);
        }
        let near = |a: Option<f64>, b: Option<f64>, allowed: f64| match (a, b) {
            (Some(a), Some(b)) => a == b || (a - b).abs() <= allowed * (1.0 + a.abs()),
            (a, b) => a == b,
        };
        for (a, b) in first.versions.iter().zip(&other.versions) {
            prop_assert_eq!((&a.name, a.may_be_best, a.settled), (&b.name, b.may_be_best, b.settled));
            prop_assert!(near(a.probability_best, b.probability_best, 1e-6), "{:?} {:?}", a.probability_best, b.probability_best);
            prop_assert!(near(a.probability_best_and_feasible, b.probability_best_and_feasible, 1e-6));
            prop_assert!(near(a.log_e_beaten, b.log_e_beaten, 1e-9), "{:?} {:?}", a.log_e_beaten, b.log_e_beaten);
            for (x, y) in a.gates.iter().zip(&b.gates) {
                prop_assert_eq!(x.verdict, y.verdict);
                prop_assert!(near(Some(x.log_e_met), Some(y.log_e_met), 1e-9) && near(Some(x.log_e_violated), Some(y.log_e_violated), 1e-9));
            }
        }
    }

    #[test]
    fn one_more_failure_never_speaks_for_a_version((experiment, state, observations) in ordinary(), version in 0..6_usize, epoch in 1..4_u32) {
        let version = version % experiment.versions.len();
        let before = assess(&experiment, &state, &observations);
        let mut worse = observations.clone();
        let Some(cell) = worse.epochs.get_mut(&epoch).map(|epoch| &mut epoch.settled[version]) else { return Ok(()) };
        // One that was served and fast fails instead.
        if cell.latencies.is_empty() { return Ok(()); }
        cell.latencies.remove(0);
        cell.tally.failed += 1;
        let after = assess(&experiment, &state, &worse);
        for (x, y) in before.versions[version].gates.iter().zip(&after.versions[version].gates) {
            prop_assert!(y.log_e_violated >= x.log_e_violated - 1e-9, "{x:?} {y:?}");
            prop_assert!(y.log_e_met <= x.log_e_met + 1e-9, "{x:?} {y:?}");
        }
    }

    #[test]
    fn limits_and_amounts_in_another_unit_say_the_same((experiment, state, observations) in ordinary()) {
        let first = assess(&experiment, &state, &observations);
        let (mut experiment, mut state, mut observations) = (experiment, state, observations);
        for objective in &mut experiment.objectives {
            if let Limit::Latency { max_us, .. } = &mut objective.limit { *max_us *= 1_000; }
        }
        for epoch in &mut state.epochs {
            // The first grid is known by its values: it proves nothing met, in any unit.
            if epoch.latency_grid != [50_000, 250_000, 1_000_000, 5_000_000] {
                epoch.latency_grid.iter_mut().for_each(|at| *at = at.saturating_mul(1_000));
            } else {
                return Ok(());
            }
        }
        for cell in observations.epochs.values_mut().flat_map(|epoch| &mut epoch.settled) {
            cell.latencies.iter_mut().for_each(|at| *at *= 1_000);
            let scaled = |moments: Moments| Moments { sum: moments.sum * 1e3, squares: moments.squares * 1e6, ..moments };
            (cell.sum, cell.reward) = (scaled(cell.sum), scaled(cell.reward));
        }
        let other = assess(&experiment, &state, &observations);
        prop_assert_eq!(&first.winner, &other.winner);
        for (a, b) in first.versions.iter().zip(&other.versions) {
            for (x, y) in a.gates.iter().zip(&b.gates) {
                prop_assert_eq!(x.verdict, y.verdict);
                prop_assert!((x.log_e_met - y.log_e_met).abs() < 1e-9 && (x.log_e_violated - y.log_e_violated).abs() < 1e-9);
            }
            let near = |a: Option<f64>, b: Option<f64>| a.zip(b).map_or(a == b, |(a, b)| (a - b).abs() < 1e-6);
            prop_assert!(near(a.probability_best, b.probability_best) && near(a.probability_beats_baseline, b.probability_beats_baseline));
        }
    }
}

/// Whatever a cell says of itself, the sums of what it is said to have counted do not overflow.
#[test]
fn the_largest_counts_there_are_saturate() {
    let goals = Experiment {
        objectives: vec![support::error_rate(0.01), support::latency(0.99, 400_000)],
        guardrails: vec![support::guardrail("errors", Bound::ErrorRate { ratio: 2.0, margin: 0.01 })],
        reward: reward(RewardKind::Binary, Direction::Maximize),
        ..experiment(3)
    };
    let most = Raw {
        tally: Tally {
            assigned: u64::MAX,
            completed: u64::MAX,
            failed: u64::MAX,
            rewarded: u64::MAX,
            ..Tally::default()
        },
        ..Raw::default()
    };
    let state = State::begin(&goals, 0);
    let settled = vec![most.clone(), most.clone(), most];
    let observations =
        Observations { epochs: BTreeMap::from([(1, EpochCounts { settled: settled.clone(), unsettled: settled })]) };
    let assessment = assess(&goals, &state, &observations);
    assert!(serde_json::from_str::<Assessment>(&serde_json::to_string(&assessment).unwrap()).is_ok());
    assert_eq!(decide(&goals, &state, &assessment, &Health::default(), 1).action, Action::RollBack);
}
