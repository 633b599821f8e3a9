//! What still fits into a report that is being filled.

use crate::histogram::Histogram;
use crate::plan::MAX_EXPERIMENTS;
use crate::report::{Counts, MAX_CELLS, MAX_REPORT_BYTES};
use crate::reward::Claim;

/// Room left in a report for what is not an experiment.
const REPORT_OVERHEAD: usize = 2_048;

/// What still fits into a report.
pub(super) struct Room {
    pub(super) bytes: usize,
    pub(super) cells: usize,
    pub(super) experiments: usize,
}

impl Room {
    /// Of an empty report.
    pub(super) const fn of_a_report() -> Self {
        Self { bytes: MAX_REPORT_BYTES - REPORT_OVERHEAD, cells: MAX_CELLS, experiments: MAX_EXPERIMENTS }
    }

    pub(super) fn take_experiment(&mut self, id: &str) -> bool {
        // Field names, a watermark; quotes in an id are escaped.
        let left = self.bytes.checked_sub(64 + 2 * id.len());
        match (left, self.experiments.checked_sub(1)) {
            (Some(bytes), Some(experiments)) => {
                (self.bytes, self.experiments) = (bytes, experiments);
                true
            }
            _ => false,
        }
    }

    pub(super) fn take_claim(&mut self, claim: &Claim) -> bool {
        // Field names and a reward of up to 24 characters; quotes in an id are escaped.
        let left = self.bytes.checked_sub(80 + 2 * claim.experiment.len() + claim.assignment.len());
        left.map(|bytes| self.bytes = bytes).is_some()
    }

    pub(super) fn take_cell(&mut self, counts: &Counts, version: &str) -> bool {
        match (self.bytes.checked_sub(largest_json(counts, version)), self.cells.checked_sub(1)) {
            (Some(bytes), Some(cells)) => {
                (self.bytes, self.cells) = (bytes, cells);
                true
            }
            _ => false,
        }
    }
}

/// An upper bound of the bytes of a cell's JSON.
pub(super) fn largest_json(counts: &Counts, version: &str) -> usize {
    // `[1707,18446744073709551615],` with the digits that the count has.
    let buckets = |histogram: &Histogram| -> usize {
        histogram.buckets().iter().map(|(_, count)| 9 + count.checked_ilog10().unwrap_or(0) as usize).sum()
    };
    // `16383,` at most.
    let units = 6 * (counts.failed_buckets.len() + counts.slow_buckets.len() + counts.rewarded_buckets.len());
    // Field names, eight counts of up to 20 digits, four sums of up to 24 characters; quotes in a name are escaped.
    736 + 2 * version.len() + buckets(&counts.latency) + buckets(&counts.abort_age) + units
}
