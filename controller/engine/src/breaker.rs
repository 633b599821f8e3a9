//! The breaker's doubt: what counts that have not settled say against a version. No claim and no verdict: outcomes as they end
//! are biased, so doubt only pauses a version until settled evidence rolls it back or lets it go.
//!
//! A version trips when, of its unsettled exposures, so many have failed already that a version at the very edge of its limits
//! would show as many with probability at most 10⁻⁹ (Chernoff's bound). In flight is not failed, in the version that is doubted. The edge is never below what
//! the baseline shows itself, in the same unsettled bins: when all fails everywhere, that is not the candidate's doubt.

use crate::assess::Depth;
use crate::cells::{Cell, Tally};
use crate::spec::{Bound, Experiment, Limit};
use crate::state::{LATENCY_QUANTILES, Observations, State};
use serde::{Deserialize, Serialize};
use weir_stats::beta::Beta;

/// ln of how unlikely it must be: 10⁻⁹ a look, so that a version that stays at the very edge of its limits is paused with
/// probability below 3·10⁻⁴ in a week of looks every two seconds.
const TRIPS_AT: f64 = 20.723_265_836_946_41;
/// Fewer failures than these are not a doubt, however strict the limit.
const LEAST_FAILURES: u64 = 5;
/// How sure the upper bound of the baseline's rate is.
const SURE: f64 = 0.999;

/// What unsettled counts say against a version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Doubt {
    /// Exposures that have not settled, since the breaker tripped last (or ever).
    pub exposures: u64,
    /// Of these, failed already.
    pub failed: u64,
    /// The largest rate of failure that its limits, and the baseline's own failures, leave room for.
    pub tolerated: f64,
    /// ln of a bound on the probability of so many failures at that rate; 0 where there are not more than tolerated.
    pub log_p: f64,
    /// The breaker trips when that is at most this.
    pub trips_at: f64,
    /// Exposures that had not settled when the breaker tripped, and still have not.
    pub unsettled_before: u64,
}

impl Doubt {
    /// Whether the breaker trips.
    #[must_use]
    pub fn trips(&self) -> bool {
        self.failed >= LEAST_FAILURES && self.log_p <= self.trips_at
    }
}

/// The doubt about a candidate. `None` for the baseline, without a limit on what fails, and where users are the unit: one user's
/// failures come in heaps.
pub(crate) fn doubt<C: Cell>(
    experiment: &Experiment,
    state: &State,
    observations: &Observations<C>,
    version: usize,
    settled_of_baseline: &Tally,
    depth: Depth,
) -> Option<Doubt> {
    if version == experiment.baseline || !experiment.requests_are_units() {
        return None;
    }
    let since = state.trips.iter().find(|trip| trip.version == version).map_or(0, |trip| trip.epoch);
    let unsettled = |version: usize, wanted: &dyn Fn(u32) -> bool| {
        let mut sum = Tally::default();
        for (_, counts) in observations.epochs.iter().filter(|(epoch, _)| wanted(**epoch)) {
            if let Some(cell) = counts.unsettled.get(version) {
                sum.merge(&cell.tally());
            }
        }
        sum
    };
    let here = unsettled(version, &|epoch| epoch > since);
    let unsettled_before = unsettled(version, &|epoch| epoch <= since).assigned;
    if depth != Depth::Complete && here.failed < LEAST_FAILURES {
        // It cannot trip: what would be tolerated is for people, and costs most of a look.
        let Tally { assigned: exposures, failed, .. } = here;
        return Some(Doubt { exposures, failed, tolerated: 1.0, log_p: 0.0, trips_at: -TRIPS_AT, unsettled_before });
    }
    let of_baseline = unsettled(experiment.baseline, &|epoch| epoch > since);
    // What is in flight is unknown of both.
    let now = upper(of_baseline.failed, of_baseline.completed.saturating_add(of_baseline.aborted));
    let usual = usual(settled_of_baseline, &of_baseline).max(now);
    let objectives = experiment.objectives.iter().map(|objective| match objective.limit {
        Limit::ErrorRate { max } => max,
        // What fails is slow.
        Limit::Latency { quantile, .. } => 1.0 - quantile,
    });
    let slowest = LATENCY_QUANTILES.last().map_or(0.0, |q| 1.0 - q);
    let guardrails = experiment.guardrails.iter().map(|guardrail| match guardrail.bound {
        Bound::ErrorRate { ratio, margin } => ratio * usual + margin,
        Bound::Latency { .. } => usual.max(slowest),
    });
    let tightest = objectives.chain(guardrails).reduce(f64::min)?;
    let tolerated = tightest.max(now).clamp(0.0, 1.0);
    Some(Doubt {
        exposures: here.assigned,
        failed: here.failed,
        tolerated,
        log_p: log_tail(here.failed, here.assigned, tolerated),
        trips_at: -TRIPS_AT,
        unsettled_before,
    })
}

/// What the baseline's rate is at most: by what has settled, or by all that was counted. Of that in flight is failed here, for failures
/// may take longer than successes: so nothing that is in flight can make the rate look lower than it is, also before anything settled.
fn usual(settled: &Tally, open: &Tally) -> f64 {
    let ended = open.completed.saturating_add(open.aborted);
    let at_worst = open.assigned.saturating_sub(ended).saturating_add(open.failed);
    let all = upper(settled.bad().saturating_add(at_worst), settled.assigned.saturating_add(open.assigned));
    upper(settled.bad(), settled.assigned).min(all)
}

/// The rate below which a version's is, so [`SURE`]; near 1 where nothing is known.
fn upper(bad: u64, of: u64) -> f64 {
    let bad = bad.min(of);
    #[expect(clippy::cast_precision_loss, reason = "a belief")]
    let belief = Beta::new(bad as f64 + 0.5, (of - bad) as f64 + 0.5).unwrap_or(Beta::JEFFREYS);
    belief.quantile(SURE)
}

/// A bound on ln P(at least `events` of `trials`) at `rate`: −n·KL(events/trials ‖ rate), 0 where there are not more than expected.
///
/// Source: Chernoff (1952), in Hoeffding's (1963) form for binomial sums.
fn log_tail(events: u64, trials: u64, rate: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a bound")]
    let (k, n) = (events.min(trials) as f64, trials as f64);
    if n <= 0.0 || k <= n * rate || rate >= 1.0 {
        return 0.0;
    }
    if rate <= 0.0 {
        return f64::MIN;
    }
    let q = k / n;
    let rest = if q < 1.0 { (1.0 - q) * libm::log((1.0 - q) / (1.0 - rate)) } else { 0.0 };
    -n * (q * libm::log(q / rate) + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded_from_above() {
        // P(X ≥ 6) of 6 at 2% is 0.02⁶ exactly.
        assert!((log_tail(6, 6, 0.02) - 6.0 * 0.02_f64.ln()).abs() < 1e-12);
        assert_eq!(log_tail(2, 100, 0.02), 0.0);
        assert_eq!(log_tail(0, 0, 0.02), 0.0);
        // P(X ≥ 10) of 100 at 2% is 1.1e-5.
        let bound = log_tail(10, 100, 0.02);
        assert!((1.1e-5_f64.ln()..0.0).contains(&bound), "{bound}");
    }

    #[test]
    fn of_nothing_nothing_is_sure() {
        assert!(upper(0, 0) > 0.99);
        assert!(upper(0, 10_000) < 0.001);
        assert!(upper(100, 10_000) > 0.01 && upper(100, 10_000) < 0.015);
    }

    #[test]
    fn what_is_in_flight_never_makes_the_baseline_look_better() {
        let open = |assigned, completed, failed| Tally { assigned, completed, failed, ..Tally::default() };
        let nothing = Tally::default();
        // A hundredth fails after a long time, and so far nothing of that has ended.
        assert!(usual(&nothing, &open(10_000, 9_900, 0)) >= usual(&nothing, &open(10_000, 10_000, 100)));
        assert!(usual(&nothing, &open(10_000, 9_900, 0)) > 0.01);
        assert!(usual(&nothing, &open(1_000, 1_000, 3)) < 0.015, "all has ended, so that much is known");
        assert!(usual(&nothing, &nothing) > 0.99);
        // Much has settled: what is in flight takes nothing from that.
        let settled = Tally { assigned: 100_000, completed: 100_000, failed: 300, ..Tally::default() };
        assert!(usual(&settled, &open(1_000, 0, 0)) < 0.004);
    }
}
