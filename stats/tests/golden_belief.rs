//! Beliefs against reference tables from scipy and mpmath (`tests/golden/stats/generate_belief.py`): Student's t, means among
//! each other, pairs, order statistics. The same checks run natively and as Wasm under Node.
//!
//! Each table's header names its tools and calls; the tolerances are here, at the comparison.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing helper fails its test")]

mod support;

use support::{Row, Table, check_absolute, check_relative};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;
use weir_stats::belief::{
    Contender, Posterior, best_and_feasible, difference_interval, expected_loss, lift_interval, probability_greater,
    probability_within,
};
use weir_stats::beta::Beta;
use weir_stats::quantile::{Bucket, quantile_bounds};
use weir_stats::student::Student;

fn beta(row: &Row<'_>, at: usize) -> Beta {
    Beta::new(row.number(at), row.number(at + 1)).unwrap()
}

fn student(row: &Row<'_>, at: usize) -> Student {
    Student::new(row.number(at), row.number(at + 1), row.number(at + 2)).unwrap()
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn students_distribution_agrees_with_mpmath_in_both_tails() {
    let table = Table::new(include_str!("../../tests/golden/stats/student.csv"), 4, 70);
    for row in table.rows() {
        let d = Student::new(0.0, 1.0, row.number(0)).unwrap();
        let z = row.number(1);
        check_relative(row.text, d.pdf(z), row.number(2), 1e-11, 0.0);
        check_relative(row.text, d.cdf(-z), row.number(3), 1e-9, 0.0);
        check_relative(row.text, 1.0 - d.cdf(z), row.number(3), 1e-9, 2e-16);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn students_quantiles_agree_with_scipy() {
    let table = Table::new(include_str!("../../tests/golden/stats/student_quantile.csv"), 3, 45);
    for row in table.rows() {
        let d = Student::new(0.0, 1.0, row.number(0)).unwrap();
        check_relative(row.text, d.quantile(row.number(1)), row.number(2), 1e-9, 1e-12);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_best_of_several_means_agrees_with_scipys_integrals() {
    let table = Table::new(include_str!("../../tests/golden/stats/best_means.csv"), 10, 15);
    let mut cases: Vec<Vec<Row<'_>>> = Vec::new();
    for row in table.rows() {
        match cases.last_mut() {
            Some(case) if case[0].number(0) == row.number(0) => case.push(row),
            _ => cases.push(vec![row]),
        }
    }
    for case in cases {
        let maximize = case[0].number(1) == 1.0;
        let contenders: Vec<Contender> =
            case.iter().map(|row| Contender { reward: student(row, 2).into(), feasible: row.number(5) }).collect();
        let found = best_and_feasible(&contenders, maximize);
        let rewards: Vec<Posterior> = contenders.iter().map(|c| c.reward).collect();
        let losses = expected_loss(&rewards, maximize);
        let largest = case.iter().map(|row| row.number(3)).fold(0.0, f64::max);
        for (i, row) in case.iter().enumerate() {
            check_absolute(row.text, found.best[i], row.number(6), 1e-7);
            check_absolute(row.text, found.best_and_feasible[i], row.number(7), 1e-7);
            check_absolute(row.text, found.none_feasible, row.number(8), 1e-14);
            check_absolute(row.text, losses[i], row.number(9), 1e-5 * largest);
            check_absolute(row.text, found.expected_loss[i], losses[i], 1e-9 * largest);
        }
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_probability_to_keep_a_guardrail_agrees_with_scipys_integrals() {
    let table = Table::new(include_str!("../../tests/golden/stats/within.csv"), 7, 90);
    for row in table.rows() {
        let found = probability_within(beta(&row, 0), beta(&row, 2), row.number(4), row.number(5));
        check_absolute(row.text, found, row.number(6), 1e-6);
    }
}

/// P(B ≤ ratio·A + margin) at an end is compared, not the end: an end may be moved far by little probability.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn intervals_of_two_rates_agree_with_scipys_integrals() {
    let table = Table::new(include_str!("../../tests/golden/stats/rate_intervals.csv"), 9, 26);
    for row in table.rows() {
        let (b, a, mass) = (beta(&row, 0), beta(&row, 2), row.number(4));
        let (low, high) = difference_interval(b.into(), a.into(), mass);
        let (lift_low, lift_high) = lift_interval(b.into(), a.into(), mass).unwrap();
        for (found, expected) in [(low, row.number(5)), (high, row.number(6))] {
            let of = |x: f64| probability_within(b, a, 1.0, x);
            check_absolute(row.text, of(found), of(expected), 1e-6);
            check_absolute(row.text, found, expected, 1e-4 * (high - low));
        }
        for (found, expected) in [(lift_low, row.number(7)), (lift_high, row.number(8))] {
            let of = |x: f64| probability_within(b, a, 1.0 + x, 0.0);
            check_absolute(row.text, of(found), of(expected), 1e-6);
            check_relative(row.text, 1.0 + found, 1.0 + expected, 1e-3, 0.0);
        }
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn intervals_of_two_means_agree_with_scipys_integrals() {
    let table = Table::new(include_str!("../../tests/golden/stats/mean_intervals.csv"), 12, 14);
    let mut lifts = 0;
    for row in table.rows() {
        let (b, a, mass) = (student(&row, 0), student(&row, 3), row.number(6));
        check_absolute(row.text, probability_greater(b.into(), a.into()), row.number(7), 1e-6);
        let deviation = b.scale.hypot(a.scale);
        let (low, high) = difference_interval(b.into(), a.into(), mass);
        check_absolute(row.text, low, row.number(8), 1e-4 * deviation);
        check_absolute(row.text, high, row.number(9), 1e-4 * deviation);
        if let Some((low, high)) = lift_interval(b.into(), a.into(), mass) {
            lifts += 1;
            let ratio = b.location / a.location;
            let deviation = b.scale.hypot(ratio * a.scale) / a.location;
            check_absolute(row.text, low, row.number(10), 1e-4 * deviation);
            check_absolute(row.text, high, row.number(11), 1e-4 * deviation);
        }
    }
    assert!(lifts >= 12, "{lifts} lifts compared");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn bounds_of_a_quantile_are_the_ranks_that_scipys_binomial_names() {
    let table = Table::new(include_str!("../../tests/golden/stats/order_statistics.csv"), 5, 120);
    for row in table.rows() {
        let (n, lower, upper) = (row.number(0), row.number(3), row.number(4));
        // A bucket ends at each rank that matters, so that each rank has its own edges.
        let mut ranks = vec![0.0, lower - 1.0, lower, upper - 1.0, upper, n];
        ranks.retain(|rank| (0.0..=n).contains(rank));
        ranks.sort_by(f64::total_cmp);
        ranks.dedup();
        #[expect(clippy::cast_sign_loss, reason = "ascending")]
        let buckets: Vec<Bucket> = ranks
            .windows(2)
            .map(|edge| Bucket { lower: edge[0], upper: edge[1], count: (edge[1] - edge[0]) as u64 })
            .collect();
        let expected = ((lower - 1.0).max(0.0), if upper > n { f64::INFINITY } else { upper });
        assert_eq!(quantile_bounds(&buckets, row.number(1), row.number(2)), Some(expected), "{}", row.text);
    }
}
