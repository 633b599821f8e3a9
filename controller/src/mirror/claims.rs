//! Rewards that came with a token: each is credited once, to the cell of the exposure that earned it, when that settles.
//!
//! A claim waits here until the worker that recorded its exposure says that the bin is final; only then it joins the settled
//! counts, so that a bin's rewards and exposures settle together and a decision can be replayed from either. While it waits, the
//! exposure's random number is remembered, so a token counts once, whoever sends it and however often; afterwards the bin is
//! final and every claim on it comes too late.

use super::{FORGET_MS, Live, MAX_AHEAD_MS, Mirror, Worker};
use crate::ledger::{ClaimRow, ClaimWrite, Ledger, LedgerError};
use std::collections::BTreeMap;
use weir_core::report::Counts;
use weir_core::token::{Secret, Token};

/// Most claims that wait: some 100 MB.
pub(crate) const MAX_WAITING: usize = if cfg!(test) { 2_000 } else { 1_000_000 };
/// After the deadline a worker's watermark may lag by so much at most, in milliseconds: clocks differ, reports are delayed.
const LAG_MS: u64 = 3_600_000;

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// Its exposure is rewarded.
    Counted,
    /// It was already.
    Duplicate,
    /// Its bin has settled, rewarded or not.
    Late,
    /// Nothing is known of its cell.
    Unknown,
    /// It is no token of this experiment, or of a time that has not come.
    Invalid,
    /// More than is bearable wait already.
    Full,
}

impl Claimed {
    pub(crate) const ALL: [Self; 6] =
        [Self::Counted, Self::Duplicate, Self::Late, Self::Unknown, Self::Invalid, Self::Full];

    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::Full => "full",
        }
    }
}

/// Claims that wait for their bins to settle.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By incarnation of the worker that recorded the exposure, and experiment.
    waiting: BTreeMap<u128, BTreeMap<String, Waiting>>,
    count: usize,
    /// How many were counted and then credited to nothing, since somebody asked.
    forgotten: u64,
    /// What is to be written to the ledger, in this order.
    pub(super) writes: Vec<ClaimWrite>,
}

/// What was claimed of one worker's exposures in one experiment.
#[derive(Debug, Default)]
struct Waiting {
    /// By bin and exposure.
    bins: BTreeMap<u64, BTreeMap<u64, Earned>>,
    /// The sums of all of it by epoch and version: what is shown at every look, however many wait.
    sums: BTreeMap<(u32, usize), Sums>,
}

/// What one exposure earned.
#[derive(Debug, Clone, Copy)]
struct Earned {
    epoch: u32,
    version: usize,
    bucket: Option<u16>,
    reward: f64,
}

/// What several did.
#[derive(Debug, Default)]
struct Sums {
    rewarded: u64,
    reward: f64,
    squares: f64,
}

impl Waiting {
    fn add(&mut self, bin: u64, nonce: u64, earned: Earned) -> bool {
        let std::collections::btree_map::Entry::Vacant(free) = self.bins.entry(bin).or_default().entry(nonce) else {
            return false;
        };
        free.insert(earned);
        let sums = self.sums.entry((earned.epoch, earned.version)).or_default();
        sums.rewarded += 1;
        sums.reward += earned.reward;
        sums.squares += earned.reward * earned.reward;
        true
    }

    /// Takes what waited for bins that begin before `before`, oldest first.
    fn take(&mut self, before: u64) -> Vec<Earned> {
        let later = self.bins.split_off(&before);
        let bins = std::mem::replace(&mut self.bins, later);
        let taken: Vec<Earned> = bins.into_values().flat_map(BTreeMap::into_values).collect();
        for earned in &taken {
            let cell = (earned.epoch, earned.version);
            let Some(sums) = self.sums.get_mut(&cell) else { continue };
            sums.rewarded = sums.rewarded.saturating_sub(1);
            sums.reward -= earned.reward;
            sums.squares -= earned.reward * earned.reward;
            // Nothing remains of what was rounded on the way.
            if sums.rewarded == 0 {
                self.sums.remove(&cell);
            }
        }
        taken
    }
}

impl Claims {
    /// Adds a claim. Whether it is new.
    pub(super) fn add(&mut self, row: &ClaimRow) -> bool {
        let of_worker = self.waiting.entry(row.incarnation).or_default();
        let &ClaimRow { epoch, version, bucket, reward, .. } = row;
        let earned = Earned { epoch, version, bucket, reward };
        let new = of_worker.entry(row.experiment.clone()).or_default().add(row.bin, row.nonce, earned);
        self.count += usize::from(new);
        new
    }

    fn has(&self, experiment: &str, token: &Token) -> bool {
        let of_worker = self.waiting.get(&token.incarnation).and_then(|of_worker| of_worker.get(experiment));
        of_worker
            .and_then(|waiting| waiting.bins.get(&token.bin))
            .is_some_and(|exposures| exposures.contains_key(&token.nonce))
    }

    /// Takes what waited for bins that begin before `before`, oldest first.
    fn take(&mut self, incarnation: u128, experiment: &str, before: u64) -> Vec<Earned> {
        let Some(of_worker) = self.waiting.get_mut(&incarnation) else { return Vec::new() };
        let Some(waiting) = of_worker.get_mut(experiment) else { return Vec::new() };
        let earned = waiting.take(before);
        self.count = self.count.saturating_sub(earned.len());
        if waiting.bins.is_empty() {
            of_worker.remove(experiment);
        }
        if of_worker.is_empty() {
            self.waiting.remove(&incarnation);
        }
        if !earned.is_empty() {
            self.writes.push(ClaimWrite::Settle { incarnation, experiment: experiment.to_owned(), before });
        }
        earned
    }

    /// Forgets what waits for bins before a time, where experiment and incarnation are as said.
    fn drop_before(&mut self, before: u64, which: impl Fn(&str, u128) -> bool) {
        let mut dropped = Vec::new();
        for (worker, of_worker) in &self.waiting {
            dropped.extend(of_worker.keys().filter(|id| which(id, *worker)).map(|id| (*worker, id.clone())));
        }
        let waited = self.count;
        for (worker, id) in dropped {
            self.take(worker, &id, before);
        }
        self.forgot(waited.saturating_sub(self.count));
    }

    fn forgot(&mut self, rewards: usize) {
        self.forgotten = self.forgotten.saturating_add(u64::try_from(rewards).unwrap_or(u64::MAX));
    }

    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.count
    }
}

impl Mirror {
    /// What makes an experiment's tokens: from the ledger's secret and the id, so that it is the same after a restart and no
    /// experiment's tokens are another's.
    pub(crate) fn secret(&self, id: &str) -> Secret {
        use siphasher::sip128::{Hasher128, SipHasher24};
        use std::hash::Hasher;
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(b"token\0");
        hasher.write(id.as_bytes());
        Secret::new(hasher.finish128().as_bytes())
    }

    /// Rewards the exposure of a token of an experiment.
    pub(crate) fn claim(&mut self, id: &str, text: &str, reward: f64, now: u64) -> Claimed {
        let Some(live) = self.experiments.get(id) else { return Claimed::Unknown };
        let by_token = live.spec.reward.as_ref().is_some_and(|reward| reward.source.needs_token());
        let token = Token::read(text.as_bytes(), &self.secret(id)).filter(|_| by_token);
        let Some(token) = token else { return Claimed::Invalid };
        let version = usize::from(token.version);
        let published = live.state.epoch().map_or(0, |epoch| epoch.epoch);
        if version >= live.spec.versions.len() || !(1..=published).contains(&token.epoch) {
            return Claimed::Unknown;
        }
        // Its report would be refused, and it would wait for ever.
        if token.bin > now.saturating_add(MAX_AHEAD_MS) {
            return Claimed::Invalid;
        }
        // A worker that is known says itself what is final, however far its clock is off.
        let worker = self.worker_of(token.incarnation);
        let over = worker.map_or_else(
            || token.bin < self.horizon || is_over(live, token.bin, now),
            |worker| token.bin < settled_before(worker, id),
        );
        if over {
            return Claimed::Late;
        }
        if self.claims.has(id, &token) {
            return Claimed::Duplicate;
        }
        if self.claims.len() >= MAX_WAITING {
            return Claimed::Full;
        }
        let row = ClaimRow {
            experiment: id.to_owned(),
            incarnation: token.incarnation,
            bin: token.bin,
            nonce: token.nonce,
            epoch: token.epoch,
            version,
            bucket: token.bucket,
            reward,
        };
        self.claims.add(&row);
        self.claims.writes.push(ClaimWrite::Put(row));
        if let Some(live) = self.experiments.get_mut(id) {
            live.stirred = true;
        }
        Claimed::Counted
    }

    /// The worker of an incarnation, if known. One that is not will be told to ignore bins before the horizon.
    fn worker_of(&self, incarnation: u128) -> Option<&Worker> {
        let incarnation = format!("{incarnation:032x}");
        let node = self.nodes.get(&incarnation)?.clone();
        self.workers.get(&(node, incarnation))
    }

    /// Adds to the settled counts what waited for bins that a worker now calls final.
    pub(super) fn settle_claims(&mut self, incarnation: &str, watermarks: &[(String, u64)]) {
        let Some(incarnation) = weir_core::token::number_from_hex(incarnation) else { return };
        for (id, watermark) in watermarks {
            let earned = self.claims.take(incarnation, id, *watermark);
            let Some(live) = self.experiments.get_mut(id).filter(|_| !earned.is_empty()) else { continue };
            let mut cells = BTreeMap::<(u32, usize), Counts>::new();
            let mut forgotten = 0;
            for Earned { epoch, version, bucket, reward } in earned {
                let cell = cells.entry((epoch, version)).or_default();
                // Exposures that a token names are counted by the worker that made it, unless it was told to ignore them: what is more
                // than could be rewarded is left out, the latest first, and the rest counts.
                let left = live.settled(epoch, version).map_or(0, opportunities_left);
                if cell.rewarded >= left {
                    forgotten += 1;
                    continue;
                }
                cell.rewarded += 1;
                cell.reward_sum += reward;
                cell.reward_sum_squares += reward * reward;
                // Sorted below: one at a time would be slow.
                cell.rewarded_buckets.extend(bucket);
            }
            if forgotten > 0 {
                tracing::warn!(experiment = id, rewards = forgotten, "rewards of exposures that do not count");
                self.claims.forgot(forgotten);
            }
            for ((epoch, version), mut counts) in cells.into_iter().filter(|(_, counts)| counts.rewarded > 0) {
                counts.rewarded_buckets.sort_unstable();
                counts.rewarded_buckets.dedup();
                live.settle(epoch, version, &counts);
                self.dirty_settled.insert((id.clone(), epoch, version));
            }
        }
    }

    /// Adds what waits to what has not settled, where its exposures are known: of each worker and cell one sum. Of what has not settled
    /// nobody looks at buckets.
    pub(super) fn show_claims(&mut self) {
        for of_worker in self.claims.waiting.values() {
            for (id, waiting) in of_worker {
                let Some(live) = self.experiments.get_mut(id) else { continue };
                let epochs = &mut std::sync::Arc::make_mut(&mut live.observations).epochs;
                for ((epoch, version), Sums { rewarded, reward, squares }) in &waiting.sums {
                    let counts = epochs.get_mut(epoch).and_then(|of_epoch| of_epoch.unsettled.get_mut(*version));
                    if let Some(counts) = counts.filter(|counts| *rewarded <= opportunities_left(counts)) {
                        counts.rewarded += rewarded;
                        counts.reward_sum += reward;
                        counts.reward_sum_squares += squares;
                    }
                }
            }
        }
    }

    /// Forgets what waits for bins that will never settle, as their workers were never heard of. Those of a worker that is known
    /// are forgotten with it, however far its clock is off.
    pub(crate) fn forget_claims(&mut self, now: u64) {
        let since = now.saturating_sub(FORGET_MS);
        if self.loaded_at <= since {
            let nodes = &self.nodes;
            let unknown = |_: &str, worker: u128| !nodes.contains_key(&format!("{worker:032x}"));
            self.claims.drop_before(since.saturating_sub(2 * LAG_MS), unknown);
        }
    }

    /// Forgets what waits for the bins of a worker that is forgotten itself.
    pub(super) fn forget_claims_of(&mut self, incarnation: &str) {
        let incarnation = weir_core::token::number_from_hex(incarnation);
        self.claims.drop_before(u64::MAX, |_, worker| Some(worker) == incarnation);
    }

    /// Forgets what waits for an experiment that is deleted.
    pub(super) fn forget_claims_on(&mut self, id: &str) {
        self.claims.drop_before(u64::MAX, |experiment, _| experiment == id);
    }

    /// How many claims wait.
    pub(crate) const fn waiting_claims(&self) -> usize {
        self.claims.len()
    }

    /// How many claims were counted and then credited to nothing, since this was last asked.
    pub(crate) const fn take_forgotten_claims(&mut self) -> u64 {
        std::mem::replace(&mut self.claims.forgotten, 0)
    }

    /// Reads the secret from the ledger, or makes one.
    pub(super) fn load_secret(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        self.secret = ledger.secret()?;
        Ok(())
    }
}

/// How many exposures of a cell could still be rewarded.
const fn opportunities_left(counts: &Counts) -> u64 {
    counts.assigned.saturating_sub(counts.repeats).saturating_sub(counts.rewarded)
}

/// Bins of a worker that begin before this take no reward any more.
fn settled_before(worker: &Worker, id: &str) -> u64 {
    let watermark = worker.body.experiments.get(id).map_or(0, |open| open.watermark);
    watermark.max(worker.body.ignore_before)
}

/// Whether no worker whose clock is right can still have a bin open, however late it reports.
fn is_over(live: &Live, bin: u64, now: u64) -> bool {
    let ends = bin.saturating_add(live.spec.bin_ms).saturating_add(live.spec.deadline_ms);
    ends.saturating_add(LAG_MS) < now
}
