//! The error contract, in short: every case of the catalogue with fixed seeds and an exact binomial bound. `make calibrate` runs the
//! long version.
//!
//! If a claim is false with probability at most what is promised, more false claims than are allowed here occur for one seed in a
//! million per case. The seeds are fixed: a test that passes once passes always, until something changes.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use weir_calibration::{Case, Question, RARITY, cases, most_allowed, refuted, run};

fn of(question: Question) -> Vec<Case> {
    cases::all().into_iter().filter(|case| case.question == question).collect()
}

fn no_promise_is_refuted(question: Question) {
    let refuted: Vec<String> =
        of(question).iter().filter_map(|case| refuted(case, &run(case, case.short_runs))).collect();
    assert!(refuted.is_empty(), "{refuted:#?}");
}

#[test]
fn versions_that_keep_their_limits_are_rarely_rolled_back() {
    no_promise_is_refuted(Question::FalseRollBack);
}

#[test]
fn what_is_not_so_is_rarely_claimed_in_a_versions_favour() {
    no_promise_is_refuted(Question::FalsePromotion);
}

#[test]
fn warnings_and_the_breaker_are_rarely_wrong() {
    no_promise_is_refuted(Question::FalseAlarm);
}

/// What never fires would pass all of the above.
#[test]
fn what_is_so_is_seen() {
    for case in of(Question::Power) {
        let result = run(&case, case.short_runs);
        let (claimed, runs) = (result.claimed, result.runs);
        // By the horizon in half of the runs at least: each case says more in the table.
        assert!(claimed * 2 >= runs, "{}: seen in {claimed} of {runs}", case.id);
        assert_eq!(refuted(&case, &result), None);
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
    let result = run(&cases::users_counted_by_request(), 800);
    assert!(result.claimed > most_allowed(800, 0.05, RARITY), "{} of 800", result.claimed);
}

#[test]
fn a_result_depends_on_its_seeds_alone() {
    let case = &of(Question::Power)[0];
    assert_eq!(run(case, 20), run(case, 20));
}
