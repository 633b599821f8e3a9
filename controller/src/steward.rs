//! The steward: at every decision interval, has each experiment assessed and decided by the engine, and hands the outcome to
//! the keeper, which stores and publishes it. Keeps nothing of its own.

use crate::clock::Clock;
use crate::keeper::{Command, Handle, Judged, KeeperError, Snapshot};
use crate::metrics::Metrics;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use weir_engine::assess::assess;
use weir_engine::decide::decide;

/// Judges until `stop` says so.
pub(crate) async fn run(
    keeper: Handle,
    clock: Clock,
    metrics: Metrics,
    interval: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = round(&keeper, &clock, &metrics).await {
            tracing::error!(%error, "no decision could be made; the plan stays as it is");
        }
    }
}

/// One decision interval.
pub(crate) async fn round(keeper: &Handle, clock: &Clock, metrics: &Metrics) -> Result<(), KeeperError> {
    let snapshots = keeper.ask(Command::Snapshot).await?;
    let (now, metrics) = (clock.now(), metrics.clone());
    // The engine computes for milliseconds: not on a thread that serves requests.
    let judging = tokio::task::spawn_blocking(move || {
        let judge = |snapshot| judge(snapshot, now, &metrics);
        snapshots.into_iter().filter_map(judge).collect::<Vec<Judged>>()
    });
    let Ok(judged) = judging.await else { return Err(KeeperError::Gone) };
    if judged.is_empty() {
        return Ok(());
    }
    keeper.ask(|reply| Command::Decide(judged, reply)).await
}

/// What the engine says of one experiment; nothing if it fails, so that the others go on.
fn judge(snapshot: Snapshot, now: u64, metrics: &Metrics) -> Option<Judged> {
    let Snapshot { id, generation, spec, state, observations, assessment } = snapshot;
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let assessment = assessment.unwrap_or_else(|| Arc::new(assess(&spec, &state, &observations)));
        let decision = state.is_running().then(|| decide(&spec, &state, &assessment, now));
        (assessment, decision)
    }));
    match judged {
        Ok((assessment, decision)) => Some(Judged { id, generation, assessment, decision }),
        Err(_) => {
            metrics.steward_failures.inc();
            tracing::error!(experiment = id, "the engine failed on this experiment; its weights stay");
            None
        }
    }
}
