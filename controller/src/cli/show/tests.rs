//! What people see, to the letter.

use super::*;
use weir_engine::cells::Tally;
use weir_engine::command::Command;
use weir_engine::decide::{Action, Decision};
use weir_engine::journal::{Actor, Order};
use weir_engine::metrics::{Interval, Metric, MetricName};
use weir_engine::spec::{Direction, Experiment};
use weir_engine::state::{Cause, Observations, Outcome, Proposal, Step, Trip};

const DOCUMENT: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: checkout}
spec:
  service: shop
  versions: [{name: v1, baseline: true}, {name: v2}, {name: v3}]
  objectives: [{name: errors, errorRate: {max: 2%}}]
  reward: {responseHeader: x-weir-reward, direction: maximize}
";

fn experiment() -> Experiment {
    weir_engine::document::read(DOCUMENT).expect("a valid document").remove(0)
}

/// Fills in what is shown; the rest stays as the engine gives it without observations.
fn fill(version: &mut VersionAssessment, verdict: Verdict, out: bool, best: f64) {
    let tally = Tally {
        assigned: 1_500,
        completed: 1_490,
        failed: 8,
        aborted: 9,
        overdue: 1,
        rewarded: 210,
        ..Tally::default()
    };
    version.out = out;
    version.settled = tally;
    version.live = Tally { assigned: 1_600, ..tally };
    version.metrics = vec![
        measured(MetricName::ErrorRate, 0.006, Some((0.003, 0.011))),
        measured(MetricName::LatencyP50, 12.4, None),
        measured(MetricName::RewardRate, 0.14, Some((0.123, 0.158))),
    ];
    version.probability_best_and_feasible = Some(best);
    version.gates[0].verdict = verdict;
}

fn measured(name: MetricName, observed: f64, belief: Option<(f64, f64)>) -> Metric {
    let belief = belief.map(|(low, high)| Interval { low: Some(low), high: Some(high) });
    Metric {
        name,
        direction: Direction::Minimize,
        exposures: 1_500,
        observed,
        observed_or_more: false,
        belief,
        sequence: None,
        comparisons: Vec::new(),
    }
}

pub(crate) fn view() -> View {
    let experiment = experiment();
    let mut state = State::begin(&experiment, 1_000);
    state.out = vec![false, false, true];
    let mut assessment = weir_engine::assess::assess(&experiment, &state, &<Observations>::default());
    fill(&mut assessment.versions[0], Verdict::NotEnoughEvidence, false, 0.000_01);
    fill(&mut assessment.versions[1], Verdict::Met, false, 0.87);
    fill(&mut assessment.versions[2], Verdict::Violated, true, 0.0);
    assessment.conclusion = "Not enough evidence: any of v1, v2 may still be the best.".to_owned();
    assessment.settled_exposures = 4_500;
    assessment.warnings = vec!["A worker has fallen silent.".to_owned()];
    let decision = Decision {
        at: 24_000,
        action: Action::RollBack,
        reasons: vec!["v3 breaks errors.".to_owned(), "Any of v1, v2 may still be the best.".to_owned()],
        state: state.clone(),
    };
    let decision = Some(Told { decision, ordered: None });
    let health_warnings = Vec::new();
    View { experiment, state, assessment: Some(assessment), decision, last_change: None, health_warnings }
}

#[test]
fn an_experiment_is_shown_with_its_versions_verdicts_and_the_last_decision() {
    let expected = "\
checkout · service shop · bandit (floor 5%, steps of 20% at most) · running · epoch 1 · for 26 s
errors: error rate at most 2%

VERSION        WEIGHT  EXPOSURES             ERRORS    P50  P99              REWARD  BEST*  VERDICTS
v1 (baseline)  33.34%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)  <0.1%  errors: not enough evidence
v2             33.33%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)  87.0%  errors: met
v3             33.33%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)      –  errors: violated; rolled back
* probability of the best reward among those that keep their limits: belief, it decides nothing

settled 4,500 of 4,800 exposures; rates with 95% intervals
Not enough evidence: any of v1, v2 may still be the best.

last decision: roll back, 3 s ago
  v3 breaks errors.
  Any of v1, v2 may still be the best.
warning: A worker has fallen silent.
";
    let shown = detail(&view(), 27_000);
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn while_it_holds_the_last_change_of_traffic_is_still_told() {
    let mut view = view();
    view.last_change = view.decision.clone();
    view.decision.as_mut().unwrap().decision.at = 26_000;
    view.decision.as_mut().unwrap().decision.action = Action::Hold;
    let shown = detail(&view, 27_000);
    assert!(shown.contains("last decision: hold, 1 s ago"), "{shown}");
    assert!(shown.contains("last change: roll back, 3 s ago\n  v3 breaks errors."), "{shown}");
}

#[test]
fn an_experiment_that_has_concluded_shows_its_outcome_and_where_the_traffic_is() {
    let mut view = view();
    view.state.phase = Phase::Concluded { outcome: Outcome::Promoted, version: 1, at: 31_000 };
    let shown = detail(&view, 500_000);
    assert!(shown.contains("· promoted v2 ·"), "{shown}");
    let by = Actor { who: "ada".to_owned(), ..Actor::default() };
    let mut told = view.decision.clone().unwrap();
    told.decision.at = 31_000;
    told.ordered = Some(Order { command: Command::Promote { version: 1 }, by, reason: "the launch".to_owned() });
    let by_hand = View { last_change: Some(told), ..view.clone() };
    let said = detail(&by_hand, 500_000);
    assert!(said.contains("· promoted v2, by hand: ada ·"), "{said}");
    let listed = list(std::slice::from_ref(&by_hand), 500_000);
    assert!(listed.contains("  promoted v2, by hand  "), "{listed}");
    // What evidence found and a person approved is not against it.
    let mut approved = by_hand;
    let order = approved.last_change.as_mut().and_then(|told| told.ordered.as_mut()).unwrap();
    order.command = Command::Approve;
    let said = detail(&approved, 500_000);
    assert!(said.contains("· promoted v2, approved by ada ·"), "{said}");
    assert!(list(&[approved], 500_000).contains("  promoted v2, approved  "));
    assert!(shown.contains("· after 30 s"), "{shown}");
    let rows: Vec<&str> = shown.lines().filter(|line| line.starts_with('v')).collect();
    assert!(rows[1].contains("  100%  ") && rows[0].contains("  0%  "), "{shown}");
}

#[test]
fn experiments_are_listed_one_a_line_and_none_says_what_to_do() {
    let expected = "\
NAME      SERVICE  STATE    WEIGHTS                          EXPOSURES      AGE
checkout  shop     running  v1 33.34%, v2 33.33%, v3 33.33%      4,500  1 m 1 s
";
    let shown = list(&[view()], 62_000);
    assert_eq!(shown, expected, "\n{shown}");
    assert!(list(&[], 0).contains("weir apply"));
    let mut waits = view();
    waits.state.awaited = Some(Proposal { since: 21_000, step: Step::Promotion { version: 1 } });
    waits.health_warnings = vec!["no proxy has reported for 40 s".to_owned()];
    let shown = list(&[view(), waits], 27_000);
    let said = "

checkout: waits for approval since 6 s: the promotion of v2; weir approve checkout --awaited-since 21000 --reason '…'
checkout: warning: no proxy has reported for 40 s
";
    assert!(shown.ends_with(said), "{shown}");
}

#[test]
fn a_log_line_says_where_it_stands_and_why_and_only_that_makes_another() {
    let first = view();
    assert_eq!(
        line(&first, 3_000),
        "for 2 s · running · v1 33.34%, v2 33.33%, v3 33.33% · 4,500 exposures · \
         roll back: v3 breaks errors. Any of v1, v2 may still be the best."
    );
    let mut counted = view();
    if let Some(assessment) = &mut counted.assessment {
        assessment.settled_exposures += 1;
    }
    assert_eq!(standing(&first), standing(&counted));
    if let Some(assessment) = &mut counted.assessment {
        assessment.versions[0].gates[0].verdict = Verdict::Met;
    }
    assert_ne!(standing(&first), standing(&counted));
}

#[test]
fn what_waits_for_a_person_who_ordered_what_and_what_is_wrong_are_shown() {
    let mut view = view();
    view.state.phase = Phase::Paused { since: 20_000, cause: Cause::Weights };
    view.state.awaited = Some(Proposal { since: 21_000, step: Step::Promotion { version: 1 } });
    view.state.trips = vec![Trip { version: 1, at: 22_000, epoch: 1, open: true }];
    view.health_warnings = vec!["no proxy has reported for 40 s".to_owned()];
    let by = Actor { who: "ada".to_owned(), says: String::new(), from: "10.0.0.7".to_owned() };
    let order = Order { command: Command::Pause, by, reason: "a meeting".to_owned() };
    view.decision.as_mut().unwrap().ordered = Some(order);
    let shown = detail(&view, 27_000);
    for expected in [
        "· paused, weights by hand ·",
        "last decision: roll back, 3 s ago, by ada from 10.0.0.7: “a meeting”\n",
        "waits for approval since 6 s: the promotion of v2; weir approve checkout --awaited-since 21000 --reason '…'\n",
        "the breaker holds v2 until what it doubted has settled\n",
        "warning: no proxy has reported for 40 s\n",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    assert!(line(&view, 27_000).contains("roll back by ada from 10.0.0.7"), "{}", line(&view, 27_000));
    view.state.phase = Phase::Pending;
    assert!(detail(&view, 27_000).contains("waits to be started: weir start checkout --reason '…'\n"));
}

#[test]
fn who_rolled_a_version_back_by_hand_is_told_beside_it() {
    let mut view = view();
    let by = Actor { who: "ada".to_owned(), ..Actor::default() };
    let order = |version| Order { command: Command::RollBack { version }, by: by.clone(), reason: "x".to_owned() };
    view.decision.as_mut().unwrap().ordered = Some(order(Some(2)));
    let shown = detail(&view, 27_000);
    assert!(shown.contains("errors: violated; rolled back by hand: ada\n"), "{shown}");
    view.decision.as_mut().unwrap().ordered = Some(order(Some(1)));
    let shown = detail(&view, 27_000);
    assert!(shown.contains("errors: violated; rolled back\n"), "another was: {shown}");
}

#[test]
fn what_waits_to_be_started_shows_no_prior_as_a_number() {
    let mut view = view();
    view.state.phase = Phase::Pending;
    let shown = detail(&view, 27_000);
    assert!(shown.contains("nothing is counted before it is started: all traffic goes to v1\n"), "{shown}");
    assert!(!shown.contains("BEST") && !shown.contains("87.0%"), "{shown}");
    view.state.phase = Phase::Running;
    view.assessment.as_mut().unwrap().settled_exposures = 0;
    assert!(!detail(&view, 27_000).contains("87.0%"));
}

#[test]
fn an_experiment_without_an_assessment_yet_can_be_shown() {
    let view = View { assessment: None, decision: None, last_change: None, ..view() };
    assert!(detail(&view, 1_000).ends_with("nothing assessed yet\n"));
    assert!(line(&view, 1_000).starts_with("for 0 s · running"));
}
