//! How many requests until what is so is seen.

use super::{case, per_version, split};
use crate::builders::{Goals, experiment};
use crate::case::{Case, Outcome, Question};
use crate::cases::false_roll_back::SIGMA;
use crate::course::{Course, met, mismatch, on_evidence, violated, wins};
use crate::traffic::{Astray, Earning, Latency, Requests};
use crate::users::{Activity, Habit, Users};
use weir_engine::spec::{Experiment, RewardKind};

const CANDIDATE: usize = 1;

/// The candidate is five times worse.
const WORSE: fn(u64, usize) -> f64 = |_, version| per_version(&[0.003, 0.015], version);
const EQUAL: fn(u64, usize) -> f64 = |_, _| 0.003;

fn found(
    id: &'static str,
    card: &'static str,
    setting: &str,
    promise: Option<f64>,
    goals: Experiment,
    course: Course,
    traffic: Requests,
) -> Case {
    Case {
        short_runs: 100,
        horizon: Some(course.horizon),
        ..case(id, Question::Power, card, setting, promise, move |seed| {
            on_evidence(&goals, course, traffic, seed, violated(CANDIDATE))
        })
    }
}

fn shown(id: &'static str, card: &'static str, setting: &str, goals: Experiment, traffic: Requests) -> Case {
    let course = Course { horizon: 100_000, step: 500, ..Course::USUAL };
    Case {
        short_runs: 60,
        horizon: Some(course.horizon),
        ..case(id, Question::Power, card, setting, None, move |seed| {
            on_evidence(&goals, course, traffic, seed, met(CANDIDATE, 0))
        })
    }
}

pub(super) fn cases() -> Vec<Case> {
    let usual = Course::USUAL;
    let longer = Course { horizon: 60_000, ..usual };
    let ratio = || experiment(2).error_guardrail(1.0, 0.0);
    let slow = Requests {
        fails: |_, _| 0.0,
        // p99 is e^(2.326·σ) times the median.
        latency: Some(|_, version| Latency {
            median_us: per_version(&[250_000.0, 400_000.0], version) / (2.326_347_874 * SIGMA).exp(),
            sigma: SIGMA,
        }),
        reward: Earning::Nothing,
    };
    let converts = Requests {
        fails: |_, _| 0.0,
        latency: None,
        reward: Earning::Conversion(|_, version| per_version(&[0.10, 0.12], version)),
    };
    let mut cases = vec![
        found(
            "power-ratio",
            "A",
            "0.3% → 1.5% errors at 50/50, ratio 1",
            Some(2_200.0),
            ratio(),
            usual,
            Requests::failing(WORSE),
        ),
        found(
            "power-ratio-2",
            "A",
            "the same, ratio 2",
            None,
            experiment(2).error_guardrail(2.0, 0.0),
            usual,
            Requests::failing(WORSE),
        ),
        found(
            "power-margin",
            "B",
            "the same, margin 0.3 points",
            None,
            experiment(2).error_guardrail(1.0, 0.003),
            usual,
            Requests::failing(WORSE),
        ),
        found(
            "power-objective",
            "D",
            "the same, objective 0.6%",
            None,
            experiment(2).error_objective(0.006),
            usual,
            Requests::failing(WORSE),
        ),
        found(
            "power-ratio-canary",
            "A",
            "0.3% → 1.5% errors at a 5% canary, ratio 1",
            None,
            ratio(),
            Course { horizon: 60_000, ..split(|_| vec![9_500, 500]) },
            Requests::failing(WORSE),
        ),
        Case {
            short_runs: 30,
            ..found(
                "power-ratio-debt",
                "A",
                "0.3% → 1.5% errors at 50/50, ratio 1, after 300,000 healthy requests, which are not counted here",
                None,
                ratio(),
                Course { before: 300_000, before_step: 5_000, ..longer },
                Requests::failing(|at, version| if at < 300_000 { 0.003 } else { WORSE(at, version) }),
            )
        },
        found(
            "power-latency",
            "C",
            "p99 250 → 400 ms at 50/50, latency ratio 1.25",
            None,
            experiment(2).latency_guardrail(1.25),
            usual,
            slow,
        ),
        found(
            "power-latency-objective",
            "D",
            "p99 250 → 400 ms at 50/50, objective 99% within 300 ms",
            None,
            experiment(2).latency_objective(0.99, 300_000),
            usual,
            slow,
        ),
        shown(
            "power-met-ratio",
            "A",
            "equal versions at 0.3% errors shown to keep ratio 2",
            experiment(2).error_guardrail(2.0, 0.0),
            Requests::failing(EQUAL),
        ),
        shown(
            "power-met-margin",
            "B",
            "the same, margin 0.3 points",
            experiment(2).error_guardrail(1.0, 0.003),
            Requests::failing(EQUAL),
        ),
        shown(
            "power-met-objective",
            "D",
            "0.3% errors shown to keep an objective of 1%",
            experiment(2).error_objective(0.01),
            Requests::failing(EQUAL),
        ),
    ];
    cases.push(shown(
        "power-met-latency",
        "C",
        "equal latencies (p99 256 ms) shown to keep ratio 1.5",
        experiment(2).latency_guardrail(1.5),
        Requests {
            fails: |_, _| 0.0,
            latency: Some(|_, _| Latency { median_us: 80_000.0, sigma: SIGMA }),
            reward: Earning::Nothing,
        },
    ));
    cases.extend(of_users_and_amounts());
    cases.push(Case {
        horizon: Some(longer.horizon),
        ..case(
            "power-mismatch",
            Question::Power,
            "E",
            "requests that should be split 50/50 come 52/48",
            None,
            move |seed| {
                let traffic = Astray { requests: Requests::failing(EQUAL), weights: vec![5_200, 4_800] };
                on_evidence(&experiment(2), longer, traffic, seed, mismatch)
            },
        )
    });
    let goals = experiment(2).reward(RewardKind::Binary);
    cases.push(Case {
        short_runs: 60,
        horizon: Some(longer.horizon),
        ..case(
            "power-conversion",
            Question::Power,
            "G, J",
            "conversion 10% → 12% at 50/50: the candidate wins",
            None,
            move |seed| on_evidence(&goals, longer, converts, seed, wins(CANDIDATE)),
        )
    });
    cases
}

/// Users of whom every tenth fails now and then; three times as often with the candidate, and half as often rewarded with the baseline.
fn habit(nature: u64, version: usize) -> Habit {
    let unlucky = nature.is_multiple_of(10);
    Habit {
        fails: if unlucky { per_version(&[0.02, 0.06], version) } else { 0.000_2 },
        slow: 0.0,
        converts: if nature % 11 == 2 {
            per_version(&[0.05, 0.1], version)
        } else {
            per_version(&[0.005, 0.01], version)
        },
    }
}

fn of_users_and_amounts() -> Vec<Case> {
    let course = Course { horizon: 100_000, step: 500, ..Course::USUAL };
    let limited = experiment(2).error_guardrail(1.0, 0.0).of_users();
    let rewarded = experiment(2).reward(RewardKind::Binary).of_users();
    let amounts = experiment(2).reward(RewardKind::Real);
    let baskets = Requests {
        fails: |_, _| 0.0,
        latency: None,
        reward: Earning::Amount { buys: 0.05, sigma: 1.0, median: |version| per_version(&[1.0, 1.3], version) },
    };
    let users = |goals: &Experiment, seed| Users::new(goals, seed, Activity::HeavyTailed, habit);
    let cases = vec![
        case(
            "power-users",
            Question::Power,
            "F",
            "heavy-tailed users, every tenth of whom fails in 2% of requests, or in 6% with the candidate, ratio 1",
            None,
            move |seed| {
                users(&limited, seed)
                    .map_or(Outcome::Never, |users| on_evidence(&limited, course, users, seed, violated(CANDIDATE)))
            },
        ),
        case(
            "power-users-rewards",
            Question::Power,
            "F, J",
            "heavy-tailed users who convert twice as often with the candidate: it wins",
            None,
            move |seed| {
                Users::new(&rewarded, seed, Activity::HeavyTailed, habit)
                    .map_or(Outcome::Never, |users| on_evidence(&rewarded, course, users, seed, wins(CANDIDATE)))
            },
        ),
        case(
            "power-amounts",
            Question::Power,
            "H",
            "5% buy, baskets (log-normal, σ = 1) 30% larger: the candidate wins",
            None,
            move |seed| on_evidence(&amounts, course, baskets, seed, wins(CANDIDATE)),
        ),
    ];
    cases.into_iter().map(|case| Case { short_runs: 60, horizon: Some(course.horizon), ..case }).collect()
}
