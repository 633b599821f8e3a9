//! What a person may ask of an experiment. Pure: a command is carried out or refused, by the state and what is known; who may
//! ask, and who did, is the controller's business.

use crate::assess::Assessment;
use crate::decide::{self, Action, Decision};
use crate::health::Health;
use crate::spec::{Experiment, TOTAL_WEIGHT};
use crate::state::{Cause, Outcome, Phase, State, Step};
use serde::{Deserialize, Serialize};

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "command")]
pub enum Command {
    /// Begin a pending experiment.
    Start,
    /// Keep the weights as they are. Evidence grows; only evidence of a violation still moves traffic.
    Pause,
    /// Go on: a canary at its rung, an A/B test with its split, a bandit from the weights there are.
    Resume,
    /// Do what waits for approval.
    Approve,
    /// These weights, until it is resumed.
    SetWeights {
        /// Per version in the experiment's order, in basis points, summing to [`TOTAL_WEIGHT`].
        weights: Vec<u32>,
    },
    /// Conclude with this version, whatever the evidence, unless it broke a limit.
    Promote {
        /// By index.
        version: usize,
    },
    /// No more traffic for this version, or for every candidate.
    RollBack {
        /// By index; `None`: all candidates, which concludes.
        version: Option<usize>,
    },
    /// Conclude without an outcome, with all traffic on the baseline.
    Stop,
}

/// Why a command is not carried out, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is over.
    #[error(
        "{name} has concluded and {version} has its traffic: {}apply another experiment with a higher `priority`",
        if *.baseline { "delete it, or " } else { "delete it to send everything to the baseline, or " }
    )]
    Concluded {
        /// The experiment's.
        name: String,
        /// The outcome's.
        version: String,
        /// Whether that is the baseline.
        baseline: bool,
    },
    /// It has not begun.
    #[error("{0} has not started: start it first, or stop it")]
    Pending(String),
    /// It has begun.
    #[error("{0} has started already: there is nothing to do")]
    Started(String),
    /// It is paused.
    #[error("{0} is paused already: resume it, or set its weights")]
    Paused(String),
    /// It is not paused.
    #[error("{0} is not paused: there is nothing to resume")]
    NotPaused(String),
    /// Nothing waits for approval.
    #[error("nothing of {0} waits for approval: `weir explain {0}` says what it waits for")]
    NothingAwaited(String),
    /// What waited is no longer warranted.
    #[error("what waited for approval is no longer warranted: {0}")]
    NoLonger(String),
    /// Telemetry cannot answer for it now.
    #[error(
        "nothing is approved while telemetry cannot answer for it ({0}): it still waits; approve it when that is over"
    )]
    Blind(String),
    /// An edit would raise a canary's weight.
    #[error(
        "spec.strategy.canary.steps begins at {first}, above the canary's rung, {here}: an edit raises no weight; begin the steps \
         with {here} or less, and it climbs from there"
    )]
    Steep {
        /// The first new step.
        first: String,
        /// The weight of each candidate by the old steps.
        here: String,
    },
    /// There is no such version.
    #[error("{name} has {count} versions and none with index {version}: choose one of them")]
    NoVersion {
        /// The experiment's.
        name: String,
        /// How many there are.
        count: usize,
        /// What was asked for.
        version: usize,
    },
    /// The weights are not so many, or do not sum to the whole.
    #[error(
        "the weights sum to {sum}: give {TOTAL_WEIGHT} in all (100 is 1%), over the {count} versions; who is not named gets none"
    )]
    Weights {
        /// Their sum.
        sum: u64,
        /// How many versions there are.
        count: usize,
    },
    /// It is paused with these weights.
    #[error("{0} is paused with these weights already: there is nothing to do; resume it to let them move")]
    SameWeights(String),
    /// The version is out.
    #[error(
        "{0} is rolled back: it gets no traffic in this experiment; delete this one, or apply another with a higher `priority`, to try it again"
    )]
    Out(String),
    /// The baseline cannot be rolled back.
    #[error("{0} is the baseline, where traffic goes back to: promote another version instead")]
    Baseline(String),
}

/// Carries out a command, knowing what `assessment` and `health` say. `now` in Unix milliseconds.
///
/// # Errors
/// [`Refusal`], a sentence that says what to do instead; nothing changes then.
pub fn carry_out(
    experiment: &Experiment,
    state: &State,
    command: &Command,
    assessment: &Assessment,
    health: &Health,
    now: u64,
) -> Result<Decision, Refusal> {
    let order = Order { experiment, state, assessment, health, now };
    if let Phase::Concluded { version, .. } = state.phase {
        let (name, baseline) = (order.name(), version == experiment.baseline);
        return Err(Refusal::Concluded { name, version: experiment.version_name(version).to_owned(), baseline });
    }
    match command {
        Command::Start => order.start(),
        Command::Pause => order.pause(),
        Command::Resume => order.resume(),
        Command::Approve => order.approve(),
        Command::SetWeights { weights } => order.set_weights(weights),
        Command::Promote { version } => order.promote(*version),
        Command::RollBack { version: Some(version) } => order.roll_back(*version),
        Command::RollBack { version: None } => order.roll_back_all(),
        Command::Stop => order.stop(),
    }
}

/// A command and what it is about; the experiment has not concluded.
struct Order<'a> {
    experiment: &'a Experiment,
    state: &'a State,
    assessment: &'a Assessment,
    health: &'a Health,
    now: u64,
}

impl Order<'_> {
    fn name(&self) -> String {
        self.experiment.name.clone()
    }

    fn decision(&self, action: Action, reason: String, state: State) -> Decision {
        Decision { at: self.now, action, reasons: vec![reason], state }
    }

    /// A version by index.
    fn version(&self, version: usize) -> Result<&str, Refusal> {
        let count = self.experiment.versions.len();
        let found = self.experiment.versions.get(version).map(|version| version.name.as_str());
        found.ok_or_else(|| Refusal::NoVersion { name: self.name(), count, version })
    }

    /// Whether a candidate was rolled back, or is about to be: a violation may be known that no look has acted on yet.
    fn is_banned(&self, version: usize) -> bool {
        let known = self.assessment.versions.get(version).is_some_and(decide::is_violated);
        version != self.experiment.baseline && (known || self.state.is_out(version))
    }

    /// The next state, with what this look had the evidence for; nothing waits for approval any more.
    fn next(&self) -> State {
        let mut next = decide::remember(self.state, self.assessment);
        decide::set_right(&mut next, self.health);
        next.awaited = None;
        next
    }

    fn refuse_pending(&self) -> Result<(), Refusal> {
        if self.state.phase == Phase::Pending { Err(Refusal::Pending(self.name())) } else { Ok(()) }
    }

    fn start(&self) -> Result<Decision, Refusal> {
        if self.state.phase != Phase::Pending {
            return Err(Refusal::Started(self.name()));
        }
        let mut next = self.next();
        next.phase = Phase::Running;
        next.started_at = self.now;
        next.running_since = Some(self.now);
        if let Some(epoch) = next.epochs.last_mut() {
            epoch.began_at = self.now;
        }
        Ok(self.decision(Action::Start, format!("{} was started by hand.", self.experiment.name), next))
    }

    fn pause(&self) -> Result<Decision, Refusal> {
        self.refuse_pending()?;
        if !self.state.is_running() {
            return Err(Refusal::Paused(self.name()));
        }
        let mut next = self.next();
        decide::pause(&mut next, Cause::Asked, self.now);
        let reason = "Paused by hand: weights stay; counts and evidence go on, and a violation still rolls back.";
        Ok(self.decision(Action::Pause, reason.to_owned(), next))
    }

    fn resume(&self) -> Result<Decision, Refusal> {
        self.refuse_pending()?;
        if !matches!(self.state.phase, Phase::Paused { .. }) {
            return Err(Refusal::NotPaused(self.name()));
        }
        let mut next = self.next();
        next.phase = Phase::Running;
        next.running_since = Some(self.now);
        if next.ran_ms >= self.experiment.max_duration_ms {
            // Resumed because somebody wants to give it as long again.
            next.ran_ms = 0;
        }
        let weights = decide::standing_weights(self.experiment, &next);
        let back = if weights.as_slice() == next.weights() { "" } else { ", with the weights of its strategy" };
        if weights.as_slice() != next.weights() {
            decide::begin_epoch(&mut next, weights, self.assessment, self.now);
        }
        Ok(self.decision(Action::Resume, format!("Resumed by hand{back}."), next))
    }

    fn approve(&self) -> Result<Decision, Refusal> {
        if self.state.phase == Phase::Pending {
            return self.start();
        }
        let Some(awaited) = &self.state.awaited else { return Err(Refusal::NothingAwaited(self.name())) };
        if let Some(doubt) = decide::no_longer(self.experiment, self.state, self.assessment, &awaited.step) {
            return Err(Refusal::NoLonger(doubt));
        }
        let faults = decide::faults(self.state, self.health, self.now);
        if !faults.is_empty() {
            return Err(Refusal::Blind(faults.join("; ")));
        }
        let mut next = self.next();
        match &awaited.step {
            Step::Weights { weights, rung } => {
                next.rung = *rung;
                next.split = None;
                decide::begin_epoch(&mut next, weights.clone(), self.assessment, self.now);
                Ok(self.decision(Action::Shift, "Approved: traffic moves as proposed.".to_owned(), next))
            }
            Step::Promotion { version } => {
                let reason = format!("Approved: {} is promoted.", self.version(*version)?);
                decide::conclude(&mut next, Outcome::Promoted, *version, self.now);
                Ok(self.decision(Action::Promote, reason, next))
            }
        }
    }

    fn set_weights(&self, weights: &[u32]) -> Result<Decision, Refusal> {
        self.refuse_pending()?;
        let count = self.experiment.versions.len();
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        if weights.len() != count || sum != u64::from(TOTAL_WEIGHT) {
            return Err(Refusal::Weights { sum, count });
        }
        let mut next = self.next();
        let banned = weights.iter().enumerate().find(|(version, weight)| **weight > 0 && self.is_banned(*version));
        if let Some((version, _)) = banned {
            return Err(Refusal::Out(self.version(version)?.to_owned()));
        }
        let same = weights == next.weights();
        let held = next.trips.iter().any(|trip| trip.open);
        if same && !held && !next.is_running() {
            return Err(Refusal::SameWeights(self.name()));
        }
        // Whoever sets weights has seen what the breaker saw.
        next.trips.iter_mut().for_each(|trip| trip.open = false);
        decide::pause(&mut next, Cause::Weights, self.now);
        if !same {
            decide::begin_epoch(&mut next, weights.to_vec(), self.assessment, self.now);
        }
        let moves = if same {
            "the same as before".to_owned()
        } else {
            decide::moves(self.experiment, self.state.weights(), weights)
        };
        let reason = format!(
            "Weights were set by hand: {moves}. It is paused with them: they stay until it is resumed; a violation still rolls back."
        );
        Ok(self.decision(if same { Action::Pause } else { Action::Shift }, reason, next))
    }

    fn promote(&self, version: usize) -> Result<Decision, Refusal> {
        self.refuse_pending()?;
        let name = self.version(version)?.to_owned();
        let mut next = self.next();
        if self.is_banned(version) {
            return Err(Refusal::Out(name));
        }
        decide::conclude(&mut next, Outcome::Promoted, version, self.now);
        Ok(self.decision(Action::Promote, format!("{name} was promoted by hand, not by evidence."), next))
    }

    fn roll_back(&self, version: usize) -> Result<Decision, Refusal> {
        self.refuse_pending()?;
        let name = self.version(version)?.to_owned();
        if version == self.experiment.baseline {
            return Err(Refusal::Baseline(name));
        }
        let mut next = self.next();
        if next.is_out(version) {
            return Err(Refusal::Out(name));
        }
        if let Some(out) = next.out.get_mut(version) {
            *out = true;
        }
        let reason = format!("{name} was rolled back by hand: it gets no more traffic.");
        if decide::nobody_is_left(self.experiment, &next) {
            decide::conclude(&mut next, Outcome::RolledBack, self.experiment.baseline, self.now);
        } else {
            let weights = decide::rolled_back(self.experiment, &mut next);
            decide::begin_epoch(&mut next, weights, self.assessment, self.now);
        }
        Ok(self.decision(Action::RollBack, reason, next))
    }

    fn roll_back_all(&self) -> Result<Decision, Refusal> {
        self.refuse_pending()?;
        let mut next = self.next();
        for (version, out) in next.out.iter_mut().enumerate() {
            *out |= version != self.experiment.baseline;
        }
        decide::conclude(&mut next, Outcome::RolledBack, self.experiment.baseline, self.now);
        let reason = format!(
            "Rolled back by hand: all traffic goes to {}.",
            self.experiment.version_name(self.experiment.baseline)
        );
        Ok(self.decision(Action::RollBack, reason, next))
    }

    fn stop(&self) -> Result<Decision, Refusal> {
        let mut next = self.next();
        decide::conclude(&mut next, Outcome::Stopped, self.experiment.baseline, self.now);
        let reason =
            format!("Stopped by hand: all traffic goes to {}.", self.experiment.version_name(self.experiment.baseline));
        Ok(self.decision(Action::Conclude, reason, next))
    }
}
