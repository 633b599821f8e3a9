//! The catalogue: every promise, in the settings that could break it.

mod decisions;
mod false_promotion;
mod false_roll_back;
mod power;

use crate::case::{Case, Outcome, Question};
use crate::course::Course;
use crate::traffic::At;
pub use false_roll_back::{delay_counted_by_completion, users_counted_by_request};
use std::f64::consts::TAU;

/// Every case, in the order of the table.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = false_roll_back::cases();
    cases.extend(false_promotion::cases());
    cases.extend(decisions::cases());
    cases.extend(power::cases());
    cases.sort_by_key(|case| case.question);
    cases
}

/// Short versions of this many runs unless a case takes long.
const SHORT: u64 = 200;

fn case(
    id: &'static str,
    question: Question,
    card: &'static str,
    setting: impl Into<String>,
    promise: Option<f64>,
    run: impl Fn(u64) -> Outcome + Send + Sync + 'static,
) -> Case {
    Case { id, question, card, setting: setting.into(), promise, horizon: None, short_runs: SHORT, run: Box::new(run) }
}

/// A base rate that swings by 90% around its mean, once in 4,000 requests.
fn swing(at: At) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "requests of one run")]
    let phase = at as f64 / 4_000.0;
    1.0 + 0.9 * (TAU * phase).sin()
}

/// A canary's ramp over 20,000 requests, whatever the evidence: 1, 5, 25, 50%.
fn ramp(at: At) -> Vec<u32> {
    let candidate = match at {
        0..5_000 => 100,
        5_000..10_000 => 500,
        10_000..15_000 => 2_500,
        _ => 5_000,
    };
    vec![10_000 - candidate, candidate]
}

fn ramped() -> Course {
    Course { weights: Some(ramp), ..Course::USUAL }
}

fn split(candidate: fn(At) -> Vec<u32>) -> Course {
    Course { weights: Some(candidate), ..Course::USUAL }
}

/// One value per version; the last is all later versions' too.
fn per_version(values: &[f64], version: usize) -> f64 {
    values.get(version).or(values.last()).copied().unwrap_or(0.0)
}
