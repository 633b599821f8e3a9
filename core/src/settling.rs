//! When counts settle: what of a worker is final, by its watermark. The controller's ingest, the simulator and the calibration all
//! ask here. A bin is final for a worker when its watermark has passed the bin's beginning, whenever the report arrives; the rest stays
//! open, and of a worker that vanished it is never evidence.

use crate::report::Counts;
use serde::{Deserialize, Serialize};

/// Counts of one worker that are not final yet, of one (bin, epoch, version).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenCell {
    /// When its bin begins, on the worker's bin clock, in milliseconds.
    pub bin: u64,
    /// The epoch of the plan that assigned.
    pub epoch: u32,
    /// By index in the experiment.
    pub version: usize,
    /// All that was reported of it so far.
    pub counts: Counts,
}

impl OpenCell {
    const fn place(&self) -> (u64, u32, usize) {
        (self.bin, self.epoch, self.version)
    }
}

/// Adds counts to their place in a list that has each place once, in order. Answers the sum of all so far.
pub fn add<'a>(open: &'a mut Vec<OpenCell>, bin: u64, epoch: u32, version: usize, counts: &Counts) -> &'a Counts {
    let place = open.binary_search_by_key(&(bin, epoch, version), OpenCell::place);
    let at = place.unwrap_or_else(|at| {
        open.insert(at, OpenCell { bin, epoch, version, counts: Counts::default() });
        at
    });
    // Found or just inserted.
    #[expect(clippy::indexing_slicing)]
    let open = &mut open[at];
    open.counts.merge(counts);
    &open.counts
}

/// Takes what a watermark has passed out of such a list: it is final.
pub fn settle(open: &mut Vec<OpenCell>, watermark: u64) -> Vec<OpenCell> {
    let is_final = open.partition_point(|cell| cell.bin < watermark);
    open.drain(..is_final).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(assigned: u64) -> Counts {
        Counts { assigned, ..Counts::default() }
    }

    #[test]
    fn each_place_is_there_once_and_in_order_whatever_order_reports_come_in() {
        let mut open = Vec::new();
        for (bin, epoch, version) in [(20, 1, 0), (10, 2, 1), (10, 1, 1), (20, 1, 0), (10, 1, 0)] {
            add(&mut open, bin, epoch, version, &counts(3));
        }
        let places: Vec<_> = open.iter().map(OpenCell::place).collect();
        assert_eq!(places, [(10, 1, 0), (10, 1, 1), (10, 2, 1), (20, 1, 0)]);
        assert_eq!(add(&mut open, 20, 1, 0, &counts(1)).assigned, 7);
    }

    #[test]
    fn a_bin_is_final_once_the_watermark_has_passed_its_beginning_and_not_before() {
        let mut open = Vec::new();
        for bin in [30, 10, 20] {
            add(&mut open, bin, 1, 0, &counts(bin));
        }
        assert!(settle(&mut open, 10).is_empty(), "it begins there, and is not final");
        let bins = |cells: &[OpenCell]| cells.iter().map(|cell| cell.bin).collect::<Vec<_>>();
        assert_eq!(bins(&settle(&mut open, 21)), [10, 20]);
        assert_eq!(bins(&open), [30]);
        assert!(settle(&mut open, 21).is_empty(), "nothing is final twice");
    }
}
