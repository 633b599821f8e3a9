//! What people command: checked, carried out by the engine, journaled with who and why, and published. Inside a batch's transaction.

use super::Keeper;
use super::commands::{KEEP_DECISIONS, check};
use crate::events::Kind;
use crate::ledger::{DecisionRow, LedgerError, Told, action_name};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use weir_engine::assess::assess;
use weir_engine::command::{Command, Refusal, carry_out};
use weir_engine::journal::{Actor, Entry, Event, Order, Trace, unsettled};
use weir_engine::spec::Experiment;
use weir_engine::state::{Phase, Proposal};

/// What a person wants of the experiment of a name.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) command: WantedCommand,
    pub(crate) by: Actor,
    pub(crate) reason: String,
}

/// A command as people write it: versions by name. Those with nothing of their own have braces, so that a field too many is refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "command", deny_unknown_fields)]
pub(crate) enum WantedCommand {
    Start {},
    Pause {},
    Resume {},
    // The description needs it here too.
    #[serde(rename_all = "camelCase")]
    Approve {
        /// Since when what is approved has waited, as the person saw it: nobody approves what they were not shown.
        awaited_since: u64,
    },
    SetWeights {
        /// In basis points; who is not named gets none.
        weights: BTreeMap<String, u32>,
    },
    Promote {
        version: String,
    },
    RollBack {
        #[serde(default)]
        version: Option<String>,
    },
    Stop {},
}

/// Why a command is not carried out; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("there is no experiment `{0}`")]
    Unknown(String),
    #[error("{name} has no version `{version}`; it has {known}")]
    Version { name: String, version: String, known: String },
    #[error(transparent)]
    Refused(Refusal),
    #[error("what waits for approval is not what was shown: it waits since {now}, not since {shown}; look again")]
    OtherAwaited { shown: u64, now: u64 },
    #[error("the engine failed on this command; the controller's log says more")]
    Engine,
}

impl WantedCommand {
    /// As people write it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Start {} => "start",
            Self::Pause {} => "pause",
            Self::Resume {} => "resume",
            Self::Approve { .. } => "approve",
            Self::SetWeights { .. } => "setWeights",
            Self::Promote { .. } => "promote",
            Self::RollBack { .. } => "rollBack",
            Self::Stop {} => "stop",
        }
    }

    /// With versions by index.
    fn resolve(&self, experiment: &Experiment) -> Result<Command, OrderError> {
        let index = |name: &String| {
            experiment.versions.iter().position(|version| version.name == *name).ok_or_else(|| OrderError::Version {
                name: experiment.name.clone(),
                version: name.clone(),
                known: experiment.versions.iter().map(|version| version.name.as_str()).collect::<Vec<_>>().join(", "),
            })
        };
        Ok(match self {
            Self::Start {} => Command::Start,
            Self::Pause {} => Command::Pause,
            Self::Resume {} => Command::Resume,
            Self::Approve { .. } => Command::Approve,
            Self::SetWeights { weights } => {
                for name in weights.keys() {
                    index(name)?;
                }
                let of = |name: &String| weights.get(name).copied().unwrap_or(0);
                Command::SetWeights { weights: experiment.versions.iter().map(|version| of(&version.name)).collect() }
            }
            Self::Promote { version } => Command::Promote { version: index(version)? },
            Self::RollBack { version } => Command::RollBack { version: version.as_ref().map(index).transpose()? },
            Self::Stop {} => Command::Stop,
        })
    }
}

impl Keeper {
    /// Carries out a command at once: a person does not wait for the steward's next look.
    pub(super) fn order(&mut self, wanted: Wanted) -> Result<Result<Told, OrderError>, LedgerError> {
        let now = self.clock.now();
        let Some(id) = self.mirror.named(&wanted.name).map(|live| live.id.clone()) else {
            return Ok(Err(OrderError::Unknown(wanted.name)));
        };
        let observations = self.mirror.observations(now).remove(&id).unwrap_or_default();
        let Some(live) = self.mirror.experiments.get(&id) else { return Ok(Err(OrderError::Unknown(wanted.name))) };
        let command = match wanted.command.resolve(&live.spec) {
            Ok(command) => command,
            Err(error) => return Ok(Err(error)),
        };
        if let WantedCommand::Approve { awaited_since: shown } = wanted.command {
            if live.state.phase == Phase::Pending {
                return Ok(Err(OrderError::Refused(Refusal::Pending(wanted.name))));
            }
            if let Some(Proposal { since, .. }) = &live.state.awaited
                && shown != *since
            {
                return Ok(Err(OrderError::OtherAwaited { shown, now: *since }));
            }
        }
        let health = self.health(live);
        // The engine knows what is evident now, not what was at the steward's last look.
        let carried = catch_unwind(AssertUnwindSafe(|| {
            let assessment = assess(&live.spec, &live.state, &observations);
            carry_out(&live.spec, &live.state, &command, &assessment, &health, now)
                .map(|decision| (assessment, decision))
        }));
        let (assessment, decision) = match carried {
            Ok(Ok(done)) => done,
            Ok(Err(refusal)) => return Ok(Err(OrderError::Refused(refusal))),
            Err(_) => {
                self.metrics.steward_failures.inc();
                tracing::error!(experiment = id, ?command, "the engine failed on a command");
                return Ok(Err(OrderError::Engine));
            }
        };
        if let Err(problem) = check(live, &decision.state) {
            self.metrics.steward_failures.inc();
            tracing::error!(experiment = id, ?command, problem, "a command is not carried out");
            return Ok(Err(OrderError::Engine));
        }
        let plan = match self.plan_with(&id, &decision.state) {
            Ok(plan) => plan,
            Err(error) => {
                self.metrics.steward_failures.inc();
                tracing::error!(experiment = id, ?command, %error, "a command makes no valid plan and is not carried out");
                return Ok(Err(OrderError::Engine));
            }
        };
        let Some(live) = self.mirror.experiments.get(&id) else { return Ok(Err(OrderError::Unknown(wanted.name))) };
        let order = Order { command, by: wanted.by, reason: wanted.reason };
        let entry = Entry {
            at: now,
            trace: Trace::of(&live.state, &decision),
            event: Event::Command {
                observed: live.observed(&observations, &unsettled(&observations)),
                health,
                order: order.clone(),
            },
        };
        let told = Told::of(&decision, Some(order.clone()));
        self.write()?;
        self.ledger.update_state(&id, &decision.state)?;
        let row = DecisionRow { number: 0, told: told.clone(), assessment: assessment.clone() };
        self.ledger.insert_decision(&id, &row, KEEP_DECISIONS)?;
        self.journal(&id, &entry, Some(&observations))?;
        let action = decision.action;
        if let Some(live) = self.mirror.experiments.get_mut(&id) {
            live.state = decision.state;
            live.generation += 1;
            live.stirred = true;
            live.reusable = None;
            live.assessment = Some(Arc::new(assessment));
            live.decision = Some(told.clone());
            live.last_change = Some(told.clone());
        }
        self.tell(Kind::Decision, &wanted.name, &id, &told)?;
        self.plan = Some(plan);
        self.metrics.decided(action_name(action));
        tracing::info!(
            experiment = id,
            action = action_name(action),
            by = %order.by,
            reason = order.reason,
            "commanded"
        );
        Ok(Ok(told))
    }
}
