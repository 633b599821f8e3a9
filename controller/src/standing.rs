//! How experiments stand, as metrics: what alerts and dashboards ask about each of them. Owns their names and their bound.
//!
//! Their labels are names that users chose, so there are only so many: of the first [`MOST`] experiments by name. A whole look is
//! exchanged at once, so that no scrape sees half of one.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};
use weir_engine::assess::Assessment;
use weir_engine::health::Health;
use weir_engine::spec::{Experiment, TOTAL_WEIGHT};
use weir_engine::state::{Phase, State, Verdict};

/// Experiments with labels of their own; of 16 versions each that makes 20,000 series at most.
pub(crate) const MOST: usize = 256;

type Named = (&'static str, &'static str);
const RUNNING: Named = ("running_experiments", "Experiments that are running");
const TROUBLED_WORKERS: Named = ("troubled_workers", "Workers of proxies with which something is wrong, by what");
const UNLISTED: Named = ("unlisted_experiments", "Experiments beyond those that have metrics of their own");
const PHASE: Named = ("experiment_phase", "1 for the phase that the experiment is in");
const FAULTS: Named =
    ("experiment_telemetry_faults", "Things wrong with the experiment's telemetry, each of which holds its weights");
const AWAITS: Named = ("experiment_awaits_approval", "Whether something waits for a person's approval");
const SAMPLE_RATIO: Named =
    ("experiment_sample_ratio_broken", "Whether exposures were found not to follow the weights");
const WEIGHT: Named = ("experiment_weight", "The version's share of traffic by the plan, from 0 to 1");
const SETTLED: Named = ("experiment_settled_exposures", "The version's exposures in settled bins");
const VIOLATED: Named =
    ("experiment_violated_limits", "Objectives and guardrails that evidence says the version violates");
const OUT: Named =
    ("experiment_rolled_back", "Whether the version was rolled back, or as the baseline breaks an objective");
const BEST: Named =
    ("experiment_best_probability", "Belief that the version is the best of those that keep their limits");

/// One experiment at a look.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    name: String,
    phase: &'static str,
    awaits_approval: bool,
    sample_ratio_broken: bool,
    health: Health,
    faults: usize,
    versions: Vec<Version>,
}

/// One version of it.
#[derive(Debug, Clone, PartialEq)]
struct Version {
    name: String,
    /// From 0 to 1.
    weight: f64,
    out: bool,
    violated: usize,
    settled: u64,
    best: Option<f64>,
}

impl Standing {
    /// Of what is known at a look; `assessment` may be of the look before.
    pub(crate) fn of(spec: &Experiment, state: &State, assessment: Option<&Assessment>, health: &Health) -> Self {
        let weights = state.weights_in_force(spec);
        let versions = spec.versions.iter().enumerate().map(|(index, version)| {
            let assessed = assessment.and_then(|assessment| assessment.versions.get(index));
            let is_violated = |row: &&Vec<Verdict>| row.get(index) == Some(&Verdict::Violated);
            Version {
                name: version.name.clone(),
                weight: f64::from(weights.get(index).copied().unwrap_or(0)) / f64::from(TOTAL_WEIGHT),
                out: state.is_out(index),
                violated: state.latched.iter().filter(is_violated).count(),
                settled: assessed.map_or(0, |assessed| assessed.settled.assigned),
                best: assessed.and_then(|assessed| assessed.probability_best_and_feasible),
            }
        });
        // What happens to the telemetry of what has ended matters to nobody.
        let faults = if state.is_concluded() { 0 } else { health.faults().len() };
        Self {
            name: spec.name.clone(),
            phase: match state.phase {
                Phase::Pending => "pending",
                Phase::Running => "running",
                Phase::Paused { .. } => "paused",
                Phase::Concluded { .. } => "concluded",
            },
            awaits_approval: state.awaited.is_some(),
            sample_ratio_broken: state.sample_ratio_broken,
            health: *health,
            faults,
            versions: versions.collect(),
        }
    }
}

/// How all of them stood at the last look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standings(Arc<Mutex<Vec<Standing>>>);

impl Standings {
    /// Those of another look. What has concluded comes last: it takes no labels from what alerts are about.
    pub(crate) fn set(&self, mut standings: Vec<Standing>) {
        standings.sort_by(|one, other| {
            (one.phase == "concluded", &one.name).cmp(&(other.phase == "concluded", &other.name))
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = standings;
    }
}

/// A gauge's samples: labels and value.
struct Family<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
}

impl Family<'_, '_> {
    /// Writes a gauge with a sample for each item.
    fn gauge<'s>(
        &mut self,
        (name, help): Named,
        samples: impl Iterator<Item = (Vec<(&'static str, &'s str)>, f64)>,
    ) -> Result<(), Error> {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Writes a gauge without labels.
    fn single(&mut self, (name, help): Named, value: f64) -> Result<(), Error> {
        ConstGauge::new(value).encode(self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }
}

const fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows floats alone, and counts of proxies and exposures are far below 2^53"
)]
const fn number(count: u64) -> f64 {
    count as f64
}

impl Collector for Standings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let live = all.iter().filter(|one| one.phase != "concluded");
        // Each experiment sees the same fleet, but silent workers only where they had begun something.
        let worst = |of: fn(&Health) -> u64| live.clone().map(|one| of(&one.health)).max().unwrap_or(0);
        let workers = [
            ("silent", worst(|health| health.silent)),
            ("stale", worst(|health| health.stale)),
            ("behind", worst(|health| health.behind)),
        ];
        let shown = all.get(..all.len().min(MOST)).unwrap_or_default();
        let mut family = Family { encoder: &mut encoder };
        let each =
            |of: fn(&Standing) -> f64| shown.iter().map(move |one| (vec![("experiment", one.name.as_str())], of(one)));
        let every = |of: fn(&Version) -> Option<f64>| {
            shown.iter().flat_map(move |one| {
                one.versions.iter().filter_map(move |version| {
                    Some((vec![("experiment", one.name.as_str()), ("version", version.name.as_str())], of(version)?))
                })
            })
        };
        let running = all.iter().filter(|one| one.phase == "running").count();
        family.single(RUNNING, number(running as u64))?;
        family
            .gauge(TROUBLED_WORKERS, workers.into_iter().map(|(kind, count)| (vec![("kind", kind)], number(count))))?;
        let beyond = all.len().saturating_sub(shown.len());
        family.single(UNLISTED, number(beyond as u64))?;
        family.gauge(
            PHASE,
            shown.iter().map(|one| (vec![("experiment", one.name.as_str()), ("phase", one.phase)], 1.0)),
        )?;
        family.gauge(FAULTS, each(|one| number(one.faults as u64)))?;
        family.gauge(AWAITS, each(|one| truth(one.awaits_approval)))?;
        family.gauge(SAMPLE_RATIO, each(|one| truth(one.sample_ratio_broken)))?;
        family.gauge(WEIGHT, every(|version| Some(version.weight)))?;
        family.gauge(SETTLED, every(|version| Some(number(version.settled))))?;
        family.gauge(VIOLATED, every(|version| Some(number(version.violated as u64))))?;
        family.gauge(OUT, every(|version| Some(truth(version.out))))?;
        family.gauge(BEST, every(|version| version.best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::testing;

    fn standing(name: &str, change: impl FnOnce(&mut State, &mut Health)) -> Standing {
        let spec = testing::experiment(name);
        let (mut state, mut health) = (State::begin(&spec, testing::START), Health::default());
        change(&mut state, &mut health);
        Standing::of(&spec, &state, None, &health)
    }

    fn text(standings: Vec<Standing>) -> String {
        let metrics = Metrics::new();
        metrics.standings.set(standings);
        metrics.text().unwrap()
    }

    #[test]
    fn what_alerts_ask_is_said_of_each_experiment_and_version() {
        let text = text(vec![
            standing("shop", |state, health| {
                state.latched = vec![vec![Verdict::Met, Verdict::Violated]];
                state.out = vec![false, true];
                state.sample_ratio_broken = true;
                (health.live, health.silent, health.stale) = (3, 2, 1);
            }),
            standing("cart", |_, _| {}),
        ]);
        for line in [
            "weir_running_experiments 2.0",
            "weir_troubled_workers{kind=\"silent\"} 2.0",
            "weir_troubled_workers{kind=\"stale\"} 1.0",
            "weir_troubled_workers{kind=\"behind\"} 0.0",
            "weir_experiment_phase{experiment=\"shop\",phase=\"running\"} 1.0",
            "weir_experiment_telemetry_faults{experiment=\"shop\"} 2.0",
            "weir_experiment_telemetry_faults{experiment=\"cart\"} 0.0",
            "weir_experiment_sample_ratio_broken{experiment=\"shop\"} 1.0",
            "weir_experiment_sample_ratio_broken{experiment=\"cart\"} 0.0",
            "weir_experiment_violated_limits{experiment=\"shop\",version=\"v1\"} 0.0",
            "weir_experiment_violated_limits{experiment=\"shop\",version=\"v2\"} 1.0",
            "weir_experiment_rolled_back{experiment=\"shop\",version=\"v2\"} 1.0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "`{line}` is not in\n{text}");
        }
    }

    #[test]
    fn however_many_experiments_there_are_only_so_many_have_labels() {
        let many = (0..MOST + 5).map(|number| standing(&format!("shop-{number:04}"), |_, _| {})).collect();
        let text = text(many);
        assert!(text.contains("weir_unlisted_experiments 5.0"), "{text}");
        assert_eq!(text.matches("weir_experiment_phase{").count(), MOST);
        assert!(text.contains("\"shop-0255\"") && !text.contains("\"shop-0256\""));

        let old = Phase::Concluded { outcome: weir_engine::state::Outcome::Stopped, version: 0, at: 0 };
        let mut many: Vec<Standing> = (0..MOST)
            .map(|number| standing(&format!("old-{number:04}"), |state, _| state.phase = old.clone()))
            .collect();
        many.push(standing("shop", |_, _| {}));
        assert!(self::text(many).contains("weir_experiment_phase{experiment=\"shop\",phase=\"running\"} 1.0"));
        assert!(text.contains(&format!("weir_running_experiments {}.0", MOST + 5)));
    }
}
