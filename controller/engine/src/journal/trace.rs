//! What an entry led to: the decision in words, and a fingerprint of every part of the state that it changed. A state of thousands
//! of epochs is not written again and again; whether it is the same, to the bit, can still be said part by part.

use crate::decide::{Action, Decision};
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an entry led to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trace {
    /// What was done; absent where nothing was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The epoch's weights, per version, if an epoch began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<u32>>,
    /// Fingerprints (64 bits in hexadecimal) of the parts of the state that changed, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, String>,
}

impl Trace {
    /// What a decision led to from a state.
    #[must_use]
    pub fn of(before: &State, decision: &Decision) -> Self {
        Self {
            action: Some(decision.action),
            reasons: decision.reasons.clone(),
            ..trace(Some(before), &decision.state)
        }
    }
}

/// What led from one state to another, without a decision; `before` is `None` for the first one.
#[must_use]
pub fn trace(before: Option<&State>, after: &State) -> Trace {
    let began = before.is_none_or(|before| before.epochs.len() != after.epochs.len());
    Trace { weights: began.then(|| after.weights().to_vec()), changed: changed(before, after), ..Trace::default() }
}

/// Fingerprints of the parts that differ.
fn changed(before: Option<&State>, after: &State) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    // Every field is named, so that a new one cannot be forgotten here.
    let State {
        phase,
        started_at,
        epochs,
        out,
        latched,
        sample_ratio_broken,
        frozen,
        units,
        rung,
        split,
        ran_ms,
        running_since,
        blind_since,
        clock_step_at,
        awaited,
        trips,
    } = after;
    let mut part = |name: &str, same: bool, fingerprint: &dyn Fn() -> u64| {
        if !same {
            parts.insert(name.to_owned(), format!("{:016x}", fingerprint()));
        }
    };
    macro_rules! compare {
        ($($field:ident),*) => {
            $(part(stringify!($field), before.is_some_and(|before| before.$field == *$field), &|| fingerprint($field));)*
        };
    }
    compare!(
        phase,
        started_at,
        out,
        latched,
        sample_ratio_broken,
        frozen,
        units,
        rung,
        ran_ms,
        running_since,
        awaited,
        trips
    );
    // What states did not have at first: where it is nothing, journals from before do not speak of it.
    macro_rules! compare_later {
        ($($field:ident),*) => {
            $(part(
                stringify!($field),
                before.map_or($field.is_none(), |before| before.$field == *$field),
                &|| fingerprint($field),
            );)*
        };
    }
    compare_later!(split, blind_since, clock_step_at);
    // Epochs are only added to, but for a pending experiment's first.
    let had = before.map_or(&[][..], |before| before.epochs.as_slice());
    let news = if epochs.starts_with(had) { epochs.get(had.len()..).unwrap_or_default() } else { epochs.as_slice() };
    part("epochs", epochs.as_slice() == had, &|| fingerprint(news));
    parts
}

/// FNV-1a over the JSON, in which equal numbers have equal text, and others other text.
///
/// Source: Fowler, Noll, Vo; 64 bits. It tells accidents apart, not attacks.
fn fingerprint<T: Serialize + ?Sized>(value: &T) -> u64 {
    let text = serde_json::to_vec(value).unwrap_or_default();
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
