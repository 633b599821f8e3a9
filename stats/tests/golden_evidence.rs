//! Evidence against reference tables from its definition in mpmath (`tests/golden/stats/generate_evidence.py`): restarts,
//! margins, sample ratios, first events, the best of several, confidence sequences. The same checks run natively and as Wasm.
//!
//! Each table's header names its tools and how it is computed; the tolerances are here, at the comparison.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing helper fails its test")]

mod support;

use support::{Row, Table, check_relative};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test;
use weir_stats::best::log_mean_e;
use weir_stats::compare::{self, PairEpoch, owner, ratio_interval};
use weir_stats::kernel::{effects, tilts};
use weir_stats::margin::{Margin, MarginEpoch};
use weir_stats::process::{Claim, Tilted};
use weir_stats::rate;
use weir_stats::sample_ratio::SampleRatio;
use weir_stats::units::{Closing, EpochBuckets, FirstEvents};

fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| unreachable!("{text} is no number"))
}

fn pairs(row: &Row<'_>) -> Vec<PairEpoch> {
    let pair = |cell: Vec<&str>| PairEpoch {
        baseline_propensity: parsed(cell[0]),
        candidate_propensity: parsed(cell[1]),
        baseline_events: parsed(cell[2]),
        candidate_events: parsed(cell[3]),
    };
    row.lists(0).map(pair).collect()
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_ratio_with_restarts_is_the_sum_over_restarts() {
    let table = Table::new(include_str!("../../tests/golden/stats/compare_restarts.csv"), 4, 13);
    for row in table.rows() {
        let epochs = pairs(&row);
        check_relative(row.text, compare::log_e_violated(&epochs, row.number(1)), row.number(2), 1e-10, 1e-12);
        check_relative(row.text, compare::log_e_met(&epochs, row.number(1)), row.number(3), 1e-10, 1e-12);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_margin_agrees_with_its_bets() {
    let table = Table::new(include_str!("../../tests/golden/stats/margin.csv"), 5, 18);
    for row in table.rows() {
        let mut violated = Margin::new(Claim::Violated, row.number(1), row.number(2)).unwrap();
        let mut met = Margin::new(Claim::Met, row.number(1), row.number(2)).unwrap();
        let mut exposures = 0.0;
        for cell in row.lists(0) {
            let epoch = MarginEpoch {
                baseline_propensity: parsed(cell[0]),
                candidate_propensity: parsed(cell[1]),
                exposures: parsed(cell[2]),
                baseline_bad: parsed(cell[3]),
                candidate_bad: parsed(cell[4]),
            };
            exposures += epoch.exposures as f64;
            violated.push(&epoch);
            met.push(&epoch);
        }
        let slack = 1e-12 + 1e-15 * exposures;
        check_relative(row.text, violated.log_e(), row.number(3), 1e-10, slack);
        check_relative(row.text, met.log_e(), row.number(4), 1e-10, slack);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_sample_ratio_agrees_with_its_tilts() {
    let table = Table::new(include_str!("../../tests/golden/stats/sample_ratio.csv"), 2, 12);
    for row in table.rows() {
        let epochs: Vec<Vec<&str>> = row.lists(0).collect();
        let versions = epochs[0].len() / 2;
        let mut process = SampleRatio::new(versions);
        let mut exposures = 0.0;
        for epoch in &epochs {
            let counted: Vec<(f64, u64)> =
                (0..versions).map(|at| (parsed(epoch[at]), parsed(epoch[versions + at]))).collect();
            exposures += counted.iter().map(|(_, n)| *n as f64).sum::<f64>();
            process.push(&counted);
        }
        check_relative(row.text, process.log_e(), row.number(1), 1e-10, 1e-12 + 1e-15 * exposures);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn first_events_close_the_same_buckets_and_weigh_the_same() {
    let table = Table::new(include_str!("../../tests/golden/stats/first_events.csv"), 6, 12);
    let buckets = |text: &str| -> Vec<u16> { text.split('.').filter(|part| !part.is_empty()).map(parsed).collect() };
    for row in table.rows() {
        let mut closing = Closing::default();
        for look in row.lists(0) {
            let epochs: Vec<(u32, Vec<u16>, Vec<u16>)> = look
                .iter()
                .map(|epoch| {
                    let parts: Vec<&str> = epoch.split(':').collect();
                    (parsed(parts[0]), buckets(parts[1]), buckets(parts[2]))
                })
                .collect();
            closing.look(epochs.iter().map(|(epoch, a, b)| EpochBuckets { epoch: *epoch, baseline: a, candidate: b }));
        }
        let (mut violated, mut met) = (Tilted::violated_plain(tilts()), Tilted::new(Claim::Met, tilts()));
        for ((epoch, weights), first) in (1..).zip(row.lists(1)).zip(row.lists(3)) {
            let found = closing.first_events(epoch);
            let expected =
                FirstEvents { baseline: parsed(first[0]), candidate: parsed(first[1]), ties: parsed(first[2]) };
            assert_eq!(found, expected, "{}", row.text);
            let theta = owner(row.number(2), parsed(weights[0]), parsed(weights[1])).unwrap();
            let ((more, all), (fewer, _)) = (found.for_more(), found.for_fewer());
            violated.push(more, all, theta);
            met.push(fewer, all, theta);
        }
        check_relative(row.text, violated.log_e(), row.number(4), 1e-10, 1e-12);
        check_relative(row.text, met.log_e(), row.number(5), 1e-10, 1e-12);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn who_is_beaten_agrees_with_the_mean() {
    let table = Table::new(include_str!("../../tests/golden/stats/beaten.csv"), 3, 6);
    for row in table.rows() {
        let log_es: Vec<f64> = row.cell(0).split('/').map(parsed).collect();
        check_relative(row.text, log_mean_e(&log_es, parsed(row.cell(1))), row.number(2), 1e-12, 1e-14);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn sequences_of_rates_end_where_brentq_finds_them() {
    let table = Table::new(include_str!("../../tests/golden/stats/rate_sequences.csv"), 5, 20);
    for row in table.rows() {
        let (low, high) = rate::interval(parsed(row.cell(0)), parsed(row.cell(1)), row.number(2));
        check_relative(row.text, low, row.number(3), 1e-8, 0.0);
        check_relative(row.text, 1.0 - low, 1.0 - row.number(3), 1e-8, 2e-16);
        check_relative(row.text, high, row.number(4), 1e-8, 0.0);
        check_relative(row.text, 1.0 - high, 1.0 - row.number(4), 1e-8, 2e-16);
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn sequences_of_ratios_end_where_brentq_finds_them() {
    let table = Table::new(include_str!("../../tests/golden/stats/ratio_sequences.csv"), 4, 20);
    for row in table.rows() {
        let grid = if row.cell(1) == "tilts" { tilts() } else { effects() };
        let (low, high) = ratio_interval(&pairs(&row), 0.05, grid);
        check_relative(row.text, low, row.number(2), 1e-8, 0.0);
        if row.cell(3) == "inf" {
            assert_eq!(high, f64::INFINITY, "{}", row.text);
        } else {
            check_relative(row.text, high, row.number(3), 1e-8, 0.0);
        }
    }
}
