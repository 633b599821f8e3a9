//! Rewards that are reported with the tokens of the exposures that earned them.

use super::Keeper;
use crate::mirror::Claimed;
use serde::Serialize;
use weir_core::plan::RewardSource;

/// What became of a list of rewards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rewarded {
    /// Whose exposures are now rewarded.
    pub(crate) counted: u64,
    /// Whose were already.
    pub(crate) duplicate: u64,
    /// Whose bins have settled.
    pub(crate) late: u64,
    /// Of cells that the ledger does not know.
    pub(crate) unknown: u64,
    /// Without a token of this experiment.
    pub(crate) invalid: u64,
}

/// Why no answer says what became of them all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RewardError {
    #[error("there is no experiment `{0}`")]
    Unknown(String),
    #[error("the rewards of `{0}` are not reported here: its document does not say `reward: {{api: …}}`")]
    NotByApi(String),
    #[error("{0} rewards found no room: too many wait for their bins to settle; send the same list again later")]
    Full(usize),
}

impl Keeper {
    /// Rewards exposures. What counts is durable with the batch; what does not fit may be sent again with the rest.
    pub(super) fn rewards(&mut self, name: &str, rewards: &[(String, f64)]) -> Result<Rewarded, RewardError> {
        let now = self.clock.now();
        let Some(live) = self.mirror.named(name) else { return Err(RewardError::Unknown(name.to_owned())) };
        let source = live.spec.reward.as_ref().map(|reward| &reward.source);
        if !matches!(source, Some(RewardSource::Api(_))) {
            return Err(RewardError::NotByApi(name.to_owned()));
        }
        let id = live.id.clone();
        let (mut rewarded, mut full) = (Rewarded::default(), 0);
        for (token, reward) in rewards {
            let claimed = self.mirror.claim(&id, token, *reward, now);
            self.metrics.claimed(claimed);
            match claimed {
                Claimed::Counted => rewarded.counted += 1,
                Claimed::Duplicate => rewarded.duplicate += 1,
                Claimed::Late => rewarded.late += 1,
                Claimed::Unknown => rewarded.unknown += 1,
                Claimed::Invalid => rewarded.invalid += 1,
                Claimed::Full => full += 1,
            }
        }
        if full > 0 { Err(RewardError::Full(full)) } else { Ok(rewarded) }
    }
}
