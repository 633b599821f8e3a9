//! Any counts and numbers: every evidence function answers with a number, every interval is in order.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use weir_fuzz::{count, number};
use weir_stats::amount::{AmountEpoch, Amounts, difference};
use weir_stats::compare::{self, PairEpoch, ratio_interval};
use weir_stats::kernel::{effects, tilts};
use weir_stats::margin::{Margin, MarginEpoch};
use weir_stats::process::Claim;
use weir_stats::quantile::{Bucket, quantile, quantile_bounds};
use weir_stats::rate;
use weir_stats::reward::{Arm, RewardEpoch, log_e_better};
use weir_stats::sample_ratio::SampleRatio;

fn run(bytes: &[u8]) -> Result<()> {
    let mut bytes = Unstructured::new(bytes);
    let bytes = &mut bytes;
    let (ratio, margin, alpha) = (number(bytes)?, number(bytes)?, number(bytes)?);
    let epochs = bytes.int_in_range(0..=6)?;
    let mut violated = Margin::new(Claim::Violated, ratio, margin);
    let mut met = Margin::new(Claim::Met, ratio, margin);
    let mut shares = SampleRatio::new(3);
    let (mut pairs, mut amounts, mut rewards, mut buckets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..epochs {
        let (w_a, w_b) = (number(bytes)?, number(bytes)?);
        let (n_a, n_b, k_a, k_b) = (count(bytes)?, count(bytes)?, count(bytes)?, count(bytes)?);
        let epoch = MarginEpoch {
            baseline_propensity: w_a,
            candidate_propensity: w_b,
            exposures: n_a + n_b,
            baseline_bad: k_a,
            candidate_bad: k_b,
        };
        violated.iter_mut().chain(&mut met).for_each(|process| process.push(&epoch));
        shares.push(&[(w_a, n_a), (w_b, n_b), (number(bytes)?, count(bytes)?)]);
        pairs.push(PairEpoch {
            baseline_propensity: w_a,
            candidate_propensity: w_b,
            baseline_events: k_a,
            candidate_events: k_b,
        });
        let mut of = |propensity, exposures, rewarded| -> Result<Amounts> {
            Ok(Amounts { propensity, exposures, rewarded, sum: number(bytes)?, squares: number(bytes)? })
        };
        amounts.push(AmountEpoch { a: of(w_a, n_a, k_a)?, b: of(w_b, n_b, k_b)? });
        let arm = |propensity, exposures, rewarded| Arm { propensity, exposures, rewarded };
        rewards.push(RewardEpoch { centre: number(bytes)?, a: arm(w_a, n_a, k_a), b: arm(w_b, n_b, k_b) });
        buckets.push(Bucket { lower: number(bytes)?, upper: number(bytes)?, count: n_a });
        let (low, high) = rate::interval(k_a, n_a, alpha);
        assert!((0.0..=high).contains(&low) && high <= 1.0, "{k_a} {n_a} {alpha}: {low} {high}");
    }
    for process in violated.iter().chain(&met) {
        assert!(process.log_e().is_finite(), "{process:?}");
    }
    assert!(!shares.log_e().is_nan() && shares.log_e() < f64::INFINITY);
    assert!(compare::log_e_violated(&pairs, ratio).is_finite() && compare::log_e_met(&pairs, ratio).is_finite());
    for grid in [tilts(), effects()] {
        let (low, high) = ratio_interval(&pairs, alpha, grid);
        assert!(low >= 0.0 && low <= high, "{pairs:?} {alpha}: {low} {high}");
    }
    assert!(log_e_better(&rewards).is_finite());
    if let Some(found) = difference(&amounts) {
        assert!(found.log_e_better(margin, alpha).is_finite(), "{found:?} {margin} {alpha}");
        assert!(found.interval(margin, alpha).is_none_or(|(low, high)| low <= high), "{found:?} {margin} {alpha}");
    }
    assert!(quantile(&buckets, alpha).is_none_or(|(low, high)| low <= high));
    assert!(quantile_bounds(&buckets, alpha, margin).is_none_or(|(low, high)| !low.is_nan() && !high.is_nan()));
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let _ = run(bytes);
});
