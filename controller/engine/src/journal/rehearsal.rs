//! What would another strategy, or other limits, have done? The same observations, look by look, under another specification.
//!
//! Evidence is about the outcomes of each version at the weights at which they were really assigned, so it stays valid whatever
//! weights are decided on. But once the weights that would have been decided are not those that were sent, some versions were seen
//! more often and others less often than they would have been: from there on the answer is counterfactual, and says so. It looks only
//! where the journal has an entry, so it may be as late as the journal's next entry.

use super::{Difference, Entry, Event, Replay};
use crate::assess::{Assessment, Assessor, Depth};
use crate::command::carry_out;
use crate::decide::{Action, Decision, decide};
use crate::spec::{Experiment, Strategy};
use crate::state::{Epoch, Observations, Phase, State};
use serde::Serialize;

/// Why another specification cannot be asked about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is another than the experiment's: what was counted cannot answer for it")]
pub struct NotComparable {
    /// As in the document.
    pub field: &'static str,
}

/// A rehearsal so far.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// As it was given.
    asked: Experiment,
    /// The same with its versions in the experiment's order, by which journals know them.
    with: Experiment,
    not_comparable: Option<NotComparable>,
    actual: Replay,
    would: Option<Would>,
    assessor: Assessor,
    answer: Answer,
}

/// What would stand.
#[derive(Debug, Clone)]
struct Would {
    /// Its epochs are those that really were, whose observations there are.
    state: State,
    /// What would be sent, were it not concluded.
    weights: Vec<u32>,
    /// Settled exposures per version when these weights came, and in all when the last epoch did.
    at_weights: Vec<u64>,
    at_epoch: u64,
    /// Settled exposures per version at the last entry.
    counted: Vec<u64>,
}

/// What would have been done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What would have been decided, holding and renewing left out.
    pub turns: Vec<Turn>,
    /// From where on it is counterfactual; absent if it would have sent the same weights throughout.
    pub divergence: Option<Divergence>,
    /// Per version, traffic from there on.
    pub shares: Vec<Share>,
    /// Where it would stand after the last entry.
    pub phase: Option<Phase>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// The journal's entry.
    pub number: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// What would have been done; absent for a command that would have been refused.
    pub action: Option<Action>,
    /// Why.
    pub reasons: Vec<String>,
    /// The weights from here on, per version in basis points.
    pub weights: Vec<u32>,
}

/// Where other weights would have been sent than were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Divergence {
    /// The journal's entry.
    pub number: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// What would have been sent, per version in basis points.
    pub would: Vec<u32>,
    /// What was.
    pub was: Vec<u32>,
}

/// Traffic of a version where weights would have differed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The version.
    pub version: String,
    /// Exposures that it would have had, of as many as there were.
    pub would: u64,
    /// Exposures that were seen of it.
    pub seen: u64,
}

impl Share {
    /// Whether the answer would have needed traffic that was not sent: less than half of what it would have had was seen.
    #[must_use]
    pub const fn lacks(&self) -> bool {
        self.seen.saturating_mul(2) < self.would
    }
}

impl Rehearsal {
    /// Asks what this specification would have done.
    #[must_use]
    pub fn new(with: Experiment) -> Self {
        Self {
            asked: with.clone(),
            with,
            not_comparable: None,
            actual: Replay::default(),
            would: None,
            assessor: Assessor::default(),
            answer: Answer::default(),
        }
    }

    /// The specification that is asked about, with its versions in the experiment's order, in which the answer has its weights.
    #[must_use]
    pub const fn with(&self) -> &Experiment {
        &self.with
    }

    /// Why there is no answer, by the entries so far. A pending experiment may still be edited into one that can be compared with.
    #[must_use]
    pub const fn not_comparable(&self) -> Option<&NotComparable> {
        self.not_comparable.as_ref()
    }

    /// The answer after the entries so far.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// What really happened, computed again.
    #[must_use]
    pub const fn actual(&self) -> &Replay {
        &self.actual
    }

    /// Whether what was counted can answer for another specification.
    ///
    /// # Errors
    /// The first [`NotComparable`].
    pub fn comparable(was: &Experiment, with: &Experiment) -> Result<(), NotComparable> {
        let names = |experiment: &Experiment| {
            experiment.versions.iter().map(|version| version.name.clone()).collect::<Vec<_>>()
        };
        let source = |experiment: &Experiment| experiment.reward.as_ref().map(|reward| reward.source.clone());
        let with = &in_order_of(was, with);
        let same = [
            ("metadata.name", was.name == with.name),
            ("spec.versions", names(was) == names(with) && was.baseline == with.baseline),
            // Other requests were counted than it would have met.
            ("spec.match", was.matching == with.matching),
            ("spec.unit", was.unit == with.unit),
            ("spec.deadline", was.deadline_ms == with.deadline_ms),
            ("spec.bin", was.bin_ms == with.bin_ms),
            ("spec.measure", was.measure == with.measure),
            ("spec.failure", was.failure == with.failure),
            ("spec.reward", with.reward.is_none() || source(was) == source(with)),
            // Users are compared at one latency only, and that is where the filters looked.
            ("spec.guardrails", with.unit_latency_ratio().is_none_or(|ratio| was.unit_latency_ratio() == Some(ratio))),
        ];
        same.into_iter().find(|(_, same)| !same).map_or(Ok(()), |(field, _)| Err(NotComparable { field }))
    }

    /// Goes through the next entry, with the experiment as it was and as it would be.
    ///
    /// # Errors
    /// A [`Difference`] of what was recorded from what comes out for the experiment as it was: then its journal proves nothing.
    pub fn push(&mut self, number: u64, entry: &Entry) -> Result<(), Difference> {
        let epochs = self.actual.state().map(|state| state.epochs.clone()).unwrap_or_default();
        let pending = self.actual.state().is_none_or(|state| state.phase == Phase::Pending);
        let step = self.actual.push(number, entry)?;
        if pending && matches!(entry.event, Event::Begin { .. } | Event::Continue { .. } | Event::Edit { .. }) {
            // An edit of what waits to be started begins it anew.
            self.begin(number, entry.at);
            return Ok(());
        }
        let (Some(observations), Some(would)) = (self.actual.observations(), &mut self.would) else { return Ok(()) };
        let counted = settled(observations, self.with.versions.len());
        if let Some(divergence) = &self.answer.divergence
            && divergence.number < number
            && !would.state.is_concluded()
        {
            add_shares(&mut self.answer.shares, &self.with, would, &counted);
        }
        would.counted.clone_from(&counted);
        let decided = match &entry.event {
            Event::Look { health, .. } => {
                let (before, assessment) = would.look(&self.with, &mut self.assessor, &epochs, observations, &counted);
                (!before.is_concluded()).then(|| Ok(decide(&self.with, &before, &assessment, health, entry.at)))
            }
            Event::Command { health, order, .. } if !would.state.is_concluded() => {
                let (before, assessment) = would.look(&self.with, &mut self.assessor, &epochs, observations, &counted);
                Some(
                    carry_out(&self.with, &before, &order.command, &assessment, health, entry.at)
                        .map_err(|refusal| refusal.to_string()),
                )
            }
            // What was changed about the experiment as it was, this one has not.
            _ => None,
        };
        drop(step);
        match decided {
            Some(Ok(decision)) => {
                let tell = !matches!(decision.action, Action::Hold | Action::Renew);
                would.take(&decision, &counted, epochs.len());
                if tell {
                    let weights = would.in_force(&self.with);
                    let Decision { at, action, reasons, .. } = decision;
                    self.answer.turns.push(Turn { number, at, action: Some(action), reasons, weights });
                }
            }
            Some(Err(refusal)) => self.answer.turns.push(Turn {
                number,
                at: entry.at,
                action: None,
                reasons: vec![format!("A command would have been refused: {refusal}.")],
                weights: would.in_force(&self.with),
            }),
            None => {}
        }
        self.diverge(number, entry.at);
        Ok(())
    }

    /// Begins as the experiment does, forgetting what was before.
    fn begin(&mut self, number: u64, at: u64) {
        let (Some(was), Some(state), Some(observations)) =
            (self.actual.experiment(), self.actual.state(), self.actual.observations())
        else {
            return;
        };
        (self.answer, self.would, self.assessor) = (Answer::default(), None, Assessor::default());
        self.with = in_order_of(was, &self.asked);
        self.not_comparable = Self::comparable(was, &self.with).err();
        if self.not_comparable.is_some() {
            return;
        }
        let counted = settled(observations, self.with.versions.len());
        let mut begun = State::begin(&self.with, at);
        // Whether it waited to be started is what it did.
        begun.phase = state.phase.clone();
        begun.started_at = state.started_at;
        let weights = begun.weights().to_vec();
        let total = counted.iter().sum();
        self.would = Some(Would { state: begun, weights, at_weights: counted.clone(), at_epoch: total, counted });
        self.diverge(number, at);
    }

    /// Notes where weights differ first, and where it stands.
    fn diverge(&mut self, number: u64, at: u64) {
        let (Some(would), Some(state), Some(experiment)) = (&self.would, self.actual.state(), self.actual.experiment())
        else {
            return;
        };
        self.answer.phase = Some(would.state.phase.clone());
        if self.answer.divergence.is_none() {
            let (would, was) = (would.in_force(&self.with), state.weights_in_force(experiment));
            if would != was {
                self.answer.divergence = Some(Divergence { number, at, would, was });
            }
        }
    }
}

impl Would {
    /// What is known by an entry: the state that would decide, and the assessment of what was really seen.
    fn look(
        &self,
        with: &Experiment,
        assessor: &mut Assessor,
        epochs: &[Epoch],
        observations: &Observations,
        counted: &[u64],
    ) -> (State, Assessment) {
        let mut before = State { epochs: epochs.to_vec(), ..self.state.clone() };
        let mut assessment = assessor.assess(with, &before, observations, Depth::Decision);
        if before.weights() != self.weights.as_slice() {
            // Exposures since the weights that would have been, at whatever weights they came.
            for ((version, now), then) in assessment.versions.iter_mut().zip(counted).zip(&self.at_weights) {
                version.settled_at_these_weights = now.saturating_sub(*then);
            }
            assessment.settled_in_epoch = counted.iter().sum::<u64>().saturating_sub(self.at_epoch);
            for (version, weight) in assessment.versions.iter_mut().zip(&self.weights) {
                version.weight = *weight;
            }
            if let Some(epoch) = before.epochs.last_mut() {
                epoch.weights.clone_from(&self.weights);
            }
        }
        (before, assessment)
    }

    /// Goes on from a decision that was made on `epochs` epochs.
    fn take(&mut self, decision: &Decision, counted: &[u64], epochs: usize) {
        if decision.state.weights() != self.weights.as_slice() {
            self.weights = decision.state.weights().to_vec();
            self.at_weights = counted.to_vec();
        }
        if decision.state.epochs.len() > epochs {
            self.at_epoch = counted.iter().sum();
        }
        self.state = decision.state.clone();
    }

    fn in_force(&self, with: &Experiment) -> Vec<u32> {
        match self.state.phase {
            Phase::Running | Phase::Paused { .. } => self.weights.clone(),
            Phase::Pending | Phase::Concluded { .. } => self.state.weights_in_force(with),
        }
    }
}

/// A specification with its versions in the order of another's, if both have the same.
fn in_order_of(was: &Experiment, with: &Experiment) -> Experiment {
    let place = |name: &str| with.versions.iter().position(|version| version.name == name);
    let order: Option<Vec<usize>> = was.versions.iter().map(|version| place(&version.name)).collect();
    let Some(order) = order.filter(|order| order.len() == with.versions.len()) else { return with.clone() };
    let mut with = with.clone();
    with.versions = order.iter().filter_map(|from| with.versions.get(*from).cloned()).collect();
    with.baseline = order.iter().position(|from| *from == with.baseline).unwrap_or(with.baseline);
    if let Strategy::Ab { weights } = &mut with.strategy {
        *weights = order.iter().filter_map(|from| weights.get(*from).copied()).collect();
    }
    with
}

/// Settled exposures per version.
fn settled(observations: &Observations, versions: usize) -> Vec<u64> {
    let of = |version: usize| {
        let cells = observations.epochs.values().filter_map(move |counts| counts.settled.get(version));
        cells.fold(0_u64, |sum, cell| sum.saturating_add(cell.assigned))
    };
    (0..versions).map(of).collect()
}

fn add_shares(shares: &mut Vec<Share>, with: &Experiment, would: &Would, counted: &[u64]) {
    if shares.is_empty() {
        shares.extend(with.versions.iter().map(|version| Share { version: version.name.clone(), would: 0, seen: 0 }));
    }
    let news: Vec<u64> = counted.iter().zip(&would.counted).map(|(now, then)| now.saturating_sub(*then)).collect();
    let total = u128::from(news.iter().sum::<u64>());
    let whole = u128::from(crate::spec::TOTAL_WEIGHT);
    for ((share, weight), seen) in shares.iter_mut().zip(would.in_force(with)).zip(&news) {
        let part = total.saturating_mul(u128::from(weight)) / whole;
        share.would = share.would.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        share.seen = share.seen.saturating_add(*seen);
    }
}
