//! The error contract, in short: every case of the catalogue with fixed seeds and an exact binomial bound. `make calibrate` runs the
//! long version.
//!
//! If a claim is false with probability at most what is promised, more false claims than are allowed here occur for one seed in a
//! million per case. The seeds are fixed: a test that passes once passes always, until something changes.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use weir_calibration::{Case, Question, cases, most_allowed, run};

const RARITY: f64 = 1e-6;

fn of(question: Question) -> Vec<Case> {
    cases::all().into_iter().filter(|case| case.question == question).collect()
}

fn no_case_claims_too_often(question: Question) {
    let mut broken = Vec::new();
    for case in of(question) {
        let (runs, promise) = (case.short_runs, case.promise.unwrap());
        let found = run(&case, runs).claimed;
        let allowed = most_allowed(runs, promise, RARITY);
        if found > allowed {
            broken.push(format!("{}: {found} of {runs}, at most {allowed} allowed", case.id));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn versions_that_keep_their_limits_are_rarely_rolled_back() {
    no_case_claims_too_often(Question::FalseRollBack);
}

#[test]
fn what_is_not_so_is_rarely_claimed_in_a_versions_favour() {
    no_case_claims_too_often(Question::FalsePromotion);
}

#[test]
fn warnings_and_the_breaker_are_rarely_wrong() {
    no_case_claims_too_often(Question::FalseAlarm);
}

/// What never fires would pass all of the above.
#[test]
fn what_is_so_is_seen() {
    for case in of(Question::Power) {
        let result = run(&case, case.short_runs);
        let (claimed, runs) = (result.claimed, result.runs);
        // By the horizon in half of the runs at least: each case says more in the table.
        assert!(claimed * 2 >= runs, "{}: seen in {claimed} of {runs}", case.id);
        let median = result.quantile(0.5).unwrap();
        if let Some(asked) = case.promise {
            // The sampling error of a median of 100: its 99.9% order statistic stands for it.
            let low = result.quantile(0.35).unwrap() as f64;
            assert!(low <= asked, "{}: median {median}, {asked} asked", case.id);
        }
    }
}

/// An older fault is found late: a long healthy history must not hide a new one for more than five times as long.
#[test]
fn a_long_healthy_history_hides_a_regression_for_a_while_only() {
    let median = |id: &str| {
        let case = cases::all().into_iter().find(|case| case.id == id).unwrap();
        run(&case, case.short_runs).quantile(0.5).unwrap()
    };
    let (fresh, indebted) = (median("power-ratio"), median("power-ratio-debt"));
    assert!(indebted <= 5 * fresh, "{indebted} against {fresh}");
}

/// Flagger's and everybody's mistake: the same traffic, with outcomes counted as they end, rolls back a healthy version.
#[test]
fn counting_outcomes_as_they_end_would_roll_back_a_healthy_version() {
    let result = run(&cases::delay_counted_by_completion(), 50);
    assert!(result.claimed > 40, "{} of 50", result.claimed);
}

/// The same users, each of whose requests is counted: more false roll-backs than any chance explains.
#[test]
fn counting_every_request_of_a_user_would_roll_back_a_healthy_version() {
    let result = run(&cases::users_counted_by_request(), 200);
    assert!(result.claimed > most_allowed(200, 0.05, RARITY), "{} of 200", result.claimed);
}

#[test]
fn a_result_depends_on_its_seeds_alone() {
    let case = &of(Question::Power)[0];
    assert_eq!(run(case, 20), run(case, 20));
}
