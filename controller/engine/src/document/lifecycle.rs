//! Where a person must approve, and what happens when time runs out: `spec.approvals`, `spec.onTimeout`.

use super::Problem;
use super::place::Place;
use crate::spec::{Approvals, OnTimeout};

/// Reads `spec.approvals`.
pub(super) fn approvals(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Approvals> {
    let fields = place.fields(&["start", "step", "promotion"], "`{promotion: true}`", problems)?;
    let mut asked = |name: &str| fields.get(name).map_or(Some(false), |place| place.truth(problems));
    let (start, step, promotion) = (asked("start"), asked("step"), asked("promotion"));
    Some(Approvals { start: start?, step: step?, promotion: promotion? })
}

/// Reads `spec.onTimeout`.
pub(super) fn on_timeout(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<OnTimeout> {
    place.word(&[("rollBack", OnTimeout::RollBack), ("pause", OnTimeout::Pause)], problems)
}
