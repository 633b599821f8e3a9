//! Users as the unit: what a reward's rate is of, and whether new users follow the weights.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, also in its helpers")]

mod support;

use support::{Random, experiment, reward};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_core::plan::Unit;
use weir_core::report::Counts;
use weir_engine::assess::{Assessment, assess};
use weir_engine::metrics::MetricName;
use weir_engine::spec::{Direction, Experiment, RewardKind};
use weir_engine::state::{EpochCounts, Observations, State};

fn users(kind: RewardKind) -> Experiment {
    let reward = reward(kind, Direction::Maximize);
    Experiment { unit: Unit::Header("x-user".to_owned()), reward, ..experiment(2) }
}

fn observed(experiment: &Experiment, settled: Vec<Counts>) -> Assessment {
    let state = State::begin(experiment, 0);
    let epoch = state.epoch().unwrap().epoch;
    let epochs = [(epoch, EpochCounts { settled, unsettled: Vec::new() })].into();
    assess(experiment, &state, &Observations { epochs })
}

/// What filters count of so many users who each come so often, keep the token of their first exposure, and then convert with this
/// probability, for an amount of some thirty.
fn rewarded_by_a_later_request(users: u32, visits: u64, conversion: f64, random: &mut Random) -> Counts {
    let mut counts = Counts::default();
    for _ in 0..users {
        counts.assigned += visits;
        counts.completed += visits;
        counts.repeats += visits - 1;
        if random.happens(conversion) {
            let amount = 20.0 + 20.0 * random.unit();
            counts.rewarded += 1;
            counts.reward_sum += amount;
            counts.reward_sum_squares += amount * amount;
        }
    }
    (0..counts.completed).for_each(|_| counts.latency.record(10_000));
    counts
}

#[test]
fn a_version_whose_users_come_more_often_before_they_convert_is_not_believed_worse() {
    for (kind, name, observed_rate) in
        [(RewardKind::Binary, MetricName::RewardRate, 0.1), (RewardKind::Real, MetricName::RewardMean, 3.0)]
    {
        let mut random = Random(11);
        let once = rewarded_by_a_later_request(20_000, 1, 0.1, &mut random);
        let thrice = rewarded_by_a_later_request(20_000, 3, 0.1, &mut random);
        assert_eq!(thrice.assigned, 3 * once.assigned);
        let assessment = observed(&users(kind), vec![once, thrice]);
        for version in &assessment.versions {
            let metric = version.metric(name).unwrap();
            assert!((metric.observed / observed_rate - 1.0).abs() < 0.05, "{metric:?}");
            assert_eq!(metric.exposures, 20_000, "it says what it is of");
            let belief = metric.belief.unwrap();
            assert!(belief.low.unwrap() < observed_rate && observed_rate < belief.high.unwrap(), "{belief:?}");
        }
        let better = assessment.versions[1].probability_beats_baseline.unwrap();
        assert!((0.01..0.99).contains(&better), "{better}");
    }
}

#[test]
fn a_version_whose_users_convert_more_is_believed_better_however_often_they_come() {
    let mut random = Random(12);
    let once = rewarded_by_a_later_request(5_000, 1, 0.1, &mut random);
    let thrice = rewarded_by_a_later_request(5_000, 3, 0.15, &mut random);
    let assessment = observed(&users(RewardKind::Binary), vec![once, thrice]);
    assert!(assessment.versions[1].probability_best.unwrap() > 0.999_9);
}

#[test]
fn more_rewards_than_opportunities_are_no_rate_beyond_one() {
    let counts = |rewarded, repeats| Counts {
        assigned: 100,
        completed: 100,
        failed: 100,
        rewarded,
        reward_sum: 2.0 * rewarded as f64,
        reward_sum_squares: 4.0 * rewarded as f64,
        repeats,
        ..Counts::default()
    };
    for (kind, name) in [(RewardKind::Binary, MetricName::RewardRate), (RewardKind::Real, MetricName::RewardMean)] {
        for (rewarded, repeats) in [(60, 80), (100, 100), (0, 100), (7, 100)] {
            let assessment = observed(&users(kind), vec![counts(10, 0), counts(rewarded, repeats)]);
            assert!(
                !assessment.warnings.iter().any(|warning| warning.contains("left out")),
                "{:?}",
                assessment.warnings
            );
            let found = assessment.versions[1].metric(name).map(|metric| (metric.exposures, metric.observed));
            let expected = (rewarded > 0).then_some((rewarded, if kind == RewardKind::Real { 2.0 } else { 1.0 }));
            assert_eq!(found, expected, "{kind:?} {rewarded} {repeats}");
            let best = assessment.versions[1].probability_best;
            assert!(best.is_none_or(|best| (0.0..=1.0).contains(&best)), "{best:?}");
        }
    }
}
