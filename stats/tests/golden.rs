//! The crate against reference tables from scipy and mpmath (`tests/golden/stats`, with their generator), and against the
//! golden numbers of the specification. The same checks run natively and as Wasm under Node.
//!
//! Each table's header names its tools and calls; the tolerances are here, at the comparison.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a failing helper fails its test")]

mod support;

use support::{Table, check_absolute, check_relative};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;
use weir_stats::belief::{self, Contender, best_and_feasible, expected_loss, probability_greater};
use weir_stats::beta::Beta;
use weir_stats::compare::{self, PairEpoch};
use weir_stats::rate::{self, EpochRate, log_e_broken, log_e_broken_plain};
use weir_stats::reward::{Arm, RewardEpoch, log_e_better};

fn beta(alpha: f64, beta: f64) -> Beta {
    Beta::new(alpha, beta).expect("shapes within the domain")
}

fn pair(baseline_propensity: f64, candidate_propensity: f64, baseline_events: u64, candidate_events: u64) -> PairEpoch {
    PairEpoch { baseline_propensity, candidate_propensity, baseline_events, candidate_events }
}

/// Card A's and card D's golden numbers as the specification prints them, with twelve decimals or nine.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_specifications_golden_numbers_come_out() {
    let three = [pair(0.99, 0.01, 40, 0), pair(0.95, 0.05, 60, 7), pair(0.75, 0.25, 31, 22)];
    let printed = [
        (compare::log_e_violated_plain(&[pair(0.5, 0.5, 3, 15)], 1.0), 3.518_213_145_976, 1e-12),
        (compare::log_e_violated_plain(&three, 1.0), 3.461_470_392_205, 1e-12),
        (compare::log_e_violated_plain(&three, 1.5), -0.159_761_826_146, 1e-12),
        (compare::log_e_violated_plain(&[pair(0.9, 0.1, 0, 4)], 1.0), 5.005_114_302_326, 1e-12),
        (log_e_broken_plain(&[EpochRate { bad: 0, exposures: 500 }], 0.01), -2.227_183_042, 1e-9),
        (rate::log_e_met(&[EpochRate { bad: 0, exposures: 500 }], 0.01), 3.334_477_007, 1e-9),
        (log_e_broken_plain(&[EpochRate { bad: 12, exposures: 400 }], 0.01), 4.149_578_442, 1e-9),
        (rate::log_e_met(&[EpochRate { bad: 12, exposures: 400 }], 0.01), -2.610_149_988, 1e-9),
    ];
    for (found, expected, last_digit) in printed {
        check_relative("golden number", found, expected, 1e-10, last_digit);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn evidence_about_a_rate_agrees_with_its_definition_at_forty_digits() {
    let table = Table::new(include_str!("../../tests/golden/stats/rate.csv"), 5, 18);
    for row in table.rows() {
        let epochs: Vec<EpochRate> = row
            .lists(0)
            .map(|cell| EpochRate { bad: cell[0].parse().expect("count"), exposures: cell[1].parse().expect("count") })
            .collect();
        let exposures: u64 = epochs.iter().map(|epoch| epoch.exposures).sum();
        let slack = if exposures > 1_000_000_000 { exposures as f64 * 1e-14 } else { 1e-12 };
        let limit = row.number(1);
        check_relative(row.text, log_e_broken_plain(&epochs, limit), row.number(2), 1e-10, slack);
        check_relative(row.text, log_e_broken(&epochs, limit), row.number(3), 1e-10, slack);
        check_relative(row.text, rate::log_e_met(&epochs, limit), row.number(4), 1e-10, slack);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn evidence_about_a_ratio_agrees_with_its_definition_at_forty_digits() {
    let table = Table::new(include_str!("../../tests/golden/stats/compare.csv"), 4, 6);
    for row in table.rows() {
        let epochs: Vec<PairEpoch> = row
            .lists(0)
            .map(|cell| {
                let number = |i: usize| cell[i].parse::<f64>().expect("number");
                let count = |i: usize| cell[i].parse::<u64>().expect("count");
                pair(number(0), number(1), count(2), count(3))
            })
            .collect();
        check_relative(row.text, compare::log_e_violated_plain(&epochs, row.number(1)), row.number(2), 1e-10, 1e-12);
        check_relative(row.text, compare::log_e_met(&epochs, row.number(1)), row.number(3), 1e-10, 1e-12);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn evidence_about_a_reward_agrees_with_its_definition_request_by_request() {
    let table = Table::new(include_str!("../../tests/golden/stats/reward.csv"), 2, 11);
    for row in table.rows() {
        let epochs: Vec<RewardEpoch> = row
            .lists(0)
            .map(|cell| {
                let number = |i: usize| cell[i].parse::<f64>().expect("number");
                let count = |i: usize| cell[i].parse::<u64>().expect("count");
                let arm = |i: usize| Arm { propensity: number(i), exposures: count(i + 1), rewarded: count(i + 2) };
                RewardEpoch { centre: number(0), a: arm(1), b: arm(4) }
            })
            .collect();
        check_relative(row.text, log_e_better(&epochs), row.number(1), 1e-10, 1e-12);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_beta_distribution_agrees_with_mpmath_in_both_tails() {
    let table = Table::new(include_str!("../../tests/golden/stats/beta.csv"), 6, 80);
    for row in table.rows() {
        let d = beta(row.number(0), row.number(1));
        let x = row.number(2);
        check_relative(row.text, d.pdf(x), row.number(3), 1e-11, 0.0);
        check_relative(row.text, d.cdf(x), row.number(4), 1e-11, 0.0);
        check_relative(row.text, 1.0 - d.cdf(x), row.number(5), 1e-11, 2e-16);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn quantiles_agree_with_scipy() {
    let table = Table::new(include_str!("../../tests/golden/stats/beta_quantile.csv"), 5, 60);
    for row in table.rows() {
        let d = beta(row.number(0), row.number(1));
        check_relative(row.text, d.quantile(row.number(2)), row.number(3), 1e-10, 1e-7 * row.number(4));
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn probabilities_of_being_best_agree_with_scipys_integrals() {
    let table = Table::new(include_str!("../../tests/golden/stats/best.csv"), 9, 50);
    let mut cases: Vec<Vec<support::Row<'_>>> = Vec::new();
    for row in table.rows() {
        match cases.last_mut() {
            Some(case) if case[0].number(0) == row.number(0) => case.push(row),
            _ => cases.push(vec![row]),
        }
    }
    for case in cases {
        let maximize = case[0].number(1) == 1.0;
        let contenders: Vec<Contender> = case
            .iter()
            .map(|row| Contender { reward: beta(row.number(2), row.number(3)).into(), feasible: row.number(4) })
            .collect();
        let found = best_and_feasible(&contenders, maximize);
        let rewards: Vec<belief::Posterior> = contenders.iter().map(|c| c.reward).collect();
        let losses = expected_loss(&rewards, maximize);
        for (i, row) in case.iter().enumerate() {
            check_absolute(row.text, found.best[i], row.number(5), 1e-8);
            check_absolute(row.text, found.best_and_feasible[i], row.number(6), 1e-8);
            check_absolute(row.text, found.none_feasible, row.number(7), 1e-14);
            check_relative(row.text, losses[i], row.number(8), 1e-8, 1e-12);
            check_relative(row.text, found.expected_loss[i], row.number(8), 1e-8, 1e-12);
        }
        check_absolute("sum of P(best)", found.best.iter().sum(), 1.0, 1e-10);
        check_absolute("sum with none", found.best_and_feasible.iter().sum::<f64>() + found.none_feasible, 1.0, 1e-10);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_probability_of_being_greater_agrees_with_the_exact_sum() {
    let table = Table::new(include_str!("../../tests/golden/stats/greater.csv"), 5, 10);
    for row in table.rows() {
        let shapes = [row.number(0), row.number(1), row.number(2), row.number(3)];
        let exact = shapes.iter().all(|shape| shape.fract() == 0.0 && *shape < 1e5);
        let found = probability_greater(beta(shapes[0], shapes[1]).into(), beta(shapes[2], shapes[3]).into());
        check_absolute(row.text, found, row.number(4), if exact { 1e-11 } else { 1e-8 });
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn intervals_of_the_lift_agree_with_scipys_integrals() {
    let table = Table::new(include_str!("../../tests/golden/stats/lift.csv"), 7, 12);
    for row in table.rows() {
        let (b, a) = (beta(row.number(0), row.number(1)), beta(row.number(2), row.number(3)));
        let (low, high) = belief::lift_interval(b.into(), a.into(), row.number(4)).unwrap();
        // The ends' probabilities are exact to 1e-6. Where a shape is ½ the distribution is flat at its lower end: 1e-6 of a
        // probability of 0.025 would move the ratio by 8e-5 of itself; 1e-5 is asked for.
        check_relative(row.text, low + 1.0, row.number(5) + 1.0, 1e-5, 0.0);
        check_relative(row.text, high + 1.0, row.number(6) + 1.0, 1e-5, 0.0);
    }
}

/// A decision replays only if Wasm and native agree on every bit. A new libm, or another way to
/// compute what the tables above check, may change the last ones: then, and only then, the number below changes, and the changelog says
/// so.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn results_have_the_same_bits_everywhere() {
    let mut bits = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |x: f64| bits = (bits ^ x.to_bits()).wrapping_mul(0x0100_0000_01b3);
    for k in 0..20_u64 {
        let epochs = [EpochRate { bad: k, exposures: 40 * k + 7 }, EpochRate { bad: 2 * k, exposures: 1000 }];
        take(log_e_broken(&epochs, 0.02));
        take(rate::log_e_met(&epochs, 0.02));
        let share = 0.04 * k as f64 + 0.01;
        let arm = |propensity, rewarded| Arm { propensity, exposures: 500, rewarded };
        take(log_e_better(&[RewardEpoch { centre: 0.1, a: arm(1.0 - share, 40), b: arm(share, 40 + k) }]));
        let d = beta(0.5 + k as f64, 10.5 + 700.0 * k as f64);
        take(d.pdf(0.03));
        take(d.cdf(0.01));
        let (low, high) = d.interval(0.95);
        take(low);
        take(high);
        let strata = [
            belief::Stratum { propensity: share, exposures: 900, events: 9 + k },
            belief::Stratum { propensity: 0.5, exposures: 100 * k, events: k },
        ];
        let a = Contender { reward: belief::standardised(&strata).posterior.into(), feasible: 0.9 };
        for p in best_and_feasible(&[a, Contender { reward: d.into(), feasible: share }], k % 2 == 0).best_and_feasible
        {
            take(p);
        }
    }
    assert_eq!(bits, 0xf90b_fd2e_4ba5_0ee0, "{bits:#018x}");
}
