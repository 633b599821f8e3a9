//! What an assessment says of counts that have not settled, brought up to date alone: while nothing settles, all else stays the same.

use crate::assess::{Assessment, Depth};
use crate::breaker;
use crate::cells::{Cell, Tally};
use crate::spec::Experiment;
use crate::state::{Observations, State};

/// Brings the live tallies and the breaker's doubt up to date, in an assessment whose settled counts and verdicts are those of
/// `observations` and `state`: then the result has the bits of a new assessment of that depth.
pub fn refresh<C: Cell>(
    assessment: &mut Assessment,
    experiment: &Experiment,
    state: &State,
    observations: &Observations<C>,
    depth: Depth,
) {
    let baseline = assessment.versions.get(experiment.baseline).map_or_else(Tally::default, |version| version.settled);
    for (index, version) in assessment.versions.iter_mut().enumerate() {
        version.live = version.settled;
        for open in observations.epochs.values().filter_map(|counts| counts.unsettled.get(index)) {
            version.live.merge(&open.tally());
        }
        version.doubt = breaker::doubt(experiment, state, observations, index, &baseline, depth);
    }
}
