//! Counts of one version in one epoch from anywhere: a file, another system's metrics, a program's own. Owns no rule of evidence;
//! the filters' own counts are `weir_core`'s.

use crate::cells::{Cell, Edge, FirstUnits, Moments, Span, Tally, UnitBuckets};

/// What was counted of one version in one epoch. Only what has settled: exposures whose outcome is known, or whose deadline has
/// passed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counted {
    /// Exposures and outcomes; `assigned = completed + aborted + overdue`.
    pub tally: Tally,
    /// Whether failures were counted. Without, `tally.failed` is 0 and says nothing.
    pub failures: bool,
    /// Latencies of the served, ascending in [`Span::place`] and not overlapping; possibly of fewer than were served.
    pub latencies: Vec<Span>,
    /// Latencies in seconds: those whose sum is known.
    pub latency: Moments,
    /// Σ of rewards and of their squares; its count is not looked at.
    pub reward: Moments,
    /// Which units showed something, where units are not requests.
    pub units: CountedUnits,
}

/// Units with events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountedUnits {
    /// As unit buckets, each list ascending and without repetitions.
    Buckets {
        /// That showed a bad event.
        bad: Vec<u16>,
        /// That showed a slow exposure.
        slow: Vec<u16>,
        /// That showed a reward.
        rewarded: Vec<u16>,
    },
    /// As numbers: each unit once in the whole experiment, in the cell where it showed its first event.
    First(FirstUnits),
}

impl Default for CountedUnits {
    fn default() -> Self {
        Self::Buckets { bad: Vec::new(), slow: Vec::new(), rewarded: Vec::new() }
    }
}

impl Counted {
    /// Latencies that are known, by their spans.
    #[must_use]
    pub fn known_latencies(&self) -> u64 {
        self.latencies.iter().fold(0, |sum, span| span.count.saturating_add(sum))
    }
}

impl Cell for Counted {
    fn tally(&self) -> Tally {
        self.tally
    }

    fn is_contradictory(&self) -> bool {
        let Tally { assigned, completed, failed, aborted, overdue, rewarded, repeats, new_units } = self.tally;
        completed.checked_add(aborted).and_then(|ended| ended.checked_add(overdue)) != Some(assigned)
            || failed > completed
            || rewarded > assigned
            || repeats > assigned
            || new_units > assigned
            || self.known_latencies() > self.tally.served()
            || self.latencies.windows(2).any(|pair| matches!(pair, [a, b] if a.place() >= b.place()))
    }

    fn latencies(&self) -> impl Iterator<Item = Span> {
        self.latencies.iter().copied()
    }

    fn abort_ages(&self) -> impl Iterator<Item = Span> {
        std::iter::empty()
    }

    fn latency(&self) -> Moments {
        self.latency
    }

    fn reward(&self) -> Moments {
        Moments { count: self.tally.opportunities(), ..self.reward }
    }

    fn latencies_known(&self) -> u64 {
        self.known_latencies()
    }

    fn unit_buckets(&self) -> UnitBuckets<'_> {
        match &self.units {
            CountedUnits::Buckets { bad, slow, rewarded } => UnitBuckets { bad, slow, rewarded },
            CountedUnits::First(_) => UnitBuckets::default(),
        }
    }

    fn edges_held(&self) -> Edge {
        // Buckets of one cell are of one kind; where they are not, either answer is right, and one of them tells less.
        let upper = |span: &Span| span.holds == Edge::Upper && span.lower < span.upper;
        let ends = [self.latencies.first(), self.latencies.last()];
        if ends.into_iter().flatten().any(upper) { Edge::Upper } else { Edge::Lower }
    }

    fn counts_failures(&self) -> bool {
        // Of no exposures none failed.
        self.failures || self.tally.assigned == 0
    }

    fn first_units(&self) -> Option<FirstUnits> {
        match self.units {
            CountedUnits::First(units) => Some(units),
            CountedUnits::Buckets { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{Slow, Threshold, slow};

    fn span(lower: u64, upper: u64, holds: Edge, count: u64) -> Span {
        Span { lower, upper, holds, count }
    }

    fn counted(latencies: Vec<Span>) -> Counted {
        let served = latencies.iter().map(|span| span.count).sum();
        let tally = Tally { assigned: served, completed: served, ..Tally::default() };
        Counted { tally, failures: true, latencies, ..Counted::default() }
    }

    #[test]
    fn a_limit_at_the_edge_of_a_bucket_divides_nothing_if_the_bucket_holds_its_upper_edge() {
        // (100, 250] and (250, ∞): "longer than 250" is certain for the second and impossible for the first.
        let cell = counted(vec![span(100, 250, Edge::Upper, 7), span(250, u64::MAX, Edge::Upper, 2)]);
        assert_eq!(slow(&cell, Threshold::Above(250)), Slow { certain: 2, possible: 2 });
        assert_eq!(slow(&cell, Threshold::Above(249)), Slow { certain: 2, possible: 9 });
        assert_eq!(slow(&cell, Threshold::Above(100)), Slow { certain: 9, possible: 9 });
        // "250 or longer": 250 itself may be among the first.
        assert_eq!(slow(&cell, Threshold::From(250.0)), Slow { certain: 2, possible: 9 });
        assert_eq!(slow(&cell, Threshold::From(250.5)), Slow { certain: 0, possible: 2 });
        // Where buckets are so, guardrails ask for "longer than" too.
        assert_eq!(cell.edges_held(), Edge::Upper);
        assert_eq!(slow(&cell, Threshold::Beyond(250.0)), Slow { certain: 2, possible: 2 });
        assert_eq!(slow(&cell, Threshold::Beyond(249.5)), Slow { certain: 2, possible: 9 });
    }

    #[test]
    fn a_limit_at_the_edge_of_a_bucket_that_holds_its_lower_edge_divides_it_for_longer_than() {
        // [100, 250) and [250, ∞).
        let cell = counted(vec![span(100, 250, Edge::Lower, 7), span(250, u64::MAX, Edge::Lower, 2)]);
        assert_eq!(slow(&cell, Threshold::From(250.0)), Slow { certain: 2, possible: 2 });
        assert_eq!(slow(&cell, Threshold::Above(250)), Slow { certain: 0, possible: 2 });
    }

    #[test]
    fn a_raw_value_is_where_it_is() {
        for holds in [Edge::Lower, Edge::Upper] {
            let cell = counted(vec![span(250, 250, holds, 1)]);
            assert_eq!(slow(&cell, Threshold::Above(250)), Slow { certain: 0, possible: 0 });
            assert_eq!(slow(&cell, Threshold::Above(249)), Slow { certain: 1, possible: 1 });
            assert_eq!(slow(&cell, Threshold::From(250.0)), Slow { certain: 1, possible: 1 });
        }
    }

    #[test]
    fn counts_that_contradict_each_other_are_known() {
        let good = counted(vec![span(1, 2, Edge::Lower, 3), span(2, 4, Edge::Lower, 1)]);
        assert!(!good.is_contradictory());
        let mut more_ends = good.clone();
        more_ends.tally.overdue = 1;
        assert!(more_ends.is_contradictory());
        let mut more_latencies = good.clone();
        more_latencies.tally.failed = 1;
        assert!(more_latencies.is_contradictory());
        let mut unsorted = good;
        unsorted.latencies.reverse();
        assert!(unsorted.is_contradictory());
    }
}
