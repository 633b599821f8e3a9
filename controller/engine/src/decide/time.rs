//! What it means that time passes: the end of the longest duration, also where telemetry cannot answer then, and a clock that is set.

use super::{Action, Look, conclude, pause, reasons};
use crate::health::{Health, SILENCE_MS};
use crate::spec::OnTimeout;
use crate::state::{Cause, Outcome, State, Step};

/// Whether the epoch in force began in the future.
pub(super) fn went_back(state: &State, now: u64) -> bool {
    state.epoch().is_some_and(|epoch| now < epoch.began_at)
}

/// Takes a step forward of the controller's clock out of what it measures: the time that this ran, was blind and waits for counts to
/// settle. Once for each step, which health tells of for a while. A step back needs nothing: meanwhile no time passes.
pub(crate) fn set_right(next: &mut State, health: &Health) {
    let Some(step) = health.own_step.filter(|step| next.clock_step_at != Some(step.at)) else { return };
    next.clock_step_at = Some(step.at);
    let Ok(forward) = u64::try_from(step.forward_ms) else { return };
    // What began after the step has not the step in it.
    let later =
        |since: u64| if step.at.saturating_sub(since) >= forward { since.saturating_add(forward) } else { since };
    if next.is_running() {
        next.running_since = Some(later(next.running_since.unwrap_or(next.started_at)));
    }
    next.blind_since = next.blind_since.map(later);
    next.trips.iter_mut().filter(|trip| trip.open).for_each(|trip| trip.at = later(trip.at));
}

impl Look<'_> {
    /// Whether the longest duration has passed.
    fn is_over(&self) -> bool {
        self.next.ran(self.now) >= self.experiment.max_duration_ms
    }

    /// The end of time where nothing may rest on what is seen now: it ends once telemetry answers again. After [`SILENCE_MS`] a person
    /// decides, whatever the experiment says of time-outs. On a promotion that waits for approval time does not run out.
    pub(super) fn time_out_blind(&mut self) -> Option<Action> {
        let waits = self.next.awaited.as_ref().is_some_and(|awaited| matches!(awaited.step, Step::Promotion { .. }));
        if waits || !self.is_over() {
            self.next.blind_since = None;
            return None;
        }
        let since = *self.next.blind_since.get_or_insert(self.now);
        let patience = SILENCE_MS / 1_000;
        if self.now.saturating_sub(since) < SILENCE_MS {
            self.reasons.push(format!(
                "The longest duration has passed meanwhile: it ends as `onTimeout` says once telemetry can be seen again, and pauses \
                 if that takes {patience} s."
            ));
            return None;
        }
        self.reasons.push(format!(
            "The longest duration has passed, and telemetry could not answer for {patience} s since: it pauses, for nothing can be \
             concluded from what is seen now."
        ));
        self.reasons.push(reasons::paused(self.experiment, Cause::Timeout));
        pause(&mut self.next, Cause::Timeout, self.now);
        Some(Action::Pause)
    }

    /// The end of time, as the document has it.
    pub(super) fn time_out(&mut self) -> Option<Action> {
        if !self.is_over() {
            return None;
        }
        let baseline = self.experiment.baseline;
        let broken = self.next.sample_ratio_broken;
        let why = if broken {
            "Exposures do not follow the weights, so nothing can be compared, and the longest duration has passed"
        } else {
            "The longest duration has passed without enough evidence"
        };
        match self.experiment.on_timeout {
            OnTimeout::RollBack => {
                let name = self.experiment.version_name(baseline);
                let claim = if broken { " That says nothing of any version." } else { "" };
                self.reasons.push(format!("{why}: all traffic goes back to {name}.{claim}"));
                conclude(&mut self.next, Outcome::Inconclusive, baseline, self.now);
                Some(Action::Conclude)
            }
            OnTimeout::Pause => {
                self.reasons.push(format!("{why}."));
                self.reasons.push(reasons::paused(self.experiment, Cause::Timeout));
                pause(&mut self.next, Cause::Timeout, self.now);
                Some(Action::Pause)
            }
        }
    }
}
