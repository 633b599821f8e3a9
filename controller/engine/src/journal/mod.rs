//! The journal: an experiment's history as a numbered list of entries, each with everything its outcome depended on, so that
//! anybody can compute that outcome again. Owns the entries; `growth` is how counts are written, `trace` what an entry led to,
//! `replay` computes it again, `rehearsal` asks what another strategy or other limits would have done.
//!
//! A look that neither changed the state nor was told to anybody has no entry: counts are cumulative and evidence is a function of
//! them and of the state, so that it takes nothing from the next entry. Entries hold what was counted since the entry before, so
//! that a journal grows with what happened and not with how long it is.

mod growth;
mod rehearsal;
mod replay;
mod trace;

pub use growth::{CellCounts, growth, unsettled};
pub use rehearsal::{Answer, Divergence, NotComparable, Rehearsal, Share, Turn};
pub use replay::{Difference, Replay, Step};
pub use trace::{Trace, trace};

use crate::command::Command;
use crate::health::Health;
use crate::spec::Experiment;
use crate::state::{Observations, State};
use serde::{Deserialize, Serialize};

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Unix milliseconds: the time that the engine was given.
    pub at: u64,
    /// What happened, with all that its outcome depends on.
    pub event: Event,
    /// What it led to.
    pub trace: Trace,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// The experiment was created.
    Begin {
        /// What was asked for.
        experiment: Box<Experiment>,
        /// Who created it.
        by: Actor,
        /// The release that decided when this was written; empty where the journal is older than that is recorded.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        release: String,
    },
    /// The journal begins in the middle: what was before is known by what it led to only.
    Continue {
        /// As it is.
        experiment: Box<Experiment>,
        /// Where it stands.
        state: Box<State>,
        /// Everything counted so far.
        observed: Observed,
        /// The release that decided when this was written; empty where the journal is older than that is recorded.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        release: String,
    },
    /// The engine looked and decided.
    Look {
        /// What was counted.
        observed: Observed,
        /// What was known of telemetry.
        #[serde(default, skip_serializing_if = "is_healthy")]
        health: Health,
    },
    /// A person's command was carried out.
    Command {
        /// What was counted.
        observed: Observed,
        /// What was known of telemetry.
        #[serde(default, skip_serializing_if = "is_healthy")]
        health: Health,
        /// What was asked for, by whom and why.
        order: Order,
    },
    /// The experiment was changed.
    Edit {
        /// As it is from here on.
        experiment: Box<Experiment>,
        /// Who changed it.
        by: Actor,
    },
    /// The experiment was deleted.
    Delete {
        /// Who deleted it.
        by: Actor,
        /// Why, in that person's words; empty if they did not say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_healthy(health: &Health) -> bool {
    *health == Health::default()
}

impl Event {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::Continue { .. } => "continue",
            Self::Look { .. } => "look",
            Self::Command { .. } => "command",
            Self::Edit { .. } => "edit",
            Self::Delete { .. } => "delete",
        }
    }

    /// What was counted since the entry before, if the event has that.
    #[must_use]
    pub const fn observed(&self) -> Option<&Observed> {
        match self {
            Self::Continue { observed, .. } | Self::Look { observed, .. } | Self::Command { observed, .. } => {
                Some(observed)
            }
            Self::Begin { .. } | Self::Edit { .. } | Self::Delete { .. } => None,
        }
    }
}

/// A person's command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// What was asked for.
    #[serde(flatten)]
    pub command: Command,
    /// Who asked.
    pub by: Actor,
    /// Why, in that person's words.
    pub reason: String,
}

/// Who did something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Actor {
    /// Whom the controller knows it by: the name or the role of the token; empty where everybody may do everything.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// Who the client says it is; nobody has checked that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub says: String,
    /// The address that the request came from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.who.as_str(), self.says.as_str()) {
            ("", "") => write!(formatter, "somebody")?,
            (who, "") => write!(formatter, "{who}")?,
            ("", says) => write!(formatter, "{says} (as they say)")?,
            (who, says) => write!(formatter, "{who} ({says}, as they say)")?,
        }
        if self.from.is_empty() { Ok(()) } else { write!(formatter, " from {}", self.from) }
    }
}

/// What was counted by an entry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// What settled since the entry before; see [`growth()`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<CellCounts>,
    /// All that had not settled then, without latencies and sums: what the breaker sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsettled: Vec<CellCounts>,
}

impl Observed {
    /// All of it, as the first entry of a journal that begins in the middle writes it.
    #[must_use]
    pub fn all(observations: &Observations) -> Self {
        let mut settled = Vec::new();
        for (epoch, counts) in &observations.epochs {
            for (version, counts) in counts.settled.iter().enumerate() {
                settled.extend(growth(*epoch, version, None, counts));
            }
        }
        Self { settled, unsettled: unsettled(observations) }
    }
}
