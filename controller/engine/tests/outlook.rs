//! How long what is missing takes, as far as that can be said: near the truth where evidence grows, never where it does not.
#![cfg(not(target_arch = "wasm32"))] // Nothing here depends on the platform.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a failing helper fails its test"
)]

mod support;

use support::{Random, Run, canary, error_rate, experiment};
use weir_engine::assess::Depth;
use weir_engine::outlook::{Claim, Missing, Outlook, outlook, promotion_waits};
use weir_engine::spec::Experiment;
use weir_engine::state::{Phase, Proposal, State, Step};

const LOOK_MS: u64 = 1_000;
const REQUESTS: u64 = 500;

fn test_of_errors() -> Experiment {
    Experiment { objectives: vec![error_rate(0.01)], ..experiment(2) }
}

fn missing(run: &mut Run) -> Vec<Missing> {
    let assessment = run.assess(Depth::Complete);
    outlook(&run.experiment, &run.state, &run.observations, &assessment, run.now)
}

fn of_errors(missing: &[Missing]) -> Outlook {
    let claim = Claim::Met { gate: "errors".into() };
    let found = missing.iter().find(|missing| missing.version == "v2" && missing.claim == claim);
    found.map_or(Outlook::Reached, |missing| missing.outlook)
}

#[test]
fn a_claim_that_grows_is_reached_about_when_it_was_said_to_be() {
    let (mut told, mut right) = (0, 0);
    for seed in 0..120 {
        let (mut run, mut random) = (Run::new(test_of_errors()), Random(seed));
        run.go(40, LOOK_MS, REQUESTS, &[0.0077, 0.0077], &mut random);
        if !run.state.is_running() {
            continue;
        }
        let said = of_errors(&missing(&mut run));
        let Outlook::Within { soonest_ms, latest_ms: Some(latest_ms) } = said else { continue };
        assert!(soonest_ms <= latest_ms);
        told += 1;
        let asked_at = run.now;
        run.go(400, LOOK_MS, REQUESTS, &[0.0077, 0.0077], &mut random);
        let took = run.now - asked_at;
        right += u32::from((soonest_ms / 4..=latest_ms * 4).contains(&took));
    }
    assert!(told >= 12, "{told}");
    assert!(right * 10 >= told * 8, "{right} of {told}");
}

#[test]
fn a_claim_that_is_false_is_not_promised() {
    let mut promised = 0;
    for seed in 0..10 {
        let (mut run, mut random) = (Run::new(test_of_errors()), Random(seed));
        // Beyond the limit, but so little that nothing shows it for long.
        run.go(60, LOOK_MS, REQUESTS, &[0.005, 0.0115], &mut random);
        promised += u32::from(matches!(of_errors(&missing(&mut run)), Outlook::Within { latest_ms: Some(_), .. }));
    }
    assert!(promised <= 1, "{promised} of 10");
}

#[test]
fn of_nothing_nothing_is_known_and_after_the_end_nothing_is_missing() {
    let (mut run, mut random) = (Run::new(test_of_errors()), Random(1));
    assert!(missing(&mut run).iter().all(|missing| missing.outlook == Outlook::Unknown));
    assert!(missing(&mut run).iter().any(|missing| missing.claim == Claim::Exposures));
    run.go(400, LOOK_MS, REQUESTS, &[0.0, 0.0], &mut random);
    assert!(run.outcome().is_some());
    assert_eq!(missing(&mut run), []);
}

#[test]
fn exposures_on_the_rung_and_a_persons_approval_are_missing_while_they_are() {
    let goals = Experiment { objectives: vec![error_rate(0.5)], min_exposures: 2_000, ..canary() };
    let (mut run, mut random) = (Run::new(goals), Random(3));
    // Until it has climbed once: what it had there is no longer on this rung.
    while run.state.rung == 0 {
        run.go(1, LOOK_MS, REQUESTS, &[0.001, 0.001], &mut random);
        assert!(run.now < 1_000_000);
    }
    run.go(4, LOOK_MS, REQUESTS, &[0.001, 0.001], &mut random);
    let rung = missing(&mut run).into_iter().find(|missing| missing.claim == Claim::Rung).expect("the rung");
    let here = run.assess(Depth::Complete).versions[1].settled_at_these_weights;
    assert_eq!((rung.version.as_str(), rung.have, rung.need), ("v2", here as f64, 2_000.0));
    let Outlook::Within { soonest_ms, latest_ms: Some(latest_ms) } = rung.outlook else { panic!("{rung:?}") };
    // 500 requests a second, a tenth of them its own: 50 a second.
    let expected = (2_000 - here) * 1_000 / 50;
    assert!(soonest_ms <= expected * 2 && expected <= latest_ms * 2, "{rung:?} {expected}");
    let step = Step::Weights { weights: vec![7_500, 2_500], rung: 2 };
    run.state.awaited = Some(Proposal { since: run.now, step });
    let first = missing(&mut run).remove(0);
    assert_eq!((first.claim, first.version.as_str()), (Claim::Approval, "v1, v2"));
}

#[test]
fn a_winner_that_is_not_promoted_says_what_it_waits_for() {
    let goals = Experiment { objectives: vec![error_rate(0.5)], ..canary() };
    let (mut run, mut random) = (Run::new(goals), Random(4));
    run.go(20, LOOK_MS, REQUESTS, &[0.001, 0.001], &mut random);
    let mut assessment = run.assess(Depth::Complete);
    assessment.winner = Some("v2".to_owned());
    let mut state = run.state.clone();
    state.phase = Phase::Running;
    state.rung = 0;
    let waits = |experiment: &Experiment, state: &State| promotion_waits(experiment, state, &assessment);
    let said = waits(&run.experiment, &state).expect("a reason");
    assert_eq!(said, "v2 is not promoted yet: it stands on rung 1 of 4, and climbs the others first.");
    state.rung = 3;
    run.experiment.min_exposures = 1_000_000;
    let said = waits(&run.experiment, &state).expect("a reason");
    assert!(said.contains("of the 1,000,000 settled exposures it needs on the last rung"), "{said}");
    run.experiment.min_exposures = 1;
    assert_eq!(waits(&run.experiment, &state), None);
    run.experiment.approvals.promotion = true;
    assert_eq!(waits(&run.experiment, &state).as_deref(), Some("v2 is not promoted yet: somebody must approve it."));
}
