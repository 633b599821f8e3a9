//! How a service has evolved: each of its concluded experiments, what became of each version, and what its metrics were then. Nothing is
//! computed anew: it is what was assessed when each was concluded. Every comparison is of versions at the same time, for traffic drifts between.

use crate::ledger::PastRow;
use crate::server::openapi::wire;
use serde::Serialize;
use std::fmt::Write as _;
use utoipa::ToSchema;
use weir_engine::metrics::{Interval, MetricName};
use weir_engine::spec::Direction;
use weir_engine::state::{Outcome, Phase};

/// A service's past.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trend {
    pub(crate) service: String,
    /// Oldest first.
    pub(crate) experiments: Vec<Past>,
}

/// One experiment that is over.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Past {
    pub(crate) name: String,
    pub(crate) id: String,
    /// Unix milliseconds.
    pub(crate) began_at: u64,
    /// Unix milliseconds.
    pub(crate) concluded_at: u64,
    pub(crate) deleted: bool,
    #[schema(value_type = wire::Outcome)]
    pub(crate) outcome: Outcome,
    /// Who had the traffic before.
    pub(crate) baseline: String,
    /// Who has had it since.
    pub(crate) version: String,
    /// Whether these are two: a change point.
    pub(crate) changed: bool,
    /// Whether somebody changed what serves without Weir since the experiment before: its outcome is not this one's baseline.
    pub(crate) changed_elsewhere: bool,
    pub(crate) settled_exposures: u64,
    pub(crate) versions: Vec<PastVersion>,
}

/// One of its versions.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastVersion {
    pub(crate) name: String,
    pub(crate) baseline: bool,
    pub(crate) fate: Fate,
    pub(crate) metrics: Vec<PastMetric>,
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Fate {
    /// A candidate that has had the traffic since.
    Promoted,
    /// A candidate that broke a limit, or was rolled back by a person.
    RolledBack,
    /// A candidate that was neither.
    NotPromoted,
    /// The baseline, and it still serves.
    Kept,
    /// The baseline, and another serves.
    Replaced,
}

/// What was measured of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastMetric {
    #[schema(value_type = wire::MetricName)]
    pub(crate) name: MetricName,
    #[schema(value_type = wire::Direction)]
    pub(crate) direction: Direction,
    pub(crate) exposures: u64,
    pub(crate) observed: f64,
    /// The central 95% interval of the belief.
    #[schema(value_type = Option<wire::Interval>)]
    pub(crate) belief: Option<Interval>,
    /// Against the baseline of the same experiment: 95% interval of (this − baseline)/baseline.
    #[schema(value_type = Option<wire::Interval>)]
    pub(crate) lift: Option<Interval>,
    /// Against the same: belief that this is better.
    pub(crate) probability_better: Option<f64>,
}

/// The trend of a service from what is over, oldest first.
pub(crate) fn trend(service: &str, past: &[PastRow]) -> Trend {
    let mut experiments: Vec<Past> = past.iter().filter_map(one).collect();
    experiments.sort_by(|a, b| a.concluded_at.cmp(&b.concluded_at).then_with(|| a.id.cmp(&b.id)));
    // Only an experiment that was over when this one began says what served then: others ran beside it.
    let over: Vec<(u64, String)> =
        experiments.iter().map(|experiment| (experiment.concluded_at, experiment.version.clone())).collect();
    for experiment in &mut experiments {
        let before = over.iter().take_while(|(at, _)| *at <= experiment.began_at).last();
        experiment.changed_elsewhere = before.is_some_and(|(_, serves)| *serves != experiment.baseline);
    }
    Trend { service: service.to_owned(), experiments }
}

/// When those began that did before the first of these was over, in Unix milliseconds: what served then does not stand among them.
pub(crate) fn begun_before(past: &[PastRow]) -> impl Iterator<Item = u64> + '_ {
    let first = match past.first().map(|row| &row.state.phase) {
        Some(Phase::Concluded { at, .. }) => *at,
        _ => 0,
    };
    past.iter().map(|row| row.state.started_at).filter(move |began| *began < first)
}

fn one(row: &PastRow) -> Option<Past> {
    let PastRow { id, spec, state, deleted_at, assessment } = row;
    let Phase::Concluded { outcome, version, at } = state.phase else { return None };
    let baseline = spec.version_name(spec.baseline).to_owned();
    let versions = (0..spec.versions.len()).map(|index| {
        let fate = match (index == spec.baseline, index == version) {
            (true, true) => Fate::Kept,
            (true, false) => Fate::Replaced,
            (false, true) => Fate::Promoted,
            (false, false) if state.is_out(index) => Fate::RolledBack,
            (false, false) => Fate::NotPromoted,
        };
        let assessed = assessment.as_ref().and_then(|assessment| assessment.versions.get(index));
        let metrics = assessed.map(|assessed| assessed.metrics.iter()).into_iter().flatten().map(|metric| {
            let against = metric.comparisons.iter().find(|comparison| comparison.with == baseline);
            PastMetric {
                name: metric.name,
                direction: metric.direction,
                exposures: metric.exposures,
                observed: metric.observed,
                belief: metric.belief,
                lift: against.and_then(|against| against.lift),
                probability_better: against.and_then(|against| against.probability_better),
            }
        });
        PastVersion {
            name: spec.version_name(index).to_owned(),
            baseline: index == spec.baseline,
            fate,
            metrics: metrics.collect(),
        }
    });
    Some(Past {
        name: spec.name.clone(),
        id: id.clone(),
        began_at: state.started_at,
        concluded_at: at,
        deleted: deleted_at.is_some(),
        outcome,
        version: spec.version_name(version).to_owned(),
        changed: version != spec.baseline,
        changed_elsewhere: false,
        settled_exposures: assessment.as_ref().map_or(0, |assessment| assessment.settled_exposures),
        versions: versions.collect(),
        baseline,
    })
}

/// The columns of [`csv`].
const COLUMNS: &str = "experiment,id,began_at_ms,concluded_at_ms,outcome,changed,version,baseline,fate,metric,direction,exposures,observed,low,high,\
                       lift_low,lift_high,probability_better";

/// The same as a table, a row per version and metric (RFC 4180). A version of which nothing was measured has one row without a metric; what is not known is empty.
pub(crate) fn csv(trend: &Trend) -> String {
    let mut text = format!("{COLUMNS}\r\n");
    for past in &trend.experiments {
        for version in &past.versions {
            // What was not measured is told, too: with one row, whose figures are empty.
            let none = version.metrics.is_empty().then_some(None);
            for metric in version.metrics.iter().map(Some).chain(none) {
                let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
                let ends = |interval: Option<Interval>| interval.map_or((None, None), |of| (of.low, of.high));
                let (low, high) = ends(metric.and_then(|metric| metric.belief));
                let (lift_low, lift_high) = ends(metric.and_then(|metric| metric.lift));
                let cells = [
                    quoted(&past.name),
                    quoted(&past.id),
                    past.began_at.to_string(),
                    past.concluded_at.to_string(),
                    word(&past.outcome),
                    past.changed.to_string(),
                    quoted(&version.name),
                    version.baseline.to_string(),
                    word(&version.fate),
                    metric.map_or_else(String::new, |metric| word(&metric.name)),
                    metric.map_or_else(String::new, |metric| word(&metric.direction)),
                    metric.map_or_else(String::new, |metric| metric.exposures.to_string()),
                    number(metric.map(|metric| metric.observed)),
                    number(low),
                    number(high),
                    number(lift_low),
                    number(lift_high),
                    number(metric.and_then(|metric| metric.probability_better)),
                ];
                // A string takes whatever is written to it.
                let _ = write!(text, "{}\r\n", cells.join(","));
            }
        }
    }
    text
}

/// A word of the API.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::{Command, WantedCommand};
    use crate::ledger::Ledger;
    use crate::testing::{Bench, START, cell, counts, experiment, report};

    /// Two experiments of the service, one after the other: the first promotes v2, in the second v2 is the candidate again and is rolled back.
    fn lived() -> (Bench, Vec<PastRow>) {
        let mut bench = Bench::new();
        for (name, incarnation, command) in [
            ("first", 1, WantedCommand::Promote { version: "v2".to_owned() }),
            ("second", 2, WantedCommand::RollBack { version: None }),
        ] {
            let id = bench.apply(experiment(name));
            let cells = vec![cell("v1", START, counts(500, 495)), cell("v2", START, counts(500, 490))];
            let report = report(incarnation, 1, &id, START + 1_000, cells);
            bench.ask(|reply| Command::Report(Box::new(report), reply)).unwrap().unwrap();
            bench.set_time(START + 60_000 * u64::from(incarnation));
            bench.look();
            bench.order(name, command).unwrap();
        }
        bench.delete("first", "the routes send everything to v2 by now").unwrap();
        bench.apply(experiment("runs"));
        let past = Ledger::read_only(&bench.ledger_file()).unwrap().past("shop", None, 10).unwrap();
        (bench, past)
    }

    #[test]
    fn every_concluded_experiment_of_the_service_is_told_once_the_deleted_too_and_no_other() {
        let (bench, past) = lived();
        let trend = trend("shop", &past);
        let told: Vec<_> =
            trend.experiments.iter().map(|past| (past.name.as_str(), past.changed, past.deleted)).collect();
        assert_eq!(told, [("first", true, true), ("second", false, false)]);
        let [first, second] = trend.experiments.as_slice() else { panic!("{trend:?}") };
        let fates = |past: &Past| past.versions.iter().map(|version| version.fate).collect::<Vec<_>>();
        assert_eq!(fates(first), [Fate::Replaced, Fate::Promoted]);
        assert_eq!(fates(second), [Fate::Kept, Fate::RolledBack]);
        assert!(!first.changed_elsewhere && second.changed_elsewhere, "v2 was promoted, and v1 is the baseline again");
        let ledger = Ledger::read_only(&bench.ledger_file()).unwrap();
        assert!(ledger.past("other", None, 10).unwrap().is_empty());
        assert_eq!(ledger.past("shop", None, 1).unwrap().len(), 1);
    }

    #[test]
    fn metrics_are_those_of_the_last_assessment_with_the_baseline_beside_them() {
        let (_bench, past) = lived();
        let trend = trend("shop", &past);
        let second = &trend.experiments[0].versions[1];
        let errors = second.metrics.iter().find(|metric| metric.name == MetricName::ErrorRate).unwrap();
        let own = past[0].assessment.as_ref().unwrap().versions[1].metric(MetricName::ErrorRate).unwrap();
        assert_eq!((errors.observed, errors.belief, errors.exposures), (own.observed, own.belief, own.exposures));
        assert!(errors.lift.is_some() && errors.probability_better.is_some());
        let baseline = &trend.experiments[0].versions[0];
        assert!(!baseline.metrics.is_empty() && baseline.metrics.iter().all(|metric| metric.lift.is_none()));
    }

    #[test]
    fn the_table_has_a_row_for_each_metric_and_as_many_cells_as_columns() {
        let (_bench, past) = lived();
        let mut trend = trend("shop", &past);
        trend.experiments[0].name = "a \"name\", with a comma".to_owned();
        // Ended by hand before anything was counted.
        trend.experiments[1].versions[1].metrics.clear();
        let text = csv(&trend);
        let rows: Vec<&str> = text.split_terminator("\r\n").collect();
        let metrics =
            trend.experiments.iter().flat_map(|past| &past.versions).map(|version| version.metrics.len().max(1));
        assert_eq!(rows.len(), 1 + metrics.sum::<usize>());
        assert!(rows[1].starts_with("\"a \"\"name\"\", with a comma\","), "{}", rows[1]);
        assert!(text.ends_with(",\"v2\",false,rolledBack,,,,,,,,,\r\n"), "{text}");
        let cells = |row: &str| row.split(',').count();
        assert!(rows.iter().filter(|row| !row.contains("comma")).all(|row| cells(row) == cells(COLUMNS)), "{text}");
    }
}
