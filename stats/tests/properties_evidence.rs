//! What must hold for evidence whatever comes in: margins, intervals, amounts, sample ratios, first events and the processes
//! themselves. Total functions for counts up to 10¹² and any float, invariance under order, units and relabelling, and
//! monotonicity where a function promises it. Native only: the golden tables check that Wasm computes the same.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing helper fails its test")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use weir_stats::allocate::uniform;
use weir_stats::amount::{AmountEpoch, Amounts, difference};
use weir_stats::belief::{Posterior, Profile, compare as compare_profiles};
use weir_stats::best::log_mean_e;
use weir_stats::beta::Beta;
use weir_stats::compare::{self, PairEpoch, owner, ratio_interval};
use weir_stats::kernel::{bets, effects, shares, tilts};
use weir_stats::margin::{Margin, MarginEpoch};
use weir_stats::process::{Claim, Tilted, Wealth};
use weir_stats::rate;
use weir_stats::reward::{Arm, Better, RewardEpoch};
use weir_stats::sample_ratio::SampleRatio;
use weir_stats::student::Student;
use weir_stats::units::{Closing, EpochBuckets, FirstEvents, MAX_BUCKETS};

const HUGE: u64 = 1_000_000_000_000;

/// Counts of every size up to 10¹², small ones often; now and then what no counter should hold.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 8 => 0..50_u64, 8 => 0..100_000_u64, 8 => 0..=HUGE, 4 => Just(HUGE), 1 => Just(u64::MAX)]
}

/// Any double at all, probabilities often.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..=1.0, -100.0..100.0, Just(0.0), Just(-0.0), Just(1.0), Just(1e-9), Just(1e-300), any::<f64>()]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![0.0001..=1.0, Just(0.0001), Just(1.0)]
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![Just(Claim::Violated), Just(Claim::Met)]
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

fn any_margin_epoch() -> impl Strategy<Value = MarginEpoch> {
    (any_number(), any_number(), count(), count(), count()).prop_map(|(a, b, exposures, of_a, of_b)| MarginEpoch {
        baseline_propensity: a,
        candidate_propensity: b,
        exposures,
        baseline_bad: of_a,
        candidate_bad: of_b,
    })
}

fn pairs(most: u64) -> impl Strategy<Value = Vec<PairEpoch>> {
    let pair = (share(), share(), 0..most, 0..most).prop_map(|(a, b, x, y)| PairEpoch {
        baseline_propensity: a,
        candidate_propensity: b,
        baseline_events: x,
        candidate_events: y,
    });
    prop::collection::vec(pair, 0..5)
}

fn any_amounts() -> impl Strategy<Value = Amounts> {
    (any_number(), count(), count(), any_number(), any_number()).prop_map(
        |(propensity, exposures, rewarded, sum, squares)| Amounts { propensity, exposures, rewarded, sum, squares },
    )
}

/// Amounts of a mean and a deviation, of which there are enough.
fn amounts() -> impl Strategy<Value = Amounts> {
    (share(), 100..100_000_u64, -5.0..5.0, 0.1..3.0).prop_map(|(propensity, exposures, mean, deviation)| {
        let n = exposures as f64;
        let squares = n * (mean * mean + deviation * deviation);
        Amounts { propensity, exposures, rewarded: exposures, sum: n * mean, squares }
    })
}

/// The same cases on every run; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` explore further.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let chosen = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if chosen("PROPTEST_CASES") { default.cases } else { 128 },
        rng_seed: if chosen("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(5) },
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_process_is_nan_or_infinitely_sure_whatever_it_is_fed(
        claim in claim(), ratio in any_number(), margin in any_number(), epochs in prop::collection::vec(any_margin_epoch(), 0..6),
        trials in prop::collection::vec((count(), count(), any_number()), 0..6),
        shares_of in prop::collection::vec(prop::collection::vec((any_number(), count()), 0..4), 0..5),
        rewards in prop::collection::vec((any_number(), any_number(), any_number(), count(), count(), count(), count()), 0..5),
    ) {
        if let Some(mut process) = Margin::new(claim, ratio, margin) {
            epochs.iter().for_each(|epoch| process.push(epoch));
            prop_assert!(process.log_e().is_finite(), "{ratio} {margin} {epochs:?}: {}", process.log_e());
        }
        for grid in [tilts(), effects(), shares(), bets()] {
            let mut all = [Tilted::new(claim, grid), Tilted::violated_plain(grid)];
            for process in &mut all {
                trials.iter().for_each(|(events, trials, theta)| process.push(*events, *trials, *theta));
                // Nothing is left where the impossible happened; certainty of the claim there is not.
                prop_assert!(!process.log_e().is_nan() && process.log_e() < f64::INFINITY, "{trials:?}");
            }
        }
        let mut sample_ratio = SampleRatio::new(3);
        shares_of.iter().for_each(|epoch| sample_ratio.push(epoch));
        prop_assert!(!sample_ratio.log_e().is_nan() && sample_ratio.log_e() < f64::INFINITY, "{shares_of:?}");
        let mut better = Better::default();
        for (centre, a, b, n_a, k_a, n_b, k_b) in &rewards {
            let arm = |propensity: f64, exposures: u64, rewarded: u64| Arm { propensity, exposures, rewarded };
            better.push(&RewardEpoch { centre: *centre, a: arm(*a, *n_a, *k_a), b: arm(*b, *n_b, *k_b) });
        }
        prop_assert!(better.log_e().is_finite(), "{rewards:?}");
    }

    #[test]
    fn wealth_of_any_finite_factors_is_a_number(
        factors in prop::collection::vec(prop_oneof![-1e15..1e15, -50.0..50.0, Just(0.0)], 0..40), restarting: bool,
    ) {
        let mut wealth = if restarting { Wealth::restarting(tilts()) } else { Wealth::plain(tilts()) };
        for factor in &factors {
            wealth.push(|i, _| *factor * (1.0 + i as f64 / 40.0));
        }
        prop_assert_eq!(wealth.epochs() as usize, factors.len());
        prop_assert!(wealth.log_e().is_finite(), "{}", wealth.log_e());
        // What waits for later restarts is never lost.
        prop_assert!(!restarting || wealth.log_e() >= -((factors.len() + 1) as f64).ln() - 1e-12);
    }

    #[test]
    fn whose_an_event_is_has_a_probability_or_none(ratio in any_number(), a in any_number(), b in any_number()) {
        prop_assert!(owner(ratio, a, b).is_none_or(|theta| (0.0..=1.0).contains(&theta)));
        if let (Some(there), Some(back)) = (owner(ratio, a, b), owner(1.0 / ratio, b, a)) {
            prop_assert!((there + back - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn intervals_of_any_counts_are_ordered_and_hold_what_was_observed(
        bad in count(), exposures in count(), alpha in any_number(),
        epochs in prop::collection::vec((any_number(), any_number(), count(), count()), 0..5),
    ) {
        let (low, high) = rate::interval(bad, exposures, alpha);
        prop_assert!(0.0 <= low && low <= high && high <= 1.0, "{bad} {exposures} {alpha}: {low} {high}");
        if exposures > 0 {
            let observed = bad.min(exposures) as f64 / exposures as f64;
            prop_assert!(low <= observed && observed <= high);
        }
        let epochs: Vec<_> = epochs.into_iter().map(|(a, b, x, y)| PairEpoch {
            baseline_propensity: a, candidate_propensity: b, baseline_events: x, candidate_events: y }).collect();
        for grid in [tilts(), effects()] {
            let (low, high) = ratio_interval(&epochs, alpha, grid);
            prop_assert!(low >= 0.0 && !high.is_nan(), "{epochs:?} {alpha}: {low} {high}");
            // Doubles cannot say whose one event of 10¹⁹ was.
            if epochs.iter().all(|epoch| epoch.baseline_events <= HUGE && epoch.candidate_events <= HUGE) {
                prop_assert!(low <= high, "{epochs:?} {alpha}: {low} {high}");
                let mut turned = epochs.clone();
                turned.reverse();
                let (l, h) = ratio_interval(&turned, alpha, grid);
                prop_assert!((low == l || (low / l - 1.0).abs() < 1e-6) && (high == h || (high / h - 1.0).abs() < 1e-6), "{low} {l}, {high} {h}");
            }
        }
    }

    #[test]
    fn more_confidence_is_a_wider_interval_and_more_events_a_higher_one(
        bad in 0..500_u64, good in 0..50_000_u64, pairs in pairs(300), alpha in 1e-6..0.5, factor in 0.01..0.9,
    ) {
        let of = |bad: u64, alpha: f64| rate::interval(bad, bad + good, alpha);
        let ((low, high), (l, h)) = (of(bad, alpha), of(bad, alpha * factor));
        prop_assert!(l <= low + 1e-9 && high <= h + 1e-9);
        let (l, h) = of(bad + 1, alpha);
        prop_assert!(l >= low - 1e-9 && h >= high - 1e-9, "{low} {l} {high} {h}");
        let ((low, high), (l, h)) = (ratio_interval(&pairs, alpha, tilts()), ratio_interval(&pairs, alpha * factor, tilts()));
        prop_assert!(l <= low * (1.0 + 1e-8) && high <= h * (1.0 + 1e-8));
        if let Some(first) = pairs.first() {
            let mut more = pairs.clone();
            more[0] = PairEpoch { candidate_events: first.candidate_events + 1, ..*first };
            let (l, h) = ratio_interval(&more, alpha, tilts());
            prop_assert!(l >= low * (1.0 - 1e-8) && h >= high * (1.0 - 1e-8), "{low} {l} {high} {h}");
        }
    }

    #[test]
    fn an_interval_excludes_what_evidence_refutes(pairs in pairs(300), ratio in 0.05..20.0) {
        // An e-value that reaches 2/α on a side is an interval that ends before the ratio.
        let (low, high) = ratio_interval(&pairs, 0.05, tilts());
        let bar = 40_f64.ln();
        let (above, below) = (compare::log_e_violated_plain(&pairs, ratio), compare::log_e_met(&pairs, ratio));
        prop_assert!(above < bar - 1e-6 || low >= ratio * (1.0 - 1e-6), "{above} {low} {ratio}");
        prop_assert!(below < bar - 1e-6 || high <= ratio * (1.0 + 1e-6), "{below} {high} {ratio}");
        prop_assert!(low <= ratio || above >= bar - 1e-6);
        prop_assert!(high >= ratio || below >= bar - 1e-6);
    }

    #[test]
    fn a_candidates_bad_exposure_speaks_for_violated_and_a_baselines_for_met(
        epochs in prop::collection::vec((share(), share(), 0..200_u64, 0..200_u64, 1..2_000_u64), 1..5),
        at in any::<prop::sample::Index>(), ratio in 0.5..5.0, margin in 0.0..0.3,
    ) {
        let epochs: Vec<_> = epochs.into_iter().map(|(a, b, of_a, of_b, good)| MarginEpoch {
            baseline_propensity: a, candidate_propensity: b, exposures: of_a + of_b + good, baseline_bad: of_a, candidate_bad: of_b }).collect();
        let of = |claim: Claim, epochs: &[MarginEpoch]| {
            let mut process = Margin::new(claim, ratio, margin).unwrap();
            epochs.iter().for_each(|epoch| process.push(epoch));
            process.log_e()
        };
        let i = at.index(epochs.len());
        let (mut worse, mut base) = (epochs.clone(), epochs.clone());
        worse[i].candidate_bad += 1;
        base[i].baseline_bad += 1;
        prop_assert!(of(Claim::Violated, &worse) >= of(Claim::Violated, &epochs) - 1e-9);
        prop_assert!(of(Claim::Met, &worse) <= of(Claim::Met, &epochs) + 1e-9);
        prop_assert!(of(Claim::Violated, &base) <= of(Claim::Violated, &epochs) + 1e-9);
        prop_assert!(of(Claim::Met, &base) >= of(Claim::Met, &epochs) - 1e-9);
        // Without restarts the order of epochs is nothing.
        let mut turned = epochs.clone();
        turned.reverse();
        prop_assert!(close(of(Claim::Met, &epochs), of(Claim::Met, &turned)));
    }

    #[test]
    fn the_order_of_versions_is_nothing_to_the_sample_ratio(
        epochs in prop::collection::vec((1..8_000_u32, 1..1_999_u32, prop::array::uniform3(0..5_000_u64)), 1..6), turn in 0..3_usize,
    ) {
        let (mut straight, mut turned) = (SampleRatio::new(3), SampleRatio::new(3));
        for (first, second, exposures) in epochs {
            let weights = [first, second, 10_000 - first - second];
            let mut epoch: Vec<(f64, u64)> = weights.iter().zip(exposures).map(|(w, n)| (f64::from(*w) / 1e4, n)).collect();
            straight.push(&epoch);
            epoch.rotate_left(turn);
            turned.push(&epoch);
        }
        prop_assert!(close(straight.log_e(), turned.log_e()));
    }

    #[test]
    fn amounts_of_any_size_are_a_difference_or_nothing(
        epochs in prop::collection::vec((any_amounts(), any_amounts()), 0..5), frozen in any_number(), alpha in any_number(),
    ) {
        let epochs: Vec<_> = epochs.into_iter().map(|(a, b)| AmountEpoch { a, b }).collect();
        if let Some(found) = difference(&epochs) {
            prop_assert!(found.mean.is_finite() && found.exposures.is_finite() && found.variance > 0.0);
            prop_assert!(found.log_e_better(frozen, alpha).is_finite(), "{found:?} {frozen} {alpha}");
            prop_assert!(found.log_e_better(found.variance, 0.05).is_finite(), "{found:?}");
            for (low, high) in [found.interval(frozen, alpha), found.interval(found.variance, 0.05)].into_iter().flatten() {
                prop_assert!(low <= high, "{found:?} {frozen} {alpha}: {low} {high}");
            }
        }
    }

    #[test]
    fn amounts_know_no_unit_no_order_and_no_names(
        epochs in prop::collection::vec((amounts(), amounts()), 1..5), factor in prop_oneof![0.001..1000.0, Just(1e-6), Just(1e6)],
    ) {
        let of = |scale: f64, turned: bool, exchanged: bool| {
            let in_unit = |y: &Amounts| Amounts { sum: y.sum * scale, squares: y.squares * scale * scale, ..*y };
            let mut epochs: Vec<_> = epochs.iter().map(|(a, b)| AmountEpoch { a: in_unit(a), b: in_unit(b) }).collect();
            if turned { epochs.reverse(); }
            if exchanged { epochs.iter_mut().for_each(|epoch| std::mem::swap(&mut epoch.a, &mut epoch.b)); }
            difference(&epochs).unwrap()
        };
        let first = of(1.0, false, false);
        let near = |x: f64, y: f64, size: f64| (x - y).abs() <= 1e-9 * size.abs().max(x.abs());
        let e = first.log_e_better(first.variance, 0.05);
        let (low, high) = first.interval(first.variance, 0.05).unwrap();
        let deviation = first.variance.sqrt() / first.exposures;
        for (other, scale, sign) in [(of(factor, false, false), factor, 1.0), (of(1.0, true, false), 1.0, 1.0), (of(1.0, false, true), 1.0, -1.0)] {
            prop_assert!(near(first.mean * sign * scale, other.mean, deviation * scale + 5.0 * scale));
            prop_assert!(near(first.variance * scale * scale, other.variance, 0.0));
            let (l, h) = other.interval(other.variance, 0.05).unwrap();
            let expected = if sign > 0.0 { (low, high) } else { (-high, -low) };
            prop_assert!(near(expected.0 * scale, l, 20.0 * scale) && near(expected.1 * scale, h, 20.0 * scale));
            if sign > 0.0 {
                prop_assert!((e - other.log_e_better(other.variance, 0.05)).abs() <= 1e-6 * (1.0 + e.abs()));
            }
        }
    }

    #[test]
    fn a_bucket_closes_once_whatever_the_looks(
        looks in prop::collection::vec(prop::collection::vec((1..4_u32, prop::collection::vec(0..400_u16, 0..12), prop::collection::vec(0..400_u16, 0..12)), 0..4), 1..6),
        wild in prop::collection::vec(any::<u16>(), 0..20),
    ) {
        let mut closing = Closing::default();
        let mut shown: std::collections::BTreeSet<u16> = std::collections::BTreeSet::new();
        for look in &looks {
            let before = closing.clone();
            let mut mirrored = closing.clone();
            closing.look(look.iter().map(|(epoch, a, b)| EpochBuckets { epoch: *epoch, baseline: a, candidate: b }));
            mirrored.look(look.iter().rev().map(|(epoch, a, b)| EpochBuckets { epoch: *epoch, baseline: a, candidate: b }));
            prop_assert_eq!(&closing, &mirrored, "the order of epochs in a look");
            shown.extend(look.iter().flat_map(|(_, a, b)| a.iter().chain(b)));
            prop_assert_eq!(closing.closed(), shown.len() as u64);
            prop_assert!(closing.closed() >= before.closed());
            let again = closing.look(look.iter().map(|(epoch, a, b)| EpochBuckets { epoch: *epoch, baseline: a, candidate: b }));
            prop_assert!(!again, "a second look at the same shows nothing new");
        }
        let all = |first: FirstEvents| first.baseline + first.candidate + first.ties;
        prop_assert_eq!((0..5).map(|epoch| all(closing.first_events(epoch))).sum::<u64>(), closing.closed());
        closing.look([EpochBuckets { epoch: u32::MAX, baseline: &wild, candidate: &wild }]);
        prop_assert!(closing.closed() <= u64::from(MAX_BUCKETS));
    }

    #[test]
    fn counts_of_first_events_never_overflow(baseline in any::<u64>(), candidate in any::<u64>(), ties in any::<u64>()) {
        let first = FirstEvents { baseline, candidate, ties };
        for (events, all) in [first.for_more(), first.for_fewer()] {
            prop_assert!(events <= all);
        }
    }

    #[test]
    fn one_of_several_is_beaten_by_a_mean_that_no_extreme_spoils(log_es in prop::collection::vec(any_number(), 0..6), versions in 0..20_usize) {
        let mean = log_mean_e(&log_es, versions);
        prop_assert!(!mean.is_nan());
        let largest = log_es.iter().copied().filter(|x| !x.is_nan()).fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(mean <= largest + 1e-9, "a mean is at most the largest: {mean} {largest}");
        let mut turned = log_es.clone();
        turned.reverse();
        prop_assert!(close(mean, log_mean_e(&turned, versions)));
    }

    #[test]
    fn pairs_of_any_posteriors_compare_in_order(
        shapes in prop::array::uniform4(prop_oneof![0.1..3.0, 0.5..1e9, Just(1e15)]),
        of_mean in (-1e9..1e9, prop_oneof![1e-9..1e9, Just(1e150)], prop_oneof![1.0..3.0, 1.0..1e6, Just(1e15)]), mass in any_number(),
    ) {
        let beta = |at: usize| Posterior::from(Beta::new(shapes[at], shapes[at + 1]).unwrap());
        let student = Posterior::from(Student::new(of_mean.0, of_mean.1, of_mean.2).unwrap());
        for (a, b) in [(beta(0), beta(2)), (beta(0), student), (student, beta(2)), (student, student)] {
            let found = compare_profiles(&Profile::new(b), &Profile::new(a), mass);
            prop_assert!((0.0..=1.0).contains(&found.greater), "{found:?}");
            prop_assert!(found.difference.0 <= found.difference.1, "{found:?}");
            prop_assert!(found.lift.is_none_or(|(low, high)| low <= high), "{found:?}");
            prop_assert!(!a.mean().is_nan());
        }
    }
}

#[test]
fn equal_shares_of_any_number_are_shares() {
    assert!(uniform(0).is_empty());
    for n in [1, 2, 3, 7, 16, 1_000] {
        let shares = uniform(n);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && shares.iter().all(|share| *share == shares[0]));
    }
}
