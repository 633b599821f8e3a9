//! How weights move: `spec.strategy`, its defaults and its bounds.

use super::Problem;
use super::place::{Place, nearest, shown};
use super::quantity::{BASIS_POINT, PERCENT, WHOLE, percentage};
use crate::policy::{LATTICE, equal_weights};
use crate::spec::{Rule, Strategy, TOTAL_WEIGHT};

/// Least share that a bandit keeps for every version, unless the document says otherwise.
const DEFAULT_FLOOR: u32 = 500;
/// Most that a bandit moves at once, unless the document says otherwise.
const DEFAULT_MAX_STEP: u32 = 2_000;
/// After how long a count weighs half in a bandit's beliefs, unless the document says otherwise: a day has all hours in it.
const DEFAULT_HALF_LIFE_MS: u64 = 86_400_000;
const LEAST_HALF_LIFE_MS: u64 = 60_000;
const MOST_HALF_LIFE_MS: u64 = 90 * DEFAULT_HALF_LIFE_MS;
/// A canary's ladder, unless the document says otherwise.
const DEFAULT_STEPS: [u32; 4] = [100, 500, 2_500, 5_000];
/// Most rungs of a ladder.
const MAX_STEPS: usize = 20;
/// What a canary leaves to the baseline at least, in basis points: without it nothing could be compared any more.
const BASELINE_LEAST: u32 = 100;

/// What a strategy needs to know of the versions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versions<'n> {
    /// Names, in order; those that could not be read are missing.
    pub(super) names: &'n [String],
    /// How many there are, readable or not.
    pub(super) count: usize,
    /// Index of the baseline, or 0.
    pub(super) baseline: usize,
}

impl Versions<'_> {
    fn candidates(self) -> u32 {
        u32::try_from(self.count.saturating_sub(1)).unwrap_or(u32::MAX).max(1)
    }

    /// Whether every name is known, so that a name can be said to be unknown.
    fn all_named(self) -> bool {
        self.names.len() == self.count
    }
}

/// Which strategy, before its details: what the rules between fields look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bandit,
    Canary,
    Ab,
}

/// The strategy of a document that names none: with a reward there is something to follow, without there is only safety. Of three or
/// more versions a bandit would end the evidence about users ([`super::experiment`] says why), so that a fixed split is left.
pub(super) fn usual(rewarded: bool, of_users: bool, versions: Versions<'_>) -> (Kind, Option<Strategy>) {
    if rewarded && of_users && versions.count > 2 {
        (Kind::Ab, Some(usual_ab(versions)))
    } else if rewarded {
        (Kind::Bandit, Some(usual_bandit(versions)))
    } else {
        (Kind::Canary, Some(usual_canary(versions)))
    }
}

/// The default floor fits any number of versions that is allowed; a smaller one is taken should that ever change.
fn usual_bandit(versions: Versions<'_>) -> Strategy {
    let equal = TOTAL_WEIGHT / (versions.candidates() + 1);
    Strategy::Bandit {
        rule: Rule::Thompson,
        floor: DEFAULT_FLOOR.min(equal),
        max_step: DEFAULT_MAX_STEP,
        half_life_ms: Some(DEFAULT_HALF_LIFE_MS),
    }
}

/// The default ladder, as far up as the number of candidates allows.
fn usual_canary(versions: Versions<'_>) -> Strategy {
    let most = highest_step(versions);
    Strategy::Canary { steps: DEFAULT_STEPS.into_iter().filter(|step| *step <= most).collect() }
}

fn highest_step(versions: Versions<'_>) -> u32 {
    (TOTAL_WEIGHT - BASELINE_LEAST) / versions.candidates()
}

/// Reads `spec.strategy`. The kind is known even if its details are wrong.
pub(super) fn read(
    place: &Place<'_>,
    versions: Versions<'_>,
    problems: &mut Vec<Problem>,
) -> (Option<Kind>, Option<Strategy>) {
    const KINDS: [(&str, Kind); 3] = [("bandit", Kind::Bandit), ("canary", Kind::Canary), ("ab", Kind::Ab)];
    let asked = "`bandit`, `canary` or `ab`, or one of them with its details as in `{bandit: {floor: 5%}}`";
    if let Some(word) = place.as_text() {
        let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == word) else {
            let hint = nearest(word, KINDS.iter().map(|(name, _)| *name));
            place.problem(problems, format!("unknown strategy {}{hint}", shown(word)));
            return (None, None);
        };
        let strategy = match kind {
            Kind::Bandit => usual_bandit(versions),
            Kind::Canary => usual_canary(versions),
            Kind::Ab => usual_ab(versions),
        };
        return (Some(*kind), Some(strategy));
    }
    let Some(fields) = place.fields(&KINDS.map(|(name, _)| name), asked, problems) else { return (None, None) };
    let mut named = KINDS.iter().filter_map(|(name, kind)| fields.get(name).map(|place| (*kind, place)));
    match (named.next(), named.next(), fields.len()) {
        (Some((kind, place)), None, 1) => {
            let strategy = match kind {
                Kind::Bandit => bandit(&place, versions, problems),
                Kind::Canary => canary(&place, versions, problems),
                Kind::Ab => ab(&place, versions, problems),
            };
            (Some(kind), strategy)
        }
        // The unknown name has been complained about.
        (None, None, count) if count > 0 => (None, None),
        _ => {
            place.problem(problems, format!("write exactly one of {asked}"));
            (None, None)
        }
    }
}

fn bandit(place: &Place<'_>, versions: Versions<'_>, problems: &mut Vec<Problem>) -> Option<Strategy> {
    let known = ["rule", "floor", "maxStep", "halfLife"];
    let fields = place.fields(&known, "`{floor: 5%, maxStep: 20%}` or `{}`", problems)?;
    let Strategy::Bandit { rule, floor: usual_floor, max_step: usual_step, half_life_ms } = usual_bandit(versions)
    else {
        return None;
    };
    let floor = fields.get("floor").map_or(Some(usual_floor), |place| {
        let floor = place.share(BASIS_POINT, BASIS_POINT..=WHOLE, problems)?;
        // As the weights will have it: on their lattice.
        let least = u64::from(floor.next_multiple_of(LATTICE)) * u64::from(versions.candidates() + 1) * BASIS_POINT;
        if least > WHOLE {
            let message = format!(
                "a floor of {} for each of {} versions is {}, more than there is: lower it to {} or less",
                shown(place.as_text().unwrap_or_default()),
                versions.count,
                percentage(least),
                percentage(u64::from(TOTAL_WEIGHT / (versions.candidates() + 1) / LATTICE * LATTICE) * BASIS_POINT),
            );
            place.problem(problems, message);
            return None;
        }
        Some(floor)
    });
    // Weights lie on a lattice of 1%: a smaller step would never leave where it stands.
    let max_step =
        fields.get("maxStep").map_or(Some(usual_step), |place| place.share(BASIS_POINT, PERCENT..=WHOLE, problems));
    let rules = [("thompson", Rule::Thompson), ("topTwo", Rule::TopTwo), ("uniform", Rule::Uniform)];
    let rule = fields.get("rule").map_or(Some(rule), |place| place.word(&rules, problems));
    let half_life_ms = fields.get("halfLife").map_or(Some(half_life_ms), |place| half_life(&place, problems));
    Some(Strategy::Bandit { rule: rule?, floor: floor?, max_step: max_step?, half_life_ms: half_life_ms? })
}

/// A duration, or `never`.
fn half_life(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Option<u64>> {
    if place.as_text() == Some("never") {
        return Some(None);
    }
    place.duration(LEAST_HALF_LIFE_MS..=MOST_HALF_LIFE_MS, problems).map(Some)
}

fn canary(place: &Place<'_>, versions: Versions<'_>, problems: &mut Vec<Problem>) -> Option<Strategy> {
    let fields = place.fields(&["steps"], "`{steps: [1%, 5%, 25%, 50%]}` or `{}`", problems)?;
    let Some(list) = fields.get("steps") else { return Some(usual_canary(versions)) };
    let items = list.items(1..=MAX_STEPS, "a list of rising shares such as `[1%, 5%, 25%, 50%]`", problems)?;
    let most = highest_step(versions);
    let mut steps: Vec<u32> = Vec::with_capacity(items.len());
    let mut whole = true;
    for item in &items {
        let Some(step) = item.share(BASIS_POINT, BASIS_POINT..=WHOLE, problems) else {
            whole = false;
            continue;
        };
        if let Some(last) = steps.last()
            && step <= *last
        {
            let last = percentage(u64::from(*last) * BASIS_POINT);
            item.problem(problems, format!("steps must rise: this one is not above {last}"));
            whole = false;
        }
        if step > most {
            let (most, least) = (u64::from(most) * BASIS_POINT, u64::from(BASELINE_LEAST) * BASIS_POINT);
            let message = format!(
                "{} is too much: every candidate gets it, and the baseline keeps at least {}; write at most {}",
                shown(item.as_text().unwrap_or_default()),
                percentage(least),
                percentage(most),
            );
            item.problem(problems, message);
            whole = false;
        }
        steps.push(step);
    }
    (whole && !steps.is_empty()).then_some(Strategy::Canary { steps })
}

fn usual_ab(versions: Versions<'_>) -> Strategy {
    Strategy::Ab { weights: equal_weights(versions.count, versions.baseline) }
}

fn ab(place: &Place<'_>, versions: Versions<'_>, problems: &mut Vec<Problem>) -> Option<Strategy> {
    let fields = place.fields(&["weights"], "`{weights: {v1: 50%, v2: 50%}}` or `{}`", problems)?;
    let Some(place) = fields.get("weights") else { return Some(usual_ab(versions)) };
    let entries = place.entries("a share for each version, as `{v1: 50%, v2: 50%}`", problems)?;
    let mut weights = vec![None; versions.names.len()];
    let mut whole = versions.all_named();
    for entry in entries {
        let share = place.entry(entry).share(BASIS_POINT, BASIS_POINT..=WHOLE, problems);
        match versions.names.iter().position(|name| *name == entry.key).and_then(|index| weights.get_mut(index)) {
            Some(weight) => *weight = share,
            None if versions.all_named() => {
                let hint = nearest(&entry.key, versions.names.iter().map(String::as_str));
                place.problem(problems, format!("there is no version {}{hint}", shown(&entry.key)));
            }
            None => {}
        }
        whole &= share.is_some();
    }
    for (name, weight) in versions.names.iter().zip(&weights) {
        if weight.is_none() && !entries.iter().any(|entry| entry.key == *name) {
            place.problem(problems, format!("version {} has no weight: give it one", shown(name)));
            whole = false;
        }
    }
    let weights: Vec<u32> = weights.into_iter().collect::<Option<_>>()?;
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if whole && sum != u64::from(TOTAL_WEIGHT) {
        place.problem(problems, format!("the weights sum to {}: they must sum to 100%", percentage(sum * BASIS_POINT)));
        whole = false;
    }
    whole.then_some(Strategy::Ab { weights })
}
