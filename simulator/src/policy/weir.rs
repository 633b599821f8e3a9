//! Weir: the engine of production, asked as the controller's steward asks it.

use super::{Policy, View};
use weir_engine::cells::Cell;
use weir_engine::assess::{Assessment, Assessor, Depth};
use weir_engine::command::{Command, carry_out};
use weir_engine::decide::{Decision, decide};
use weir_engine::spec::{Experiment, Strategy};
use weir_engine::state::{Phase, State};

/// The engine of production.
#[derive(Debug, Default)]
pub struct Weir {
    assessor: Assessor,
    last: Option<Assessment>,
}

impl Policy for Weir {
    fn name(&self) -> String {
        "Weir".to_owned()
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        // Only a bandit's weights follow beliefs; they cost most of a look.
        let depth = match experiment.strategy {
            Strategy::Bandit { .. } => Depth::Decision,
            Strategy::Canary { .. } | Strategy::Ab { .. } => Depth::Evidence,
        };
        let assessment = match self.last.take().filter(|_| !view.settled) {
            Some(mut known) => {
                if view.stirred {
                    // Nothing but what is live has changed: what all else is computed from is the same.
                    live(&mut known, view);
                }
                known
            }
            None => self.assessor.assess(experiment, state, view.observations, depth),
        };
        let decision = approved(experiment, state, &assessment, view.now)
            .unwrap_or_else(|| decide(experiment, state, &assessment, &view.health, view.now));
        // With other weights another assessment.
        self.last = (!decision.action.changes_the_plan()).then_some(assessment);
        decision
    }
}

/// Brings the live tallies up to date, as an assessment sums them.
fn live(assessment: &mut Assessment, view: &View<'_>) {
    for (index, version) in assessment.versions.iter_mut().enumerate() {
        version.live = version.settled;
        for open in view.observations.epochs.values().filter_map(|counts| counts.unsettled.get(index)) {
            version.live.merge(&open.tally());
        }
    }
}

/// A simulated person starts what waits to be started, and approves whatever waits for approval by the next look.
fn approved(experiment: &Experiment, state: &State, assessment: &Assessment, now: u64) -> Option<Decision> {
    let command = match state.phase {
        Phase::Pending => Command::Start,
        _ if state.awaited.is_some() => Command::Approve,
        _ => return None,
    };
    carry_out(experiment, state, &command, assessment, now).ok()
}
