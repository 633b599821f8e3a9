//! Where a person has the last word: what is wanted becomes a proposal, which stands until it is approved or wanted no longer.

use super::{Action, Look, is_violated, ladder, winner};
use crate::assess::Assessment;
use crate::breaker::Doubt;
use crate::spec::{Experiment, Strategy};
use crate::state::{Proposal, State, Step};

impl Look<'_> {
    /// Proposes a step, or waits with the one that is proposed already: what is approved is what was shown.
    pub(super) fn ask(&mut self, step: Step) -> Action {
        let same = match (&self.next.awaited, &step) {
            (Some(Proposal { step: Step::Promotion { version }, .. }), Step::Promotion { version: wanted }) => {
                version == wanted
            }
            // A bandit wants something else at every look: the first proposal stands until its epoch ends.
            (Some(_), Step::Weights { .. }) if self.proposal_stands() => true,
            (Some(Proposal { step: proposed @ Step::Weights { .. }, .. }), wanted) => proposed == wanted,
            _ => false,
        };
        let first = !same;
        if first {
            self.next.awaited = Some(Proposal { since: self.now, step });
        }
        self.reasons.push("It waits for approval.".to_owned());
        if first { Action::Ask } else { self.renew() }
    }

    /// Whether a bandit's weights wait for approval, so that it proposes no others.
    pub(super) fn proposal_stands(&self) -> bool {
        let weights = |proposal: &Proposal| matches!(proposal.step, Step::Weights { .. });
        self.is_bandit() && self.experiment.approvals.step && self.next.awaited.as_ref().is_some_and(weights)
    }
}

/// Why what waits for approval is no longer warranted by what is known; `None` if it still is.
pub(crate) fn no_longer(
    experiment: &Experiment,
    state: &State,
    assessment: &Assessment,
    step: &Step,
) -> Option<String> {
    if state.sample_ratio_broken || assessment.sample_ratio.is_some_and(|test| test.broken) {
        return Some("exposures do not follow the weights".to_owned());
    }
    let candidates = || assessment.versions.iter().filter(|version| !version.baseline && !version.out);
    if let Some(version) = candidates().find(|version| is_violated(version)) {
        return Some(format!("{} breaks its limits", version.name));
    }
    let doubted = candidates().find(|version| version.doubt.as_ref().is_some_and(Doubt::trips));
    if let Some((version, doubt)) = doubted.and_then(|version| Some((version, version.doubt?))) {
        let Doubt { failed, exposures, .. } = doubt;
        let name = &version.name;
        return Some(format!(
            "the breaker doubts {name}: {failed} of {exposures} exposures that have not settled failed"
        ));
    }
    match step {
        Step::Promotion { version } => (winner::winner(experiment, state, assessment) != Some(*version))
            .then(|| format!("the evidence does not name {} any more", experiment.version_name(*version))),
        Step::Weights { .. } if matches!(experiment.strategy, Strategy::Canary { .. }) => {
            candidates().find_map(ladder::doubt)
        }
        Step::Weights { .. } => None,
    }
}
