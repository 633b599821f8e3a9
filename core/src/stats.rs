//! The filter's own stats in Envoy: per experiment and version what it showed, and how the exchange with the controller does.
//!
//! Owns the names, the labels and their bound. Filled from tallies once a second, never on a request's path: a metric's host
//! call costs 90 to 350 ns. Every definition adds an id to the VM for ever, so each name is defined once, when it is first
//! needed, and there is a most of them.

use crate::exchange::Standing;
use crate::matching::Compiled;
use crate::tally::Tally;
use std::cell::Cell;
use std::rc::Rc;

/// Most (experiment, version) pairs with labels of their own in a VM's life; those beyond share the label [`OTHER`].
pub const MAX_PAIRS: usize = 512;
/// The label of what found no room.
pub const OTHER: &str = "other";
/// Nanoseconds between two looks at the tallies.
const EVERY: u64 = 1_000_000_000;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Is set.
    Gauge,
}

/// Envoy's metrics, as one VM sees them.
pub trait Meter {
    /// Defines a metric; adds an id for ever. `None`: Envoy refuses.
    fn define(&mut self, kind: Kind, name: &str) -> Option<u32>;
    /// Adds to a counter.
    fn increment(&mut self, metric: u32, by: u64);
    /// Sets a gauge.
    fn record(&mut self, metric: u32, value: u64);
}

/// One VM's stats.
#[derive(Debug, Default)]
pub struct Stats {
    /// By labels.
    pairs: Vec<Pair>,
    /// Of those that found no room; not remembered by name, which would cost memory for ever too.
    other: Option<Pair>,
    looked_at: Option<u64>,
    of_the_exchange: Vec<(&'static str, Option<u32>)>,
}

#[derive(Debug)]
struct Pair {
    /// As they stand in names.
    labels: String,
    tally: Rc<Tally>,
    /// Microseconds of latency that are no whole millisecond yet.
    remainder: u64,
    metrics: Option<Metrics>,
}

#[derive(Debug)]
struct Metrics {
    counters: [Option<u32>; COUNTERS.len()],
    buckets: [Option<u32>; EDGES.len()],
    sum: Option<u32>,
    count: Option<u32>,
}

type Count = fn(&Tally) -> &Cell<u64>;
/// Names, and what of a tally they count.
const COUNTERS: [(&str, Count); 6] = [
    ("weir_assigned_total", |tally| &tally.assigned),
    ("weir_completed_total", |tally| &tally.completed),
    ("weir_failed_total", |tally| &tally.failed),
    ("weir_aborted_total", |tally| &tally.aborted),
    ("weir_late_total", |tally| &tally.late),
    ("weir_dropped_total", |tally| &tally.dropped),
];
const LATENCY: &str = "weir_latency_milliseconds";
/// The buckets of a tally, by upper edge in milliseconds.
const EDGES: [&str; 15] =
    ["1", "2", "5", "10", "20", "50", "100", "200", "500", "1000", "2000", "5000", "10000", "30000", "+Inf"];

impl Stats {
    /// Gives every running experiment's versions their tallies. Defines nothing: a throw-away VM may do it.
    pub fn adopt(&mut self, plan: &Compiled) {
        for experiment in plan.experiments().iter().filter(|experiment| experiment.running) {
            for version in &experiment.versions {
                let _ = version.tally.set(self.tally(&experiment.name, &version.name));
            }
        }
    }

    /// Brings Envoy's counters up to date, if it is time.
    pub fn on_tick(&mut self, meter: &mut impl Meter, now: u64) {
        if self.looked_at.is_some_and(|last| now < last.saturating_add(EVERY)) {
            return;
        }
        self.looked_at = Some(now);
        for pair in self.pairs.iter_mut().chain(&mut self.other).filter(|pair| !pair.tally.is_empty()) {
            pair.publish(meter);
        }
    }

    /// Says how the exchange does: adds what has happened since it was last asked, and sets the gauges.
    pub fn exchange(&mut self, meter: &mut impl Meter, standing: &Standing<'_>) {
        for (name, count) in [
            ("weir_reports_sent_total", standing.news.sent),
            ("weir_reports_retried_total", standing.news.retried),
            ("weir_reports_acknowledged_total", standing.news.acknowledged),
            ("weir_reports_refused_total", standing.news.refused),
            ("weir_exposures_lost_total", standing.news.lost),
            ("weir_polls_failed_total", standing.news.polls_failed),
        ] {
            // Defined also before there is anything to count: a rate needs the zero.
            if let Some(metric) = self.metric(meter, Kind::Counter, name)
                && count > 0
            {
                meter.increment(metric, count);
            }
        }
        for (name, value) in [
            ("weir_plan_revision", revision_number(standing.revision)),
            ("weir_plan_age_seconds", standing.silence_nanos / 1_000_000_000),
            ("weir_plan_stale", u64::from(standing.stale)),
        ] {
            if let Some(metric) = self.metric(meter, Kind::Gauge, name) {
                meter.record(metric, value);
            }
        }
    }

    /// The plan's revision where there is no exchange: a static plan.
    pub fn revision(&mut self, meter: &mut impl Meter, revision: &str) {
        if let Some(metric) = self.metric(meter, Kind::Gauge, "weir_plan_revision") {
            meter.record(metric, revision_number(revision));
        }
    }

    fn metric(&mut self, meter: &mut impl Meter, kind: Kind, name: &'static str) -> Option<u32> {
        if let Some((_, metric)) = self.of_the_exchange.iter().find(|(known, _)| *known == name) {
            return *metric;
        }
        let metric = meter.define(kind, name);
        self.of_the_exchange.push((name, metric));
        metric
    }

    /// A pair's tally; its own, if it has or finds room.
    fn tally(&mut self, experiment: &str, version: &str) -> Rc<Tally> {
        let labels = labels(experiment, version);
        let pair = match self.pairs.binary_search_by(|pair| pair.labels.cmp(&labels)) {
            Ok(at) => self.pairs.get(at),
            Err(at) if self.pairs.len() < MAX_PAIRS => {
                self.pairs.insert(at, Pair::new(labels));
                self.pairs.get(at)
            }
            Err(_) => Some(&*self.other.get_or_insert_with(|| Pair::new(self::labels(OTHER, OTHER)))),
        };
        pair.map(|pair| Rc::clone(&pair.tally)).unwrap_or_default()
    }
}

impl Pair {
    fn new(labels: String) -> Self {
        Self { labels, tally: Rc::default(), remainder: 0, metrics: None }
    }

    fn publish(&mut self, meter: &mut impl Meter) {
        let metrics = self.metrics.get_or_insert_with(|| Metrics::define(meter, &self.labels));
        let mut add = |metric: Option<u32>, count: u64| {
            if let (Some(metric), 1..) = (metric, count) {
                meter.increment(metric, count);
            }
        };
        for ((_, count), metric) in COUNTERS.iter().zip(metrics.counters) {
            add(metric, count(&self.tally).take());
        }
        // Prometheus' histograms are cumulative.
        let mut until = 0_u64;
        for (count, metric) in self.tally.latencies.iter().zip(&metrics.buckets) {
            until = until.saturating_add(count.take());
            add(*metric, until);
        }
        add(metrics.count, until);
        let micros = self.tally.latency_micros.take().saturating_add(self.remainder);
        self.remainder = micros % 1_000;
        add(metrics.sum, micros / 1_000);
    }
}

impl Metrics {
    fn define(meter: &mut impl Meter, labels: &str) -> Self {
        let mut counter = |edge: Option<&str>, name: &str, part: &str| {
            let mut full = labels.to_owned();
            if let Some(edge) = edge {
                add_label(&mut full, "le", edge);
            }
            full.push_str(name);
            full.push_str(part);
            meter.define(Kind::Counter, &full)
        };
        Self {
            counters: COUNTERS.map(|(name, _)| counter(None, name, "")),
            buckets: EDGES.map(|edge| counter(Some(edge), LATENCY, "_bucket")),
            sum: counter(None, LATENCY, "_sum"),
            count: counter(None, LATENCY, "_count"),
        }
    }
}

fn labels(experiment: &str, version: &str) -> String {
    let mut labels = String::new();
    add_label(&mut labels, "weir_experiment", experiment);
    add_label(&mut labels, "weir_version", version);
    labels
}

/// Adds a label as it stands in a stat's name, the way Istio's own bootstrap takes labels out: `name=.=value;.;`, before the
/// metric's name.
fn add_label(to: &mut String, name: &str, value: &str) {
    to.push_str(name);
    to.push_str("=.=");
    for byte in value.bytes() {
        let may = byte.is_ascii_alphanumeric() || b"-_.+/:@".contains(&byte);
        to.push(if may { char::from(byte) } else { '_' });
    }
    to.push_str(";.;");
}

/// A revision as a number, for comparing proxies with each other: a decimal one is itself; of a hexadecimal one (the
/// controller's) the first twelve digits, which a gauge shows exactly; of any other one a hash of as many bits (FNV-1a).
#[must_use]
pub fn revision_number(revision: &str) -> u64 {
    let number = |radix| {
        let mut number = 0_u64;
        for (at, byte) in revision.bytes().enumerate() {
            let digit = u64::from(char::from(byte).to_digit(radix)?);
            if at < 12 {
                number = number * u64::from(radix) + digit;
            }
        }
        Some(number)
    };
    let decimal = if revision.len() <= 12 { number(10) } else { None };
    decimal.or_else(|| number(16)).unwrap_or_else(|| {
        let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        revision.bytes().fold(0xcbf2_9ce4_8422_2325, hash) & 0xffff_ffff_ffff
    })
}

#[cfg(test)]
mod tests;
