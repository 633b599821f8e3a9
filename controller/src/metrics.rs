//! The controller's own metrics. Every label has few values, all of them known here: no name that a user chose, but for how experiments
//! stand (`standing`), where it is bounded.

use crate::ingest::Reason;
use crate::mirror::Claimed;
use crate::standing::Standings;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;

type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

/// The metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    reports: Labelled,
    refusals: Labelled,
    decisions: Labelled,
    requests: Labelled,
    claims: Labelled,
    /// Exposures that filters routed but could not record.
    pub(crate) dropped: Counter,
    /// Cells left out because they lie before the horizon of forgotten workers.
    pub(crate) before_horizon: Counter,
    /// Rewards that filters had no room to report.
    pub(crate) lost_claims: Counter,
    /// Rewards that counted and were credited to nothing.
    pub(crate) forgotten_claims: Counter,
    /// Rewards that wait for their bins to settle.
    pub(crate) waiting_claims: Gauge,
    /// Times that the plan became another.
    pub(crate) plans: Counter,
    /// Transactions that failed.
    pub(crate) ledger_failures: Counter,
    /// Assessments or decisions that came out wrong and were not carried out.
    pub(crate) steward_failures: Counter,
    /// Experiments that are not deleted.
    pub(crate) experiments: Gauge,
    /// Workers that reported lately.
    pub(crate) live_workers: Gauge,
    /// Unsettled cells.
    pub(crate) open_cells: Gauge,
    /// Seconds from a report's arrival to its acknowledgement.
    pub(crate) ingest_seconds: Histogram,
    /// Seconds of one commit.
    pub(crate) commit_seconds: Histogram,
    /// How each experiment stood at the last look.
    pub(crate) standings: Standings,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("weir");
        let mut metrics = Self {
            registry: Arc::default(),
            reports: Labelled::default(),
            refusals: Labelled::default(),
            decisions: Labelled::default(),
            requests: Labelled::default(),
            claims: Labelled::default(),
            dropped: Counter::default(),
            before_horizon: Counter::default(),
            lost_claims: Counter::default(),
            forgotten_claims: Counter::default(),
            waiting_claims: Gauge::default(),
            plans: Counter::default(),
            ledger_failures: Counter::default(),
            steward_failures: Counter::default(),
            experiments: Gauge::default(),
            live_workers: Gauge::default(),
            open_cells: Gauge::default(),
            ingest_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            standings: Standings::default(),
        };
        // What alerts ask the increase of is there from the start.
        for result in ["accepted", "duplicate", "refused"] {
            drop(metrics.reports.get_or_create(&[("result", result)]));
        }
        registry.register_collector(Box::new(metrics.standings.clone()));
        registry.register("reports", "Reports, by what became of them", metrics.reports.clone());
        registry.register("reports_refused", "Refused reports, by reason", metrics.refusals.clone());
        registry.register("decisions", "Decisions, by action", metrics.decisions.clone());
        registry.register("responses", "Responses, by class of status", metrics.requests.clone());
        registry.register(
            "dropped_exposures",
            "Exposures routed but not recorded: no room, or counts that were refused",
            metrics.dropped.clone(),
        );
        registry.register(
            "horizon_cells",
            "Cells before the horizon of forgotten workers",
            metrics.before_horizon.clone(),
        );
        registry.register("rewards", "Rewards that came with a token, by what became of them", metrics.claims.clone());
        for claimed in Claimed::ALL {
            drop(metrics.claims.get_or_create(&[("result", claimed.name())]));
        }
        registry.register("lost_rewards", "Rewards that filters had no room to report", metrics.lost_claims.clone());
        registry.register(
            "forgotten_rewards",
            "Rewards that counted and were credited to nothing: their exposures never settled, or do not count",
            metrics.forgotten_claims.clone(),
        );
        registry.register(
            "waiting_rewards",
            "Rewards that wait for their bins to settle",
            metrics.waiting_claims.clone(),
        );
        registry.register("plan_changes", "Times that the plan became another", metrics.plans.clone());
        registry.register("ledger_failures", "Transactions that failed", metrics.ledger_failures.clone());
        registry.register(
            "steward_failures",
            "Decisions that could not be carried out",
            metrics.steward_failures.clone(),
        );
        registry.register("experiments", "Experiments that are not deleted", metrics.experiments.clone());
        registry.register("live_workers", "Workers that reported lately", metrics.live_workers.clone());
        registry.register("open_cells", "Unsettled cells", metrics.open_cells.clone());
        registry.register("ingest_seconds", "From a report's arrival to its answer", metrics.ingest_seconds.clone());
        registry.register("commit_seconds", "Time of one commit", metrics.commit_seconds.clone());
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// A report has become part of the ledger, or was one already.
    pub(crate) fn report_accepted(&self, duplicate: bool) {
        let result = if duplicate { "duplicate" } else { "accepted" };
        self.reports.get_or_create(&[("result", result)]).inc();
    }

    /// A report is refused for what it says beside what is known.
    pub(crate) fn report_refused(&self, reason: Reason) {
        self.report_unusable(reason.name());
    }

    /// A report is refused as such: `reason` is one of few.
    pub(crate) fn report_unusable(&self, reason: &'static str) {
        self.reports.get_or_create(&[("result", "refused")]).inc();
        self.refusals.get_or_create(&[("reason", reason)]).inc();
    }

    /// A decision was made.
    pub(crate) fn decided(&self, action: &'static str) {
        self.decisions.get_or_create(&[("action", action)]).inc();
    }

    /// A reward came with a token.
    pub(crate) fn claimed(&self, claimed: Claimed) {
        self.claims.get_or_create(&[("result", claimed.name())]).inc();
    }

    /// A request was answered.
    pub(crate) fn answered(&self, status: u16) {
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&[("class", class)]).inc();
    }

    /// The OpenMetrics text.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
