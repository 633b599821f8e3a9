//! What must hold for beliefs whatever comes in: total functions, and invariance under order, units and relabelling. Native
//! only: the golden tables check that Wasm computes the same.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing helper fails its test")]

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use weir_stats::allocate::{thompson, top_two};
use weir_stats::belief::{
    Contender, Posterior, Profile, best_and_feasible, compare, difference_interval, expected_loss, lift_interval,
    probability_greater, probability_within,
};
use weir_stats::beta::Beta;
use weir_stats::quantile::{Bucket, quantile, quantile_bounds};
use weir_stats::student::{MeanStratum, Student, standardised_mean};

const HUGE: u64 = 1_000_000_000_000;

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..50_u64, 0..100_000_u64, 0..=HUGE, Just(HUGE)]
}

/// Any double at all, ordinary ones often.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..=1.0, -100.0..100.0, Just(0.0), Just(1e-300), any::<f64>()]
}

fn student() -> impl Strategy<Value = Student> {
    let degrees = prop_oneof![2.0..10.0, 10.0..1000.0, Just(1e6), Just(1e12)];
    (-20.0..20.0, prop_oneof![0.01..10.0, 0.5..2.0], degrees).prop_map(|(m, s, d)| Student::new(m, s, d).unwrap())
}

/// Whatever the constructor lets through.
fn wild_student() -> impl Strategy<Value = Student> {
    let location = prop_oneof![-1e9..1e9, Just(1e150), Just(-1e150), Just(0.0)];
    let scale = prop_oneof![1e-9..1e9, Just(1e-150), Just(1e150)];
    (location, scale, prop_oneof![1.0..3.0, Just(1.0), Just(1e15), 1.0..1e6])
        .prop_map(|(m, s, d)| Student::new(m, s, d).unwrap())
}

fn shape() -> impl Strategy<Value = f64> {
    prop_oneof![0.1..3.0, 0.5..1000.0, 0.5..1e9, Just(0.5), Just(0.1), Just(1e12), Just(1e15)]
}

fn any_beta() -> impl Strategy<Value = Beta> {
    (shape(), shape()).prop_map(|(a, b)| Beta::new(a, b).unwrap())
}

/// What counts give.
fn counted_beta() -> impl Strategy<Value = Beta> {
    let small = prop_oneof![0.5..1.5, 0.5..30.0, 0.5..1000.0];
    (small.clone(), prop_oneof![small, 100.0..1e6]).prop_map(|(a, b)| Beta::new(a, b).unwrap())
}

fn any_posterior() -> impl Strategy<Value = Posterior> {
    prop_oneof![
        any_beta().prop_map(Posterior::from),
        student().prop_map(Posterior::from),
        wild_student().prop_map(Posterior::from)
    ]
}

fn times(student: Student, factor: f64) -> Posterior {
    Student::new(student.location * factor, student.scale * factor, student.degrees).unwrap().into()
}

/// The same cases on every run; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` explore further.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let chosen = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if chosen("PROPTEST_CASES") { default.cases } else { 64 },
        rng_seed: if chosen("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(3) },
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_belief_is_nan_whatever_comes_in(
        posteriors in prop::collection::vec(any_posterior(), 0..5), mass in any_number(), maximize: bool,
        ratio in any_number(), margin in any_number(), rates in (any_beta(), any_beta()),
    ) {
        let contenders: Vec<_> = posteriors.iter().map(|reward| Contender { reward: *reward, feasible: ratio }).collect();
        let found = best_and_feasible(&contenders, maximize);
        for p in found.best.iter().chain(&found.best_and_feasible).chain([&found.none_feasible]) {
            prop_assert!((0.0..=1.0).contains(p), "{p}");
        }
        prop_assert!(expected_loss(&posteriors, maximize).iter().all(|loss| *loss >= 0.0));
        for (a, b) in posteriors.iter().zip(posteriors.iter().skip(1)) {
            prop_assert!((0.0..=1.0).contains(&probability_greater(*b, *a)));
            let (low, high) = difference_interval(*b, *a, mass);
            prop_assert!(low <= high, "{low} {high} {a:?} {b:?}");
            prop_assert!(lift_interval(*b, *a, mass).is_none_or(|(low, high)| low <= high), "{a:?} {b:?}");
            let (low, high) = a.interval(mass);
            prop_assert!(low <= high);
        }
        prop_assert!((0.0..=1.0).contains(&probability_within(rates.0, rates.1, ratio, margin)));
    }

    #[test]
    fn a_mean_of_any_counts_is_a_posterior_or_nothing(
        strata in prop::collection::vec((any_number(), count(), any_number(), any_number()), 0..5), x in any_number(), p in any_number(),
    ) {
        let strata: Vec<_> = strata.into_iter()
            .map(|(propensity, exposures, sum, sum_squares)| MeanStratum { propensity, exposures, sum, sum_squares }).collect();
        let found = standardised_mean(&strata);
        prop_assert!(found.mean.is_none_or(f64::is_finite));
        prop_assert!(found.effective_exposures >= 0.0 && found.effective_exposures.is_finite());
        if let Some(d) = found.posterior {
            prop_assert!((0.0..=1.0).contains(&d.cdf(x)) && d.pdf(x) >= 0.0 && !d.quantile(p).is_nan());
        }
    }

    #[test]
    fn quantiles_of_any_buckets_are_ordered(
        buckets in prop::collection::vec((any_number(), any_number(), count()), 0..6), q in any_number(), mass in any_number(),
    ) {
        let buckets: Vec<_> = buckets.into_iter().map(|(lower, upper, count)| Bucket { lower, upper, count }).collect();
        let mut turned = buckets.clone();
        turned.reverse();
        if let Some((low, high)) = quantile(&buckets, q) {
            prop_assert!(low <= high);
        }
        let bounds = quantile_bounds(&buckets, q, mass);
        prop_assert_eq!(bounds, quantile_bounds(&turned, q, mass));
        prop_assert!(bounds.is_none_or(|(low, high)| !low.is_nan() && !high.is_nan()));
    }

    #[test]
    fn a_student_quantile_is_the_inverse_of_its_distribution_function(d in student(), p in 1e-9..0.999_999) {
        prop_assert!((d.cdf(d.quantile(p)) - p).abs() <= 1e-9 * p.min(1.0 - p) + 1e-15 * (1.0 + d.location.abs() / d.scale));
    }

    #[test]
    fn a_thousand_of_a_smaller_unit_change_no_probability(
        students in prop::collection::vec((student(), 0.0..=1.0), 2..5), maximize: bool,
    ) {
        let with = |factor: f64| -> Vec<Contender> {
            students.iter().map(|(s, feasible)| Contender { reward: times(*s, factor), feasible: *feasible }).collect()
        };
        let (euros, mills) = (with(1.0), with(1000.0));
        let (x, y) = (best_and_feasible(&euros, maximize), best_and_feasible(&mills, maximize));
        for (x, y) in x.best.iter().chain(&x.best_and_feasible).zip(y.best.iter().chain(&y.best_and_feasible)) {
            prop_assert!((x - y).abs() < 1e-7, "{x} {y}");
        }
        let losses = |contenders: &[Contender]| expected_loss(&contenders.iter().map(|c| c.reward).collect::<Vec<_>>(), maximize);
        for (x, y) in losses(&euros).iter().zip(losses(&mills)) {
            prop_assert!((1000.0 * x - y).abs() < 1e-3, "{x} {y}");
        }
        let pair = |contenders: &[Contender]| compare(&Profile::new(contenders[0].reward), &Profile::new(contenders[1].reward), 0.9);
        let (x, y) = (pair(&euros), pair(&mills));
        let near = |x: f64, y: f64| (x - y).abs() <= 1e-5 * (1.0 + x.abs().max(y.abs()));
        prop_assert!(near(x.greater, y.greater) && near(1000.0 * x.difference.0, y.difference.0), "{x:?} {y:?}");
        prop_assert_eq!(x.lift.is_some(), y.lift.is_some());
        if let (Some(x), Some(y)) = (x.lift, y.lift) {
            prop_assert!(near(x.0, y.0) && near(x.1, y.1), "{x:?} {y:?}");
        }
    }

    #[test]
    fn relabelling_a_pair_mirrors_what_is_believed_of_it(
        (a, b) in prop_oneof![
            (student(), student()).prop_map(|(a, b)| (Posterior::from(a), Posterior::from(b))),
            (counted_beta(), counted_beta()).prop_map(|(a, b)| (Posterior::from(a), Posterior::from(b))),
        ],
        mass in 0.01..0.99,
    ) {
        let (of_a, of_b) = (Profile::new(a), Profile::new(b));
        let (straight, turned) = (compare(&of_b, &of_a, mass), compare(&of_a, &of_b, mass));
        prop_assert!((straight.greater + turned.greater - 1.0).abs() < 2e-6, "{straight:?} {turned:?}");
        prop_assert!((straight.greater - probability_greater(b, a)).abs() < 2e-6, "{straight:?}");
        let width = straight.difference.1 - straight.difference.0;
        prop_assert!((straight.difference.0 + turned.difference.1).abs() < 1e-3 * width, "{straight:?} {turned:?}");
        // What the interval leaves below it is what it should.
        if let (Posterior::Rate(a), Posterior::Rate(b)) = (a, b) {
            let below = probability_within(b, a, 1.0, straight.difference.0);
            prop_assert!((below - 0.5 * (1.0 - mass)).abs() < 3e-6, "{below}");
            let below = straight.lift.map(|(low, _)| probability_within(b, a, 1.0 + low, 0.0)).unwrap();
            prop_assert!((below - 0.5 * (1.0 - mass)).abs() < 3e-6, "{below}");
        }
    }

    #[test]
    fn a_looser_guardrail_is_kept_more_probably(b in counted_beta(), a in counted_beta(), ratio in 0.1..3.0, margin in -0.1..0.1) {
        let of = |ratio: f64, margin: f64| probability_within(b, a, ratio, margin);
        prop_assert!(of(ratio, margin) <= of(ratio, margin + 0.01) + 1e-6);
        prop_assert!(of(ratio, margin) <= of(ratio * 1.1, margin) + 1e-6);
    }

    #[test]
    fn shares_of_two_are_shares(best in prop::collection::vec(any_number(), 0..6), beta in any_number()) {
        let shares = top_two(&best, beta);
        prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
        prop_assert!(best.is_empty() || (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
        // First places alone are Thompson sampling's.
        for (x, y) in top_two(&best, 1.0).iter().zip(thompson(&best)) {
            prop_assert!((x - y).abs() < 2e-4);
        }
    }

    #[test]
    fn the_order_of_strata_and_units_of_a_sum_change_nothing(
        strata in prop::collection::vec((0.01..1.0, 2..500_u64, -5.0..5.0, 0.1..3.0), 1..5), factor in 0.001..1000.0,
    ) {
        let of = |factor: f64, turned: bool| {
            let mut strata: Vec<_> = strata.iter().map(|&(propensity, exposures, mean, deviation)| {
                let n = exposures as f64;
                MeanStratum { propensity, exposures, sum: n * mean * factor, sum_squares: n * (mean * mean + deviation * deviation) * factor * factor }
            }).collect();
            if turned { strata.reverse(); }
            standardised_mean(&strata).posterior
        };
        let near = |x: f64, y: f64| (x - y).abs() <= 1e-9 * (1.0 + x.abs().max(y.abs()));
        for other in [of(1.0, true), of(factor, false)] {
            match (of(1.0, false), other) {
                (Some(x), Some(y)) => {
                    let scale = y.scale / x.scale;
                    prop_assert!(near(scale, 1.0) || near(scale / factor, 1.0), "{scale}");
                    prop_assert!(near(x.degrees, y.degrees) && near(x.location * scale, y.location));
                }
                (x, y) => prop_assert!(x.is_none() && y.is_none()),
            }
        }
    }
}

#[test]
fn nothing_known_is_even() {
    assert!(best_and_feasible(&[], true).best.is_empty() && expected_loss(&[], true).is_empty());
    let prior = Posterior::from(Beta::JEFFREYS);
    assert!((probability_greater(prior, prior) - 0.5).abs() < 1e-7);
    let (low, high) = difference_interval(prior, prior, 0.95);
    assert!((low + high).abs() < 1e-4 && high > 0.9 && high < 1.0, "{low} {high}");
}

#[test]
fn a_ratio_to_a_mean_that_may_be_zero_is_no_lift() {
    let of = |location: f64| Posterior::from(Student::new(location, 1.0, 100.0).unwrap());
    assert!(lift_interval(of(5.0), of(2.0), 0.95).is_none());
    assert!(lift_interval(of(5.0), of(-9.0), 0.95).is_none());
    assert!(lift_interval(of(-5.0), of(9.0), 0.95).is_some_and(|(_, high)| high < -1.0));
}
