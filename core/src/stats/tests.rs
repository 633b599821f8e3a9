//! Envoy's own stats: what is told of which version, how often, and that labels and calls stay bounded.

use super::*;
use crate::outcome::Outcome;
use crate::plan::{Plan, Status};
use crate::recorder::{Observation, Recorder};
use crate::tally::EDGES_MICROS;
use crate::testing::plan;
use std::collections::BTreeMap;

#[derive(Default)]
struct FakeMeter {
    names: Vec<(Kind, String)>,
    values: BTreeMap<String, u64>,
    calls: usize,
}

impl Meter for FakeMeter {
    fn define(&mut self, kind: Kind, name: &str) -> Option<u32> {
        assert!(self.names.iter().all(|(_, known)| known != name), "{name} is defined twice");
        self.names.push((kind, name.to_owned()));
        u32::try_from(self.names.len() - 1).ok()
    }

    fn increment(&mut self, metric: u32, by: u64) {
        let (kind, name) = &self.names[metric as usize];
        assert_eq!(*kind, Kind::Counter);
        *self.values.entry(name.clone()).or_default() += by;
        self.calls += 1;
    }

    fn record(&mut self, metric: u32, value: u64) {
        let (kind, name) = &self.names[metric as usize];
        assert_eq!(*kind, Kind::Gauge);
        self.values.insert(name.clone(), value);
        self.calls += 1;
    }
}

fn seen(age_micros: u64, outcome: Outcome) -> Observation {
    Observation { outcome, age_nanos: age_micros * 1_000, reward: 0.0 }
}

/// A plan whose experiments have these names.
fn named(names: &[String]) -> Plan {
    let one = plan(&[1, 1]).experiments.remove(0);
    let experiments = names.iter().map(|name| {
        let mut experiment = one.clone();
        experiment.id.clone_from(name);
        experiment.name.clone_from(name);
        experiment
    });
    Plan { experiments: experiments.collect(), ..Plan::empty("1") }
}

#[test]
fn what_a_plan_shows_is_in_envoys_stats_across_plans_and_once() {
    let (mut stats, mut meter, mut recorder) = (Stats::default(), FakeMeter::default(), Recorder::only_tallies());
    let mut last = None;
    for epoch in 1..=3 {
        let mut planned = plan(&[1, 1]);
        planned.experiments[0].epoch = epoch;
        let compiled = Compiled::new(&planned, &[]);
        stats.adopt(&compiled);
        let exposure = recorder.assign(&compiled.experiments()[0], 1, None, 0).unwrap();
        recorder.complete(&exposure, seen(1_500, Outcome::Ok));
        // The end of one that an older plan assigned.
        if let Some(old) = last.replace(recorder.assign(&compiled.experiments()[0], 1, None, 0).unwrap()) {
            recorder.complete(&old, seen(1, Outcome::Failed));
        }
        stats.on_tick(&mut meter, u64::from(epoch) * EVERY);
    }
    let of = |name: &str| {
        let full = format!("weir_experiment=.=checkout;.;weir_version=.=v1;.;{name}");
        meter.values.get(&full).copied().unwrap_or(0)
    };
    assert_eq!((of("weir_assigned_total"), of("weir_completed_total"), of("weir_failed_total")), (6, 5, 2));
    let bucket = |edge: &str| of(&format!("le=.={edge};.;weir_latency_milliseconds_bucket"));
    assert_eq!((bucket("1"), bucket("2"), bucket("5"), bucket("+Inf")), (0, 3, 3, 3));
    // 4.5 ms: the half is kept for the next time.
    assert_eq!((of("weir_latency_milliseconds_sum"), of("weir_latency_milliseconds_count")), (4, 3));
    assert!(meter.names.iter().all(|(_, name)| !name.contains("v0")), "nothing is defined for what had no traffic");
}

#[test]
fn between_two_looks_nothing_is_called() {
    let (mut stats, mut meter, mut recorder) = (Stats::default(), FakeMeter::default(), Recorder::only_tallies());
    let compiled = Compiled::new(&plan(&[1]), &[]);
    stats.adopt(&compiled);
    stats.on_tick(&mut meter, 0);
    for now in (0..EVERY).step_by(100_000_000) {
        recorder.assign(&compiled.experiments()[0], 0, None, 0).unwrap();
        stats.on_tick(&mut meter, now);
    }
    assert_eq!((meter.calls, meter.names.len()), (0, 0));
    stats.on_tick(&mut meter, EVERY);
    assert_eq!(meter.calls, 1, "one counter has changed");
}

#[test]
fn labels_are_bounded_however_many_experiments_come_and_the_rest_is_counted_together() {
    let (mut stats, mut meter, mut recorder) = (Stats::default(), FakeMeter::default(), Recorder::only_tallies());
    for round in 0..20_u64 {
        let names: Vec<String> = (0..100).map(|at| format!("e-{round}-{at}")).collect();
        let compiled = Compiled::new(&named(&names), &[]);
        stats.adopt(&compiled);
        for experiment in compiled.experiments() {
            recorder.assign(experiment, 0, None, 0).unwrap();
            recorder.assign(experiment, 1, None, 0).unwrap();
        }
        stats.on_tick(&mut meter, round * EVERY);
    }
    let pairs = meter.values.keys().filter(|name| name.ends_with("weir_assigned_total")).count();
    assert_eq!(pairs, MAX_PAIRS + 1);
    let other = meter.values["weir_experiment=.=other;.;weir_version=.=other;.;weir_assigned_total"];
    assert_eq!(other, 20 * 200 - MAX_PAIRS as u64);
    assert!(stats.pairs.len() <= MAX_PAIRS && meter.names.len() <= (MAX_PAIRS + 1) * PER_PAIR);
}

#[test]
fn concluded_experiments_get_no_labels_and_odd_names_break_none() {
    let (mut stats, mut meter, mut recorder) = (Stats::default(), FakeMeter::default(), Recorder::only_tallies());
    let mut planned = named(&["gone".to_owned(), "a;.;b=.=\"\n\u{e9}".to_owned()]);
    planned.experiments[0].status = Status::Concluded;
    let compiled = Compiled::new(&planned, &[]);
    stats.adopt(&compiled);
    recorder.assign(&compiled.experiments()[1], 0, None, 0).unwrap();
    stats.on_tick(&mut meter, 0);
    let names: Vec<&String> = meter.values.keys().collect();
    assert_eq!(names, ["weir_experiment=.=a_._b_._____;.;weir_version=.=v0;.;weir_assigned_total"]);
}

#[test]
fn the_exchange_is_told_in_counters_that_add_and_gauges_that_are_set() {
    let (mut stats, mut meter) = (Stats::default(), FakeMeter::default());
    let news = News { sent: 3, retried: 2, acknowledged: 2, refused: 1, lost: 40, polls_failed: 5 };
    for age in [7, 8] {
        let silence_nanos = age * 1_000_000_000 + 1;
        stats.exchange(&mut meter, &Standing { revision: "42", silence_nanos, stale: age == 8, news });
    }
    for (name, value) in [
        ("weir_reports_sent_total", 6),
        ("weir_reports_retried_total", 4),
        ("weir_reports_acknowledged_total", 4),
        ("weir_reports_refused_total", 2),
        ("weir_exposures_lost_total", 80),
        ("weir_polls_failed_total", 10),
        ("weir_plan_revision", 42),
        ("weir_plan_age_seconds", 8),
        ("weir_plan_stale", 1),
    ] {
        assert_eq!(meter.values[name], value, "{name}");
    }
    assert_eq!(meter.names.len(), 9);
}

#[test]
fn the_buckets_are_named_by_their_edges() {
    let edges = EDGES_MICROS.iter().map(|edge| (edge / 1_000).to_string());
    assert_eq!(edges.chain(["+Inf".to_owned()]).collect::<Vec<_>>(), EDGES);
    assert_eq!(PER_PAIR, 23, "as docs/filter.md says");
}

#[test]
fn revisions_are_numbers_that_a_gauge_shows_exactly() {
    assert_eq!(revision_number("7"), 7);
    assert_eq!(revision_number("0123456789abcdef0123456789abcdef"), 0x0123_4567_89ab);
    assert_eq!(revision_number("01234567890123456789012345678901"), 0x0123_4567_8901);
    assert_ne!(revision_number("static"), revision_number("statis"));
    for odd in ["", "-", "static", "ünïcödé-revision", "ffffffffffffffffffffffffffffffff", "18446744073709551615"] {
        assert!(revision_number(odd) < 1 << 48, "{odd}");
    }
}
