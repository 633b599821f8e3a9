//! Runs cases many times, on every core. A result depends on the case and the number of runs only.

use crate::case::{Case, Outcome, Question};
use weir_simulator::bounds::most_allowed;
use weir_simulator::parallel::map;
use weir_simulator::random::salt;

/// What the runs of a case showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Result {
    /// How many runs.
    pub runs: u64,
    /// In how many the claim was made.
    pub claimed: u64,
    /// Requests until the claim, ascending, of those in which it was made.
    pub requests: Vec<u64>,
}

impl Result {
    /// Requests by which the claim was made in a share `q` of **all** runs; `None` where it was not made in so many.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank"
        )]
        let rank = (q * self.runs as f64).ceil() as usize;
        self.requests.get(rank.max(1) - 1).copied()
    }
}

/// One seed in so many breaks a bound that holds.
pub const RARITY: f64 = 1e-6;

/// What a result says against its case's promise, in a sentence; `None` if nothing.
///
/// False claims are held against the exact binomial bound at [`RARITY`]; a median that was asked for against the order statistic that lies
/// below it with all but that probability (by its normal approximation).
#[must_use]
pub fn refuted(case: &Case, result: &Result) -> Option<String> {
    let promise = case.promise?;
    let (runs, claimed) = (result.runs, result.claimed);
    if case.question != Question::Power {
        let allowed = most_allowed(runs, promise, RARITY);
        return (claimed > allowed).then(|| format!("{}: {claimed} of {runs}, at most {allowed} allowed", case.id));
    }
    #[expect(clippy::cast_precision_loss, reason = "runs are thousands")]
    let below = (0.5 - 4.75 * 0.5 / (runs as f64).sqrt()).max(0.0);
    #[expect(clippy::cast_precision_loss, reason = "requests of one run")]
    let late = result.quantile(below).is_none_or(|requests| requests as f64 > promise);
    late.then(|| format!("{}: a median of {:?} requests, {promise} asked", case.id, result.quantile(0.5)))
}

/// Runs a case `runs` times.
#[must_use]
pub fn run(case: &Case, runs: u64) -> Result {
    run_all(case, runs, &|_| {})
}

/// Runs a case `runs` times, and says how many are done now and then.
#[must_use]
pub fn run_all(case: &Case, runs: u64, progress: &(dyn Fn(u64) + Sync)) -> Result {
    let salt = salt(case.id);
    let now_and_then = |done: u64| {
        if done.is_multiple_of(64) || done == runs {
            progress(done);
        }
    };
    let outcomes = map(runs, &now_and_then, |at| (case.run)(salt.wrapping_add(at)));
    let mut requests: Vec<u64> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            Outcome::Claimed(requests) => Some(requests),
            Outcome::Never => None,
        })
        .collect();
    requests.sort_unstable();
    Result { runs, claimed: requests.len() as u64, requests }
}
