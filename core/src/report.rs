//! The report: a numbered, frozen batch of one worker's counts. Wire format 1, JSON.
//!
//! Owns the types, their limits and their validation. A report is resent byte for byte until it is acknowledged; the
//! controller counts each (node, incarnation, sequence) once.

use crate::histogram::Histogram;
use crate::json::{self, Unreadable};
use crate::plan::{FORMAT, MAX_EXPERIMENTS, MAX_NAME};
use crate::reward::{Claim, LARGEST_REWARD, MAX_CLAIMS, MAX_TOKEN};
use serde::{Deserialize, Serialize};

/// Largest report, in bytes of JSON, that a controller accepts and a filter sends.
pub const MAX_REPORT_BYTES: usize = 1 << 20;
/// Most cells in one report.
pub const MAX_CELLS: usize = 16_384;
/// Largest count in one cell of one report: more is not traffic but a mistake.
pub const MAX_COUNT: u64 = 1 << 40;
/// Number of unit buckets of a sticky experiment; a bucket on the wire is below it.
pub const UNIT_BUCKETS: u16 = 16_384;

/// A numbered batch of one worker's counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The Envoy, as its bootstrap names it.
    pub node: String,
    /// One life of a worker's VM: 32 lower-case hexadecimal digits, random.
    pub incarnation: String,
    /// 1, 2, 3, … within the incarnation.
    pub sequence: u64,
    /// Revision of the plan the worker uses; empty before the first.
    pub plan: String,
    /// Whether the worker's plan is stale, so that running experiments go to the baseline unrecorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Assignments since the last report that were routed but not recorded: for want of room, or because an earlier report was refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Counts per experiment, each once.
    #[serde(default)]
    pub experiments: Vec<ReportedExperiment>,
    /// Rewards seen here of exposures that may be other workers'. Only of experiments that a later request rewards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// Claims that found no room here since the last report, or were in one that was refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_claims: u64,
}

/// One experiment's new counts, and how far they are final.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedExperiment {
    /// The plan's `id`.
    pub id: String,
    /// Bins that *begin* before this are final: no later report of this incarnation adds to them. Milliseconds of the
    /// worker's bin clock (Unix time when the VM began, monotone since); a multiple of the experiment's bin.
    pub watermark: u64,
    /// What was counted since the last report.
    pub cells: Vec<Cell>,
}

/// New counts of one (experiment, epoch, version, bin).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cell {
    /// Epoch of the plan that was used at the assignment.
    pub epoch: u32,
    /// The version's name.
    pub version: String,
    /// When the bin begins, on the worker's bin clock, in milliseconds: a multiple of the experiment's bin.
    pub bin: u64,
    /// The counts.
    pub counts: Counts,
}

/// What exposures showed. Adding two is merging them.
///
/// In a settled cell every exposure has ended one way: `assigned = completed + aborted + overdue`, and
/// `failed ≤ completed`. While requests are in flight, and in one report's increments, `assigned` may run ahead or behind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// Exposures started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub assigned: u64,
    /// Ended by the deadline with an outcome, good or bad.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub completed: u64,
    /// Of the completed, those that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Ended by the client by the deadline: no outcome, not the version's fault.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub aborted: u64,
    /// Latencies of the completed that did not fail.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub latency: Histogram,
    /// Sum of those latencies, in seconds.
    #[serde(default, skip_serializing_if = "is_zero_sum")]
    pub latency_sum: f64,
    /// Sum of their squares, in seconds squared.
    #[serde(default, skip_serializing_if = "is_zero_sum")]
    pub latency_sum_squares: f64,
    /// Ages of the aborted when the client left.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub abort_age: Histogram,
    /// Exposures with a reward other than zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rewarded: u64,
    /// Sum of rewards.
    #[serde(default, skip_serializing_if = "is_zero_sum")]
    pub reward_sum: f64,
    /// Sum of squared rewards.
    #[serde(default, skip_serializing_if = "is_zero_sum")]
    pub reward_sum_squares: f64,
    /// Units that received their first generated cookie.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub new_units: u64,
    /// Exposures that no reward can come of, since their unit kept the token of an earlier one: where a later request rewards, the
    /// others are the opportunities of a reward.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: u64,
    /// Unit buckets that showed a bad event (a failure, or an exposure overdue), sorted, each once. As the other two: only of
    /// sticky experiments, and only what is new since the last report of this cell, which may repeat a bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_buckets: Vec<u16>,
    /// Unit buckets that showed a slow exposure (a latency, or a client's patience, of the version's `slowUs` or more; a
    /// failure; an exposure overdue), sorted, each once. None unless the plan's version has `slowUs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slow_buckets: Vec<u16>,
    /// Unit buckets that showed a reward other than zero, sorted, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewarded_buckets: Vec<u16>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero_sum(sum: &f64) -> bool {
    *sum == 0.0
}

impl Counts {
    /// Adds another cell's counts. Saturates.
    pub fn merge(&mut self, other: &Self) {
        self.assigned = self.assigned.saturating_add(other.assigned);
        self.completed = self.completed.saturating_add(other.completed);
        self.failed = self.failed.saturating_add(other.failed);
        self.aborted = self.aborted.saturating_add(other.aborted);
        self.latency.merge(&other.latency);
        self.latency_sum += other.latency_sum;
        self.latency_sum_squares += other.latency_sum_squares;
        self.abort_age.merge(&other.abort_age);
        self.rewarded = self.rewarded.saturating_add(other.rewarded);
        self.reward_sum += other.reward_sum;
        self.reward_sum_squares += other.reward_sum_squares;
        self.new_units = self.new_units.saturating_add(other.new_units);
        self.repeats = self.repeats.saturating_add(other.repeats);
        merge_buckets(&mut self.failed_buckets, &other.failed_buckets);
        merge_buckets(&mut self.slow_buckets, &other.slow_buckets);
        merge_buckets(&mut self.rewarded_buckets, &other.rewarded_buckets);
    }

    /// In a **settled** cell, the exposures that did not end by the deadline: bad events. Elsewhere, those in flight.
    #[must_use]
    pub const fn overdue(&self) -> u64 {
        self.assigned.saturating_sub(self.completed.saturating_add(self.aborted))
    }

    /// In a **settled** cell, the bad events: failures and overdue exposures.
    #[must_use]
    pub const fn bad(&self) -> u64 {
        self.failed.saturating_add(self.overdue())
    }

    /// Whether a **settled** cell's counts contradict each other: more of something than exposures. Evidence must not use it.
    #[must_use]
    pub const fn is_contradictory(&self) -> bool {
        self.completed.saturating_add(self.aborted) > self.assigned
            || self.failed > self.completed
            || self.rewarded > self.assigned
            || self.new_units > self.assigned
            || self.repeats > self.assigned
    }
}

/// Adds a unit bucket to a set of them.
pub(crate) fn add_bucket(into: &mut Vec<u16>, bucket: u16) {
    if let Err(at) = into.binary_search(&bucket) {
        into.insert(at, bucket);
    }
}

/// Adds a set of unit buckets to another, in time linear in both.
pub(crate) fn merge_buckets(into: &mut Vec<u16>, from: &[u16]) {
    if from.is_empty() {
        return;
    }
    let mut merged = Vec::with_capacity(into.len().saturating_add(from.len()));
    let (mut old, mut new) = (into.iter().copied().peekable(), from.iter().copied().peekable());
    loop {
        let next = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) => (*a).min(*b),
            (Some(only), None) | (None, Some(only)) => *only,
            (None, None) => break,
        };
        old.next_if_eq(&next);
        new.next_if_eq(&next);
        merged.push(next);
    }
    *into = merged;
}

/// The controller's answer to a report that it has made durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// The report's sequence.
    pub acknowledged: u64,
    /// When to send the next, in milliseconds; stretched when the fleet is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Experiments whose counts were not wanted any more (deleted or concluded), by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// What is wrong with a report, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidReport {
    /// As in `experiments[0].cells[3].counts.failed`.
    pub path: String,
    /// What is wrong and what is asked for.
    pub problem: String,
}

impl Report {
    /// Reads and validates a report.
    ///
    /// # Errors
    /// [`InvalidReport`] for the first thing that is wrong: too large, not JSON, a negative count, a limit exceeded.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidReport> {
        let invalid = |path: &str, problem: String| InvalidReport { path: path.to_owned(), problem };
        if bytes.len() > MAX_REPORT_BYTES {
            return Err(invalid(".", format!("{} bytes; at most {MAX_REPORT_BYTES}", bytes.len())));
        }
        let report: Self =
            json::read_exactly(bytes).map_err(|Unreadable { path, problem }| InvalidReport { path, problem })?;
        report.validate()?;
        Ok(report)
    }

    /// Checks every limit of this module that needs no knowledge of the experiments.
    ///
    /// # Errors
    /// [`InvalidReport`] for the first limit exceeded.
    pub fn validate(&self) -> Result<(), InvalidReport> {
        let check = |holds: bool, path: &str, problem: &str| {
            if holds { Ok(()) } else { Err(InvalidReport { path: path.to_owned(), problem: problem.to_owned() }) }
        };
        let token = |text: &str, most: usize| text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic());
        check(self.format == FORMAT, "format", "this controller speaks format 1")?;
        check(!self.node.is_empty() && token(&self.node, 256), "node", "must be 1 to 256 visible ASCII characters")?;
        check(
            self.incarnation.len() == 32
                && self.incarnation.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
            "incarnation",
            "must be 32 lower-case hexadecimal digits",
        )?;
        check((1..=u64::from(u32::MAX)).contains(&self.sequence), "sequence", "must be within 1 to 2^32 - 1")?;
        check(token(&self.plan, 64), "plan", "must be at most 64 visible ASCII characters")?;
        check(self.dropped <= MAX_COUNT, "dropped", "is more than 2^40")?;
        check(self.experiments.len() <= MAX_EXPERIMENTS, "experiments", "has more than 1000 entries")?;
        let cells: usize = self.experiments.iter().map(|experiment| experiment.cells.len()).sum();
        check(cells <= MAX_CELLS, "experiments", "has more than 16384 cells in all")?;
        let mut ids = std::collections::BTreeSet::new();
        for (at, experiment) in self.experiments.iter().enumerate() {
            let path = |field: &str| format!("experiments[{at}].{field}");
            check(!experiment.id.is_empty() && token(&experiment.id, MAX_NAME), &path("id"), "is not an id")?;
            check(ids.insert(&experiment.id), &path("id"), "is there twice")?;
            check(experiment.watermark < 1 << 53, &path("watermark"), "is not a time")?;
            for (index, cell) in experiment.cells.iter().enumerate() {
                cell.validate().map_err(|(field, problem)| InvalidReport {
                    path: path(&format!("cells[{index}].{field}")),
                    problem: problem.to_owned(),
                })?;
            }
        }
        check(self.lost_claims <= MAX_COUNT, "lostClaims", "is more than 2^40")?;
        check(self.claims.len() <= MAX_CLAIMS, "claims", "has more than 1024 entries")?;
        for (at, claim) in self.claims.iter().enumerate() {
            let path = |field: &str| format!("claims[{at}].{field}");
            let reward = claim.reward;
            check(token(&claim.experiment, MAX_NAME), &path("experiment"), "is not an id")?;
            check(token(&claim.assignment, MAX_TOKEN), &path("assignment"), "is not a token")?;
            check(reward != 0.0 && reward.abs() <= LARGEST_REWARD, &path("reward"), "must be within 1e15, not zero")?;
        }
        Ok(())
    }
}

impl Cell {
    fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        let check = |holds: bool, field, problem| if holds { Ok(()) } else { Err((field, problem)) };
        let counts = &self.counts;
        check(self.epoch >= 1, "epoch", "epochs count from 1")?;
        check(!self.version.is_empty() && self.version.len() <= MAX_NAME, "version", "is not a version's name")?;
        check(self.bin < 1 << 53, "bin", "is not a time")?;
        for (field, count) in [
            ("counts.assigned", counts.assigned),
            ("counts.completed", counts.completed),
            ("counts.failed", counts.failed),
            ("counts.aborted", counts.aborted),
            ("counts.rewarded", counts.rewarded),
            ("counts.newUnits", counts.new_units),
            ("counts.repeats", counts.repeats),
            ("counts.latency", counts.latency.total()),
            ("counts.abortAge", counts.abort_age.total()),
        ] {
            check(count <= MAX_COUNT, field, "is more than 2^40")?;
        }
        check(counts.failed <= counts.completed, "counts.failed", "is more than completed")?;
        check(counts.new_units <= counts.assigned, "counts.newUnits", "is more than assigned")?;
        check(counts.repeats <= counts.assigned, "counts.repeats", "is more than assigned")?;
        check(counts.latency.is_canonical(), "counts.latency", "must be sorted, non-empty, known buckets")?;
        check(counts.abort_age.is_canonical(), "counts.abortAge", "must be sorted, non-empty, known buckets")?;
        check(
            counts.latency.total() == counts.completed.saturating_sub(counts.failed),
            "counts.latency",
            "must count every completed exposure that did not fail",
        )?;
        check(counts.abort_age.total() == counts.aborted, "counts.abortAge", "must count every aborted exposure")?;
        for (field, sum) in [
            ("counts.latencySum", counts.latency_sum),
            ("counts.latencySumSquares", counts.latency_sum_squares),
            ("counts.rewardSumSquares", counts.reward_sum_squares),
        ] {
            check(sum.is_finite() && sum >= 0.0, field, "must be a finite number, not negative")?;
        }
        check(counts.reward_sum.is_finite(), "counts.rewardSum", "must be a finite number")?;
        for (field, buckets) in [
            ("counts.failedBuckets", &counts.failed_buckets),
            ("counts.slowBuckets", &counts.slow_buckets),
            ("counts.rewardedBuckets", &counts.rewarded_buckets),
        ] {
            check(
                buckets.is_sorted_by(|a, b| a < b) && buckets.last().is_none_or(|last| *last < UNIT_BUCKETS),
                field,
                "must be sorted, each once, below 16384",
            )?;
        }
        Ok(())
    }
}
