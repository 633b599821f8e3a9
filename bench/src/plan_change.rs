//! How long a new plan takes to reach every worker: from the moment the controller's endpoint has it until a request on
//! each worker is routed by it.
//!
//! The endpoint is the test harness's, so the time that a controller needs to decide is not in it.

use crate::results::{Spread, heading, quantile, table};
use anyhow::ensure;
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, Instant};
use weir_tests::envoy::CONTROLLER;
use weir_tests::wait::PATIENCE;
use weir_tests::{Client, Envoy, FakeController, Upstream, plans};

/// The outcome, in milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanChange {
    workers: u32,
    changes: u32,
    first_worker_millis: Spread,
    every_worker_millis: Spread,
    every_worker_p95_millis: f64,
}

const WORKERS: u32 = 4;

/// Measures.
pub(crate) async fn measure(changes: u32) -> anyhow::Result<PlanChange> {
    heading("From a plan change to every worker using it");
    let upstream = Upstream::start("v1").await;
    let controller = FakeController::start(plan("change-0")).await;
    let envoy = Envoy::builder()
        .concurrency(WORKERS)
        .version(&upstream)
        .controller(controller.address())
        .plugin(&json!({"controller": {"cluster": CONTROLLER}}))
        .start()
        .await;
    let mut workers = envoy.workers_with_plan("change-0").await;
    let (mut first, mut every) = (Vec::new(), Vec::new());
    for change in 1..=changes {
        let revision = format!("change-{change}");
        // Real plans change seconds apart, so that the poll is held again: well over the filter's tick, in no step with it.
        tokio::time::sleep(Duration::from_millis(250 + u64::from(change * 37 % 100))).await;
        let begin = Instant::now();
        controller.publish(plan(&revision));
        let mut times = Vec::new();
        for worker in &mut workers {
            // One after the other: each look costs less than half a millisecond, and one that comes late finds the plan.
            while !uses(worker, &revision).await {
                ensure!(begin.elapsed() < PATIENCE, "a worker never used plan {revision}:\n{}", envoy.log());
            }
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        first.extend(times.first());
        every.extend(times.last());
    }
    every.sort_by(f64::total_cmp);
    let result = PlanChange {
        workers: WORKERS,
        changes,
        first_worker_millis: Spread::of(first),
        every_worker_millis: Spread::of(every.iter().copied()),
        every_worker_p95_millis: quantile(&every, 0.95),
    };
    result.show();
    Ok(result)
}

fn plan(revision: &str) -> weir_core::plan::Plan {
    plans::plan(revision, vec![plans::experiment("checkout", &crate::variants::VERSIONS)])
}

async fn uses(worker: &mut Client, revision: &str) -> bool {
    let reply = worker.get("/echo", &[("host", plans::MARKER_HOST)]).await;
    let marker = format!("{}: {revision}", plans::MARKER_HEADER);
    reply.text().lines().any(|line| line == marker)
}

impl PlanChange {
    fn show(&self) {
        println!("{} changes, {} workers; median (smallest–largest), in milliseconds\n", self.changes, self.workers);
        table(&[
            vec!["the first worker looked at".to_owned(), self.first_worker_millis.show(2)],
            vec!["every worker".to_owned(), self.every_worker_millis.show(2)],
            vec!["every worker, 95% of changes".to_owned(), format!("{:.2}", self.every_worker_p95_millis)],
        ]);
    }
}
