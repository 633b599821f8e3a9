//! How long what is missing takes, as far as that can be said: near the truth where evidence grows, never where it does not.
#![cfg(not(target_arch = "wasm32"))] // Nothing here depends on the platform.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failing helper fails its test")]

mod support;

use support::{Random, Run, error_rate, experiment};
use weir_engine::assess::Depth;
use weir_engine::outlook::{Claim, Missing, Outlook, outlook};
use weir_engine::spec::Experiment;

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
