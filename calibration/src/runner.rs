//! Runs cases many times, on every core. A result depends on the case and the number of runs only.

use crate::case::{Case, Outcome};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

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

/// Runs a case `runs` times.
#[must_use]
pub fn run(case: &Case, runs: u64) -> Result {
    run_all(case, runs, &|_| {})
}

/// Runs a case `runs` times, and says how many are done now and then.
#[must_use]
pub fn run_all(case: &Case, runs: u64, progress: &(dyn Fn(u64) + Sync)) -> Result {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let salt = salt(case.id);
    let outcomes: Vec<Vec<(u64, Outcome)>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| {
                    let mut found = Vec::new();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= runs {
                            return found;
                        }
                        found.push((at, (case.run)(salt.wrapping_add(at))));
                        let finished = done.fetch_add(1, Ordering::Relaxed) + 1;
                        if finished.is_multiple_of(64) || finished == runs {
                            progress(finished);
                        }
                    }
                })
            })
            .collect();
        // A worker that panicked has lost runs, and a result without them would be a lie.
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut requests: Vec<u64> = outcomes
        .into_iter()
        .flatten()
        .filter_map(|(_, outcome)| match outcome {
            Outcome::Claimed(requests) => Some(requests),
            Outcome::Never => None,
        })
        .collect();
    requests.sort_unstable();
    Result { runs, claimed: requests.len() as u64, requests }
}

/// FNV-1a: seeds of different cases have nothing to do with each other.
fn salt(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
