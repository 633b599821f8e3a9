//! Our reconstruction of a threshold canary as Flagger's documentation describes it: two versions; every 60 s the success rate and the
//! 99% quantile of latency of the canary over the last 60 s against a threshold. A check that fails, or has no data, holds the weight
//! and counts; so many failed checks roll back. A check that passes adds a step of weight; after the last step, promotion.

use super::{Cadence, Policy, View, begin_with, canary_weights, candidate, hold, promote, roll_back, shift};
use weir_core::report::Counts;
use weir_engine::decide::Decision;
use weir_engine::spec::Experiment;
use weir_engine::state::State;

const INTERVAL_MS: u64 = 60_000;
const STEP: u32 = 1_000;
const MOST: u32 = 5_000;
/// Of the documentation's `request-success-rate`.
const SUCCESS: f64 = 0.99;
/// Of its `request-duration`, in microseconds.
const P99_US: u64 = 500_000;

/// See the module.
#[derive(Debug)]
pub struct FlaggerLike {
    /// So many failed checks roll back.
    threshold: u32,
    note: &'static str,
    failed: u32,
    cadence: Cadence,
    last: Counts,
}

impl FlaggerLike {
    /// One failed check rolls back: what is used where none is given.
    #[must_use]
    pub fn by_default() -> Self {
        Self::new(1, "threshold 1")
    }

    /// Five failed checks roll back: as its examples have it.
    #[must_use]
    pub fn as_in_examples() -> Self {
        Self::new(5, "threshold 5")
    }

    fn new(threshold: u32, note: &'static str) -> Self {
        Self { threshold, note, failed: 0, cadence: Cadence::every(INTERVAL_MS), last: Counts::default() }
    }

    /// Why the last window fails; `None`: it passes.
    fn complaint(&mut self, seen: &Counts) -> Option<String> {
        let last = std::mem::replace(&mut self.last, seen.clone());
        let ended = seen.completed - last.completed;
        if ended == 0 {
            return Some("no data".to_owned());
        }
        #[expect(clippy::cast_precision_loss, reason = "requests of a minute")]
        let success = 1.0 - (seen.failed - last.failed) as f64 / ended as f64;
        if success < SUCCESS {
            return Some(format!("success rate {:.2}% < 99%", 100.0 * success));
        }
        let slow = |counts: &Counts| -> (u64, u64) {
            let buckets = counts.latency.buckets().iter();
            buckets.fold((0, 0), |(slow, all), (bucket, count)| {
                let over = weir_core::histogram::edges_of(*bucket).0 >= P99_US;
                (slow + if over { *count } else { 0 }, all + count)
            })
        };
        let ((slow_now, now), (slow_then, then)) = (slow(seen), slow(&last));
        (100 * (slow_now - slow_then) > now - then).then(|| "request duration p99 > 500ms".to_owned())
    }
}

impl Policy for FlaggerLike {
    fn name(&self) -> String {
        format!("Flagger-like ({})", self.note)
    }

    fn sees_outcomes_as_they_end(&self) -> bool {
        true
    }

    fn begin(&mut self, experiment: &Experiment) -> State {
        begin_with(experiment, canary_weights(experiment, STEP))
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        if self.cadence.look(view.now).is_none() {
            return hold(state, view.now);
        }
        let canary = candidate(experiment);
        let Some(seen) = view.seen.get(canary) else { return hold(state, view.now) };
        let complaint = self.complaint(seen);
        let weight = state.weights().get(canary).copied().unwrap_or(0);
        match complaint {
            Some(complaint) => {
                self.failed += 1;
                if self.failed >= self.threshold {
                    return roll_back(
                        experiment,
                        state,
                        view.now,
                        format!("failed checks: {}; {complaint}", self.failed),
                    );
                }
                hold(state, view.now)
            }
            None if weight >= MOST => promote(state, canary, view.now, "every step passed its check".to_owned()),
            None => {
                let next = canary_weights(experiment, (weight + STEP).min(MOST));
                shift(state, next, view.now, format!("advance to {}%", (weight + STEP) / 100))
            }
        }
    }
}
