//! Envoy's own stats, one set per VM: what `weir_core::stats` counts, defined and added to by host calls.
//!
//! Everything is told in ticks: no request pays a host call for it, and a throw-away VM defines nothing.

use crate::abi::{self, Metric};
use std::cell::RefCell;
use weir_core::exchange::Exchange;
use weir_core::matching::Compiled;
use weir_core::recorder::Recorder;
use weir_core::stats::{Kind, Meter, Stats};

thread_local! {
    static STATS: RefCell<Stats> = RefCell::new(Stats::default());
    /// Of what no controller is told: a static plan's.
    static UNREPORTED: RefCell<Recorder> = RefCell::new(Recorder::only_tallies());
}

/// Envoy's metrics.
struct Metrics;

impl Meter for Metrics {
    fn define(&mut self, kind: Kind, name: &str) -> Option<u32> {
        let kind = match kind {
            Kind::Counter => Metric::Counter,
            Kind::Gauge => Metric::Gauge,
        };
        abi::define_metric(kind, name)
    }

    fn increment(&mut self, metric: u32, by: u64) {
        abi::increment_metric(metric, i64::try_from(by).unwrap_or(i64::MAX));
    }

    fn record(&mut self, metric: u32, value: u64) {
        abi::record_metric(metric, value);
    }
}

/// A plan is in force from now on.
pub(crate) fn adopt(plan: &Compiled) {
    STATS.with(|stats| {
        if let Ok(mut stats) = stats.try_borrow_mut() {
            stats.adopt(plan);
        }
    });
}

/// Lends the recorder of what no controller is told.
pub(crate) fn with_unreported<T>(act: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
    UNREPORTED.with(|recorder| recorder.try_borrow_mut().ok().map(|mut recorder| act(&mut recorder)))
}

/// Tells Envoy what has changed: with an exchange how it does, without one which static plan is in force.
pub(crate) fn on_tick(exchange: Option<&mut Exchange>, revision: Option<&str>) {
    STATS.with(|stats| {
        let Ok(mut stats) = stats.try_borrow_mut() else { return };
        let now = abi::monotonic_nanos();
        match (exchange, revision) {
            (Some(exchange), _) => stats.exchange(&mut Metrics, &exchange.standing(now)),
            (None, Some(revision)) => stats.revision(&mut Metrics, revision),
            (None, None) => {}
        }
        stats.on_tick(&mut Metrics, now);
    });
}
