//! Publish: the plan in force, and who waits for another. Decides nothing.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use weir_core::plan::{FORMAT, InvalidPlan, Plan, PlannedExperiment};

/// A plan and its JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// The plan's revision.
    pub(crate) revision: String,
    /// The plan as it is sent to filters.
    pub(crate) json: Vec<u8>,
    /// The same without secrets, where it has any.
    shown: Option<Vec<u8>>,
}

impl Published {
    /// The plan as it is sent to filters, or to others.
    pub(crate) fn json_for(&self, filter: bool) -> &[u8] {
        if filter { &self.json } else { self.shown.as_ref().unwrap_or(&self.json) }
    }
}

/// Makes a plan of its entries. The revision is a hash of them: the same plan has the same one after a restart, and another
/// plan never does, because ids are unique for ever and epochs only count up.
///
/// # Errors
/// When the entries exceed a limit of the wire format together.
pub(crate) fn make(experiments: Vec<PlannedExperiment>) -> Result<Published, InvalidPlan> {
    let unprintable = |error: serde_json::Error| InvalidPlan { path: ".".to_owned(), problem: error.to_string() };
    let mut hasher = SipHasher13::new();
    let secrets = experiments.iter().any(|experiment| experiment.secret.is_some());
    let without = |experiment: &PlannedExperiment| PlannedExperiment { secret: None, ..experiment.clone() };
    let shown: Vec<PlannedExperiment> = experiments.iter().map(without).collect();
    // A secret is its id's for ever: it makes no other plan.
    hasher.write(&serde_json::to_vec(&shown).map_err(unprintable)?);
    let revision = format!("{:032x}", hasher.finish128().as_u128());
    let plan = Plan { format: FORMAT, revision, experiments };
    plan.validate()?;
    let json = serde_json::to_vec(&plan).map_err(unprintable)?;
    let plan = Plan { experiments: shown, ..plan };
    let shown = if secrets { Some(serde_json::to_vec(&plan).map_err(unprintable)?) } else { None };
    Ok(Published { revision: plan.revision, json, shown })
}

/// The side that publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    current: watch::Sender<Arc<Published>>,
}

/// The side that waits.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    current: watch::Receiver<Arc<Published>>,
}

impl Publisher {
    /// Begins with a plan.
    pub(crate) fn new(first: Published) -> (Self, Subscriber) {
        let (sender, receiver) = watch::channel(Arc::new(first));
        (Self { current: sender }, Subscriber { current: receiver })
    }

    /// Replaces the plan and wakes everybody, if it is another. Says whether it was.
    pub(crate) fn publish(&self, next: Published) -> bool {
        self.current.send_if_modified(|current| {
            let changed = current.revision != next.revision;
            if changed {
                *current = Arc::new(next);
            }
            changed
        })
    }
}

impl Subscriber {
    /// The plan in force.
    #[cfg(test)]
    pub(crate) fn current(&self) -> Arc<Published> {
        Arc::clone(&self.current.borrow())
    }

    /// The plan, as soon as it is not the one of this revision; `None` when `wait` has passed first.
    pub(crate) async fn other_than(&self, revision: Option<&str>, wait: Duration) -> Option<Arc<Published>> {
        let mut current = self.current.clone();
        let other = current.wait_for(|plan| Some(plan.revision.as_str()) != revision);
        match tokio::time::timeout(wait, other).await {
            Ok(Ok(plan)) => Some(Arc::clone(&plan)),
            // Time is up, or the publisher is gone: there is no other plan.
            Ok(Err(_)) | Err(_) => None,
        }
    }
}
