//! The crate against other people's statistics (`tests/golden/stats/generate_others.py`): statsmodels, confseq and gbstats. Where
//! they compute the same the numbers are the same; where they only come near, the tolerance says why. Natively and as Wasm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing helper fails its test")]

mod support;

use support::{Table, check_absolute, check_relative};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;
use weir_stats::amount::{AmountEpoch, Amounts, Difference, difference};
use weir_stats::belief::{Posterior, Stratum, difference_interval, expected_loss, probability_greater, standardised};
use weir_stats::beta::Beta;
use weir_stats::compare::owner;
use weir_stats::rate;
use weir_stats::student::{MeanStratum, standardised_mean};

fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| unreachable!("{text} is no number"))
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn beliefs_about_one_rate_are_statsmodels_jeffreys_intervals() {
    let table = Table::new(include_str!("../../tests/golden/stats/jeffreys.csv"), 5, 20);
    for row in table.rows() {
        let stratum = Stratum { propensity: 0.37, exposures: parsed(row.cell(1)), events: parsed(row.cell(0)) };
        let (low, high) = standardised(&[stratum]).posterior.interval(row.number(2));
        check_relative(row.text, low, row.number(3), 1e-9, 0.0);
        check_relative(row.text, high, row.number(4), 1e-9, 0.0);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn standardised_means_are_statsmodels_weighted_means() {
    let table = Table::new(include_str!("../../tests/golden/stats/weighted_means.csv"), 6, 10);
    for row in table.rows() {
        let strata: Vec<MeanStratum> = row
            .lists(0)
            .map(|cell| MeanStratum {
                propensity: parsed(cell[0]),
                exposures: parsed(cell[1]),
                sum: parsed(cell[2]),
                sum_squares: parsed(cell[3]),
            })
            .collect();
        let found = standardised_mean(&strata);
        check_relative(row.text, found.mean.unwrap(), row.number(1), 1e-9, 0.0);
        check_relative(row.text, found.effective_exposures, row.number(2), 1e-9, 0.0);
        let student = found.posterior.unwrap();
        check_relative(row.text, student.scale, row.number(3), 1e-9, 0.0);
        let (low, high) = student.interval(0.95);
        check_relative(row.text, low, row.number(4), 1e-9, 0.0);
        check_relative(row.text, high, row.number(5), 1e-9, 0.0);
        // Kish's size of a rate is the same function of exposures and propensities.
        let rates: Vec<Stratum> = strata
            .iter()
            .map(|stratum| Stratum { propensity: stratum.propensity, exposures: stratum.exposures, events: 0 })
            .collect();
        check_relative(row.text, standardised(&rates).effective_exposures, row.number(2), 1e-9, 0.0);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn whose_an_event_was_is_statsmodels_conditional_test() {
    let table = Table::new(include_str!("../../tests/golden/stats/owners.csv"), 7, 6);
    for row in table.rows() {
        let (a, b) = (row.number(0), row.number(2));
        let theta = owner(row.number(4), row.number(1), row.number(3)).unwrap();
        // P(X ≥ b) and P(X ≤ b) for a binomial X of a + b events, as incomplete beta functions.
        let tail = |alpha: f64, beta: f64, x: f64| Beta::new(alpha, beta).map_or(1.0, |d| d.cdf(x));
        check_relative(row.text, tail(b, a + 1.0, theta), row.number(5), 1e-9, 0.0);
        check_relative(row.text, tail(a, b + 1.0, 1.0 - theta), row.number(6), 1e-9, 0.0);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn real_rewards_are_confseqs_normal_mixture() {
    let table = Table::new(include_str!("../../tests/golden/stats/normal_mixture.csv"), 6, 140);
    for row in table.rows() {
        let (sum, frozen, alpha) = (row.number(0), row.number(2), row.number(3));
        let found = Difference { mean: sum / 1_000.0, exposures: 1_000.0, variance: row.number(1) };
        check_relative(row.text, found.log_e_better(frozen, alpha), row.number(4), 1e-9, 1e-9);
        let (low, high) = found.interval(frozen, alpha).unwrap();
        check_relative(row.text, 0.5 * (high - low) * 1_000.0, row.number(5), 1e-9, 0.0);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn sequences_of_rates_are_about_as_wide_as_confseqs() {
    let table = Table::new(include_str!("../../tests/golden/stats/bernoulli_sequences.csv"), 4, 6);
    for row in table.rows() {
        let (bad, exposures) = (parsed::<u64>(row.cell(0)), parsed::<u64>(row.cell(1)));
        let (low, high) = rate::interval(bad, exposures, 0.05);
        let (theirs_low, theirs_high) = (row.number(2), row.number(3));
        let observed = bad as f64 / exposures as f64;
        assert!(low < observed && observed < high && theirs_low < observed && observed < theirs_high, "{}", row.text);
        let ratio = (high - low) / (theirs_high - theirs_low);
        // Theirs is tuned to this very look; our smallest tilt is 0.05, and 20,000 events could tell less.
        assert!((0.8..=1.5).contains(&ratio), "{}: {low} to {high}, {ratio} times as wide", row.text);
    }
}

fn amounts(row: &support::Row<'_>, at: usize, total: f64) -> Amounts {
    let exposures = parsed::<u64>(row.cell(at));
    Amounts {
        propensity: exposures as f64 / total,
        exposures,
        rewarded: exposures,
        sum: row.number(at + 1),
        squares: row.number(at + 2),
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn real_rewards_are_growthbooks_sequential_test() {
    let table = Table::new(include_str!("../../tests/golden/stats/gb_sequential.csv"), 10, 36);
    for row in table.rows() {
        let total = row.number(0) + row.number(3);
        let found = difference(&[AmountEpoch { a: amounts(&row, 0, total), b: amounts(&row, 3, total) }]).unwrap();
        check_relative(row.text, found.exposures, total, 1e-12, 0.0);
        // Their tuning parameter is the number of exposures at which the sequence is tightest.
        let frozen = found.variance * row.number(6) / total;
        let (low, high) = found.interval(frozen, 0.05).unwrap();
        check_relative(row.text, low, row.number(7), 1e-9, 1e-9);
        check_relative(row.text, high, row.number(8), 1e-9, 1e-9);
        // Two sides are each other's half: E(b > a) + E(a > b) is twice the two-sided one.
        let back = Difference { mean: -found.mean, ..found };
        let both = found.log_e_better(frozen, 0.05).exp() + back.log_e_better(frozen, 0.05).exp();
        check_relative(row.text, (both / 2.0).ln(), row.number(9), 1e-9, 1e-9);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn beliefs_about_many_exposures_are_growthbooks() {
    let table = Table::new(include_str!("../../tests/golden/stats/gb_bayesian.csv"), 12, 9);
    for row in table.rows() {
        let rates = row.cell(0) == "rate";
        let posterior = |at: usize| -> Posterior {
            let exposures = parsed::<u64>(row.cell(at));
            if rates {
                let stratum = Stratum { propensity: 1.0, exposures, events: parsed(row.cell(at + 1)) };
                return standardised(&[stratum]).posterior.into();
            }
            let (sum, sum_squares) = (row.number(at + 1), row.number(at + 2));
            standardised_mean(&[MeanStratum { propensity: 1.0, exposures, sum, sum_squares }]).posterior.unwrap().into()
        };
        let (a, b) = (posterior(1), posterior(4));
        let (low, high) = difference_interval(b, a, 0.95);
        let width = row.number(11) - row.number(10);
        let (of_chance, of_ends, of_loss) = if rates { (1e-3, 1e-2, (2e-2, 1e-3)) } else { (1e-5, 1e-4, (1e-3, 1e-6)) };
        check_absolute(row.text, probability_greater(b, a), row.number(7), of_chance);
        check_absolute(row.text, low, row.number(10), of_ends * width);
        check_absolute(row.text, high, row.number(11), of_ends * width);
        let losses = expected_loss(&[a, b], true);
        // Their risk of the control is what is lost by keeping it.
        check_relative(row.text, losses[0], row.number(8), of_loss.0, of_loss.1 * width);
        check_relative(row.text, losses[1], row.number(9), of_loss.0, of_loss.1 * width);
    }
}
