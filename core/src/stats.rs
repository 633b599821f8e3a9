//! The filter's own stats in Envoy: per experiment and version what it showed, and how the exchange with the controller does.
//!
//! Owns the names, the labels and their bound. Filled from tallies once a second, never on a request's path: a metric's host
//! call costs 90 to 350 ns. Every definition adds an id to the VM for ever, so each name is defined once, when it is first
//! needed, and there is a most of them.

use crate::exchange::{News, Standing};
use crate::matching::Compiled;
use crate::tally::Tally;
use std::rc::Rc;

/// Most (experiment, version) pairs with labels of their own in a VM's life; those beyond share the label [`OTHER`].
pub const MAX_PAIRS: usize = 512;
/// The label of what found no room.
pub const OTHER: &str = "other";
/// Nanoseconds between two looks at the tallies.
const EVERY: u64 = 1_000_000_000;
const REVISION: &str = "weir_plan_revision";

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
    /// Of each of [`NAMES`]; empty before there is anything to count.
    metrics: Vec<Option<u32>>,
}

/// What a tally counts, in the order of [`Pair::take`].
const NAMES: [&str; 8] = [
    "weir_assigned_total",
    "weir_completed_total",
    "weir_failed_total",
    "weir_aborted_total",
    "weir_late_total",
    "weir_dropped_total",
    "weir_latency_milliseconds_sum",
    "weir_latency_milliseconds_count",
];
const BUCKET: &str = "weir_latency_milliseconds_bucket";
/// The upper edges of a tally's buckets, in milliseconds: each a metric after those of [`NAMES`].
const EDGES: [&str; 15] =
    ["1", "2", "5", "10", "20", "50", "100", "200", "500", "1000", "2000", "5000", "10000", "30000", "+Inf"];
/// Metrics of a pair.
pub const PER_PAIR: usize = NAMES.len() + EDGES.len();

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
        let News { sent, retried, acknowledged, refused, lost, polls_failed } = standing.news;
        // Defined also before there is anything to count: a rate needs the zero.
        for (kind, name, value) in [
            (Kind::Counter, "weir_reports_sent_total", sent),
            (Kind::Counter, "weir_reports_retried_total", retried),
            (Kind::Counter, "weir_reports_acknowledged_total", acknowledged),
            (Kind::Counter, "weir_reports_refused_total", refused),
            (Kind::Counter, "weir_exposures_lost_total", lost),
            (Kind::Counter, "weir_polls_failed_total", polls_failed),
            (Kind::Gauge, REVISION, revision_number(standing.revision)),
            (Kind::Gauge, "weir_plan_age_seconds", standing.silence_nanos / 1_000_000_000),
            (Kind::Gauge, "weir_plan_stale", u64::from(standing.stale)),
        ] {
            self.tell(meter, kind, name, value);
        }
    }

    /// The plan's revision where there is no exchange: a static plan.
    pub fn revision(&mut self, meter: &mut impl Meter, revision: &str) {
        self.tell(meter, Kind::Gauge, REVISION, revision_number(revision));
    }

    fn tell(&mut self, meter: &mut impl Meter, kind: Kind, name: &'static str, value: u64) {
        let known = self.of_the_exchange.iter().find(|(known, _)| *known == name).map(|(_, metric)| *metric);
        let metric = known.unwrap_or_else(|| {
            let metric = meter.define(kind, name);
            self.of_the_exchange.push((name, metric));
            metric
        });
        match (metric, kind, value) {
            (Some(metric), Kind::Gauge, _) => meter.record(metric, value),
            (Some(metric), Kind::Counter, 1..) => meter.increment(metric, value),
            _ => {}
        }
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
        Self { labels, tally: Rc::default(), remainder: 0, metrics: Vec::new() }
    }

    fn publish(&mut self, meter: &mut impl Meter) {
        if self.metrics.is_empty() {
            for (edge, name) in NAMES.iter().map(|name| ("", *name)).chain(EDGES.iter().map(|edge| (*edge, BUCKET))) {
                let mut full = self.labels.clone();
                if !edge.is_empty() {
                    add_label(&mut full, "le", edge);
                }
                full.push_str(name);
                self.metrics.push(meter.define(Kind::Counter, &full));
            }
        }
        for (metric, count) in self.metrics.iter().zip(take(&self.tally, &mut self.remainder)) {
            if let (Some(metric), 1..) = (metric, count) {
                meter.increment(*metric, count);
            }
        }
    }
}

/// What is new, as the metrics count it.
fn take(tally: &Tally, remainder: &mut u64) -> [u64; PER_PAIR] {
    let mut counts = [0; PER_PAIR];
    let (plain, buckets) = counts.split_at_mut(NAMES.len());
    // Prometheus' histograms are cumulative.
    let mut until = 0_u64;
    for (bucket, count) in buckets.iter_mut().zip(&tally.latencies) {
        until = until.saturating_add(count.take());
        *bucket = until;
    }
    let micros = tally.latency_micros.take().saturating_add(*remainder);
    *remainder = micros % 1_000;
    plain.copy_from_slice(&[
        tally.assigned.take(),
        tally.completed.take(),
        tally.failed.take(),
        tally.aborted.take(),
        tally.late.take(),
        tally.dropped.take(),
        micros / 1_000,
        until,
    ]);
    counts
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
