//! Entity tags of experiments, and writes that depend on them: whoever changes what they saw changes nothing that has changed since.

use super::{Answer, Command, Handle, Keeper, KeeperError, Reply};
use crate::ledger::LedgerError;
use crate::mirror::Live;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use tokio::sync::oneshot;

/// What must be so of an experiment for a write to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// It is there, whatever it is like.
    Exists,
    /// It is not there.
    Absent,
    /// It is there with one of these tags.
    Tagged(Vec<String>),
}

/// A precondition that did not hold; nothing has changed. The tag there is, if there is the experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmet(pub(crate) Option<String>);

/// The tag of an experiment: of all that a person or a decision changes of it (its document, phase, weights, who is out, what waits for
/// approval), and of nothing that only counting does. Quoted, as HTTP has it. The same after a restart.
pub(super) fn tag(live: &Live) -> Result<String, LedgerError> {
    let state = &live.state;
    let mut hasher = SipHasher13::new();
    let weights = state.epoch().map(|epoch| &epoch.weights);
    let parts = (&live.id, &live.document, &*live.spec, &state.phase, weights, &state.out, state.rung, &state.awaited);
    hasher.write(&serde_json::to_vec(&parts)?);
    Ok(format!("\"{:032x}\"", hasher.finish128().as_u128()))
}

impl Keeper {
    /// Does something if a precondition holds at that very moment; otherwise says what there is.
    pub(super) fn run_if(
        &mut self,
        name: &str,
        wanted: &Precondition,
        command: Command,
        unmet: oneshot::Sender<Unmet>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), LedgerError> {
        let there = self.mirror.named(name).map(tag).transpose()?;
        let holds = match (wanted, &there) {
            (Precondition::Exists, there) => there.is_some(),
            (Precondition::Absent, there) => there.is_none(),
            (Precondition::Tagged(tags), Some(there)) => tags.contains(there),
            (Precondition::Tagged(_), None) => false,
        };
        if holds {
            return self.run(command, answers);
        }
        // Nobody may be waiting any more.
        answers.push(Box::new(move |_| drop(unmet.send(Unmet(there)))));
        Ok(())
    }
}

impl Handle {
    /// As [`Self::ask`], if something is so of the experiment of a name; `None`: in any case.
    pub(crate) async fn ask_if<T>(
        &self,
        condition: Option<(String, Precondition)>,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<Result<T, Unmet>, KeeperError> {
        let Some((name, wanted)) = condition else { return self.ask(command).await.map(Ok) };
        let (reply, answer) = oneshot::channel();
        let (unmet, refused) = oneshot::channel();
        let command = Box::new(command(reply));
        self.commands.send(Command::If { name, wanted, command, unmet }).await.map_err(|_| KeeperError::Gone)?;
        match answer.await {
            Ok(answer) => answer.map(Ok),
            // It was not done: for that, or because the keeper could not.
            Err(_) => refused.await.map(Err).map_err(|_| KeeperError::Gone),
        }
    }
}
