//! What is known of a proxy's worker: its unsettled counts, and what its last report said of itself.

use crate::ledger::WorkerBody;
use std::collections::BTreeMap;

pub(crate) use weir_engine::health::LIVE_MS;

/// A worker's node and incarnation.
pub(crate) type WorkerKey = (String, String);

/// One incarnation of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Worker {
    pub(crate) last_sequence: u64,
    pub(crate) last_seen: u64,
    pub(crate) body: WorkerBody,
    /// What its last report said of itself; not in the ledger, for its next report says it again.
    pub(crate) said: Said,
}

/// What a worker's last report says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// The revision of its plan; empty if it has not reported since this was loaded.
    pub(crate) plan: String,
    /// Whether that is stale.
    pub(crate) stale: bool,
    /// Milliseconds between its last two reports; 0 where that is not known.
    pub(crate) gap: u64,
    /// By experiment id: what its last report with counts of that says of its clock.
    pub(crate) clocks: BTreeMap<String, ClockSaid>,
    /// Until when it may still be sending what it could not send before: old counts then say nothing of its clock.
    pub(crate) catching_up_until: u64,
}

/// What a report says of a worker's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockSaid {
    /// When it came, in Unix milliseconds.
    pub(crate) at: u64,
    /// By how many milliseconds, at least, the worker's clock is off, either way.
    pub(crate) off: u64,
}

impl Worker {
    /// How many unsettled cells it has.
    pub(crate) fn cells(&self) -> usize {
        self.body.experiments.values().map(|open| open.cells.len()).sum()
    }

    pub(crate) fn is_live(&self, now: u64) -> bool {
        now.saturating_sub(self.last_seen) < LIVE_MS
    }
}
