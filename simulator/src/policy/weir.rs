//! Weir: the engine of production, asked as the controller's steward asks it.

use super::{Policy, View};
use weir_engine::assess::{Assessment, Assessor, Depth};
use weir_engine::command::{Command, carry_out};
use weir_engine::decide::{Action, Decision, decide};
use weir_engine::live::refresh;
use weir_engine::spec::{Experiment, Strategy};
use weir_engine::state::{Phase, State};

/// Said of whatever a person would have done.
const SIMULATED: &str = "It was a simulated person.";

/// The engine of production.
#[derive(Debug, Default)]
pub struct Weir {
    assessor: Assessor,
    last: Option<Assessment>,
    in_words: bool,
}

impl Weir {
    /// Asks for beliefs at every look, as production does, so that every decision can say what it believed. What it decides is
    /// the same; a run takes some times as long.
    #[must_use]
    pub fn in_words() -> Self {
        Self { in_words: true, ..Self::default() }
    }

    /// An A/B test is decided by evidence alone, and a canary asks beliefs only before it climbs; they cost most of a look.
    fn depth(&self, experiment: &Experiment) -> Depth {
        match experiment.strategy {
            Strategy::Bandit { .. } => Depth::Decision,
            Strategy::Canary { .. } if self.in_words => Depth::Decision,
            Strategy::Canary { .. } | Strategy::Ab { .. } => Depth::Evidence,
        }
    }
}

impl Policy for Weir {
    fn name(&self) -> String {
        "Weir".to_owned()
    }

    fn look(&mut self, experiment: &Experiment, state: &State, view: &View<'_>) -> Decision {
        let depth = self.depth(experiment);
        let assessment = match self.last.take().filter(|_| !view.settled) {
            Some(mut known) => {
                if view.stirred {
                    refresh(&mut known, experiment, state, view.observations, depth);
                }
                known
            }
            None => self.assessor.assess(experiment, state, view.observations, depth),
        };
        let decide_by = |assessment: &Assessment| {
            approved(experiment, state, assessment, view)
                .unwrap_or_else(|| decide(experiment, state, assessment, &view.health, view.now))
        };
        let mut decision = decide_by(&assessment);
        if depth == Depth::Evidence && matches!(decision.action, Action::Shift | Action::Ask) {
            // Evidence lets it climb: belief may still hold it.
            let assessment = self.assessor.assess(experiment, state, view.observations, Depth::Decision);
            decision = decide_by(&assessment);
        }
        // With other weights another assessment.
        self.last = (!decision.action.changes_the_plan()).then_some(assessment);
        decision
    }
}

/// A simulated person starts what waits to be started, and approves whatever waits for approval by the next look.
fn approved(experiment: &Experiment, state: &State, assessment: &Assessment, view: &View<'_>) -> Option<Decision> {
    let command = match state.phase {
        Phase::Pending => Command::Start,
        _ if state.awaited.is_some() => Command::Approve,
        _ => return None,
    };
    let mut decision = carry_out(experiment, state, &command, assessment, &view.health, view.now).ok()?;
    // The engine says "by hand": nobody must take it for somebody's.
    decision.reasons.push(SIMULATED.to_owned());
    Some(decision)
}
