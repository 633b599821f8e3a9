//! What the breaker does: pauses a version on doubt about counts that have not settled, and lets it go when they have.

use super::{Action, Look, standing_weights};
use crate::breaker::Doubt;
use crate::policy;
use crate::spec::{Experiment, Strategy};
use crate::state::{State, Trip};
use crate::words::percent;

/// Counts of a worker that never settle do not hold a version for ever: after twice the time to settle, and so long on top.
const PATIENCE_MS: u64 = 60_000;

impl Look<'_> {
    /// Trips or releases, whatever is due; one or the other at a look.
    pub(super) fn trip_or_release(&mut self) -> Option<Action> {
        let released = self.release();
        let tripped = self.trip();
        if !tripped && !released {
            return None;
        }
        let weights = standing_weights(self.experiment, &self.next);
        self.begin_epoch(weights);
        Some(if tripped { Action::Trip } else { Action::Release })
    }

    pub(super) fn trip(&mut self) -> bool {
        let Some(epoch) = self.next.epoch().map(|epoch| epoch.epoch) else { return false };
        let mut tripped = false;
        for (index, version) in self.assessment.versions.iter().enumerate() {
            let Some(doubt) = version.doubt.filter(Doubt::trips) else { continue };
            let weight = self.next.weights().get(index).copied().unwrap_or(0);
            if self.next.is_out(index) || self.next.is_tripped(index) || weight <= least(self.experiment) {
                continue;
            }
            tripped = true;
            self.next.awaited = None;
            self.next.trips.retain(|trip| trip.version != index);
            self.next.trips.push(Trip { version: index, at: self.now, epoch, open: true });
            let then = if self.next.sample_ratio_broken {
                "it stays so, for nothing can be compared while exposures do not follow the weights"
            } else {
                "settled counts will roll it back or let it go"
            };
            self.reasons.push(format!(
                "The breaker pauses {}: {} of {} exposures that have not settled failed already, where {} would be tolerated. \
                 That is no verdict; {then}.",
                version.name,
                doubt.failed,
                doubt.exposures,
                percent(doubt.tolerated),
            ));
        }
        tripped
    }

    fn release(&mut self) -> bool {
        let settle = self.experiment.deadline_ms.saturating_add(self.experiment.bin_ms);
        let mut released = false;
        for trip in self.next.trips.iter_mut().filter(|trip| trip.open) {
            let version = self.assessment.versions.get(trip.version);
            let left = version.and_then(|version| version.doubt).map_or(0, |doubt| doubt.unsettled_before);
            let age = self.now.saturating_sub(trip.at);
            let settled = age >= settle && (left == 0 || age >= settle.saturating_mul(2).saturating_add(PATIENCE_MS));
            if settled {
                trip.open = false;
                released = true;
                // It was proposed for weights in which somebody was held.
                self.next.awaited = None;
                self.reasons.push(format!(
                    "The breaker lets {} go: what it doubted has settled, and is not evidence that a limit is broken.",
                    self.experiment.version_name(trip.version)
                ));
            }
        }
        released
    }
}

/// The weight of a version that the breaker holds, in basis points.
fn least(experiment: &Experiment) -> u32 {
    match experiment.strategy {
        Strategy::Bandit { floor, .. } => floor.next_multiple_of(policy::LATTICE),
        Strategy::Canary { .. } | Strategy::Ab { .. } => 0,
    }
}

/// What a roll-back makes of the state, with who is out marked already: the breaker holds nobody who is out, and these are the weights.
/// A canary's others stay on their rung, whatever else moves; where people hold the weights, or users are the unit, they are those in
/// force without who is out.
pub(crate) fn rolled_back(experiment: &Experiment, next: &mut State) -> Vec<u32> {
    let out = &next.out;
    next.trips.iter_mut().filter(|trip| out.get(trip.version) == Some(&true)).for_each(|trip| trip.open = false);
    // Where users are the unit the ladder's weights would end the evidence about the others (`sticky`).
    if next.is_running() && experiment.requests_are_units() {
        standing_weights(experiment, next)
    } else {
        policy::without_out(experiment, next.weights(), &next.out)
    }
}

/// Weights without the versions that are out, and with those that the breaker holds at their least; what these give up
/// goes to the baseline.
pub(super) fn lowered(experiment: &Experiment, state: &State, weights: &[u32]) -> Vec<u32> {
    let least = least(experiment);
    let weights = policy::without_out(experiment, weights, &state.out);
    let held: Vec<bool> = (0..weights.len()).map(|v| state.is_tripped(v) && !state.is_out(v)).collect();
    policy::held_at(&weights, &held, least, experiment.baseline)
}
