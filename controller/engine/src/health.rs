//! What is known of telemetry at a look. An input of a decision, beside the counts: lost telemetry is never evidence, so
//! whatever is wrong here holds the weights and is said, and neither advances nor rolls back.

use serde::{Deserialize, Serialize};

/// Without any report for so many milliseconds nothing is known of what happens now.
pub const QUIET_MS: u64 = 30_000;
/// A clock that steps by so many milliseconds spoils bins and durations.
pub const STEP_MS: u64 = 5_000;
/// A worker that fell silent matters for so many milliseconds; then it is taken for gone (scaled down), and others speak.
pub const SILENCE_MS: u64 = 600_000;
/// Of so many workers one may be silent, stale or behind without holding the weights.
const ONE_OF: u64 = 10;

/// What is known of telemetry. The default is that nothing is known to be wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Workers that report.
    pub live: u64,
    /// Workers that stopped reporting within the last [`SILENCE_MS`] while bins of this experiment were open: what they had not
    /// settled is left out whole.
    pub silent: u64,
    /// Live workers that say that their plan is stale: they send everything to the baseline, unrecorded.
    pub stale: u64,
    /// Live workers that still use another plan than the one in force, longer than a new plan takes to arrive.
    pub behind: u64,
    /// Milliseconds since the newest report of any worker; `None` where that is not known.
    pub newest_report_ms: Option<u64>,
    /// Exposures that workers lately routed but did not record: for want of room, or because a report was refused and with it what was not final.
    pub dropped: u64,
    /// The largest step of a clock (the controller's, or a worker's against it) seen lately, in milliseconds, either way.
    pub clock_step_ms: u64,
}

impl Health {
    /// What is wrong, a sentence each; empty when weights may move.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let all = self.live.saturating_add(self.silent);
        // A fleet always has somebody coming and going; a tenth of it does not.
        let many = |some: u64, of: u64| some > 0 && some.saturating_mul(ONE_OF) >= of;
        if let Some(age) = self.newest_report_ms.filter(|age| *age >= QUIET_MS) {
            faults.push(format!("no proxy has reported for {} s", age / 1_000));
        }
        if many(self.silent, all) {
            faults.push(format!("{} of {all} workers fell silent with unfinished counts", self.silent));
        }
        if many(self.stale, self.live) {
            faults.push(format!(
                "{} of {} workers have a stale plan and send everything to the baseline",
                self.stale, self.live
            ));
        }
        if many(self.behind, self.live) {
            faults.push(format!("{} of {} workers still use an older plan", self.behind, self.live));
        }
        if self.dropped > 0 {
            faults.push(format!(
                "{} exposures were not recorded lately (a worker had no room, or its counts were refused)",
                self.dropped
            ));
        }
        if self.clock_stepped() {
            faults.push(format!("a clock stepped by {} s", self.clock_step_ms / 1_000));
        }
        faults
    }

    /// Whether time itself cannot be trusted: then nothing ends for want of time either.
    #[must_use]
    pub const fn clock_stepped(&self) -> bool {
        self.clock_step_ms >= STEP_MS
    }
}
