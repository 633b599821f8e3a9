//! How often is a version rolled back that keeps its limits: equal versions, the null hypothesis' boundary, ramps, swings, delays,
//! users, debt.

use super::{case, per_version, ramp, ramped, swing};
use crate::builders::{Goals, experiment};
use crate::case::{Case, Outcome, Question};
use crate::course::{Course, mismatch, on_evidence, violated};
use crate::fleet::Fleet;
use crate::traffic::{At, Earning, Latency, Requests};
use crate::users::{Activity, Habit, Users};
use rand::RngExt;
use weir_engine::spec::Experiment;

const ROLL_BACK: Option<f64> = Some(0.05);
const CANDIDATE: usize = 1;

/// A case about the candidate.
fn about(
    id: &'static str,
    card: &'static str,
    setting: &str,
    goals: Experiment,
    course: Course,
    traffic: Requests,
) -> Case {
    case(id, Question::FalseRollBack, card, setting, ROLL_BACK, move |seed| {
        on_evidence(&goals, course, traffic, seed, violated(CANDIDATE))
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = errors();
    cases.extend(latency());
    cases.extend(users());
    cases.extend(telemetry());
    cases.push(everything());
    cases
}

fn errors() -> Vec<Case> {
    let usual = Course::USUAL;
    let relative = || experiment(2).error_guardrail(1.0, 0.0);
    let margin = || experiment(2).error_guardrail(1.0, 0.003);
    let mut cases = vec![
        about(
            "objective-at-limit-1",
            "D",
            "errors at the objective's limit, 1%",
            experiment(2).error_objective(0.01),
            usual,
            Requests::failing(|_, _| 0.01),
        ),
        about(
            "objective-at-limit-0.3",
            "D",
            "errors at the objective's limit, 0.3%",
            experiment(2).error_objective(0.003),
            usual,
            Requests::failing(|_, _| 0.003),
        ),
        about(
            "objective-within-swing",
            "D",
            "errors swinging by ±90% below the objective's limit, peaks at it",
            experiment(2).error_objective(0.019),
            usual,
            Requests::failing(|at, _| 0.01 * swing(at)),
        ),
    ];
    cases.extend([
        about(
            "ratio-equal-0.1",
            "A",
            "equal versions at 0.1% errors, ratio 1",
            relative(),
            usual,
            Requests::failing(|_, _| 0.001),
        ),
        about(
            "ratio-equal-0.3",
            "A",
            "equal versions at 0.3% errors, ratio 1",
            relative(),
            usual,
            Requests::failing(|_, _| 0.003),
        ),
        about(
            "ratio-equal-1",
            "A",
            "equal versions at 1% errors, ratio 1",
            relative(),
            usual,
            Requests::failing(|_, _| 0.01),
        ),
        about(
            "ratio-equal-10",
            "A",
            "equal versions at 10% errors, ratio 1",
            relative(),
            usual,
            Requests::failing(|_, _| 0.1),
        ),
        about(
            "ratio-boundary",
            "A",
            "0.3% errors in the baseline, 0.6% in the candidate, ratio 2: at the boundary",
            experiment(2).error_guardrail(2.0, 0.0),
            usual,
            Requests::failing(|_, version| per_version(&[0.003, 0.006], version)),
        ),
        about(
            "ratio-ramp",
            "A",
            "equal versions at 1%, ramp 1 → 5 → 25 → 50%",
            relative(),
            ramped(),
            Requests::failing(|_, _| 0.01),
        ),
        about(
            "ratio-swing",
            "A",
            "equal versions at 1% ± 90%",
            relative(),
            usual,
            Requests::failing(|at, _| 0.01 * swing(at)),
        ),
        about(
            "ratio-ramp-swing",
            "A",
            "equal versions at 0.3% ± 90%, on the ramp",
            relative(),
            ramped(),
            Requests::failing(|at, _| 0.003 * swing(at)),
        ),
        about(
            "margin-equal",
            "B",
            "equal versions at 0.3% errors, margin 0.3 points",
            margin(),
            usual,
            Requests::failing(|_, _| 0.003),
        ),
        about(
            "margin-equal-1",
            "B",
            "equal versions at 1% errors, margin 0.3 points",
            margin(),
            usual,
            Requests::failing(|_, _| 0.01),
        ),
        about(
            "margin-boundary",
            "B",
            "0.3% errors in the baseline, 0.6% in the candidate, margin 0.3 points: at the boundary",
            margin(),
            usual,
            Requests::failing(|_, version| per_version(&[0.003, 0.006], version)),
        ),
        about(
            "margin-boundary-ramp-swing",
            "B",
            "1% ± 90%, and 0.3 points more, on the ramp: at the boundary",
            margin(),
            ramped(),
            Requests::failing(|at, version| 0.01 * swing(at) + per_version(&[0.0, 0.003], version)),
        ),
        Case {
            short_runs: 100,
            ..about(
                "ratio-debt",
                "A",
                "equal versions at 0.3%, 320,000 requests: after 300,000 healthy ones, 20,000 more",
                relative(),
                Course { before: 300_000, before_step: 5_000, ..usual },
                Requests::failing(|_, _| 0.003),
            )
        },
    ]);
    cases
}

fn latency() -> Vec<Case> {
    let timed = |latency: fn(At, usize) -> Latency| Requests {
        fails: |_, _| 0.002,
        latency: Some(latency),
        reward: Earning::Nothing,
    };
    // P(T > 400 ms) = 1% where ln(400/median) = 2.3263·σ; failures are slow as well, so the tail gets what they leave.
    let at_limit: fn(At, usize) -> Latency =
        |_, _| Latency { median_us: 400_000.0 / (SIGMA * QUANTILE_992).exp(), sigma: SIGMA };
    let scaled: fn(At, usize) -> Latency =
        |_, version| Latency { median_us: per_version(&[80_000.0, 80_000.0 * 1.25], version), sigma: SIGMA };
    let cases = vec![
        about(
            "latency-objective-at-limit",
            "D",
            "99% of exposures within 400 ms, exactly; failures are slow",
            experiment(2).latency_objective(0.99, 400_000),
            Course::USUAL,
            timed(at_limit),
        ),
        about(
            "latency-equal",
            "C",
            "equal latencies (log-normal, median 80 ms, p99 256 ms), ratio 1.25",
            experiment(2).latency_guardrail(1.25),
            Course::USUAL,
            timed(|_, _| Latency { median_us: 80_000.0, sigma: SIGMA }),
        ),
        about(
            "latency-boundary",
            "C",
            "exactly 1.25 times as slow, ratio 1.25: at the boundary",
            experiment(2).latency_guardrail(1.25),
            Course::USUAL,
            Requests { fails: |_, _| 0.0, ..timed(scaled) },
        ),
        about(
            "latency-ramp-swing",
            "C",
            "exactly 1.25 times as slow, both drifting by ±90%, on the ramp",
            experiment(2).latency_guardrail(1.25),
            Course { weights: Some(ramp), ..Course::USUAL },
            Requests {
                fails: |_, _| 0.0,
                ..timed(|at, version| Latency {
                    median_us: 80_000.0 * swing(at) * per_version(&[1.0, 1.25], version),
                    sigma: SIGMA,
                })
            },
        ),
    ];
    cases.into_iter().map(|case| Case { short_runs: 100, ..case }).collect()
}

/// Standard deviation of the logarithm of latency: p99 is 3.2 times the median.
pub(super) const SIGMA: f64 = 0.5;
/// Standard normal quantile of 1 − 0.008/0.998: of the 1% that may be slow, failures take 0.2.
const QUANTILE_992: f64 = 2.408_184_785;

/// One user in fifty fails a third of the time, others hardly ever, whatever the version.
fn cursed(nature: u64, _: usize) -> Habit {
    let unlucky = nature.is_multiple_of(50);
    Habit {
        fails: if unlucky { 0.33 } else { 0.000_5 },
        slow: if nature % 7 == 1 { 0.5 } else { 0.01 },
        converts: if nature % 11 == 2 { 0.4 } else { 0.02 },
    }
}

fn users() -> Vec<Case> {
    let of_users = |id, setting: &str, goals: Experiment, course| {
        case(id, Question::FalseRollBack, "F", setting, ROLL_BACK, move |seed| {
            Users::new(&goals, seed, Activity::HeavyTailed, cursed)
                .map_or(Outcome::Never, |users| on_evidence(&goals, course, users, seed, violated(CANDIDATE)))
        })
    };
    let errors = || experiment(2).error_guardrail(1.0, 0.0).of_users();
    vec![
        of_users(
            "users-equal",
            "heavy-tailed users, some of whom fail a lot; equal versions, ratio 1",
            errors(),
            Course::USUAL,
        ),
        of_users("users-ramp", "the same on the ramp, users moving with it", errors(), ramped()),
        of_users(
            "users-latency",
            "heavy-tailed users, some of whom are slow; equal versions, ratio 1.25",
            // The ratio is in the thresholds: equal shares of slow users are at the boundary.
            experiment(2).latency_guardrail(1.25).of_users(),
            Course::USUAL,
        ),
        Case {
            short_runs: 100,
            ..case(
                "users-better",
                Question::FalseRollBack,
                "F",
                "5,000 users alike in activity, nearly all of whom fail sooner or later; the candidate fails **half** as often (6% → 3%), \
                 ratio 1.5, 400,000 requests",
                ROLL_BACK,
                |seed| {
                    let goals = experiment(2).error_guardrail(1.5, 0.0).of_users();
                    let course = Course { horizon: 400_000, step: 5_000, ..Course::USUAL };
                    let habit = |_, version| Habit { fails: per_version(&[0.06, 0.03], version), ..Habit::default() };
                    Users::new(&goals, seed, Activity::Even, habit)
                        .map_or(Outcome::Never, |users| on_evidence(&goals, course, users, seed, violated(CANDIDATE)))
                },
            )
        },
    ]
}

/// Of the baseline 1% time out after 14.9 s; of the candidate 1% fail at once.
const DELAYED: Fleet = Fleet {
    workers: 4,
    per_second: 500,
    seconds: 40,
    behaviour: |random, version| match (random.random_bool(0.01), version) {
        (true, 0) => (true, 14_900),
        (true, _) => (true, 2),
        (false, _) => (false, random.random_range(5..80)),
    },
    late_ms: 0.0,
    dies: 0.0,
    by_completion: false,
};

fn telemetry() -> Vec<Case> {
    let in_time = |id, setting: &str, fleet: Fleet| Case {
        short_runs: 100,
        ..case(id, Question::FalseRollBack, "A", setting, ROLL_BACK, move |seed| {
            fleet.run(&experiment(2).error_guardrail(1.0, 0.0), seed, violated(CANDIDATE))
        })
    };
    let shares = |id, setting: &str, course: Course| {
        case(id, Question::FalseAlarm, "E", setting, Some(0.001), move |seed| {
            on_evidence(&experiment(2), course, Requests::failing(|_, _| 0.003), seed, mismatch)
        })
    };
    vec![
        in_time(
            "delay",
            "1% errors each: instant in the candidate, after 14.9 s in the baseline (deadline 15 s)",
            DELAYED,
        ),
        in_time(
            "delay-overdue",
            "1% bad each: instant failures in the candidate, requests of 16 s in the baseline, of which 15 s are the deadline",
            Fleet {
                behaviour: |random, version| match (random.random_bool(0.01), version) {
                    (true, 0) => (false, 16_000),
                    (true, _) => (true, 2),
                    (false, _) => (false, random.random_range(5..80)),
                },
                ..DELAYED
            },
        ),
        in_time(
            "delay-late-lost",
            "the same; reports late by 10 s on average, and half of the workers die",
            Fleet { late_ms: 10_000.0, dies: 0.5, ..DELAYED },
        ),
        shares("shares-even", "requests follow 50/50", Course::USUAL),
        shares("shares-ramp", "requests follow the ramp", ramped()),
    ]
}

/// Evidence that counts outcomes when they end, which Weir does not use: the delay cases must be able to fail.
#[must_use]
pub fn delay_counted_by_completion() -> Case {
    let fleet = Fleet { by_completion: true, ..DELAYED };
    case("delay-by-completion", Question::FalseRollBack, "–", "outcomes counted as they end", None, move |seed| {
        fleet.run(&experiment(2).error_guardrail(1.0, 0.0), seed, violated(CANDIDATE))
    })
}

/// Evidence per request on users whose requests are alike, which Weir does not use: the cases of users must be able to fail. By a limit
/// that a user keeps on average, for the sample ratio finds out about requests that come in users, and stops a guardrail.
#[must_use]
pub fn users_counted_by_request() -> Case {
    let goals = experiment(2).error_objective(0.007_2);
    case("users-by-request", Question::FalseRollBack, "–", "each request of a user counted", None, move |seed| {
        Users::new(&goals, seed, Activity::HeavyTailed, cursed)
            .map_or(Outcome::Never, |users| on_evidence(&goals, Course::USUAL, users, seed, violated(CANDIDATE)))
    })
}

/// Every kind of gate at once, each at its boundary or near it, with three versions: the budget is the version's.
fn everything() -> Case {
    let goals = experiment(3)
        .error_objective(0.006)
        .latency_objective(0.99, 400_000)
        .error_guardrail(1.0, 0.003)
        .error_guardrail(2.0, 0.0)
        .latency_guardrail(1.25);
    let traffic = Requests {
        fails: |_, version| per_version(&[0.003, 0.006, 0.003], version),
        latency: Some(|_, version| Latency {
            median_us: 80_000.0 * per_version(&[1.0, 1.25, 1.0], version),
            sigma: SIGMA,
        }),
        reward: Earning::Nothing,
    };
    Case {
        short_runs: 100,
        ..about(
            "every-gate",
            "A–D",
            "three versions, five gates, the candidate at the boundary of four of them",
            goals,
            Course::USUAL,
            traffic,
        )
    }
}
