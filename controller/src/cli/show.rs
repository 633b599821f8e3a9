//! An experiment for people: as a row of a list, in detail, and as one line of a log. Text out of a view, nothing else.

use super::client::View;
use super::output::{NOTHING, Table, amount, count, latency, percent, probability, stretch, weight};
use weir_engine::assess::{Assessment, VersionAssessment};
use weir_engine::decide::{Action, Decision};
use weir_engine::gates;
use weir_engine::metrics::MetricName;
use weir_engine::spec::{Rule, Strategy};
use weir_engine::state::{Outcome, Phase, Verdict};

/// Several experiments, one a line.
pub(crate) fn list(views: &[View], now: u64) -> String {
    if views.is_empty() {
        return "no experiments; `weir apply -f FILE` creates one\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "SERVICE", "STATE", "WEIGHTS", "EXPOSURES", "AGE"]);
    for view in views {
        table.row(vec![
            view.experiment.name.clone(),
            view.experiment.service.clone(),
            phase(view),
            weights(view),
            view.assessment.as_ref().map_or_else(|| NOTHING.to_owned(), |a| count(a.settled_exposures)),
            stretch(now.saturating_sub(view.state.started_at)),
        ]);
    }
    table.render()
}

/// One experiment in detail.
pub(crate) fn detail(view: &View, now: u64) -> String {
    let experiment = &view.experiment;
    let mut text = format!(
        "{} · service {} · {} · {} · epoch {} · {}\n{}\n",
        experiment.name,
        experiment.service,
        strategy(&experiment.strategy),
        phase(view),
        view.state.epoch().map_or(0, |epoch| epoch.epoch),
        age(view, now),
        limits(view),
    );
    match &view.assessment {
        Some(assessment) => text.push_str(&versions(view, assessment)),
        None => text.push_str("nothing assessed yet\n"),
    }
    if let Some(decision) = &view.decision {
        text.push_str(&told("decision", decision, now));
        if let Some(change) = view.last_change.as_ref().filter(|change| change.at != decision.at) {
            text.push_str(&told("change", change, now));
        }
    }
    for warning in view.assessment.iter().flat_map(|assessment| &assessment.warnings) {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

/// One line that says where an experiment stands, for logs.
pub(crate) fn line(view: &View, now: u64) -> String {
    let mut parts = vec![age(view, now), phase(view), weights(view)];
    if let Some(assessment) = &view.assessment {
        parts.push(format!("{} exposures", count(assessment.settled_exposures)));
    }
    if let Some(decision) = &view.decision {
        parts.push(format!("{}: {}", action(decision.action), decision.reasons.join(" ")));
    }
    parts.join(" · ")
}

/// What must change for [`line()`] to be worth another line: where it stands and what is evident, not how much was counted.
pub(crate) fn standing(view: &View) -> String {
    let verdicts: Vec<Vec<Verdict>> = view.assessment.iter().flat_map(|a| &a.versions).map(verdicts).collect();
    format!("{:?} {:?} {:?} {verdicts:?}", view.state.phase, view.state.weights(), view.state.out)
}

fn verdicts(version: &VersionAssessment) -> Vec<Verdict> {
    version.gates.iter().map(|gate| gate.verdict).collect()
}

fn phase(view: &View) -> String {
    match view.state.phase {
        Phase::Pending => "pending".to_owned(),
        Phase::Running => "running".to_owned(),
        Phase::Paused { .. } => "paused".to_owned(),
        Phase::Concluded { outcome, version, .. } => {
            let version = view.experiment.version_name(version);
            match outcome {
                Outcome::Promoted => format!("promoted {version}"),
                Outcome::RolledBack => format!("rolled back to {version}"),
                Outcome::Stopped => format!("stopped, stays on {version}"),
                Outcome::Inconclusive => format!("inconclusive, stays on {version}"),
            }
        }
    }
}

fn age(view: &View, now: u64) -> String {
    match view.state.phase {
        Phase::Pending | Phase::Running | Phase::Paused { .. } => {
            format!("for {}", stretch(now.saturating_sub(view.state.started_at)))
        }
        Phase::Concluded { at, .. } => format!("after {}", stretch(at.saturating_sub(view.state.started_at))),
    }
}

/// Weights in force: all of it on the outcome once concluded.
fn weights(view: &View) -> String {
    let whole = match view.state.phase {
        Phase::Concluded { version, .. } => Some(version),
        Phase::Pending => Some(view.experiment.baseline),
        Phase::Running | Phase::Paused { .. } => None,
    };
    if let Some(version) = whole {
        return format!("{} 100%", view.experiment.version_name(version));
    }
    let names = view.experiment.versions.iter().map(|version| version.name.as_str());
    let shown: Vec<String> =
        names.zip(view.state.weights()).map(|(name, share)| format!("{name} {}", weight(*share))).collect();
    shown.join(", ")
}

fn strategy(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Bandit { rule, floor, max_step, .. } => {
            let rule = match rule {
                Rule::Thompson => "",
                Rule::TopTwo => "top-two, ",
                Rule::Uniform => "uniform, ",
            };
            format!("bandit ({rule}floor {}, steps of {} at most)", weight(*floor), weight(*max_step))
        }
        Strategy::Canary { steps } => {
            let steps: Vec<String> = steps.iter().map(|step| weight(*step)).collect();
            format!("canary ({})", steps.join(", "))
        }
        Strategy::Ab { .. } => "a/b".to_owned(),
    }
}

/// A line with the objectives and guardrails; empty without any.
fn limits(view: &View) -> String {
    let goals = &view.experiment;
    let objectives =
        goals.objectives.iter().map(|objective| (&objective.name, gates::objective_in_words(&objective.limit)));
    let guardrails =
        goals.guardrails.iter().map(|guardrail| (&guardrail.name, gates::guardrail_in_words(goals, &guardrail.bound)));
    let limits: Vec<String> = objectives.chain(guardrails).map(|(name, limit)| format!("{name}: {limit}")).collect();
    if limits.is_empty() { String::new() } else { format!("{}\n", limits.join(" · ")) }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Hold => "hold",
        Action::Renew => "renew",
        Action::Shift => "shift",
        Action::RollBack => "roll back",
        Action::Promote => "promote",
        Action::Conclude => "conclude",
        Action::Start => "start",
        Action::Pause => "pause",
        Action::Resume => "resume",
        Action::Ask => "ask",
        Action::Trip => "trip",
        Action::Release => "release",
    }
}

fn versions(view: &View, assessment: &Assessment) -> String {
    let rewarded = view.experiment.reward.is_some();
    let mut headings = vec!["VERSION", "WEIGHT", "EXPOSURES", "ERRORS", "P50", "P99"];
    if rewarded {
        headings.extend(["REWARD", "BEST*"]);
    }
    headings.push("VERDICTS");
    let mut table = Table::new(&headings);
    let in_force = view.state.weights_in_force(&view.experiment);
    for (index, version) in assessment.versions.iter().enumerate() {
        let share = in_force.get(index).copied().unwrap_or(version.weight);
        let mut row = vec![
            if version.baseline { format!("{} (baseline)", version.name) } else { version.name.clone() },
            weight(share),
            count(version.settled.assigned),
            rate(version, MetricName::ErrorRate),
            latency_of(version, MetricName::LatencyP50),
            latency_of(version, MetricName::LatencyP99),
        ];
        if rewarded {
            row.push(reward(version));
            row.push(version.probability_best_and_feasible.map_or_else(|| NOTHING.to_owned(), probability));
        }
        row.push(verdicts_of(version));
        table.row(row);
    }
    let mut text = table.render();
    if rewarded {
        text.push_str(
            "* probability of the best reward among those that keep their limits: belief, it decides nothing\n",
        );
    }
    let live: u64 = assessment.versions.iter().map(|version| version.live.assigned).sum();
    text.push_str(&format!(
        "\nsettled {} of {} exposures; rates with 95% intervals\n",
        count(assessment.settled_exposures),
        count(live.max(assessment.settled_exposures)),
    ));
    text.push_str(&format!("{}\n", assessment.conclusion));
    text
}

/// A rate with the range in which it most likely lies.
fn rate(version: &VersionAssessment, name: MetricName) -> String {
    let Some(metric) = version.metric(name) else { return NOTHING.to_owned() };
    let (low, high) = metric.belief.map_or((None, None), |belief| (belief.low, belief.high));
    match (low, high) {
        (Some(low), Some(high)) => {
            format!("{} ({}–{})", percent(metric.observed), percent(low).trim_end_matches('%'), percent(high))
        }
        _ => percent(metric.observed),
    }
}

/// The reward: a rate, or a mean amount with its range.
fn reward(version: &VersionAssessment) -> String {
    let Some(metric) = version.metric(MetricName::RewardMean) else { return rate(version, MetricName::RewardRate) };
    match metric.belief.and_then(|belief| belief.low.zip(belief.high)) {
        Some((low, high)) => format!("{} ({}–{})", amount(metric.observed), amount(low), amount(high)),
        None => amount(metric.observed),
    }
}

fn latency_of(version: &VersionAssessment, name: MetricName) -> String {
    version.metric(name).map_or_else(|| NOTHING.to_owned(), |metric| latency(metric.observed))
}

fn verdicts_of(version: &VersionAssessment) -> String {
    let mut gates: Vec<String> = version
        .gates
        .iter()
        .map(|gate| {
            let verdict = match gate.verdict {
                _ if !gate.covered => "not covered by evidence",
                Verdict::NotEnoughEvidence => "not enough evidence",
                Verdict::Met => "met",
                Verdict::Violated => "violated",
            };
            format!("{}: {verdict}", gate.name)
        })
        .collect();
    if version.out {
        gates.push(if version.baseline { "cannot win".to_owned() } else { "rolled back".to_owned() });
    }
    if gates.is_empty() { NOTHING.to_owned() } else { gates.join("; ") }
}

fn told(what: &str, decision: &Decision, now: u64) -> String {
    let ago = stretch(now.saturating_sub(decision.at));
    let mut text = format!("\nlast {what}: {}, {ago} ago\n", action(decision.action));
    for reason in &decision.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::cells::Tally;
    use weir_engine::metrics::{Interval, Metric};
    use weir_engine::spec::Direction;
    use weir_engine::spec::Experiment;
    use weir_engine::state::{Observations, State};

    const DOCUMENT: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {name: checkout}
spec:
  service: shop
  versions: [{name: v1, baseline: true}, {name: v2}, {name: v3}]
  objectives: [{name: errors, errorRate: {max: 2%}}]
  reward: {responseHeader: x-weir-reward, direction: maximize}
";

    fn experiment() -> Experiment {
        weir_engine::document::read(DOCUMENT).expect("a valid document").remove(0)
    }

    /// Fills in what is shown; the rest stays as the engine gives it without observations.
    fn fill(version: &mut VersionAssessment, verdict: Verdict, out: bool, best: f64) {
        let tally = Tally { assigned: 1_500, completed: 1_490, failed: 8, aborted: 9, overdue: 1, rewarded: 210 };
        version.out = out;
        version.settled = tally;
        version.live = Tally { assigned: 1_600, ..tally };
        version.metrics = vec![
            measured(MetricName::ErrorRate, 0.006, Some((0.003, 0.011))),
            measured(MetricName::LatencyP50, 12.4, None),
            measured(MetricName::RewardRate, 0.14, Some((0.123, 0.158))),
        ];
        version.probability_best_and_feasible = Some(best);
        version.gates[0].verdict = verdict;
    }

    fn measured(name: MetricName, observed: f64, belief: Option<(f64, f64)>) -> Metric {
        let belief = belief.map(|(low, high)| Interval { low: Some(low), high: Some(high) });
        Metric {
            name,
            direction: Direction::Minimize,
            exposures: 1_500,
            observed,
            belief,
            sequence: None,
            comparisons: Vec::new(),
        }
    }

    fn view() -> View {
        let experiment = experiment();
        let mut state = State::begin(&experiment, 1_000);
        state.out = vec![false, false, true];
        let mut assessment = weir_engine::assess::assess(&experiment, &state, &<Observations>::default());
        fill(&mut assessment.versions[0], Verdict::NotEnoughEvidence, false, 0.000_01);
        fill(&mut assessment.versions[1], Verdict::Met, false, 0.87);
        fill(&mut assessment.versions[2], Verdict::Violated, true, 0.0);
        assessment.conclusion = "Not enough evidence: any of v1, v2 may still be the best.".to_owned();
        assessment.settled_exposures = 4_500;
        assessment.warnings = vec!["A worker has fallen silent.".to_owned()];
        let decision = Decision {
            at: 24_000,
            action: Action::RollBack,
            reasons: vec!["v3 breaks errors.".to_owned(), "Any of v1, v2 may still be the best.".to_owned()],
            state: state.clone(),
        };
        View { experiment, state, assessment: Some(assessment), decision: Some(decision), last_change: None }
    }

    #[test]
    fn an_experiment_is_shown_with_its_versions_verdicts_and_the_last_decision() {
        let expected = "\
checkout · service shop · bandit (floor 5%, steps of 20% at most) · running · epoch 1 · for 26 s
errors: error rate at most 2%

VERSION        WEIGHT  EXPOSURES             ERRORS    P50  P99              REWARD  BEST*  VERDICTS
v1 (baseline)  33.34%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)  <0.1%  errors: not enough evidence
v2             33.33%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)  87.0%  errors: met
v3             33.33%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)     0%  errors: violated; rolled back
* probability of the best reward among those that keep their limits: belief, it decides nothing

settled 4,500 of 4,800 exposures; rates with 95% intervals
Not enough evidence: any of v1, v2 may still be the best.

last decision: roll back, 3 s ago
  v3 breaks errors.
  Any of v1, v2 may still be the best.
warning: A worker has fallen silent.
";
        let shown = detail(&view(), 27_000);
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn while_it_holds_the_last_change_of_traffic_is_still_told() {
        let mut view = view();
        view.last_change = view.decision.clone();
        view.decision.as_mut().unwrap().at = 26_000;
        view.decision.as_mut().unwrap().action = Action::Hold;
        let shown = detail(&view, 27_000);
        assert!(shown.contains("last decision: hold, 1 s ago"), "{shown}");
        assert!(shown.contains("last change: roll back, 3 s ago\n  v3 breaks errors."), "{shown}");
    }

    #[test]
    fn an_experiment_that_has_concluded_shows_its_outcome_and_where_the_traffic_is() {
        let mut view = view();
        view.state.phase = Phase::Concluded { outcome: Outcome::Promoted, version: 1, at: 31_000 };
        let shown = detail(&view, 500_000);
        assert!(shown.contains("· promoted v2 ·"), "{shown}");
        assert!(shown.contains("· after 30 s"), "{shown}");
        let rows: Vec<&str> = shown.lines().filter(|line| line.starts_with('v')).collect();
        assert!(rows[1].contains("  100%  ") && rows[0].contains("  0%  "), "{shown}");
    }

    #[test]
    fn experiments_are_listed_one_a_line_and_none_says_what_to_do() {
        let expected = "\
NAME      SERVICE  STATE    WEIGHTS                          EXPOSURES      AGE
checkout  shop     running  v1 33.34%, v2 33.33%, v3 33.33%      4,500  1 m 1 s
";
        let shown = list(&[view()], 62_000);
        assert_eq!(shown, expected, "\n{shown}");
        assert!(list(&[], 0).contains("weir apply"));
    }

    #[test]
    fn a_log_line_says_where_it_stands_and_why_and_only_that_makes_another() {
        let first = view();
        assert_eq!(
            line(&first, 3_000),
            "for 2 s · running · v1 33.34%, v2 33.33%, v3 33.33% · 4,500 exposures · \
             roll back: v3 breaks errors. Any of v1, v2 may still be the best."
        );
        let mut counted = view();
        if let Some(assessment) = &mut counted.assessment {
            assessment.settled_exposures += 1;
        }
        assert_eq!(standing(&first), standing(&counted));
        if let Some(assessment) = &mut counted.assessment {
            assessment.versions[0].gates[0].verdict = Verdict::Met;
        }
        assert_ne!(standing(&first), standing(&counted));
    }

    #[test]
    fn an_experiment_without_an_assessment_yet_can_be_shown() {
        let view = View { assessment: None, decision: None, last_change: None, ..view() };
        assert!(detail(&view, 1_000).ends_with("nothing assessed yet\n"));
        assert!(line(&view, 1_000).starts_with("for 0 s · running"));
    }
}
