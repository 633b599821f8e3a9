//! First events of unit buckets (card F) as a fold asks for them: of which pair, in which order, and whether they count.

use crate::state::PairUnits;
use weir_stats::units::{Closing, FirstEvents};

pub(super) fn first_events(closing: Option<&Closing>, epoch: u32) -> FirstEvents {
    closing.map(|closing| closing.first_events(epoch)).unwrap_or_default()
}

/// The pair of two versions, and whether `a` is its first.
pub(super) fn pair_of(units: &[PairUnits], a: usize, b: usize) -> Option<(&PairUnits, bool)> {
    units.iter().find_map(|pair| match (pair.a, pair.b) {
        found if found == (a, b) => Some((pair, true)),
        found if found == (b, a) => Some((pair, false)),
        _ => None,
    })
}

/// Whether first events of an epoch still count for a pair.
pub(super) fn counts_in(pair: &PairUnits, epoch: u32) -> bool {
    pair.until.is_none_or(|until| epoch < until)
}

/// First rewards of `b` against `k`, with `b` as the candidate; `None` where they do not count.
pub(super) fn first_rewards(units: &[PairUnits], k: usize, b: usize, epoch: u32) -> Option<FirstEvents> {
    let (pair, in_order) = pair_of(units, k, b).filter(|(pair, _)| counts_in(pair, epoch))?;
    let first = first_events(pair.rewarded.as_ref(), epoch);
    Some(if in_order {
        first
    } else {
        FirstEvents { baseline: first.candidate, candidate: first.baseline, ties: first.ties }
    })
}
