//! How often is something claimed in a version's favour that is not so: a limit met that is at its boundary, a version beaten that is
//! as good as any.

use super::{case, per_version, ramp, ramped, swing};
use crate::builders::{Goals, experiment};
use crate::case::{Case, Outcome, Question};
use crate::cases::false_roll_back::SIGMA;
use crate::course::{Course, beaten, met, on_evidence};
use crate::traffic::{At, Earning, Latency, Requests};
use crate::users::{Activity, Habit, Users};
use weir_engine::spec::{Direction, Experiment, Reward, RewardKind};

const PROMOTION: Option<f64> = Some(0.05);
const CANDIDATE: usize = 1;

/// A limit of the candidate that is exactly at its boundary, and must not be called met.
fn at_boundary(
    id: &'static str,
    card: &'static str,
    setting: &str,
    goals: Experiment,
    course: Course,
    traffic: Requests,
) -> Case {
    case(id, Question::FalsePromotion, card, setting, PROMOTION, move |seed| {
        on_evidence(&goals, course, traffic, seed, met(CANDIDATE, 0))
    })
}

/// A version that no other is better than, and must not be called beaten.
fn as_good(
    id: &'static str,
    card: &'static str,
    setting: &str,
    goals: Experiment,
    course: Course,
    reward: Earning,
) -> Case {
    let traffic = Requests { fails: |_, _| 0.0, latency: None, reward };
    case(id, Question::FalsePromotion, card, setting, PROMOTION, move |seed| {
        on_evidence(&goals, course, traffic, seed, beaten(0))
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = limits();
    cases.extend(rewards());
    cases
}

fn limits() -> Vec<Case> {
    let usual = Course::USUAL;
    let twice: fn(At, usize) -> f64 = |_, version| per_version(&[0.005, 0.01], version);
    vec![
        at_boundary(
            "met-objective",
            "D",
            "errors at the objective's limit, 1%",
            experiment(2).error_objective(0.01),
            usual,
            Requests::failing(|_, _| 0.01),
        ),
        at_boundary(
            "met-objective-falling",
            "D",
            "1.5% errors for 10,000 requests, then 0.5%: the average comes down to the limit, 1%",
            experiment(2).error_objective(0.01),
            usual,
            Requests::failing(|at, _| if at < 10_000 { 0.015 } else { 0.005 }),
        ),
        at_boundary(
            "met-ratio",
            "A",
            "0.5% errors in the baseline, 1% in the candidate, ratio 2",
            experiment(2).error_guardrail(2.0, 0.0),
            usual,
            Requests::failing(twice),
        ),
        at_boundary(
            "met-ratio-ramp-swing",
            "A",
            "the same ± 90%, on the ramp",
            experiment(2).error_guardrail(2.0, 0.0),
            ramped(),
            Requests::failing(|at, version| swing(at) * per_version(&[0.005, 0.01], version)),
        ),
        at_boundary(
            "met-margin-ramp-swing",
            "B",
            "0.3% ± 90%, and 0.3 points more, on the ramp",
            experiment(2).error_guardrail(1.0, 0.003),
            Course { weights: Some(ramp), ..usual },
            Requests::failing(|at, version| 0.003 * swing(at) + per_version(&[0.0, 0.003], version)),
        ),
        at_boundary(
            "met-margin",
            "B",
            "0.3% errors in the baseline, 0.6% in the candidate, margin 0.3 points",
            experiment(2).error_guardrail(1.0, 0.003),
            usual,
            Requests::failing(|_, version| per_version(&[0.003, 0.006], version)),
        ),
        Case {
            short_runs: 100,
            ..at_boundary(
                "met-latency",
                "C",
                "exactly 1.5 times as slow, both drifting by ±90%, ratio 1.5",
                experiment(2).latency_guardrail(1.5),
                usual,
                Requests {
                    fails: |_, _| 0.0,
                    latency: Some(|at, version| Latency {
                        median_us: 80_000.0 * swing(at) * per_version(&[1.0, 1.5], version),
                        sigma: SIGMA,
                    }),
                    reward: Earning::Nothing,
                },
            )
        },
        Case {
            short_runs: 100,
            ..at_boundary(
                "met-latency-steady",
                "C",
                "exactly 1.5 times as slow, ratio 1.5",
                experiment(2).latency_guardrail(1.5),
                usual,
                Requests {
                    fails: |_, _| 0.0,
                    latency: Some(|_, version| Latency {
                        median_us: 80_000.0 * per_version(&[1.0, 1.5], version),
                        sigma: SIGMA,
                    }),
                    reward: Earning::Nothing,
                },
            )
        },
        Case {
            short_runs: 100,
            ..at_boundary(
                "met-latency-objective",
                "D",
                "1% of exposures slower than the limit for 99%",
                experiment(2).latency_objective(0.99, 256_000),
                usual,
                Requests {
                    fails: |_, _| 0.0,
                    // p99 is e^(2.326·σ) times the median.
                    latency: Some(|_, _| Latency {
                        median_us: 256_000.0 / (2.326_347_874 * SIGMA).exp(),
                        sigma: SIGMA,
                    }),
                    reward: Earning::Nothing,
                },
            )
        },
    ]
}

fn rewards() -> Vec<Case> {
    let usual = Course::USUAL;
    let binary = |versions| experiment(versions).reward(RewardKind::Binary);
    let five: fn(At) -> Vec<u32> = |at| {
        // Weights that go round: each version leads for a while.
        let leader = usize::try_from(at / 2_000 % 5).unwrap_or(0);
        (0..5).map(|version| if version == leader { 6_000 } else { 1_000 }).collect()
    };
    vec![
        as_good(
            "best-two",
            "G, J",
            "two versions that convert alike, 10%",
            binary(2),
            usual,
            Earning::Conversion(|_, _| 0.1),
        ),
        as_good(
            "best-two-ramp-swing",
            "G, J",
            "the same ± 90%, on the ramp",
            binary(2),
            ramped(),
            Earning::Conversion(|at, _| 0.1 * swing(at)),
        ),
        as_good(
            "best-two-minimized",
            "G, J",
            "two versions that are rewarded alike, 30%, where fewer is better, on the ramp",
            {
                let mut goals = binary(2);
                goals.reward = goals.reward.map(|reward| Reward { direction: Direction::Minimize, ..reward });
                goals
            },
            ramped(),
            Earning::Conversion(|_, _| 0.3),
        ),
        as_good(
            "best-five",
            "G, J",
            "five versions that convert alike, 10% ± 90%, each leading the traffic in turn",
            binary(5),
            Course { weights: Some(five), ..usual },
            Earning::Conversion(|at, _| 0.1 * swing(at)),
        ),
        as_good(
            "amounts",
            "H (asymptotic)",
            "baskets of equal log-normal size (σ = 1), 5% buy",
            experiment(2).reward(RewardKind::Real),
            usual,
            Earning::Amount { buys: 0.05, sigma: 1.0, median: |_| 1.0 },
        ),
        as_good(
            "amounts-ramp",
            "H (asymptotic)",
            "the same on the ramp",
            experiment(2).reward(RewardKind::Real),
            ramped(),
            Earning::Amount { buys: 0.05, sigma: 1.0, median: |_| 1.0 },
        ),
        small_arm("amounts-5", "two equal versions at 95 and 5%, baskets of log-normal size (σ = 1), 30% buy", 1.0),
        small_arm("amounts-5-skewed", "the same with σ = 2", 2.0),
        users_moved(
            "users-moved",
            "four equal versions of which users convert alike (20%, 5,000 users alike in activity); weights move from one to another",
            |at| match at / 20_000 {
                0 => vec![2_500; 4],
                1 => vec![2_500, 4_000, 1_000, 2_500],
                _ => vec![2_500, 6_500, 500, 500],
            },
        ),
        users_moved(
            "users-third-out",
            "the same; after a while one version's users go to all others in proportion",
            |at| if at < 20_000 { vec![2_500; 4] } else { vec![3_334, 3_333, 3_333, 0] },
        ),
        case(
            "users-rewards",
            Question::FalsePromotion,
            "F, J",
            "heavy-tailed users, some of whom convert a lot; equal versions",
            PROMOTION,
            |seed| {
                let goals = experiment(2).reward(RewardKind::Binary).of_users();
                let habit = |nature: u64, _: usize| Habit {
                    converts: if nature % 11 == 2 { 0.4 } else { 0.01 },
                    ..Habit::default()
                };
                Users::new(&goals, seed, Activity::HeavyTailed, habit)
                    .map_or(Outcome::Never, |users| on_evidence(&goals, Course::USUAL, users, seed, beaten(0)))
            },
        ),
    ]
}

/// Amounts where the version with the small weight must not be called beaten: its own variance is hardly known.
fn small_arm(id: &'static str, setting: &str, sigma: f64) -> Case {
    let goals = experiment(2).reward(RewardKind::Real);
    let course = Course { weights: Some(|_| vec![9_500, 500]), horizon: 40_000, ..Course::USUAL };
    let traffic =
        Requests { fails: |_, _| 0.0, latency: None, reward: Earning::Amount { buys: 0.3, sigma, median: |_| 1.0 } };
    Case {
        short_runs: 100,
        ..case(id, Question::FalsePromotion, "H (asymptotic)", setting, PROMOTION, move |seed| {
            on_evidence(&goals, course, traffic, seed, beaten(CANDIDATE))
        })
    }
}

/// Users of equal versions, some of whom get another version when weights move.
fn users_moved(id: &'static str, setting: &str, weights: fn(At) -> Vec<u32>) -> Case {
    let goals = experiment(4).reward(RewardKind::Binary).of_users();
    let course = Course { weights: Some(weights), horizon: 100_000, step: 1_000, ..Course::USUAL };
    let habit = |_: u64, _: usize| Habit { converts: 0.2, ..Habit::default() };
    Case {
        short_runs: 100,
        ..case(id, Question::FalsePromotion, "F, J", setting, PROMOTION, move |seed| {
            Users::new(&goals, seed, Activity::Even, habit)
                .map_or(Outcome::Never, |users| on_evidence(&goals, course, users, seed, beaten(0)))
        })
    }
}
