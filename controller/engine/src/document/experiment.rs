//! One experiment: its fields, their defaults, and the rules between them.

use super::place::{Fields, Place, shown};
use super::strategy::Kind;
use super::tree::Node;
use super::versions::ReadVersions;
use super::{API_VERSION, KIND, Problem, Purpose, goals, lifecycle, reward, rules, strategy, traffic, unit};
use crate::spec::{Approvals, Experiment, MOST_PRIORITY, OnTimeout};
use weir_core::plan::{FailureRules, MAX_DEADLINE_MS, Match, Measure, Unit};

const DEFAULT_DEADLINE_MS: u64 = 15_000;
const DEFAULT_BIN_MS: u64 = 10_000;
const LEAST_BIN_MS: u64 = 100;
const DEFAULT_MIN_EXPOSURES: u64 = 100;
const MOST_MIN_EXPOSURES: u64 = 1_000_000_000;
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
const DEFAULT_DURATION_DAYS: u64 = 7;
const MOST_DURATION_DAYS: u64 = 90;
/// Fields of a document.
pub(super) const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "epochs"];

/// A label in DNS, as Kubernetes asks of names.
const MAX_LABEL: usize = 63;

const SPEC_FIELDS: [&str; 19] = [
    "service",
    "match",
    "unit",
    "versions",
    "strategy",
    "objectives",
    "guardrails",
    "reward",
    "alpha",
    "deadline",
    "bin",
    "minExposures",
    "maxDuration",
    "onTimeout",
    "approvals",
    "priority",
    "measure",
    "failure",
    "override",
];

/// Reads one document; `None` only after noting why.
pub(super) fn read(document: &Node, purpose: Purpose, problems: &mut Vec<Problem>) -> Option<Experiment> {
    let root = Place::root(document);
    let asked = format!("an experiment (`apiVersion: {API_VERSION}`, `kind: {KIND}`, `metadata`, `spec`)");
    let fields = root.fields(&FIELDS, &asked, problems)?;
    if let Some(epochs) = fields.get("epochs").filter(|_| purpose == Purpose::Run) {
        epochs.problem(
            problems,
            "counts are for `weir analyze` alone: leave `epochs` out of an experiment that is to run",
        );
    }
    for (name, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let Some(place) = fields.require(name, &format!("`{name}: {expected}`"), problems) else { continue };
        if let Some(found) = place.text(&format!("`{expected}`"), problems)
            && found != expected
        {
            place.problem(problems, format!("{} is not known here: write `{expected}`", shown(found)));
        }
    }
    let metadata = fields.require("metadata", "`metadata: {name: …}`", problems);
    let name = metadata.and_then(|place| experiment_name(&place, problems));
    let asked = match purpose {
        Purpose::Run => "what the experiment is: its `service` and its `versions` at least",
        Purpose::Analyze => "what the experiment is: its `versions` at least",
    };
    let spec = fields.require("spec", asked, problems);
    let spec = spec.and_then(|place| place.fields(&SPEC_FIELDS, asked, problems));
    let experiment = spec.and_then(|fields| read_spec(&fields, purpose, problems))?;
    let (name, mut experiment) = (name?, experiment);
    if let Some(reward) = &mut experiment.reward {
        reward::complete(reward, &name, &experiment.matching, experiment.deadline_ms);
    }
    Some(Experiment { name, ..experiment })
}

fn experiment_name(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    // Labels and annotations are Kubernetes' and its tools'; they mean nothing here.
    let fields = place.fields(&["name", "labels", "annotations"], "`{name: …}`", problems)?;
    let place = fields.require("name", "the experiment's name, as `name: checkout`", problems)?;
    let text = place.text("a name", problems)?;
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.len() > MAX_LABEL
        || !text.starts_with(alphanumeric)
        || !text.ends_with(alphanumeric)
        || !text.chars().all(|c| alphanumeric(c) || c == '-')
    {
        let message = format!(
            "{} is not a name of 1 to {MAX_LABEL} lower-case letters, digits and dashes that begins and ends with a letter or a digit",
            shown(text)
        );
        place.problem(problems, message);
        return None;
    }
    Some(text.to_owned())
}

/// Everything but the name, which stays empty.
fn read_spec(fields: &Fields<'_>, purpose: Purpose, problems: &mut Vec<Problem>) -> Option<Experiment> {
    let service = match fields.get("service") {
        // Counts may come from anywhere.
        None if purpose == Purpose::Analyze && !fields.mentions("service") => Some(String::new()),
        _ => fields
            .require("service", "the name of the service, as `service: checkout`", problems)
            .and_then(|place| place.name(problems)),
    };
    let matching = fields.get("match").map_or(Some(Match::default()), |place| traffic::matching(&place, problems));
    let unit = fields.get("unit").map_or(Some(Unit::Request), |place| unit::unit(&place, problems));
    let versions = ReadVersions::read(fields, problems);
    let limits = goals::limits(fields, problems);
    let reward = fields.get("reward").map_or(Some(None), |place| reward::reward(&place, purpose, problems).map(Some));
    let (kind, strategy) = match fields.get("strategy") {
        Some(place) => strategy::read(&place, versions.known(), problems),
        None => {
            let of_users = unit.as_ref().is_some_and(|unit| *unit != Unit::Request);
            let (kind, strategy) = strategy::usual(fields.mentions("reward"), of_users, versions.known());
            ((!fields.mentions("strategy")).then_some(kind), strategy)
        }
    };
    let alpha = fields.get("alpha").map_or(Some(goals::USUAL_ALPHA), |place| goals::alpha(&place, problems));
    let mut duration = |name: &str, usual: u64, least: u64, most: u64| {
        fields.get(name).map_or(Some(usual), |place| place.duration(least..=most, problems))
    };
    let deadline_ms = duration("deadline", DEFAULT_DEADLINE_MS, 1, MAX_DEADLINE_MS);
    let bin_ms = duration("bin", DEFAULT_BIN_MS, LEAST_BIN_MS, MAX_DEADLINE_MS);
    let max_duration_ms =
        duration("maxDuration", DEFAULT_DURATION_DAYS * DAY_MS, MINUTE_MS, MOST_DURATION_DAYS * DAY_MS);
    let min_exposures = fields
        .get("minExposures")
        .map_or(Some(DEFAULT_MIN_EXPOSURES), |place| place.whole(1..=MOST_MIN_EXPOSURES, problems));
    let on_timeout =
        fields.get("onTimeout").map_or(Some(OnTimeout::default()), |place| lifecycle::on_timeout(&place, problems));
    let approvals =
        fields.get("approvals").map_or(Some(Approvals::default()), |place| lifecycle::approvals(&place, problems));
    let priority =
        fields.get("priority").map_or(Some(0), |place| place.integer(-MOST_PRIORITY..=MOST_PRIORITY, problems));
    let measure = fields.get("measure").map_or(Some(Measure::End), |place| {
        place.word(&[("end", Measure::End), ("headers", Measure::Headers)], problems)
    });
    let failure =
        fields.get("failure").map_or(Some(FailureRules::default()), |place| traffic::failure(&place, problems));
    let override_header =
        fields.get("override").map_or(Some(None), |place| override_header(&place, problems).map(Some));

    match purpose {
        Purpose::Run => rules::require_something_to_decide_by(fields, kind, versions.count, problems),
        Purpose::Analyze => rules::require_a_question(fields, versions.count, problems),
    }
    let by_limits_alone = match purpose {
        Purpose::Run => kind == Some(Kind::Canary),
        Purpose::Analyze => !fields.mentions("reward"),
    };
    if let (true, Some(limits), Some(unit)) = (by_limits_alone, &limits, &unit)
        && *unit != Unit::Request
    {
        rules::require_evidence_about_users(fields, limits, purpose, problems);
    }
    if let (Some(Kind::Bandit), Some(unit), Purpose::Run) = (kind, &unit, purpose)
        && *unit != Unit::Request
        && versions.count > 2
    {
        // A moving ratio of weights brings users of a third version into a pair unevenly: `sticky::joined_unevenly`.
        let place = fields.get("strategy").unwrap_or_else(|| fields.place().clone());
        place.problem(
            problems,
            "where users are the unit, a bandit of three or more versions would move users between them so that no evidence is left: \
             write `strategy: ab`, compare two versions, or let each request be its own unit",
        );
    }
    if let Some(deadline) = deadline_ms {
        goals::keep_within_deadline(fields, deadline, problems);
    }
    if let Some(Some(reward)) = &reward {
        reward::keep_possible(fields, reward, unit.as_ref(), &versions, problems);
    }
    keep_routing_headers_apart(fields, &versions, unit.as_ref(), override_header.as_ref(), problems);
    if let (Some(deadline), Some(bin), Some(most)) = (deadline_ms, bin_ms, max_duration_ms)
        && deadline + bin > most
    {
        let place = fields.get("maxDuration").unwrap_or_else(|| fields.place().clone());
        place.problem(
            problems,
            "`maxDuration` ends before the first bin settles: make it longer than `deadline` and `bin` together",
        );
    }
    let (versions, baseline) = versions.whole()?;
    let limits = limits?;
    Some(Experiment {
        name: String::new(),
        service: service?,
        matching: matching?,
        unit: unit?,
        versions,
        baseline,
        strategy: strategy?,
        objectives: limits.objectives,
        guardrails: limits.guardrails,
        reward: reward?,
        alpha: alpha?,
        deadline_ms: deadline_ms?,
        bin_ms: bin_ms?,
        measure: measure?,
        failure: failure?,
        override_header: override_header?,
        min_exposures: min_exposures?,
        max_duration_ms: max_duration_ms?,
        on_timeout: on_timeout?,
        approvals: approvals?,
        priority: priority?,
    })
}

/// Filters remove routing headers that arrive from a client: nothing else can be read from them.
fn keep_routing_headers_apart(
    fields: &Fields<'_>,
    versions: &ReadVersions,
    unit: Option<&Unit>,
    override_header: Option<&Option<String>>,
    problems: &mut Vec<Problem>,
) {
    let mut refuse = |place: Option<Place<'_>>, name: &str| {
        if versions.routes_by(name)
            && let Some(place) = place
        {
            let message =
                format!("{} routes requests to versions; a client cannot send it: use another header", shown(name));
            place.problem(problems, message);
        }
    };
    if let Some(Some(name)) = override_header {
        refuse(fields.get("override"), name);
    }
    if let Some(Unit::Header(name)) = unit {
        refuse(fields.get("unit"), name);
    }
    let items =
        fields.get("match").and_then(|place| place.quiet("headers")).map_or(Vec::new(), |list| list.quiet_items());
    for item in items {
        if let Some(place) = item.quiet("name") {
            let name = place.as_text().unwrap_or_default().to_ascii_lowercase();
            refuse(Some(place), &name);
        }
    }
}

fn override_header(place: &Place<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let fields = place.fields(&["header"], "`{header: x-weir-override}`", problems)?;
    fields.require("header", "the header by which testers choose a version", problems)?.header_name(problems)
}
