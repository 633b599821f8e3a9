//! The text follows from the numbers: other numbers, another text.

use super::*;
use crate::compare::CASES;
use crate::many::{Ended, Quantiles};

fn many(policy: &str, falsely: Option<u64>, promoted: Option<u64>, met: f64, p50: Option<u64>) -> Many {
    let share = |count| Share::new(count, 1_000);
    let mean = |mean: f64| Mean { mean, plus_minus: 10.0 };
    let undecided = Ended { ending: Ending::Undecided, version: "v1".to_owned(), share: share(700) };
    let without = Ended { ending: Ending::Inconclusive, version: "v1".to_owned(), share: share(100) };
    Many {
        experiment: "comparison".to_owned(),
        policy: policy.to_owned(),
        runs: 1_000,
        seed: 1,
        bad: promoted.map(|_| "v2".to_owned()).into_iter().collect(),
        endings: vec![undecided, without],
        false_roll_back: falsely.map(share),
        bad_promoted: promoted.map(share),
        missed: None,
        requests: Quantiles::default(),
        time_ms: Quantiles { p10: None, p50, p90: None },
        met_bad: mean(met),
        met_bad_in_all: mean(met),
        regret: Mean::default(),
        unexpected: None,
        as_expected: None,
        unreached: Vec::new(),
    }
}

fn measured(case: usize, many: Vec<Many>) -> Measured {
    Measured { rate: 10, case: CASES[case], alpha: 0.05, many }
}

#[test]
fn each_row_says_whether_there_is_a_guarantee_and_whom_weir_is_better_and_worse_than() {
    let one = measured(
        1,
        vec![
            many("Weir", None, Some(0), 500.0, None),
            many("hasty", None, Some(200), 100.0, Some(60_000)),
            many("alike", None, Some(1), 505.0, None),
        ],
    );
    let text = tables(std::slice::from_ref(&one));
    let row = |title: &str| text.lines().find(|line| line.starts_with(&format!("| {title}"))).unwrap();
    let promoted = row("bad one promoted");
    assert!(promoted.contains("at most 5%, at any look") && promoted.contains("%) ▲ |"), "{promoted}");
    assert!(promoted.ends_with("%) = |"), "{promoted}");
    assert!(row("bad requests until").contains("| none | 500 ± 10 | 100 ± 10 ▼ | 505 ± 10 = |"), "{text}");
    assert!(row("over in half").contains("| none | later | 1m ▼ | later = |"), "{text}");
    assert!(row("neither").contains("80.0%"), "without a winner is undecided, too: {text}");
    assert!(!text.contains("regret"), "nobody has any: {text}");
    let said = summary(&[one]);
    assert!(said.contains("refuted in none of the 1 rows") && said.contains("worse than nobody"), "{said}");
    assert!(said.contains("| than hasty | 1 / 0 / 0 | 0 / 2 / 3 |"), "{said}");
    assert!(said.contains("| bad one promoted (guaranteed) | 1 / 1 / 0 |"), "{said}");
}

#[test]
fn a_worse_row_and_a_broken_promise_are_said_without_being_asked() {
    let said = summary(&[measured(
        0,
        vec![many("Weir", Some(100), None, 0.0, None), many("calm", Some(0), None, 0.0, Some(1))],
    )]);
    assert!(said.contains("**What Weir promises is refuted** in: rolled back falsely (10 requests/s"), "{said}");
    assert!(said.contains("it is worse in: rolled back falsely (10 requests/s, an identical canary"), "{said}");
    assert!(said.contains("than calm."), "{said}");
}
