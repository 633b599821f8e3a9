//! What an experiment is judged by: objectives, guardrails and the error budgets.

use super::Problem;
use super::place::{Fields, Place, shown};
use super::quantity::WHOLE;
use crate::spec::{Alpha, Bound, Guardrail, Limit, MOST_LIMITS, MOST_RATIO, Objective};
use weir_core::duration::format_milliseconds;
use weir_core::plan::MAX_DEADLINE_MS;

const USUAL: f64 = 0.05;
/// Where the document says nothing.
pub(super) const USUAL_ALPHA: Alpha = Alpha { roll_back: USUAL, promotion: USUAL };

/// The limits of an experiment.
pub(super) struct Limits {
    pub(super) objectives: Vec<Objective>,
    pub(super) guardrails: Vec<Guardrail>,
}

/// Reads both lists; `None` only after noting why.
pub(super) fn limits(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<Limits> {
    let mut names = Vec::new();
    let objectives =
        fields.get("objectives").map_or(Some(Vec::new()), |place| objectives(&place, &mut names, problems));
    let guardrails =
        fields.get("guardrails").map_or(Some(Vec::new()), |place| guardrails(&place, &mut names, problems));
    if names.len() > MOST_LIMITS
        && let Some(place) = fields.get("guardrails")
    {
        let message = format!("{} objectives and guardrails; at most {MOST_LIMITS} together", names.len());
        place.problem(problems, message);
    }
    Some(Limits { objectives: objectives?, guardrails: guardrails? })
}

/// The name of a limit, which no other has. It is remembered also when it is another's.
fn limit_name(fields: &Fields<'_>, what: &str, names: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<String> {
    let asked = format!("the {what}'s name, as `name: errors`");
    let Some(place) = fields.require("name", &asked, problems) else {
        names.push(String::new());
        return None;
    };
    let name = place.name(problems);
    if let Some(name) = &name
        && names.contains(name)
    {
        place.problem(problems, format!("an objective or guardrail named {} is already above", shown(name)));
    }
    names.push(name.clone().unwrap_or_default());
    name
}

/// What is limited: exactly one of two.
fn one_of<'t>(
    fields: &Fields<'t>,
    what: &str,
    example: &str,
    problems: &mut Vec<Problem>,
) -> Option<(bool, Place<'t>)> {
    match (fields.get("errorRate"), fields.get("latency")) {
        (Some(_), Some(latency)) => {
            let message =
                format!("one {what} limits one thing: write a second one, with a name of its own, for the latency");
            latency.problem(problems, message);
            None
        }
        (Some(place), None) => Some((true, place)),
        (None, Some(place)) => Some((false, place)),
        (None, None) => {
            if !fields.mentions("errorRate") && !fields.mentions("latency") {
                let message = format!("it limits nothing: write {example}");
                fields.place().problem(problems, message);
            }
            None
        }
    }
}

fn objectives(place: &Place<'_>, names: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<Vec<Objective>> {
    let asked = "a list of objectives such as `[{name: errors, errorRate: {max: 2%}}]`";
    let items = place.items(0..=MOST_LIMITS, asked, problems)?;
    let mut read = Vec::with_capacity(items.len());
    for item in &items {
        let asked = "an objective such as `{name: errors, errorRate: {max: 2%}}`";
        let Some(fields) = item.fields(&["name", "errorRate", "latency"], asked, problems) else {
            read.push(None);
            continue;
        };
        let name = limit_name(&fields, "objective", names, problems);
        let example = "`errorRate: {max: 2%}` or `latency: {quantile: 99%, max: 400ms}`";
        let limit = one_of(&fields, "objective", example, problems).and_then(|(errors, place)| {
            if errors { error_limit(&place, problems) } else { latency_limit(&place, problems) }
        });
        read.push(name.zip(limit).map(|(name, limit)| Objective { name, limit }));
    }
    read.into_iter().collect()
}

fn error_limit(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Limit> {
    let fields = place.fields(&["max"], "`{max: 2%}`", problems)?;
    let place = fields.require("max", "the most errors it allows, as `max: 2%`", problems)?;
    place.rate(WHOLE, true, problems).map(|max| Limit::ErrorRate { max })
}

fn latency_limit(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Limit> {
    let fields = place.fields(&["quantile", "max"], "`{quantile: 99%, max: 400ms}`", problems)?;
    let quantile = fields.require("quantile", "which quantile is limited, as `quantile: 99%`", problems);
    let quantile = quantile.and_then(|place| place.rate(WHOLE, true, problems));
    let max = fields.require("max", "the longest latency it allows, as `max: 400ms`", problems);
    let max = max.and_then(|place| place.duration(1..=MAX_DEADLINE_MS, problems));
    quantile.zip(max).map(|(quantile, max)| Limit::Latency { quantile, max_us: max * 1_000 })
}

/// Beyond the deadline every exposure is bad already: a latency limit there would be one on errors. Said whatever else is wrong.
pub(super) fn keep_within_deadline(fields: &Fields<'_>, deadline_ms: u64, problems: &mut Vec<Problem>) {
    let items = fields.get("objectives").map_or(Vec::new(), |place| place.quiet_items());
    for item in items {
        let Some(place) = item.quiet("latency").and_then(|place| place.quiet("max")) else { continue };
        // What is wrong with it by itself was said where it was read.
        let Some(max_ms) = place.duration(1..=MAX_DEADLINE_MS, &mut Vec::new()) else { continue };
        if max_ms > deadline_ms {
            let message = format!(
                "{} is beyond the deadline of {}, after which an exposure is an error: raise `deadline`, or limit `errorRate`",
                format_milliseconds(max_ms),
                format_milliseconds(deadline_ms)
            );
            place.problem(problems, message);
        }
    }
}

fn guardrails(place: &Place<'_>, names: &mut Vec<String>, problems: &mut Vec<Problem>) -> Option<Vec<Guardrail>> {
    let asked = "a list of guardrails such as `[{name: errors, errorRate: {ratio: 1.5}}]`";
    let items = place.items(0..=MOST_LIMITS, asked, problems)?;
    let mut read = Vec::with_capacity(items.len());
    for item in &items {
        let asked = "a guardrail such as `{name: errors, errorRate: {ratio: 1.5}}`";
        let Some(fields) = item.fields(&["name", "errorRate", "latency"], asked, problems) else {
            read.push(None);
            continue;
        };
        let name = limit_name(&fields, "guardrail", names, problems);
        let example = "`errorRate: {margin: 0.3%}`, `errorRate: {ratio: 1.5}` or `latency: {ratio: 1.2}`";
        let bound = one_of(&fields, "guardrail", example, problems).and_then(|(errors, place)| {
            if errors { error_bound(&place, problems) } else { latency_bound(&place, problems) }
        });
        read.push(name.zip(bound).map(|(name, bound)| Guardrail { name, bound }));
    }
    read.into_iter().collect()
}

const NO_ROOM: &str = "leaves no room above the baseline, so that an equal version could never be shown to keep it";

fn error_bound(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Bound> {
    let fields = place.fields(&["ratio", "margin"], "`{ratio: 1.5}`, `{margin: 0.3%}` or both", problems)?;
    let ratio = fields.get("ratio").map_or(Some(1.0), |place| ratio(&place, problems));
    let margin = fields.get("margin").map_or(Some(0.0), |place| place.rate(WHOLE, true, problems));
    let (ratio, margin) = (ratio?, margin?);
    if ratio <= 1.0 && margin <= 0.0 {
        place.problem(problems, format!("it {NO_ROOM}: write `ratio` above 1, as `{{ratio: 1.5}}`, or a `margin`"));
        return None;
    }
    Some(Bound::ErrorRate { ratio, margin })
}

fn latency_bound(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Bound> {
    let fields = place.fields(&["ratio"], "`{ratio: 1.2}`", problems)?;
    let place =
        fields.require("ratio", "how many times the baseline's latency it allows, as `ratio: 1.2`", problems)?;
    let ratio = ratio(&place, problems)?;
    if ratio <= 1.0 {
        place.problem(problems, format!("it {NO_ROOM}: write more than 1, as `ratio: 1.2`"));
        return None;
    }
    Some(Bound::Latency { ratio })
}

/// A number within 1 to [`MOST_RATIO`].
fn ratio(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<f64> {
    place.number(1.0..=MOST_RATIO, problems)
}

/// The budgets.
pub(super) fn alpha(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<Alpha> {
    let half = WHOLE / 2;
    if place.as_text().is_some() {
        return place.rate(half, false, problems).map(|alpha| Alpha { roll_back: alpha, promotion: alpha });
    }
    let asked = "a probability of error such as `0.05`, or `{rollBack: 0.05, promotion: 0.01}`";
    let fields = place.fields(&["rollBack", "promotion"], asked, problems)?;
    let mut budget = |name: &str| fields.get(name).map_or(Some(USUAL), |place| place.rate(half, false, problems));
    let (roll_back, promotion) = (budget("rollBack"), budget("promotion"));
    Some(Alpha { roll_back: roll_back?, promotion: promotion? })
}
