//! An experiment for people: as a row of a list, in detail, and as one line of a log. Text out of a view, nothing else.

use super::client::View;
use super::output::{NOTHING, Table, amount, count, latency, percent, probability, stretch, weight};
use crate::ledger::Told;
use weir_engine::assess::{Assessment, VersionAssessment};
use weir_engine::command::Command;
use weir_engine::decide::Action;
use weir_engine::gates;
use weir_engine::journal::Order;
use weir_engine::metrics::{Metric, MetricName};
use weir_engine::spec::{Experiment, Rule, Strategy};
use weir_engine::state::{Cause, Outcome, Phase, State, Step, Verdict};

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
        limits(experiment),
    );
    match &view.assessment {
        // Whatever could be said of it would be the priors'.
        _ if view.state.phase == Phase::Pending => {
            let baseline = experiment.version_name(experiment.baseline);
            text.push_str(&format!("nothing is counted before it is started: all traffic goes to {baseline}\n"));
        }
        Some(assessment) => {
            text.push_str(&versions(assessment, Some(&view.state.weights_in_force(experiment)), &by_hand(view)));
            text.push_str(&settled(assessment));
            text.push_str(&format!("{}\n", assessment.conclusion));
        }
        None => text.push_str("nothing assessed yet\n"),
    }
    if let Some(decision) = &view.decision {
        text.push_str(&told("decision", decision, now));
        if let Some(change) = view.last_change.as_ref().filter(|change| change.decision.at != decision.decision.at) {
            text.push_str(&told("change", change, now));
        }
    }
    for waits in waiting(view, now) {
        text.push_str(&format!("{waits}\n"));
    }
    let assessed = view.assessment.iter().flat_map(|assessment| &assessment.warnings);
    for warning in view.health_warnings.iter().chain(assessed) {
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
    if let Some(Told { decision, ordered }) = &view.decision {
        let by = ordered.as_ref().map(|order| format!(" by {}", order.by)).unwrap_or_default();
        parts.push(format!("{}{by}: {}", action(decision.action), decision.reasons.join(" ")));
    }
    parts.extend(waiting(view, now));
    parts.extend(view.health_warnings.iter().map(|warning| format!("warning: {warning}")));
    parts.join(" · ")
}

/// What waits for a person, and whom the breaker holds.
fn waiting(view: &View, now: u64) -> Vec<String> {
    let (experiment, state) = (&view.experiment, &view.state);
    let name = &experiment.name;
    let mut waits = Vec::new();
    if state.phase == Phase::Pending {
        waits.push(format!("waits to be started: weir start {name} --reason '…'"));
    }
    if let Some(awaited) = &state.awaited {
        let (since, step) = (awaited.since, step(experiment, &awaited.step));
        let age = stretch(now.saturating_sub(since));
        waits.push(format!(
            "waits for approval since {age}: {step}; weir approve {name} --awaited-since {since} --reason '…'"
        ));
    }
    for (index, version) in experiment.versions.iter().enumerate() {
        if state.is_tripped(index) && !state.is_out(index) {
            waits.push(format!("the breaker holds {} until what it doubted has settled", version.name));
        }
    }
    waits
}

/// What may wait for approval, in words.
pub(crate) fn step(experiment: &Experiment, step: &Step) -> String {
    match step {
        Step::Weights { weights, .. } => {
            let names = experiment.versions.iter().map(|version| version.name.as_str());
            let shares: Vec<String> =
                names.zip(weights).map(|(name, share)| format!("{name} {}", weight(*share))).collect();
            shares.join(", ")
        }
        Step::Promotion { version } => format!("the promotion of {}", experiment.version_name(*version)),
    }
}

/// What must change for [`line()`] to be worth another line: where it stands and what is evident, not how much was counted.
pub(crate) fn standing(view: &View) -> String {
    let verdicts: Vec<Vec<Verdict>> = view.assessment.iter().flat_map(|a| &a.versions).map(verdicts).collect();
    let State { phase, out, awaited, trips, .. } = &view.state;
    // Ages and counts are left out of what is wrong: that anything is, is the news.
    let warned = view.health_warnings.len();
    format!("{phase:?} {:?} {out:?} {awaited:?} {trips:?} {warned} {verdicts:?}", view.state.weights())
}

fn verdicts(version: &VersionAssessment) -> Vec<Verdict> {
    version.gates.iter().map(|gate| gate.verdict).collect()
}

fn phase(view: &View) -> String {
    match view.state.phase {
        Phase::Pending => "pending".to_owned(),
        Phase::Running => "running".to_owned(),
        Phase::Paused { cause: Cause::Asked, .. } => "paused".to_owned(),
        Phase::Paused { cause: Cause::Weights, .. } => "paused, weights by hand".to_owned(),
        Phase::Paused { cause: Cause::Timeout, .. } => "paused, out of time".to_owned(),
        Phase::Concluded { outcome, version, at } => {
            let version = view.experiment.version_name(version);
            let how = match outcome {
                Outcome::Promoted => format!("promoted {version}"),
                Outcome::RolledBack => format!("rolled back to {version}"),
                Outcome::Stopped => format!("stopped, stays on {version}"),
                Outcome::Inconclusive => format!("inconclusive, stays on {version}"),
            };
            let by = ordered(view).filter(|(decided, _)| *decided == at);
            by.map_or_else(|| how.clone(), |(_, order)| format!("{how}, by hand: {}", order.by))
        }
    }
}

/// The last change that a person asked for, if that was the last, and when.
fn ordered(view: &View) -> Option<(u64, &Order)> {
    let told = view.last_change.as_ref().or(view.decision.as_ref())?;
    told.ordered.as_ref().map(|order| (told.decision.at, order))
}

/// By whom each version was rolled back, where the last change was that.
fn by_hand(view: &View) -> Vec<Option<String>> {
    let ordered = ordered(view).map(|(_, order)| order);
    (0..view.experiment.versions.len())
        .map(|version| match ordered {
            Some(Order { command: Command::RollBack { version: of }, by, .. }) if of.is_none_or(|of| of == version) => {
                Some(by.to_string())
            }
            _ => None,
        })
        .collect()
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
pub(crate) fn limits(goals: &Experiment) -> String {
    let objectives =
        goals.objectives.iter().map(|objective| (&objective.name, gates::objective_in_words(&objective.limit)));
    let guardrails =
        goals.guardrails.iter().map(|guardrail| (&guardrail.name, gates::guardrail_in_words(goals, &guardrail.bound)));
    let limits: Vec<String> = objectives.chain(guardrails).map(|(name, limit)| format!("{name}: {limit}")).collect();
    if limits.is_empty() { String::new() } else { format!("{}\n", limits.join(" · ")) }
}

pub(crate) fn action(action: Action) -> &'static str {
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

/// The versions, one a line. `in_force` are the weights that filters carry out, if others than those assessed may be; `by_hand`
/// says of each by whom it was rolled back, where that is known.
pub(crate) fn versions(assessment: &Assessment, in_force: Option<&[u32]>, by_hand: &[Option<String>]) -> String {
    // Card J is about rewards.
    let rewarded = assessment.versions.iter().any(|version| version.log_e_beaten.is_some());
    let mut headings = vec!["VERSION", "WEIGHT", "EXPOSURES", "ERRORS", "P50", "P99"];
    if rewarded {
        headings.extend(["REWARD", "BEST*"]);
    }
    headings.push("VERDICTS");
    let mut table = Table::new(&headings);
    for (index, version) in assessment.versions.iter().enumerate() {
        let share = in_force.and_then(|weights| weights.get(index)).copied().unwrap_or(version.weight);
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
            let best =
                version.probability_best_and_feasible.filter(|_| !version.out && assessment.settled_exposures > 0);
            row.push(best.map_or_else(|| NOTHING.to_owned(), probability));
        }
        row.push(verdicts_of(version, by_hand.get(index).and_then(Option::as_deref)));
        table.row(row);
    }
    let mut text = table.render();
    if rewarded {
        text.push_str(
            "* probability of the best reward among those that keep their limits: belief, it decides nothing\n",
        );
    }
    text
}

fn settled(assessment: &Assessment) -> String {
    let live: u64 = assessment.versions.iter().map(|version| version.live.assigned).sum();
    format!(
        "\nsettled {} of {} exposures; rates with 95% intervals\n",
        count(assessment.settled_exposures),
        count(live.max(assessment.settled_exposures)),
    )
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
    version.metric(name).map_or_else(|| NOTHING.to_owned(), |metric| or_more(metric, latency(metric.observed)))
}

/// What was observed of a metric; `≥` where it is that or more.
pub(crate) fn or_more(metric: &Metric, shown: String) -> String {
    if metric.observed_or_more { format!("≥ {shown}") } else { shown }
}

fn verdicts_of(version: &VersionAssessment, by_hand: Option<&str>) -> String {
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
        gates.push(match by_hand {
            _ if version.baseline => "cannot win".to_owned(),
            Some(by) => format!("rolled back by hand: {by}"),
            None => "rolled back".to_owned(),
        });
    }
    if gates.is_empty() { NOTHING.to_owned() } else { gates.join("; ") }
}

fn told(what: &str, told: &Told, now: u64) -> String {
    let Told { decision, ordered } = told;
    let ago = stretch(now.saturating_sub(decision.at));
    let by = ordered.as_ref().map(|order| format!(", by {}: “{}”", order.by, order.reason)).unwrap_or_default();
    let mut text = format!("\nlast {what}: {}, {ago} ago{by}\n", action(decision.action));
    for reason in &decision.reasons {
        text.push_str(&format!("  {reason}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::cells::Tally;
    use weir_engine::decide::Decision;
    use weir_engine::journal::{Actor, Order};
    use weir_engine::metrics::Interval;
    use weir_engine::spec::Direction;
    use weir_engine::state::{Observations, Proposal, Trip};

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
            observed_or_more: false,
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
        let decision = Some(Told { decision, ordered: None });
        let health_warnings = Vec::new();
        View { experiment, state, assessment: Some(assessment), decision, last_change: None, health_warnings }
    }

    #[test]
    fn an_experiment_is_shown_with_its_versions_verdicts_and_the_last_decision() {
        let expected = "\
checkout · service shop · bandit (floor 5%, steps of 20% at most) · running · epoch 1 · for 26 s
errors: error rate at most 2%

VERSION        WEIGHT  EXPOSURES             ERRORS    P50  P99              REWARD  BEST*  VERDICTS
v1 (baseline)  33.34%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)  <0.1%  errors: not enough evidence
v2             33.33%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)  87.0%  errors: met
v3             33.33%      1,500  0.60% (0.30–1.1%)  12 ms    –  14.0% (12.3–15.8%)      –  errors: violated; rolled back
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
        view.decision.as_mut().unwrap().decision.at = 26_000;
        view.decision.as_mut().unwrap().decision.action = Action::Hold;
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
        let by = Actor { who: "ada".to_owned(), ..Actor::default() };
        let mut told = view.decision.clone().unwrap();
        told.decision.at = 31_000;
        told.ordered = Some(Order { command: Command::Promote { version: 1 }, by, reason: "the launch".to_owned() });
        let by_hand = View { last_change: Some(told), ..view.clone() };
        let said = detail(&by_hand, 500_000);
        assert!(said.contains("· promoted v2, by hand: ada ·"), "{said}");
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
    fn what_waits_for_a_person_who_ordered_what_and_what_is_wrong_are_shown() {
        let mut view = view();
        view.state.phase = Phase::Paused { since: 20_000, cause: Cause::Weights };
        view.state.awaited = Some(Proposal { since: 21_000, step: Step::Promotion { version: 1 } });
        view.state.trips = vec![Trip { version: 1, at: 22_000, epoch: 1, open: true }];
        view.health_warnings = vec!["no proxy has reported for 40 s".to_owned()];
        let by = Actor { who: "ada".to_owned(), says: String::new(), from: "10.0.0.7".to_owned() };
        let order = Order { command: Command::Pause, by, reason: "a meeting".to_owned() };
        view.decision.as_mut().unwrap().ordered = Some(order);
        let shown = detail(&view, 27_000);
        for expected in [
            "· paused, weights by hand ·",
            "last decision: roll back, 3 s ago, by ada from 10.0.0.7: “a meeting”\n",
            "waits for approval since 6 s: the promotion of v2; weir approve checkout --awaited-since 21000 --reason '…'\n",
            "the breaker holds v2 until what it doubted has settled\n",
            "warning: no proxy has reported for 40 s\n",
        ] {
            assert!(shown.contains(expected), "{expected}\n{shown}");
        }
        assert!(line(&view, 27_000).contains("roll back by ada from 10.0.0.7"), "{}", line(&view, 27_000));
        view.state.phase = Phase::Pending;
        assert!(detail(&view, 27_000).contains("waits to be started: weir start checkout --reason '…'\n"));
    }

    #[test]
    fn who_rolled_a_version_back_by_hand_is_told_beside_it() {
        let mut view = view();
        let by = Actor { who: "ada".to_owned(), ..Actor::default() };
        let order = |version| Order { command: Command::RollBack { version }, by: by.clone(), reason: "x".to_owned() };
        view.decision.as_mut().unwrap().ordered = Some(order(Some(2)));
        let shown = detail(&view, 27_000);
        assert!(shown.contains("errors: violated; rolled back by hand: ada\n"), "{shown}");
        view.decision.as_mut().unwrap().ordered = Some(order(Some(1)));
        let shown = detail(&view, 27_000);
        assert!(shown.contains("errors: violated; rolled back\n"), "another was: {shown}");
    }

    #[test]
    fn what_waits_to_be_started_shows_no_prior_as_a_number() {
        let mut view = view();
        view.state.phase = Phase::Pending;
        let shown = detail(&view, 27_000);
        assert!(shown.contains("nothing is counted before it is started: all traffic goes to v1\n"), "{shown}");
        assert!(!shown.contains("BEST") && !shown.contains("87.0%"), "{shown}");
        view.state.phase = Phase::Running;
        view.assessment.as_mut().unwrap().settled_exposures = 0;
        assert!(!detail(&view, 27_000).contains("87.0%"));
    }

    #[test]
    fn an_experiment_without_an_assessment_yet_can_be_shown() {
        let view = View { assessment: None, decision: None, last_change: None, ..view() };
        assert!(detail(&view, 1_000).ends_with("nothing assessed yet\n"));
        assert!(line(&view, 1_000).starts_with("for 0 s · running"));
    }
}
