//! What must hold for all inputs: total functions, and invariance under order, relabelling and merging. Native only: the
//! same code runs in Wasm, and the golden tables check that it has the same bits there.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failing helper fails its test")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use weir_stats::allocate::thompson;
use weir_stats::belief::{
    Contender, Posterior, Stratum, best_and_feasible, expected_loss, lift_interval, probability_greater, standardised,
};
use weir_stats::best::log_mean_e;
use weir_stats::beta::Beta;
use weir_stats::compare::{self, PairEpoch};
use weir_stats::kernel::kernel;
use weir_stats::rate::{EpochRate, log_e_broken, log_e_broken_plain, log_e_met};
use weir_stats::reward::{Arm, RewardEpoch, log_e_better};

const HUGE: u64 = 1_000_000_000_000;

/// Counts of every size up to 10¹², small ones often.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..50_u64, 0..100_000_u64, 0..=HUGE, Just(HUGE)]
}

/// Any double at all, probabilities often.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..=1.0, Just(0.0), Just(1.0), Just(1e-300), any::<f64>()]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![0.0001..=1.0, Just(0.0001), Just(1.0)]
}

fn any_rate() -> impl Strategy<Value = EpochRate> {
    (count(), count()).prop_map(|(bad, exposures)| EpochRate { bad, exposures })
}

fn arm(propensity: impl Strategy<Value = f64>) -> impl Strategy<Value = Arm> {
    (propensity, count(), count()).prop_map(|(propensity, exposures, rewarded)| Arm { propensity, exposures, rewarded })
}

fn shape() -> impl Strategy<Value = f64> {
    prop_oneof![0.1..3.0, 0.5..1000.0, 0.5..1e9, Just(0.5), Just(0.1), Just(1e12), Just(1e15)]
}

fn any_beta() -> impl Strategy<Value = Beta> {
    (shape(), shape()).prop_map(|(a, b)| Beta::new(a, b).expect("within the domain"))
}

fn contender() -> impl Strategy<Value = Contender> {
    let phi = prop_oneof![0.0..=1.0, Just(0.0), Just(1.0)];
    (any_beta(), phi).prop_map(|(reward, feasible)| Contender { reward: reward.into(), feasible })
}

/// The belief about what is left to one.
fn complement(posterior: Posterior) -> Posterior {
    match posterior {
        Posterior::Rate(beta) => beta.complement().into(),
        Posterior::Mean(student) => student.negated().into(),
    }
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

/// The same cases on every run; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` explore further.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let chosen = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if chosen("PROPTEST_CASES") { default.cases } else { 64 },
        rng_seed: if chosen("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(2) },
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn evidence_is_never_nan_whatever_comes_in(
        rates in prop::collection::vec(any_rate(), 0..6),
        limit in any_number(),
        pairs in prop::collection::vec((any_number(), any_number(), count(), count()), 0..5),
        rewards in prop::collection::vec((any_number(), arm(any_number()), arm(any_number())), 0..5),
        ratio in any_number(),
    ) {
        prop_assert!(!kernel(limit, 3, 5, ratio).is_nan());
        for log_e in [log_e_broken(&rates, limit), log_e_broken_plain(&rates, limit), log_e_met(&rates, limit)] {
            prop_assert!(!log_e.is_nan());
            prop_assert!(log_e < f64::INFINITY);
        }
        let pairs: Vec<_> = pairs.into_iter().map(|(a, b, x, y)| PairEpoch {
            baseline_propensity: a, candidate_propensity: b, baseline_events: x, candidate_events: y }).collect();
        prop_assert!(compare::log_e_violated(&pairs, ratio).is_finite());
        prop_assert!(compare::log_e_met(&pairs, ratio).is_finite());
        let rewards: Vec<_> = rewards.into_iter().map(|(centre, a, b)| RewardEpoch { centre, a, b }).collect();
        prop_assert!(log_e_better(&rewards).is_finite());
        prop_assert!(!log_mean_e(&[limit, ratio], 3).is_nan());
    }

    #[test]
    fn beliefs_are_never_nan_and_stay_in_range(
        d in any_beta(), x in any_number(), p in any_number(),
        strata in prop::collection::vec((any_number(), count(), count()), 0..5),
        odd in prop::collection::vec(any_number(), 0..6),
    ) {
        prop_assert!(!d.pdf(x).is_nan() && d.pdf(x) >= 0.0);
        for probability in [d.cdf(x), d.quantile(p), d.interval(p).0, d.interval(p).1] {
            prop_assert!((0.0..=1.0).contains(&probability), "{d:?} {x} {p} {probability}");
        }
        prop_assert!(d.interval(p).0 <= d.interval(p).1);
        let strata: Vec<_> = strata.into_iter()
            .map(|(propensity, exposures, events)| Stratum { propensity, exposures, events }).collect();
        let s = standardised(&strata);
        let exposures: f64 = strata.iter().map(|stratum| stratum.exposures as f64).sum();
        prop_assert!(s.rate.is_none_or(|rate| (0.0..=1.0).contains(&rate)));
        prop_assert!(s.effective_exposures >= 0.0 && s.effective_exposures <= exposures * (1.0 + 1e-12));
        prop_assert!(close(s.posterior.alpha + s.posterior.beta, s.effective_exposures + 1.0));
        let shares = thompson(&odd);
        prop_assert!(shares.iter().all(|w| (0.0..=1.0).contains(w)));
        prop_assert!(odd.is_empty() || close(shares.iter().sum(), 1.0));
    }

    #[test]
    fn a_quantile_is_the_inverse_of_the_distribution_function(
        a in prop_oneof![0.5..1000.0, 0.5..1e6], b in prop_oneof![0.5..1000.0, 0.5..1e6], p in 1e-6..0.999_999,
    ) {
        let d = Beta::new(a, b).expect("within the domain");
        let x = d.quantile(p);
        // Near one, a step of `x` by its last bit may carry more probability than this.
        let last_bit = d.pdf(x) * x * 4e-16;
        prop_assert!((d.cdf(x) - p).abs() <= 1e-11 + last_bit.min(1e-6), "{d:?} {p} {x} {}", d.cdf(x));
        // Near an end, 1 − x loses what x knows.
        prop_assert!(!(0.01..=0.99).contains(&x) || close(d.cdf(x), 1.0 - d.complement().cdf(1.0 - x)));
    }

    #[test]
    fn probabilities_of_being_best_sum_to_one(contenders in prop::collection::vec(contender(), 1..7), maximize: bool) {
        let found = best_and_feasible(&contenders, maximize);
        let with_none = found.best_and_feasible.iter().sum::<f64>() + found.none_feasible;
        prop_assert!((with_none - 1.0).abs() < 1e-6, "{with_none}");
        prop_assert!((found.best.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        for ((feasible, best), contender) in found.best_and_feasible.iter().zip(&found.best).zip(&contenders) {
            // A feasible version is best and feasible whenever it is best at all.
            prop_assert!(*feasible >= best * contender.feasible - 1e-9);
            prop_assert!(*feasible <= contender.feasible + 1e-9);
        }
    }

    #[test]
    fn the_order_of_contenders_changes_not_a_bit(
        (contenders, turn) in prop::collection::vec(contender(), 1..7).prop_flat_map(|c| { let n = c.len(); (Just(c), 0..n) }),
        maximize: bool,
    ) {
        let straight = best_and_feasible(&contenders, maximize);
        let mut turned = contenders;
        turned.rotate_left(turn);
        let mut again = best_and_feasible(&turned, maximize);
        again.best.rotate_right(turn);
        again.best_and_feasible.rotate_right(turn);
        again.expected_loss.rotate_right(turn);
        prop_assert_eq!(straight, again);
    }

    #[test]
    fn minimising_is_maximising_the_complement(contenders in prop::collection::vec(contender(), 1..5)) {
        let mirrored: Vec<_> = contenders.iter()
            .map(|c| Contender { reward: complement(c.reward), feasible: c.feasible }).collect();
        prop_assert_eq!(best_and_feasible(&contenders, false), best_and_feasible(&mirrored, true));
        let (rewards, opposite): (Vec<_>, Vec<_>) = contenders.iter().map(|c| (c.reward, complement(c.reward))).unzip();
        prop_assert_eq!(expected_loss(&rewards, false), expected_loss(&opposite, true));
    }

    #[test]
    fn one_is_greater_or_the_other(a in any_beta(), b in any_beta()) {
        let (a, b) = (a.into(), b.into());
        prop_assert!((probability_greater(a, b) + probability_greater(b, a) - 1.0).abs() < 1e-6);
        prop_assert!((probability_greater(a, a) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn more_bad_events_are_more_evidence_of_broken_and_less_of_met(
        rates in prop::collection::vec((0..1000_u64, 0..1000_u64), 1..6), at in any::<prop::sample::Index>(), limit in 0.0001..0.9,
    ) {
        let mut epochs: Vec<_> = rates.into_iter()
            .map(|(bad, good)| EpochRate { bad, exposures: bad + good + 1 }).collect();
        let before = (log_e_broken(&epochs, limit), log_e_broken_plain(&epochs, limit), log_e_met(&epochs, limit));
        let i = at.index(epochs.len());
        epochs[i].bad += 1;
        prop_assert!(log_e_broken(&epochs, limit) >= before.0);
        prop_assert!(log_e_broken_plain(&epochs, limit) > before.1);
        prop_assert!(log_e_met(&epochs, limit) < before.2);
    }

    #[test]
    fn a_stricter_limit_is_broken_sooner_and_met_later(
        rates in prop::collection::vec((0..100_u64, 0..1000_u64), 1..6), limit in 0.001..0.5, factor in 1.01..1.9,
    ) {
        let epochs: Vec<_> = rates.into_iter().map(|(bad, good)| EpochRate { bad, exposures: bad + good }).collect();
        prop_assert!(log_e_broken(&epochs, limit) >= log_e_broken(&epochs, limit * factor) - 1e-12);
        prop_assert!(log_e_met(&epochs, limit) <= log_e_met(&epochs, limit * factor) + 1e-12);
    }

    #[test]
    fn splitting_or_reordering_an_epoch_changes_no_plain_evidence(
        parts in prop::collection::vec((0..500_u64, 0..5000_u64), 1..8), limit in 0.001..0.5,
    ) {
        let epochs: Vec<_> = parts.iter().map(|&(bad, good)| EpochRate { bad, exposures: bad + good }).collect();
        let mut reversed = epochs.clone();
        reversed.reverse();
        let whole = [EpochRate {
            bad: epochs.iter().map(|e| e.bad).sum(),
            exposures: epochs.iter().map(|e| e.exposures).sum(),
        }];
        for evidence in [log_e_broken_plain, log_e_met] {
            prop_assert_eq!(evidence(&epochs, limit), evidence(&whole, limit));
            prop_assert_eq!(evidence(&epochs, limit), evidence(&reversed, limit));
        }
    }

    #[test]
    fn relabelling_rewards_and_versions_together_changes_nothing(
        epochs in prop::collection::vec((0.01..0.99, share(), 0..500_u64, 0..500_u64, share(), 0..500_u64, 0..500_u64), 0..5),
    ) {
        // "b is rewarded more often than a" is "a is unrewarded more often than b".
        let arm = |propensity, paid, unpaid| Arm { propensity, exposures: paid + unpaid, rewarded: paid };
        let straight: Vec<_> = epochs.iter().map(|&(centre, wa, pa, ua, wb, pb, ub)| RewardEpoch {
            centre, a: arm(wa, pa, ua), b: arm(wb, pb, ub) }).collect();
        let exchanged: Vec<_> = epochs.iter().map(|&(centre, wa, pa, ua, wb, pb, ub)| RewardEpoch {
            centre: 1.0 - centre, a: arm(wb, ub, pb), b: arm(wa, ua, pa) }).collect();
        prop_assert!(close(log_e_better(&straight), log_e_better(&exchanged)));
        let mut reversed = straight.clone();
        reversed.reverse();
        prop_assert!(close(log_e_better(&straight), log_e_better(&reversed)));
    }

    #[test]
    fn a_reward_more_for_the_better_version_is_more_evidence(
        centre in 0.01..0.99, wa in share(), wb in share(), na in 1..500_u64, ka in 0..500_u64, nb in 1..500_u64, kb in 0..500_u64,
    ) {
        let epoch = |ka: u64, kb: u64| [RewardEpoch {
            centre,
            a: Arm { propensity: wa, exposures: na, rewarded: ka },
            b: Arm { propensity: wb, exposures: nb, rewarded: kb },
        }];
        let (ka, kb) = (ka % na, kb % nb);
        prop_assert!(log_e_better(&epoch(ka, kb + 1)) > log_e_better(&epoch(ka, kb)));
        prop_assert!(log_e_better(&epoch(ka + 1, kb)) < log_e_better(&epoch(ka, kb)));
    }
}

proptest! {
    // Each interval is some thirty integrals: fewer cases.
    #![proptest_config(ProptestConfig { cases: config().cases / 5, ..config() })]

    #[test]
    fn an_interval_of_the_lift_is_an_interval_and_mirrors(a in any_beta(), b in any_beta(), mass in any_number()) {
        let counted = [a.alpha, a.beta, b.alpha, b.beta].iter().all(|shape| *shape >= 0.5);
        let (a, b) = (a.into(), b.into());
        let (low, high) = lift_interval(b, a, mass).expect("a rate is never below zero");
        prop_assert!(-1.0 <= low && low <= high, "{low} {high}");
        let (mirrored_low, mirrored_high) = lift_interval(a, b, mass).expect("nor this one");
        prop_assert!(!mirrored_low.is_nan() && !mirrored_high.is_nan());
        // A lift next to −1 has lost the digits of the ratio; shapes that no counts give have a pole in the ratio's density.
        if low > -0.999 && mirrored_high > -0.999 && high.is_finite() && counted {
            // The ends' probabilities are exact to 1e-6; where a tail is flat that is more of the ratio.
            let outside = 0.5 * (1.0 - mass.clamp(0.0, 1.0));
            let allowed = 1e-6 * (1.0 + 0.5 / outside);
            prop_assert!(((1.0 + low) * (1.0 + mirrored_high) - 1.0).abs() < allowed, "{low} {mirrored_high}");
        }
    }
}

#[test]
fn epochs_without_weight_for_both_are_no_evidence() {
    let arm = |propensity| Arm { propensity, exposures: 100, rewarded: 90 };
    for (wa, wb) in [(0.0, 0.5), (0.5, 0.0), (f64::NAN, 0.5), (0.5, 1.5), (-0.1, 0.5)] {
        let e = log_e_better(&[RewardEpoch { centre: 0.1, a: arm(wa), b: arm(wb) }]);
        assert!(e.abs() < 1e-14, "{wa} {wb}: {e}");
        let pair =
            PairEpoch { baseline_propensity: wa, candidate_propensity: wb, baseline_events: 0, candidate_events: 50 };
        assert!(compare::log_e_violated(&[pair], 1.0).abs() < 1e-14);
    }
}

#[test]
fn inputs_that_once_gave_nan_do_not() {
    assert_eq!(kernel(1e23, 0, 5, -0.0), 0.0);
    let arm = Arm { propensity: 1.0, exposures: 1, rewarded: 0 };
    assert!(log_e_better(&[RewardEpoch { centre: -0.0, a: arm, b: arm }]).is_finite());
    let d = Beta::new(1e15, 0.5).expect("within the domain");
    assert!(d.interval(0.138_499_340_665_406_65).0 <= d.interval(0.138_499_340_665_406_65).1);
}

#[test]
fn an_overwhelming_difference_is_found() {
    // A total function might as well return zero: these must not.
    let arm = |rewarded| Arm { propensity: 0.5, exposures: 1000, rewarded };
    assert!(log_e_better(&[RewardEpoch { centre: 0.15, a: arm(100), b: arm(200) }]) > 8.0);
    assert!(log_e_better(&[RewardEpoch { centre: 0.15, a: arm(200), b: arm(100) }]) < 0.0);
    assert!(log_e_broken(&[EpochRate { bad: HUGE / 100, exposures: HUGE }], 0.001) > 1e9);
    assert!(log_e_met(&[EpochRate { bad: HUGE / 10_000, exposures: HUGE }], 0.001) > 1e8);
}

#[test]
fn a_distribution_outside_the_domain_is_refused() {
    for (a, b) in [(0.0, 1.0), (-1.0, 2.0), (f64::NAN, 1.0), (1.0, f64::INFINITY), (1e16, 1.0), (1.0, 0.05)] {
        assert!(Beta::new(a, b).is_none(), "{a} {b}");
    }
}

#[test]
fn no_exposures_leave_the_prior_and_no_rate() {
    let s = standardised(&[Stratum { propensity: 0.5, exposures: 0, events: 3 }]);
    assert_eq!((s.rate, s.effective_exposures, s.posterior), (None, 0.0, Beta::JEFFREYS));
}

#[test]
fn the_prior_is_applied_once_however_many_strata() {
    let strata = [Stratum { propensity: 0.5, exposures: 100, events: 1 }; 500];
    let s = standardised(&strata);
    assert!((s.effective_exposures - 50_000.0).abs() < 1e-6);
    assert!((s.posterior.alpha - 500.5).abs() < 1e-9, "{:?}", s.posterior);
}

#[test]
fn standardising_undoes_a_shift_of_weights_during_drift() {
    // Rates fall from 20% to 10% in both halves; the version had most of its traffic in the first.
    let strata = [
        Stratum { propensity: 0.9, exposures: 9000, events: 1800 },
        Stratum { propensity: 0.1, exposures: 1000, events: 100 },
    ];
    let s = standardised(&strata);
    assert!((s.rate.expect("exposures") - 0.15).abs() < 1e-12);
    // (9000/0.9 + 1000/0.1)² / (9000/0.81 + 1000/0.01).
    assert!((s.effective_exposures - 4e8 / (9000.0 / 0.81 + 1e5)).abs() < 1e-6);
}
