//! What to do: evidence decides, policy moves the rest, doubt holds.

use crate::assess::Assessment;
use crate::spec::Experiment;
use crate::state::State;
use serde::{Deserialize, Serialize};

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Unix milliseconds.
    pub at: u64,
    /// What is done.
    pub action: Action,
    /// Why, in sentences for people.
    pub reasons: Vec<String>,
    /// The state from here on.
    pub state: State,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Nothing changes.
    Hold,
    /// Weights stay; a new epoch begins, so that evidence can start afresh and centres follow the data.
    Renew,
    /// Weights move.
    Shift,
    /// At least one version goes to zero on evidence; the experiment concludes if none is left.
    RollBack,
    /// The experiment concludes with a winner.
    Promote,
    /// The experiment concludes without one.
    Conclude,
}

impl Action {
    /// Whether the state, and so the plan, changes.
    #[must_use]
    pub fn changes_the_plan(self) -> bool {
        self != Self::Hold
    }
}

/// Decides. `now` in Unix milliseconds.
#[must_use]
pub fn decide(experiment: &Experiment, state: &State, assessment: &Assessment, now: u64) -> Decision {
    let _ = (experiment, assessment);
    Decision { at: now, action: Action::Hold, reasons: vec!["not written yet".to_owned()], state: state.clone() }
}
