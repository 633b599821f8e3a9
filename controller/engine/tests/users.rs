//! Users as the unit: what a reward's rate is of, and whether new users follow the weights.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, also in its helpers")]

mod support;

use support::{Random, experiment, most_allowed, reward};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use weir_core::assign::Assigner;
use weir_core::cookie::GeneratedCookie;
use weir_core::plan::{PlannedVersion, Unit};
use weir_core::report::Counts;
use weir_core::unit::Digest;
use weir_engine::assess::{Assessment, Assessor, Depth, assess};
use weir_engine::metrics::MetricName;
use weir_engine::spec::{Direction, Experiment, RewardKind};
use weir_engine::state::{EpochCounts, Observations, State};
use weir_stats::sample_ratio::SampleRatio;

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

/// Weights in hundredths of a percent.
const WEIGHTS: [u32; 2] = [7_000, 3_000];
/// ln of 1/α of card E.
const BROKEN: f64 = 6.907_755_278_982_137;

fn given_cookies() -> Experiment {
    let unit = Unit::GeneratedCookie(GeneratedCookie::named("weir-uid"));
    let strategy = weir_engine::spec::Strategy::Ab { weights: WEIGHTS.to_vec() };
    Experiment { unit, strategy, ..users(RewardKind::Binary) }
}

/// A site whose visitors are given cookies and come back: of the requests one in ten is a new user's, the others are mostly of few.
/// Assigned as the filter does. `lost` is the share of v2's requests that is never recorded.
struct Site {
    assigner: Assigner,
    users: Vec<(usize, f64)>,
    activity: f64,
    lost: f64,
    counts: Vec<Counts>,
}

impl Site {
    fn new(run: u64, lost: f64) -> Self {
        let version = |(at, weight): (usize, &u32)| PlannedVersion {
            name: format!("v{}", at + 1),
            weight: *weight,
            headers: Vec::new(),
            slow_us: None,
        };
        let versions: Vec<PlannedVersion> = WEIGHTS.iter().enumerate().map(version).collect();
        let assigner = Assigner::new(&format!("salt-{run}"), &versions);
        Self { assigner, users: Vec::new(), activity: 0.0, lost, counts: vec![Counts::default(); 2] }
    }

    fn serve(&mut self, requests: u64, random: &mut Random) {
        for _ in 0..requests {
            let new = self.users.is_empty() || random.happens(0.1);
            let version = if new {
                let key = format!("{:016x}{:016x}", random.bits(), random.bits());
                let version = self.assigner.by_key(Digest::of(key.as_bytes())).unwrap();
                // Pareto's law with exponent 1.1.
                let active = (1.0 - random.unit()).powf(-1.0 / 1.1);
                self.activity += active;
                self.users.push((version, active));
                version
            } else {
                let mut point = random.unit() * self.activity;
                let found = self.users.iter().find(|(_, active)| {
                    point -= active;
                    point < 0.0
                });
                found.unwrap_or(&self.users[0]).0
            };
            if version == 1 && random.happens(self.lost) {
                continue;
            }
            let counts = &mut self.counts[version];
            counts.assigned += 1;
            counts.completed += 1;
            counts.latency.record(10_000);
            counts.new_units += u64::from(new);
        }
    }
}

/// After so many requests, looked at every 500 of them: whether card E broke, and whether it would have on all exposures.
fn shares_broken(run: u64, lost: f64, requests: u64) -> (bool, bool) {
    let experiment = given_cookies();
    let state = State::begin(&experiment, 0);
    let (mut site, mut random) = (Site::new(run, lost), Random(run.wrapping_mul(0x5eed)));
    let mut assessor = Assessor::default();
    let (mut broken, mut on_exposures) = (false, false);
    for _ in 0..requests / 500 {
        site.serve(500, &mut random);
        let settled = site.counts.clone();
        let epoch: Vec<(f64, u64)> =
            WEIGHTS.iter().zip(&settled).map(|(weight, counts)| (f64::from(*weight) / 1e4, counts.assigned)).collect();
        let mut process = SampleRatio::new(2);
        process.push(&epoch);
        on_exposures |= process.log_e() >= BROKEN;
        let epochs = [(1, EpochCounts { settled, unsettled: Vec::new() })].into();
        let observations = Observations { epochs };
        let assessment = assessor.assess(&experiment, &state, &observations, Depth::Evidence);
        broken |= assessment.sample_ratio.unwrap().broken;
    }
    (broken, on_exposures)
}

#[test]
fn the_shares_of_new_users_are_tested_and_stay_honest_however_often_users_come_back() {
    let runs = 200;
    let found: Vec<(bool, bool)> = (0..u64::from(runs)).map(|run| shares_broken(run, 0.0, 10_000)).collect();
    let count = |of: fn(&(bool, bool)) -> bool| u32::try_from(found.iter().filter(|found| of(found)).count()).unwrap();
    let (broken, on_exposures) = (count(|found| found.0), count(|found| found.1));
    assert!(broken <= most_allowed(runs, 0.001, 1e-6), "{broken} of {runs}");
    // What the same test would say of exposures, where a few users send most.
    assert!(on_exposures > runs / 2, "{on_exposures} of {runs}");
}

#[test]
fn what_loses_requests_of_one_version_is_found_by_its_new_users() {
    let found = (0..20).filter(|run| shares_broken(1_000 + run, 0.3, 20_000).0).count();
    assert_eq!(found, 20);
}

#[test]
fn shares_of_users_who_bring_their_keys_are_not_tested_nor_those_of_users_of_whom_none_was_new() {
    let counts = |assigned, new_units| Counts {
        assigned,
        completed: assigned,
        failed: assigned,
        new_units,
        ..Counts::default()
    };
    let of_header = observed(&users(RewardKind::Binary), vec![counts(5_000, 900), counts(1_000, 100)]);
    assert_eq!(of_header.sample_ratio, None);
    assert!(of_header.warnings[0].ends_with("cannot be tested"), "{:?}", of_header.warnings);
    let none_new = observed(&given_cookies(), vec![counts(5_000, 0), counts(1_000, 0)]);
    assert_eq!(none_new.sample_ratio, None);
    let uneven = observed(&given_cookies(), vec![counts(7_000, 1_000), counts(3_000, 200)]);
    assert!(uneven.sample_ratio.unwrap().broken);
    assert_eq!((uneven.versions[0].settled.new_units, uneven.winner), (1_000, None));
    let warning = uneven.warnings.iter().find(|warning| warning.contains("do not follow the weights")).unwrap();
    assert!(
        warning.starts_with("users who were given a cookie do not follow the weights (v1 1,000, v2 200)"),
        "{warning}"
    );
    // Exposures in whatever shares, for users come as often as they like.
    let even = observed(&given_cookies(), vec![counts(2_000, 700), counts(90_000, 300)]);
    assert!(!even.sample_ratio.unwrap().broken);
}
