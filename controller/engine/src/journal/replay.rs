//! Computes a journal's outcomes again, entry by entry, and compares them with what was recorded: to the bit.

use super::growth::apply;
use super::trace::{Trace, trace};
use super::{Entry, Event, Observed};
use crate::assess::{Assessment, Assessor, Depth};
use crate::command::carry_out;
use crate::decide::{Decision, decide, edited};
use crate::health::Health;
use crate::spec::Experiment;
use crate::state::{Observations, State};

/// A journal read so far.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    at: Option<Position>,
    assessor: Assessor,
    decisions: u64,
    release: String,
}

/// Where the experiment stands after the entries so far.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub(super) experiment: Experiment,
    pub(super) state: State,
    pub(super) observations: Observations,
}

/// What an entry turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The decision, computed again; `None` where nothing was decided.
    pub decision: Option<Decision>,
}

/// The first place where what is computed is not what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {number}, {part}: recorded {recorded}, computed {computed}")]
pub struct Difference {
    /// The entry's number.
    pub number: u64,
    /// Its time, in Unix milliseconds.
    pub at: u64,
    /// Which part of its outcome.
    pub part: String,
    /// What the journal says.
    pub recorded: String,
    /// What comes out.
    pub computed: String,
}

impl Replay {
    /// Decisions computed so far: looks and commands.
    #[must_use]
    pub const fn decisions(&self) -> u64 {
        self.decisions
    }

    /// The release that began the journal; empty where it does not say.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Whether the release that wrote the journal named itself. Older ones told the same decisions in other words.
    fn is_named(&self) -> bool {
        !self.release.is_empty()
    }

    /// Where the experiment stands; `None` before the first entry.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.at.as_ref().map(|at| &at.state)
    }

    /// The experiment as it is; `None` before the first entry.
    #[must_use]
    pub fn experiment(&self) -> Option<&Experiment> {
        self.at.as_ref().map(|at| &at.experiment)
    }

    /// What the last entry saw; `None` before the first.
    #[must_use]
    pub fn observations(&self) -> Option<&Observations> {
        self.at.as_ref().map(|at| &at.observations)
    }

    /// Computes the next entry's outcome, and goes on from there.
    ///
    /// # Errors
    /// [`Difference`], the first; it cannot go on after that.
    pub fn push(&mut self, number: u64, entry: &Entry) -> Result<Step, Difference> {
        let is_named = self.is_named();
        let before = self.at.as_ref().map(|at| at.state.clone());
        let differ = |part: &str, recorded: String, computed: String| Difference {
            number,
            at: entry.at,
            part: part.to_owned(),
            recorded,
            computed,
        };
        let Some(at) = &mut self.at else {
            let (experiment, state, observed, release) = match &entry.event {
                Event::Begin { experiment, release, .. } => {
                    (experiment.as_ref(), State::begin(experiment, entry.at), Observed::default(), release)
                }
                Event::Continue { experiment, state, observed, release } => {
                    (experiment.as_ref(), state.as_ref().clone(), observed.clone(), release)
                }
                other => {
                    return Err(differ("event", other.name().to_owned(), "begin: nothing was before".to_owned()));
                }
            };
            self.release.clone_from(release);
            let mut observations = Observations::default();
            apply(&mut observations, &observed, experiment.versions.len());
            compare(number, entry, &trace(None, &state), self.is_named())?;
            self.at = Some(Position { experiment: experiment.clone(), state, observations });
            return Ok(Step { decision: None });
        };
        let decision = match &entry.event {
            Event::Begin { .. } | Event::Continue { .. } => {
                return Err(differ("event", entry.event.name().to_owned(), "not a beginning: it has begun".to_owned()));
            }
            Event::Look { observed, health } => Some(at.look(&mut self.assessor, observed, health, entry.at)),
            Event::Command { observed, health, order } => {
                let assessment = at.assess(&mut self.assessor, observed);
                match carry_out(&at.experiment, &at.state, &order.command, &assessment, health, entry.at) {
                    Ok(decision) => Some(decision),
                    Err(refusal) => {
                        return Err(differ("command", "carried out".to_owned(), format!("refused: {refusal}")));
                    }
                }
            }
            Event::Edit { experiment, .. } => {
                let decision = edited(&at.experiment, experiment, &at.state, entry.at)
                    .map_err(|refusal| differ("edit", "made".to_owned(), format!("refused: {refusal}")))?;
                at.experiment = experiment.as_ref().clone();
                Some(decision)
            }
            Event::Delete { .. } => None,
        };
        let computed = match (&decision, &before) {
            (Some(decision), Some(before)) => Trace::of(before, decision),
            _ => trace(before.as_ref(), &at.state),
        };
        compare(number, entry, &computed, is_named)?;
        if let Some(decision) = &decision {
            at.state = decision.state.clone();
            self.decisions += u64::from(!matches!(entry.event, Event::Edit { .. }));
        }
        Ok(Step { decision })
    }
}

impl Position {
    fn assess(&mut self, assessor: &mut Assessor, observed: &Observed) -> Assessment {
        apply(&mut self.observations, observed, self.experiment.versions.len());
        assessor.assess(&self.experiment, &self.state, &self.observations, Depth::Decision)
    }

    fn look(&mut self, assessor: &mut Assessor, observed: &Observed, health: &Health, now: u64) -> Decision {
        let assessment = self.assess(assessor, observed);
        decide(&self.experiment, &self.state, &assessment, health, now)
    }
}

/// Compares an outcome with the recorded one: its words, too, if they are by a release that names itself.
fn compare(number: u64, entry: &Entry, computed: &Trace, words: bool) -> Result<(), Difference> {
    let recorded = &entry.trace;
    let differ = |part: String, recorded: String, computed: String| {
        Err(Difference { number, at: entry.at, part, recorded, computed })
    };
    if recorded.action != computed.action {
        return differ("action".to_owned(), format!("{:?}", recorded.action), format!("{:?}", computed.action));
    }
    if words && recorded.reasons != computed.reasons {
        return differ("reasons".to_owned(), recorded.reasons.join(" "), computed.reasons.join(" "));
    }
    if recorded.weights != computed.weights {
        return differ("weights".to_owned(), format!("{:?}", recorded.weights), format!("{:?}", computed.weights));
    }
    let parts = recorded.changed.keys().chain(computed.changed.keys());
    let other = parts.into_iter().find(|part| recorded.changed.get(*part) != computed.changed.get(*part));
    if let Some(part) = other {
        let said = |trace: &Trace| trace.changed.get(part).map_or("unchanged".to_owned(), |hash| format!("#{hash}"));
        return differ(format!("state.{part}"), said(recorded), said(computed));
    }
    Ok(())
}
