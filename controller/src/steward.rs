//! The steward: at every decision interval, has each experiment assessed and decided by the engine, and hands the outcome to
//! the keeper, which stores and publishes it. Keeps nothing of its own.

use crate::clock::Clock;
use crate::keeper::{Command, Handle, Judged, KeeperError, Snapshot};
use crate::metrics::Metrics;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use weir_engine::assess::{Assessor, Depth};
use weir_engine::decide::decide;
use weir_engine::health::Health;

/// What is remembered between looks, per experiment: nothing that a look could not find out again.
type Assessors = Arc<Mutex<BTreeMap<String, Assessor>>>;

/// Judges until `stop` says so.
pub(crate) async fn run(
    keeper: Handle,
    clock: Clock,
    metrics: Metrics,
    interval: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let assessors = Assessors::default();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = round(&keeper, &clock, &metrics, &assessors).await {
            tracing::error!(%error, "no decision could be made; the plan stays as it is");
        }
    }
}

/// One decision interval.
async fn round(keeper: &Handle, clock: &Clock, metrics: &Metrics, assessors: &Assessors) -> Result<(), KeeperError> {
    let snapshots = keeper.ask(Command::Snapshot).await?;
    let (now, metrics, assessors) = (clock.now(), metrics.clone(), Arc::clone(assessors));
    // The engine computes for milliseconds: not on a thread that serves requests.
    let judging = tokio::task::spawn_blocking(move || {
        let mut assessors = assessors.lock().unwrap_or_else(PoisonError::into_inner);
        assessors.retain(|id, _| snapshots.iter().any(|snapshot| snapshot.id == *id));
        let judge = |snapshot: Snapshot| {
            let assessor = assessors.remove(&snapshot.id).unwrap_or_default();
            let id = snapshot.id.clone();
            let (judged, assessor) = judge(snapshot, assessor, now, &metrics)?;
            assessors.insert(id, assessor);
            Some(judged)
        };
        snapshots.into_iter().filter_map(judge).collect::<Vec<Judged>>()
    });
    let Ok(judged) = judging.await else { return Err(KeeperError::Gone) };
    if judged.is_empty() {
        return Ok(());
    }
    keeper.ask(|reply| Command::Decide(judged, reply)).await
}

/// What the engine says of one experiment; nothing if it fails, so that the others go on.
fn judge(snapshot: Snapshot, mut assessor: Assessor, now: u64, metrics: &Metrics) -> Option<(Judged, Assessor)> {
    let Snapshot { id, generation, spec, state, observations, assessment } = snapshot;
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let assessment =
            assessment.unwrap_or_else(|| Arc::new(assessor.assess(&spec, &state, &observations, Depth::Complete)));
        let decision = (!state.is_concluded()).then(|| decide(&spec, &state, &assessment, &Health::default(), now));
        (assessment, decision, assessor)
    }));
    match judged {
        Ok((assessment, decision, assessor)) => Some((Judged { id, generation, assessment, decision }, assessor)),
        Err(_) => {
            metrics.steward_failures.inc();
            tracing::error!(experiment = id, "the engine failed on this experiment; its weights stay");
            None
        }
    }
}
