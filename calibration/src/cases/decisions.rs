//! Experiments that decide for themselves, as the controller runs them: ladders and bandits, to their end; and the breaker.

use super::{case, per_version};
use crate::builders::{Goals, experiment};
use crate::case::{Case, Outcome, Question};
use crate::course::{Course, Decided, on_decisions, on_doubt};
use crate::traffic::{Earning, Requests};
use weir_engine::assess::Depth;
use weir_engine::spec::{Experiment, RewardKind, Rule, Strategy};

const PROMISE: Option<f64> = Some(0.05);
/// What the breaker is built for: it rarely pauses a healthy version.
const RARELY: Option<f64> = Some(0.001);

/// A canary on the usual ladder.
fn canary() -> Experiment {
    Experiment { strategy: Strategy::Canary { steps: vec![100, 500, 2_500, 5_000] }, ..experiment(2) }
}

/// Which ending of a run is asked for.
type Ending = fn(&Decided) -> Outcome;

pub(super) fn cases() -> Vec<Case> {
    let long = Course { horizon: 200_000, step: 1_000, ..Course::USUAL };
    let equal: fn(u64, usize) -> f64 = |_, _| 0.003;
    let worse: fn(u64, usize) -> f64 = |_, version| per_version(&[0.003, 0.015], version);
    let ladder = |id, question, setting: &str, promise, fails, wanted: Ending| {
        let goals = canary().error_guardrail(1.0, 0.003);
        Case {
            short_runs: 100,
            horizon: Some(long.horizon),
            ..case(id, question, "B, ladder", setting, promise, move |seed| {
                wanted(&on_decisions(&goals, long, Requests::failing(fails), seed, Depth::Evidence))
            })
        }
    };
    let bandit = || Experiment {
        strategy: Strategy::Bandit { rule: Rule::Thompson, floor: 500, max_step: 2_000, half_life_ms: None },
        ..experiment(3).error_objective(0.02).reward(RewardKind::Binary)
    };
    let rewarded = |id, question, setting: &str, promise, fails, converts, wanted: Ending| {
        let traffic = Requests { fails, latency: None, reward: Earning::Conversion(converts) };
        let course = Course { horizon: 40_000, step: 500, ..Course::USUAL };
        Case {
            short_runs: 60,
            horizon: Some(course.horizon),
            ..case(id, question, "D, G, J, bandit", setting, promise, move |seed| {
                wanted(&on_decisions(&bandit(), course, traffic, seed, Depth::Decision))
            })
        }
    };
    // 100 requests a second, of which 26 seconds have not settled.
    let paused = |id, question, setting: &str, promise, fails: fn(u64, usize) -> f64| {
        let goals = experiment(2).error_guardrail(1.0, 0.003);
        let course = Course { horizon: 100_000, ..Course::USUAL };
        Case {
            short_runs: 40,
            horizon: Some(course.horizon),
            ..case(id, question, "breaker", setting, promise, move |seed| {
                on_doubt(&goals, course, 13, Requests::failing(fails), seed)
            })
        }
    };
    vec![
        paused(
            "breaker-equal",
            Question::FalseAlarm,
            "equal versions at 0.3% errors, margin 0.3 points: paused by the breaker, 100,000 requests",
            RARELY,
            |_, _| 0.003,
        ),
        paused(
            "breaker-edge",
            Question::FalseAlarm,
            "a candidate exactly at its limit, 0.3% → 0.6%: paused by the breaker, 100,000 requests",
            RARELY,
            |_, version| per_version(&[0.003, 0.006], version),
        ),
        paused(
            "breaker-bursts",
            Question::FalseAlarm,
            "equal versions whose errors come in bursts of 200 requests, 20% in every hundredth: paused by the breaker",
            RARELY,
            |at, _| if (at / 200).is_multiple_of(100) { 0.2 } else { 0.001 },
        ),
        paused(
            "breaker-outage",
            Question::Power,
            "a candidate breaks after 20,000 requests (0.3% → 30%): paused by the breaker (count from the beginning)",
            None,
            |at, version| if at >= 20_000 && version == 1 { 0.3 } else { 0.003 },
        ),
        ladder(
            "canary-equal",
            Question::FalseRollBack,
            "a canary equal to its baseline at 0.3% errors, margin 0.3 points, decided to its end or 200,000 requests",
            PROMISE,
            equal,
            |decided| decided.rolls_back(1),
        ),
        ladder(
            "canary-worse-promoted",
            Question::FalsePromotion,
            "a canary five times worse (0.3% → 1.5%), promoted",
            PROMISE,
            worse,
            |decided| decided.promotes(1),
        ),
        ladder("canary-worse", Question::Power, "a canary five times worse is rolled back", None, worse, |decided| {
            decided.rolls_back(1)
        }),
        ladder("canary-equal-promoted", Question::Power, "an equal canary is promoted", None, equal, |decided| {
            decided.promotes(1)
        }),
        rewarded(
            "bandit-at-limit",
            Question::FalseRollBack,
            "three equal versions at the objective's limit, 2% errors, under a bandit: one named candidate is rolled back",
            PROMISE,
            |_, _| 0.02,
            |_, _| 0.1,
            |decided| decided.rolls_back(1),
        ),
        rewarded(
            "bandit-third-promoted",
            Question::FalsePromotion,
            "the best and its twin convert at 12%, a third at 11.7%, under a bandit: the third is promoted",
            PROMISE,
            |_, _| 0.005,
            |_, version| per_version(&[0.12, 0.12, 0.117], version),
            |decided| decided.promotes(2),
        ),
        rewarded(
            "bandit-infeasible-leader",
            Question::FalsePromotion,
            "the baseline converts at 10%, a worse version at 9%; a third at 20%, but with 2.5% errors of which 2% are allowed: the worse or \
             the third is promoted",
            PROMISE,
            |_, version| per_version(&[0.005, 0.005, 0.025], version),
            |_, version| per_version(&[0.10, 0.09, 0.20], version),
            |decided| match decided.promotes(1) {
                Outcome::Never => decided.promotes(2),
                claimed => claimed,
            },
        ),
        rewarded(
            "bandit-best",
            Question::Power,
            "10, 14 and 17% convert; the last has 6% errors, of which 2% are allowed: the second is promoted",
            None,
            |_, version| per_version(&[0.005, 0.005, 0.06], version),
            |_, version| per_version(&[0.10, 0.14, 0.17], version),
            |decided| decided.promotes(1),
        ),
    ]
}
