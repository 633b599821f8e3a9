//! What the simulated world promises: the same bits for the same seed, the same decisions however little is computed, honest faults,
//! and reconstructions that show what they were reconstructed for.
#![expect(clippy::unwrap_used, reason = "tests")]

use weir_simulator::many;
use weir_simulator::policy::{Name, Weir};
use weir_simulator::run::{Ending, Run};
use weir_simulator::{Scenario, Watching, scenario, simulate};

fn canary(rest: &str) -> Scenario {
    let text = format!(
        "apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {{name: canary}}
spec:
  service: checkout
  versions: [{{name: v1, baseline: true}}, {{name: v2}}]
  guardrails: [{{name: errors, errorRate: {{ratio: 1, margin: 0.5%}}}}]
---
apiVersion: weir.dev/v1alpha1
kind: Scenario
{rest}"
    );
    scenario::read(&text).unwrap()
}

fn run(scenario: &Scenario, seed: u64) -> Run {
    simulate(scenario, &mut Weir::default(), seed, Watching::Outcome)
}

const FAULTS: &str = "traffic: {rate: 20/s, bursts: [{from: 5m, until: 6m, factor: 5}]}
duration: 2h
versions:
  v1: {errors: 0.3%}
  v2: {errors: 0.6%, incidents: [{from: 10m, until: 12m, errors: 40}]}
faults:
  lostReports: 10%
  deaths: [{at: 7m, share: 50%}]
  partitions: [{from: 15m, until: 20m, share: 25%}]
";

#[test]
fn the_same_seed_gives_the_same_bits_and_another_gives_others() {
    let scenario = canary(FAULTS);
    assert_eq!(run(&scenario, 3), run(&scenario, 3));
    assert_ne!(run(&scenario, 3).requests, run(&scenario, 4).requests);
}

#[test]
fn many_runs_are_the_single_runs_whatever_core_they_are_on() {
    let scenario = canary(FAULTS);
    let all = many::run(&scenario, Name::Weir, 6, &|_| {});
    let alone: Vec<Run> = (0..6).map(|at| run(&scenario, weir_simulator::random::seed_of(scenario.seed, at))).collect();
    assert_eq!(all, many::summary(&scenario, "Weir".to_owned(), &alone));
}

#[test]
fn computing_less_decides_the_same() {
    for seed in 1..=4 {
        let scenario = canary(FAULTS);
        let quick = run(&scenario, seed);
        let whole = simulate(&scenario, &mut Weir::in_words(), seed, Watching::Outcome);
        assert_eq!(quick, whole, "seed {seed}");
    }
}

#[test]
fn every_request_is_counted_once_and_lost_reports_lose_nothing() {
    let scenario = canary("traffic: 50/s\nduration: 10m\nfaults: {lostReports: 30%}\n");
    let run = run(&scenario, 1);
    // A report of each of four workers every second, and every third is lost.
    let reports = 4 * run.ended_at_ms / 1_000;
    assert!((reports / 4..reports / 3).contains(&run.lost_reports), "{} of {reports}", run.lost_reports);
    assert_eq!(run.versions.iter().map(|version| version.requests).sum::<u64>(), run.requests);
    // What is not settled is of the last deadline, bin and report.
    let settled: u64 = run.versions.iter().map(|version| version.settled.assigned).sum();
    assert!(run.requests - settled < 50 * 40, "{settled} of {}", run.requests);
    assert!(run.versions.iter().all(|version| version.settled.overdue == 0), "{run:?}");
}

#[test]
fn a_worker_that_dies_takes_its_unfinished_bins_with_it_whole() {
    let scenario =
        canary("traffic: 50/s\nduration: 10m\nversions: {v2: {errors: 50%}}\nfaults: {deaths: [{at: 20s}]}\n");
    let run = run(&scenario, 1);
    // Without it, what died in flight would look overdue: a bad event of whoever had it.
    assert_eq!(run.versions.iter().map(|version| version.settled.overdue).sum::<u64>(), 0);
}

#[test]
fn a_stale_plan_sends_everybody_to_the_baseline_unrecorded() {
    let scenario = canary("traffic: 50/s\nduration: 10m\nfaults: {partitions: [{from: 0s, until: 10m}]}\n");
    let run = run(&scenario, 1);
    let canary_got = run.versions[1].requests;
    assert_eq!((run.ending, run.versions[0].settled.assigned), (Ending::Undecided, 0));
    // One percent of the first minute.
    assert!((10..60).contains(&canary_got), "{canary_got}");
}

#[test]
fn threshold_policies_fail_the_innocent_and_pass_the_guilty_at_low_traffic() {
    let identical = canary("traffic: 1/s\ninterval: 10s\nversions: {v1: {errors: 0.3%}, v2: {errors: 0.3%}}\n");
    let worse = canary("traffic: 1/s\ninterval: 10s\nversions: {v1: {errors: 0.3%}, v2: {errors: 1.5%}}\n");
    let share = |found: Option<many::Share>| found.unwrap().share();
    let default = many::run(&identical, Name::FlaggerLike, 300, &|_| {});
    assert!(share(default.false_roll_back) > 0.15, "{default:?}");
    let examples = many::run(&worse, Name::FlaggerLikeExamples, 300, &|_| {});
    assert!(share(examples.bad_promoted) > 0.5, "{examples:?}");
    let test = many::run(
        &canary("traffic: 10/s\ninterval: 10s\nversions: {v1: {errors: 1%}, v2: {errors: 1%}}\n"),
        Name::PeekingZTest,
        300,
        &|_| {},
    );
    assert!(share(test.false_roll_back) > 0.05, "{test:?}");
}

#[test]
fn a_picture_has_a_line_for_every_version_and_says_how_it_ended() {
    let scenario = canary("traffic: 50/s\nduration: 30m\nversions: {v2: {errors: 30%}}\n");
    let run = simulate(&scenario, &mut Weir::in_words(), 1, Watching::Everything);
    let svg = weir_simulator::plot::svg(&run);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("rolled back to v1") && svg.contains("v1 (baseline)"), "{svg}");
    assert!(svg.matches("<path").count() > 20 && !svg.contains("NaN"));
}

#[test]
fn a_run_that_ends_before_a_fault_says_that_it_never_met_it() {
    let scenario =
        canary("traffic: 50/s\nversions: {v2: {errors: 100%}}\nfaults: {silences: [{from: 3h, until: 4h}]}\n");
    let run = run(&scenario, 1);
    assert_eq!(run.unreached, ["the silence at 3h"], "it ended at {} ms", run.ended_at_ms);
    let many = many::run(&scenario, Name::Weir, 4, &|_| {});
    assert_eq!(many.unreached.iter().map(|unreached| unreached.share.count).collect::<Vec<_>>(), [4]);
    assert!(!many::summary(&scenario, "Weir".to_owned(), &[]).unreached.iter().any(|unreached| unreached.share.of > 0));
}

/// Whether weights ever moved between two times, and what was said then.
fn held(run: &Run, from_ms: u64, until_ms: u64) -> String {
    let within = || run.decisions.iter().filter(|decision| (from_ms..until_ms).contains(&decision.at_ms));
    assert!(within().all(|decision| !decision.action.moves_traffic()), "{:#?}", run.decisions);
    within().flat_map(|decision| decision.reasons.clone()).collect()
}

#[test]
fn a_step_of_the_controllers_clock_holds_the_weights_either_way_and_then_it_goes_on() {
    // Set back, it is behind every worker's, and they hold the weights until it is right again.
    for (steps, until_ms, way) in [
        ("{at: 60s, forward: 20s}", 180_000, "forward"),
        ("{at: 60s, back: 20s}, {at: 10m, forward: 20s}", 720_000, "back"),
    ] {
        let scenario = canary(&format!("traffic: 100/s\nfaults: {{clockSteps: [{steps}]}}\n"));
        let run = simulate(&scenario, &mut Weir::in_words(), 1, Watching::Everything);
        let said = held(&run, 60_000, until_ms);
        assert!(said.contains(&format!("the controller's clock was set {way} by 20 s")), "{steps}: {said}");
        assert_eq!((run.ending, run.version), (Ending::Promoted, 1), "{steps}");
        let settled: u64 = run.versions.iter().map(|version| version.settled.assigned).sum();
        assert!(run.requests - settled < 100 * 60, "{steps}: nothing is counted twice or lost");
    }
}

#[test]
fn workers_with_a_clock_of_their_own_hold_the_weights_unless_they_are_few() {
    for way in ["ahead: 2m", "behind: 2m"] {
        let faults = |share: &str| {
            format!("traffic: 100/s\nduration: 2h\nworkers: 20\nfaults: {{clocks: [{{share: {share}, {way}}}]}}\n")
        };
        let half = simulate(&canary(&faults("50%")), &mut Weir::in_words(), 1, Watching::Everything);
        assert!(held(&half, 0, 7_200_000).contains("a tenth of the workers' clocks are off by"), "{way}: {half:?}");
        let few = simulate(&canary(&faults("5%")), &mut Weir::in_words(), 1, Watching::Everything);
        assert_eq!(few.ending, Ending::Promoted, "{way}: one of twenty");
    }
}

#[test]
fn unrecorded_requests_break_the_sample_ratio_and_nobody_is_promoted() {
    let scenario = canary("traffic: 100/s\nduration: 6h\nfaults: {unrecorded: [{version: v2, share: 30%}]}\n");
    let run = simulate(&scenario, &mut Weir::in_words(), 1, Watching::Everything);
    assert_eq!(run.ending, Ending::Undecided, "{:?}", run.decisions);
    assert!(run.warnings.iter().any(|warning| warning.contains("do not follow the weights")), "{:?}", run.warnings);
    let got = &run.versions[1];
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let recorded = got.settled.assigned as f64 / got.requests as f64;
    assert!((0.6..0.75).contains(&recorded), "{recorded}");
}

#[test]
fn users_who_are_given_cookies_keep_the_shares_honest_and_show_when_those_are_not() {
    let given = |faults: &str| {
        let text = format!(
            "apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {{name: landing}}
spec:
  service: web
  unit: {{cookie: {{name: weir-uid, generate: {{}}}}}}
  versions: [{{name: old, baseline: true}}, {{name: new}}]
  strategy: ab
  reward: {{responseHeader: x-order, direction: maximize}}
  maxDuration: 1d
---
apiVersion: weir.dev/v1alpha1
kind: Scenario
traffic: 20/s
duration: 3h
users: {{count: 20000, tail: 1.1}}
{faults}"
        );
        simulate(&scenario::read(&text).unwrap(), &mut Weir::in_words(), 1, Watching::Everything)
    };
    let broken =
        |run: &Run| run.warnings.iter().any(|warning| warning.starts_with("users who were given a cookie do not"));
    let honest = given("");
    assert!(!broken(&honest), "{:?}", honest.warnings);
    // Everybody who came was new once, and only once.
    let (new, settled) = honest
        .versions
        .iter()
        .fold((0, 0), |(new, settled), version| (new + version.settled.new_units, settled + version.settled.assigned));
    assert!((5_000..=20_000).contains(&new) && settled > 5 * new, "{new} of {settled}");
    let loses = given("faults: {unrecorded: [{version: new, share: 30%}]}\n");
    assert!(broken(&loses), "{:?}", loses.warnings);
}

#[test]
fn whoever_approves_in_a_simulation_is_said_to_be_simulated() {
    let mut scenario = canary("traffic: 200/s\n");
    scenario.experiment.approvals.step = true;
    scenario.experiment.approvals.promotion = true;
    let run = simulate(&scenario, &mut Weir::in_words(), 1, Watching::Everything);
    let approved: Vec<&String> = run
        .decisions
        .iter()
        .flat_map(|decision| &decision.reasons)
        .filter(|reason| reason.contains("pproved"))
        .collect();
    assert!(!approved.is_empty());
    for decision in
        run.decisions.iter().filter(|decision| decision.reasons.iter().any(|reason| reason.starts_with("Approved")))
    {
        assert!(decision.reasons.iter().any(|reason| reason.contains("simulated person")), "{decision:?}");
    }
}
