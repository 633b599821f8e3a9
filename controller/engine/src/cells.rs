//! What a settled cell must tell, wherever its counts come from: the filters' reports or a file of the user's own. Owns the
//! rule by which a histogram's bucket never helps a claim.

use serde::{Deserialize, Serialize};
use weir_core::histogram::edges_of;
use weir_core::report::Counts;

/// Exposures and outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Exposures.
    pub assigned: u64,
    /// Ended by the deadline with an outcome.
    pub completed: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Ended by the client.
    pub aborted: u64,
    /// Not ended by the deadline (settled), or still in flight (live).
    pub overdue: u64,
    /// Rewarded.
    pub rewarded: u64,
    /// Exposures that no reward could come of, since their unit kept the token of an earlier one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: u64,
    /// Exposures of units that were given their key with them, as generated cookies are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub new_units: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Tally {
    /// Bad events of a settled cell: failures and what did not end by the deadline.
    #[must_use]
    pub const fn bad(&self) -> u64 {
        self.failed.saturating_add(self.overdue)
    }

    /// Completed and not failed: those that have a latency.
    #[must_use]
    pub const fn served(&self) -> u64 {
        self.completed.saturating_sub(self.failed)
    }

    /// Exposures of which a reward could come: those that a rate of rewards is of.
    #[must_use]
    pub const fn opportunities(&self) -> u64 {
        let opportunities = self.assigned.saturating_sub(self.repeats);
        // Rewards beyond them are a fault of the counts, which is no reason to say a rate beyond one.
        if opportunities < self.rewarded { self.rewarded } else { opportunities }
    }

    /// Adds another. Saturates.
    pub const fn merge(&mut self, other: &Self) {
        self.assigned = self.assigned.saturating_add(other.assigned);
        self.completed = self.completed.saturating_add(other.completed);
        self.failed = self.failed.saturating_add(other.failed);
        self.aborted = self.aborted.saturating_add(other.aborted);
        self.overdue = self.overdue.saturating_add(other.overdue);
        self.rewarded = self.rewarded.saturating_add(other.rewarded);
        self.repeats = self.repeats.saturating_add(other.repeats);
        self.new_units = self.new_units.saturating_add(other.new_units);
    }
}

/// How many durations lie where: between two edges, or at `lower` exactly where both are the same. Microseconds; `u64::MAX` is
/// no upper edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Lower edge.
    pub lower: u64,
    /// Upper edge.
    pub upper: u64,
    /// Which of the two may be among the durations.
    pub holds: Edge,
    /// How many.
    pub count: u64,
}

/// One of a span's edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// `[lower, upper)`: as the filters count.
    Lower,
    /// `(lower, upper]`: as Prometheus counts. A limit at such an edge divides nothing.
    Upper,
}

impl Span {
    /// Where it lies; spans of the same place may be added. Ascending spans ascend in this.
    #[must_use]
    pub const fn place(&self) -> (u64, u64, Edge) {
        (self.lower, self.upper, self.holds)
    }

    /// Whether all of it lies above its lower edge.
    const fn is_beyond_lower(&self) -> bool {
        matches!(self.holds, Edge::Upper) && self.lower < self.upper
    }
}

/// A number, its sum and its sum of squares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// How many values; those that are zero may or may not be among them, they add nothing.
    pub count: u64,
    /// Σ.
    pub sum: f64,
    /// Σ of squares; NaN where it is unknown.
    pub squares: f64,
}

impl Moments {
    /// Adds another.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.squares += other.squares;
    }
}

/// The settled counts of one version in one epoch.
pub trait Cell {
    /// Exposures and outcomes.
    fn tally(&self) -> Tally;
    /// Whether the counts contradict each other. Such an epoch is left out.
    fn is_contradictory(&self) -> bool;
    /// Latencies of the served, ascending. They may be fewer than the served: what is missing is unknown, not zero.
    fn latencies(&self) -> impl Iterator<Item = Span>;
    /// Ages of the aborted, ascending. They may be fewer than the aborted.
    fn abort_ages(&self) -> impl Iterator<Item = Span>;
    /// Latencies in seconds, of those whose latency is known.
    fn latency(&self) -> Moments;
    /// Rewards, over all exposures of which one could come.
    fn reward(&self) -> Moments;
    /// A number that grows whenever latencies do while everything above stays: for those who count them apart.
    fn latencies_known(&self) -> u64 {
        0
    }
    /// Unit buckets that showed a bad event, a slow exposure, a reward.
    fn unit_buckets(&self) -> UnitBuckets<'_>;
    /// Which of their edges its buckets hold.
    fn edges_held(&self) -> Edge {
        Edge::Lower
    }
    /// Whether failures were counted, as they always are of no exposures. Where they were not, `failed` is 0 and says nothing, and
    /// no error rate is known.
    fn counts_failures(&self) -> bool {
        true
    }
    /// Units whose first event somebody counted already, each in one cell of the whole experiment; `None` where
    /// [`Cell::unit_buckets`] has them.
    fn first_units(&self) -> Option<FirstUnits> {
        None
    }
}

/// How many units showed their first event in a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirstUnits {
    /// Their first bad event.
    pub bad: u64,
    /// Their first slow exposure.
    pub slow: u64,
    /// Their first reward.
    pub rewarded: u64,
}

/// Unit buckets with events, each sorted.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnitBuckets<'a> {
    /// Bad events.
    pub bad: &'a [u16],
    /// Slow exposures.
    pub slow: &'a [u16],
    /// Rewards.
    pub rewarded: &'a [u16],
}

impl Cell for Counts {
    fn tally(&self) -> Tally {
        Tally {
            assigned: self.assigned,
            completed: self.completed,
            failed: self.failed,
            aborted: self.aborted,
            overdue: self.overdue(),
            rewarded: self.rewarded,
            repeats: self.repeats,
            new_units: self.new_units,
        }
    }

    fn is_contradictory(&self) -> bool {
        Self::is_contradictory(self)
    }

    fn latencies(&self) -> impl Iterator<Item = Span> {
        spans(self.latency.buckets())
    }

    fn abort_ages(&self) -> impl Iterator<Item = Span> {
        spans(self.abort_age.buckets())
    }

    fn latency(&self) -> Moments {
        // Sums that nobody sent are unknown, not zero: no served request takes no time.
        let known = self.latency_sum > 0.0;
        Moments {
            count: if known { self.completed.saturating_sub(self.failed) } else { 0 },
            sum: self.latency_sum,
            squares: self.latency_sum_squares,
        }
    }

    fn reward(&self) -> Moments {
        Moments { count: self.tally().opportunities(), sum: self.reward_sum, squares: self.reward_sum_squares }
    }

    fn unit_buckets(&self) -> UnitBuckets<'_> {
        UnitBuckets { bad: &self.failed_buckets, slow: &self.slow_buckets, rewarded: &self.rewarded_buckets }
    }
}

fn spans(buckets: &[(u16, u64)]) -> impl Iterator<Item = Span> {
    buckets.iter().map(|(bucket, count)| {
        let (lower, upper) = edges_of(*bucket);
        Span { lower, upper, holds: Edge::Lower, count: *count }
    })
}

/// How many exposures were slow: between `certain` and `possible`, for a bucket that the threshold divides may lie on either
/// side of it, and so may what has no latency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) certain: u64,
    pub(crate) possible: u64,
}

/// Where slow begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Threshold {
    /// Longer than so many microseconds: an objective.
    Above(u64),
    /// So many microseconds or longer: a guardrail. Not whole where a ratio made it.
    From(f64),
    /// The same guardrail where buckets hold their upper edges: longer than so many microseconds. At every L together the two
    /// say the same, and only this one can be read off such buckets.
    Beyond(f64),
}

#[expect(clippy::cast_precision_loss, reason = "edges and limits are below an hour of microseconds, or mean none")]
impl Threshold {
    fn certain(self, span: &Span) -> bool {
        let lower = span.lower as f64;
        let beyond = |limit: f64| lower > limit || (span.is_beyond_lower() && lower >= limit);
        match self {
            Self::Above(limit) => beyond(limit as f64),
            Self::Beyond(limit) => beyond(limit),
            Self::From(limit) => lower >= limit,
        }
    }

    fn possible(self, span: &Span) -> bool {
        let (lower, upper) = (span.lower as f64, span.upper as f64);
        match self {
            Self::Above(limit) => upper > limit as f64,
            Self::Beyond(limit) => upper > limit,
            Self::From(limit) => upper > limit || lower >= limit || (span.holds == Edge::Upper && upper >= limit),
        }
    }
}

/// The served and the aborted whose latency or age is not known.
pub(crate) fn unknown(cell: &impl Cell) -> u64 {
    let known = cell.latencies().chain(cell.abort_ages()).fold(0, |sum: u64, span| span.count.saturating_add(sum));
    let tally = cell.tally();
    tally.served().saturating_add(tally.aborted).saturating_sub(known)
}

/// Counts the slow at one threshold: see [`slow_at_each`].
pub(crate) fn slow(cell: &impl Cell, threshold: Threshold) -> Slow {
    slow_at_each(cell, &[threshold]).first().copied().unwrap_or_default()
}

/// Counts the slow at each threshold: bad events, the served whose latency is, and the aborted who had waited for as long (the
/// client gave up on a version that was slow by then).
pub(crate) fn slow_at_each(cell: &impl Cell, thresholds: &[Threshold]) -> Vec<Slow> {
    if thresholds.is_empty() {
        return Vec::new();
    }
    let tally = cell.tally();
    let spans: Vec<Span> = cell.latencies().chain(cell.abort_ages()).collect();
    let unknown = unknown(cell);
    let count = |threshold: &Threshold| {
        let mut found = Slow::default();
        for span in &spans {
            found.certain = found.certain.saturating_add(if threshold.certain(span) { span.count } else { 0 });
            found.possible = found.possible.saturating_add(if threshold.possible(span) { span.count } else { 0 });
        }
        Slow {
            certain: found.certain.saturating_add(tally.bad()).min(tally.assigned),
            possible: found.possible.saturating_add(tally.bad()).saturating_add(unknown).min(tally.assigned),
        }
    };
    thresholds.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(latencies: &[u64], aborted_at: &[u64], failed: u64, overdue: u64) -> Counts {
        let mut counts = Counts {
            assigned: latencies.len() as u64 + aborted_at.len() as u64 + failed + overdue,
            completed: latencies.len() as u64 + failed,
            failed,
            aborted: aborted_at.len() as u64,
            ..Counts::default()
        };
        latencies.iter().for_each(|at| counts.latency.record(*at));
        aborted_at.iter().for_each(|at| counts.abort_age.record(*at));
        counts
    }

    #[test]
    fn failures_the_overdue_and_clients_who_waited_are_slow() {
        let cell = counts(&[10_000, 20_000, 900_000], &[5_000, 800_000], 2, 1);
        assert_eq!(slow(&cell, Threshold::Above(100_000)), Slow { certain: 5, possible: 5 });
        assert_eq!(slow(&cell, Threshold::From(100_000.0)), Slow { certain: 5, possible: 5 });
    }

    #[test]
    fn a_bucket_that_the_threshold_divides_helps_no_claim() {
        let cell = counts(&[100_000; 7], &[], 0, 0);
        let edges = cell.latencies().next().unwrap();
        let middle = u64::midpoint(edges.lower, edges.upper);
        assert_eq!(slow(&cell, Threshold::Above(middle)), Slow { certain: 0, possible: 7 });
        assert_eq!(slow(&cell, Threshold::From(edges.lower as f64)), Slow { certain: 7, possible: 7 });
        assert_eq!(slow(&cell, Threshold::From(edges.upper as f64)), Slow { certain: 0, possible: 0 });
    }

    #[test]
    fn a_missing_latency_is_unknown_not_zero() {
        let mut cell = counts(&[1_000; 5], &[], 0, 0);
        cell.assigned = 8;
        cell.completed = 8;
        assert_eq!(slow(&cell, Threshold::Above(50_000)), Slow { certain: 0, possible: 3 });
    }
}
