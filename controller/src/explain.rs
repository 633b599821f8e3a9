//! The story of an experiment in plain language: what it is, what happened and why, what it believes now, what evidence it has, how
//! much is missing and how long that may take. Words out of what the engine knows; judges nothing.

use crate::ledger::{JournalRow, Told};
use crate::server::openapi::wire;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use weir_engine::assess::{Assessment, VersionAssessment, assess};
use weir_engine::command::Command;
use weir_engine::decide::Action;
use weir_engine::gates;
use weir_engine::health::Health;
use weir_engine::journal::{Actor, Event};
use weir_engine::outlook::{Claim, Missing, Outlook, outlook, promotion_waits};
use weir_engine::spec::{Direction, Experiment, RewardKind, Rule, Strategy};
use weir_engine::state::{Cause, Observations, Outcome, Phase, State, Step, Verdict};
use weir_engine::words;

/// What a story is told from.
#[derive(Debug, Clone)]
pub(crate) struct Basis {
    /// By which its journal is found.
    pub(crate) id: String,
    pub(crate) experiment: Arc<Experiment>,
    pub(crate) state: State,
    pub(crate) observations: Arc<Observations>,
    pub(crate) health: Health,
    pub(crate) decision: Option<Told>,
    /// Unix milliseconds.
    pub(crate) now: u64,
}

/// A story.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) name: String,
    /// Unix milliseconds.
    pub(crate) at: u64,
    /// What it is.
    pub(crate) what: Vec<String>,
    /// Where it stands, and what it waits for from a person.
    pub(crate) stands: Vec<String>,
    /// What happened, oldest first.
    pub(crate) story: Vec<Chapter>,
    /// What is believed: it steers weights, and decides nothing.
    pub(crate) beliefs: Vec<String>,
    /// What is evident.
    pub(crate) evidence: Vec<String>,
    /// What a verdict still waits for.
    pub(crate) missing: Vec<Gap>,
    /// What people should know before they trust any of it.
    pub(crate) warnings: Vec<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chapter {
    /// The journal's entry; the last of several that are told together.
    pub(crate) number: u64,
    /// Unix milliseconds.
    pub(crate) at: u64,
    pub(crate) what: String,
    pub(crate) reasons: Vec<String>,
    /// Who did it; absent where the engine decided by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<wire::Actor>, required = false)]
    pub(crate) by: Option<Actor>,
}

/// Something that is missing, and a sentence about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gap {
    #[serde(flatten)]
    #[schema(value_type = wire::Missing)]
    pub(crate) missing: Missing,
    pub(crate) sentence: String,
}

/// Tells the story, from the journal's entries that are more than a hold or a renewal, in order. Computes for milliseconds.
pub(crate) fn explain(basis: &Basis, journal: &[JournalRow]) -> Explanation {
    let Basis { experiment, state, observations, health, now, .. } = basis;
    let assessment = assess(experiment, state, observations);
    let missing = outlook(experiment, state, observations, &assessment, *now);
    let mut warnings = if state.is_running() { health.faults() } else { Vec::new() };
    warnings.extend(assessment.warnings.iter().cloned());
    Explanation {
        name: experiment.name.clone(),
        at: *now,
        what: what(experiment),
        stands: stands(basis, &assessment),
        story: story(experiment, journal),
        beliefs: beliefs(experiment, &assessment),
        evidence: evidence(basis, &assessment, journal),
        missing: missing.into_iter().map(|missing| Gap { sentence: sentence(&missing), missing }).collect(),
        warnings,
    }
}

fn percent(basis_points: u32) -> String {
    words::percent(f64::from(basis_points) / 10_000.0)
}

fn shares(experiment: &Experiment, weights: &[u32]) -> String {
    let share =
        |(version, weight): (&weir_engine::spec::Version, &u32)| format!("{} {}", version.name, percent(*weight));
    experiment.versions.iter().zip(weights).map(share).collect::<Vec<_>>().join(", ")
}

fn what(experiment: &Experiment) -> Vec<String> {
    let name = &experiment.name;
    let baseline = experiment.version_name(experiment.baseline);
    let candidates: Vec<&str> = (0..experiment.versions.len())
        .filter(|version| *version != experiment.baseline)
        .map(|version| experiment.version_name(version))
        .collect();
    let candidates = candidates.join(", ");
    let mut said = vec![match &experiment.strategy {
        Strategy::Canary { steps } => format!(
            "{name} is a canary release of {candidates} beside {baseline}: a ladder of {}, climbed by evidence.",
            steps.iter().map(|step| percent(*step)).collect::<Vec<_>>().join(", ")
        ),
        Strategy::Ab { weights } => {
            format!(
                "{name} is a test of {candidates} against {baseline} with fixed parts: {}.",
                shares(experiment, weights)
            )
        }
        Strategy::Bandit { rule, floor, .. } => {
            let rule = match rule {
                Rule::Thompson => "who is believed to be the best of those that keep their limits",
                Rule::TopTwo => "the two best of those that keep their limits",
                Rule::Uniform => "nobody: equal parts",
            };
            format!(
                "{name} compares {candidates} with {baseline}: traffic follows {rule}, and everybody keeps {} at least, unless set by hand.",
                percent(*floor)
            )
        }
    }];
    let objectives = experiment.objectives.iter().map(|o| gates::objective_in_words(&o.limit));
    let guardrails = experiment.guardrails.iter().map(|g| gates::guardrail_in_words(experiment, &g.bound));
    let limits: Vec<String> = objectives.chain(guardrails).collect();
    if !limits.is_empty() {
        said.push(format!("Limits: {}.", limits.join("; ")));
    }
    if let Some(reward) = &experiment.reward {
        let direction = match reward.direction {
            Direction::Maximize => "more",
            Direction::Minimize => "less",
        };
        let kind = match reward.kind {
            RewardKind::Binary => "how often there is one",
            RewardKind::Real => "its amount",
        };
        said.push(format!("Reward: {kind}; {direction} is better."));
    }
    said.push(format!(
        "A version that keeps its limits is rolled back with probability {} at most, and promoted wrongly with {} at most, however \
         often anybody looks.",
        words::percent(experiment.alpha.roll_back),
        words::percent(experiment.alpha.promotion)
    ));
    said
}

fn stands(basis: &Basis, assessment: &Assessment) -> Vec<String> {
    let Basis { experiment, state, now, .. } = basis;
    let ran = stretch(state.ran(*now));
    let mut said = vec![match state.phase {
        Phase::Pending => format!(
            "It waits to be started (`weir start {} --reason '…'`): all traffic goes to {}, nothing is counted.",
            experiment.name,
            experiment.version_name(experiment.baseline)
        ),
        Phase::Running => format!(
            "It runs, for {ran} of {} at most: {}.",
            stretch(experiment.max_duration_ms),
            shares(experiment, state.weights())
        ),
        Phase::Paused { since, cause } => {
            let why = match cause {
                Cause::Asked => "somebody asked for it",
                Cause::Weights => "somebody set the weights by hand",
                Cause::Timeout => "its longest duration has passed",
            };
            format!(
                "It is paused since {} because {why}: {}. Counting goes on; only evidence of a violation still moves traffic. \
                 `weir resume {} --reason '…'` goes on.",
                stretch(now.saturating_sub(since)),
                shares(experiment, state.weights()),
                experiment.name
            )
        }
        Phase::Concluded { outcome, version, at } => {
            let name = experiment.version_name(version);
            let how = match outcome {
                Outcome::Promoted => format!("{name} was promoted"),
                Outcome::RolledBack => format!("everything was rolled back to {name}"),
                Outcome::Inconclusive => format!("without enough evidence; {name} has the traffic"),
                Outcome::Stopped => format!("it was stopped; {name} has the traffic"),
            };
            let order =
                basis.decision.as_ref().filter(|told| told.decision.at == at).and_then(|told| told.ordered.as_ref());
            let by = match order {
                Some(order) if order.command == Command::Approve => format!(", approved by {}", order.by),
                Some(order) => format!(", by hand: {}", order.by),
                None => String::new(),
            };
            // Since it began, not since its time was last given anew.
            let after = stretch(at.saturating_sub(state.started_at));
            format!("It concluded {} ago, after {after}: {how}{by}.", stretch(now.saturating_sub(at)))
        }
    }];
    for (index, version) in experiment.versions.iter().enumerate() {
        if state.is_tripped(index) && !state.is_out(index) {
            said.push(format!("The breaker holds {} until what it doubted has settled.", version.name));
        }
    }
    if let Some(awaited) = &state.awaited {
        let step = match &awaited.step {
            Step::Weights { weights, .. } => format!("these weights: {}", shares(experiment, weights)),
            Step::Promotion { version } => format!("the promotion of {}", experiment.version_name(*version)),
        };
        said.push(format!(
            "Since {} it waits for somebody to approve {step} (`weir approve {} --awaited-since {} --reason '…'`).",
            stretch(now.saturating_sub(awaited.since)),
            experiment.name,
            awaited.since
        ));
    }
    if let Some(last) = &basis.decision
        && matches!(last.decision.action, Action::Hold | Action::Renew)
        // What has not begun, or is paused, holds for the reason that was just told.
        && state.is_running()
    {
        said.push(format!("It holds. {}", last.decision.reasons.join(" ")));
    }
    said.push(format!("{} exposures have settled.", words::count(assessment.settled_exposures)));
    said
}

/// The chapters; runs of moves that the engine made by itself are told together.
fn story(experiment: &Experiment, rows: &[JournalRow]) -> Vec<Chapter> {
    let mut chapters: Vec<Chapter> = Vec::new();
    // How many moves the last chapter tells.
    let mut moves = 0_u32;
    for JournalRow { number, entry } in rows {
        let (number, at, reasons) = (*number, entry.at, entry.trace.reasons.clone());
        let weights = entry.trace.weights.as_deref().map(|weights| shares(experiment, weights));
        let chapter = |what: String, reasons: Vec<String>, by: Option<&Actor>| {
            Some(Chapter { number, at, what, reasons, by: by.cloned() })
        };
        let is_move = matches!(entry.event, Event::Look { .. }) && entry.trace.action == Some(Action::Shift);
        let next = match &entry.event {
            Event::Begin { by, .. } => chapter("It was created.".to_owned(), Vec::new(), Some(by)),
            Event::Continue { .. } => {
                chapter("Here its journal begins: what was before was not recorded in it.".to_owned(), Vec::new(), None)
            }
            Event::Edit { by, .. } => chapter("It was changed.".to_owned(), reasons, Some(by)),
            Event::Delete { by, reason } => {
                let said = if reason.is_empty() { String::new() } else { format!(" “{reason}”") };
                chapter(format!("It was deleted.{said}"), Vec::new(), Some(by))
            }
            Event::Command { order, .. } => {
                let said = if order.reason.is_empty() { String::new() } else { format!(" “{}”", order.reason) };
                let what = format!("{}.{said}", commanded(experiment, &order.command));
                chapter(what, reasons, Some(&order.by))
            }
            Event::Look { .. } => {
                let to = weights.map(|weights| format!(": {weights}")).unwrap_or_default();
                entry.trace.action.and_then(|action| chapter(format!("{}{to}.", acted(action)), reasons, None))
            }
        };
        let Some(next) = next else { continue };
        moves = if is_move { moves + 1 } else { 0 };
        match chapters.last_mut() {
            Some(last) if moves > 1 => {
                let to = entry.trace.weights.as_deref().map(|weights| shares(experiment, weights)).unwrap_or_default();
                *last = Chapter { what: format!("Traffic moved {moves} times, the last time to {to}."), ..next };
            }
            _ => chapters.push(next),
        }
    }
    chapters
}

fn acted(action: Action) -> &'static str {
    match action {
        Action::Hold => "It held",
        Action::Renew => "An epoch began",
        Action::Shift => "Traffic moved",
        Action::RollBack => "A version was rolled back",
        Action::Promote => "The winner was promoted",
        Action::Conclude => "It concluded without a winner",
        Action::Start => "It started",
        Action::Pause => "It paused",
        Action::Resume => "It went on",
        Action::Ask => "It asked for approval",
        Action::Trip => "The breaker paused a version",
        Action::Release => "The breaker let a version go",
    }
}

/// A command in the past tense.
pub(crate) fn commanded(experiment: &Experiment, command: &Command) -> String {
    match command {
        Command::Start => "It was started by hand".to_owned(),
        Command::Pause => "It was paused by hand".to_owned(),
        Command::Resume => "It was resumed by hand".to_owned(),
        Command::Approve => "What waited was approved".to_owned(),
        Command::SetWeights { weights } => format!("Weights were set by hand: {}", shares(experiment, weights)),
        Command::Promote { version } => format!("{} was promoted by hand", experiment.version_name(*version)),
        Command::RollBack { version: Some(version) } => {
            format!("{} was rolled back by hand", experiment.version_name(*version))
        }
        Command::RollBack { version: None } => "Everything was rolled back by hand".to_owned(),
        Command::Stop => "It was stopped by hand".to_owned(),
    }
}

fn beliefs(experiment: &Experiment, assessment: &Assessment) -> Vec<String> {
    let believed = assessment.versions.iter().filter(|version| version.settled.assigned > 0).map(|version| {
        let mut parts = Vec::new();
        if !(experiment.objectives.is_empty() && experiment.guardrails.is_empty())
            && let Some(feasible) = version.probability_feasible
        {
            parts.push(format!("keeps its limits with probability {feasible:.2}"));
        }
        if let Some(best) = version.probability_best_and_feasible {
            parts.push(format!("is the best of those that do with probability {best:.2}"));
        }
        (!parts.is_empty()).then(|| format!("{} {}.", version.name, parts.join(", and ")))
    });
    believed.flatten().collect()
}

fn evidence(basis: &Basis, assessment: &Assessment, journal: &[JournalRow]) -> Vec<String> {
    let versions = assessment.versions.iter().enumerate();
    let mut said: Vec<String> = versions
        .map(|(index, version)| by_hand(index, version, journal).unwrap_or_else(|| version.why.clone()))
        .collect();
    said.push(assessment.conclusion.clone());
    said.extend(promotion_waits(&basis.experiment, &basis.state, assessment));
    said
}

/// Who rolled a version back by hand, if it is that which put it out and its journal still has it.
fn by_hand(index: usize, version: &VersionAssessment, journal: &[JournalRow]) -> Option<String> {
    let order = journal.iter().rev().find_map(|JournalRow { entry, .. }| match &entry.event {
        // What was refused led to nothing.
        Event::Command { order, .. } if entry.trace.action == Some(Action::RollBack) => match order.command {
            Command::RollBack { version: of } if of.is_none_or(|of| of == index) => Some(order),
            _ => None,
        },
        _ => None,
    })?;
    // Everything is rolled back where one may have broken a limit before: evidence comes first.
    let evident = version.gates.iter().any(|gate| gate.verdict == Verdict::Violated);
    (version.out && !version.baseline && !evident)
        .then(|| format!("{} is out: rolled back by hand ({}).", version.name, order.by))
}

fn sentence(missing: &Missing) -> String {
    let Missing { version, claim, have, need, outlook } = missing;
    let when = when(*outlook);
    let (found, needed) = words::e_value_of(*have, *need);
    let evidence = format!("e-value {found}, {needed} needed");
    match claim {
        Claim::Climb { gate } => format!("{version}, to climb: evidence that it keeps {gate} ({evidence}); {when}."),
        Claim::Met { gate } => {
            format!("{version}, to be promoted: evidence that it keeps {gate} ({evidence}); {when}.")
        }
        Claim::Beaten => format!("{version}: evidence that it is not the best ({evidence}); {when}."),
        Claim::Exposures => {
            format!("{version}: {} of {} settled exposures; {when}.", whole(*have), whole(*need))
        }
        Claim::Rung => {
            format!("{version}, on this rung: {} of {} settled exposures; {when}.", whole(*have), whole(*need))
        }
        Claim::Approval => format!("{version}: somebody's approval."),
    }
}

/// A number of exposures.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "exposures; saturates")]
fn whole(count: f64) -> String {
    words::count(count.max(0.0) as u64)
}

fn when(outlook: Outlook) -> String {
    match outlook {
        Outlook::Reached => "reached".to_owned(),
        Outlook::Unknown => "how long that takes is not known yet".to_owned(),
        Outlook::NotGrowing => "it does not grow: that may never be".to_owned(),
        Outlook::Within { soonest_ms, latest_ms: None } => {
            format!("at this traffic {} or more, if ever: it does not grow steadily", about(soonest_ms))
        }
        Outlook::Within { soonest_ms, latest_ms: Some(latest) } => {
            let (soonest, latest) = (about(soonest_ms), about(latest));
            if soonest == latest {
                format!("at this traffic about {soonest}")
            } else {
                format!("at this traffic between {soonest} and {latest}")
            }
        }
    }
}

/// A stretch of time, roughly.
fn about(milliseconds: u64) -> String {
    let minutes = milliseconds.div_ceil(60_000);
    let (count, unit) = match minutes {
        0..=1 => return "a minute".to_owned(),
        2..=119 => (minutes, "minutes"),
        120..=2_879 => (minutes.saturating_add(30) / 60, "hours"),
        _ => (minutes.saturating_add(720) / 1_440, "days"),
    };
    format!("{count} {unit}")
}

/// A stretch of time, in its largest units.
fn stretch(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} m", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
