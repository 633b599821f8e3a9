//! Failures of Flagger and Argo Rollouts: low traffic, no data, dead telemetry.

use crate::RARITY;
use crate::support::{Random, Run, canary, error_rate, guardrail, most_allowed};
use weir_core::report::Counts;
use weir_engine::assess::Depth;
use weir_engine::decide::Action;
use weir_engine::spec::{Bound, Experiment};
use weir_engine::state::{Outcome, State, Verdict};

/// A canary that must not fail twice as often as the baseline, nor in more than 1% of requests.
fn guarded_canary() -> Experiment {
    Experiment {
        objectives: vec![error_rate(0.01)],
        guardrails: vec![guardrail("errors", Bound::ErrorRate { ratio: 2.0, margin: 0.0 })],
        ..canary()
    }
}

/// Flagger's default rolls an identical canary at 0.3% errors back in 42–70% of runs at 1–10 requests a second, for want of data
/// or for one error in a window. Here it is rolled back in at most α of them, looked at every other minute for six hours.
#[test]
fn an_identical_canary_at_low_traffic_is_not_rolled_back() {
    for rate in [1, 4, 10] {
        let runs = 40;
        let mut rolled_back = 0;
        for seed in 0..runs {
            let mut run = Run::new(guarded_canary());
            run.go(180, 120_000, 120 * rate, &[0.003; 2], &mut Random(u64::from(seed) * 100 + rate));
            rolled_back += u32::from(run.state.out[1]);
        }
        let most = most_allowed(runs, 0.05, RARITY);
        assert!(rolled_back <= most, "{rolled_back} of {runs} rolled back at {rate}/s, at most {most} may be");
    }
}

/// With the threshold of its examples Flagger promotes a canary five times worse in 80% of runs at 1 request a second. Here the
/// guardrail's "met" is false of it, so that it is promoted in at most α of runs: in fact in none of these, and most are rolled
/// back within a day.
#[test]
fn a_canary_five_times_worse_at_low_traffic_is_not_promoted() {
    let runs = 40;
    let (mut promoted, mut rolled_back) = (0, 0);
    for seed in 0..runs {
        let mut run = Run::new(guarded_canary());
        run.go(288, 300_000, 300, &[0.003, 0.015], &mut Random(9_000 + u64::from(seed)));
        promoted += u32::from(matches!(run.outcome(), Some((Outcome::Promoted, 1))));
        rolled_back += u32::from(run.state.out[1]);
    }
    let most = most_allowed(runs, 0.05, RARITY);
    assert!(promoted <= most, "{promoted} of {runs} promoted, at most {most} may be");
    assert!(rolled_back >= runs / 2, "only {rolled_back} of {runs} rolled back within a day");
}

/// To Flagger "no data", a dead metrics provider and a bad canary are the same failed check. Here no data is neither a pass nor a
/// failure: it holds, latches nothing, and time alone ends it, inconclusive.
#[test]
fn no_data_is_neither_a_pass_nor_a_failure() {
    let mut run = Run::new(guarded_canary());
    for _ in 0..1_000 {
        let decision = run.look(60_000);
        assert_eq!((decision.action, decision.state.rung), (Action::Hold, 0));
        assert_eq!(decision.reasons, ["Nothing has settled yet: no data means hold."]);
    }
    assert_eq!(run.state, State::begin(&run.experiment, 0));
    assert_eq!(run.look(86_400_000).action, Action::Conclude);
    assert_eq!(run.outcome(), Some((Outcome::Inconclusive, 0)));
}

/// Argo pauses on an inconclusive analysis and needs a person. Here doubt holds, says what it waits for, and goes on by itself when
/// the evidence is there.
#[test]
fn an_inconclusive_analysis_holds_and_goes_on_by_itself() {
    let mut run = Run::new(guarded_canary());
    let mut random = Random(12);
    run.serve(400, &[0.003; 2], &mut random);
    let decision = run.look(60_000);
    assert_eq!(decision.action, Action::Hold);
    assert!(
        decision.reasons.iter().any(|reason| reason.contains("not enough evidence on errors")),
        "{:?}",
        decision.reasons
    );
    assert_eq!(run.assess(Depth::Complete).versions[1].gates[0].verdict, Verdict::NotEnoughEvidence);
    run.go(1_000, 60_000, 400, &[0.001; 2], &mut random);
    assert_eq!(run.outcome(), Some((Outcome::Promoted, 1)));
}

/// A dead Prometheus aborts Argo's roll-out after five errors. Here dead telemetry neither aborts nor promotes: a thousand looks
/// at the same settled counts change nothing, whatever is still unsettled; when reports come again, it goes on.
#[test]
fn dead_telemetry_neither_aborts_nor_promotes() {
    let mut run = Run::new(guarded_canary());
    let mut random = Random(31);
    run.go(20, 30_000, 600, &[0.001; 2], &mut random);
    let epoch = run.state.epoch().unwrap().epoch;
    // The last of it never settled: as many errors as requests, of the candidate alone.
    let lost = Counts { assigned: 5_000, completed: 5_000, failed: 5_000, ..Counts::default() };
    run.serve(0, &[0.0; 2], &mut random);
    run.observations.epochs.get_mut(&epoch).unwrap().unsettled = vec![Counts::default(), lost];
    let before = run.state.clone();
    assert!(before.is_running());
    for _ in 0..1_000 {
        // Time passes, but not the hour after which an epoch that settled something is renewed.
        assert_eq!(run.look(100).action, Action::Hold);
    }
    assert_eq!(run.state, before);
    assert_eq!(
        run.assess(Depth::Complete).versions[1].live.failed - run.assess(Depth::Complete).versions[1].settled.failed,
        5_000
    );
    run.go(1_000, 30_000, 600, &[0.001; 2], &mut random);
    assert_eq!(run.outcome(), Some((Outcome::Promoted, 1)));
}
