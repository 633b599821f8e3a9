//! What was counted of one version in one epoch: reads it, and checks it against itself and against what the experiment needs.

use super::Problem;
use super::decimal::number;
use super::latency::{self, MOST_COUNT, MOST_VALUES};
use super::place::{Fields, Place, shown};
use crate::cells::{FirstUnits, Moments, Tally};
use crate::counted::{Counted, CountedUnits};
use crate::spec::{Bound, Experiment, RewardKind};
use weir_core::plan::{MAX_DEADLINE_MS, MAX_VALUE};
use weir_core::unit::{Digest, UnitBuckets};

/// Largest reward, in whatever unit.
const MOST_REWARD: f64 = 1e15;
/// Largest sum: of a trillion rewards of [`MOST_REWARD`] each, squared.
const MOST_SUM: f64 = 1e42;
/// How far a sum of squares may fall short of what its sum needs: it was rounded on its way.
const ROUNDING: f64 = 1e-9;

/// What the experiment needs to be told.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    /// The limit that is judged by failures of requests.
    pub(super) failures: Option<String>,
    reward: Option<RewardKind>,
    sticky: bool,
    /// Of units: bad events, slow exposures, rewards.
    units: [bool; 3],
    deadline_us: u64,
    /// Under which unit keys are sorted into buckets.
    salt: String,
}

impl Needs {
    pub(super) fn of(experiment: &Experiment) -> Self {
        let requests = experiment.requests_are_units();
        let objectives = experiment.objectives.iter().map(|objective| &objective.name);
        let guardrails = experiment.guardrails.iter().map(|guardrail| &guardrail.name);
        let ratio = |bound: &Bound| matches!(bound, Bound::ErrorRate { margin, .. } if *margin <= 0.0);
        let reward = experiment.reward.as_ref().map(|reward| reward.kind);
        let bad = experiment.guardrails.iter().any(|guardrail| ratio(&guardrail.bound));
        let units = [bad, experiment.unit_latency_ratio().is_some(), reward == Some(RewardKind::Binary)];
        Self {
            failures: objectives.chain(guardrails).next().filter(|_| requests).cloned(),
            reward,
            sticky: !requests,
            units: units.map(|needed| needed && !requests),
            deadline_us: experiment.deadline_ms.saturating_mul(1_000),
            salt: experiment.name.clone(),
        }
    }

    /// Whether slow exposures of units are asked for.
    pub(super) fn slow_units(&self) -> bool {
        self.units[1]
    }
}

/// Counts that were read, and how they were written.
#[derive(Debug)]
pub(super) struct Read<'t> {
    pub(super) place: Place<'t>,
    pub(super) counted: Counted,
    /// Units as numbers; `None` if there are none.
    pub(super) units_as_numbers: Option<bool>,
}

const FIELDS: [&str; 9] =
    ["exposures", "failed", "overdue", "aborted", "rewarded", "rewards", "repeats", "latency", "units"];

/// Reads the counts of one version in one epoch; `needs` is unknown where the experiment itself is wrong.
pub(super) fn read<'t>(place: &Place<'t>, needs: Option<&Needs>, problems: &mut Vec<Problem>) -> Option<Read<'t>> {
    let fields = place.fields(&FIELDS, "counts such as `{exposures: 5000, failed: 12}`", problems)?;
    let exposures = fields.require("exposures", "how many requests it got, as `exposures: 5000`", problems);
    let exposures = exposures.and_then(|place| place.whole(0..=MOST_COUNT, problems));
    let mut count = |name: &str| fields.get(name).map_or(Some(0), |place| place.whole(0..=MOST_COUNT, problems));
    let (failed, overdue, aborted) = (count("failed"), count("overdue"), count("aborted"));
    let (rewarded, repeats) = (count("rewarded"), count("repeats"));
    let deadline_us = needs.map_or(MAX_DEADLINE_MS * 1_000, |needs| needs.deadline_us);
    let latencies = fields
        .get("latency")
        .map_or(Some(latency::Latencies::default()), |place| latency::latencies(&place, deadline_us, problems));
    let reward = fields.get("rewards").map_or(Some(Rewards::default()), |place| rewards(&place, problems));
    let salt = needs.map_or("", |needs| needs.salt.as_str());
    let units =
        fields.get("units").map_or(Some((CountedUnits::default(), None)), |place| units(&place, salt, problems));
    if let Some(needs) = needs {
        needed(&fields, needs, exposures.unwrap_or(0), problems);
    }

    let (assigned, failed, overdue, aborted) = (exposures?, failed?, overdue?, aborted?);
    let ended = failed + overdue + aborted;
    if ended > assigned {
        place.problem(
            problems,
            format!(
                "{ended} failed, overdue or aborted, but only {assigned} exposures: each exposure ends one way, so count it once"
            ),
        );
        return None;
    }
    let (latencies, rewarded, repeats) = (latencies?, rewarded?, repeats?);
    let (reward, (units, units_as_numbers)) = (reward?, units?);
    let rewarded = if fields.get("rewards").is_some() { reward.rewarded } else { rewarded };
    let tally = Tally {
        assigned,
        completed: assigned - overdue - aborted,
        failed,
        aborted,
        overdue,
        rewarded,
        repeats,
        new_units: 0,
    };
    let counted = Counted {
        tally,
        failures: fields.get("failed").is_some(),
        latency: latencies.moments,
        latencies: latencies.spans,
        reward: reward.moments,
        units,
    };
    let known = counted.known_latencies();
    if known > tally.served()
        && let Some(place) = fields.get("latency")
    {
        let hint = if latencies.plain_buckets {
            "; counts that include all lower buckets, as Prometheus has them, go under `cumulative`"
        } else {
            ""
        };
        let message = format!(
            "{known} latencies, but only {} of {assigned} exposures were served: leave out those of failed, overdue and aborted \
             ones{hint}",
            tally.served()
        );
        place.problem(problems, message);
        return None;
    }
    let most_rewards = if reward.values > 0 { reward.values } else { rewarded };
    if most_rewards > assigned
        && let Some(place) = fields.get("rewards").or_else(|| fields.get("rewarded"))
    {
        place.problem(problems, format!("{most_rewards} rewards of {assigned} exposures: an exposure has one at most"));
        return None;
    }
    if repeats > assigned.saturating_sub(most_rewards)
        && let Some(place) = fields.get("repeats")
    {
        let message = format!(
            "{repeats} of {assigned} exposures could have no reward, but {most_rewards} had one: leave out of `repeats` whatever \
             could have one"
        );
        place.problem(problems, message);
        return None;
    }
    if needs.is_some_and(|needs| needs.sticky) && !units_within(&fields, &counted, problems) {
        return None;
    }
    Some(Read { place: place.clone(), counted, units_as_numbers })
}

/// Every unit that showed something did so in an exposure.
fn units_within(fields: &Fields<'_>, counted: &Counted, problems: &mut Vec<Problem>) -> bool {
    let Tally { assigned, rewarded, .. } = counted.tally;
    let [bad, slow, rewards] = match &counted.units {
        CountedUnits::First(units) => [units.bad, units.slow, units.rewarded],
        CountedUnits::Buckets { bad, slow, rewarded } => {
            [bad, slow, rewarded].map(|list| u64::try_from(list.len()).unwrap_or(u64::MAX))
        }
    };
    let bad_exposures = if counted.failures { counted.tally.bad() } else { assigned };
    for (units, exposures, name, what) in [
        (bad, bad_exposures, "bad", "bad exposures"),
        (slow, assigned, "slow", "exposures"),
        (rewards, rewarded, "rewarded", "exposures with a reward"),
    ] {
        if units > exposures
            && let Some(place) = fields.get("units").and_then(|units| units.quiet(name))
        {
            place.problem(problems, format!("{units} units, but only {exposures} {what}"));
            return false;
        }
    }
    true
}

/// What the experiment asks for must be there, and what it has no use for must not: it would be ignored without a word.
fn needed(fields: &Fields<'_>, needs: &Needs, exposures: u64, problems: &mut Vec<Problem>) {
    if exposures > 0 {
        if let Some(limit) = &needs.failures {
            let write = format!("`failed: 0` if there were none, for `{limit}` is judged by them");
            fields.require("failed", &write, problems);
        }
        match needs.reward {
            Some(RewardKind::Binary) => {
                fields.require("rewarded", "how many exposures had a reward, as `rewarded: 40`", problems);
            }
            Some(RewardKind::Real) => {
                let write = "the amounts, as `[12.5, 3]` or `{count: 2, sum: 15.5, sumOfSquares: 165.25}`";
                fields.require("rewards", write, problems);
            }
            None => {}
        }
        if needs.units.contains(&true) {
            let names = ["bad", "slow", "rewarded"].into_iter().zip(needs.units).filter(|(_, needed)| *needed);
            let each = |value: &str| {
                let fields: Vec<String> = names.clone().map(|(name, _)| format!("{name}: {value}")).collect();
                format!("`{{{}}}`", fields.join(", "))
            };
            let write = format!("the units that showed something, as {} or {}", each("12"), each("[ann, bob]"));
            if let Some(units) = fields.require("units", &write, problems) {
                for (name, needed) in ["bad", "slow", "rewarded"].into_iter().zip(needs.units) {
                    if needed && units.is_mapping() && units.quiet(name).is_none() {
                        units.problem(
                            problems,
                            format!("the field `{name}` is missing: write `{name}: 0` if there were none"),
                        );
                    }
                }
            }
        }
    }
    let mut refuse = |name: &str, message: &str| {
        if let Some(place) = fields.get(name) {
            place.problem(problems, message);
        }
    };
    const NO_REWARD: &str =
        "the experiment has no reward: write `reward: {direction: maximize}` in the `spec`, or leave this out";
    match needs.reward {
        None => {
            refuse("rewarded", NO_REWARD);
            refuse("rewards", NO_REWARD);
            refuse("repeats", NO_REWARD);
        }
        Some(RewardKind::Binary) => refuse(
            "rewards",
            "rewards are yes or no here: count them under `rewarded`, or write `kind: real` in the `spec`'s `reward`",
        ),
        Some(RewardKind::Real) => refuse(
            "rewarded",
            "rewards are amounts here (`kind: real`): give them under `rewards`, or leave `kind` out of the `spec`'s `reward`",
        ),
    }
    if !needs.sticky {
        refuse(
            "units",
            "each request is its own unit here: where users are, write `unit: {header: x-user}` in the `spec`; otherwise leave this out",
        );
    }
}

/// Rewards that were read.
#[derive(Debug, Default)]
struct Rewards {
    /// How many values were given; zeros may be among them.
    values: u64,
    rewarded: u64,
    moments: Moments,
}

fn rewards(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Rewards> {
    if !place.is_list() {
        return summed_rewards(place, problems);
    }
    let items = place.items(0..=MOST_VALUES, "a list of rewards", problems)?;
    if items.len() > MOST_VALUES {
        return None;
    }
    let mut values = Vec::with_capacity(items.len());
    for item in &items {
        values.push(amount(item, "a reward such as `12.5`", problems)?);
    }
    // In ascending order, so that the order in which they are written changes no bit.
    values.sort_by(f64::total_cmp);
    let count = |values: usize| u64::try_from(values).unwrap_or(u64::MAX);
    let moments = Moments {
        count: count(values.len()),
        sum: values.iter().sum(),
        squares: values.iter().map(|value| value * value).sum(),
    };
    let rewarded = count(values.iter().filter(|value| **value != 0.0).count());
    Some(Rewards { values: moments.count, rewarded, moments })
}

fn amount(place: &Place<'_>, asked: &str, problems: &mut Vec<Problem>) -> Option<f64> {
    let text = place.text(asked, problems)?;
    let found = number(text).filter(|number| number.abs() <= MOST_REWARD);
    if found.is_none() {
        place.problem(problems, format!("{} is not a number within ±{MOST_REWARD:e}", shown(text)));
    }
    found
}

fn summed_rewards(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Rewards> {
    let asked = "a list of rewards as `[12.5, 3]`, or `{count: 2, sum: 15.5, sumOfSquares: 165.25}`";
    let fields = place.fields(&["count", "sum", "sumOfSquares"], asked, problems)?;
    let count = fields.require("count", "how many exposures had a reward other than zero, as `count: 340`", problems);
    let count = count.and_then(|place| place.whole(0..=MOST_COUNT, problems));
    let mut sum_of = |name: &str, write: &str| {
        let place = fields.require(name, write, problems)?;
        let text = place.text("a number", problems)?;
        let found = number(text).filter(|number| number.abs() <= MOST_SUM);
        if found.is_none() {
            place.problem(problems, format!("{} is not a number within ±{MOST_SUM:e}", shown(text)));
        }
        found
    };
    let sum = sum_of("sum", "the sum of the rewards, as `sum: 5120.5`");
    let squares = sum_of("sumOfSquares", "the sum of their squares, as `sumOfSquares: 120300`");
    let (rewarded, sum, squares) = (count?, sum?, squares?);
    #[expect(clippy::cast_precision_loss, reason = "a plausibility check")]
    let least = if rewarded == 0 { 0.0 } else { sum * sum / rewarded as f64 };
    if squares < least * (1.0 - ROUNDING) || (rewarded == 0 && (sum != 0.0 || squares != 0.0)) {
        let message = format!(
            "{rewarded} rewards with the sum {sum} have squares that sum to at least {least}, not {squares}: square each reward, then \
             add them up"
        );
        place.problem(problems, message);
        return None;
    }
    Some(Rewards { values: 0, rewarded, moments: Moments { count: rewarded, sum, squares } })
}

/// Units that showed something: how many, each counted once in the whole file, or which.
fn units(place: &Place<'_>, salt: &str, problems: &mut Vec<Problem>) -> Option<(CountedUnits, Option<bool>)> {
    let asked = "units that showed something, as `{bad: 12}` or `{bad: [ann, bob]}`";
    let fields = place.fields(&["bad", "slow", "rewarded"], asked, problems)?;
    let given: Vec<(&str, Place<'_>)> =
        ["bad", "slow", "rewarded"].into_iter().filter_map(|name| Some((name, fields.get(name)?))).collect();
    let numbers = given.iter().filter(|(_, place)| !place.is_list()).count();
    if numbers != 0 && numbers != given.len() {
        place.problem(problems, "write numbers of units or lists of them, not both");
        return None;
    }
    if numbers > 0 {
        let mut first = FirstUnits::default();
        for (name, place) in &given {
            let count = place.whole(0..=MOST_COUNT, problems)?;
            match *name {
                "bad" => first.bad = count,
                "slow" => first.slow = count,
                _ => first.rewarded = count,
            }
        }
        return Some((CountedUnits::First(first), Some(true)));
    }
    let buckets = UnitBuckets::new(salt);
    let mut lists: [Vec<u16>; 3] = Default::default();
    for (name, place) in &given {
        let items = place.items(0..=MOST_VALUES, "a list of units", problems)?;
        let mut found = Vec::with_capacity(items.len());
        for item in items.iter().take(MOST_VALUES) {
            let key = item.text("a unit's key, as `ann`", problems)?;
            if key.is_empty() || key.len() > MAX_VALUE {
                item.problem(problems, format!("a unit's key has 1 to {MAX_VALUE} bytes"));
                return None;
            }
            found.push(buckets.of(Digest::of(key.as_bytes())));
        }
        found.sort_unstable();
        found.dedup();
        let [bad, slow, rewarded] = &mut lists;
        match *name {
            "bad" => *bad = found,
            "slow" => *slow = found,
            _ => *rewarded = found,
        }
    }
    let [bad, slow, rewarded] = lists;
    Some((CountedUnits::Buckets { bad, slow, rewarded }, (!given.is_empty()).then_some(false)))
}
